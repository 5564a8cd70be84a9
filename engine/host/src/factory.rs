//! Settings become clients, by the registries of providers and sources.

use std::sync::Arc;

use haldane_model::HeaderEntry;
use haldane_outside::Outside;
use haldane_providers::{Error, Sides, TrafficProvider};
use haldane_runtime::drive::Factory;
use haldane_sources::MetricSource;
use serde_json::Value;

/// Returns what these traffic entries drive, as two rollouts must not both; nothing of a kind that is not known here.
pub(crate) fn targets(entries: &[HeaderEntry]) -> Vec<String> {
    let of = |entry: &HeaderEntry| {
        let row = haldane_providers::REGISTRY.iter().find(|row| row.kind == &*entry.kind)?;
        let settings: Value = serde_json::from_str(&entry.settings).ok()?;
        Some((row.targets)(&settings))
    };
    entries.iter().filter_map(of).flatten().collect()
}

/// Builds what the registries know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Registered;

impl Factory for Registered {
    fn provider(
        &self,
        kind: &str,
        settings: &str,
        sides: &Sides,
        outside: &Outside,
    ) -> Result<Arc<dyn TrafficProvider>, Error> {
        let entry = haldane_providers::REGISTRY.iter().find(|entry| entry.kind == kind);
        let entry = entry.ok_or_else(|| Error::Invalid(format!("no provider is named {kind}")))?;
        let settings: Value = serde_json::from_str(settings)
            .map_err(|error| Error::Invalid(format!("the settings of {kind}: {error}")))?;
        (entry.build)(&settings, sides, outside)
    }

    fn source(
        &self,
        kind: &str,
        settings: &str,
        outside: &Outside,
    ) -> Result<Arc<dyn MetricSource>, String> {
        let entry = haldane_sources::source_entry(kind);
        let entry = entry.ok_or_else(|| format!("no source is named {kind}"))?;
        let settings: Value = serde_json::from_str(settings)
            .map_err(|error| format!("the settings of {kind}: {error}"))?;
        (entry.build)(&settings, outside).map_err(|error| error.to_string())
    }
}
