//! Rollouts without a limit, the real binary before real servers: the side under test is compared with
//! the one that serves.

use std::{
    thread,
    time::{Duration, Instant},
};

use haldane_model::Reason;
use haldane_tests::rig::{Rig, SOON};
use serde_json::{Value, json};

/// How long a comparison needs at the traffic of a rig, for one thing or another.
const PATIENCE: Duration = Duration::from_secs(120);

/// A rollout that has no limit at all, with steps that a test can wait for.
fn comparing(rig: &Rig, revision: &str, steps: &[(u32, &str)]) -> Value {
    let mut rollout = rig.rollout(revision, steps);
    let errors = json!({"metrics": "prometheus", "minStep": "3s", "margin": {"harm": "2%"}});
    let analysis = &mut rollout["spec"]["analysis"];
    analysis["checks"] = json!([{"errors": errors}]);
    rollout
}

/// Waits until a share is confirmed and its bake has begun.
#[track_caller]
fn confirmed_at(rig: &Rig, share: u16) {
    rig.wait_for("the share is confirmed", PATIENCE, || {
        let confirmed = rig.journal().into_iter().filter(|e| e.reason == Reason::StepConfirmed);
        confirmed.last().is_some_and(|entry| entry.weight.basis_points() == share)
    });
}

fn explained(rig: &Rig) -> String {
    rig.haldane(&["explain", "app"]).text
}

#[test]
fn a_release_as_good_as_the_one_that_serves_is_promoted_though_both_err() {
    let rig = Rig::start();
    // More than the 1 % that a limit would have allowed; what counts is the difference.
    rig.stage.inject("blue", "error_rate=0.03");
    rig.stage.inject("green", "error_rate=0.03");
    let shares = rig.stage.follow("green");
    let mut run = rig.run(&comparing(&rig, "v2", &[(25, "5s"), (50, "5s"), (100, "5s")]), &[]);
    assert_eq!(run.wait(PATIENCE), Some(0), "{}{}", run.text(), rig.story());
    let seen: Vec<u32> = shares.changes().into_iter().map(|(_, share)| share).collect();
    assert_eq!(seen, [0, 2_500, 5_000, 10_000]);
}

#[test]
fn a_release_that_errs_more_is_rolled_back_below_any_limit_one_would_set() {
    let rig = Rig::start();
    rig.stage.inject("blue", "error_rate=0.001");
    rig.stage.inject("green", "error_rate=0.001");
    let mut run = rig.run(&comparing(&rig, "v2", &[(50, "120s"), (100, "5s")]), &[]);
    confirmed_at(&rig, 5_000);
    let begin = Instant::now();
    rig.stage.inject("green", "error_rate=0.05");
    assert_eq!(run.wait(PATIENCE), Some(10), "{}{}", run.text(), rig.story());
    println!("found after {:?}", begin.elapsed());
    assert_eq!(rig.stage.green_share(), Some(0));
    let told = explained(&rig);
    for part in ["v2 was rolled back", "errors", "evidence", "(needed 100:1)", "vs"] {
        assert!(told.contains(part), "{part} is not in: {told}");
    }
}

#[test]
fn five_times_the_errors_at_100_percent_and_again_in_the_watch_roll_back() {
    for (bake, watch) in [("120s", "2s"), ("5s", "120s")] {
        let rig = Rig::start();
        rig.stage.inject("blue", "error_rate=0.01");
        rig.stage.inject("green", "error_rate=0.01");
        let mut rollout = comparing(&rig, "v2", &[(50, "5s"), (100, bake)]);
        rollout["spec"]["watch"] = json!(watch);
        let mut run = rig.run(&rollout, &[]);
        confirmed_at(&rig, 10_000);
        if watch == "120s" {
            rig.wait_for("the watch begins", SOON, || rig.count(Reason::Promoted) == 1);
        }
        // Enough that a rate of its own is known at 100 %.
        thread::sleep(Duration::from_secs(4));
        rig.stage.inject("green", "error_rate=0.05");
        assert_eq!(run.wait(PATIENCE), Some(10), "{bake}/{watch}\n{}{}", run.text(), rig.story());
        assert_eq!(rig.stage.green_share(), Some(0));
        let told = explained(&rig);
        assert!(told.contains("v2 was rolled back") && told.contains("evidence"), "{told}");
    }
}

#[test]
fn both_versions_failing_together_hold_the_rollout_and_roll_nothing_back() {
    let rig = Rig::start();
    let mut run = rig.run(&comparing(&rig, "v2", &[(50, "6s"), (100, "5s")]), &[]);
    confirmed_at(&rig, 5_000);
    rig.stage.inject("blue", "error_rate=0.4");
    rig.stage.inject("green", "error_rate=0.4");
    rig.wait_for("it says that both fail", PATIENCE, || {
        let status = rig.status("app").to_string();
        status.contains("both versions fail") || status.contains("Both versions fail")
    });
    rig.holds("the share", Duration::from_secs(10), || rig.stage.green_share() == Some(5_000));
    run.kill();
}
