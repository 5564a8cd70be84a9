//! The simulated store: one record, a journal, and the four answers.

use std::{collections::BTreeMap, sync::Arc};

use haldane_model::{Header, JournalEntry, Outcome, Place, Plan, Record, RequestId, SideName};
use haldane_runtime::{
    Input,
    codec::{self, Decoded},
    ports::{Stored, Swap, SwapRequest},
    trace::Batch,
};

use super::{Ev, World};

/// What is kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) version: u64,
    term: u64,
    bytes: Vec<u8>,
    pub(super) record: Option<Record>,
    pub(super) journal: BTreeMap<u64, JournalEntry>,
    /// What the engines took in, as it was swapped in.
    pub(super) trace: Vec<Batch>,
    /// Every signature that a won record carried, with what that record said of it.
    pub(super) marks: BTreeMap<u64, Vec<Signed>>,
    /// The newest term that anyone took.
    pub(super) newest_term: u64,
    /// Every outcome that a won record carried.
    pub(super) outcomes: BTreeMap<RequestId, Outcome>,
    /// Whether a newer engine wrote last.
    pub(super) newer: bool,
}

/// What a record that carries a signature says: what may be written with it.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) attempt: u32,
    pub(super) test: SideName,
    pub(super) place: Place,
    pub(super) plan: Option<Arc<Plan>>,
}

// === impl Kept ===

impl Kept {
    pub(super) fn load(&self) -> Option<Stored> {
        (self.version > 0).then(|| Stored { version: self.version, bytes: self.bytes.clone() })
    }

    /// Whether an engine of a newer term wrote.
    pub(super) fn supersedes(&self, term: u64) -> bool {
        self.term > term
    }

    /// Somebody edits the object: its version moves on, its content stays.
    pub(super) fn edit(&mut self) {
        self.version += u64::from(self.version > 0);
    }

    pub(super) fn forget(&mut self) {
        let (newest_term, outcomes) = (self.newest_term, std::mem::take(&mut self.outcomes));
        *self = Self { newest_term, outcomes, ..Self::default() };
    }

    /// A newer engine writes the record in its own format, or gives way to this one again.
    pub(super) fn write_format(&mut self, newer: bool) {
        let format = |newer: bool| format!("{{\"format\":{}", codec::FORMAT + u32::from(newer));
        let text = String::from_utf8(std::mem::take(&mut self.bytes)).expect("a record is text");
        self.bytes = text.replacen(&format(self.newer), &format(newer), 1).into_bytes();
        self.newer = newer;
        self.version += 1;
        if let Ok(Decoded::Known(record)) = codec::decode(&self.bytes) {
            self.record = Some(*record);
        }
    }

    /// Whether the header says that the traffic goes back.
    pub(super) fn is_lowered(&self) -> bool {
        match codec::decode(&self.bytes) {
            Ok(Decoded::Known(record)) => record.header.lowered.is_some(),
            Ok(Decoded::Newer { header, .. }) => header.lowered.is_some(),
            Err(_) => false,
        }
    }

    /// An engine that cannot read the record says in its header that the traffic goes back, and changes
    /// nothing else.
    fn write_header(&mut self, request: &SwapRequest, header: &Header) -> Swap {
        let expected = codec::with_header(&self.bytes, header);
        if !self.newer || header.lowered.is_none() || expected.as_ref() != Some(&request.bytes) {
            return Swap::Unknown("damaged".to_owned());
        }
        self.version = request.version;
        self.term = request.term;
        self.bytes.clone_from(&request.bytes);
        Swap::Won
    }

    /// Swaps. Returns the answer and what was there before.
    pub(super) fn swap(&mut self, request: &SwapRequest) -> (Swap, Option<Record>) {
        if self.supersedes(request.term) {
            return (Swap::Superseded { term: self.term }, None);
        }
        if self.version != request.expect {
            return (Swap::Stale, None);
        }
        let record = match codec::decode(&request.bytes) {
            Ok(Decoded::Known(record)) => record,
            Ok(Decoded::Newer { header, .. }) => {
                return (self.write_header(request, &header), None);
            }
            Err(_) => return (Swap::Unknown("damaged".to_owned()), None),
        };
        self.version = request.version;
        self.term = request.term;
        self.bytes.clone_from(&request.bytes);
        for mark in record.marks.values() {
            let known = self.marks.entry(mark.number).or_default();
            if known.last().is_none_or(|last| last.place != record.place) {
                known.push(Signed {
                    attempt: record.attempt,
                    test: record.header.test.clone(),
                    place: record.place.clone(),
                    plan: record.plan.clone(),
                });
            }
        }
        for (id, outcome) in &record.requests {
            if !self.outcomes.contains_key(id) {
                self.outcomes.insert(id.clone(), outcome.clone());
            }
        }
        for entry in &request.entries {
            self.journal.entry(entry.id).or_insert_with(|| entry.clone());
        }
        self.trace.push(Batch {
            version: request.version,
            items: request.trace.clone(),
            damaged: None,
        });
        (Swap::Won, self.record.replace(*record))
    }
}

// === impl World ===

impl World {
    pub(super) fn load(&mut self, proc: usize) {
        let fails = self.store_fault.is_some_and(|fault| fault != "slow")
            || self.stormy() && self.rng.chance(self.weather.store);
        let (delay, loaded) = if fails {
            (500, Err("the store is away".to_owned()))
        } else {
            (10, Ok(self.kept.load()))
        };
        self.input_in(proc, delay, Input::Loaded(loaded));
    }

    pub(super) fn swap(&mut self, proc: usize, request: SwapRequest) {
        let slow = self.store_fault == Some("slow");
        let delay = if slow { 1_900 } else { self.rng.range(2, 60) };
        let request = Box::new(request);
        let unknown = || Some(Swap::Unknown("time-out".to_owned()));
        let drawn = if self.strikes(proc, "store unknown") {
            self.rng.range(0, 2)
        } else if self.strikes(proc, "store hung") {
            self.rng.range(2, 4)
        } else if self.strikes(proc, "store stale") {
            4
        } else if self.stormy() && self.rng.chance(self.weather.store) {
            self.rng.range(0, 5)
        } else {
            match self.store_fault {
                Some("hung") => 2,
                Some("lost") => 1,
                Some("landed") => 0,
                Some("stale") => 4,
                Some(_) | None => 9,
            }
        };
        match drawn {
            0 => {
                self.cover_call(proc, "store unknown");
                self.push(delay, Ev::Swap { proc, request, answer: unknown(), delay: 100 });
            }
            1 => {
                self.cover_call(proc, "store unknown");
                let why = "disk full".to_owned();
                self.input_in(proc, delay, Input::Swapped(Swap::Unknown(why)));
            }
            2 => {
                self.cover_call(proc, "store hung");
                let why = "the store did not answer".to_owned();
                self.input_in(proc, 2_000, Input::Swapped(Swap::Unknown(why)));
            }
            3 => {
                // Hangs past its deadline and lands all the same, before the next load can look.
                self.cover_call(proc, "store hung");
                self.push(1_990, Ev::Swap { proc, request, answer: unknown(), delay: 10 });
            }
            4 => {
                self.cover_call(proc, "store stale");
                self.kept.edit();
                self.push(delay, Ev::Swap { proc, request, answer: None, delay: 5 });
            }
            _ => self.push(delay, Ev::Swap { proc, request, answer: None, delay: 5 }),
        }
    }

    pub(super) fn swap_now(&mut self, proc: usize, request: &SwapRequest) -> Swap {
        let last = self.kept.journal.last_key_value().map_or(0, |(id, _)| *id);
        let (answer, before) = self.kept.swap(request);
        self.log(|| format!("STORE {proc} v{} {answer:?}", request.version));
        if answer == Swap::Won && self.kept.newer {
            if !matches!(codec::decode(&request.bytes), Ok(Decoded::Newer { .. })) {
                let what = format!("process {proc} writes over a record that it cannot read");
                self.break_claim(what);
            }
        } else if answer == Swap::Won {
            self.check_record(before.as_ref(), request, last);
            let first = before.is_some_and(|before| before.attempt == 0);
            if first && self.kept.record.as_ref().is_some_and(|record| record.attempt > 0) {
                self.name_no_more();
            }
        }
        answer
    }
}
