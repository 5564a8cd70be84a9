//! The status of a rollout: what people and programs see, and the record that the engine keeps there.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, Moment, VerdictWord};

/// What is, as the engine sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutStatus {
    /// The generation of `spec` that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the rollout is: `Baking`, `Healthy` and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub phase: Option<String>,
    /// Whether it stands before a gate, held or not: a promotion opens it, which takes the right to approve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_gate: Option<bool>,
    /// The side that has the traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub serving: Option<String>,
    /// The revision under test; at rest that of the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub revision: Option<String>,
    /// The revision that served before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub previous_revision: Option<String>,
    /// Which attempt this is, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The step under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<StepStatus>,
    /// The share of the side under test that is asserted now, such as `25%`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub weight: Option<String>,
    /// The worst that a check which decides says now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VerdictWord>,
    /// Each traffic entry.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub traffic: Vec<TrafficStatus>,
    /// Each check.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub checks: Vec<CheckStatus>,
    /// What only a person or an alert can lift.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub holds: Vec<HoldStatus>,
    /// What keeps the rollout from going on by itself, in codes such as `NoData`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 63)))]
    pub held_by: Vec<String>,
    /// The last decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_decision: Option<LastDecision>,
    /// The side that may be scaled down; only after the watch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub safe_to_scale_down: Option<String>,
    /// `Ready`, `Reconciling` and `Stalled`, as every tool of a cluster reads them, and Haldane's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
    /// The engine that wrote this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineStatus>,
    /// What the engine remembers. Nobody else reads it, and nobody else may write it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<StoredRecord>,
}

/// The step under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// Which, from 0.
    pub index: u32,
    /// Of how many.
    pub count: u32,
    /// Its share, such as `25%`.
    #[schemars(length(max = 8))]
    pub weight: String,
    /// How much of its bake has passed, such as `2m30s`.
    #[schemars(length(max = 32))]
    pub baked: String,
    /// Where it is, for people: `2/4`.
    #[schemars(length(max = 16))]
    pub shown: String,
}

/// One traffic entry; shares are those of the side under test, at rest of the idle side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficStatus {
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// The share that is asserted, such as `25%`.
    #[schemars(length(max = 8))]
    pub wanted: String,
    /// The highest share that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub observed: Option<String>,
    /// At which level it is acknowledged: `Accepted`, `Programmed` or `Measured`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub acknowledged: Option<String>,
    /// What is wrong, where something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub message: Option<String>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckStatus {
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// What it says; absent before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VerdictWord>,
    /// The value that was judged, with its unit, such as `0.4%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub value: Option<String>,
    /// The limit, in words, such as `max 1%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub limit: Option<String>,
    /// How many samples the value rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub message: Option<String>,
}

/// Something that only a person or an alert can lift.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HoldStatus {
    /// Which kind, or for which reason.
    #[schemars(length(max = 63))]
    pub kind: String,
    /// Since when.
    #[schemars(with = "Moment")]
    pub since: Timestamp,
    /// Who put it on.
    #[schemars(length(max = 512))]
    pub actor: String,
}

/// The last decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastDecision {
    /// When.
    #[schemars(with = "Moment")]
    pub time: Timestamp,
    /// What happened, as a code such as `StepPassed`.
    #[schemars(length(max = 63))]
    pub reason: String,
    /// Why the traffic goes back, as a code such as `Breach`, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub cause: Option<String>,
    /// Who decided: a person, an alert, a policy or `haldane`.
    #[schemars(length(max = 512))]
    pub actor: String,
    /// The decision in a sentence.
    #[schemars(length(max = 4096))]
    pub message: String,
    /// Its journal entries as the engine writes them, until they are copied into an AnalysisRun.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 16384)))]
    pub entries: Vec<String>,
}

/// The engine that wrote a status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EngineStatus {
    /// The format of its record.
    pub format: u32,
    /// The term of its lease.
    pub term: u64,
    /// The version of its record.
    pub version: u64,
}

/// The engine's own record, as it keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoredRecord {
    /// The version that the next write must expect.
    pub version: u64,
    /// The term that it was written in.
    pub term: u64,
    /// The record itself, to the byte.
    #[schemars(length(max = 1048576))]
    pub text: String,
}
