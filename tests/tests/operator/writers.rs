//! A tool that writes the whole route again and again, as GitOps tools do, with and without its ignore rule.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use haldane_tests::operator::{Shop, Start, cluster};
use serde_json::{Value, json};

/// How often it writes; such tools do every half a minute or so.
const PACE: Duration = Duration::from_secs(2);

/// Who it is to the API server.
const TOOL: &str = "argocd-controller";

/// At work until dropped.
struct Tool {
    end: Arc<AtomicBool>,
    writes: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Tool {
    /// Applies what Git says of the route; `ignores_weights`: as the rule in `deploy/gitops` has it.
    fn start(shop: &Shop, ignores_weights: bool) -> Self {
        let (end, writes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let access = cluster().admin().within(&shop.namespace);
        let wanted = shop.virtual_service();
        let (ended, wrote) = (end.clone(), writes.clone());
        let folder = tempfile::tempdir().unwrap();
        let thread = std::thread::spawn(move || {
            let file = folder.path().join("route.json");
            while !ended.load(Ordering::Relaxed) {
                let mut document = wanted.clone();
                if ignores_weights {
                    let live = access.kubectl(&["get", "virtualservice", "checkout", "-o=json"]);
                    let live: Value = serde_json::from_str(&live).unwrap();
                    for at in 0..2 {
                        document["spec"]["http"][1]["route"][at]["weight"] =
                            live["spec"]["http"][1]["route"][at]["weight"].clone();
                    }
                    // What was written in between is not overwritten: the next round sees it.
                    document["metadata"]["resourceVersion"] =
                        live["metadata"]["resourceVersion"].clone();
                }
                std::fs::write(&file, document.to_string()).unwrap();
                let manager = format!("--field-manager={TOOL}");
                let told = access.try_kubectl(&[
                    "apply",
                    "--server-side",
                    "--force-conflicts",
                    &manager,
                    "-f",
                    file.to_str().unwrap(),
                ]);
                wrote.fetch_add(u64::from(told.is_ok()), Ordering::Relaxed);
                std::thread::sleep(PACE);
            }
        });
        Self { end, writes, thread: Some(thread) }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[test]
fn a_tool_that_resets_the_route_without_its_rule_freezes_the_rollout_and_is_named() {
    let shop = Shop::open("resets");
    let _operator = Start::within(&shop.namespace).start();
    shop.apply(&shop.rollout(
        json!({"steps": [{"weight": 25, "bake": "10m"}, {"weight": 100, "bake": "4s"}], "progressDeadline": "1h"}),
    ));
    shop.wait_healthy("blue");
    let tool = Tool::start(&shop, false);
    shop.deploy("green", "v2");
    shop.wait("a conflict", |status| status["phase"] == "Conflicted");
    assert!(tool.writes.load(Ordering::Relaxed) > 1);
    let events = || shop.kubectl(&["get", "events", "-o=json"]);
    haldane_tests::process::wait_for("who writes is named", Duration::from_secs(30), || {
        events().contains(TOOL)
    });
    // It is not fought: what the tool wrote stays.
    std::thread::sleep(2 * PACE);
    assert_eq!((shop.share(), &shop.status()["phase"]), (0, &json!("Conflicted")));
}

#[test]
fn a_tool_that_leaves_the_weights_out_lets_the_release_go_on() {
    let shop = Shop::open("ignores");
    let _operator = Start::within(&shop.namespace).start();
    shop.apply(&shop.rollout(json!({})));
    shop.wait_healthy("blue");
    let tool = Tool::start(&shop, true);
    shop.deploy("green", "v2");
    let status = shop.wait_healthy("green");
    assert_eq!((shop.share(), &status["attempt"]), (100, &json!(1)), "{status:#}");
    assert!(tool.writes.load(Ordering::Relaxed) > 2);
    let events = shop.kubectl(&["get", "events", "-o=json"]);
    assert!(!events.contains("RaiseUndone") && !events.contains("LoweredByOther"), "{events}");
}
