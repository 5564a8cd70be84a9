//! The ports of the loop: what a shell provides.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use haldane_model::{JournalEntry, Now, RolloutId};

use crate::trace::{Packed, Traced};

/// What a swap answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swap {
    /// The record is in.
    Won,
    /// The version was not the expected one: someone edited the record in this term.
    Stale,
    /// A newer term wrote the record.
    Superseded {
        /// That term.
        term: u64,
    },
    /// It cannot be said whether the record is in: why, and what to do about it.
    Unknown(String),
}

/// A record as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The version that the next swap must expect.
    pub version: u64,
    /// The record, as [`crate::codec`] wrote it.
    pub bytes: Vec<u8>,
}

/// A record to swap in, with the journal entries that belong to it.
#[derive(Clone, Debug, PartialEq)]
pub struct SwapRequest {
    /// The version that must be there; 0: none.
    pub expect: u64,
    /// The version that is written.
    pub version: u64,
    /// The term it is written in.
    pub term: u64,
    /// The record, as [`crate::codec`] wrote it.
    pub bytes: Vec<u8>,
    /// What was decided; an id that is there already is left as it is.
    pub entries: Vec<JournalEntry>,
    /// What was taken in since the swap before; read by people alone.
    pub trace: Vec<Arc<Traced>>,
}

/// Where records and journals live.
///
/// Every call ends by itself; one that cannot say how it ended says so.
pub trait Store: Send + Sync + 'static {
    /// Loads a record; `None` where there is none.
    fn load(&self, id: &RolloutId) -> BoxFuture<'static, Result<Option<Stored>, String>>;
    /// Swaps a record and its journal entries in, in one transaction.
    fn swap(&self, id: &RolloutId, request: SwapRequest) -> BoxFuture<'static, Swap>;
    /// Forgets a rollout.
    fn delete(&self, id: &RolloutId) -> BoxFuture<'static, Result<(), String>>;
    /// Reads the journal, newest last; entries after `after`, at most `limit`.
    fn journal(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'static, Result<Journal, String>>;
    /// Reads what was taken in, oldest first; batches after version `after`, at most `limit`.
    fn trace(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<Packed>, String>>;
}

/// A stretch of a journal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Journal {
    /// The entries, oldest first.
    pub entries: Vec<JournalEntry>,
    /// Whether older entries were dropped by retention, and from when on the journal is complete.
    pub complete_since: Option<jiff::Timestamp>,
}

/// The clocks.
pub trait Clock: Send + Sync + 'static {
    /// Looks at both.
    fn now(&self) -> Now;
}

/// The longest time a call to the store may take before its answer counts as unknown.
pub const STORE_DEADLINE: Duration = Duration::from_secs(2);

/// No call to a provider or a source takes longer, whatever it promises.
pub(crate) const CALL_MAX: Duration = Duration::from_secs(15);

/// What an engine shows to people and programs: its rollouts, and what they did.
pub trait Desk: Send + Sync + 'static {
    /// Returns a handle on every rollout, in the order of their names.
    fn rollouts(&self) -> Vec<crate::drive::Handle>;
    /// Reads a rollout's journal.
    fn journal(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'static, Result<Journal, String>>;
    /// Reads what a rollout took in, oldest first; batches after version `after`, at most `limit`.
    fn trace(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<Packed>, String>>;
    /// Returns the plan of a rollout with its defaults, in the words of the written form.
    fn effective(&self, id: &RolloutId) -> Option<serde_json::Value>;
}

// === impl dyn Desk ===

impl dyn Desk {
    /// Returns the handle on one rollout.
    #[must_use]
    pub fn rollout(&self, id: &RolloutId) -> Option<crate::drive::Handle> {
        self.rollouts().into_iter().find(|handle| handle.id() == id)
    }
}
