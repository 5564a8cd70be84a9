//! What is known of providers, sources and checks: rows, each with a schema and a function that
//! checks settings. The plan knows the rows and no kind by name.

use std::sync::Arc;

use haldane_providers::ProviderEntry;
use haldane_sources::{SettingsError, SourceEntry, TemplateScope};
use serde_json::Value;

/// Writes the question for a side's revision.
pub type WriteRevision = fn(&Value, &TemplateScope) -> Result<Arc<str>, Vec<SettingsError>>;

/// Checks a check's settings and writes what is asked.
pub type CheckSettings =
    fn(&Value, &TemplateScope, Option<f64>) -> Result<Checked, Vec<SettingsError>>;

/// The rows that a document may name.
#[derive(Clone, Copy)]
pub struct Registries<'a> {
    /// What moves traffic.
    pub providers: &'a [ProviderEntry],
    /// Where numbers come from.
    pub sources: &'a [SourceEntry],
    /// What is asked.
    pub checks: &'a [CheckKind],
    /// Checks a `revisionQuery` without its `source`, and writes the question.
    pub revision: WriteRevision,
}

/// One row of the registry of checks.
#[derive(Clone, Copy)]
pub struct CheckKind {
    /// Its key under a check: `errors`.
    pub kind: &'static str,
    /// The JSON schema of its settings.
    pub schema: fn() -> schemars::Schema,
    /// Checks settings and writes the question and the rule. The number is `minSamples`.
    pub check: CheckSettings,
}

/// A check whose settings can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It can be pinned.
    Ready {
        /// What is asked, as JSON text for the source.
        question: Arc<str>,
        /// How it is judged, as JSON text for the judge; with a `min` or a `max` it needs no
        /// baseline.
        rule: Arc<str>,
    },
    /// Its source must be asked first which metrics the application has.
    NeedsShape,
}
