//! Who may do what, and why: what the manifests are held against.

use serde_json::Value;

/// A right of the engine.
pub struct Right {
    pub group: &'static str,
    pub resource: &'static str,
    pub verbs: &'static str,
    /// What cannot be done without it.
    pub why: &'static str,
}

const fn right(
    group: &'static str,
    resource: &'static str,
    verbs: &'static str,
    why: &'static str,
) -> Right {
    Right { group, resource, verbs, why }
}

const READ: &str = "get list watch";

/// Every right of the engine, with all that can be switched on.
pub const ENGINE_RIGHTS: &[Right] = &[
    // --- Haldane's own ---
    right("haldane.dev", "rollouts", READ, "what is wanted"),
    right(
        "haldane.dev",
        "rollouts",
        "patch",
        "its finalizer, so that a deletion puts traffic back",
    ),
    right("haldane.dev", "rollouts/status", "patch", "the record, which is swapped by its version"),
    right(
        "haldane.dev",
        "rollouts/finalizers",
        "update",
        "to own AnalysisRuns where owners are checked",
    ),
    right("haldane.dev", "rolloutrequests", READ, "what people ask for"),
    right("haldane.dev", "rolloutrequests", "delete", "the old ones, so that they do not pile up"),
    right("haldane.dev", "rolloutrequests/status", "patch", "the answer to who asked"),
    right("haldane.dev", "analysistemplates", READ, "the checks that rollouts use"),
    right("haldane.dev", "clusteranalysistemplates", READ, "the checks that all namespaces use"),
    right("haldane.dev", "analysisruns", READ, "which entries are copied already"),
    right("haldane.dev", "analysisruns", "create patch delete", "the journal, of bounded length"),
    right("haldane.dev", "analysisruns/status", "patch", "what was measured and concluded"),
    right("events.k8s.io", "events", "create", "tells of decisions"),
    right("coordination.k8s.io", "leases", "create get list watch update", "which replica leads"),
    // --- what the sides run ---
    right("apps", "deployments", READ, "the revision of a side, and whether it is rolled out"),
    right("apps", "statefulsets", READ, "the same of a StatefulSet"),
    right("apps", "daemonsets", READ, "the same of a DaemonSet"),
    right("apps", "replicasets", READ, "a workload by itself, and whose pods are whose"),
    right("", "pods", READ, "health: crashes, readiness, restarts"),
    right("", "configmaps", "get", "content that counts for the revision, where a rollout says so"),
    right("", "secrets", "get", "credentials that a rollout names; only where switched on"),
    right("", "namespaces", "get", "whether a namespace is being deleted"),
    // --- providers ---
    right(
        "networking.istio.io",
        "virtualservices",
        "get list watch patch",
        "the weights, and who else writes them",
    ),
    right("networking.istio.io", "destinationrules", "list", "whether a subset is there"),
    right(
        "gateway.networking.k8s.io",
        "httproutes",
        "get list watch patch",
        "the weights, and who else writes them",
    ),
    right("gateway.networking.k8s.io", "grpcroutes", "get list watch patch", "the same for gRPC"),
    right("gateway.networking.k8s.io", "tlsroutes", "get list watch patch", "the same for TLS"),
    right("gateway.networking.k8s.io", "tcproutes", "get list watch patch", "the same for TCP"),
    right("", "services", "get", "whether a destination and its port are there"),
];

/// Each role for people, and the requests that somebody with it alone may make.
pub const USER_ROLES: &[(&str, &[&str])] = &[
    ("haldane-view", &[]),
    ("haldane-edit", &[]),
    ("haldane-promote", &["Promote"]),
    // Nothing waits at a gate in the test that reads this.
    ("haldane-approve", &[]),
    ("haldane-skip", &["Skip"]),
    ("haldane-abort", &["Abort"]),
    ("haldane-pause", &["Pause", "Resume"]),
    ("haldane-retry", &["Retry"]),
    ("haldane-undo", &["Undo"]),
    ("haldane-operate", &["Promote", "Skip", "Abort", "Pause", "Resume", "Retry", "Undo"]),
    ("haldane-waive-guards", &[]),
];

/// Every right of the roles with such a name: `verb resource.group`.
pub fn rules(documents: &[Value], of: impl Fn(&str) -> bool) -> Vec<String> {
    let is_role = |kind: &Value| kind == "Role" || kind == "ClusterRole";
    let mut found = Vec::new();
    for role in documents.iter().filter(|one| is_role(&one["kind"])) {
        if !of(text(&role["metadata"]["name"])) {
            continue;
        }
        for rule in list(&role["rules"]) {
            for group in list(&rule["apiGroups"]) {
                for resource in list(&rule["resources"]) {
                    for verb in list(&rule["verbs"]) {
                        found.push(format!("{} {}.{}", text(verb), text(resource), text(group)));
                    }
                }
            }
        }
    }
    found
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
