//! What people ask for through the API server, and what the engine may not do.

use haldane_tests::operator::{Shop, Start, cluster};
use serde_json::json;

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
