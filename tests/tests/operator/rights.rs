//! Every right that the engine needs, taken away: what is missing is named, in a condition or in the log.

use std::time::{Duration, Instant};

use haldane_tests::{
    cluster::Access,
    operator::{Operator, Shop, Start, cluster, rendered},
    process::wait_for,
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// What is mirrored beside rollouts.
const MIRRORED: [&str; 10] = [
    "deployments",
    "replicasets",
    "statefulsets",
    "daemonsets",
    "pods",
    "rolloutrequests",
    "analysistemplates",
    "clusteranalysistemplates",
    "virtualservices",
    "httproutes",
];

/// A right of the engine as shipped: group, resource, verb.
type Right = (String, String, String);

fn shipped() -> Vec<Right> {
    let mut found = Vec::new();
    for one in rendered("cluster/engine") {
        let kind = one["kind"].as_str().unwrap_or_default();
        if !matches!(kind, "ClusterRole" | "Role") {
            continue;
        }
        for rule in one["rules"].as_array().unwrap() {
            let words = |field: &str| -> Vec<String> {
                let list = rule[field].as_array().unwrap().iter();
                list.map(|word| word.as_str().unwrap().to_owned()).collect()
            };
            for group in words("apiGroups") {
                for resource in words("resources") {
                    let verbs = words("verbs").into_iter();
                    found.extend(verbs.map(|verb| (group.clone(), resource.clone(), verb)));
                }
            }
        }
    }
    found
}

/// An engine without some rights, and a rollout that would need them.
struct Case {
    namespace: String,
    operator: Operator,
    words: Vec<String>,
}

/// Returns an account of a namespace that has the rights that ship but for `verb` on `resources`, and what is missing.
fn account_without(namespace: &str, verb: &str, resources: &[&str]) -> (Access, Vec<Right>) {
    let is_missing = |right: &Right| right.2 == verb && resources.contains(&right.1.as_str());
    let (missing, left): (Vec<Right>, Vec<Right>) = shipped().into_iter().partition(is_missing);
    assert!(missing.len() >= resources.len(), "{verb} {resources:?}: {missing:?}");
    let rules: Vec<Value> = left
        .iter()
        .map(|(group, resource, verb)| json!({"apiGroups": [group], "resources": [resource], "verbs": [verb]}))
        .collect();
    let apply = |document: Value| cluster().apply(namespace, &document.to_string());
    // What lies in no namespace takes a role of the cluster; its name is of this test alone.
    let api = "rbac.authorization.k8s.io/v1";
    apply(
        json!({"apiVersion": api, "kind": "ClusterRole", "metadata": {"name": namespace}, "rules": rules}),
    );
    apply(json!({"apiVersion": api, "kind": "ClusterRoleBinding", "metadata": {"name": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": namespace},
        "subjects": [{"kind": "ServiceAccount", "name": "engine", "namespace": namespace}]}));
    (cluster().account(namespace, "engine"), missing)
}

fn words((_, resource, verb): &Right) -> String {
    format!("cannot {verb} resource \"{resource}\"")
}

/// Starts one without `verb` on `resources`.
fn without(verb: &str, resources: &[&str]) -> Case {
    let named = resources[0].replace('/', "-");
    let namespace = cluster().namespace(&format!("no-{verb}-{named}"));
    let (access, missing) = account_without(&namespace, verb, resources);
    let apply = |document: Value| cluster().apply(&namespace, &document.to_string());
    let route = |side: &str, weight: u64| json!({"destination": {"host": format!("checkout-{side}")}, "weight": weight});
    apply(
        json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "checkout"},
        "spec": {"hosts": [namespace], "http": [{"name": "primary", "route": [route("blue", 100), route("green", 0)]}]}}),
    );
    for side in ["blue", "green"] {
        apply(
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("checkout-{side}")},
            "spec": {"clusterIP": "None", "selector": {"side": side}, "ports": [{"port": 80}]}}),
        );
    }
    let side = |name: &str| json!({"name": name, "labels": {"side": name}, "workload": {"deployment": format!("checkout-{name}")}});
    let backend = |side: &str, weight: u64| json!({"name": format!("checkout-{side}"), "port": 80, "weight": weight});
    apply(
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "checkout"},
        "spec": {"parentRefs": [{"name": "edge"}], "rules": [
            {"name": "primary", "backendRefs": [backend("blue", 100), backend("green", 0)]}]}}),
    );
    let rollout = |name: &str, traffic: Value| {
        json!({"apiVersion": "haldane.dev/v1alpha1", "kind": "Rollout", "metadata": {"name": name}, "spec": {
            "sides": [side("blue"), side("green")], "traffic": [traffic],
            "analysis": {"sources": [{"name": "main", "prometheus": {"url": "http://127.0.0.1:9"}}],
                "checks": [{"name": "up", "query": {"promql": "up", "max": "1"}}]}}})
    };
    apply(rollout(
        "checkout",
        json!({"name": "mesh", "istio": {
        "virtualService": {"name": "checkout", "routes": ["primary"]},
        "destinations": {"blue": {"host": "checkout-blue"}, "green": {"host": "checkout-green"}}}}),
    ));
    let service = |side: &str| json!({"service": format!("checkout-{side}"), "port": 80});
    apply(rollout(
        "edge",
        json!({"name": "edge", "gateway": {"httpRoute": {"name": "checkout"},
        "destinations": {"blue": service("blue"), "green": service("green")}}}),
    ));
    apply(
        json!({"apiVersion": "haldane.dev/v1alpha1", "kind": "RolloutRequest", "metadata": {"name": "stop"},
        "spec": {"rollout": "checkout", "verb": "Abort", "requestedBy": "ann"}}),
    );
    let operator = Start {
        access,
        namespaces: vec![namespace.clone()],
        lease_namespace: namespace.clone(),
        identity: "one".to_owned(),
        program: None,
    }
    .start();
    Case { namespace, operator, words: missing.iter().map(words).collect() }
}

/// Everything that a person could have read.
fn told(case: &Case) -> String {
    let status = cluster().admin().within(&case.namespace).kubectl(&["get", "hro", "-o=json"]);
    unquoted(&format!("{}{status}", case.operator.log()))
}

fn unquoted(text: &str) -> String {
    text.replace("\\\"", "\"").replace("\\\"", "\"")
}

#[test]
fn each_right_that_is_missing_is_named() {
    let cases = [
        without("list", &MIRRORED),
        without("watch", &MIRRORED),
        without("list", &["rollouts"]),
        without("watch", &["rollouts"]),
        without("patch", &["rollouts"]),
        without("patch", &["rollouts/status"]),
        without("create", &["events"]),
        without("patch", &["rolloutrequests/status"]),
        without("get", &["services"]),
        without("create", &["leases"]),
        without("update", &["leases"]),
        without("list", &["leases"]),
        without("watch", &["leases"]),
        without("patch", &["virtualservices"]),
        without("patch", &["httproutes"]),
    ];
    let begin = Instant::now();
    loop {
        let mut silent = Vec::new();
        for case in &cases {
            let told = told(case);
            let missing = case.words.iter().filter(|words| !told.contains(*words));
            silent.extend(missing.map(|words| format!("{}: {words}\n{told}", case.namespace)));
        }
        if silent.is_empty() {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{}", silent.join("\n\n"));
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn a_right_that_only_a_record_needs_is_named_and_holds_no_release_up() {
    let of_records = [
        ("create", "analysisruns"),
        ("get", "analysisruns"),
        ("patch", "analysisruns/status"),
        ("delete", "rolloutrequests"),
    ];
    let cases = of_records.map(|(verb, resource)| {
        let shop = Shop::open(&format!("no-{verb}-{}", resource.replace('/', "-")));
        let (access, missing) = account_without(&shop.namespace, verb, &[resource]);
        let operator = Start::within(&shop.namespace).with(access).start();
        shop.apply(&shop.rollout(json!({})));
        // More answered requests than are kept.
        let requests = (0..24).map(|at| {
            json!({"apiVersion": "haldane.dev/v1alpha1", "kind": "RolloutRequest",
                "metadata": {"name": format!("stop-{at}")},
                "spec": {"rollout": "other", "verb": "Abort", "requestedBy": "ann"}})
            .to_string()
        });
        cluster().apply(&shop.namespace, &requests.collect::<Vec<_>>().join("\n---\n"));
        (shop, operator, words(&missing[0]))
    });
    for (shop, _, _) in &cases {
        shop.wait_healthy("blue");
        shop.deploy("green", "v2");
    }
    for (shop, operator, words) in &cases {
        shop.wait_healthy("green");
        wait_for(words, PATIENCE, || unquoted(&operator.log()).contains(words));
    }
}
