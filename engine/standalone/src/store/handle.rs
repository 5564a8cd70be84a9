//! The store for async callers: one thread owns it, everyone else asks.
//!
//! A disk that hangs blocks that thread alone: every call has a deadline, and a swap that missed
//! its own is [`Swap::Unknown`], because it may still happen. A call that was given up before the
//! thread took it is not done at all. The thread ends, and the lock with it, when the last handle
//! is dropped.

use std::{io, thread, time::Duration};

use haldane_model::RolloutId;
use haldane_runtime::trace::Packed;
use tokio::{
    sync::{mpsc, oneshot},
    time,
};

use super::{CompleteSince, Listed, Page, Store, StoreError, Stored, StoredEntry, Swap, Write};

/// How many calls may wait for the disk.
const WAITING_MAX: usize = 64;

type Job = Box<dyn FnOnce(&mut Store) + Send>;

/// A handle on a store in its own thread; cheap to clone.
#[derive(Clone, Debug)]
pub struct StoreHandle {
    jobs: mpsc::Sender<Job>,
    term: u64,
}

// === impl StoreHandle ===

impl StoreHandle {
    /// Moves a store into a thread of its own.
    pub fn start(mut store: Store) -> io::Result<Self> {
        let term = store.term();
        let (jobs, mut taken) = mpsc::channel::<Job>(WAITING_MAX);
        thread::Builder::new().name("haldane-store".to_owned()).spawn(move || {
            while let Some(job) = taken.blocking_recv() {
                job(&mut store);
            }
        })?;
        Ok(Self { jobs, term })
    }

    /// Returns the term of this opening.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term
    }

    /// See [`Store::load`].
    pub async fn load(
        &self,
        id: &RolloutId,
        deadline: Duration,
    ) -> Result<Option<Stored>, StoreError> {
        let id = id.clone();
        self.ask(deadline, move |store| store.load(&id)).await?
    }

    /// See [`Store::list`].
    pub async fn list(&self, deadline: Duration) -> Result<Vec<Listed>, StoreError> {
        self.ask(deadline, |store| store.list()).await?
    }

    /// See [`Store::swap`]; [`Swap::Unknown`] past the deadline.
    pub async fn swap(&self, id: &RolloutId, write: Write, deadline: Duration) -> Swap {
        let id = id.clone();
        let swapped = self.ask(deadline, move |store| store.swap(&id, &write)).await;
        swapped.unwrap_or_else(|error| Swap::Unknown(error.message))
    }

    /// See [`Store::delete`].
    pub async fn delete(&self, id: &RolloutId, deadline: Duration) -> Result<(), StoreError> {
        let id = id.clone();
        self.ask(deadline, move |store| store.delete(&id)).await?
    }

    /// See [`Store::history`].
    pub async fn history(
        &self,
        id: &RolloutId,
        page: Page,
        limit: usize,
        deadline: Duration,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let id = id.clone();
        self.ask(deadline, move |store| store.history(&id, page, limit)).await?
    }

    /// See [`Store::trace`].
    pub async fn trace(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
        deadline: Duration,
    ) -> Result<Vec<Packed>, StoreError> {
        let id = id.clone();
        self.ask(deadline, move |store| store.trace(&id, after, limit)).await?
    }

    /// See [`Store::complete_since`].
    pub async fn complete_since(
        &self,
        id: &RolloutId,
        deadline: Duration,
    ) -> Result<CompleteSince, StoreError> {
        let id = id.clone();
        self.ask(deadline, move |store| store.complete_since(&id)).await?
    }

    /// Does something in the store's thread; the deadline covers the queue as well.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        deadline: Duration,
        ask: impl FnOnce(&mut Store) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |store| {
            if !answer.is_closed() {
                // Who no longer waits has counted the answer as unknown already.
                let _ = answer.send(ask(store));
            }
        });
        let call = async {
            let gone = || StoreError::new("the store's thread has ended: restart the engine");
            self.jobs.send(job).await.map_err(|_| gone())?;
            answered.await.map_err(|_| gone())
        };
        time::timeout(deadline, call).await.unwrap_or_else(|_| {
            Err(StoreError::new(format!(
                "the store did not answer within {deadline:?}: check the disk under the state directory"
            )))
        })
    }
}
