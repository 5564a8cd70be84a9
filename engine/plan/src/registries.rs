//! What is known of providers, sources and checks: rows, each with a schema and a function that
//! checks settings. The plan knows the rows and no kind by name.

use std::sync::Arc;

use haldane_providers::ProviderEntry;
use haldane_sources::{CheckEntry, SettingsError, SourceEntry, TemplateScope};
use serde_json::Value;

/// Checks a `revisionQuery` without its `source`, and writes the question.
pub type WriteRevision = fn(&Value, &TemplateScope) -> Result<Arc<str>, Vec<SettingsError>>;

/// The rows that a document may name.
#[derive(Clone, Copy)]
pub struct Registries<'a> {
    /// What moves traffic.
    pub providers: &'a [ProviderEntry],
    /// Where numbers come from.
    pub sources: &'a [SourceEntry],
    /// The source that a kind of check brings along.
    pub own_source: fn(&str) -> Option<&'static SourceEntry>,
    /// What is asked.
    pub checks: &'a [CheckEntry],
    /// What writes the question of a side's revision.
    pub revision: WriteRevision,
}

/// Returns everything that this engine knows.
#[must_use]
pub fn registries() -> Registries<'static> {
    Registries {
        providers: &haldane_providers::REGISTRY,
        sources: haldane_sources::SOURCES,
        own_source: haldane_sources::own_source,
        checks: haldane_sources::CHECKS,
        revision: haldane_sources::revision_question,
    }
}
