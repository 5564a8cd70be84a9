//! Where the programs of a cluster lie, and the CRDs of others.
//!
//! Finds what `tests/kubernetes.sh` made, by the same names; builds nothing, and never goes on without it.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The versions, as Go reads them.
const SERVER: &str = include_str!("../../kubernetes/go.mod");
const CRDS: &str = include_str!("../../kubernetes/crds/go.mod");

/// CRDs that are not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// `networking.istio.io` and the rest of Istio's.
    Istio,
    /// `gateway.networking.k8s.io`, the standard channel.
    GatewayApi,
}

/// Returns the version of the API server, such as `v1.34.4`.
#[must_use]
pub fn version() -> &'static str {
    version_of("k8s.io/kubernetes", SERVER)
}

/// Returns where a program lies: in `KUBEBUILDER_ASSETS`, else in the cache.
///
/// # Panics
/// Where it is in neither: a suite fails loudly, it is never skipped.
#[must_use]
#[track_caller]
pub fn program(name: &str) -> PathBuf {
    let given = env::var_os("KUBEBUILDER_ASSETS").map(|folder| Path::new(&folder).join(name));
    let built = cache().join("kubernetes").join(version()).join(name);
    let found = given.into_iter().chain([built.clone()]).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{} is missing: make setup", built.display()))
}

/// Returns the folder of foreign CRDs.
///
/// # Panics
/// Where it is missing.
#[must_use]
#[track_caller]
pub fn crds(of: Foreign) -> PathBuf {
    let (name, module) = match of {
        Foreign::Istio => ("istio", "istio.io/api"),
        Foreign::GatewayApi => ("gateway-api", "sigs.k8s.io/gateway-api"),
    };
    let folder =
        cache().join("kubernetes/crds").join(format!("{name}-{}", version_of(module, CRDS)));
    assert!(folder.exists(), "{} is missing: make setup", folder.display());
    folder
}

/// Returns the folder outside the checkout.
pub(crate) fn cache() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || set("HOME").map(|home| home.join(".cache"));
    let cache = set("XDG_CACHE_HOME").or_else(home).expect("HOME or XDG_CACHE_HOME is set");
    cache.join("haldane")
}

fn version_of(module: &str, manifest: &'static str) -> &'static str {
    let mut lines = manifest.lines().map(|line| line.trim().trim_start_matches("require "));
    let found = lines.find_map(|line| line.strip_prefix(module)?.strip_prefix(' '));
    found.and_then(|rest| rest.split_whitespace().next()).expect("go.mod requires the module")
}
