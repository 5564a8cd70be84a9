//! What the shell remembers of each rollout beside its loop: lost with the process, and harmless to lose.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use haldane_model::{JournalEntry, RolloutId};
use haldane_runtime::{status::Status, trace::Traced};
use tokio::sync::Notify;

use crate::measured::Before;

/// How many looks of an attempt are kept for its AnalysisRun.
const LOOKS_MAX: usize = 2_000;

/// What the shell remembers.
#[derive(Default)]
pub(crate) struct Shelf {
    kept: Mutex<HashMap<RolloutId, Kept>>,
    /// Told each time that a record was read or written.
    written: Notify,
    /// Whose picture is to be published.
    pictures: Dirty,
    /// Whose entries are to be copied.
    entries: Dirty,
}

/// What is remembered of one rollout.
#[derive(Default)]
pub(crate) struct Kept {
    /// The object that its record was read from; another one of the same name has another.
    pub(crate) uid: Option<String>,
    /// The generation of the spec that its loop was told last.
    pub(crate) generation: Option<i64>,
    /// Its latest picture.
    pub(crate) picture: Option<Arc<Status>>,
    /// Why what its loop would rest on cannot be seen, such as a verb that is not granted.
    pub(crate) blind: Option<String>,
    /// Whether its record was read or written since this engine leads.
    pub(crate) recorded: bool,
    /// Decisions that are recorded and not copied yet.
    pub(crate) uncopied: Vec<JournalEntry>,
    /// The last one that is copied.
    pub(crate) copied: u64,
    /// Decisions that an engine before this one recorded, and may not have told.
    pub(crate) found: Vec<JournalEntry>,
    /// The last one of them.
    pub(crate) found_until: u64,
    /// What engines before this one measured.
    pub(crate) before: Before,
    /// What the attempt under way rests on.
    pub(crate) looks: Vec<Arc<Traced>>,
}

/// Names to be worked off, each once.
#[derive(Default)]
pub(crate) struct Dirty {
    names: Mutex<HashSet<RolloutId>>,
    more: Notify,
}

// === impl Shelf ===

impl Shelf {
    fn kept(&self) -> MutexGuard<'_, HashMap<RolloutId, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at, or changes, what is remembered of a rollout.
    pub(crate) fn with<T>(&self, id: &RolloutId, look: impl FnOnce(&mut Kept) -> T) -> T {
        look(self.kept().entry(id.clone()).or_default())
    }

    /// Notes that a rollout has a record.
    pub(crate) fn note_recorded(&self, id: &RolloutId) {
        self.with(id, |kept| kept.recorded = true);
        self.written.notify_waiters();
    }

    /// Waits until a rollout has a record.
    pub(crate) async fn recorded(&self, id: &RolloutId) {
        loop {
            // Whoever is told after this is heard.
            let written = self.written.notified();
            if self.with(id, |kept| kept.recorded) {
                return;
            }
            written.await;
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.kept().clear();
    }

    /// Forgets a rollout.
    pub(crate) fn forget(&self, id: &RolloutId) {
        self.kept().remove(id);
    }

    pub(crate) fn pictures(&self) -> &Dirty {
        &self.pictures
    }

    pub(crate) fn entries(&self) -> &Dirty {
        &self.entries
    }
}

// === impl Kept ===

impl Kept {
    /// Keeps what the attempt rests on; what is of another one goes.
    pub(crate) fn note_looks(&mut self, attempt: Option<u32>, trace: &[Arc<Traced>]) {
        let looks = trace.iter().filter(|item| matches!(***item, Traced::Look(_)));
        self.looks.extend(looks.cloned());
        if let Some(attempt) = attempt {
            self.looks.retain(|look| look.attempt().is_none_or(|of| of == attempt));
        }
        let over = self.looks.len().saturating_sub(LOOKS_MAX);
        self.looks.drain(..over);
    }
}

// === impl Dirty ===

impl Dirty {
    pub(crate) fn add(&self, id: &RolloutId) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone());
        self.more.notify_one();
    }

    /// Waits until there is something, and takes all of it.
    pub(crate) async fn take(&self) -> HashSet<RolloutId> {
        loop {
            let taken = {
                let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut *names)
            };
            if !taken.is_empty() {
                return taken;
            }
            self.more.notified().await;
        }
    }
}
