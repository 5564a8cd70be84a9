//! What ships for a cluster, against a real API server: who may ask for what, who asked, what only the engine
//! writes, and that the engine may do what it needs and nothing else.
//!
//! Everything is applied as it lies in `deploy/kustomize`, by the real kubectl.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[path = "deploy/examples.rs"]
mod examples;
#[path = "deploy/gitops.rs"]
mod gitops;
#[path = "deploy/image.rs"]
mod image;
#[path = "deploy/people.rs"]
mod people;
#[path = "deploy/rights.rs"]
mod rights;
#[path = "routes/stage.rs"]
#[allow(dead_code, reason = "the suite of routes uses the rest")]
mod routes;
#[path = "deploy/runs.rs"]
mod runs;
#[path = "deploy/stage.rs"]
mod stage;

use std::{env, fs};

use haldane_tests::cluster::{Access, Foreign, Options, shared};
use serde_json::{Value, json};

use self::{
    rights::{ENGINE_RIGHTS, USER_ROLES, rules},
    routes::{Driven, HTTP_ROUTE, Route, VIRTUAL_SERVICE, http_route, services, virtual_service},
    runs::releases_and_rolls_back,
    stage::{
        ENGINE, HOME, ask, cluster, eventually, folder, install, may, read, rendered, request,
        rollout, root, wait_for_policies,
    },
};

/// A namespace with the rollout `checkout`.
fn shop(name: &str) -> String {
    let namespace = cluster().namespace(name);
    rollout(cluster(), &namespace, "checkout");
    namespace
}

/// The engine's own account, with the rights that the manifests give it.
fn engine() -> Access {
    cluster().account(HOME, "haldane")
}

#[track_caller]
fn refused(told: Result<impl Sized, String>, words: &[&str]) {
    let why = told.err().expect("it is refused");
    for word in words {
        assert!(why.contains(word), "{why:?} lacks {word:?}");
    }
}

// === what the engine may do ===

#[test]
fn every_right_of_the_engine_has_its_reason_and_no_other_is_given() {
    let listed = ENGINE_RIGHTS.iter().map(|right| (right.group, right.resource, right.verbs));
    let mut listed: Vec<String> = listed
        .flat_map(|(group, resource, verbs)| {
            verbs.split(' ').map(move |verb| format!("{verb} {resource}.{group}"))
        })
        .collect();
    listed.sort();
    let mut given = Vec::new();
    for part in ["cluster", "secrets"] {
        given.extend(rules(&rendered(&folder(&format!("deploy/kustomize/{part}"))), |name| {
            name.starts_with("haldane-engine-") || name == "haldane-lease"
        }));
    }
    given.sort();
    given.dedup();
    assert_eq!(given, listed);
    assert!(ENGINE_RIGHTS.iter().all(|right| right.why.len() > 10));
}

#[test]
fn the_engine_may_do_what_is_listed() {
    let namespace = shop("may");
    for right in ENGINE_RIGHTS.iter().filter(|right| right.resource != "secrets") {
        let (resource, subresource) =
            right.resource.split_once('/').unwrap_or((right.resource, ""));
        for verb in right.verbs.split(' ') {
            let lease = resource == "leases";
            let what = json!({"group": right.group, "resource": resource, "subresource": subresource,
                "verb": verb, "namespace": if lease { HOME } else { &namespace },
                "name": if lease { "haldane" } else { "" }});
            assert!(may(cluster(), ENGINE, &what), "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_providers_work_with_the_rights_that_ship() {
    for (kind, document) in [(HTTP_ROUTE, http_route()), (VIRTUAL_SERVICE, virtual_service())] {
        let namespace = cluster().namespace("drives");
        let route = Route::make(&namespace, kind, &document);
        services(&namespace);
        if kind == HTTP_ROUTE {
            route.accept();
        }
        let driven = Driven::new(&route, &engine());
        driven.provider.preflight().await.unwrap();
        driven.raise(2_500, 1).await.unwrap();
        assert_eq!(driven.provider.read().await.unwrap().highest.basis_points(), 2_500);
        driven.lower(2).await.unwrap();
        driven.release().await.unwrap();
    }
}

#[test]
fn the_engine_runs_as_the_deployment_says_and_is_refused_nothing() {
    let cluster = cluster().beside("runs", Options { controllers: true, audit: true });
    cluster.install(Foreign::Istio);
    cluster.install(Foreign::GatewayApi);
    install(&cluster, "deploy/kustomize/cluster");
    wait_for_policies(&cluster, &cluster.namespace("policies"));
    releases_and_rolls_back(&cluster, &cluster.namespace("shop"));
}

#[test]
fn an_engine_for_its_own_namespace_runs_and_is_refused_nothing() {
    let cluster = cluster().beside("runs-here", Options { controllers: true, audit: true });
    cluster.install(Foreign::Istio);
    cluster.install(Foreign::GatewayApi);
    let home = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}});
    cluster.apply("default", &home.to_string());
    install(&cluster, "deploy/kustomize/namespaced");
    wait_for_policies(&cluster, HOME);
    cluster.admin().within(HOME).kubectl(&["delete", "hro", "--all"]);
    releases_and_rolls_back(&cluster, HOME);
}

#[test]
fn the_engine_may_do_nothing_that_could_hurt() {
    let namespace = shop("may-not");
    let here = namespace.as_str();
    for (verb, group, resource, namespace) in [
        ("get", "", "secrets", here),
        ("list", "", "secrets", here),
        ("watch", "", "secrets", here),
        ("list", "", "configmaps", here),
        ("create", "", "pods", here),
        ("delete", "", "pods", here),
        ("create", "", "pods/exec", here),
        ("create", "", "serviceaccounts/token", here),
        ("patch", "", "services", here),
        ("patch", "apps", "deployments", here),
        ("patch", "apps", "deployments/scale", here),
        ("update", "networking.istio.io", "virtualservices", here),
        ("create", "networking.istio.io", "virtualservices", here),
        ("delete", "networking.istio.io", "virtualservices", here),
        ("patch", "networking.istio.io", "destinationrules", here),
        ("delete", "gateway.networking.k8s.io", "httproutes", here),
        ("patch", "gateway.networking.k8s.io", "gateways", here),
        ("create", "haldane.dev", "rollouts", here),
        ("delete", "haldane.dev", "rollouts", here),
        ("create", "haldane.dev", "rolloutrequests", here),
        ("promote", "haldane.dev", "rollouts", here),
        ("patch", "haldane.dev", "analysistemplates", here),
        ("get", "coordination.k8s.io", "leases", here),
        ("list", "coordination.k8s.io", "leases", HOME),
        ("bind", "rbac.authorization.k8s.io", "clusterroles", ""),
        ("escalate", "rbac.authorization.k8s.io", "clusterroles", ""),
        ("impersonate", "", "users", ""),
        ("list", "", "nodes", ""),
        ("patch", "apiextensions.k8s.io", "customresourcedefinitions", ""),
    ] {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let what = json!({"group": group, "resource": resource, "subresource": subresource,
            "verb": verb, "namespace": namespace});
        assert!(!may(cluster(), ENGINE, &what), "{what}");
    }
}

#[test]
fn nothing_that_ships_gives_more_than_is_named() {
    for path in ["cluster", "namespaced", "secrets"] {
        for line in rules(&rendered(&folder(&format!("deploy/kustomize/{path}"))), |_| true) {
            assert!(!line.contains('*'), "{path}: {line}");
        }
    }
}

// === what runs ===

#[test]
fn the_deployment_makes_its_pods_where_only_restricted_ones_are_let_in() {
    let admin = cluster().admin().within(HOME);
    let labels = admin.kubectl(&["get", "namespace", HOME, "-o=jsonpath={.metadata.labels}"]);
    assert!(labels.contains("\"pod-security.kubernetes.io/enforce\":\"restricted\""), "{labels}");
    eventually("two pods", || {
        let names = admin.kubectl(&["get", "pods", "-o=name"]);
        if names.lines().count() == 2 { Ok(()) } else { Err(names) }
    });
    let loose = admin.try_kubectl(&["run", "loose", "--image=loose:1"]);
    refused(loose, &["violates PodSecurity"]);
    let pods: Value = serde_json::from_str(&admin.kubectl(&["get", "pods", "-o=json"])).unwrap();
    let spec = &pods["items"][0]["spec"];
    assert_eq!(spec["serviceAccountName"], "haldane");
    assert_eq!(spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(spec["containers"][0]["args"], json!(["operator", "--listen=0.0.0.0:8081"]));
}

#[test]
fn another_namespace_is_changed_in_one_place() {
    let copy = tempfile::tempdir().unwrap();
    let from = folder("deploy/kustomize");
    let told = std::process::Command::new("cp").args(["-r", &from]).arg(copy.path()).status();
    assert!(told.unwrap().success());
    for part in ["cluster", "namespaced"] {
        let path = copy.path().join("kustomize").join(part);
        for name in ["kustomization.yaml", "namespace.yaml"] {
            let file = path.join("engine").join(name);
            if let Ok(text) = fs::read_to_string(&file) {
                fs::write(&file, text.replace(": haldane-system", ": elsewhere")).unwrap();
            }
        }
        let text = shared().admin().kubectl(&["kustomize", path.to_str().unwrap()]);
        assert!(!text.contains(HOME), "{part} still names {HOME}:\n{text}");
        assert!(text.contains("system:serviceaccount:elsewhere:haldane"), "{part}");
    }
}

#[test]
fn an_engine_for_its_own_namespace_has_rights_there_alone() {
    let cluster = cluster().beside("namespaced", Options { controllers: false, audit: false });
    cluster.apply(
        "default",
        &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}}).to_string(),
    );
    install(&cluster, "deploy/kustomize/namespaced");
    wait_for_policies(&cluster, HOME);
    let elsewhere = cluster.namespace("elsewhere");
    rollout(&cluster, &elsewhere, "checkout");
    for right in ENGINE_RIGHTS {
        let (resource, subresource) =
            right.resource.split_once('/').unwrap_or((right.resource, ""));
        // Templates without a namespace are read by every engine.
        if resource == "clusteranalysistemplates" {
            continue;
        }
        let outside = resource == "secrets";
        for verb in right.verbs.split(' ') {
            let mut what = json!({"group": right.group, "resource": resource, "verb": verb,
                "subresource": subresource, "namespace": HOME, "name": "haldane"});
            assert_eq!(may(&cluster, ENGINE, &what), !outside, "{what}");
            what["namespace"] = json!(elsewhere);
            assert!(!may(&cluster, ENGINE, &what), "{what}");
        }
    }
    // Its policies are for its own namespace: another's engine may be another.
    ask(cluster.admin(), &elsewhere, &request("Abort", Some("ann"))).unwrap();
    let told = ask(cluster.admin(), HOME, &request("Abort", Some("ann")));
    refused(told, &["ann is not who asks"]);
}

#[test]
fn the_chart_brings_the_definitions_that_ship() {
    for entry in fs::read_dir(root().join("deploy/crds")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let ships = read(&format!("deploy/crds/{name}"));
        let copy = root().join("deploy/helm/haldane/files/crds").join(&name);
        if env::var("INSTA_UPDATE").is_ok_and(|how| how == "always") {
            fs::write(&copy, &ships).unwrap();
        }
        let brought = fs::read_to_string(&copy).unwrap_or_default();
        assert!(
            brought == ships,
            "{name} of the chart is not deploy/crds/{name}: INSTA_UPDATE=always"
        );
    }
    let count = |path: &str| fs::read_dir(root().join(path)).unwrap().count();
    assert_eq!(count("deploy/helm/haldane/files/crds"), count("deploy/crds"), "one is gone");
}

#[test]
fn the_pages_name_every_role() {
    let page = read("docs/install-kubernetes.md");
    for (role, _) in USER_ROLES {
        assert!(page.contains(role), "docs/install-kubernetes.md does not name {role}");
    }
    assert!(root().join("deploy/kustomize/users/roles.yaml").exists());
}
