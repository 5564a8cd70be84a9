//! A request: what a person wants done, as an object that never changes.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, Moment};
use crate::Name;

/// What a person wants done with a rollout.
///
/// It never changes; its uid is its identity. One that is not current is refused, with the reason.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutRequest {
    /// What is wanted.
    pub spec: RolloutRequestSpec,
    /// What became of it.
    #[serde(default)]
    pub status: RequestStatus,
}

/// What is wanted; it never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutRequestSpec {
    /// The rollout, in the same namespace.
    pub rollout: Name,
    /// What is to be done.
    pub verb: RequestVerb,
    /// With `Promote`: to the last step, not only to the next.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
    /// With `Promote`: raise although sources are silent; needs a `reason`. A breach still rolls back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_guards: bool,
    /// With `Retry`: go on without this traffic entry, which does not confirm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without: Option<Name>,
    /// The revision that it was made for, as `status.revision` shows it; needed by all but `Abort`, where
    /// the status shows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub revision: Option<String>,
    /// The attempt that it was made for, as `status.attempt` shows it; needed by all but `Abort`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The step that it was made for, from 0, as `status.step.index` shows it; needed by `Promote` and
    /// `Skip`, where a step is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// Why, for the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub reason: Option<String>,
    /// Who asks. Shown as claimed, unless the cluster's policy sees to it that it is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub requested_by: Option<String>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RequestVerb {
    /// This step is done, now.
    Promote,
    /// This step needs no Pass; its bake stays.
    Skip,
    /// Put the traffic back.
    Abort,
    /// Hold here.
    Pause,
    /// Lift a standing pause.
    Resume,
    /// Try the revision that failed once more.
    Retry,
    /// Return to the previous revision after a promotion.
    Undo,
}

/// What became of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestStatus {
    /// The generation of `spec` that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Whether it took effect, or will; absent until the engine has seen it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<RequestOutcome>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub message: Option<String>,
    /// Who asked, as the journal names them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub actor: Option<String>,
    /// When it was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Moment>")]
    pub answered_at: Option<Timestamp>,
    /// `Ready`, as every tool of a cluster reads it: true once the request is answered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
}

/// Whether a request took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RequestOutcome {
    /// It did, or will.
    Accepted,
    /// It did not.
    Refused,
}
