//! The record: all that an engine remembers of a rollout, swapped as one.

mod header;
mod hold;
mod phase;
mod place;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    header::{Header, HeaderEntry},
    hold::{Hold, HoldKind, Waiver, WaiverKind},
    place::{Ground, PendingCause, Place, State},
};
use crate::{
    AlertAction, Block, CheckName, EntryName, Evidence, Mark, Now, Plan, RequestId, Revision,
    SideName, SourceName, Weight,
};

/// All that is remembered of one rollout.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// The term of the lease under which it was last written.
    pub term: u64,
    /// Grows by one with every write; the swap tests it.
    pub version: u64,
    /// What an engine of any version must be able to read.
    pub header: Header,
    /// Which attempt this is; 0 before the first.
    pub attempt: u32,
    /// Which side has the traffic; `None` before the split was first read.
    pub serving: Option<SideName>,
    /// The revision under test; at rest the one of the last attempt.
    pub revision: Option<Revision>,
    /// The revision that served before; emptied by an undo.
    pub previous: Option<Revision>,
    /// What was last promoted, or first found, on each side.
    pub promoted: BTreeMap<SideName, Revision>,
    /// The revision that failed last.
    pub failed: Option<Revision>,
    /// The revision that stood on the idle side when the traffic left it, or at the first read.
    pub stood: Option<Revision>,
    /// The pinned plan; `None` before the first attempt.
    pub plan: Option<Arc<Plan>>,
    /// Where the rollout is.
    pub place: Place,
    /// What only a person or an alert can lift.
    pub holds: Vec<Hold>,
    /// What keeps the rollout from going on and was told already.
    pub told: BTreeSet<Block>,
    /// What was waived, per step; at most the current step's and the next one's.
    pub waivers: Vec<Waiver>,
    /// Since when users could see, and surely saw, the revision under test.
    pub exposed: Exposure,
    /// The evidence of each check.
    pub evidence: BTreeMap<CheckName, Evidence>,
    /// Up to when each check was judged, in its source's time.
    pub judged_to: BTreeMap<CheckName, Timestamp>,
    /// Since when those checks are asked that are not asked all along: what was before is nothing to
    /// them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub in_force: BTreeMap<CheckName, Stamp>,
    /// The rates by which 100 % is judged, in the judge's own format.
    pub frozen: BTreeMap<CheckName, Evidence>,
    /// What the step under way was expected to need when it was first told; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Expected>,
    /// How long the rollout has been at it, a person's holds excluded.
    pub progressed: Duration,
    /// When others last wrote to the split; at most three.
    pub foreign: Vec<Timestamp>,
    /// What others wrote and still stands, per entry, lowest and highest as read: it was counted, or
    /// resumed over, and counts no more until it is another.
    #[serde(default)]
    pub standing: BTreeMap<EntryName, (Weight, Weight)>,
    /// The signature of the last write known here, per entry.
    pub marks: BTreeMap<EntryName, Mark>,
    /// The last turn.
    pub ticked: Tick,
    /// How requests were answered; the last 64.
    pub requests: Vec<(RequestId, Outcome)>,
    /// Alerts that took effect; at most 64.
    pub alerts: Vec<Alert>,
    /// The id of the next journal entry.
    pub next_entry: u64,
}

/// Since when users could see, and surely saw, the revision under test in this attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Exposure {
    /// When the first raise was recorded.
    pub could: Option<Stamp>,
    /// When the first raise was confirmed.
    pub confirmed: Option<Stamp>,
}

/// One moment, on the engine's clock and on each source's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// On the engine's wall clock.
    pub wall: Timestamp,
    /// On the clocks of the sources that differ from it.
    pub sources: BTreeMap<SourceName, Timestamp>,
}

/// When the last turn was, and whether the interval that begins there may count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tick {
    /// When.
    pub now: Now,
    /// Whether the share was confirmed, and nothing stopped the bake.
    pub counting: bool,
}

/// What a step was expected to need, at the first look that told.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Expected {
    /// The check that needs most.
    pub check: CheckName,
    /// How many more requests of the side under test.
    pub requests: u64,
    /// How long they were to take, where that was known.
    pub time: Option<Duration>,
    /// How many the side under test had had by then.
    pub samples: u64,
    /// How much of the bake had passed by then.
    pub baked: Duration,
}

/// How a request was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// It took effect, or is noted and will.
    Accepted,
    /// It did not, and why.
    Refused(String),
}

/// An alert that took effect.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Alert {
    /// Alertmanager's fingerprint of its labels.
    pub fingerprint: String,
    /// When it began to fire.
    pub starts_at: Timestamp,
    /// What it did.
    pub action: AlertAction,
}

// === impl Record ===

impl Record {
    /// Makes the record of a rollout that has not been looked at yet.
    #[must_use]
    pub fn new(test: SideName, home: SideName, term: u64, now: Now) -> Self {
        let sides = [home.clone(), test.clone()];
        Self {
            term,
            version: 0,
            header: Header { test, home, sides, entries: Vec::new(), lowered: None },
            attempt: 0,
            serving: None,
            revision: None,
            previous: None,
            promoted: BTreeMap::new(),
            failed: None,
            stood: None,
            plan: None,
            place: Place::Pending { cause: PendingCause::First },
            holds: Vec::new(),
            told: BTreeSet::new(),
            waivers: Vec::new(),
            exposed: Exposure::default(),
            evidence: BTreeMap::new(),
            judged_to: BTreeMap::new(),
            in_force: BTreeMap::new(),
            frozen: BTreeMap::new(),
            expected: None,
            progressed: Duration::ZERO,
            foreign: Vec::new(),
            standing: BTreeMap::new(),
            marks: BTreeMap::new(),
            ticked: Tick { now, counting: false },
            requests: Vec::new(),
            alerts: Vec::new(),
            next_entry: 1,
        }
    }

    /// Returns the state as people see it; rollbacks are never hidden by a hold.
    #[must_use]
    pub fn state(&self) -> State {
        let place = self.place.state();
        match place {
            State::RollingBack | State::Degraded => place,
            State::Pending
            | State::Waiting
            | State::Shifting
            | State::Baking
            | State::Paused
            | State::Promoting
            | State::Healthy
            | State::Conflicted => {
                if self.is_conflicted() {
                    State::Conflicted
                } else if self.is_paused() {
                    State::Paused
                } else {
                    place
                }
            }
        }
    }

    /// Returns whether others write to the split and a person must resume.
    #[must_use]
    pub fn is_conflicted(&self) -> bool {
        self.holds.iter().any(|hold| matches!(hold.kind, HoldKind::Conflict { .. }))
    }

    /// Returns whether a hold is on that a person must lift.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.holds.iter().any(|hold| hold.kind.pauses())
    }

    /// Returns whether a hold is on that keeps bake from counting.
    #[must_use]
    pub fn stops_bake(&self) -> bool {
        self.holds.iter().any(|hold| hold.kind.stops_bake())
    }

    /// Returns the hold of this kind, whatever its data.
    #[must_use]
    pub fn hold(&self, kind: HoldKind) -> Option<&Hold> {
        self.holds.iter().find(|hold| hold.kind.same_kind(kind))
    }

    /// Returns which step is under way.
    #[must_use]
    pub fn step(&self) -> Option<usize> {
        match self.place {
            Place::Waiting { step, .. }
            | Place::Shifting { step, .. }
            | Place::Baking { step, .. } => Some(step),
            Place::Promoting { .. } => self.plan.as_ref().map(|plan| plan.last_step()),
            Place::Pending { .. }
            | Place::Watching { .. }
            | Place::Healthy
            | Place::RollingBack { .. }
            | Place::Degraded { .. } => None,
        }
    }

    /// Returns the share of the side under test that this place stands for.
    #[must_use]
    pub fn asserted(&self) -> Weight {
        let weight =
            |step: usize| self.plan.as_ref().map_or(Weight::ZERO, |plan| plan.weight(step));
        match &self.place {
            Place::Pending { .. }
            | Place::Healthy
            | Place::RollingBack { .. }
            | Place::Degraded { .. } => Weight::ZERO,
            Place::Waiting { step: 0, .. } => Weight::ZERO,
            Place::Waiting { step, .. } => weight(step - 1),
            Place::Shifting { from, .. } => *from,
            Place::Baking { step, .. } => weight(*step),
            Place::Promoting { .. } | Place::Watching { .. } => Weight::FULL,
        }
    }

    /// Returns how a request was answered.
    #[must_use]
    pub fn outcome(&self, id: &RequestId) -> Option<&Outcome> {
        self.requests.iter().rev().find(|(known, _)| known == id).map(|(_, outcome)| outcome)
    }
}

// === impl Stamp ===

impl Stamp {
    /// Returns the moment on a source's clock.
    #[must_use]
    pub fn of(&self, source: &SourceName) -> Timestamp {
        self.sources.get(source).copied().unwrap_or(self.wall)
    }
}
