//! `burn`, `gauge` and `score`, the real binary before real servers: a past interval that is judged,
//! and a rollout that goes back.

use std::{thread, time::Duration};

use haldane_model::Reason;
use haldane_tests::rig::{Rig, SOON};
use serde_json::{Value, json};

/// How long an interval of a test is.
const SPAN: Duration = Duration::from_secs(32);

const PATIENCE: Duration = Duration::from_secs(120);

/// Judges the last half minute by all three, with windows of a second.
fn analyzed(rig: &Rig) -> (Option<i32>, Value) {
    let mut rollout = rig.rollout("v2", &[(50, "5s"), (100, "5s")]);
    let metrics = json!([
        {"name": "fault", "metric": "app_fault", "groups": ["state"], "critical": true},
        {"name": "failed", "metric": "http_requests_total", "labels": {"code": "500"}, "read": "Rate",
         "nanStrategy": "Replace", "direction": "Increase"},
    ]);
    rollout["spec"]["analysis"]["checks"] = json!([
        {"interval": "1s", "burn": {"slo": "99%", "metrics": "prometheus"}},
        {"interval": "1s", "gauge": {"metric": "app_fault", "blocks": 6, "critical": true}},
        {"interval": "1s", "score": {"points": 20, "metrics": metrics}},
    ]);
    let file = rig.write("rollout.yaml", &format!("{rollout:#}\n"));
    let file = file.display().to_string();
    let told = rig.haldane(&["analyze", &file, "--since", "30s", "--until", "2s", "-o", "json"]);
    let json = serde_json::from_str(&told.text);
    (told.code, json.unwrap_or_else(|error| panic!("{error}: {}", told.text)))
}

fn serve(rig: &Rig, green: &str) {
    rig.stage.inject("blue", "error_rate=0.001");
    rig.stage.inject("green", green);
    rig.stage.set_by_hand(5_000);
    thread::sleep(SPAN + Duration::from_secs(4));
}

#[track_caller]
fn verdicts(told: &Value, expected: [&str; 3]) {
    let checks = told["checks"].as_array().expect("a list");
    let seen: Vec<&str> = checks.iter().filter_map(|check| check["verdict"].as_str()).collect();
    assert_eq!(seen, expected, "{told:#}");
}

#[test]
fn a_healthy_interval_passes_by_its_budget_its_gauge_and_its_score() {
    let rig = Rig::start();
    serve(&rig, "error_rate=0.001");
    let (code, told) = analyzed(&rig);
    println!("{told:#}");
    verdicts(&told, ["Pass", "Pass", "Pass"]);
    assert_eq!(code, Some(0), "{told:#}");
}

#[test]
fn an_interval_that_burns_and_shows_a_fault_would_have_gone_back_by_all_three() {
    let rig = Rig::start();
    serve(&rig, "error_rate=0.4&fault=1");
    let (code, told) = analyzed(&rig);
    println!("{told:#}");
    verdicts(&told, ["Fail", "Fail", "Fail"]);
    assert_eq!(code, Some(10), "{told:#}");
    let text = told.to_string();
    for part in ["the error budget burns", "higher in 100 % of all pairs", "score 0 of 100"] {
        assert!(text.contains(part), "{part} is not in: {told:#}");
    }
}

#[test]
fn a_budget_that_burns_sends_a_rollout_back_in_a_bake_and_at_100_percent() {
    for share in [50, 100] {
        let rig = Rig::start();
        let mut rollout =
            rig.rollout("v2", &[(50, if share == 50 { "120s" } else { "6s" }), (100, "120s")]);
        let burn = json!({"slo": "99%", "metrics": "prometheus"});
        rollout["spec"]["analysis"]["checks"] = json!([{"interval": "1s", "burn": burn}]);
        let mut run = rig.run(&rollout, &[]);
        rig.wait_for("the share is confirmed", PATIENCE, || {
            let entries = rig.journal();
            let last = entries.iter().rfind(|entry| entry.reason == Reason::StepConfirmed);
            last.is_some_and(|entry| entry.weight.basis_points() == share * 100)
        });
        thread::sleep(Duration::from_secs(3));
        rig.stage.inject("green", "error_rate=0.5");
        assert_eq!(run.wait(PATIENCE), Some(10), "{share}\n{}{}", run.text(), rig.story());
        rig.wait_for("the traffic is back", SOON, || rig.stage.green_share() == Some(0));
        let told = rig.haldane(&["explain", "app"]).text;
        assert!(told.contains("the error budget burns"), "{told}");
    }
}
