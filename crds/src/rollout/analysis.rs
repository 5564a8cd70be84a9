//! How the side under test is judged: sources, checks, policies.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{Duration, Name, TemplateUse};

/// How the side under test is judged.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Analysis {
    /// True says that nothing is analysed: every step rises by time alone.
    #[serde(default)]
    pub none: bool,
    /// The metric sources; without it the engine's own.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub sources: Vec<Source>,
    /// The source of the checks that name none; may be left out where there is only one.
    pub source: Option<Name>,
    /// How often checks are asked that do not say; without it 10s.
    pub interval: Option<Duration>,
    /// How far back one look of a check reaches that does not say.
    pub window: Option<Duration>,
    /// How long after the first exposure checks are first asked that do not say.
    pub initial_delay: Option<Duration>,
    /// How many failures a check may have that does not say; one more is a breach. Without it 0.
    pub failure_limit: Option<u32>,
    /// How many failures in a row a check may have that does not say.
    pub consecutive_failure_limit: Option<u32>,
    /// How many inconclusive looks a check may have that does not say, before `onInconclusive`.
    pub inconclusive_limit: Option<u32>,
    /// How many samples a check needs to judge that does not say.
    pub min_samples: Option<u32>,
    /// How likely a healthy release may be rolled back by a comparison in a whole rollout, such as
    /// `"1%"`, which it is without it.
    #[schemars(length(max = 16))]
    pub alpha: Option<String>,
    /// How likely a comparison may let a release pass that does more harm than is accepted, in one step,
    /// such as `"5%"`, which it is without it.
    #[schemars(length(max = 16))]
    pub beta: Option<String>,
    /// Words of your own for query templates.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 32))]
    pub arguments: BTreeMap<String, String>,
    /// The checks; while it is asked, every one guards and must pass before a step ends.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub checks: Vec<Check>,
    /// Templates whose checks are checks of this rollout as well, with the arguments of each.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub templates: Vec<TemplateUse>,
    /// What follows when there is nothing to judge on either side; without it `Hold`.
    pub on_no_data: Option<Gap>,
    /// What follows when a source does not answer; without it `Hold`.
    pub on_source_error: Option<Gap>,
    /// What follows when the side under test vanishes; without it `Abort`.
    pub on_canary_lost: Option<Gap>,
    /// What follows when the rollout takes longer than it may; without it `Pause`.
    pub on_deadline: Option<OnDeadline>,
    /// What follows when evidence does not come; without it `Pause`.
    pub on_inconclusive: Option<OnInconclusive>,
}

/// One metric source: a name, and exactly one kind with its settings.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Its name.
    pub name: Name,
    /// The kind of source and its settings, under the kind's own key.
    #[serde(flatten)]
    pub kinds: BTreeMap<String, Value>,
}

/// One check: exactly one kind with its settings.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Its name; without it the kind's, such as `errors`.
    pub name: Option<Name>,
    /// Which source is asked; may be left out where there is only one.
    pub source: Option<Name>,
    /// How often it is asked.
    pub interval: Option<Duration>,
    /// How far back one look reaches, at most the shortest bake.
    pub window: Option<Duration>,
    /// How long after the first exposure it is first asked; without it 0s.
    pub initial_delay: Option<Duration>,
    /// How many failures it may have; one more is a breach.
    pub failure_limit: Option<u32>,
    /// How many failures in a row it may have; one more is a breach.
    pub consecutive_failure_limit: Option<u32>,
    /// How many inconclusive looks it may have before `onInconclusive`.
    pub inconclusive_limit: Option<u32>,
    /// How many samples it needs to judge; fewer are inconclusive.
    pub min_samples: Option<u32>,
    /// Measured and reported, never decisive.
    #[serde(default)]
    pub dry_run: bool,
    /// When it is asked, and decides; without it `Background`, unless steps name it.
    pub during: Option<During>,
    /// The kind of check and its settings, under the kind's own key.
    #[serde(flatten)]
    pub kinds: BTreeMap<String, Value>,
}

impl Check {
    /// Returns its name: the one that is written, else its kind's.
    #[must_use]
    pub fn name(&self) -> &str {
        let kind = || self.kinds.keys().next().map_or("check", String::as_str);
        self.name.as_ref().map_or_else(kind, Name::as_str)
    }
}

/// When a check is asked, and decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum During {
    /// All along: from before the first raise to the end of the watch.
    Background,
    /// In the step of weight 0, before any user has traffic; it must pass there.
    BeforeTraffic,
    /// At 100 %, and in the watch.
    AfterPromotion,
}

/// What follows on a missing answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Gap {
    /// Holds, and goes on by itself.
    Hold,
    /// A person decides.
    Pause,
    /// The traffic goes back.
    Abort,
    /// The check is left out of that look.
    Ignore,
}

/// What follows when the progress deadline passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum OnDeadline {
    /// A person decides.
    Pause,
    /// The traffic goes back.
    Abort,
}

/// What follows when evidence does not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum OnInconclusive {
    /// A person decides.
    Pause,
    /// The step counts as done, by policy.
    Promote,
    /// The traffic goes back.
    Abort,
}
