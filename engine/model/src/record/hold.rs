//! What lies over a place: holds, which only a person or an alert can lift, and waivers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Actor, Reason, RequestId, SourceName};

/// Something that only a person or an alert can lift.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hold {
    /// Which kind.
    pub kind: HoldKind,
    /// Since when.
    pub since: Timestamp,
    /// Who put it on.
    pub actor: Actor,
}

/// The kinds of hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HoldKind {
    /// Others write to the split. `undone`: when a foreign raise was last undone under it.
    Conflict {
        /// When a foreign raise was last undone.
        undone: Option<Timestamp>,
    },
    /// A person's pause.
    Person,
    /// `paused: true` in the file.
    Spec,
    /// An alert's pause.
    AlertPause,
    /// A policy asks for a person, for this reason.
    NeedsPerson(Reason),
    /// An alert that blocks: no step begins.
    Block,
}

/// What was waived for one step, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Waiver {
    /// For which step.
    pub step: usize,
    /// What.
    pub kind: WaiverKind,
    /// By whom.
    pub actor: Actor,
    /// With which request.
    pub request: Option<RequestId>,
}

/// What can be waived.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WaiverKind {
    /// The manual gates of the step are open.
    Open {
        /// Up to the last step.
        full: bool,
        /// The sources that need not answer for this raise, by name.
        without: Vec<SourceName>,
    },
    /// The step is done, now.
    Promote {
        /// To the last step.
        full: bool,
        /// The sources that need not answer for this raise, by name.
        without: Vec<SourceName>,
    },
    /// The step needs no Pass; its bake stays.
    Skip,
    /// A policy says that the step is done.
    Policy,
}

// === impl HoldKind ===

impl HoldKind {
    /// Returns whether it shows as Paused.
    #[must_use]
    pub fn pauses(self) -> bool {
        match self {
            Self::Person | Self::Spec | Self::AlertPause | Self::NeedsPerson(_) => true,
            Self::Conflict { .. } | Self::Block => false,
        }
    }

    /// Returns whether bake does not count under it.
    #[must_use]
    pub fn stops_bake(self) -> bool {
        match self {
            Self::Conflict { .. }
            | Self::Person
            | Self::Spec
            | Self::AlertPause
            | Self::NeedsPerson(_) => true,
            Self::Block => false,
        }
    }

    /// Returns whether two holds are of one kind: whatever their data, but one for each reason that
    /// asks for a person.
    #[must_use]
    pub fn same_kind(self, other: Self) -> bool {
        match (self, other) {
            (Self::NeedsPerson(one), Self::NeedsPerson(other)) => one == other,
            _ => std::mem::discriminant(&self) == std::mem::discriminant(&other),
        }
    }

    /// Returns the word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Conflict { .. } => "Conflict",
            Self::Person => "Person",
            Self::Spec => "Spec",
            Self::AlertPause => "AlertPause",
            Self::NeedsPerson(reason) => reason.code(),
            Self::Block => "Block",
        }
    }
}
