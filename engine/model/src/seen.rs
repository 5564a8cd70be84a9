//! What an engine sees of the world in one turn.
//!
//! Every field may be absent: not answered yet, or older than its limit. An absent field raises
//! nothing, counts nothing, and hides no other field.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    AlertAction, AlertName, CheckName, Direction, EntryName, Evidence, Finding, GateName, Now,
    Plan, Reading, Request, Revision, SideName, SourceName, Verdict, Window,
};

/// One look at the world.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Whether this engine may raise.
    pub lease: Option<LeaseSeen>,
    /// What each traffic entry was read to have.
    pub entries: BTreeMap<EntryName, Arc<EntrySeen>>,
    /// How writes to each traffic entry went, and whether one is under way.
    pub writes: BTreeMap<EntryName, WriteSeen>,
    /// How the clean-up of each traffic entry went, this turn.
    pub finished: BTreeMap<EntryName, Result<(), String>>,
    /// What is known of each side.
    pub sides: BTreeMap<SideName, SideSeen>,
    /// The latest verdict of each check.
    pub checks: BTreeMap<CheckName, Arc<CheckSeen>>,
    /// How far each source's clock is ahead of the wall clock, where that is known.
    pub clocks: BTreeMap<SourceName, SignedDuration>,
    /// What the gates of the step ahead answer.
    pub gates: BTreeMap<GateName, GateAnswer>,
    /// The alerts that concern this rollout.
    pub alerts: Vec<AlertSeen>,
    /// Requests without an outcome.
    pub requests: Vec<Request>,
    /// What is written.
    pub spec: Option<SpecSeen>,
}

/// Whether this engine may raise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LeaseSeen {
    /// It holds the lease, in this term, for longer than a write takes.
    Held {
        /// The term.
        term: u64,
    },
    /// It cannot tell.
    Unsure,
    /// Another engine does, in this term.
    Other {
        /// The term.
        term: u64,
    },
}

/// What one traffic entry was read to have.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EntrySeen {
    /// The reading, or why there is none.
    pub reading: Result<Reading, Unreadable>,
    /// When this share and mark were first read, without another in between.
    pub first: Now,
}

/// Why an entry cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Unreadable {
    /// The provider's words.
    pub message: String,
}

/// How writes to one entry go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WriteSeen {
    /// A write that has not been answered.
    pub in_flight: Option<Direction>,
    /// Whether the next attempt must wait.
    pub backing_off: bool,
    /// Why the last attempt failed, in this turn alone; `true`: trying again is useless.
    pub failed: Option<(String, bool)>,
}

/// What is known of one side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SideSeen {
    /// Whether it can take traffic.
    pub health: Option<Health>,
    /// The revisions it shows; `None` where nothing answered. Several while it is being replaced.
    pub revisions: Option<Vec<Revision>>,
    /// What there is to say of it, for people: which pods are not ready and why. Nothing is decided by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Arc<str>>,
}

/// Whether a side can take traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Health {
    /// Nothing tells.
    Untold,
    /// This many of that many are ready; at least one is.
    Ready {
        /// How many are.
        ready: u32,
        /// How many should be.
        wanted: u32,
    },
    /// Known dead: nothing is ready.
    Down,
}

/// The latest verdict of one check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckSeen {
    /// The verdict.
    pub verdict: Verdict,
    /// The evidence after it.
    pub evidence: Evidence,
    /// Up to when this judges, in the source's time.
    pub judged_to: Timestamp,
    /// What was looked at.
    pub window: Window,
    /// What was found, for people.
    pub finding: Arc<Finding>,
    /// For which revision it was asked.
    pub revision: Option<Revision>,
    /// For which attempt it was asked.
    pub attempt: u32,
    /// Whether it was asked before an attempt began, at share 0.
    pub at_rest: bool,
}

/// What a gate answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GateAnswer {
    /// The step may begin.
    Open,
    /// It may not, and why.
    Closed(String),
}

/// An alert that concerns this rollout.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AlertSeen {
    /// Alertmanager's fingerprint of its labels.
    pub fingerprint: String,
    /// When it began to fire.
    pub starts_at: Timestamp,
    /// Which rule it matched.
    pub rule: AlertName,
    /// What that rule does.
    pub action: AlertAction,
    /// Whether it fires still.
    pub firing: bool,
}

/// What is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SpecSeen {
    /// It can be planned.
    Valid {
        /// The plan, with its defaults.
        plan: Arc<Plan>,
        /// `paused: true`.
        paused: bool,
        /// The revision, where the file or the command names one.
        revision: Option<Revision>,
        /// Whether whatever the idle side shows is meant to be rolled out, though it stood there.
        named: bool,
        /// Whether a split found between 0 and 100 % is taken over.
        adopt: bool,
    },
    /// It cannot, and why.
    Invalid {
        /// The diagnosis, one line.
        message: String,
    },
    /// It was deleted.
    Deleted,
    /// The namespace around it is being deleted.
    NamespaceDeleted,
}

// === impl Health ===

impl Health {
    /// Returns what two witnesses know together: one that tells wins over one that does not, and
    /// known death wins over hearsay.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Down, _) | (_, Self::Down) => Self::Down,
            (Self::Untold, known) | (known, Self::Untold) => known,
            (Self::Ready { .. }, Self::Ready { .. }) => self,
        }
    }
}
