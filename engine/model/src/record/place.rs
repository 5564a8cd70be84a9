//! Where a rollout is, and what it carries there.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Stamp;
use crate::{Cause, EntryName, Weight};

/// Where a rollout is. Each place carries what it needs, and no more.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Place {
    /// Before an attempt: waiting for something to roll out.
    Pending {
        /// What led here.
        cause: PendingCause,
    },
    /// The step before is done; the next one's gates are not all open.
    Waiting {
        /// The step whose gates are asked.
        step: usize,
        /// Since when.
        since: Timestamp,
    },
    /// On the way to a step's weight.
    Shifting {
        /// The step that begins.
        step: usize,
        /// The last confirmed share, or what was read after others lowered it.
        from: Weight,
        /// Set while a share that others lowered is restored: since when.
        restore: Option<Stamp>,
    },
    /// At the step's weight, gathering evidence.
    Baking {
        /// The step being held.
        step: usize,
        /// How much of its bake has passed.
        baked: Duration,
        /// When the bake began.
        from: Stamp,
        /// When the bake was full.
        done_at: Option<Stamp>,
    },
    /// At 100 %, cleaning up.
    Promoting {
        /// The entries whose clean-up is not done.
        left: Vec<EntryName>,
    },
    /// At 100 %, flipped, and still guarded.
    Watching {
        /// How much of the watch has passed.
        watched: Duration,
        /// Set while a share that others lowered is restored: since when.
        restore: Option<Stamp>,
    },
    /// Done; nothing is judged.
    Healthy,
    /// Putting the traffic back.
    RollingBack {
        /// Why.
        cause: Cause,
        /// Since when.
        since: Timestamp,
        /// What was left.
        out_of: Ground,
    },
    /// The traffic is back.
    Degraded {
        /// Why.
        cause: Cause,
    },
}

/// What led to Pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PendingCause {
    /// The rollout is new.
    First,
    /// The idle side shows another revision.
    Revision,
    /// A person asked to try again.
    Retry,
}

/// What a rollback leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Ground {
    /// An attempt under way.
    Flight,
    /// The watch, after the flip.
    Watch,
    /// Healthy, after the watch.
    Rest,
}

/// The state as people see it: the place, unless a hold lies over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// See [`Place::Pending`].
    Pending,
    /// See [`Place::Waiting`].
    Waiting,
    /// See [`Place::Shifting`].
    Shifting,
    /// See [`Place::Baking`].
    Baking,
    /// Held until a person resumes.
    Paused,
    /// See [`Place::Promoting`].
    Promoting,
    /// See [`Place::Healthy`] and [`Place::Watching`].
    Healthy,
    /// See [`Place::RollingBack`].
    RollingBack,
    /// See [`Place::Degraded`].
    Degraded,
    /// Others write to the split; raising is frozen until a person resumes.
    Conflicted,
}

// === impl Place ===

impl Place {
    /// Returns the state of this place where no hold lies over it.
    #[must_use]
    pub fn state(&self) -> State {
        match self {
            Self::Pending { .. } => State::Pending,
            Self::Waiting { .. } => State::Waiting,
            Self::Shifting { .. } => State::Shifting,
            Self::Baking { .. } => State::Baking,
            Self::Promoting { .. } => State::Promoting,
            Self::Watching { .. } | Self::Healthy => State::Healthy,
            Self::RollingBack { .. } => State::RollingBack,
            Self::Degraded { .. } => State::Degraded,
        }
    }

    /// Returns whether an attempt is under way and the home side serves.
    #[must_use]
    pub fn is_in_flight(&self) -> bool {
        match self {
            Self::Waiting { .. }
            | Self::Shifting { .. }
            | Self::Baking { .. }
            | Self::Promoting { .. } => true,
            Self::Pending { .. }
            | Self::Watching { .. }
            | Self::Healthy
            | Self::RollingBack { .. }
            | Self::Degraded { .. } => false,
        }
    }

    /// Returns whether guards are to be asked and obeyed here.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        self.is_in_flight() || matches!(self, Self::Watching { .. })
    }

    /// Returns whether nothing is under way: only a revision or a person starts something.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        matches!(self, Self::Pending { .. } | Self::Healthy | Self::Degraded { .. })
    }
}
