//! What a cluster is there for: a release that is promoted, a breach that is rolled back, a rollout that is deleted,
//! requests. These tests stand before no proxy, and run against any cluster as well (`make test-cluster`).

use std::time::Duration;

use haldane_tests::{
    operator::{Shop, Start, known_as},
    process::wait_for,
};
use serde_json::{Value, json};

use crate::without_weights;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_release_that_is_well_gets_all_traffic_and_the_next_one_comes_back() {
    let shop = Shop::open("release");
    let before = without_weights(&shop.get("virtualservices", "checkout"));
    let _operator = Start::within(&shop.namespace).start();
    shop.apply(&shop.rollout(json!({})));
    let first = shop.wait_healthy("blue");
    assert_eq!(first["attempt"], 0, "a first look is no release: {first:#}");
    shop.deploy("green", "v2");
    shop.wait("the first step", |status| status["weight"] == "25%" && shop.share() == 25);
    assert_eq!(without_weights(&shop.get("virtualservices", "checkout")), before);
    let status = shop.wait_healthy("green");
    assert_eq!(shop.share(), 100);
    assert_eq!(status["observedGeneration"], 1, "{status:#}");
    assert_eq!(without_weights(&shop.get("virtualservices", "checkout")), before);
    // And the other way round.
    shop.wait("the watch is over", |status| status["safeToScaleDown"] == "blue");
    shop.deploy("blue", "v3");
    shop.wait("the first step back", |_| shop.share() == 75);
    shop.set_badness(9);
    let status = shop.wait("rolled back", |status| status["phase"] == "Degraded");
    assert_eq!(shop.share(), 100, "all on green");
    assert!(status["lastDecision"]["message"].as_str().is_some(), "{status:#}");
    assert_eq!(without_weights(&shop.get("virtualservices", "checkout")), before);
    let events = shop.kubectl(&["get", "events", "-o=json"]);
    let events: Value = serde_json::from_str(&events).unwrap();
    let reasons: Vec<&str> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|event| event["reason"].as_str())
        .collect();
    assert!(reasons.contains(&"Breach") && reasons.contains(&"Promoted"), "{reasons:?}");
    let runs = shop.kubectl(&["get", "har"]);
    assert!(runs.contains("checkout-1") && runs.contains("checkout-2"), "{runs}");
}

#[test]
fn a_rollout_that_is_deleted_in_flight_puts_its_traffic_back_first() {
    let shop = Shop::open("deleted");
    let _operator = Start::within(&shop.namespace).start();
    shop.apply(
        &shop.rollout(
            json!({"steps": [{"weight": 25, "bake": "10m"}, {"weight": 100, "bake": "4s"}],
        "progressDeadline": "1h"}),
        ),
    );
    shop.wait_healthy("blue");
    shop.deploy("green", "v2");
    shop.wait("the first step", |status| status["phase"] == "Baking" && shop.share() == 25);
    shop.kubectl(&["delete", "hro", "checkout", "--timeout=60s"]);
    assert_eq!(shop.share(), 0);
    let route = shop.get("virtualservices", "checkout");
    assert!(
        !route["metadata"]["annotations"].to_string().contains("haldane.dev"),
        "nothing of ours is left"
    );
}

fn request(shop: &Shop, name: &str, spec: Value) -> Value {
    shop.apply(&json!({"apiVersion": "haldane.dev/v1alpha1", "kind": "RolloutRequest",
        "metadata": {"name": name}, "spec": spec}));
    let answered = || shop.get("rolloutrequests", name)["status"].clone();
    wait_for("an answer", PATIENCE, || answered()["outcome"].is_string());
    answered()
}

#[test]
fn requests_are_answered_once_with_who_asked_and_why_not() {
    let shop = Shop::open("requests");
    let _operator = Start::within(&shop.namespace).start();
    shop.apply(
        &shop.rollout(
            json!({"steps": [{"weight": 25, "bake": "10m"}, {"weight": 50, "bake": "10m"},
        {"weight": 100, "bake": "4s"}], "progressDeadline": "1h"}),
        ),
    );
    shop.wait_healthy("blue");
    let none = request(&shop, "nothing", json!({"rollout": "other", "verb": "Abort"}));
    assert_eq!(none["outcome"], "Refused");
    assert!(none["message"].as_str().unwrap().contains("there is no rollout"), "{none}");
    shop.deploy("green", "v2");
    let status =
        shop.wait("the first step", |status| status["phase"] == "Baking" && shop.share() == 25);
    let (revision, attempt) = (&status["revision"], &status["attempt"]);
    let (alice, bob) = (known_as("alice"), known_as("bob"));
    let of = |verb: &str, step: u64, revision: &Value| {
        json!({"rollout": "checkout", "verb": verb, "revision": revision, "attempt": attempt, "step": step,
            "requestedBy": alice})
    };
    let wrong = request(&shop, "wrong", of("Promote", 0, &json!("other")));
    assert_eq!(wrong["outcome"], "Refused", "{wrong}");
    let late = request(&shop, "late", of("Promote", 1, revision));
    assert_eq!(late["outcome"], "Refused", "{late}");
    let promoted = request(&shop, "good", of("Promote", 0, revision));
    assert_eq!(
        (&promoted["outcome"], &promoted["actor"]),
        (&json!("Accepted"), &json!(alice)),
        "{promoted}"
    );
    shop.wait("the second step", |_| shop.share() == 50);
    let mut hold = of("Pause", 0, revision);
    hold.as_object_mut().unwrap().remove("step");
    assert_eq!(request(&shop, "hold", hold)["outcome"], "Accepted");
    shop.wait("paused", |status| {
        status["phase"] == "Paused" && status["holds"][0]["actor"] == *alice
    });
    let abort =
        json!({"rollout": "checkout", "verb": "Abort", "reason": "enough", "requestedBy": bob});
    assert_eq!(request(&shop, "stop", abort)["outcome"], "Accepted");
    let status = shop.wait("rolled back", |status| status["phase"] == "Degraded");
    assert_eq!(shop.share(), 0);
    assert_eq!(status["phase"], "Degraded");
    let told = || shop.kubectl(&["get", "har", "checkout-1", "-o=json"]);
    wait_for("the journal names who asked", PATIENCE, || {
        told().contains(&bob) && told().contains("enough")
    });
    let mut resume = of("Resume", 0, revision);
    resume.as_object_mut().unwrap().remove("step");
    assert_eq!(request(&shop, "on", resume)["outcome"], "Accepted");
    let mut retry = of("Retry", 0, revision);
    retry.as_object_mut().unwrap().remove("step");
    assert_eq!(request(&shop, "again", retry)["outcome"], "Accepted");
    shop.wait("the second attempt", |status| status["attempt"] == 2 && shop.share() == 25);
}
