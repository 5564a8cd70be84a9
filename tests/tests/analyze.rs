//! `haldane analyze`, the real binary before real servers: a past interval is judged, and nothing moves.

use std::{
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use haldane_tests::rig::{Done, Rig, built};
use serde_json::{Value, json};

/// How long an interval of a test is.
const SPAN: Duration = Duration::from_secs(20);

/// Writes a rollout with these checks.
fn file(rig: &Rig, checks: &Value) -> PathBuf {
    let mut rollout = rig.rollout("v2", &[(50, "5s"), (100, "5s")]);
    rollout["spec"]["analysis"]["checks"] = checks.clone();
    rig.write("rollout.yaml", &format!("{rollout:#}\n"))
}

/// One check that compares and one that has a limit.
fn checks() -> Value {
    let margin = json!({"harm": "2%"});
    json!([
        {"errors": {"metrics": "prometheus", "minStep": "3s", "margin": margin}},
        {"name": "limit", "errors": {"metrics": "prometheus", "max": "3%"}},
    ])
}

/// Lets both sides serve half of the traffic for a while, with these rates of errors.
fn serve(rig: &Rig, blue: &str, green: &str) {
    rig.stage.inject("blue", &format!("error_rate={blue}"));
    rig.stage.inject("green", &format!("error_rate={green}"));
    rig.stage.set_by_hand(5_000);
    // The interval begins after the change, and ends before now.
    thread::sleep(SPAN + Duration::from_secs(5));
}

fn analyze(rig: &Rig, file: &Path, arguments: &[&str]) -> Done {
    let file = file.display().to_string();
    rig.haldane(&[&["analyze", &file], arguments].concat())
}

fn json_of(done: &Done) -> Value {
    serde_json::from_str(&done.text).unwrap_or_else(|error| panic!("{error}: {}", done.text))
}

#[track_caller]
fn says(done: &Done, code: i32, parts: &[&str]) {
    assert_eq!(done.code, Some(code), "{}", done.text);
    for part in parts {
        assert!(done.text.contains(part), "{part} is not in: {}", done.text);
    }
}

#[test]
fn a_bad_release_analysed_afterwards_would_have_been_rolled_back_and_both_rates_are_told() {
    let rig = Rig::start();
    let file = file(&rig, &checks());
    serve(&rig, "0.01", "0.08");
    // What happens after the interval is none of it.
    rig.stage.inject("green", "error_rate=0");
    let told = analyze(&rig, &file, &["--since", "20s", "--until", "2s"]);
    println!("{}", told.text);
    let rates = ["errors fails: at ", "% errors (", "/", " vs ", "of the serving side", "(needed "];
    says(&told, 10, &rates);
    says(&told, 10, &["first shown by", "would roll back: ", "green against blue", "limit was "]);

    let told = json_of(&analyze(&rig, &file, &["--since", "20s", "--until", "2s", "-o", "json"]));
    assert_eq!(told["conclusion"], "WouldRollBack", "{told:#}");
    let (since, until) = (told["since"].as_str(), told["until"].as_str());
    for check in told["checks"].as_array().expect("a list") {
        assert_eq!(check["verdict"], "Fail", "{told:#}");
        let crossed = check["crossed"].as_str();
        assert!(since < crossed && crossed <= until, "{told:#}");
        let value = check["value"].as_f64().expect("a rate");
        assert!((0.05..0.12).contains(&value), "{told:#}");
    }
    let compared = &told["checks"][0];
    let serving = compared["serving"].as_f64().expect("a rate");
    assert!((0.005..0.02).contains(&serving), "{told:#}");
    assert!(compared["odds"].as_f64() >= compared["oddsNeeded"].as_f64(), "{told:#}");
    assert_eq!(told["checks"][1]["looks"]["failed"], 1, "the first breach is enough: {told:#}");

    // The other way round there is nothing against the one that serves.
    let other = &["--since", "20s", "--until", "2s", "--test", "blue", "-o", "json"];
    let told = json_of(&analyze(&rig, &file, other));
    assert_eq!(told["conclusion"], "NothingFound", "{told:#}");
    assert_eq!((&told["test"], &told["serving"]), (&json!("blue"), &json!("green")));
    assert!(rig.journal().is_empty(), "nothing is recorded");
    assert_eq!(rig.stage.green_share(), Some(5_000), "and nothing moves");
}

#[test]
fn a_healthy_interval_ends_with_0_and_one_that_says_too_little_with_14() {
    let rig = Rig::start();
    let file = file(&rig, &checks());
    serve(&rig, "0.01", "0.01");
    let told = analyze(&rig, &file, &["--since", "20s"]);
    println!("{}", told.text);
    says(&told, 0, &["errors passes: ", "limit was ", " 0 failed", "nothing found against green"]);
    // Too short for the step that the check asks for, and a time before there was anything.
    let told = analyze(&rig, &file, &["--since", "4s", "--until", "2s"]);
    says(&told, 14, &["not enough data to tell"]);
    let told = analyze(&rig, &file, &["--since", "2h", "--until", "1h"]);
    says(&told, 14, &["errors has no data", "limit has no data", "not enough data to tell"]);
}

#[test]
fn a_source_that_does_not_answer_is_told_and_gives_no_verdict() {
    let mut rig = Rig::start();
    let pinned = file(&rig, &checks());
    rig.stage.kill_prometheus();
    let begin = Instant::now();
    let told = analyze(&rig, &pinned, &["--since", "20s"]);
    says(
        &told,
        1,
        &["errors could not be measured", "no verdict: a source gave no answer that can be used"],
    );
    let told = json_of(&analyze(&rig, &pinned, &["--since", "20s", "-o", "json"]));
    assert_eq!(told["conclusion"], "SourceError", "{told:#}");
    assert_eq!(told["checks"][1]["verdict"], "SourceError", "{told:#}");
    // What the file leaves to the source cannot be asked at all.
    let mut rollout = rig.rollout("v2", &[(50, "5s"), (100, "5s")]);
    rollout["spec"]["analysis"]["checks"] = json!([{"errors": {"max": "1%"}}]);
    let open = rig.write("open.yaml", &format!("{rollout:#}\n"));
    let told = analyze(&rig, &open, &["--since", "20s"]);
    says(&told, 1, &["which metrics errors is asked by is not known", "write `metrics`"]);
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
}

// === what cannot be asked ===

fn bare(arguments: &[&str]) -> Done {
    let output = Command::new(built("haldane")).arg("analyze").args(arguments).output();
    let output = output.expect("the binary starts");
    let text = [output.stdout, output.stderr].concat();
    Done { code: output.status.code(), text: String::from_utf8_lossy(&text).into_owned() }
}

#[test]
fn times_that_cannot_be_used_are_refused_with_the_remedy() {
    let check = |times: &[&str], parts: &[&str]| {
        says(&bare(&[&["rollout.yaml"], times].concat()), 64, parts);
    };
    check(&["--since", "5m", "--until", "10m"], &["lies after --until", "exchange"]);
    check(&["--since", "5m", "--until", "5m"], &["the interval is empty", "lie before"]);
    check(&["--since", "25h"], &["25 hours, more than 24", "shorter"]);
    check(&["--since", "5m", "--until", "2999-01-01T00:00:00Z"], &["lies in the future", "now"]);
    check(&["--since", "yesterday"], &["yesterday is neither a time", "30m"]);
    check(&["--since", "99999999h"], &["help"]);
    check(&["--since", "5m", "--share", "100"], &["100 is not in 1..=99"]);
    check(&[], &["--since"]);
}

#[test]
fn a_file_that_cannot_be_used_is_told_with_its_line_and_a_side_that_it_has_not_by_name() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("bad");
    let falling = folder.join("weight-falling.yaml").display().to_string();
    let told = bare(&[&falling, "--since", "5m"]);
    says(&told, 1, &["weight-falling.yaml:", "rising order"]);
    let told = bare(&["absent.yaml", "--since", "5m"]);
    says(&told, 1, &["cannot read absent.yaml"]);
    let rollout = json!({
        "apiVersion": "haldane.dev/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "app"},
        "spec": {
            "sides": [{"name": "blue", "labels": {"v": "1"}}, {"name": "green", "labels": {"v": "2"}}],
            "revision": "2",
            "traffic": [{"name": "edge", "haproxy": {
                "sockets": ["/run/none.sock"],
                "share": {"map": "/etc/none.map", "key": "app"},
                "destinations": {"blue": {"backend": "be_blue"}, "green": {"backend": "be_green"}},
            }}],
            "analysis": {
                "sources": [{"name": "main", "prometheus": {"url": "http://127.0.0.1:1"}}],
                "checks": [{"errors": {"metrics": "prometheus"}}],
            },
        },
    });
    let file = tempfile::NamedTempFile::with_suffix(".yaml").expect("a temporary file");
    std::fs::write(file.path(), rollout.to_string()).expect("it can be written");
    let path = file.path().display().to_string();
    let told = bare(&[&path, "--since", "5m", "--test", "red"]);
    says(&told, 64, &["the file has no side red", "--test blue or --test green"]);
    let unread = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/without-prometheus.yaml");
    let told = bare(&[unread, "--since", "5m"]);
    says(&told, 1, &["tells nothing of the past: analyse by a Prometheus"]);
}
