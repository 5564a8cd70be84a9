//! How a kind of provider is named, described, checked and built.
//!
//! Everything but `build` is pure: settings can be checked where nothing runs.

use std::sync::Arc;

use haldane_model::SideName;
use haldane_outside::Outside;
use serde_json::Value;

use crate::{Capabilities, Error, TrafficProvider};

/// What is known about the two sides when a provider is built: their names, in the order of the file.
#[derive(Clone, Debug)]
pub struct Sides {
    /// The first side of the file.
    pub first: SideName,
    /// The second side of the file.
    pub second: SideName,
}

/// What is known of a rollout when its settings are checked.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Its namespace: whatever it names in a cluster lies there.
    pub namespace: &'a str,
    /// Its sides.
    pub sides: &'a Sides,
}

/// A provider, or why it cannot be built.
pub type Built = Result<Arc<dyn TrafficProvider>, Error>;

/// One row of the registry: how a kind of provider is named, described and built.
pub struct ProviderEntry {
    /// Its key under a traffic entry: `haproxy`.
    pub kind: &'static str,
    /// The JSON schema of its settings.
    pub schema: fn() -> schemars::Schema,
    /// Checks settings and adds defaults. An error names the JSON path below the settings
    /// (`/share/map`) and says what to do.
    pub check: fn(&Value, Scope<'_>) -> Result<Value, Vec<SettingsError>>,
    /// What two rollouts must not both drive, e.g. `haproxy:/etc/haproxy/haldane/share.map:checkout`; a word `*`,
    /// never of the first two, is any, as [`overlap`] compares them.
    pub targets: fn(&Value) -> Vec<String>,
    /// What the provider can do with these settings.
    pub capabilities: fn(&Value) -> Capabilities,
    /// Builds one from checked settings.
    pub build: fn(&Value, &Sides, &Outside) -> Built,
}

/// Settings that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct SettingsError {
    /// Where, as a JSON pointer below the settings.
    pub path: String,
    /// What is wrong, with the value.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Whether two targets may be one: word by word they are the same, or `*` in one of them leaves a word open.
#[must_use]
pub fn overlap(one: &str, other: &str) -> bool {
    let words = || one.split(' ').zip(other.split(' '));
    let is_open = || one.contains('*') || other.contains('*');
    let is_long = || one.split(' ').count() == other.split(' ').count();
    one == other || is_open() && is_long() && words().all(|(a, b)| a == b || a == "*" || b == "*")
}

/// Returns what a target shares with every other one that it may overlap: its first two words, where no `*` stands.
/// In an order of targets all of them come together, from this on.
#[must_use]
pub fn object_of(target: &str) -> &str {
    let end = target.match_indices(' ').nth(1).map_or(target.len(), |(at, _)| at);
    &target[..end]
}

#[cfg(test)]
mod tests {
    use super::{object_of, overlap};

    #[test]
    fn what_one_target_leaves_open_overlaps_whatever_the_other_says() {
        let check = |one: &str, other: &str, overlaps: bool| {
            assert_eq!(overlap(one, other), overlaps, "{one:?} {other:?}");
            assert_eq!(overlap(other, one), overlaps, "{other:?} {one:?}");
            assert!(!overlaps || object_of(one) == object_of(other), "they lie together");
        };
        check("route a host x", "route a host x", true);
        check("route a host x", "route a host *", true);
        check("route a host x port *", "route a host * port 80", true);
        check("route a host x port *", "route a host y port *", false);
        check("route a host *", "route b host *", false);
        check("route a host *", "route a host x port 80", false);
        check("share.map:*", "share.map:a", false);
    }
}
