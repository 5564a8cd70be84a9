//! The ports of the loop: what a shell provides.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use haldane_model::{JournalEntry, LeaseSeen, Now, RolloutId, SideSeen};
use tokio::sync::watch;

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
    /// Lists every rollout that has a record.
    fn list(&self) -> BoxFuture<'static, Result<Vec<RolloutId>, String>>;
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

/// What runs the sides, as in a cluster.
///
/// An engine that makes, scales and removes the pods of a side itself would ask for it here.
pub trait Workloads: Send + Sync + 'static {
    /// Watches what runs a side of a rollout; `workload` is the plan's word for it. What is not known is told as
    /// such, and what was told counts until something else is.
    fn watch(&self, id: &RolloutId, workload: &str) -> watch::Receiver<SideSeen>;
}

/// Nothing runs the sides that anything could tell of: files name no workloads.
impl Workloads for () {
    fn watch(&self, _: &RolloutId, _: &str) -> watch::Receiver<SideSeen> {
        watch::channel(SideSeen::default()).1
    }
}

/// The clocks.
pub trait Clock: Send + Sync + 'static {
    /// Looks at both.
    fn now(&self) -> Now;
}

/// What an engine knows of its lease, and for how long that is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTold {
    /// What it knows.
    pub seen: LeaseSeen,
    /// Until when, on the monotonic clock: afterwards it cannot tell. `None`: for as long as it lives.
    pub until: Option<Duration>,
}

// === impl LeaseTold ===

impl LeaseTold {
    /// Returns what is known at a moment of the monotonic clock.
    #[must_use]
    pub fn at(self, now: Duration) -> LeaseSeen {
        if self.until.is_some_and(|until| until <= now) { LeaseSeen::Unsure } else { self.seen }
    }

    /// Returns a lease that nobody takes away.
    #[must_use]
    pub fn forever(term: u64) -> watch::Receiver<Self> {
        watch::channel(Self { seen: LeaseSeen::Held { term }, until: None }).1
    }
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
