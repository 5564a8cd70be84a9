//! Workloads, Services and destinations that are missing and appear, and workloads that are replaced in flight.

use std::time::Duration;

use haldane_tests::{
    cluster::Faults,
    operator::{Operator, Shop, Start, cluster},
    process::wait_for,
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than a bake: what would go on has gone on.
const WHILE: Duration = Duration::from_secs(8);

/// A shop that lacks something, whose engine is behind a proxy.
fn lacking(name: &str, kind: &str, object: &str) -> (Shop, Operator, Faults) {
    let shop = Shop::open(name);
    shop.kubectl(&["delete", kind, object]);
    let (operator, proxy) = engine(&shop);
    (shop, operator, proxy)
}

fn engine(shop: &Shop) -> (Operator, Faults) {
    let proxy = cluster().faults();
    let start = Start::within(&shop.namespace);
    (start.clone().with(start.access.at(&proxy.url())).start(), proxy)
}

/// What the rollout and its events say.
fn told(shop: &Shop) -> String {
    let mut status = shop.status();
    status["record"] = Value::Null;
    format!("{status}{}", shop.kubectl(&["get", "events", "-o=json"]))
}

#[track_caller]
fn nothing_is_written(proxy: &Faults) {
    let mut written = proxy.seen_of("PATCH", "/virtualservices/checkout");
    // What could be written is tried without writing it.
    written.retain(|seen| !seen.target.contains("dryRun"));
    assert!(written.is_empty(), "the route was written: {written:#?}");
}

#[test]
fn a_workload_that_is_missing_is_named_and_its_release_begins_when_it_is_there() {
    let (shop, _operator, proxy) = lacking("no-workload", "deployment", "checkout-green");
    shop.apply(&shop.rollout(json!({})));
    shop.wait("what is missing is named", |status| {
        status.to_string().contains("there is no Deployment checkout-green")
    });
    std::thread::sleep(WHILE);
    assert_eq!(shop.status()["attempt"], 0);
    nothing_is_written(&proxy);
    shop.apply(&shop.deployment("green", "v2"));
    let status = shop.wait_healthy("green");
    assert_eq!((shop.share(), &status["attempt"]), (100, &json!(1)), "{status:#}");
}

#[test]
fn a_service_that_is_missing_is_named_and_taken_up_when_it_is_there() {
    let shop = Shop::open("no-service");
    let service = shop.get("service", "checkout-green");
    shop.kubectl(&["delete", "service", "checkout-green"]);
    let (_operator, proxy) = engine(&shop);
    shop.apply(&shop.rollout(json!({})));
    shop.wait("what is missing is named", |status| {
        status["conditions"].to_string().contains("checkout-green")
    });
    shop.deploy("green", "v2");
    std::thread::sleep(WHILE);
    nothing_is_written(&proxy);
    let again = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "checkout-green"},
        "spec": {"selector": service["spec"]["selector"], "ports": [{"port": 80}]}});
    shop.apply(&again);
    shop.wait("it rests", |status| status["serving"] == "blue" && status["phase"] == "Healthy");
}

#[test]
fn a_destination_that_is_missing_is_named_and_taken_up_when_it_is_there() {
    let shop = Shop::open("no-destination");
    let alone = json!([{"op": "remove", "path": "/spec/http/1/route/1"}]).to_string();
    shop.kubectl(&["patch", "virtualservice", "checkout", "--type=json", "-p", &alone]);
    let (_operator, proxy) = engine(&shop);
    shop.apply(&shop.rollout(json!({})));
    shop.wait("what is missing is named", |status| {
        status["conditions"]
            .to_string()
            .contains("checkout-green is not among its route; add it with weight 0")
    });
    std::thread::sleep(WHILE);
    nothing_is_written(&proxy);
    let both = json!([{"op": "add", "path": "/spec/http/1/route/-",
        "value": {"destination": {"host": "checkout-green"}, "weight": 0}}]);
    shop.kubectl(&["patch", "virtualservice", "checkout", "--type=json", "-p", &both.to_string()]);
    shop.wait_healthy("blue");
    shop.deploy("green", "v2");
    shop.wait_healthy("green");
}

/// A release at its first step, which lasts for some seconds.
fn at_first_step(name: &str, bake: &str) -> (Shop, Operator) {
    let shop = Shop::open(name);
    let operator = Start::within(&shop.namespace).start();
    shop.apply(&shop.rollout(
        json!({"steps": [{"weight": 25, "bake": bake}, {"weight": 100, "bake": "4s"}], "progressDeadline": "1h"}),
    ));
    shop.wait_healthy("blue");
    shop.deploy("green", "v2");
    shop.wait("the first step", |status| status["phase"] == "Baking" && shop.share() == 25);
    (shop, operator)
}

#[test]
fn a_workload_on_trial_that_is_deleted_sends_the_traffic_back_and_its_replacement_is_a_release() {
    let (shop, _operator) = at_first_step("deleted-trial", "10m");
    shop.kubectl(&["delete", "deployment", "checkout-green"]);
    wait_for("the traffic is back", PATIENCE, || shop.share() == 0);
    shop.wait("rolled back", |status| status["phase"] == "Degraded");
    let journal = || shop.kubectl(&["get", "har", "checkout-1", "-o=json"]);
    wait_for("the journal says why", PATIENCE, || {
        let journal = journal();
        journal.contains("CanaryLost") && journal.contains("there is no Deployment checkout-green")
    });
    // The one that failed is not begun anew by itself; another one is.
    shop.apply(&shop.deployment("green", "v2"));
    std::thread::sleep(WHILE);
    let status = shop.status();
    assert_eq!((shop.share(), &status["attempt"]), (0, &json!(1)), "{status:#}");
    shop.apply(&shop.deployment("green", "v3"));
    shop.wait("the next attempt", |status| status["attempt"] == 2 && shop.share() == 25);
}

#[test]
fn a_serving_workload_that_is_deleted_holds_the_split_and_its_replacement_lets_the_release_go_on() {
    let (shop, _operator) = at_first_step("deleted-home", "15s");
    shop.kubectl(&["delete", "deployment", "checkout-blue"]);
    shop.wait("it holds", |status| status["heldBy"].to_string().contains("HomeDead"));
    std::thread::sleep(2 * WHILE);
    assert_eq!(shop.share(), 25, "neither on nor back: {}", told(&shop));
    shop.apply(&shop.deployment("blue", "v1"));
    let status = shop.wait_healthy("green");
    assert_eq!((shop.share(), &status["attempt"]), (100, &json!(1)), "{status:#}");
}
