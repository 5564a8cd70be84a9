//! What wakes the loop, and what it asks to be done.

use std::{sync::Arc, time::Duration};

use haldane_model::{
    AlertSeen, CheckName, Company, Direction, EntryName, Gate, GateAnswer, GateName, JournalEntry,
    LeaseSeen, Mark, Outcome, Reading, Request, RequestId, Revision, Sample, SideName, SideSeen,
    SourceName, SpecSeen, Split, Window,
};
use haldane_providers::Error;
use haldane_sources::{Look, SourceFacts};

use crate::ports::{Stored, Swap, SwapRequest};

/// Everything that can wake the loop.
#[derive(Debug)]
pub enum Input {
    /// The time has come that [`super::Core::wake_at`] named.
    Tick,
    /// The store answered [`Command::Load`].
    Loaded(Result<Option<Stored>, String>),
    /// The store answered [`Command::Swap`].
    Swapped(Swap),
    /// A provider answered [`Command::Read`].
    Read {
        /// Which traffic entry.
        entry: EntryName,
        /// Which read.
        id: u64,
        /// What it reads.
        result: Result<Reading, Error>,
    },
    /// A provider answered [`Command::Write`].
    Written {
        /// Which traffic entry.
        entry: EntryName,
        /// Which write.
        id: u64,
        /// How it went.
        result: Result<(), Error>,
    },
    /// A provider answered [`Command::Finish`].
    Finished {
        /// Which traffic entry.
        entry: EntryName,
        /// How it went.
        result: Result<(), Error>,
    },
    /// A provider answered [`Command::Accompany`].
    Accompanied {
        /// Which traffic entry.
        entry: EntryName,
        /// Which call.
        id: u64,
        /// How it went.
        result: Result<(), Error>,
    },
    /// A source answered [`Command::Look`].
    Looked {
        /// Which look.
        key: LookKey,
        /// What it found.
        sample: Sample,
    },
    /// A source answered [`Command::Facts`].
    Facts {
        /// Which source.
        source: SourceName,
        /// What it says of itself.
        facts: Result<SourceFacts, String>,
    },
    /// A source answered [`Command::Revisions`].
    Revisions {
        /// Which side.
        side: SideName,
        /// What it shows.
        revisions: Result<Vec<Revision>, String>,
    },
    /// What runs a side tells something new of it; it counts until it tells something else.
    Side {
        /// Which side.
        side: SideName,
        /// What it tells.
        seen: SideSeen,
    },
    /// Somebody wrote to a traffic entry.
    Changed {
        /// Which.
        entry: EntryName,
    },
    /// A gate answered [`Command::Gate`].
    Gate {
        /// Which gate.
        gate: GateName,
        /// What it says.
        answer: GateAnswer,
    },
    /// What is written changed.
    Spec(SpecSeen),
    /// The lease changed.
    Lease(LeaseSeen),
    /// The alerts that concern this rollout changed: all of them.
    Alerts(Vec<AlertSeen>),
    /// A person asks for something.
    Request(Request),
}

/// Everything the loop can ask to be done. None of it is waited for.
#[derive(Debug)]
pub enum Command {
    /// Load the record.
    Load,
    /// Swap the record in.
    Swap(SwapRequest),
    /// Forget the record.
    Delete,
    /// Read a traffic entry.
    Read {
        /// Which.
        entry: EntryName,
        /// Comes back with the answer.
        id: u64,
    },
    /// Write to a traffic entry. A lowering write ends a raising one of the same entry that is
    /// under way.
    Write {
        /// Which.
        entry: EntryName,
        /// Comes back with the answer.
        id: u64,
        /// The split.
        split: Split,
        /// Which way.
        direction: Direction,
        /// The signature.
        mark: Mark,
    },
    /// Make what accompanies a split; it is carried out under the lease alone.
    Accompany {
        /// Which traffic entry.
        entry: EntryName,
        /// Comes back with the answer.
        id: u64,
        /// What is wished.
        company: Company,
        /// What a raise would be signed with: a newer rollback is left alone.
        mark: Mark,
    },
    /// Clean up a traffic entry after a promotion.
    Finish {
        /// Which.
        entry: EntryName,
    },
    /// Take away everything of ours but the weights, on every entry.
    Release,
    /// Take a look.
    Look {
        /// Comes back with the sample.
        key: LookKey,
        /// Which source is asked.
        source: SourceName,
        /// What is asked.
        question: Arc<str>,
        /// When and about whom.
        look: Look,
    },
    /// Ask a source about itself.
    Facts {
        /// Which.
        source: SourceName,
        /// After how long the answer is of no use.
        deadline: Duration,
    },
    /// Ask which revisions a side shows.
    Revisions {
        /// Which side.
        side: SideName,
        /// The question, which names its source.
        question: Arc<str>,
        /// After how long the answer is of no use.
        deadline: Duration,
    },
    /// Ask a gate.
    Gate(Gate),
    /// Somebody's request got its outcome.
    Answer {
        /// Which request.
        id: RequestId,
        /// The outcome.
        outcome: Outcome,
    },
    /// A decision, recorded: to be logged, notified, counted.
    Tell(Box<JournalEntry>),
    /// Something about the engine itself that people should know.
    Notice(Notice),
    /// Nothing will happen here any more.
    Stop,
}

/// Something about the engine itself that people should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The record cannot be written: nothing is raised, lowering goes out all the same.
    StoreTrouble(String),
    /// The record can be written again.
    StoreBack,
    /// Another engine took over.
    Superseded,
    /// The record was written by a newer engine.
    NewerFormat,
    /// What is to accompany a split cannot be: rules for testers, or a mirror. No user is moved by it.
    Unaccompanied {
        /// Which traffic entry.
        entry: EntryName,
        /// Why, and what to do about it.
        why: String,
    },
}

/// Which look an answer belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookKey {
    /// The check.
    pub check: CheckName,
    /// The attempt it was asked in.
    pub attempt: u32,
    /// The revision it was asked about.
    pub revision: Option<Revision>,
    /// Whether it was asked before the attempt began.
    pub at_rest: bool,
    /// What it looks at.
    pub window: Window,
}
