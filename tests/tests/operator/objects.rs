//! Objects that are missing, appear, are edited by others, and go.

use std::time::Duration;

use haldane_tests::{
    cluster::{Fault, Faults, Rule, Seen},
    operator::{Operator, Shop, Start, cluster},
    process::wait_for,
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().find(|one| one["type"] == kind).unwrap_or(&Value::Null)
}

fn weights(shop: &Shop, blue: u64, green: u64) {
    let patch = json!([{"op": "replace", "path": "/spec/http/1/route/0/weight", "value": blue},
        {"op": "replace", "path": "/spec/http/1/route/1/weight", "value": green}]);
    shop.kubectl(&[
        "patch",
        "virtualservice",
        "checkout",
        "--type=json",
        "--field-manager=somebody",
        "-p",
        &patch.to_string(),
    ]);
}

/// A release at its first step, which lasts.
fn at_first_step(name: &str) -> (Shop, Operator) {
    let shop = Shop::open(name);
    let operator = Start::within(&shop.namespace).start();
    begin(&shop);
    (shop, operator)
}

/// The same with the engine behind a proxy.
fn behind_proxy(name: &str) -> (Shop, Operator, Faults) {
    let shop = Shop::open(name);
    let proxy = cluster().faults();
    let start = Start::within(&shop.namespace);
    let operator = start.clone().with(start.access.at(&proxy.url())).start();
    begin(&shop);
    (shop, operator, proxy)
}

fn begin(shop: &Shop) {
    shop.apply(
        &shop.rollout(
            json!({"steps": [{"weight": 25, "bake": "10m"}, {"weight": 100, "bake": "4s"}],
        "progressDeadline": "1h"}),
        ),
    );
    shop.wait_healthy("blue");
    shop.deploy("green", "v2");
    shop.wait("the first step", |status| status["phase"] == "Baking" && shop.share() == 25);
}

#[test]
fn a_rollout_that_rests_is_deleted_and_its_weights_stay() {
    let shop = Shop::open("rests");
    let _operator = Start::within(&shop.namespace).start();
    shop.apply(&shop.rollout(json!({})));
    shop.wait_healthy("blue");
    shop.deploy("green", "v2");
    shop.wait_healthy("green");
    shop.wait("the watch is over", |status| status["safeToScaleDown"] == "blue");
    shop.kubectl(&["delete", "hro", "checkout", "--timeout=60s"]);
    assert_eq!(shop.share(), 100);
}

#[test]
fn a_rollout_of_which_nothing_was_recorded_goes_at_once() {
    let shop = Shop::open("nothing");
    let _operator = Start::within(&shop.namespace).start();
    shop.kubectl(&["delete", "virtualservice", "checkout"]);
    shop.apply(&shop.rollout(json!({})));
    shop.wait("its route is missing", |status| {
        condition(status, "SpecAccepted")["message"]
            .as_str()
            .is_some_and(|why| why.contains("VirtualService"))
    });
    shop.kubectl(&["delete", "hro", "checkout", "--timeout=60s"]);
}

/// Lets the route stay for the rest of its namespace to go, or lets it go.
fn hold_route(shop: &Shop, holds: bool) {
    let finalizers = if holds { json!(["tests.haldane.dev/looks"]) } else { Value::Null };
    let patch = json!({"metadata": {"finalizers": finalizers}}).to_string();
    shop.kubectl(&["patch", "virtualservice", "checkout", "--type=merge", "-p", &patch]);
}

/// Deletes the namespace, in which the route stays until it was looked at; returns what was written of it.
fn delete_around_route(shop: &Shop, proxy: &Faults) -> Vec<Seen> {
    let before = proxy.seen().len();
    hold_route(shop, true);
    shop.kubectl(&["delete", "namespace", &shop.namespace, "--wait=false"]);
    let is_gone = || {
        let told =
            cluster().admin().within(&shop.namespace).try_kubectl(&["get", "hro", "checkout"]);
        told.is_err_and(|why| why.contains("not found"))
    };
    wait_for("the rollout is let go", PATIENCE, is_gone);
    assert_eq!(shop.get("namespace", &shop.namespace)["status"]["phase"], "Terminating");
    let mut seen = proxy.seen().split_off(before);
    seen.retain(|seen| {
        seen.method == "PATCH"
            && seen.target.contains("/virtualservices/checkout")
            && !seen.target.contains("dryRun")
            // Our mark alone is taken off where a rollout is let go.
            && String::from_utf8_lossy(&seen.body).contains("/weight")
    });
    seen
}

fn namespace_is_gone(shop: &Shop) {
    hold_route(shop, false);
    let namespace = format!("namespace/{}", shop.namespace);
    shop.kubectl(&["wait", "--for=delete", &namespace, "--timeout=90s"]);
}

/// A release at its first step whose sides run elsewhere: the namespace takes nobody's pods with it.
fn elsewhere(name: &str) -> (Shop, Operator, Faults) {
    let shop = Shop::open(name);
    let proxy = cluster().faults();
    let start = Start::within(&shop.namespace);
    let operator = start.clone().with(start.access.at(&proxy.url())).start();
    let side = |side: &str| json!({"name": side, "labels": {"side": side}});
    shop.apply(&shop.rollout(json!({"sides": [side("blue"), side("green")], "revision": "v2",
        "steps": [{"weight": 25, "bake": "10m"}, {"weight": 100, "bake": "4s"}], "progressDeadline": "1h"})));
    shop.wait("the first step", |status| status["phase"] == "Baking" && shop.share() == 25);
    (shop, operator, proxy)
}

#[test]
fn a_namespace_that_goes_is_not_held_up_and_its_traffic_is_put_back() {
    let (shop, _operator, proxy) = elsewhere("namespace");
    let written = delete_around_route(&shop, &proxy);
    assert_eq!(shop.share(), 0, "it was put back before the rollout was let go: {written:#?}");
    let first = written.first().expect("the engine wrote the route");
    let body = String::from_utf8_lossy(&first.body);
    assert!(body.contains("rollback:") && first.code == Some(200), "{first:?}: {body}");
    namespace_is_gone(&shop);
}

#[test]
fn a_namespace_that_goes_is_not_held_up_by_a_route_that_cannot_be_written() {
    let (shop, _operator, proxy) = elsewhere("stubborn");
    proxy.add(Rule::new("PATCH", "/virtualservices/checkout", Fault::Answer(500)));
    let written = delete_around_route(&shop, &proxy);
    assert!(!written.is_empty(), "it was tried");
    assert_eq!(shop.share(), 25);
    namespace_is_gone(&shop);
}

#[test]
fn a_namespace_that_goes_sends_nobody_to_a_side_that_is_dead() {
    let (shop, _operator, proxy) = behind_proxy("dead-side");
    shop.kubectl(&["scale", "deployment/checkout-blue", "--replicas=0"]);
    shop.wait("it holds", |status| status["heldBy"].to_string().contains("HomeDead"));
    let written = delete_around_route(&shop, &proxy);
    assert_eq!((shop.share(), written.len()), (25, 0), "{written:#?}");
    namespace_is_gone(&shop);
}

#[test]
fn a_route_that_is_missing_is_named_and_taken_up_when_it_is_there() {
    let shop = Shop::open("missing");
    let route = shop.get("virtualservices", "checkout");
    shop.kubectl(&["delete", "virtualservice", "checkout"]);
    let _operator = Start::within(&shop.namespace).start();
    shop.apply(&shop.rollout(json!({})));
    let status =
        shop.wait("the condition", |status| condition(status, "Stalled")["status"] == "True");
    let why = condition(&status, "SpecAccepted")["message"].as_str().unwrap_or_default();
    assert!(why.contains("VirtualService") && why.contains("does not exist"), "{why}");
    let mut again = route;
    again["metadata"] = json!({"name": "checkout"});
    shop.apply(&again);
    shop.wait_healthy("blue");
}

#[test]
fn a_second_rollout_on_a_route_is_refused_with_the_name_of_the_first() {
    let shop = Shop::open("two");
    let _operator = Start::within(&shop.namespace).start();
    shop.apply(&shop.rollout(json!({})));
    shop.wait_healthy("blue");
    let mut second = shop.rollout(json!({}));
    second["metadata"]["name"] = "second".into();
    // The same destinations, spelled in full.
    let full = |side: &str| json!({"host": format!("checkout-{side}.{}.svc.cluster.local", shop.namespace)});
    second["spec"]["traffic"][0]["istio"]["destinations"] =
        json!({"blue": full("blue"), "green": full("green")});
    shop.apply(&second);
    let told = || {
        let second = shop.get("hro", "second");
        condition(&second["status"], "SpecAccepted")["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    wait_for("the second is refused", PATIENCE, || {
        told().contains(&format!("{}/checkout", shop.namespace))
    });
    shop.kubectl(&["delete", "hro", "checkout", "--timeout=60s"]);
    wait_for("its turn has come", PATIENCE, || {
        shop.get("hro", "second")["status"]["phase"] == "Healthy"
    });
}

#[test]
fn what_a_rollout_of_this_name_left_behind_is_none_of_the_next_ones() {
    let shop = Shop::open("left");
    // As `kubectl delete --cascade=orphan` leaves them: more than are kept, and newer than any that comes.
    for attempt in 2..=13 {
        shop.apply(&json!({"apiVersion": "haldane.dev/v1alpha1", "kind": "AnalysisRun",
            "metadata": {"name": format!("checkout-{attempt}"), "labels": {"haldane.dev/rollout": "checkout"}},
            "spec": {"rollout": "checkout", "attempt": attempt}}));
    }
    let runs = || -> Vec<Value> {
        let told = shop.kubectl(&["get", "har", "-o=json"]);
        serde_json::from_str::<Value>(&told).unwrap()["items"].as_array().unwrap().clone()
    };
    let first = || runs().into_iter().find(|run| run["spec"]["attempt"] == 1);
    let has = |run: &Value, word: &str| run["status"]["entries"].to_string().contains(word);
    let _operator = Start::within(&shop.namespace).start();
    shop.apply(&shop.rollout(json!({})));
    shop.wait_healthy("blue");
    shop.deploy("green", "v2");
    wait_for("it is written", PATIENCE, || first().is_some_and(|run| has(&run, "Started")));
    let uid = first().unwrap()["metadata"]["uid"].clone();
    shop.wait_healthy("green");
    wait_for("all of it is", PATIENCE, || first().is_some_and(|run| has(&run, "Promoted")));
    assert_eq!(first().unwrap()["metadata"]["uid"], uid, "it is made once");
    assert_eq!(runs().len(), 13, "nothing of others is taken away");
}

#[test]
fn a_raise_by_hand_is_undone_and_an_end_by_hand_is_not_fought() {
    let (shop, _operator) = at_first_step("hands");
    weights(&shop, 40, 60);
    wait_for("the raise is undone", PATIENCE, || shop.share() == 25);
    let events = || shop.kubectl(&["get", "events", "-o=json"]);
    wait_for("who wrote is told", PATIENCE, || events().contains("somebody"));
    weights(&shop, 100, 0);
    shop.wait("a conflict", |status| status["phase"] == "Conflicted");
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(shop.share(), 0, "a person's rollback is not fought");
}

#[test]
fn a_writer_that_resets_the_route_again_and_again_freezes_the_rollout() {
    let (shop, _operator) = at_first_step("gitops");
    for _ in 0..4 {
        weights(&shop, 30, 70);
        std::thread::sleep(Duration::from_secs(3));
        if shop.status()["phase"] == "Conflicted" {
            break;
        }
    }
    shop.wait("a conflict", |status| status["phase"] == "Conflicted");
    shop.set_badness(9);
    shop.wait("a breach rolls back all the same", |status| status["phase"] == "Degraded");
    wait_for("0 %", PATIENCE, || shop.share() == 0);
}

#[test]
fn others_labels_rules_and_order_survive_and_are_followed() {
    let (shop, _operator) = at_first_step("edited");
    let patch = json!([{"op": "add", "path": "/spec/http/0", "value": {"name": "search",
        "match": [{"uri": {"prefix": "/search"}}], "route": [{"destination": {"host": "checkout-blue"}}]}},
        {"op": "add", "path": "/metadata/labels/extra", "value": "yes"}]);
    shop.kubectl(&["patch", "virtualservice", "checkout", "--type=json", "-p", &patch.to_string()]);
    shop.set_badness(9);
    shop.wait("rolled back", |status| status["phase"] == "Degraded");
    let route = shop.get("virtualservices", "checkout");
    assert_eq!(route["spec"]["http"][0]["name"], "search");
    assert_eq!(
        route["spec"]["http"][2]["route"][1]["weight"].as_u64().unwrap_or(0),
        0,
        "{route:#}"
    );
    assert_eq!(route["metadata"]["labels"]["extra"], "yes");
}

#[test]
fn a_new_revision_in_flight_sends_the_traffic_back_before_a_pod_of_it_is_ready() {
    let (shop, _operator) = at_first_step("revision");
    shop.deploy("green", "v3");
    wait_for("the traffic is back", PATIENCE, || shop.share() == 0);
    let status =
        shop.wait("a new attempt", |status| status["attempt"] == 2 && status["weight"] == "25%");
    assert_eq!(shop.share(), 25, "{status:#}");
}

#[test]
fn scaling_and_restarting_no_template_is_no_new_revision() {
    let (shop, _operator) = at_first_step("scaled");
    shop.kubectl(&["scale", "deployment/checkout-green", "--replicas=3"]);
    shop.kubectl(&["annotate", "deployment/checkout-green", "note=mine"]);
    std::thread::sleep(Duration::from_secs(6));
    let status = shop.status();
    assert_eq!((&status["attempt"], shop.share()), (&json!(1), 25), "{status:#}");
}

#[test]
fn pods_that_all_crash_send_the_traffic_back_within_seconds_and_one_of_several_does_not() {
    let (shop, _operator) = at_first_step("crash");
    shop.kubectl(&["scale", "deployment/checkout-green", "--replicas=2"]);
    let pods = || -> Vec<String> {
        let told = shop.kubectl(&["get", "pods", "-l", "side=green", "-o=json"]);
        let list: Value = serde_json::from_str(&told).unwrap();
        let all = list["items"].as_array().unwrap().iter();
        all.filter(|pod| pod["status"]["phase"] == "Running")
            .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    };
    wait_for("two pods run", PATIENCE, || pods().len() == 2);
    let crash = |name: &str| {
        let status = json!({"conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            "containerStatuses": [{"name": "app", "image": "a", "imageID": "a", "ready": false, "restartCount": 5,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]});
        cluster().set_pod_status(&shop.namespace, name, &status);
    };
    let both = pods();
    crash(&both[0]);
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(shop.share(), 25, "one of two is alive");
    crash(&both[1]);
    let begin = std::time::Instant::now();
    wait_for("the traffic is back", PATIENCE, || shop.share() == 0);
    println!("0 % {:?} after the last pod was not ready", begin.elapsed());
    let status = shop.wait("told", |status| status["phase"] == "Degraded");
    let told = || shop.kubectl(&["get", "har", "checkout-1", "-o=json"]);
    wait_for("the journal says why", PATIENCE, || told().contains("CanaryLost"));
    assert_eq!(status["phase"], "Degraded");
}

#[test]
fn a_serving_side_that_is_known_dead_keeps_the_split_until_a_pod_is_ready() {
    let (shop, _operator) = at_first_step("dead-home");
    shop.kubectl(&["scale", "deployment/checkout-blue", "--replicas=0"]);
    shop.wait("it holds", |status| status["heldBy"].to_string().contains("HomeDead"));
    shop.set_badness(9);
    shop.wait("blocked", |status| status["phase"] == "RollingBack");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(shop.share(), 25, "nobody is sent to the dead");
    shop.kubectl(&["scale", "deployment/checkout-blue", "--replicas=1"]);
    wait_for("the traffic is back", PATIENCE, || shop.share() == 0);
}

#[test]
fn an_edit_in_flight_waits_and_a_spec_that_cannot_be_used_stops_no_rollback() {
    let (shop, _operator) = at_first_step("edits");
    let patch = json!({"spec": {"traffic": [{"name": "mesh", "istio": {
        "virtualService": {"name": "gone", "routes": ["primary"]},
        "destinations": {"blue": {"host": "checkout-blue"}, "green": {"host": "checkout-green"}}}}]}});
    shop.kubectl(&["patch", "hro", "checkout", "--type=merge", "-p", &patch.to_string()]);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(shop.share(), 25);
    shop.set_badness(9);
    wait_for("the traffic is back by the pinned plan", PATIENCE, || shop.share() == 0);
}
