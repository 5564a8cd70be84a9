//! What people ask for through the API server, and what the engine may not do.

use std::time::Duration;

use haldane_tests::{
    operator::{Shop, Start, cluster},
    process::wait_for,
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

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
    let of = |verb: &str, step: u64, revision: &Value| {
        json!({"rollout": "checkout", "verb": verb, "revision": revision, "attempt": attempt, "step": step,
            "requestedBy": "alice"})
    };
    let wrong = request(&shop, "wrong", of("Promote", 0, &json!("other")));
    assert_eq!(wrong["outcome"], "Refused", "{wrong}");
    let late = request(&shop, "late", of("Promote", 1, revision));
    assert_eq!(late["outcome"], "Refused", "{late}");
    let promoted = request(&shop, "good", of("Promote", 0, revision));
    assert_eq!(
        (&promoted["outcome"], &promoted["actor"]),
        (&json!("Accepted"), &json!("alice")),
        "{promoted}"
    );
    shop.wait("the second step", |_| shop.share() == 50);
    let mut hold = of("Pause", 0, revision);
    hold.as_object_mut().unwrap().remove("step");
    assert_eq!(request(&shop, "hold", hold)["outcome"], "Accepted");
    shop.wait("paused", |status| {
        status["phase"] == "Paused" && status["holds"][0]["actor"] == "alice"
    });
    let abort =
        json!({"rollout": "checkout", "verb": "Abort", "reason": "enough", "requestedBy": "bob"});
    assert_eq!(request(&shop, "stop", abort)["outcome"], "Accepted");
    let status = shop.wait("rolled back", |status| status["phase"] == "Degraded");
    assert_eq!(shop.share(), 0);
    assert_eq!(status["phase"], "Degraded");
    let told = || shop.kubectl(&["get", "har", "checkout-1", "-o=json"]);
    wait_for("the journal names who asked", PATIENCE, || {
        told().contains("bob") && told().contains("enough")
    });
    let mut resume = of("Resume", 0, revision);
    resume.as_object_mut().unwrap().remove("step");
    assert_eq!(request(&shop, "on", resume)["outcome"], "Accepted");
    let mut retry = of("Retry", 0, revision);
    retry.as_object_mut().unwrap().remove("step");
    assert_eq!(request(&shop, "again", retry)["outcome"], "Accepted");
    shop.wait("the second attempt", |status| status["attempt"] == 2 && shop.share() == 25);
}

#[test]
fn a_right_that_is_missing_is_named_in_a_condition() {
    let shop = Shop::open("rights");
    let rules = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "engine"}, "rules": [
        {"apiGroups": ["haldane.dev"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]},
        {"apiGroups": ["networking.istio.io"], "resources": ["virtualservices"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["apps"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]}]});
    shop.apply(&rules);
    shop.apply(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "engine"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "engine"},
        "subjects": [{"kind": "ServiceAccount", "name": "engine", "namespace": shop.namespace}]}));
    let account = cluster().account(&shop.namespace, "engine");
    let _operator = Start::within(&shop.namespace).with(account).start();
    shop.apply(&shop.rollout(json!({})));
    let status = shop.wait("the condition", |status| {
        status["conditions"].to_string().contains("cannot patch resource")
    });
    let told = status["conditions"].to_string();
    assert!(
        told.contains("virtualservices") && told.contains("grant the engine this verb"),
        "{told}"
    );
    assert_eq!(shop.share(), 0);
}

#[test]
fn a_secret_of_another_namespace_is_not_read_and_one_of_its_own_is_never_shown() {
    let shop = Shop::open("secrets");
    shop.let_secrets_be_read();
    let mut operator = Start::within(&shop.namespace).start();
    let sources = json!([{"name": "main", "prometheus": {"url": format!("http://{}", shop.metrics()),
        "bearer": {"secretKeyRef": {"name": "prom", "key": "token"}}}}]);
    shop.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "prom"},
        "stringData": {"token": "s3cr3t-token"}}));
    shop.apply(&shop.rollout(json!({"analysis": {"interval": "1s", "sources": sources,
        "checks": [{"name": "badness", "query": {"promql": "badness", "max": "1"}}]}})));
    std::thread::sleep(Duration::from_secs(8));
    operator.stop();
    let everything =
        format!("{}{}{}", operator.log(), shop.kubectl(&["get", "hro,har,events", "-o=yaml"]), "");
    assert!(!everything.contains("s3cr3t-token"));
}
