//! Releases through an HTTPRoute. No gateway runs: what its controller says of the route is what the test writes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use haldane_tests::{
    cluster::Access,
    operator::{Shop, Start, cluster},
};
use serde_json::{Value, json};

/// Plays a gateway's controller: it takes the route as it is, a moment later. At work until dropped.
struct Gateway {
    end: Arc<AtomicBool>,
    sleeps: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

// === impl Gateway ===

impl Gateway {
    fn start(shop: &Shop) -> Self {
        let access = cluster().admin().within(&shop.namespace);
        let (end, sleeps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (ended, asleep) = (end.clone(), sleeps.clone());
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                if !asleep.load(Ordering::Relaxed) {
                    accept(&access);
                }
                std::thread::sleep(Duration::from_millis(300));
            }
        });
        Self { end, sleeps, thread: Some(thread) }
    }

    fn sleeps(&self, sleeps: bool) {
        self.sleeps.store(sleeps, Ordering::Relaxed);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Says of the route's generation that it is accepted and resolved, where that was not said yet.
fn accept(access: &Access) {
    let Ok(text) = access.try_kubectl(&["get", "httproute", "checkout", "-o=json"]) else { return };
    let route: Value = serde_json::from_str(&text).unwrap();
    let generation = &route["metadata"]["generation"];
    if route["status"]["parents"][0]["conditions"][0]["observedGeneration"] == *generation {
        return;
    }
    let condition = |kind: &str| {
        json!({"type": kind, "status": "True", "observedGeneration": generation,
        "reason": kind, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let status = json!({"status": {"parents": [{"parentRef": {"name": "edge"},
        "controllerName": "example.com/gateway",
        "conditions": [condition("Accepted"), condition("ResolvedRefs")]}]}});
    let patch = format!("-p={status}");
    // A write in between is seen at the next look.
    let _ = access.try_kubectl(&[
        "patch",
        "httproute",
        "checkout",
        "--subresource=status",
        "--type=merge",
        &patch,
    ]);
}

fn http_route() -> Value {
    let backend = |side: &str, weight: u64| json!({"name": format!("checkout-{side}"), "port": 80, "weight": weight});
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "checkout", "labels": {"team": "shop"}},
        "spec": {"parentRefs": [{"name": "edge"}], "hostnames": ["checkout.example"], "rules": [
            {"name": "testers", "matches": [{"headers": [{"name": "x-canary", "value": "1"}]}],
                "backendRefs": [{"name": "checkout-green", "port": 80}]},
            {"name": "primary", "timeouts": {"request": "10s"},
                "backendRefs": [backend("blue", 100), backend("green", 0)]}]}})
}

fn rollout(shop: &Shop) -> Value {
    let service = |side: &str| json!({"service": format!("checkout-{side}"), "port": 80});
    shop.rollout(json!({"traffic": [{"name": "edge", "gateway": {"httpRoute": {"name": "checkout"},
        "destinations": {"blue": service("blue"), "green": service("green")}}}]}))
}

fn route(shop: &Shop) -> Value {
    shop.get("httproute", "checkout")
}

/// The share of green, in percent.
fn share(shop: &Shop) -> f64 {
    let route = route(shop);
    let backends = &route["spec"]["rules"][1]["backendRefs"];
    // A weight that is not written means 1.
    let [blue, green] = [0, 1].map(|at| backends[at]["weight"].as_f64().unwrap_or(1.0));
    100.0 * green / (blue + green)
}

fn is_at(shop: &Shop, percent: f64) -> bool {
    (share(shop) - percent).abs() < 0.01
}

/// All that is not a weight, our mark, or the server's own.
fn without_weights(shop: &Shop) -> Value {
    let mut route = route(shop);
    for at in 0..2 {
        route["spec"]["rules"][1]["backendRefs"][at]["weight"] = Value::Null;
    }
    let annotations = route["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    let theirs: serde_json::Map<_, _> =
        annotations.into_iter().filter(|(name, _)| !name.contains("haldane.dev/")).collect();
    json!({"labels": route["metadata"]["labels"], "annotations": theirs, "spec": route["spec"]})
}

#[test]
fn an_http_route_gets_a_release_step_by_step_as_its_gateway_takes_each() {
    let shop = Shop::open("edge");
    shop.apply(&http_route());
    let gateway = Gateway::start(&shop);
    let before = without_weights(&shop);
    let _operator = Start::within(&shop.namespace).start();
    shop.apply(&rollout(&shop));
    let first = shop.wait_healthy("blue");
    assert_eq!(first["attempt"], 0, "a first look is no release: {first:#}");
    gateway.sleeps(true);
    shop.deploy("green", "v2");
    shop.wait("the first step is written", |_| is_at(&shop, 25.0));
    std::thread::sleep(Duration::from_secs(8));
    let status = shop.status();
    let is_there = is_at(&shop, 25.0) && status["phase"] == "Shifting";
    assert!(is_there, "no gateway has taken it, at {} %: {status:#}", share(&shop));
    assert_eq!(without_weights(&shop), before);
    gateway.sleeps(false);
    let status = shop.wait_healthy("green");
    assert!(is_at(&shop, 100.0) && status["attempt"] == 1, "{status:#}");
    assert_eq!(without_weights(&shop), before);
    assert_eq!(shop.share(), 0, "the other route is nobody's");
}

#[test]
fn a_breach_behind_an_http_route_sends_all_of_it_back_though_no_gateway_says_so() {
    let shop = Shop::open("edge-breach");
    shop.apply(&http_route());
    let gateway = Gateway::start(&shop);
    let before = without_weights(&shop);
    let _operator = Start::within(&shop.namespace).start();
    let mut rollout = rollout(&shop);
    rollout["spec"]["steps"] =
        json!([{"weight": 25, "bake": "10m"}, {"weight": 100, "bake": "4s"}]);
    rollout["spec"]["progressDeadline"] = "1h".into();
    shop.apply(&rollout);
    shop.wait_healthy("blue");
    shop.deploy("green", "v2");
    shop.wait("the first step", |status| status["phase"] == "Baking" && is_at(&shop, 25.0));
    gateway.sleeps(true);
    shop.set_badness(9);
    shop.wait("the traffic is back", |_| is_at(&shop, 0.0));
    gateway.sleeps(false);
    let status = shop.wait("rolled back", |status| status["phase"] == "Degraded");
    assert!(is_at(&shop, 0.0), "{status:#}");
    assert_eq!(without_weights(&shop), before);
}
