//! Every kind of workload that may run a side, under its own controller, and what is said of pods that are not well.

use std::time::Duration;

use haldane_tests::{
    operator::{Shop, Start, cluster},
    process::wait_for,
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// A route of its own name, and a rollout of it between `NAME-blue` and `NAME-green`.
pub(crate) fn beside(shop: &Shop, name: &str, workload: impl Fn(&str) -> Value, more: Value) {
    let mut route = shop.virtual_service();
    route["metadata"]["name"] = name.into();
    route["spec"]["hosts"] = json!([name]);
    shop.apply(&route);
    let mut rollout = shop.rollout(more);
    rollout["metadata"]["name"] = name.into();
    rollout["spec"]["traffic"][0]["istio"]["virtualService"]["name"] = name.into();
    for at in 0..2 {
        let side = rollout["spec"]["sides"][at]["name"].as_str().unwrap().to_owned();
        rollout["spec"]["sides"][at]["workload"] = workload(&side);
    }
    shop.apply(&rollout);
}

pub(crate) fn status(shop: &Shop, name: &str) -> Value {
    shop.get("hro", name)["status"].clone()
}

fn template(name: &str, side: &str, version: &str) -> Value {
    json!({"metadata": {"labels": {"of": name, "side": side}}, "spec": {"nodeName": "nowhere",
        "terminationGracePeriodSeconds": 0, "containers": [{"name": "app", "image": format!("{name}:{version}")}]}})
}

fn workload(kind: &str, name: &str, side: &str, version: &str) -> Value {
    let mut template = template(name, side, version);
    let mut spec = json!({"selector": {"matchLabels": {"of": name, "side": side}}});
    match kind {
        // Its controller chooses the node itself.
        "DaemonSet" => {
            template["spec"]["nodeName"] = Value::Null;
            // Nobody says of the node that it is ready.
            template["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
        }
        "StatefulSet" => spec["serviceName"] = "none".into(),
        _ => {}
    }
    spec["template"] = template;
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": format!("{name}-{side}")}, "spec": spec})
}

fn pod(name: &str, side: &str, version: &str) -> Value {
    let mut pod = template(name, side, version);
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["metadata"]["name"] = format!("{name}-{side}-{version}").into();
    pod
}

#[test]
fn a_release_is_noticed_whatever_kind_of_workload_runs_the_sides() {
    let shop = Shop::open("kinds");
    cluster().apply(
        "default",
        r#"{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "of-the-kinds"}}"#,
    );
    let kinds =
        [("StatefulSet", "statefulSet"), ("DaemonSet", "daemonSet"), ("ReplicaSet", "replicaSet")];
    let name = |kind: &str| kind.to_lowercase();
    let long = || json!({"steps": [{"weight": 25, "bake": "10m"}, {"weight": 100, "bake": "4s"}], "progressDeadline": "1h"});
    let _operator = Start::within(&shop.namespace).start();
    for (kind, field) in kinds {
        for side in ["blue", "green"] {
            shop.apply(&workload(kind, &name(kind), side, "v1"));
        }
        let of = |side: &str| json!({field: format!("{}-{side}", name(kind))});
        beside(&shop, &name(kind), of, long());
    }
    for side in ["blue", "green"] {
        shop.apply(&pod("bare", side, "v1"));
    }
    beside(&shop, "bare", |side| json!({"pods": {"of": "bare", "side": side}}), long());
    let all = || kinds.iter().map(|(kind, _)| name(kind)).chain(["bare".to_owned()]);
    let ready = || {
        let told = shop.kubectl(&["get", "pods", "-o=json"]);
        let pods: Value = serde_json::from_str(&told).unwrap();
        let pods = pods["items"].as_array().unwrap().clone();
        all().all(|name| {
            let mine = pods.iter().filter(|pod| pod["metadata"]["labels"]["of"] == name);
            mine.filter(|pod| pod["status"]["phase"] == "Running").count() == 2
        })
    };
    wait_for("a pod runs on each side of each", PATIENCE, ready);
    for name in all() {
        wait_for(&format!("{name} rests"), PATIENCE, || {
            let status = status(&shop, &name);
            status["phase"] == "Healthy" && status["attempt"] == 0
        });
    }
    for (kind, _) in kinds {
        shop.apply(&workload(kind, &name(kind), "green", "v2"));
    }
    // Nobody replaces what belongs to nobody.
    shop.kubectl(&["delete", "pod", "bare-green-v1", "--grace-period=0", "--force"]);
    shop.apply(&pod("bare", "green", "v2"));
    for name in all() {
        let share = || {
            let route = shop.get("virtualservices", &name);
            route["spec"]["http"][1]["route"][1]["weight"].as_u64().unwrap_or(0)
        };
        wait_for(&format!("the first step of {name}"), PATIENCE, || {
            share() == 25 && status(&shop, &name)["attempt"] == 1
        });
    }
    // One more, in flight.
    shop.apply(&workload("StatefulSet", "statefulset", "green", "v3"));
    wait_for("the next revision begins anew", PATIENCE, || {
        status(&shop, "statefulset")["attempt"] == 2
    });
    assert_eq!(status(&shop, "daemonset")["attempt"], 1);
}

#[test]
fn what_keeps_pods_from_being_ready_is_told_where_it_holds_and_where_it_sends_back() {
    let shop = Shop::open("reasons");
    let _operator = Start::within(&shop.namespace).start();
    shop.apply(&shop.rollout(
        json!({"steps": [{"weight": 25, "bake": "10m"}, {"weight": 100, "bake": "4s"}], "progressDeadline": "1h"}),
    ));
    shop.wait_healthy("blue");
    shop.deploy("green", "v2");
    shop.wait("the first step", |status| status["phase"] == "Baking" && shop.share() == 25);
    let told = shop.kubectl(&["get", "pods", "-l", "side=green", "-o=json"]);
    let pods: Value = serde_json::from_str(&told).unwrap();
    let running =
        pods["items"].as_array().unwrap().iter().find(|pod| pod["status"]["phase"] == "Running");
    let name = running.unwrap()["metadata"]["name"].as_str().unwrap();
    let broken = json!({"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        "containerStatuses": [{"name": "app", "image": "a", "imageID": "a", "ready": false, "restartCount": 5,
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
            "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]});
    cluster().set_pod_status(&shop.namespace, name, &broken);
    shop.wait("rolled back", |status| status["phase"] == "Degraded");
    let journal = || shop.kubectl(&["get", "har", "checkout-1", "-o=json"]);
    let words = "green: 0 of 1 pods are ready: 1 CrashLoopBackOff (OOMKilled)";
    wait_for("the journal says why", PATIENCE, || journal().contains(words));
    let events = || shop.kubectl(&["get", "events", "-o=json"]);
    wait_for("so does the event", PATIENCE, || events().contains(words));
    // Before a step it holds, and says so.
    shop.kubectl(&["scale", "deployment/checkout-green", "--replicas=0"]);
    shop.deploy("green", "v3");
    shop.wait("it holds", |status| status["heldBy"].to_string().contains("NotReady"));
    wait_for("it says why", PATIENCE, || events().contains("green: no pod is wanted"));
    assert_eq!(shop.share(), 0);
}
