//! The real API server of the tests: that it works, that it refuses, and that its faults are seen.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use haldane_tests::{
    cluster::{Access, Cluster, Fault, Faults, Foreign, Kubelet, Options, Rule, shared, version},
    process::wait_for,
};
use k8s_openapi::api::{
    admissionregistration::v1::ValidatingAdmissionPolicy,
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{ConfigMap, Pod},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{
        ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
        WatchEvent, WatchParams,
    },
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
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [''], resources: [configmaps], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader}]
",
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

// === faults ===

#[tokio::test]
async fn a_chosen_request_is_answered_by_the_proxy_so_often_and_no_other() {
    let namespace = shared().namespace("answers");
    let faults = shared().faults();
    let maps = config_maps(&shared().admin().at(&faults.url()), &namespace);
    maps.create(&PostParams::default(), &config_map("here")).await.unwrap();
    for wanted in [409, 429, 500] {
        faults.add(Rule::new("PATCH", "/configmaps/here", Fault::Answer(wanted)).times(1));
    }
    let patch = json!([{"op": "replace", "path": "/data/key", "value": "other"}]);
    let patch = Patch::Json::<()>(serde_json::from_value(patch).unwrap());
    for wanted in [409, 429, 500] {
        assert_eq!(maps.get("here").await.unwrap().data.unwrap()["key"], "value");
        assert_eq!(code(maps.patch("here", &PatchParams::default(), &patch).await), wanted);
    }
    maps.patch("here", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(maps.get("here").await.unwrap().data.unwrap()["key"], "other");

    let seen = faults.seen_of("PATCH", "/configmaps/here");
    let codes: Vec<Option<u16>> = seen.iter().map(|seen| seen.code).collect();
    assert_eq!(codes, [Some(409), Some(429), Some(500), Some(200)]);
    assert!(String::from_utf8_lossy(&seen[0].body).contains("/data/key"), "{:?}", seen[0].body);
    let reached = shared().requests().into_iter().filter(|request| {
        request.verb == "patch" && request.uri.contains(&format!("{namespace}/configmaps"))
    });
    assert!(reached.count() <= 1, "the other three never reached the server");
}

#[tokio::test]
async fn a_delayed_a_hanging_and_a_broken_request_are_told_apart_by_the_client() {
    let namespace = shared().namespace("delays");
    let faults = shared().faults();
    let maps = config_maps(&shared().admin().at(&faults.url()), &namespace);
    maps.create(&PostParams::default(), &config_map("here")).await.unwrap();

    faults.add(Rule::new("GET", "/configmaps/here", Fault::Delay(Duration::from_secs(1))).times(1));
    let begin = Instant::now();
    maps.get("here").await.unwrap();
    assert!(begin.elapsed() >= Duration::from_secs(1));

    faults.add(Rule::new("GET", "/configmaps/here", Fault::Break).times(1));
    assert!(!matches!(maps.get("here").await, Ok(_) | Err(kube::Error::Api(_))));

    faults.add(Rule::any("/configmaps/here", Fault::Hang));
    let asked = tokio::time::timeout(Duration::from_secs(1), maps.get("here")).await;
    assert!(asked.is_err(), "{asked:?}");
    faults.clear();
    maps.get("here").await.unwrap();

    faults.add(Rule::new("DELETE", "", Fault::LoseAnswer));
    assert!(maps.delete("here", &Default::default()).await.is_err());
    assert!(maps.get_opt("here").await.unwrap().is_none(), "it was done all the same");
}

#[tokio::test]
async fn a_watch_is_cut_and_one_is_told_that_it_is_too_old() {
    let namespace = shared().namespace("watches");
    let faults = shared().faults();
    let maps = config_maps(&shared().admin().at(&faults.url()), &namespace);
    maps.create(&PostParams::default(), &config_map("here")).await.unwrap();
    let ends: [fn(&Faults) -> usize; 2] = [Faults::cut_watches, Faults::expire_watches];
    for end in ends {
        let mut events = Box::pin(maps.watch(&WatchParams::default(), "0").await.unwrap());
        let event = events.next().await.unwrap().unwrap();
        assert!(matches!(event, WatchEvent::Added(_)), "{event:?}");
        assert_eq!(end(&faults), 1);
        let cut = faults.seen_of("GET", "watch=true").len() == 1;
        let told = tokio::time::timeout(PATIENCE, events.next()).await.unwrap();
        match told {
            Some(Ok(WatchEvent::Error(status))) => {
                assert!(!cut && status.code == 410, "{status:?}")
            }
            Some(Ok(event)) => panic!("{event:?}"),
            Some(Err(_)) | None => assert!(cut),
        }
    }
    let agent = &faults.seen()[0].agent;
    assert!(!agent.is_empty(), "the proxy notes who asked");
}

// === a server of the test's own ===

#[tokio::test]
async fn a_server_that_was_down_comes_back_with_its_objects_on_the_same_port() {
    let own = shared().beside("down", Options::BARE);
    let namespace = own.namespace("kept");
    let maps = config_maps(own.admin(), &namespace);
    maps.create(&PostParams::default(), &config_map("here")).await.unwrap();
    let token = own.account(&namespace, "engine");

    own.crash();
    assert!(maps.get("here").await.is_err(), "nobody answers");
    own.resume();
    assert_eq!(maps.get("here").await.unwrap().data.unwrap()["key"], "value");
    let told = config_maps(&token, &namespace).get("here").await;
    assert_eq!(code(told), 403, "the token is still known, and has no rights");

    own.signal("STOP");
    let asked = tokio::time::timeout(Duration::from_secs(1), maps.get("here")).await;
    assert!(asked.is_err(), "{asked:?}");
    own.signal("CONT");
    maps.get("here").await.unwrap();
}

#[tokio::test]
async fn a_second_cluster_has_its_own_objects_and_its_own_authority() {
    let west = shared().beside("west", Options::BARE);
    let namespace = shared().namespace("east");
    let account = shared().account(&namespace, "engine");
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(west.admin().client());
    assert!(namespaces.get_opt(&namespace).await.unwrap().is_none());
    let stranger = config_maps(&account.at(&west.url()), "default");
    let told = stranger.list(&ListParams::default()).await;
    assert!(!matches!(told, Ok(_) | Err(kube::Error::Api(_))), "not even the question is asked");
}

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

// === the end ===

/// The processes that carry a folder in their arguments.
fn processes_of(folder: &Path) -> usize {
    let is_named = |entry: &fs::DirEntry| {
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(folder.to_str().unwrap())
    };
    fs::read_dir("/proc").unwrap().flatten().filter(is_named).count()
}

#[test]
fn a_cluster_that_is_dropped_leaves_no_process_and_no_file() {
    let own = Cluster::start(Options::BARE);
    let folder = own.admin().path().parent().unwrap().to_owned();
    assert!(folder.exists());
    assert!(processes_of(&folder) >= 2, "the server and its guard");
    drop(own);
    assert!(!folder.exists());
    assert_eq!(processes_of(&folder), 0);
}

/// Starts the program of `make cluster` and returns it with the folder that it works in.
fn for_a_person() -> (Child, PathBuf) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_cluster"))
        .arg("bare")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let kubeconfig =
        lines.find_map(|line| line.unwrap().strip_prefix("export KUBECONFIG=").map(PathBuf::from));
    let kubeconfig = kubeconfig.expect("it says where the kubeconfig is");
    std::thread::spawn(move || lines.for_each(drop));
    (program, kubeconfig.parent().unwrap().to_owned())
}

#[test]
fn an_interrupt_stops_and_removes_what_a_person_started() {
    let (mut program, folder) = for_a_person();
    assert!(processes_of(&folder) >= 2);
    let id = program.id().to_string();
    Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(program.wait().unwrap().success());
    wait_for("all is gone", PATIENCE, || processes_of(&folder) == 0 && !folder.exists());
}

#[test]
fn a_cluster_ends_with_its_test_even_where_that_is_killed() {
    let (mut program, folder) = for_a_person();
    assert!(processes_of(&folder) >= 2);
    program.kill().unwrap();
    program.wait().unwrap();
    wait_for("all is gone", PATIENCE, || processes_of(&folder) == 0 && !folder.exists());
}
