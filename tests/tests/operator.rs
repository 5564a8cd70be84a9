//! The operator: the real binary on a real API server, with real Deployments, routes of Istio and a real Prometheus.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[path = "operator/absent.rs"]
mod absent;
#[path = "operator/company.rs"]
mod company;
#[path = "operator/contents.rs"]
mod contents;
#[path = "operator/deletes.rs"]
mod deletes;
#[path = "operator/engines.rs"]
mod engines;
#[path = "operator/faults.rs"]
mod faults;
#[path = "operator/kinds.rs"]
mod kinds;
#[path = "operator/objects.rs"]
mod objects;
#[path = "operator/people.rs"]
mod people;
#[path = "operator/refused.rs"]
mod refused;
#[path = "operator/rights.rs"]
mod rights;
#[path = "operator/writers.rs"]
mod writers;

use haldane_tests::operator::{Shop, Start};
use serde_json::{Value, json};

/// What somebody else sees of a route: all but the two weights and our mark.
fn without_weights(route: &Value) -> Value {
    let mut route = route.clone();
    for at in 0..2 {
        route["spec"]["http"][1]["route"][at]["weight"] = Value::Null;
    }
    let annotations = route["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    let theirs: serde_json::Map<_, _> =
        annotations.into_iter().filter(|(name, _)| !name.contains("haldane.dev/")).collect();
    route["metadata"] = json!({"labels": route["metadata"]["labels"], "annotations": theirs});
    route
}

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
