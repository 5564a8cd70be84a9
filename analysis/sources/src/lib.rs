//! Metric sources: where numbers come from, one folder each.
//!
//! A source answers with raw numbers and tells silence from failure; it never judges. What is
//! asked is written by a check ([`CHECKS`]) into a [`Question`], with its templates resolved for
//! both assignments of the roles, and pinned with the plan.

mod access;
mod arguments;
mod checks;
mod cloudwatch;
pub mod counters;
mod datadog;
mod graphite;
mod haproxy;
mod http;
mod influxdb;
mod newrelic;
mod numbers;
mod per_side;
mod prometheus;
mod promql;
mod question;
mod reply;
mod sampled;
mod scrape;
mod service;
mod settings;
mod templates;
mod web;
mod webhook;

pub use self::{
    arguments::{
        fill, fill_as_literals, is_of_another_language, is_reserved, is_template, named_in,
    },
    checks::{
        CHECKS, CheckEntry, CheckSettings, Checked, Shape, ShapeKind, detect_shape, pin_shape,
    },
    question::{
        Ask, Counted, Document, HttpRequest, Query, Question, RevisionQuestion, SideQuestion, Text,
        revision_question,
    },
    settings::ratio,
};

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use haldane_model::{CheckName, Revision, Sample, SideName, Weight, Window};
use haldane_outside::Outside;
use jiff::SignedDuration;
use serde_json::Value;

/// Which side is on trial in one look, and which one serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookSides {
    /// The side on trial: `canary` in templates.
    pub test: SideName,
    /// The other: `stable` in templates.
    pub serving: SideName,
}

/// One look to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// What to look at, in the source's time; `end` is the moment that is asked for.
    pub window: Window,
    /// Who is who.
    pub sides: LookSides,
    /// After how long the answer is of no use.
    pub deadline: Duration,
    /// Where both sides are counted: the width of a window, whose ends are multiples of it since the
    /// epoch. `None`: the longer of the scrape interval and five seconds.
    pub grid: Option<Duration>,
    /// Where both sides are counted: how long before the window the serving side is counted as well;
    /// an hour at most, and less where that would be too much at once.
    pub before: Option<Duration>,
    /// What is under way; `None` where the past is asked about.
    pub about: Option<Arc<About>>,
}

/// What a look is taken for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The check.
    pub check: CheckName,
    /// What is rolled out, where that is known.
    pub revision: Option<Revision>,
    /// Which attempt it is; before one begins, the last one.
    pub attempt: u32,
    /// The step, counted from one; `None` before the first and where traffic goes back.
    pub step: Option<usize>,
    /// The share that the side under test is to have.
    pub weight: Weight,
}

/// What a source says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceFacts {
    /// How far its clock is ahead of ours.
    pub clock_ahead: SignedDuration,
    /// Its scrape interval, where it tells.
    pub scrape: Option<Duration>,
    /// After how long what it is asked for is surely there: windows end that much earlier.
    pub delay: Duration,
}

/// A place that numbers come from. Every call ends by itself within its deadline.
pub trait MetricSource: Send + Sync + 'static {
    /// Takes one look. Never fails: a failure is an answer. `share` is left `None`.
    fn look(&self, question: Arc<str>, look: Look) -> BoxFuture<'static, Sample>;
    /// Asks which revisions a side shows: the values of a label of the series a query returns.
    fn revisions(
        &self,
        question: Arc<str>,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Vec<Revision>, String>>;
    /// Asks the source about itself.
    fn facts(&self, deadline: Duration) -> BoxFuture<'static, Result<SourceFacts, String>>;
}

/// What templates may name, besides `window`, which is rendered at each look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateScope {
    /// The rollout's namespace.
    pub namespace: String,
    /// The rollout's name.
    pub name: String,
    /// The two sides and their labels, in the order of the file. Which one is `canary` is known
    /// only at the look, so both renderings are kept in the question.
    pub sides: [(String, BTreeMap<String, String>); 2],
    /// The user's own arguments.
    pub arguments: BTreeMap<String, String>,
}

/// Something in a check or a source that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct SettingsError {
    /// Where, as a JSON pointer below the check or the source's settings.
    pub path: String,
    /// What is wrong, with the value.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Builds a source from checked settings.
pub type BuildSource = fn(&Value, &Outside) -> Result<Arc<dyn MetricSource>, SettingsError>;

/// One row of the registry of sources.
pub struct SourceEntry {
    /// Its key under a source: `prometheus`.
    pub kind: &'static str,
    /// The JSON schema of its settings.
    pub schema: fn() -> schemars::Schema,
    /// Checks settings and adds defaults.
    pub check: fn(&Value) -> Result<Value, Vec<SettingsError>>,
    /// Joins checked settings with the sides of a rollout: refuses what names another side, and adds
    /// what the source must know of them. Joining twice changes nothing.
    pub join: fn(&Value, &TemplateScope) -> Result<Value, SettingsError>,
    /// Refuses a question, of a check or of a revision, that it could never answer; the settings
    /// are joined ones.
    pub answers: fn(&Value, &str) -> Result<(), SettingsError>,
    /// Whether it tells of the time before it is first asked.
    pub remembers: bool,
    /// Builds one from joined settings.
    pub build: BuildSource,
}

/// Every kind of source.
pub const SOURCES: &[SourceEntry] = &[
    prometheus::ENTRY,
    scrape::ENTRY,
    haproxy::ENTRY,
    per_side::ENTRY,
    http::ENTRY,
    datadog::ENTRY,
    cloudwatch::ENTRY,
    newrelic::ENTRY,
    graphite::ENTRY,
    influxdb::ENTRY,
];

/// The sources that nobody writes: each belongs to the checks of its kind, and has their settings.
const OWN_SOURCES: &[SourceEntry] = &[webhook::ENTRY];

/// Returns the source that a kind of check brings along; its settings are the check's own.
#[must_use]
pub fn own_source(check: &str) -> Option<&'static SourceEntry> {
    OWN_SOURCES.iter().find(|entry| entry.kind == check)
}

/// Returns the kind of source that a plan names.
#[must_use]
pub fn source_entry(kind: &str) -> Option<&'static SourceEntry> {
    SOURCES.iter().find(|entry| entry.kind == kind).or_else(|| own_source(kind))
}

// === impl About ===

impl About {
    /// The share in percent, as a number for programs: 25, or 12.5.
    pub(crate) fn percent(&self) -> Value {
        let points = self.weight.basis_points();
        if points.is_multiple_of(100) {
            (points / 100).into()
        } else {
            (f64::from(points) / 100.0).into()
        }
    }

    /// What a template of a webhook names.
    pub(crate) fn told(&self, name: &str) -> Option<String> {
        match name {
            "attempt" => Some(self.attempt.to_string()),
            // A number also before the first, so that a body stays JSON.
            "step" => Some(self.step.unwrap_or(0).to_string()),
            "weight" => Some(self.percent().to_string()),
            "revision" => {
                Some(self.revision.as_ref().map_or_else(String::new, ToString::to_string))
            }
            _ => None,
        }
    }
}

// === impl SettingsError ===

impl SettingsError {
    pub(crate) fn new(path: &str, message: impl Into<String>, help: &str) -> Self {
        Self { path: path.to_owned(), message: message.into(), help: Some(help.to_owned()) }
    }
}
