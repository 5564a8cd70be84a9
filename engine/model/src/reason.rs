//! Reasons: one code for each thing that can happen to a rollout.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($(#[$doc:meta])* $type:ident { $($(#[$meta:meta])* $name:ident,)* }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum $type { $($(#[$meta])* $name,)* }

        impl $type {
            /// Every code, in the order of their definition.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the code as text, for events, conditions and the journal.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

codes! {
    /// What happened: the code of a journal entry, an event and a condition.
    Reason {
        /// The split was taken over as it was found.
        Adopted,
        /// An attempt began.
        Started,
        /// A step waits for its gates.
        GateAsked,
        /// The gates of a step opened.
        GateOpened,
        /// The data plane has the step's weight.
        StepConfirmed,
        /// A step ended with a Pass.
        StepPassed,
        /// A step's bake is over and no Pass came.
        AwaitingPass,
        /// A person resumed.
        Resumed,
        /// A person asked to try again.
        Retried,
        /// A person ended a step.
        PromotedByPerson,
        /// A person waived a step's evidence.
        EvidenceWaived,
        /// A step's longest bake passed without a Pass.
        MaxBakeReached,
        /// The new revision has all traffic.
        Promoted,
        /// The watch after the promotion is over.
        WatchEnded,
        /// A person returned to the previous revision.
        Undone,
        /// The idle side was set back; there is nothing to roll out.
        Reverted,
        /// An alert that blocked is resolved.
        AlertResolved,
        /// The rollout was deleted.
        Deleted,
        /// Another engine, or this one restarted, took over.
        TookOver,
        /// A check failed beyond its limit.
        Breach,
        /// The side under test vanished.
        CanaryLost,
        /// An alert asked for a rollback.
        AlertAbort,
        /// A person asked for a rollback.
        AbortedByPerson,
        /// A rollback of our own was found that the record does not know.
        OwnLoweringFound,
        /// The side under test shows another revision.
        RevisionChanged,
        /// The traffic is back.
        RolledBack,
        /// The traffic cannot go back: the side it would go to is dead.
        RollbackBlocked,
        /// The traffic cannot go back: the previous revision is gone.
        RollbackImpossible,
        /// The write that puts the traffic back fails.
        LowerFailing,
        /// Others write to the split.
        Conflicted,
        /// The provider refuses what it was asked.
        ProviderRefused,
        /// The rollout takes longer than it may.
        DeadlineReached,
        /// A gate was not opened in time.
        GateExpired,
        /// Too many looks were inconclusive.
        Inconclusive,
        /// A person, or the file, paused.
        PausedByPerson,
        /// An alert paused.
        AlertPause,
        /// An alert blocks.
        AlertBlock,
        /// A check has nothing to judge.
        NoData,
        /// A source does not answer.
        SourceError,
        /// The split cannot be read.
        ProviderUnreadable,
        /// The measured share is far from the asked one.
        ShareOff,
        /// The side under test is not ready for the next weight.
        NotReady,
        /// The revision of a side is not known.
        RevisionUnknown,
        /// The home side shows another revision.
        HomeChanged,
        /// The home side is dead.
        HomeDead,
        /// A gate is closed.
        GateClosed,
        /// It is not sure that this engine may raise.
        LeaseUnsure,
        /// The record was written by a newer engine.
        NewerFormat,
        /// Others raised the share; it was put back.
        RaiseUndone,
        /// Others lowered the share.
        LoweredByOther,
        /// A write failed and is tried again.
        WriteFailed,
        /// A check failed within its limit.
        CheckFailed,
        /// The watch ended early: a newer revision begins.
        WatchCut,
        /// The split lies between 0 and 100 % and is not ours.
        SplitRefused,
        /// What is written cannot be used.
        SpecInvalid,
        /// What is written changed; the next attempt takes it.
        PlanChanged,
        /// A request was refused.
        RequestRefused,
    }
}

codes! {
    /// Why the traffic goes back.
    Cause {
        /// A check failed beyond its limit.
        Breach,
        /// The side under test vanished.
        CanaryLost,
        /// A person asked.
        AbortedByPerson,
        /// A rollback of our own was found that the record does not know.
        OwnLoweringFound,
        /// An alert asked.
        AlertAbort,
        /// The rollout was deleted.
        Deleted,
        /// The side under test shows another revision.
        RevisionChanged,
        /// Policy: nothing to judge.
        NoData,
        /// Policy: the source is broken.
        SourceError,
        /// Policy: too many looks were inconclusive.
        Inconclusive,
        /// Policy: the longest bake passed.
        MaxBakeReached,
        /// Policy: the rollout takes too long.
        DeadlineReached,
        /// A person returned to the previous revision.
        Undone,
    }
}

codes! {
    /// What keeps a rollout from going on, computed from what is seen, and told once.
    Block {
        /// A check has nothing to judge.
        NoData,
        /// A source does not answer.
        SourceError,
        /// The split cannot be read.
        Unreadable,
        /// The measured share is far from the asked one.
        ShareOff,
        /// The home side shows another revision.
        HomeChanged,
        /// It is not sure that this engine may raise.
        LeaseUnsure,
        /// The side under test is not ready for the next weight.
        NotReady,
        /// The revision of a side is not known.
        RevisionUnknown,
        /// The home side is dead.
        HomeDead,
        /// A gate is closed.
        GateShut,
        /// What is written cannot be used.
        SpecInvalid,
        /// The bake is over and no Pass came.
        AwaitingPass,
        /// The split lies between 0 and 100 % and is not ours.
        SplitRefused,
        /// A guard fails on what an attempt would begin with.
        GuardFails,
        /// The rollback's write waits for a living home.
        RollbackBlocked,
        /// The rollback's write fails.
        LowerFailing,
        /// A raise fails and is tried again.
        WriteFailing,
        /// What is written differs from the pinned plan.
        PlanChanged,
        /// Others, or a late write of ours, raised the share; it is being put back.
        ShareHigh,
    }
}

/// How much a person needs to care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// Progress, as planned.
    Normal,
    /// Not as planned.
    Warning,
    /// A person is needed now.
    Page,
}

// === impl Reason ===

impl Reason {
    /// Returns how much a person needs to care.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::Adopted
            | Self::Started
            | Self::GateAsked
            | Self::GateOpened
            | Self::StepConfirmed
            | Self::StepPassed
            | Self::AwaitingPass
            | Self::Resumed
            | Self::Retried
            | Self::PromotedByPerson
            | Self::EvidenceWaived
            | Self::MaxBakeReached
            | Self::Promoted
            | Self::WatchEnded
            | Self::Undone
            | Self::Reverted
            | Self::AlertResolved
            | Self::Deleted
            | Self::TookOver
            | Self::PausedByPerson
            | Self::AlertPause => Severity::Normal,
            Self::Breach
            | Self::CanaryLost
            | Self::AlertAbort
            | Self::AbortedByPerson
            | Self::OwnLoweringFound
            | Self::RevisionChanged
            | Self::RolledBack
            | Self::Conflicted
            | Self::ProviderRefused
            | Self::DeadlineReached
            | Self::GateExpired
            | Self::Inconclusive
            | Self::AlertBlock
            | Self::NoData
            | Self::SourceError
            | Self::ProviderUnreadable
            | Self::ShareOff
            | Self::NotReady
            | Self::RevisionUnknown
            | Self::HomeChanged
            | Self::HomeDead
            | Self::GateClosed
            | Self::LeaseUnsure
            | Self::NewerFormat
            | Self::RaiseUndone
            | Self::LoweredByOther
            | Self::WriteFailed
            | Self::CheckFailed
            | Self::WatchCut
            | Self::SplitRefused
            | Self::SpecInvalid
            | Self::PlanChanged
            | Self::RequestRefused => Severity::Warning,
            Self::RollbackBlocked | Self::RollbackImpossible | Self::LowerFailing => Severity::Page,
        }
    }
}

// === impl Cause ===

impl Cause {
    /// Returns the reason that the journal gives for this cause.
    #[must_use]
    pub fn reason(self) -> Reason {
        match self {
            Self::Breach => Reason::Breach,
            Self::CanaryLost => Reason::CanaryLost,
            Self::AbortedByPerson => Reason::AbortedByPerson,
            Self::OwnLoweringFound => Reason::OwnLoweringFound,
            Self::AlertAbort => Reason::AlertAbort,
            Self::Deleted => Reason::Deleted,
            Self::RevisionChanged => Reason::RevisionChanged,
            Self::NoData => Reason::NoData,
            Self::SourceError => Reason::SourceError,
            Self::Inconclusive => Reason::Inconclusive,
            Self::MaxBakeReached => Reason::MaxBakeReached,
            Self::DeadlineReached => Reason::DeadlineReached,
            Self::Undone => Reason::Undone,
        }
    }
}

// === impl Block ===

impl Block {
    /// Returns the reason that the journal gives for this block.
    #[must_use]
    pub fn reason(self) -> Reason {
        match self {
            Self::NoData => Reason::NoData,
            Self::SourceError => Reason::SourceError,
            Self::Unreadable => Reason::ProviderUnreadable,
            Self::ShareOff => Reason::ShareOff,
            Self::HomeChanged => Reason::HomeChanged,
            Self::LeaseUnsure => Reason::LeaseUnsure,
            Self::NotReady => Reason::NotReady,
            Self::RevisionUnknown => Reason::RevisionUnknown,
            Self::HomeDead => Reason::HomeDead,
            Self::GateShut => Reason::GateClosed,
            Self::SpecInvalid => Reason::SpecInvalid,
            Self::AwaitingPass => Reason::AwaitingPass,
            Self::SplitRefused => Reason::SplitRefused,
            Self::GuardFails => Reason::CheckFailed,
            Self::RollbackBlocked => Reason::RollbackBlocked,
            Self::LowerFailing => Reason::LowerFailing,
            Self::WriteFailing => Reason::WriteFailed,
            Self::PlanChanged => Reason::PlanChanged,
            Self::ShareHigh => Reason::RaiseUndone,
        }
    }

    /// Returns whether bake does not count under it.
    #[must_use]
    pub fn stops_bake(self) -> bool {
        match self {
            Self::NoData
            | Self::SourceError
            | Self::Unreadable
            | Self::ShareOff
            | Self::HomeChanged
            | Self::LeaseUnsure => true,
            Self::NotReady
            | Self::RevisionUnknown
            | Self::HomeDead
            | Self::GateShut
            | Self::SpecInvalid
            | Self::AwaitingPass
            | Self::SplitRefused
            | Self::GuardFails
            | Self::RollbackBlocked
            | Self::LowerFailing
            | Self::WriteFailing
            | Self::PlanChanged
            | Self::ShareHigh => false,
        }
    }
}
