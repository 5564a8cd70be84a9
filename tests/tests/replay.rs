//! What a rollout took in, done again by the real binary: every decision, and what another file would
//! have made of the same answers.

use std::{fs, time::Duration};

use haldane_model::Reason;
use haldane_tests::rig::Rig;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(120);

/// The same rollout with another limit for the errors.
fn with_limit(mut rollout: Value, max: &str) -> Value {
    let checks = rollout["spec"]["analysis"]["checks"].as_array_mut().expect("it has checks");
    for check in checks.iter_mut().filter(|check| check.get("errors").is_some()) {
        check["errors"]["max"] = json!(max);
    }
    rollout
}

/// The document in what was printed; beside it stands what is said to people.
fn document(text: &str) -> Value {
    let begin = text.find(['{', '[']).unwrap_or_default();
    let mut documents = serde_json::Deserializer::from_str(&text[begin..]).into_iter();
    documents.next().expect("something was printed").expect("it is JSON")
}

#[test]
fn a_rollback_is_decided_just_so_again_and_another_limit_would_have_let_it_pass() {
    let rig = Rig::start();
    let rollout = rig.rollout("v2", &[(50, "60s"), (100, "5s")]);
    let mut run = rig.run(&rollout, &[]);
    rig.wait_for("half the traffic is confirmed", PATIENCE, || {
        rig.count(Reason::StepConfirmed) == 1
    });
    rig.stage.inject("green", "error_rate=0.2");
    assert_eq!(run.wait(PATIENCE), Some(10), "{}{}", run.text(), rig.story());

    let again = rig.haldane(&["replay", "app"]);
    assert_eq!(again.code, Some(0), "{}", again.text);
    for part in ["same", "the traffic is back", "all the same"] {
        assert!(again.text.contains(part), "{part} is not in: {}", again.text);
    }
    assert!(!again.text.contains("DIFFERENT"), "{}", again.text);
    let decisions = again.text.lines().filter(|line| line.starts_with("same ")).count();
    assert_eq!(decisions, rig.journal().len(), "{}", again.text);

    let listed = rig.haldane(&["get", "analysisruns"]);
    for part in ["default/app-1", "v2", "Failed", "a breach: errors was"] {
        assert!(listed.text.contains(part), "{part} is not in: {}", listed.text);
    }
    let run = rig.haldane(&["get", "analysisruns", "app-1", "-o", "json"]);
    let run = document(&run.text);
    assert_eq!(
        (run[0]["kind"].as_str(), run[0]["status"]["phase"].as_str()),
        (Some("AnalysisRun"), Some("Failed"))
    );
    let errors = &run[0]["status"]["checks"][0];
    assert_eq!(
        (&errors["name"], &errors["looks"]["Fail"]),
        (&json!("errors"), &json!(1)),
        "{errors}"
    );
    assert!(errors["measurements"].as_array().is_some_and(|all| all.len() >= 2), "{errors}");

    let picture = rig.state().with_file_name("errors.svg");
    let drawn = rig.haldane(&["explain", "app", "--plot", "--svg", &picture.display().to_string()]);
    for part in [
        "v2 was rolled back",
        "errors, attempt 1 of v2",
        "under test ",
        "limit 1.0 %",
        "50 % at",
        "back at",
    ] {
        assert!(drawn.text.contains(part), "{part} is not in: {}", drawn.text);
    }
    let picture = fs::read_to_string(&picture).expect("a picture is written");
    assert!(picture.starts_with("<svg") && picture.contains("50 %"), "{picture}");

    let other = |name: &str, max: &str| {
        let file = rig.state().with_file_name(name);
        fs::write(&file, with_limit(rollout.clone(), max).to_string()).expect("a file is written");
        rig.haldane(&["replay", "app", "--with", &file.display().to_string()])
    };
    let lax = other("lax.yaml", "90%");
    assert_eq!(lax.code, Some(0), "{}", lax.text);
    assert!(lax.text.contains("nothing in it would have put the traffic back"), "{}", lax.text);
    let strict = other("strict.yaml", "0.5%");
    assert_eq!(strict.code, Some(10), "{}", strict.text);
    assert!(strict.text.contains("the traffic would have gone back at"), "{}", strict.text);
}

#[test]
fn what_was_compared_is_folded_again_over_a_kill_to_the_same_evidence() {
    let rig = Rig::start();
    let mut rollout = rig.rollout("v2", &[(50, "20s"), (100, "5s")]);
    let errors = json!({"metrics": "prometheus", "minStep": "3s", "margin": {"harm": "2%"}});
    rollout["spec"]["analysis"]["checks"] = json!([{"errors": errors}]);
    let mut run = rig.run(&rollout, &[]);
    rig.wait_for("half the traffic is confirmed", PATIENCE, || {
        rig.count(Reason::StepConfirmed) == 1
    });
    std::thread::sleep(Duration::from_secs(17));
    run.kill();
    let mut run = rig.run(&rollout, &[]);
    assert_eq!(run.wait(PATIENCE), Some(0), "{}{}", run.text(), rig.story());
    let again = rig.haldane(&["replay", "app", "-o", "json"]);
    assert_eq!(again.code, Some(0), "{}", again.text);
    let told = document(&again.text);
    assert_eq!(told["differences"], json!([]));
    assert!(told["looks"].as_u64() >= Some(10), "{}", told["looks"]);
}
