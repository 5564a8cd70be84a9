//! Kinds that are not served yet, and objects that are nothing of their kind.

use std::time::{Duration, Instant};

use haldane_tests::{
    cluster::{Cluster, Foreign, Options},
    operator::{Shop, Start, cluster},
    process::wait_for,
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(90);

fn side(name: &str) -> Value {
    json!({"name": name, "labels": {"side": name}})
}

fn status_of(cluster: &Cluster, namespace: &str, name: &str) -> Value {
    let told = cluster.admin().within(namespace).try_kubectl(&["get", "hro", name, "-o=json"]);
    let told: Value =
        told.ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    told["status"].clone()
}

#[track_caller]
fn until(what: &str, look: impl Fn() -> Value, holds: impl Fn(&Value) -> bool) {
    let begin = Instant::now();
    loop {
        let mut seen = look();
        if holds(&seen) {
            return;
        }
        seen["record"] = Value::Null;
        assert!(begin.elapsed() < PATIENCE, "{what}: {seen:#}");
        std::thread::sleep(Duration::from_millis(300));
    }
}

#[test]
fn a_kind_that_is_not_served_is_named_and_taken_up_once_it_is_without_a_restart() {
    let late = cluster().beside("late", Options { controllers: false, audit: false });
    let crds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
    late.install_crds(&crds);
    let namespace = late.namespace("shop");
    let operator = Start {
        access: late.admin().clone(),
        namespaces: vec![namespace.clone()],
        lease_namespace: namespace.clone(),
        identity: "one".to_owned(),
        program: None,
    }
    .start();
    let rollout = |name: &str, traffic: Value| {
        json!({"apiVersion": "haldane.dev/v1alpha1", "kind": "Rollout", "metadata": {"name": name}, "spec": {
            "sides": [side("blue"), side("green")], "revision": "1", "traffic": [traffic],
            "analysis": {"sources": [{"name": "main", "prometheus": {"url": "http://127.0.0.1:9"}}],
                "checks": [{"name": "up", "query": {"promql": "up", "max": "1"}}]}}})
    };
    let mesh = json!({"name": "mesh", "istio": {"virtualService": {"name": "checkout", "routes": ["primary"]},
        "destinations": {"blue": {"host": "checkout-blue"}, "green": {"host": "checkout-green"}}}});
    let service = |side: &str| json!({"service": format!("checkout-{side}"), "port": 80});
    let edge = json!({"name": "edge", "gateway": {"httpRoute": {"name": "checkout"},
        "destinations": {"blue": service("blue"), "green": service("green")}}});
    for (name, traffic) in [("mesh", mesh), ("edge", edge)] {
        late.apply(&namespace, &rollout(name, traffic).to_string());
    }
    for (name, kind) in [("mesh", "VirtualService"), ("edge", "HTTPRoute")] {
        until(
            "its kind is named",
            || status_of(&late, &namespace, name),
            |status| {
                let told = status["conditions"].to_string();
                told.contains("does not serve")
                    && told.contains(kind)
                    && told.contains("SpecRefused")
            },
        );
    }
    late.install(Foreign::Istio);
    for side in ["blue", "green"] {
        late.apply(&namespace, &json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("checkout-{side}")},
            "spec": {"selector": {"side": side}, "ports": [{"port": 80}]}}).to_string());
    }
    let route = |side: &str, weight: u64| json!({"destination": {"host": format!("checkout-{side}")}, "weight": weight});
    late.apply(
        &namespace,
        &json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "checkout"}, "spec": {"hosts": ["checkout"],
            "http": [{"name": "primary", "route": [route("blue", 100), route("green", 0)]}]}})
        .to_string(),
    );
    until(
        "it is taken up",
        || status_of(&late, &namespace, "mesh"),
        |status| status["serving"] == "blue" && status["traffic"][0]["observed"].is_string(),
    );
    // The other kind is as absent as before.
    assert!(status_of(&late, &namespace, "edge")["conditions"].to_string().contains("HTTPRoute"));
    assert!(operator.ask("/live").is_some());
}

#[test]
fn a_server_that_has_an_older_version_alone_is_watched_in_that_one() {
    let old = cluster().beside("old", Options { controllers: false, audit: true });
    old.install_crds(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds"));
    old.install(Foreign::Istio);
    let name = "virtualservices.networking.istio.io";
    let told = old.admin().kubectl(&["get", "crd", name, "-o=json"]);
    let mut definition: Value = serde_json::from_str(&told).unwrap();
    for version in definition["spec"]["versions"].as_array_mut().unwrap() {
        let is_old = version["name"] == "v1beta1";
        (version["served"], version["storage"]) = (is_old.into(), is_old.into());
    }
    let versions = json!({"spec": {"versions": definition["spec"]["versions"]}}).to_string();
    old.admin().kubectl(&["patch", "crd", name, "--type=merge", "-p", &versions]);
    let namespace = old.namespace("shop");
    let (user, access) = ("engine", old.account(&namespace, "engine"));
    old.admin().kubectl(&[
        "create",
        "clusterrolebinding",
        "engine",
        "--clusterrole=cluster-admin",
        &format!("--serviceaccount={namespace}:{user}"),
    ]);
    let _operator = Start {
        access,
        namespaces: vec![namespace.clone()],
        lease_namespace: namespace.clone(),
        identity: "one".to_owned(),
        program: None,
    }
    .start();
    let to = |side: &str, weight: u64| json!({"destination": {"host": format!("checkout-{side}")}, "weight": weight});
    let route = |blue: u64| {
        json!({"apiVersion": "networking.istio.io/v1beta1", "kind": "VirtualService", "metadata": {"name": "checkout"},
            "spec": {"hosts": ["checkout"], "http": [{"route": [to("blue", blue), to("green", 100 - blue)]}]}})
    };
    for side in ["blue", "green"] {
        old.apply(
            &namespace,
            &json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": format!("checkout-{side}")}, "spec": {"ports": [{"port": 80}]}})
            .to_string(),
        );
    }
    old.apply(&namespace, &route(100).to_string());
    let host = |side: &str| json!({"host": format!("checkout-{side}")});
    let rollout = json!({"apiVersion": "haldane.dev/v1alpha1", "kind": "Rollout", "metadata": {"name": "mesh"}, "spec": {
        "sides": [side("blue"), side("green")],
        "traffic": [{"name": "mesh", "istio": {"virtualService": {"name": "checkout"},
            "destinations": {"blue": host("blue"), "green": host("green")}}}],
        "analysis": {"sources": [{"name": "main", "prometheus": {"url": "http://127.0.0.1:9"}}],
            "checks": [{"name": "up", "query": {"promql": "up", "max": "1"}}]}}});
    old.apply(&namespace, &rollout.to_string());
    let status = || status_of(&old, &namespace, "mesh");
    until("it rests", status, |status| {
        status["serving"] == "blue" && status["traffic"][0]["observed"] == "0%"
    });
    // The watch of the version that is not there ends; the other one tells of a hand.
    std::thread::sleep(Duration::from_secs(12));
    let from = jiff::Timestamp::now();
    std::thread::sleep(Duration::from_secs(12));
    let engine = format!("system:serviceaccount:{namespace}:{user}");
    let mut asked = old.requests_of(&engine);
    asked.retain(|request| request.at >= from && request.uri.contains("virtualservices"));
    assert!(asked.is_empty(), "asked while nothing changes: {asked:#?}");
    old.apply(&namespace, &route(90).to_string());
    until("the hand is seen", status, |status| status["lastDecision"]["reason"] == "RaiseUndone");
}

#[test]
fn a_namespace_that_cannot_be_read_keeps_nobody_from_guarding_the_others() {
    let shop = Shop::open("beside-a-gone-one");
    let mut start = Start::within(&shop.namespace);
    // As after its deletion: no Role of ours is left there.
    start.namespaces.insert(0, "gone-with-its-role".to_owned());
    let account = cluster().account(&shop.namespace, "engine");
    shop.kubectl(&[
        "create",
        "rolebinding",
        "engine",
        "--clusterrole=cluster-admin",
        &format!("--serviceaccount={}:engine", shop.namespace),
    ]);
    let operator = start.with(account).start();
    shop.apply(
        &shop.rollout(
            json!({"steps": [{"weight": 25, "bake": "10m"}, {"weight": 100, "bake": "4s"}]}),
        ),
    );
    shop.wait_healthy("blue");
    assert!(operator.ask("/ready").is_some(), "it is ready");
    shop.deploy("green", "v2");
    shop.wait("the first step", |status| status["phase"] == "Baking" && shop.share() == 25);
    // Longer than what was seen of pods before their watch broke counts.
    std::thread::sleep(Duration::from_secs(35));
    let told = shop.status()["conditions"].to_string();
    assert!(!told.contains("NotReadable"), "its own workloads are seen: {told}");
    shop.set_badness(9);
    wait_for("the traffic is back", PATIENCE, || shop.share() == 0);
}

#[test]
fn objects_of_an_odd_form_in_a_watch_stop_nobody() {
    let shop = Shop::open("odd");
    let operator = Start::within(&shop.namespace).start();
    shop.apply(&shop.rollout(json!({})));
    shop.wait_healthy("blue");
    // What its CRD lets through: a field that nobody knows, routes without destinations, weights that add up to nothing.
    for (name, spec) in [
        ("no-routes", json!({"hosts": ["a"]})),
        ("empty-routes", json!({"hosts": ["b"], "http": [], "tls": [], "tcp": []})),
        (
            "no-names",
            json!({"hosts": ["c"], "http": [{"route": [{"destination": {"host": "x"}}]}]}),
        ),
        (
            "huge",
            json!({"hosts": ["d"], "http": [{"name": "primary", "route": [
            {"destination": {"host": "checkout-blue"}, "weight": 2_147_483_647_i64},
            {"destination": {"host": "checkout-green"}, "weight": 2_147_483_647_i64}]}]}),
        ),
        (
            "redirects",
            json!({"hosts": ["e"], "http": [{"name": "primary", "redirect": {"uri": "/x"}}]}),
        ),
    ] {
        let odd = json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": name}, "spec": spec});
        shop.apply(&odd);
        let mut rollout = shop.rollout(json!({}));
        rollout["metadata"]["name"] = name.into();
        rollout["spec"]["traffic"][0]["istio"]["virtualService"]["name"] = name.into();
        shop.apply(&rollout);
    }
    // Pods without labels or an owner, sets that own themselves, workloads that mean nobody's pods.
    shop.apply(
        &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare", "labels": null},
        "spec": {"nodeName": "nowhere", "containers": [{"name": "a", "image": "a"}]}}),
    );
    shop.apply(&json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "stray",
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "gone", "uid": "none"}]},
        "spec": {"replicas": 1, "selector": {"matchExpressions": [{"key": "side", "operator": "DoesNotExist"}]},
            "template": {"metadata": {"labels": {"x": "y"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}}}));
    cluster().set_pod_status(&shop.namespace, "bare", &json!({"phase": "Unknown", "conditions": [],
        "containerStatuses": [{"name": "a", "image": "a", "imageID": "", "ready": false, "restartCount": 0, "state": {}}]}));
    for name in ["no-routes", "empty-routes", "no-names", "redirects"] {
        wait_for(&format!("{name} is refused by name"), PATIENCE, || {
            let told = shop.get("hro", name)["status"]["conditions"].to_string();
            told.contains("SpecRefused") && told.contains("VirtualService")
        });
    }
    // The others go on, under the same engine.
    shop.deploy("green", "v2");
    shop.wait_healthy("green");
    let metrics = operator.ask("/metrics").unwrap();
    let panics = metrics.lines().find(|line| line.starts_with("haldane_panics_total"));
    assert_eq!(panics, Some("haldane_panics_total 0"), "{metrics}");
}
