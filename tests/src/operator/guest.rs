//! A cluster that somebody gave: what the suite needs is put there where it is missing, and said so.
//!
//! Definitions and roles stay; namespaces are removed with their tests. Nothing that is there is changed.

use std::io::Write as _;

use serde_json::Value;

use super::{HOME, deploy, rights};
use crate::cluster::Cluster;

/// Where the API server serves VirtualServices.
const ISTIO: &str = "/apis/networking.istio.io/v1/virtualservices";

/// Says something although the test may pass.
fn say(words: &str) {
    // Nobody listens where this fails.
    let _ = writeln!(std::io::stderr(), "test-cluster: {words}");
}

/// Sees to it that everything is there.
///
/// # Panics
/// Where Istio's definitions are missing, or an engine works there already.
pub(super) fn prepare(cluster: &Cluster) {
    let server =
        cluster.admin().kubectl(&["config", "view", "-o=jsonpath={.clusters[0].cluster.server}"]);
    say(&format!("the cluster at {server}, as {}", whoami(cluster)));
    if let Err(why) = cluster.admin().try_kubectl(&["get", "--raw", ISTIO]) {
        panic!(
            "the cluster at {server} does not serve Istio's VirtualServices (networking.istio.io/v1), which these \
             tests release through: install Istio's CRDs there. It says: {why}"
        );
    }
    let lease = ["-n", HOME, "get", "lease", "haldane", "-o=jsonpath={.spec.holderIdentity}"];
    let holder = cluster.admin().try_kubectl(&lease).unwrap_or_default();
    assert!(
        holder.is_empty(),
        "an engine works in this cluster ({holder} holds the lease {HOME}/haldane), and would take the rollouts of \
         these tests for its own: end it first, or give another cluster"
    );
    for entry in std::fs::read_dir(deploy("crds")).expect("the definitions ship") {
        let path = entry.expect("the folder can be read").path();
        let plural = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = format!("{plural}.haldane.dev");
        if path.extension().is_some_and(|kind| kind == "yaml") && is_missing(cluster, "crd", &name)
        {
            say(&format!("installs the definition {name}, which stays"));
            cluster.install_crds(&path);
        }
    }
    for one in rights() {
        let (kind, name) = (text(&one, "/kind"), text(&one, "/metadata/name"));
        if is_missing(cluster, kind, name) {
            say(&format!("installs {kind} {name}, which stays"));
            cluster.apply(HOME, &one.to_string());
        }
    }
}

/// Who the tests are to the API server.
pub(super) fn whoami(cluster: &Cluster) -> String {
    cluster.admin().kubectl(&["auth", "whoami", "-o=jsonpath={.status.userInfo.username}"])
}

fn is_missing(cluster: &Cluster, kind: &str, name: &str) -> bool {
    match cluster.admin().try_kubectl(&["-n", HOME, "get", kind, name, "-o=name"]) {
        Ok(_) => false,
        Err(why) if why.contains("NotFound") => true,
        Err(why) => panic!("{kind} {name}: {why}"),
    }
}

fn text<'a>(object: &'a Value, at: &str) -> &'a str {
    object.pointer(at).and_then(Value::as_str).unwrap_or_default()
}

/// Removes the namespace of a test, whose engine is gone: its rollouts wait for nobody.
pub(super) fn remove(cluster: &Cluster, namespace: &str) {
    let admin = cluster.admin().within(namespace);
    let rollouts =
        admin.try_kubectl(&["get", "rollouts.haldane.dev", "-o=name"]).unwrap_or_default();
    for rollout in rollouts.lines() {
        let patch = r#"{"metadata": {"finalizers": null}}"#;
        let _ = admin.try_kubectl(&["patch", rollout, "--type=merge", "-p", patch]);
    }
    if let Err(why) = admin.try_kubectl(&["delete", "namespace", namespace, "--wait=false"]) {
        say(&format!("the namespace {namespace} stays: {why}"));
    }
}
