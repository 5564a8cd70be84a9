//! An engine of an earlier commit beside this one, on a real API server: `make test-skew` builds it.
//!
//! One version of skew holds both ways: what either recorded the other goes on with, or holds; and an abort works
//! whoever runs.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::{path::PathBuf, time::Duration};

use haldane_tests::{
    operator::{Operator, Shop, Start},
    process::wait_for,
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(90);

/// The engine of the earlier commit.
fn earlier() -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/before/haldane");
    assert!(path.exists(), "{} is not there; run `make test-skew`", path.display());
    path
}

/// A release that stands at 25 %, with the engine that brought it there; the rest of its steps take long.
fn at_25_percent(name: &str, program: Option<PathBuf>, bake: &str) -> (Shop, Start, Operator) {
    let shop = Shop::open(name);
    let start = Start { program, ..Start::within(&shop.namespace) };
    let operator = start.start();
    let steps = json!([{"weight": 25, "bake": bake}, {"weight": 100, "bake": "4s"}]);
    shop.apply(&shop.rollout(json!({"steps": steps, "progressDeadline": "1h"})));
    shop.wait_healthy("blue");
    shop.deploy("green", "v2");
    shop.wait("the first step", |status| status["phase"] == "Baking" && shop.share() == 25);
    (shop, start, operator)
}

fn abort(shop: &Shop) {
    shop.apply(&json!({"apiVersion": "haldane.dev/v1alpha1", "kind": "RolloutRequest",
        "metadata": {"name": "stop"}, "spec": {"rollout": "checkout", "verb": "Abort", "requestedBy": "alice"}}));
    wait_for("it is lowered", PATIENCE, || shop.share() == 0);
}

fn attempt(status: &Value) -> u64 {
    status["attempt"].as_u64().unwrap()
}

#[test]
fn what_an_earlier_engine_brought_to_25_percent_this_one_promotes() {
    let (shop, start, mut operator) = at_25_percent("forth", Some(earlier()), "20s");
    let before = shop.status();
    operator.stop();
    let _operator = Start { program: None, ..start }.start();
    shop.wait_healthy("green");
    let after = shop.status();
    assert_eq!(attempt(&after), attempt(&before), "an upgrade begins nothing anew");
    assert_eq!(after["revision"], before["revision"], "a revision is named as it was");
}

#[test]
fn what_this_engine_brought_to_25_percent_an_earlier_one_goes_on_with_or_holds_and_aborts() {
    let (shop, start, mut operator) = at_25_percent("back", None, "10m");
    let before = shop.status();
    operator.stop();
    let _operator = Start { program: Some(earlier()), ..start }.start();
    let known = |status: &Value| {
        let phase = status["phase"].as_str().unwrap_or_default();
        (phase == "Baking" || phase == "Held")
            && status["engine"]["term"].as_u64() > before["engine"]["term"].as_u64()
    };
    let there = shop.wait("the earlier one has it", known);
    assert_eq!(shop.share(), 25, "nothing moves because an engine was replaced");
    assert_eq!(attempt(&there), attempt(&before));
    abort(&shop);
}

#[test]
fn a_release_that_changes_engines_twice_is_rolled_back_by_the_last() {
    let (shop, start, mut operator) = at_25_percent("to-and-fro", Some(earlier()), "10m");
    operator.stop();
    let mut operator = Start { program: None, ..start.clone() }.start();
    std::thread::sleep(Duration::from_secs(5));
    operator.stop();
    let _operator = Start { program: Some(earlier()), ..start }.start();
    shop.set_badness(9);
    wait_for("the traffic is back", PATIENCE, || shop.share() == 0);
    shop.wait("recorded", |status| status["phase"] == "Degraded");
}
