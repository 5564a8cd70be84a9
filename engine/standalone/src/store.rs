//! The embedded store: records and journals of all rollouts in one SQLite file.
//!
//! A record and its journal entries are swapped in one transaction that is on the disk before the
//! answer is `Won`. One engine at a time holds the directory. It never deletes or repairs a file
//! that it cannot read, never panics on a full or broken disk, and never reports a write that may
//! have happened as one that did not: that is [`Swap::Unknown`].

mod database;
mod error;
mod handle;
mod lock;
mod place;

#[cfg(test)]
mod tests;

use haldane_model::RolloutId;
use jiff::Timestamp;

pub(crate) use self::database::read_trace;
pub use self::{
    database::Store,
    error::{OpenError, StoreError},
    handle::StoreHandle,
    place::default_state_dir,
};

/// How a store is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many journal entries a rollout keeps; the oldest are dropped.
    pub entries_max: u64,
    /// How many batches of what it took in a rollout keeps; the oldest are dropped.
    pub batches_max: u64,
    /// How many bytes of them it keeps, and a few batches more.
    pub trace_bytes_max: u64,
    /// How many pages of 4 KiB the file may have; unset: as many as fit.
    pub pages_max: Option<u32>,
}

/// A record as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The version that the next swap must expect.
    pub version: u64,
    /// The term under which it was written.
    pub term: u64,
    /// The record, in the runtime's encoding.
    pub bytes: Vec<u8>,
    /// The header, in its frozen encoding.
    pub header: Vec<u8>,
}

/// A write of one rollout: the record and the entries that explain it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Write {
    /// The version that is stored now; 0: none may be.
    pub expect_version: u64,
    /// The version of `record`.
    pub version: u64,
    /// The writer's term.
    pub term: u64,
    /// The record, in the runtime's encoding.
    pub record: Vec<u8>,
    /// The header, in its frozen encoding.
    pub header: Vec<u8>,
    /// The journal entries of this decision.
    pub entries: Vec<StoredEntry>,
    /// What was taken in since the write before, packed; empty: nothing.
    pub trace: Vec<u8>,
}

/// One journal entry as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its id, growing within a rollout.
    pub id: u64,
    /// When it was decided, in milliseconds since 1970.
    pub at_ms: i64,
    /// The entry, in the runtime's encoding.
    pub json: Vec<u8>,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swap {
    /// It is on the disk.
    Won,
    /// Another version is stored: load and decide again.
    Stale,
    /// A newer term wrote: stop.
    Superseded {
        /// That term.
        term: u64,
    },
    /// It may have happened or not; why, and what to do.
    Unknown(String),
}

/// Which part of a journal is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// The newest entries, newest first.
    Newest,
    /// Those older than this id, newest first.
    Before(u64),
    /// Those newer than this id, oldest first.
    After(u64),
}

/// Which rollouts are stored, and in which version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which rollout.
    pub id: RolloutId,
    /// The version of its record.
    pub version: u64,
}

/// From when on a journal is complete.
pub type CompleteSince = Option<Timestamp>;

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self { entries_max: 10_000, batches_max: 5_000, trace_bytes_max: 64 << 20, pages_max: None }
    }
}
