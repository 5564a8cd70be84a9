//! The simulated store: one record, a journal, and the four answers.

use std::collections::BTreeMap;

use haldane_model::{JournalEntry, Record};
use haldane_runtime::{
    codec::{self, Decoded},
    ports::{Stored, Swap, SwapRequest},
};

/// What is kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) version: u64,
    term: u64,
    bytes: Vec<u8>,
    pub(super) record: Option<Record>,
    pub(super) journal: BTreeMap<u64, JournalEntry>,
    /// Every signature that a won record carried, with the record it came with.
    pub(super) marks: BTreeMap<u64, Vec<Record>>,
    /// The newest term that anyone took.
    pub(super) newest_term: u64,
}

// === impl Kept ===

impl Kept {
    pub(super) fn load(&self) -> Option<Stored> {
        (self.version > 0).then(|| Stored { version: self.version, bytes: self.bytes.clone() })
    }

    /// Somebody edits the object: its version moves on, its content stays.
    pub(super) fn edit(&mut self) {
        self.version += u64::from(self.version > 0);
    }

    pub(super) fn forget(&mut self) {
        let newest_term = self.newest_term;
        *self = Self { newest_term, ..Self::default() };
    }

    /// Swaps. Returns the answer and what was there before.
    pub(super) fn swap(&mut self, request: &SwapRequest) -> (Swap, Option<Record>) {
        if self.term > request.term {
            return (Swap::Superseded { term: self.term }, None);
        }
        if self.version != request.expect {
            return (Swap::Stale, None);
        }
        let Ok(Decoded::Known(record)) = codec::decode(&request.bytes) else {
            return (Swap::Unknown("damaged".to_owned()), None);
        };
        let before = self.record.replace((*record).clone());
        self.version = request.version;
        self.term = request.term;
        self.bytes.clone_from(&request.bytes);
        for mark in record.marks.values() {
            let known = self.marks.entry(mark.number).or_default();
            if known.last().is_none_or(|last| last.place != record.place) {
                known.push((*record).clone());
            }
        }
        for entry in &request.entries {
            self.journal.entry(entry.id).or_insert_with(|| entry.clone());
        }
        (Swap::Won, before)
    }
}
