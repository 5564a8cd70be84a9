//! A real Helm: `HELM`, else what `tests/helm.sh` built. Never without.

use std::{env, fs, path::PathBuf, process::Command};

use haldane_tests::cluster::Cluster;
use serde_json::Value;
use tempfile::TempDir;

use super::stage::{documents, folder, write_crds};

/// The chart.
pub const CHART: &str = "deploy/helm/haldane";

/// The versions, as Go reads them.
const MODULE: &str = include_str!("../../kubernetes/helm/go.mod");

fn program() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(given) = set("HELM") {
        return given;
    }
    let version = MODULE.lines().find_map(|line| line.trim().strip_prefix("helm.sh/helm/v4 "));
    let version = version.and_then(|rest| rest.split(' ').next()).expect("go.mod names helm");
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let cache = cache.expect("HOME or XDG_CACHE_HOME is set");
    let built = cache.join("haldane/helm").join(version).join("helm");
    assert!(built.exists(), "{} is missing: make setup-more", built.display());
    built
}

/// What it printed, or its complaint. It keeps nothing.
fn run(arguments: &[&str], kubeconfig: &str) -> Result<String, String> {
    let home = tempfile::tempdir().unwrap();
    let told = Command::new("timeout")
        .arg("180")
        .arg(program())
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .env("HELM_CACHE_HOME", home.path())
        .env("HELM_CONFIG_HOME", home.path())
        .env("HELM_DATA_HOME", home.path())
        .output()
        .expect("timeout runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if told.status.success() {
        Ok(text(&told.stdout))
    } else {
        Err(text(&told.stdout) + &text(&told.stderr))
    }
}

fn with_values<'a>(mut arguments: Vec<&'a str>, values: &[&'a str]) -> Vec<&'a str> {
    for value in values {
        arguments.extend(["--set", value]);
    }
    arguments
}

/// Checks the chart with these values, strictly.
pub fn lint(values: &[&str]) -> Result<String, String> {
    run(&with_values(vec!["lint", "--strict", &folder(CHART)], values), "/nowhere")
}

/// What the chart makes of these values.
pub fn text(name: &str, namespace: &str, values: &[&str]) -> Result<String, String> {
    let chart = folder(CHART);
    run(&with_values(vec!["template", name, &chart, "--namespace", namespace], values), "/nowhere")
}

/// The same as documents.
pub fn template(name: &str, namespace: &str, values: &[&str]) -> Result<Vec<Value>, String> {
    Ok(documents(&text(name, namespace, values)?))
}

/// What it says after an installation with these values.
pub fn notes(values: &[&str]) -> Result<String, String> {
    let chart = folder(CHART);
    let dry = vec!["install", "haldane", &chart, "--dry-run=client", "--namespace=haldane-system"];
    let said = run(&with_values(dry, values), "/nowhere")?;
    Ok(said.split_once("NOTES:").expect("it has notes").1.to_owned())
}

/// On a cluster, as its administrator.
pub fn on(cluster: &Cluster, arguments: &[&str]) -> Result<String, String> {
    run(arguments, cluster.admin().path().to_str().unwrap())
}

/// The chart in a folder of its own, as `haldane`, to be changed; with the CRDs as they are generated, which those of the
/// chart are compared with elsewhere.
pub fn copy_of_the_chart() -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    let told = Command::new("cp").args(["-r", &folder(CHART)]).arg(copy.path()).status().unwrap();
    assert!(told.success() && fs::exists(copy.path().join("haldane/Chart.yaml")).unwrap());
    write_crds(&copy.path().join("haldane/files/crds"));
    copy
}
