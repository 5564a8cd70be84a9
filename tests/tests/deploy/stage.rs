//! The cluster of this suite: the CRDs, and what `kubectl apply -k` makes of the folder that ships.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use haldane_tests::cluster::{Access, Cluster, Foreign, shared};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

/// Where the engine is installed.
pub const HOME: &str = "haldane-system";

/// Who the engine is, as the API server names it.
pub const ENGINE: &str = "system:serviceaccount:haldane-system:haldane";

const PATIENCE: Duration = Duration::from_secs(60);

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn folder(path: &str) -> String {
    root().join(path).canonicalize().unwrap().to_str().unwrap().to_owned()
}

/// The cluster with the CRDs and the engine's manifests, as the page for administrators says.
pub fn cluster() -> &'static Cluster {
    static READY: OnceLock<()> = OnceLock::new();
    let cluster = shared();
    READY.get_or_init(|| {
        cluster.install(Foreign::GatewayApi);
        cluster.install(Foreign::Istio);
        install(cluster, "deploy/kustomize/cluster");
        wait_for_policies(cluster, &cluster.namespace("policies"));
    });
    cluster
}

/// Applies the CRDs, as they are generated (another suite compares the committed ones), and a folder.
pub fn install(cluster: &Cluster, kustomize: &str) {
    let crds = tempfile::tempdir().unwrap();
    write_crds(crds.path());
    cluster.install_crds(crds.path());
    cluster.admin().kubectl(&["apply", "-k", &folder(kustomize)]);
}

/// Writes the CRDs that this code generates into a folder, as those that ship.
pub fn write_crds(folder: &Path) {
    for one in haldane_plan::custom_resources(&haldane_plan::registries()) {
        let text = serde_saphyr::to_string(&one.definition).unwrap();
        fs::write(folder.join(format!("{}.yaml", one.plural)), text).unwrap();
    }
}

/// A policy is in force a moment after it was written: each refuses something before this returns.
pub fn wait_for_policies(cluster: &Cluster, namespace: &str) {
    rollout(cluster, namespace, "checkout");
    let admin = cluster.admin().within(namespace);
    let (gatekeeper, user) = person(cluster, namespace, "gatekeeper", &["haldane-approve"]);
    let status = json!({"status": {"phase": "Baking"}});
    eventually("the policies are in force", || {
        refused_by("requests", ask(&admin, namespace, &request("Abort", None)))?;
        refused_by("engine", patch_status(&admin, namespace, &status))?;
        refused_by("gates", ask(&gatekeeper, namespace, &request("Promote", Some(&user))))
    });
}

fn refused_by(policy: &str, told: Result<(), String>) -> Result<(), String> {
    match told {
        Err(why) if why.contains(&format!("'haldane-{policy}'")) => Ok(()),
        other => Err(format!("{policy}: {other:?}")),
    }
}

/// Polls what must become true: a server takes rights over a moment later.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> Result<(), String>) {
    let begin = Instant::now();
    while let Err(why) = holds() {
        assert!(begin.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}: {why}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The binary that `cargo build --workspace --bins` made.
pub fn haldane() -> PathBuf {
    let this = env::current_exe().expect("a program knows itself");
    let binary = this.ancestors().nth(2).expect("it lies in target/PROFILE/deps").join("haldane");
    assert!(binary.exists(), "{binary:?} is missing: cargo build --workspace --bins");
    binary
}

/// Renders a folder, as documents.
pub fn rendered(kustomize: &str) -> Vec<Value> {
    let text = shared().admin().kubectl(&["kustomize", kustomize]);
    documents(&text)
}

/// The documents of a stream of YAML.
pub fn documents(text: &str) -> Vec<Value> {
    let parts = text.split("\n---").filter(|part| part.lines().any(has_content));
    let read = |part: &str| match serde_saphyr::from_str(part) {
        Ok(document) => document,
        Err(error) => panic!("{error}\n{part}"),
    };
    parts.map(|part| read(part.trim_start_matches("---"))).collect()
}

fn has_content(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#') && line != "---"
}

// === rollouts and requests ===

/// Makes a rollout that the cluster takes.
pub fn rollout(cluster: &Cluster, namespace: &str, name: &str) {
    let side = |name: &str| json!({"name": name, "labels": {"version": name}});
    let service = |name: &str| json!({"service": format!("checkout-{name}"), "port": 80});
    let document = json!({
        "apiVersion": "haldane.dev/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name},
        "spec": {
            "sides": [side("blue"), side("green")],
            "revision": "2.4.1",
            "traffic": [{"name": "edge", "gateway": {
                "httpRoute": {"name": "checkout"},
                "destinations": {"blue": service("blue"), "green": service("green")},
            }}],
            "analysis": {
                "sources": [{"name": "main", "prometheus": {"url": "http://prometheus:9090"}}],
                "checks": [{"name": "errors", "errors": {"max": "1%"}}],
            },
        },
    });
    cluster.apply(namespace, &document.to_string());
}

/// A request for `checkout`, in the words of `spec`.
pub fn request(verb: &str, by: Option<&str>) -> Value {
    let mut spec = json!({"rollout": "checkout", "verb": verb});
    if verb != "Abort" {
        spec["attempt"] = json!(1);
        spec["revision"] = json!("2.4.1");
    }
    if ["Promote", "Skip"].contains(&verb) {
        spec["step"] = json!(0);
    }
    if let Some(by) = by {
        spec["requestedBy"] = json!(by);
    }
    spec
}

/// Asks, without leaving anything behind; the words of a refusal.
pub fn ask(access: &Access, namespace: &str, spec: &Value) -> Result<(), String> {
    let kind = GroupVersionKind::gvk("haldane.dev", "v1alpha1", "RolloutRequest");
    let resource = ApiResource::from_gvk_with_plural(&kind, "rolloutrequests");
    let object = DynamicObject::new("wish", &resource).data(json!({"spec": spec}));
    let trial = PostParams { dry_run: true, ..PostParams::default() };
    let told = live(async || {
        let requests: Api<DynamicObject> =
            Api::namespaced_with(access.client(), namespace, &resource);
        requests.create(&trial, &object).await
    });
    told.map(drop).map_err(|error| error.to_string())
}

/// Patches the status of `checkout`, as the engine does: it needs to read nothing for it.
pub fn patch_status(access: &Access, namespace: &str, patch: &Value) -> Result<(), String> {
    let kind = GroupVersionKind::gvk("haldane.dev", "v1alpha1", "Rollout");
    let resource = ApiResource::from_gvk_with_plural(&kind, "rollouts");
    let told = live(async || {
        let rollouts: Api<DynamicObject> =
            Api::namespaced_with(access.client(), namespace, &resource);
        let patch = Patch::Merge(patch);
        rollouts.patch_status("checkout", &PatchParams::default(), &patch).await
    });
    told.map(drop).map_err(|error| error.to_string())
}

/// Whether a user may, in the words of the API server's own authorizer.
pub fn may(cluster: &Cluster, user: &str, attributes: &Value) -> bool {
    let attributes: ResourceAttributes = serde_json::from_value(attributes.clone()).unwrap();
    let spec = SubjectAccessReviewSpec {
        user: Some(user.to_owned()),
        groups: Some(groups(user)),
        resource_attributes: Some(attributes),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let told = live(async || {
        let reviews: Api<SubjectAccessReview> = Api::all(cluster.admin().client());
        reviews.create(&PostParams::default(), &review).await
    });
    told.unwrap().status.unwrap().allowed
}

fn groups(user: &str) -> Vec<String> {
    let mut groups = vec!["system:authenticated".to_owned()];
    if let Some(account) = user.strip_prefix("system:serviceaccount:") {
        let namespace = account.split(':').next().unwrap();
        groups.push("system:serviceaccounts".to_owned());
        groups.push(format!("system:serviceaccounts:{namespace}"));
    }
    groups
}

/// Lives through a call on a runtime of its own.
fn live<T>(call: impl AsyncFnOnce() -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(call())
}

/// An account of a namespace with these roles of ours there, and nothing else.
pub fn person(cluster: &Cluster, namespace: &str, name: &str, roles: &[&str]) -> (Access, String) {
    let access = cluster.account(namespace, name);
    for role in roles {
        bind(cluster, namespace, name, role);
    }
    (access, format!("system:serviceaccount:{namespace}:{name}"))
}

fn bind(cluster: &Cluster, namespace: &str, name: &str, role: &str) {
    let group = "rbac.authorization.k8s.io";
    let binding = json!({
        "apiVersion": format!("{group}/v1"),
        "kind": "RoleBinding",
        "metadata": {"name": format!("{name}-{role}")},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    });
    cluster.apply(namespace, &binding.to_string());
}
