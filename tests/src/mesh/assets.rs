//! Where istiod and Envoy lie.
//!
//! Finds what `tests/mesh.sh` made, by the same names; builds nothing, and never goes on without it.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::cluster::cache;

/// The version of istiod, as Go reads it.
const ISTIOD: &str = include_str!("../../kubernetes/istiod/go.mod");
/// The version of Envoy, as the script writes it.
const SCRIPT: &str = include_str!("../../mesh.sh");

/// Returns where istiod lies.
#[track_caller]
pub(super) fn istiod() -> PathBuf {
    let mut lines = ISTIOD.lines().map(str::trim);
    let version = lines.find_map(|line| line.strip_prefix("istio.io/istio "));
    let version = version.and_then(|rest| rest.split_whitespace().next());
    let version = version.expect("go.mod requires Istio");
    find("HALDANE_ISTIOD", &cache().join("istiod").join(version).join("pilot-discovery"))
}

/// Returns where Envoy lies.
#[track_caller]
pub(super) fn envoy() -> PathBuf {
    let version = SCRIPT.lines().find_map(|line| line.strip_prefix("envoy_version="));
    let version = version.expect("the script names the version of Envoy");
    find("HALDANE_ENVOY", &cache().join("envoy").join(version).join("envoy/_bin/envoy"))
}

#[track_caller]
fn find(variable: &str, made: &Path) -> PathBuf {
    let given = env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let found = given.unwrap_or_else(|| made.to_owned());
    assert!(found.exists(), "{} is missing: make setup-more", found.display());
    found
}
