//! The real API server of the tests: that it works, that it refuses, and that its faults are seen.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[path = "cluster/ends.rs"]
mod ends;
#[path = "cluster/faults.rs"]
mod faults;

use std::time::{Duration, Instant};

use haldane_tests::{
    cluster::{Access, Foreign, Kubelet, shared, version},
    process::wait_for,
};
use k8s_openapi::api::{
    admissionregistration::v1::ValidatingAdmissionPolicy,
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{ConfigMap, Pod},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, PostParams},
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

fn config_map(name: &str) -> ConfigMap {
    let value = json!({"metadata": {"name": name}, "data": {"key": "value"}});
    serde_json::from_value(value).unwrap()
}

fn config_maps(access: &Access, namespace: &str) -> Api<ConfigMap> {
    Api::namespaced(access.client(), namespace)
}

#[track_caller]
fn code<T: std::fmt::Debug>(told: kube::Result<T>) -> u16 {
    match told {
        Err(kube::Error::Api(status)) => status.code,
        other => panic!("{other:?} is no answer of the server"),
    }
}

/// Polls what must become true.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

// === the server ===

#[tokio::test]
async fn the_server_is_of_the_version_that_the_modules_name() {
    let told = shared().admin().client().apiserver_version().await.unwrap();
    assert_eq!(told.git_version, version());
    let kubectl = shared().admin().kubectl(&["version", "-o", "json"]);
    let kubectl: Value = serde_json::from_str(&kubectl).unwrap();
    assert_eq!(kubectl["clientVersion"]["gitVersion"], version());
    assert_eq!(kubectl["serverVersion"]["gitVersion"], version());
}

#[test]
fn kubectl_runs_as_whom_it_was_given_and_its_complaint_is_told() {
    let namespace = shared().namespace("kubectl");
    let admin = shared().admin().within(&namespace);
    admin.kubectl(&["create", "configmap", "made", "--from-literal=key=value"]);
    let value = admin.kubectl(&["get", "configmap", "made", "-o", "jsonpath={.data.key}"]);
    assert_eq!(value, "value");
    let refused = admin.try_kubectl(&["get", "configmap", "missing"]).unwrap_err();
    assert!(refused.contains("\"missing\" not found"), "{refused}");
}

#[tokio::test]
async fn a_deployment_becomes_a_replica_set_and_pods_that_run() {
    let namespace = shared().namespace("deployment");
    let client = shared().admin().client();
    let labels = json!({"app": "shop"});
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "shop"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "shop", "image": "shop:1"}]},
            },
        },
    }))
    .unwrap();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    deployments.create(&PostParams::default(), &deployment).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    eventually("two pods", async || {
        pods.list(&ListParams::default().labels("app=shop")).await.unwrap().items.len() == 2
    })
    .await;
    let sets: Api<ReplicaSet> = Api::namespaced(client, &namespace);
    assert_eq!(sets.list(&ListParams::default()).await.unwrap().items.len(), 1);
    let ready = async || {
        let status = deployments.get("shop").await.unwrap().status.unwrap_or_default();
        status.ready_replicas.unwrap_or(0)
    };
    assert_eq!(ready().await, 0, "nobody plays the kubelet yet");

    let _kubelet = Kubelet::start(shared().admin(), &namespace);
    eventually("both are ready", async || ready().await == 2).await;

    let broken = pods.list(&ListParams::default()).await.unwrap().items[0].name_any();
    let status = json!({"conditions": [{"type": "Ready", "status": "False"}]});
    shared().set_pod_status(&namespace, &broken, &status);
    eventually("one is not ready any more", async || ready().await == 1).await;
}

#[tokio::test]
async fn a_deleted_namespace_goes_with_what_is_in_it() {
    let namespace = shared().namespace("deleted");
    let admin = shared().admin();
    let maps = config_maps(admin, &namespace);
    maps.create(&PostParams::default(), &config_map("here")).await.unwrap();
    admin.kubectl(&["delete", "namespace", &namespace, "--wait=false"]);
    eventually("the namespace is gone", async || {
        maps.get_opt("here").await.unwrap().is_none()
            && admin.try_kubectl(&["get", "namespace", &namespace]).is_err()
    })
    .await;
}

// === who may do what ===

#[tokio::test]
async fn an_account_without_rights_is_refused_and_one_with_rights_does_just_that() {
    let namespace = shared().namespace("rights");
    let account = shared().account(&namespace, "reader");
    let maps = config_maps(&account, &namespace);
    assert_eq!(code(maps.list(&ListParams::default()).await), 403);

    shared().apply(
        &namespace,
        &format!(
            "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: reader}}
rules: [{{apiGroups: [''], resources: [configmaps], verbs: [list]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: reader}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}}
subjects: [{{kind: ServiceAccount, name: reader, namespace: {namespace}}}]
"
        ),
    );
    eventually("the role is known", async || maps.list(&ListParams::default()).await.is_ok()).await;
    assert_eq!(code(maps.create(&PostParams::default(), &config_map("mine")).await), 403);
    let said = account.kubectl(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]);
    assert_eq!(said, format!("system:serviceaccount:{namespace}:reader"));
}

#[tokio::test]
async fn a_person_has_the_rights_of_the_groups_that_the_administrator_speaks_for() {
    let namespace = shared().namespace("people");
    let nobody = shared().admin().speaking_for("ada", &[]);
    let maps = config_maps(&nobody, &namespace);
    assert_eq!(code(maps.list(&ListParams::default()).await), 403);
    let master = shared().admin().speaking_for("ada", &["system:masters"]);
    config_maps(&master, &namespace).list(&ListParams::default()).await.unwrap();
    wait_for("the audit log names her", PATIENCE, || {
        let codes = shared().requests_of("ada").into_iter().filter_map(|request| request.code);
        let mut codes: Vec<u16> = codes.collect();
        codes.dedup();
        codes == [403, 200]
    });
}

#[tokio::test]
async fn an_admission_policy_refuses_with_its_own_words() {
    let namespace = shared().namespace("policy");
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(shared().admin().client());
    policies.list(&ListParams::default()).await.unwrap();
    shared().apply(
        &namespace,
        &format!(
            "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: {namespace}}}
spec:
  matchConstraints:
    resourceRules:
    - {{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}}
  validations:
  - expression: \"authorizer.group('haldane.dev').resource('rollouts').check('promote').allowed()\"
    messageExpression: \"request.userInfo.username + ' may not promote'\"
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: {namespace}}}
spec:
  policyName: {namespace}
  validationActions: [Deny]
  matchResources:
    namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: eve}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}}
subjects: [{{kind: User, name: eve, apiGroup: rbac.authorization.k8s.io}}]
"
        ),
    );
    let maps = config_maps(&shared().admin().speaking_for("eve", &[]), &namespace);
    let trial = PostParams { dry_run: true, ..PostParams::default() };
    eventually("the policy is in force", async || {
        let told = maps.create(&trial, &config_map("refused")).await;
        told.is_err_and(|error| error.to_string().contains("eve may not promote"))
    })
    .await;
    let admins = config_maps(shared().admin(), &namespace);
    admins.create(&PostParams::default(), &config_map("allowed")).await.unwrap();
}

// === what others define ===

/// Writes an object of somebody else's kind and reads it back.
async fn round_trip(namespace: &str, group: &str, kind: &str, plural: &str, spec: Value) {
    let kind = GroupVersionKind::gvk(group, "v1", kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, plural);
    let client: Client = shared().admin().client();
    let objects: Api<DynamicObject> = Api::namespaced_with(client, namespace, &resource);
    let object = DynamicObject::new("checkout", &resource).data(json!({"spec": spec}));
    objects.create(&PostParams::default(), &object).await.unwrap();
    let found = objects.get("checkout").await.unwrap();
    assert_eq!(found.data["spec"], spec);
    let wrong =
        DynamicObject::new("wrong", &resource).data(json!({"spec": {"hosts": 1, "hostnames": 1}}));
    let told = objects.create(&PostParams::default(), &wrong).await;
    assert!([400, 422].contains(&code(told)), "the schema is checked");
}

#[tokio::test]
async fn a_virtual_service_comes_back_as_it_was_written() {
    shared().install(Foreign::Istio);
    let namespace = shared().namespace("istio");
    let spec = json!({
        "hosts": ["checkout"],
        "http": [{"route": [
            {"destination": {"host": "checkout", "subset": "blue"}, "weight": 90},
            {"destination": {"host": "checkout", "subset": "green"}, "weight": 10},
        ]}],
    });
    round_trip(&namespace, "networking.istio.io", "VirtualService", "virtualservices", spec).await;
}

#[tokio::test]
async fn an_http_route_comes_back_as_it_was_written() {
    shared().install(Foreign::GatewayApi);
    let namespace = shared().namespace("gateway");
    let reference = |name: &str, weight: u32| json!({"group": "", "kind": "Service", "name": name, "port": 80, "weight": weight});
    let spec = json!({
        "parentRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}],
        "rules": [{
            "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
            "backendRefs": [reference("blue", 90), reference("green", 10)],
        }],
    });
    round_trip(&namespace, "gateway.networking.k8s.io", "HTTPRoute", "httproutes", spec).await;
}

// === who asked what ===

#[tokio::test]
async fn the_audit_log_counts_requests_by_who_asked() {
    let namespace = shared().namespace("audit");
    let account = shared().account(&namespace, "engine");
    let user = format!("system:serviceaccount:{namespace}:engine");
    assert_eq!(shared().requests_of(&user).len(), 0);
    let maps = config_maps(&account, &namespace);
    for _ in 0..5 {
        assert_eq!(code(maps.get("missing").await), 403);
    }
    wait_for("five requests", PATIENCE, || shared().requests_of(&user).len() >= 5);
    let requests = shared().requests_of(&user);
    assert_eq!(requests.len(), 5, "{requests:?}");
    assert!(requests.iter().all(|request| request.verb == "get" && request.code == Some(403)));
}
