//! Settings become clients, by the registries of providers and sources.

use std::sync::Arc;

use haldane_outside::Outside;
use haldane_providers::{Error, Sides, TrafficProvider};
use haldane_runtime::drive::Factory;
use haldane_sources::MetricSource;
use serde_json::Value;

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
