//! ConfigMaps and Secrets whose contents make a revision, where a rollout says so.

use std::time::Duration;

use haldane_tests::{
    cluster::Seen,
    operator::{Shop, Start, cluster, let_secrets_be_read},
    process::wait_for,
};
use serde_json::{Value, json};

use crate::kinds::{beside, status};

const PATIENCE: Duration = Duration::from_secs(90);

fn config(shop: &Shop, flag: &str) {
    shop.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "flags"}, "data": {"flag": flag}}));
}

fn secret(shop: &Shop, token: &str) {
    shop.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"token": token}}));
}

/// Green takes its environment from both, and needs the ConfigMap.
fn refer(shop: &Shop) {
    let mut green = shop.deployment("green", "v1");
    green["spec"]["template"]["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "flags"}}, {"secretRef": {"name": "token", "optional": true}}]);
    shop.apply(&green);
}

fn counting(side: &str) -> Value {
    json!({"deployment": format!("checkout-{side}"), "contents": {"configMaps": true, "secrets": true}})
}

fn long() -> Value {
    json!({"steps": [{"weight": 25, "bake": "10m"}, {"weight": 100, "bake": "4s"}], "progressDeadline": "1h"})
}

#[test]
fn contents_make_a_revision_where_a_rollout_says_so_and_nowhere_else() {
    let shop = Shop::open("contents");
    let_secrets_be_read(&shop.namespace);
    config(&shop, "off");
    refer(&shop);
    let proxy = cluster().faults();
    let start = Start::within(&shop.namespace);
    let mut operator = start.clone().with(start.access.at(&proxy.url())).start();
    shop.apply(&shop.rollout(long()));
    beside(&shop, "counts", counting, long());
    for name in ["checkout", "counts"] {
        wait_for(&format!("{name} rests"), PATIENCE, || status(&shop, name)["phase"] == "Healthy");
        assert_eq!(status(&shop, name)["attempt"], 0, "a first look is no release");
    }
    config(&shop, "on");
    wait_for("the new contents are rolled out", PATIENCE, || {
        status(&shop, "counts")["attempt"] == 1 && status(&shop, "counts")["weight"] == "25%"
    });
    let first = status(&shop, "counts")["revision"].clone();
    secret(&shop, "s3cr3t-word");
    wait_for("so is a Secret that appears", PATIENCE, || status(&shop, "counts")["attempt"] == 2);
    assert_ne!(status(&shop, "counts")["revision"], first);
    // What is no content is none.
    shop.kubectl(&["annotate", "configmap", "flags", "note=mine"]);
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(status(&shop, "counts")["attempt"], 2);
    assert_eq!(status(&shop, "checkout")["attempt"], 0, "this one did not ask");
    let asked: Vec<Seen> = proxy.seen();
    let of = |seen: &&Seen| seen.target.contains("/configmaps") || seen.target.contains("/secrets");
    for seen in asked.iter().filter(of) {
        assert_eq!(seen.method, "GET", "{}", seen.target);
        let path = seen.target.split('?').next().unwrap();
        assert!(path.ends_with("/configmaps/flags") || path.ends_with("/secrets/token"), "{path}");
    }
    let count = asked.iter().filter(of).count();
    assert!(count < 60, "asked {count} times");
    operator.stop();
    let shown = shop.kubectl(&["get", "hro,har,events", "-o=yaml"]);
    assert!(!format!("{}{shown}", operator.log()).contains("s3cr3t-word"));
}

#[test]
fn contents_that_are_missing_or_may_not_be_read_are_named_and_taken_up_later() {
    let shop = Shop::open("no-contents");
    refer(&shop);
    let _operator = Start::within(&shop.namespace).start();
    shop.apply(&shop.rollout(json!({"sides": [
        {"name": "blue", "labels": {"side": "blue"}, "workload": counting("blue")},
        {"name": "green", "labels": {"side": "green"}, "workload": counting("green")}]})));
    let says = |words: &str| {
        let status = shop.wait(words, |status| status["conditions"].to_string().contains(words));
        assert_ne!(status["phase"], "Healthy", "nothing is known of green: {status:#}");
    };
    says("ConfigMap flags, whose contents count for the revision, does not exist");
    config(&shop, "off");
    says("cannot get resource \\\"secrets\\\"");
    let_secrets_be_read(&shop.namespace);
    let status = shop.wait_healthy("blue");
    assert_eq!(status["attempt"], 0, "what stood there is no release: {status:#}");
}
