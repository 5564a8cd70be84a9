//! The plan of a rollout: what was written, validated, with its defaults, and pinned at the start.
//!
//! Settings of providers, sources and checks are opaque JSON text here; the crates that own them
//! read them. A plan that exists has two sides, one to fifty steps of which the last is 100 %.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{AlertName, CheckName, EntryName, GateName, SideName, SourceName, Weight};

/// Everything that an attempt needs, as it was when the attempt began.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Plan {
    /// Tells one plan from another; begins with the version of its algorithm.
    pub hash: Arc<str>,
    /// The two sides, in the order of the file.
    pub sides: [Side; 2],
    /// The traffic entries, in the order of the file; the last is the outermost.
    pub entries: Vec<Entry>,
    /// The steps; weights rise, the last is [`Weight::FULL`].
    pub steps: Vec<Step>,
    /// How long guards go on after the last step.
    pub watch: Duration,
    /// How long a rollout may take, times of a person's hold excluded.
    pub progress_deadline: Duration,
    /// What follows when it takes longer.
    pub on_deadline: OnDeadline,
    /// The metric sources.
    pub sources: Vec<Source>,
    /// The checks; while it is asked, every one guards and gates unless it is a dry run.
    pub checks: Vec<Check>,
    /// What follows on missing and unclear answers.
    pub policies: Policies,
    /// Which alerts concern this rollout.
    pub alerts: Vec<AlertRule>,
    /// Whether a check exists that can judge without a baseline, as 100 % needs.
    pub guards_at_full: bool,
    /// Whether the file says that nothing is analysed, by name.
    pub unanalysed: bool,
}

/// One of the two sides.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Side {
    /// Its name.
    pub name: SideName,
    /// What tells this side's series apart in the sources.
    pub labels: BTreeMap<String, String>,
    /// Where its revision is asked for, as JSON; without it the revision is the user's word.
    pub revision_query: Option<Arc<str>>,
    /// What runs it in a cluster, as JSON: it tells the revision, and whether it can take traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Arc<str>>,
}

/// One traffic entry: a provider and its settings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub name: EntryName,
    /// Which provider drives it.
    pub kind: Arc<str>,
    /// The provider's settings, as JSON.
    pub settings: Arc<str>,
    /// How it follows the steps.
    pub follow: Follow,
    /// Whether the provider's writes are signed, so that `read` can tell ours from others'.
    pub signed: bool,
    /// After how long a write of this provider has surely landed or failed.
    pub write_deadline: Duration,
}

/// How a traffic entry follows the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Follow {
    /// Carries the step's weight.
    Steps,
}

/// One step: a weight, and how long it must hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Step {
    /// The share of the side under test.
    pub weight: Weight,
    /// How long the share is held, accumulated.
    pub bake: Duration,
    /// How long it may be held while evidence is missing.
    pub max_bake: Option<Duration>,
    /// What must be open before the step begins.
    pub gates: Vec<Gate>,
    /// How much of what the serving side gets is copied to the side under test meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Weight>,
}

/// Something that must be open before a step begins.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Gate {
    /// Its name.
    pub name: GateName,
    /// Who opens it.
    pub kind: GateKind,
    /// After how long it expires.
    pub expires: Option<Duration>,
    /// What follows then.
    pub on_expired: OnExpired,
}

/// Who opens a gate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GateKind {
    /// A person, with `promote`.
    Manual,
    /// Something outside, asked with these settings (JSON).
    External(Arc<str>),
}

/// What follows when a gate expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OnExpired {
    /// A person decides.
    Pause,
}

/// What follows when the progress deadline passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OnDeadline {
    /// A person decides.
    Pause,
    /// The traffic goes back.
    Abort,
}

/// A metric source.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Source {
    /// Its name.
    pub name: SourceName,
    /// Which kind of source.
    pub kind: Arc<str>,
    /// The source's settings, as JSON.
    pub settings: Arc<str>,
}

/// One check: what is asked, how often, and when it counts as broken.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Check {
    /// Its name.
    pub name: CheckName,
    /// Which source is asked.
    pub source: SourceName,
    /// Which kind of check: `errors`, `latency` or `query`.
    pub kind: Arc<str>,
    /// What is asked, resolved but for the window, as JSON for `analysis/sources`.
    pub question: Arc<str>,
    /// How the answer is judged, as JSON for `analysis/judge`.
    pub rule: Arc<str>,
    /// How often it is asked.
    pub interval: Duration,
    /// How far back one look reaches; unset: max(interval, 4 scrapes), at most the shortest bake.
    pub window: Option<Duration>,
    /// How long after the first exposure it is first asked.
    pub initial_delay: Duration,
    /// How many failures it may have.
    pub limits: Limits,
    /// Measured and reported, never decisive.
    pub dry_run: bool,
    /// When it is asked, and decides.
    #[serde(default, skip_serializing_if = "During::is_background")]
    pub during: During,
}

/// When a check is asked, guards and gates; outside of it the check does nothing.
///
/// A step begins with the confirmation of its share, and lasts until the next one's is confirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum During {
    /// All along: from before the first raise to the end of the watch.
    #[default]
    Background,
    /// In the step of weight 0, before any user has traffic.
    BeforeTraffic,
    /// In these steps, by their place in the plan.
    Steps(Vec<usize>),
    /// At 100 %, and in the watch.
    AfterPromotion,
}

/// How many odd looks a check may have in one attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// More failures than this are a breach.
    pub failures: u32,
    /// More failures in a row than this are a breach.
    pub consecutive_failures: Option<u32>,
    /// More inconclusive looks than this follow `on_inconclusive`.
    pub inconclusive: Option<u32>,
}

/// What follows on missing and unclear answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Policies {
    /// On [`Gap::NoData`].
    pub no_data: GapPolicy,
    /// On [`Gap::SourceError`].
    pub source_error: GapPolicy,
    /// On [`Gap::CanaryLost`].
    pub canary_lost: GapPolicy,
    /// When a step's `max_bake` passes without a Pass, or a limit on inconclusive looks is exceeded.
    pub inconclusive: OnInconclusive,
}

/// A kind of missing answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Gap {
    /// Nothing on either side.
    NoData,
    /// The source is broken.
    SourceError,
    /// The side under test vanished.
    CanaryLost,
}

/// What follows on a missing answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GapPolicy {
    /// Hold; goes on by itself.
    Hold,
    /// A person decides.
    Pause,
    /// The traffic goes back.
    Abort,
    /// The check is left out of that look.
    Ignore,
}

/// What follows when evidence does not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OnInconclusive {
    /// A person decides.
    Pause,
    /// The step counts as done, by policy.
    Promote,
    /// The traffic goes back.
    Abort,
}

/// Which alerts concern a rollout, and what they do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AlertRule {
    /// Its name.
    pub name: AlertName,
    /// Alertmanager matchers, all of which must hold.
    pub matchers: Vec<String>,
    /// What a matching alert does.
    pub action: AlertAction,
}

/// What an alert does to a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AlertAction {
    /// No step begins while it fires.
    Block,
    /// Hold; a person resumes once it no longer fires.
    Pause,
    /// The traffic goes back.
    Abort,
}

// === impl During ===

impl During {
    /// Returns whether it is all along.
    #[must_use]
    pub fn is_background(&self) -> bool {
        *self == Self::Background
    }
}

// === impl Plan ===

impl Plan {
    /// Returns the index of the last step.
    #[must_use]
    pub fn last_step(&self) -> usize {
        self.steps.len().saturating_sub(1)
    }

    /// Returns the weight of a step; 100 % past the end.
    #[must_use]
    pub fn weight(&self, step: usize) -> Weight {
        self.steps.get(step).map_or(Weight::FULL, |step| step.weight)
    }

    /// Returns the checks that gate: all but the dry runs.
    pub fn gating(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.dry_run)
    }

    /// Returns the shortest interval between two looks of a guard; 15 s where there is none.
    #[must_use]
    pub fn guard_interval(&self) -> Duration {
        let shortest = self.gating().map(|check| check.interval).min();
        shortest.unwrap_or(Duration::from_secs(15))
    }

    /// Returns after how long every write has surely landed or failed.
    #[must_use]
    pub fn write_deadline(&self) -> Duration {
        self.entries.iter().map(|entry| entry.write_deadline).max().unwrap_or_default()
    }

    /// Returns the other side's name.
    #[must_use]
    pub fn other(&self, side: &SideName) -> &SideName {
        let [first, second] = &self.sides;
        if first.name == *side { &second.name } else { &first.name }
    }

    /// Returns whether something outside tells which revision the sides run.
    #[must_use]
    pub fn revisions_are_told(&self) -> bool {
        self.sides.iter().any(|side| side.revision_query.is_some() || side.workload.is_some())
    }
}
