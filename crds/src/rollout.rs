//! The written form of a rollout, as a type.
//!
//! It holds what was written and nothing else: an unset field stays unset, defaults are `plan`'s.
//! The comments here are the descriptions that `haldane schema` and `kubectl explain` show.

mod analysis;
mod spec;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub use self::{
    analysis::{Analysis, Check, During, Gap, OnDeadline, OnInconclusive, Source},
    spec::{
        Alert, AlertAction, Contents, Follow, Gate, ManualGate, OnExpired, RevisionQuery, Side,
        Spec, Step, Traffic, Workload,
    },
};
use crate::Name;

/// Moves traffic between two sides, step by step, and puts it back when users are worse off.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollout {
    /// Always `haldane.dev/v1alpha1`.
    pub api_version: String,
    /// Always `Rollout`.
    pub kind: String,
    /// What the rollout is called.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: Spec,
}

/// What a document is called.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Its name, unique within its namespace.
    pub name: Name,
    /// The namespace; outside Kubernetes `default` where none is written.
    pub namespace: Option<Name>,
    /// Labels, for people and tools; they change nothing.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Annotations, for people and tools; they change nothing.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}
