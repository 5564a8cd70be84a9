//! A rollout that is deleted, in each of its phases: where its traffic goes, and what is left of it.

use std::time::{Duration, Instant};

use haldane_tests::{
    cluster::{Fault, Faults, Rule},
    operator::{Shop, Start, cluster},
};
use serde_json::{Value, json};

use crate::{
    company,
    kinds::{beside, status},
    without_weights,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A phase, how a rollout is brought there, and the share of green after it was deleted there.
struct Case {
    phase: &'static str,
    spec: fn() -> Value,
    /// What is done once the share that it waits for is there.
    then: fn(&Shop, &Faults),
    /// The share before that.
    at: u64,
    /// The share afterwards.
    share: u64,
}

/// One step of 25 %, which lasts.
fn lasting() -> Value {
    json!({"steps": [{"weight": 25, "bake": "10m"}, {"weight": 100, "bake": "1s"}], "progressDeadline": "1h"})
}

/// Straight to 100 %.
fn quick(watch: &str) -> Value {
    json!({"steps": [{"weight": 100, "bake": "1s"}], "watch": watch, "progressDeadline": "1h"})
}

fn ask(shop: &Shop, name: &str, verb: &str) {
    let status = status(shop, name);
    let (revision, attempt) = (&status["revision"], &status["attempt"]);
    let mut spec = json!({"rollout": name, "verb": verb, "requestedBy": "ann"});
    if verb != "Abort" {
        spec["revision"] = revision.clone();
        spec["attempt"] = attempt.clone();
    }
    shop.apply(&json!({"apiVersion": "haldane.dev/v1alpha1", "kind": "RolloutRequest",
        "metadata": {"name": format!("{name}-{}", verb.to_lowercase())}, "spec": spec}));
}

/// No write of a route gets through any more.
fn refuse_writes(faults: &Faults, name: &str) {
    faults.add(Rule::new("PATCH", &format!("/virtualservices/{name}"), Fault::Answer(500)));
}

fn nothing(_: &Shop, _: &Faults) {}

/// Somebody else raises the share, and once more each time that it was put right.
fn write_again_and_again(shop: &Shop, _: &Faults) {
    let name = "conflicted";
    let raise = json!([{"op": "replace", "path": "/spec/http/1/route/0/weight", "value": 40},
        {"op": "replace", "path": "/spec/http/1/route/1/weight", "value": 60}])
    .to_string();
    let is_conflict = || status(shop, name)["phase"] == "Conflicted";
    while !is_conflict() {
        shop.kubectl(&["patch", "virtualservice", name, "--type=json", "-p", &raise]);
        until("it is put right", shop, name, || share(shop, name) == 25 || is_conflict());
    }
}

const CASES: [Case; 10] = [
    // Its pods are not there: nothing begins.
    Case { phase: "Pending", spec: lasting, then: nothing, at: 0, share: 0 },
    // The first write does not get through.
    Case { phase: "Shifting", spec: lasting, then: nothing, at: 0, share: 0 },
    Case { phase: "Baking", spec: lasting, then: nothing, at: 25, share: 0 },
    Case {
        phase: "Waiting",
        spec: || {
            json!({"steps": [{"weight": 25, "bake": "1s"}, {"weight": 100, "bake": "1s",
                "gates": [{"name": "go", "manual": {}}]}], "progressDeadline": "1h"})
        },
        then: nothing,
        at: 25,
        share: 0,
    },
    Case {
        phase: "Paused",
        spec: lasting,
        then: |shop, _| ask(shop, "paused", "Pause"),
        at: 25,
        share: 0,
    },
    // Somebody writes the route again and again.
    Case { phase: "Conflicted", spec: lasting, then: write_again_and_again, at: 25, share: 0 },
    Case {
        phase: "RollingBack",
        spec: lasting,
        then: |shop, faults| {
            refuse_writes(faults, "rollingback");
            ask(shop, "rollingback", "Abort");
        },
        at: 25,
        share: 0,
    },
    Case {
        phase: "Degraded",
        spec: lasting,
        then: |shop, _| ask(shop, "degraded", "Abort"),
        at: 25,
        share: 0,
    },
    // Promoted, and still guarded: its weights are a rollout's in flight no longer.
    Case { phase: "Watching", spec: || quick("10m"), then: nothing, at: 100, share: 100 },
    Case { phase: "Healthy", spec: || quick("1s"), then: nothing, at: 100, share: 100 },
];

fn name(case: &Case) -> String {
    case.phase.to_lowercase()
}

fn route(shop: &Shop, name: &str) -> Value {
    shop.get("virtualservices", name)
}

fn share(shop: &Shop, name: &str) -> u64 {
    route(shop, name)["spec"]["http"][1]["route"][1]["weight"].as_u64().unwrap_or(0)
}

#[track_caller]
fn until(what: &str, shop: &Shop, name: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        if begin.elapsed() > PATIENCE {
            let mut status = status(shop, name);
            status["record"] = Value::Null;
            panic!(
                "{name}: {what}: not within {PATIENCE:?}; share {}; {status:#}",
                share(shop, name)
            );
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_rollout_that_is_deleted_leaves_the_route_as_it_was_whatever_its_phase() {
    let shop = Shop::open("phases");
    let faults = cluster().faults();
    refuse_writes(&faults, "shifting");
    let start = Start::within(&shop.namespace);
    let _operator = start.clone().with(start.access.at(&faults.url())).start();
    // One of them has a side of its own, which has no pods.
    let mut idle = shop.deployment("idle", "v1");
    idle["spec"]["replicas"] = 0.into();
    shop.apply(&idle);
    for case in &CASES {
        let green = if case.phase == "Pending" { "idle" } else { "green" };
        let of = |side: &str| {
            let side = if side == "green" { green } else { side };
            json!({"deployment": format!("checkout-{side}")})
        };
        beside(&shop, &name(case), of, (case.spec)());
    }
    for case in &CASES {
        let name = name(case);
        until("it rests", &shop, &name, || status(&shop, &name)["phase"] == "Healthy");
    }
    let before: Vec<Value> =
        CASES.iter().map(|case| without_weights(&route(&shop, &name(case)))).collect();
    shop.deploy("green", "v2");
    shop.deploy("idle", "v2");
    for case in &CASES {
        let name = name(case);
        until("the share", &shop, &name, || share(&shop, &name) == case.at);
        let is_settled = || {
            let status = status(&shop, &name);
            status["attempt"] == 1 || case.phase == "Pending" && status["phase"] == "Pending"
        };
        until("its attempt", &shop, &name, is_settled);
        (case.then)(&shop, &faults);
    }
    for (case, before) in CASES.iter().zip(&before) {
        let name = name(case);
        let is_there = || {
            let status = status(&shop, &name);
            let phase = status["phase"].as_str().unwrap_or_default().to_owned();
            match case.phase {
                // While it is watched it is told as Healthy, and what served before is kept.
                "Watching" => phase == "Healthy" && status["safeToScaleDown"].is_null(),
                "Healthy" => phase == "Healthy" && status["safeToScaleDown"] == "blue",
                other => phase == other,
            }
        };
        until("its phase", &shop, &name, is_there);
        assert_eq!(&without_weights(&route(&shop, &name)), before, "{name}: while it is there");
        if case.phase == "RollingBack" {
            // It is on its way out already, and goes once the traffic is back.
            shop.kubectl(&["delete", "hro", &name, "--wait=false"]);
            std::thread::sleep(Duration::from_secs(1));
            assert_eq!((share(&shop, &name), status(&shop, &name).is_null()), (25, false));
            faults.clear();
        } else if case.phase == "Shifting" {
            shop.kubectl(&["delete", "hro", &name, "--wait=false"]);
        } else {
            shop.kubectl(&["delete", "hro", &name, "--timeout=60s"]);
        }
    }
    for (case, before) in CASES.iter().zip(&before) {
        let name = name(case);
        let gone = || {
            let told =
                cluster().admin().within(&shop.namespace).try_kubectl(&["get", "hro", &name]);
            told.is_err_and(|why| why.contains("not found"))
        };
        until("it is gone", &shop, &name, gone);
        assert_eq!(share(&shop, &name), case.share, "{name}");
        let after = route(&shop, &name);
        assert_eq!(&without_weights(&after), before, "{name}: afterwards");
        assert!(!after["metadata"]["annotations"].to_string().contains("haldane.dev"), "{after:#}");
    }
}

#[test]
fn a_rollout_that_is_deleted_while_it_is_promoted_leaves_the_route_as_it_was() {
    let shop = company::shop("promoting");
    let faults = cluster().faults();
    let start = Start::within(&shop.namespace);
    let _operator = start.clone().with(start.access.at(&faults.url())).start();
    let mesh = json!({"virtualService": {"name": "checkout", "routes": ["primary"], "testers": ["testers"]},
        "destinations": {"blue": {"host": "checkout-blue"}, "green": {"host": "checkout-green"}}});
    shop.apply(&shop.rollout(json!({"traffic": [{"name": "mesh", "istio": mesh}],
        "steps": [{"weight": 100, "bake": "6s"}], "progressDeadline": "1h"})));
    shop.wait_healthy("blue");
    let before = company::spec(&shop);
    shop.deploy("green", "v2");
    shop.wait("all of it", |status| status["phase"] == "Baking" && shop.share() == 100);
    // Somebody puts the testers back, and no write gets through that would clean up after it.
    refuse_writes(&faults, "checkout");
    let back = json!([{"op": "replace", "path": "/spec/http/0/route", "value": before["http"][0]["route"]}]);
    shop.kubectl(&["patch", "virtualservice", "checkout", "--type=json", "-p", &back.to_string()]);
    shop.wait("it is held there", |status| status["phase"] == "Promoting");
    shop.kubectl(&["delete", "hro", "checkout", "--wait=false"]);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((shop.share(), shop.status().is_null()), (100, false), "it waits for its traffic");
    faults.clear();
    shop.kubectl(&["wait", "--for=delete", "hro/checkout", "--timeout=60s"]);
    let after = company::spec(&shop);
    assert_eq!(after, before);
}
