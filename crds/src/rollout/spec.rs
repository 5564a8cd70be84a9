//! What is wanted of a rollout: sides, traffic, steps, alerts.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Analysis;
use crate::{Duration, Name, Percent};

/// What is wanted.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// The two sides between which traffic moves; which one serves is `status.serving`.
    #[schemars(length(min = 2, max = 2))]
    pub sides: Vec<Side>,
    /// The revision under test, where nothing else tells it.
    #[schemars(length(min = 1, max = 253))]
    pub revision: Option<String>,
    /// What moves the traffic; entries stand in parallel before the same two sides, the outermost last.
    #[schemars(length(min = 1, max = 16))]
    pub traffic: Vec<Traffic>,
    /// The weights to go through, rising to 100; without it 10, 25, 50 and 100, five minutes each.
    #[schemars(length(min = 1, max = 50))]
    pub steps: Option<Vec<Step>>,
    /// How long guards go on after the last step; without it 1h.
    pub watch: Option<Duration>,
    /// How long a rollout may take, a person's holds excluded; without it the planned bake and 1h.
    pub progress_deadline: Option<Duration>,
    /// Holds the rollout while it is true; takes effect at once.
    #[serde(default)]
    pub paused: bool,
    /// How the side under test is judged.
    #[serde(default)]
    pub analysis: Analysis,
    /// Which alerts of Alertmanager concern this rollout.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub alerts: Vec<Alert>,
}

/// One of the two sides.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Side {
    /// Its name, such as `blue`.
    pub name: Name,
    /// What tells this side's series apart in the metric source.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 16))]
    pub labels: BTreeMap<String, String>,
    /// The Kubernetes workload that runs this side.
    pub workload: Option<Workload>,
    /// Where this side's revision is asked for, where there is no workload.
    pub revision_query: Option<RevisionQuery>,
}

/// The Kubernetes workload that runs a side, in the rollout's namespace: exactly one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// The name of a Deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<Name>,
    /// The name of a StatefulSet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stateful_set: Option<Name>,
    /// The name of a DaemonSet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daemon_set: Option<Name>,
    /// The name of a ReplicaSet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica_set: Option<Name>,
    /// The labels that all pods of the side have, and no others, where none of these runs them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16))]
    pub pods: Option<BTreeMap<String, String>>,
    /// What else makes a revision, beside the pod template; without it nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contents: Option<Contents>,
}

/// What a pod template refers to and that counts as part of it: a change of its `data` is a new revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Contents {
    /// Whether ConfigMaps count.
    #[serde(default)]
    pub config_maps: bool,
    /// Whether Secrets count; the engine must be allowed to read them.
    #[serde(default)]
    pub secrets: bool,
}

/// A query whose series carry a side's revision in a label.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RevisionQuery {
    /// The query.
    #[schemars(length(min = 1, max = 4096))]
    pub promql: String,
    /// The label that holds the revision.
    #[schemars(length(min = 1, max = 253))]
    pub label: String,
    /// The metric source that is asked; may be left out where there is only one.
    pub source: Option<Name>,
}

// === impl Workload ===

impl Workload {
    /// Returns the fields that are written, by name.
    #[must_use]
    pub fn written(&self) -> Vec<&'static str> {
        let fields = [
            ("deployment", self.deployment.is_some()),
            ("statefulSet", self.stateful_set.is_some()),
            ("daemonSet", self.daemon_set.is_some()),
            ("replicaSet", self.replica_set.is_some()),
            ("pods", self.pods.as_ref().is_some_and(|labels| !labels.is_empty())),
        ];
        fields.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
    }
}

/// One traffic entry: a name, and exactly one provider with its settings.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// Its name.
    pub name: Name,
    /// `Steps`, also where it says nothing. `Open`, for an entry behind another one, is not available
    /// in this version.
    pub follow: Option<Follow>,
    /// The provider and its settings, under the provider's own key.
    #[serde(flatten)]
    pub kinds: BTreeMap<String, Value>,
}

/// How a traffic entry follows the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Follow {
    /// Carries the step's weight.
    Steps,
    /// Opens to 100 % before the first step and closes at a rollback; not available in this version.
    Open,
}

/// One step: a weight and how long it is held, or only a pause.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// The share of the side under test: `10`, or `"0.5%"`.
    pub weight: Option<Percent>,
    /// How long the share is held before the step may end; without it 5m.
    pub bake: Option<Duration>,
    /// How long it may be held while evidence is missing.
    pub max_bake: Option<Duration>,
    /// How much of the traffic that the serving side gets is copied to the side under test while this step
    /// is on its way and held: `"20%"`. Whoever sent it sees nothing of the copy.
    pub mirror: Option<Percent>,
    /// What must be open before the step begins.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub gates: Vec<Gate>,
    /// Checks that are asked in this step, and nowhere but in steps that name them.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub checks: Vec<Name>,
    /// The following step waits for a person's `promote`.
    pub pause: Option<bool>,
}

/// Something that must be open before a step begins; exactly one of `manual`, `webhook`, `window`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gate {
    /// Its name.
    pub name: Name,
    /// Opened by a person with `promote`.
    pub manual: Option<ManualGate>,
    /// Opened by something outside; not available in this version.
    pub webhook: Option<Value>,
    /// Open at certain hours; not available in this version.
    pub window: Option<Value>,
    /// After how long without an answer it expires; without it never.
    pub expires: Option<Duration>,
    /// What follows then.
    pub on_expired: Option<OnExpired>,
}

/// A gate that a person opens.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManualGate {
    /// Who may open it; not available in this version.
    #[schemars(length(max = 253))]
    pub group: Option<String>,
}

/// What follows when a gate expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum OnExpired {
    /// A person decides.
    Pause,
}

/// Which alerts concern a rollout, and what they do.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Alert {
    /// The rule's name.
    pub name: Name,
    /// Matchers as Alertmanager writes them, all of which must hold: `severity="page"`.
    #[schemars(length(min = 1, max = 16), inner(length(max = 512)))]
    pub matchers: Vec<String>,
    /// What a matching alert does.
    pub action: AlertAction,
}

/// What an alert does to a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum AlertAction {
    /// No step begins while it fires.
    Block,
    /// Holds; a person resumes once it no longer fires.
    Pause,
    /// The traffic goes back.
    Abort,
}
