//! `haldane shadow` and `haldane plan`, the real binary before real servers: the traffic as it is, and
//! nothing written. Then what a rollout makes of the same: checks in their phase, and what a step took
//! beside what was expected of it.

use std::{
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use haldane_model::{Reason, Weight};
use haldane_tests::rig::{Done, Rig, Run, SOON};
use serde_json::{Value, json};

/// Everything that was said to HAProxy's socket.
type Said = Arc<Mutex<String>>;

/// Stands before HAProxy's socket, passes everything on and writes down what is asked.
fn listen(rig: &Rig) -> (PathBuf, Said) {
    let (path, real) = (rig.stage.folder().join("listened.sock"), rig.stage.socket());
    let listener = UnixListener::bind(&path).expect("the socket is free");
    let said = Said::default();
    let all = said.clone();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(server)) = (client, UnixStream::connect(&real)) else { return };
            pass(client, server, all.clone());
        }
    });
    (path, said)
}

fn pass(mut client: UnixStream, mut server: UnixStream, said: Said) {
    let (mut back, mut answer) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        let mut bytes = [0; 4_096];
        while let Ok(count @ 1..) = client.read(&mut bytes) {
            said.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            if server.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = server.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        let _ = std::io::copy(&mut answer, &mut back);
        let _ = back.shutdown(Shutdown::Both);
    });
}

/// What HAProxy was asked, command by command.
fn commands(said: &Said) -> Vec<String> {
    let said = said.lock().unwrap().clone();
    let each = said.split(['\n', ';']).map(str::trim).filter(|one| !one.is_empty());
    each.map(str::to_owned).collect()
}

/// Whether a command changes nothing: `prompt` only keeps the connection open.
fn only_looks(command: &String) -> bool {
    command == "prompt" || command.starts_with("show ")
}

/// A rollout whose traffic is moved through that socket, judged by these checks.
fn file(rig: &Rig, socket: &Path, checks: &Value) -> PathBuf {
    let steps = [(0, "5s"), (10, "5s"), (50, "5s"), (100, "5s")];
    let mut rollout = rig.rollout("v2", &steps);
    rollout["spec"]["traffic"][0]["haproxy"]["sockets"] = json!([socket]);
    rollout["spec"]["analysis"]["checks"] = checks.clone();
    rig.write("rollout.yaml", &format!("{rollout:#}\n"))
}

fn checks() -> Value {
    let margin = json!({"harm": "2%"});
    json!([
        {"errors": {"metrics": "prometheus", "minStep": "3s", "margin": margin}},
        {"name": "limit", "errors": {"metrics": "prometheus", "max": "3%"}},
        {"name": "smoke", "errors": {"metrics": "prometheus", "max": "0%"}, "during": "BeforeTraffic"},
        {"name": "strict", "errors": {"metrics": "prometheus", "max": "0%"}, "dryRun": true},
    ])
}

/// Lets both sides have these rates of errors, and green this share.
fn serve(rig: &Rig, blue: &str, green: &str, share: u32) {
    rig.stage.inject("blue", &format!("error_rate={blue}"));
    rig.stage.inject("green", &format!("error_rate={green}"));
    rig.stage.set_by_hand(share);
    thread::sleep(Duration::from_secs(5));
}

fn shadow(rig: &Rig, file: &Path, arguments: &[&str]) -> Done {
    let file = file.display().to_string();
    rig.haldane(&[&["shadow", &file], arguments].concat())
}

/// The objects of an answer, one in each line.
fn lines(text: &str) -> Vec<Value> {
    let objects = text.lines().filter(|line| line.starts_with('{'));
    objects.map(|line| serde_json::from_str(line).expect("an object a line")).collect()
}

#[test]
fn a_bad_release_would_be_rolled_back_and_nothing_is_written() {
    let rig = Rig::start();
    let (socket, said) = listen(&rig);
    let file = file(&rig, &socket, &checks());
    serve(&rig, "0.01", "0.08", 5_000);
    let map = std::fs::read(rig.stage.map()).expect("the map is there");
    let told = shadow(&rig, &file, &["--for", "20s", "-o", "json"]);
    println!("{}", told.text);
    assert_eq!(told.code, Some(10), "{}", told.text);
    let lines = lines(&told.text);
    assert_eq!(lines[0]["share"], 5_000, "{}", told.text);
    let failed = lines.iter().find(|line| line["check"] == "errors" && line["verdict"] == "Fail");
    let failed = failed.expect("the comparison fails");
    assert!(failed["value"].as_f64() > failed["serving"].as_f64(), "{failed}");
    assert!(failed["odds"].as_f64() >= failed["oddsNeeded"].as_f64(), "{failed}");
    assert!(lines.iter().any(|line| line["check"] == "limit" && line["verdict"] == "Fail"));
    assert!(lines.iter().any(|line| line["check"] == "strict" && line["dryRun"] == true));
    assert!(!lines.iter().any(|line| line["check"] == "smoke"), "users have traffic");
    let ended = lines.last().expect("there is an end");
    assert_eq!(ended["conclusion"], "WouldRollBack", "{ended}");

    let asked = commands(&said);
    assert!(!asked.is_empty(), "the split was read");
    assert!(asked.iter().all(only_looks), "{asked:?}");
    assert_eq!(std::fs::read(rig.stage.map()).ok(), Some(map), "the map's file stays as it is");
    assert_eq!(rig.stage.green_share(), Some(5_000), "and nothing moves");
    assert!(rig.journal().is_empty(), "nothing is recorded");
}

#[test]
fn a_good_release_is_told_as_such_the_dry_run_that_fails_decides_nothing_and_a_person_ends_it() {
    let rig = Rig::start();
    let file = file(&rig, &rig.stage.socket(), &checks());
    serve(&rig, "0.01", "0.01", 5_000);
    let mut command = rig.command();
    command.arg("shadow").arg(&file);
    let mut run = Run::start(command);
    rig.wait_for("both decide", SOON, || {
        run.said("errors passes").is_some() && run.said("limit was").is_some()
    });
    println!("{}", run.text());
    run.signal("INT");
    assert_eq!(run.wait(SOON), Some(0), "{}", run.text());
    assert!(run.text().contains("nothing found against green"), "{}", run.text());
}

#[test]
fn the_split_is_the_step_and_follows_whoever_moves_it() {
    let rig = Rig::start();
    let file = file(&rig, &rig.stage.socket(), &checks());
    serve(&rig, "0.01", "0.01", 0);
    let mut command = rig.command();
    command.arg("shadow").arg(&file).args(["--for", "25s", "-o", "json"]);
    let mut run = Run::start(command);
    rig.wait_for("it is asked before traffic", SOON, || run.said("\"smoke\"").is_some());
    rig.stage.set_by_hand(1_000);
    run.wait(SOON);
    let lines = lines(&run.text());
    let shares: Vec<_> = lines
        .iter()
        .filter(|line| line["check"].is_null())
        .filter_map(|line| line["share"].as_u64())
        .collect();
    assert_eq!(shares, [0, 1_000], "{}", run.text());
    let smoke = lines.iter().filter(|line| line["check"] == "smoke");
    assert!(
        smoke.clone().count() > 0 && smoke.clone().all(|line| line["share"] == 0),
        "{}",
        run.text()
    );
}

#[test]
fn a_split_that_cannot_be_read_is_told_with_exit_1() {
    let rig = Rig::start();
    let absent = rig.stage.folder().join("absent.sock");
    let file = file(&rig, &absent, &checks());
    let told = shadow(&rig, &file, &["--for", "2s"]);
    assert_eq!(told.code, Some(1), "{}", told.text);
    assert!(told.text.contains("edge: ") && told.text.contains("spec.traffic"), "{}", told.text);
    let told = shadow(&rig, &file, &["--for", "2s", "--test", "red"]);
    assert_eq!(told.code, Some(64), "{}", told.text);
}

#[test]
fn the_plan_tells_how_long_each_step_will_need_and_which_has_too_little_time() {
    let rig = Rig::start();
    let (socket, said) = listen(&rig);
    let file = |longest: Option<&str>| {
        let mut rollout = rig.rollout("v2", &[(10, "5s"), (50, "5s"), (100, "5s")]);
        rollout["spec"]["traffic"][0]["haproxy"]["sockets"] = json!([&socket]);
        rollout["spec"]["analysis"]["checks"] =
            json!([{"errors": {"metrics": "prometheus", "minStep": "3s"}}]);
        if let Some(longest) = longest {
            rollout["spec"]["steps"][0]["maxBake"] = json!(longest);
        }
        rig.write("plan.yaml", &format!("{rollout:#}\n"))
    };
    serve(&rig, "0.01", "0", 0);
    thread::sleep(Duration::from_secs(10));
    let plan = |file: PathBuf, arguments: &[&str]| {
        let file = file.display().to_string();
        rig.haldane(&[&["plan", &file, "--over", "12s"], arguments].concat())
    };
    let told = plan(file(None), &["-o", "json"]);
    println!("{}", told.text);
    assert_eq!(told.code, Some(0), "{}", told.text);
    let shown: Value = serde_json::from_str(&told.text).expect("an object");
    assert_eq!((&shown["test"], &shown["serving"]), (&json!("green"), &json!("blue")));
    let rate = shown["requestsPerSecond"].as_f64().expect("traffic");
    assert!((100.0..400.0).contains(&rate), "{shown:#}");
    let first = &shown["steps"][0];
    let (takes, requests) = (first["takes"].as_f64().unwrap(), first["requests"].as_f64().unwrap());
    assert!((takes - requests / (rate * 0.1)).abs() < 1.0, "{shown:#}");
    assert!(takes > 5.0, "longer than the bake: {shown:#}");
    assert_eq!(shown["steps"][2]["requests"], Value::Null, "100 % ends by time");

    let told = plan(file(Some("5s")), &[]);
    println!("{}", told.text);
    assert_eq!(told.code, Some(14), "{}", told.text);
    assert!(told.text.contains("more than its maxBake; raise maxBake"), "{}", told.text);
    assert!(commands(&said).iter().all(only_looks));
}

// === the same in a rollout ===

fn fault(name: &str, max: &str, during: Option<&str>) -> Value {
    let promql = "max(app_fault{ {{ canary.labels }} })";
    let mut check = json!({"name": name, "query": {"promql": promql, "max": max}});
    if let Some(during) = during {
        check["during"] = json!(during);
    }
    check
}

#[test]
fn a_smoke_test_that_fails_ends_the_rollout_before_any_user_saw_it() {
    let rig = Rig::start();
    let mut rollout = rig.rollout("v2", &[(0, "3s"), (50, "3s"), (100, "3s")]);
    rollout["spec"]["analysis"]["checks"] =
        json!([fault("fault", "0", None), fault("smoke", "-1", Some("BeforeTraffic"))]);
    let mut run = rig.run(&rollout, &[]);
    rig.ends(&mut run, 10);
    let journal = rig.journal();
    let breach = journal.iter().find(|entry| entry.reason == Reason::Breach).expect("it is told");
    assert_eq!(breach.finding.as_ref().map(|found| found.check.to_string()), Some("smoke".into()));
    assert!(journal.iter().all(|entry| entry.weight == Weight::ZERO), "{}", rig.story());
}

#[test]
fn checks_run_in_their_phase_and_a_step_says_what_it_took_beside_what_was_expected() {
    let rig = Rig::start();
    let steps = [(0, "3s"), (20, "3s"), (50, "3s"), (100, "3s")];
    let mut rollout = rig.rollout("v2", &steps);
    rollout["spec"]["steps"][1]["checks"] = json!(["own"]);
    rollout["spec"]["analysis"]["checks"] = json!([
        {"errors": {"metrics": "prometheus", "minStep": "3s", "margin": {"harm": "2%"}}},
        fault("smoke", "0", Some("BeforeTraffic")),
        fault("own", "0", None),
        fault("after", "0", Some("AfterPromotion")),
    ]);
    let mut run = rig.run(&rollout, &[]);
    rig.ends(&mut run, 0);
    println!("{}", rig.story());
    let passed = rig.journal().into_iter().filter(|entry| entry.reason == Reason::StepPassed);
    let details: Vec<String> = passed.filter_map(|entry| entry.detail).collect();
    assert_eq!(details.len(), 4, "{}", rig.story());
    assert_eq!(details[0], "every check passed on this bake", "the smoke test");
    for detail in &details[1..3] {
        let told = detail.contains("errors took ") && detail.contains("were expected");
        assert!(told, "{detail}");
    }
}
