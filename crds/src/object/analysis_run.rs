//! The record of one attempt's analysis, as `haldane get analysisruns` shows it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Anything, Condition, Moment, VerdictWord};

/// What one attempt of a rollout was asked, what was measured, and what was concluded and why.
///
/// The engine writes it; it is a record, and nothing follows from changing it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AnalysisRun {
    /// What was to be analysed, and how.
    pub spec: AnalysisRunSpec,
    /// What was found.
    #[serde(default)]
    pub status: AnalysisRunStatus,
}

/// What was to be analysed, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisRunSpec {
    /// The rollout, in the same namespace.
    #[schemars(length(min = 1, max = 63))]
    pub rollout: String,
    /// Which attempt of it.
    pub attempt: u32,
    /// The revision that was on trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub revision: Option<String>,
    /// What was asked, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub checks: Vec<AnalysisRunInput>,
}

/// One check, as it was asked and judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisRunInput {
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Whether it decided nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// The question, in the source's words.
    #[serde(default)]
    #[schemars(with = "Anything")]
    pub question: Value,
    /// The rule, in the judge's words.
    #[serde(default)]
    #[schemars(with = "Anything")]
    pub rule: Value,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AnalysisRunStatus {
    /// The generation of `spec` that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<AnalysisRunPhase>,
    /// When the attempt began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Moment>")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Moment>")]
    pub finished_at: Option<Timestamp>,
    /// Why it ended so, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub message: Option<String>,
    /// Each check, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub checks: Vec<AnalysisRunCheck>,
    /// The journal of the attempt as the engine writes it, oldest first; the newest entries where there
    /// were more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 16384)))]
    pub entries: Vec<String>,
    /// `Ready`, as every tool of a cluster reads it: true once the attempt has ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
}

/// How an analysis ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AnalysisRunPhase {
    /// It has not.
    Running,
    /// The revision has all traffic.
    Successful,
    /// The traffic went back because of what was found.
    Failed,
    /// The traffic went back because a source was broken or silent.
    Error,
    /// It ended before anything was shown: by a person, an alert, a deadline, another revision.
    Inconclusive,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisRunCheck {
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// What it said last.
    pub verdict: VerdictWord,
    /// Whether that sent the traffic back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub breach: bool,
    /// The same in a sentence.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub message: String,
    /// How often it said what.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 16))]
    pub looks: BTreeMap<String, u64>,
    /// The newest measurements, oldest first.
    #[serde(default)]
    #[schemars(length(max = 50))]
    pub measurements: Vec<AnalysisMeasurement>,
    /// How many older ones are not shown.
    #[serde(default)]
    pub older: u64,
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisMeasurement {
    /// When it was judged.
    #[schemars(with = "Moment")]
    pub at: Timestamp,
    /// What was looked at, in the source's time.
    pub window: AnalysisWindow,
    /// The verdict.
    pub verdict: VerdictWord,
    /// The value, in base units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The limit, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub limit: Option<String>,
    /// How many samples it rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<f64>,
    /// What it was compared with, and the evidence so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared: Option<Comparison>,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub message: Option<String>,
}

/// A stretch of time on a source's clock; its begin is excluded, its end included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnalysisWindow {
    /// Where it begins.
    #[schemars(with = "Moment")]
    pub begin: Timestamp,
    /// Where it ends.
    #[schemars(with = "Moment")]
    pub end: Timestamp,
}

/// What the side under test was compared with, and how surely it is worse.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// The serving side's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<f64>,
    /// The odds that the side under test is worse than tolerated, to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub odds: Option<f64>,
    /// The odds at which this check alone rolls back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub odds_needed: Option<f64>,
}
