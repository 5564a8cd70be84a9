//! What the engine writes into a cluster, as types: a rollout's status, requests, the record of an
//! analysis.
//!
//! Their schemas are parts of the CustomResourceDefinitions; the comments are what `kubectl explain` shows.
//! Reading is lenient, unlike that of files: an older engine reads what a newer one wrote.

mod analysis_run;
mod condition;
mod request;
mod status;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

pub use self::{
    analysis_run::{
        AnalysisMeasurement, AnalysisRun, AnalysisRunCheck, AnalysisRunInput, AnalysisRunPhase,
        AnalysisRunSpec, AnalysisRunStatus, AnalysisWindow, Comparison,
    },
    condition::{Condition, ConditionStatus},
    request::{RequestOutcome, RequestStatus, RequestVerb, RolloutRequest, RolloutRequestSpec},
    status::{
        CheckStatus, EngineStatus, HoldStatus, LastDecision, RolloutStatus, StepStatus,
        StoredRecord, TrafficStatus,
    },
};

/// What a check says, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VerdictWord {
    /// The condition holds.
    Pass,
    /// The condition is broken.
    Fail,
    /// There was too little to tell.
    Inconclusive,
    /// Neither side has anything.
    NoData,
    /// The source did not answer.
    SourceError,
    /// The side under test has vanished.
    CanaryLost,
}

/// A moment, as RFC 3339 writes it.
struct Moment;

impl JsonSchema for Moment {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

/// Something that only the engine reads, kept as it is.
struct Anything;

impl JsonSchema for Anything {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Anything".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({})
    }
}
