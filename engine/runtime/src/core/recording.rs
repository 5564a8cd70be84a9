//! The record between memory and store: one swap at a time, and what waits for it.

use std::{sync::Arc, time::Duration};

use haldane_machine::{Change, Effect};
use haldane_model::{
    Company, Header, JournalEntry, Mark, Outcome, Plan, Record, RequestId, Weight, back_off,
};

use super::company;
use crate::{
    codec::{self, Decoded},
    ports::{CALL_MAX, STORE_DEADLINE, Stored, Swap, SwapRequest},
    trace::{Traced, TracedLook},
};

/// Progress is written at least this often; a kill loses no more.
const PROGRESS_EVERY: Duration = Duration::from_secs(15);

/// A raise that leaves later than one interval of the guards after it was decided is decided anew: by
/// then they may say something else. Not sooner than this, or nothing would ever rise where guards are
/// fast, and a store or a provider slow.
const EFFECT_AGE_MIN: Duration = STORE_DEADLINE.saturating_add(CALL_MAX);

/// How long to wait before a store that failed is asked again, at first and at most: doubling in between.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(4));

/// How long to wait before a record that cannot be read is read again.
const DAMAGED_RETRY: Duration = Duration::from_secs(10);

/// How many decisions may wait for a store that hangs; older ones are dropped from the journal.
const WAITING_MAX: usize = 1_000;

/// How many looks and turns may wait for a store that hangs; the older half goes where there are more.
const TRACE_MAX: usize = 4_000;

#[derive(Debug)]
enum Phase {
    /// The store was not heard yet.
    Loading,
    /// There is no record.
    Absent,
    /// The record is here.
    Here(Box<Record>),
    /// A newer engine wrote it.
    Newer(Header, Vec<u8>),
}

#[derive(Debug)]
pub(super) struct Recording {
    phase: Phase,
    /// The version that the store has, as far as we know.
    stored: u64,
    /// The swap under way: the version it writes, and how many of `entries` it carries.
    swapping: Option<(u64, usize)>,
    /// What it writes: another engine's record may have the same version.
    bytes_in_swap: Vec<u8>,
    /// Whether it must be asked what the store has.
    unsure: bool,
    loading: bool,
    dirty: Change,
    written_at: Duration,
    retry_at: Option<Duration>,
    /// How often the store failed, or somebody was faster, since it was last written.
    failures: u32,
    entries: Vec<JournalEntry>,
    /// What was taken in and is not recorded yet, and how much of it the swap under way carries.
    trace: Vec<Arc<Traced>>,
    trace_in_swap: usize,
    /// What was taken in and went with the record that somebody else's write replaced.
    lost: Vec<Arc<Traced>>,
    tellable: Vec<JournalEntry>,
    /// How requests were answered: in the swap under way, and in what the store surely has.
    outcomes_in_swap: Vec<(RequestId, Outcome)>,
    outcomes: Vec<(RequestId, Outcome)>,
    /// Raises that wait for the version that carries them, and since when.
    held: Option<(Vec<Effect>, Duration)>,
    /// Whether the swap under way carries `held`.
    held_in_swap: bool,
    /// The raise whose record is won: it waits for a read that began after it was decided.
    won: Option<(Weight, Mark, Duration)>,
    /// What accompanies the split by the record in the swap under way, and by the one that the store has.
    company_in_swap: Option<Company>,
    company: Option<Company>,
    trouble: Option<String>,
}

// === impl Recording ===

impl Recording {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            phase: Phase::Loading,
            stored: 0,
            swapping: None,
            bytes_in_swap: Vec::new(),
            unsure: false,
            loading: true,
            dirty: Change::Nothing,
            written_at: now,
            retry_at: None,
            failures: 0,
            entries: Vec::new(),
            trace: Vec::new(),
            trace_in_swap: 0,
            lost: Vec::new(),
            tellable: Vec::new(),
            outcomes_in_swap: Vec::new(),
            outcomes: Vec::new(),
            held: None,
            held_in_swap: false,
            won: None,
            company_in_swap: None,
            company: None,
            trouble: None,
        }
    }

    pub(super) fn record(&self) -> Option<&Record> {
        match &self.phase {
            Phase::Here(record) => Some(record),
            Phase::Loading | Phase::Absent | Phase::Newer(..) => None,
        }
    }

    pub(super) fn newer(&self) -> Option<(&Header, &[u8])> {
        match &self.phase {
            Phase::Newer(header, rest) => Some((header, rest)),
            Phase::Loading | Phase::Absent | Phase::Here(_) => None,
        }
    }

    /// Puts another header into the record of a newer engine; it is written now. Returns whether the
    /// record has it.
    pub(super) fn set_header(&mut self, changed: Header) -> bool {
        let Phase::Newer(header, rest) = &mut self.phase else { return false };
        if *header == changed {
            return true;
        }
        let Some(written) = codec::with_header(rest, &changed) else { return false };
        *header = changed;
        *rest = written;
        self.dirty = Change::Decided;
        true
    }

    /// Returns whether the store surely has what is here.
    pub(super) fn is_settled(&self) -> bool {
        self.dirty == Change::Nothing && self.swapping.is_none() && !self.unsure && !self.loading
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self.phase, Phase::Absent)
    }

    pub(super) fn is_swapping(&self) -> bool {
        self.swapping.is_some()
    }

    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Holds the plan that is written in place of the pinned one where they are the same: a record
    /// that was loaded brought a copy of its own.
    pub(super) fn share_plan(&mut self, written: &Arc<Plan>) {
        if let Phase::Here(record) = &mut self.phase
            && let Some(pinned) = &mut record.plan
            && pinned == written
        {
            *pinned = written.clone();
        }
    }

    pub(super) fn make(&mut self, record: Record) {
        self.phase = Phase::Here(Box::new(record));
        self.dirty = Change::Progress;
    }

    /// Returns how a request was answered, once that is recorded.
    pub(super) fn outcome(&self, id: &RequestId) -> Option<&Outcome> {
        self.outcomes.iter().rev().find(|(known, _)| known == id).map(|(_, outcome)| outcome)
    }

    /// Returns what accompanies the split by the record that the store surely has.
    pub(super) fn company_won(&self) -> Option<&Company> {
        self.company.as_ref()
    }

    /// Returns whether a raise waits for its record, or for the read after it.
    pub(super) fn holds_raise(&self) -> bool {
        self.held.is_some() || self.won.is_some()
    }

    /// Returns whether there is a raise whose record is won.
    pub(super) fn has_won_raise(&self) -> bool {
        self.won.is_some()
    }

    /// Takes the raise whose record is won; `None` where it was decided too long ago.
    pub(super) fn take_won_raise(&mut self, now: Duration) -> Option<(Weight, Mark)> {
        let oldest = self.effect_age_max();
        let (to, mark, since) = self.won.take()?;
        (now.saturating_sub(since) <= oldest).then_some((to, mark))
    }

    /// A lowering write was decided: whatever waited to raise is void.
    pub(super) fn drop_held(&mut self) {
        self.held = None;
        self.held_in_swap = false;
        self.won = None;
    }

    pub(super) fn decided(
        &mut self,
        record: Record,
        entries: Vec<JournalEntry>,
        trace: Vec<Traced>,
        held: Vec<Effect>,
        change: Change,
        now: Duration,
    ) {
        self.phase = Phase::Here(Box::new(record));
        self.dirty = self.dirty.max(change);
        self.add_entries(entries);
        self.add_trace(trace);
        if !held.is_empty() {
            self.drop_held();
            self.held = Some((held, now));
        } else if change == Change::Decided && self.holds_raise() {
            // Something else was decided since: what waited is decided anew.
            self.drop_held();
        }
    }

    /// What the store does not take for too long is dropped, the oldest first. What the swap under way
    /// carries stays: it may be in, though nobody answers.
    fn add_entries(&mut self, entries: Vec<JournalEntry>) {
        self.entries.extend(entries);
        let carried = self.swapping.map_or(0, |(_, carried)| carried.min(self.entries.len()));
        let surplus = (self.entries.len() - carried).saturating_sub(WAITING_MAX);
        self.entries.drain(carried..carried + surplus);
    }

    /// The same for the trace, where what is dropped leaves a gap.
    fn add_trace(&mut self, trace: Vec<Traced>) {
        self.trace.extend(trace.into_iter().map(Arc::new));
        let carried = self.swapping.map_or(0, |_| self.trace_in_swap.min(self.trace.len()));
        let waiting = self.trace.len() - carried;
        if waiting > TRACE_MAX {
            let surplus = waiting - TRACE_MAX / 2;
            let lost = self.trace.drain(carried..carried + surplus).map(|item| match *item {
                Traced::Gap(lost) => lost,
                Traced::Look(_) | Traced::Turn(_) => 1,
            });
            let lost = lost.sum();
            self.trace.insert(carried, Arc::new(Traced::Gap(lost)));
        }
    }

    /// Returns the swap that is due, if one is. A newer engine's record is written in `ours`, the term
    /// that is held: without one it is not written.
    pub(super) fn due(&mut self, now: Duration, ours: Option<u64>) -> Option<SwapRequest> {
        if self.swapping.is_some() || self.unsure || self.loading {
            return None;
        }
        if self.retry_at.is_some_and(|at| at > now) {
            return None;
        }
        let due = match self.dirty {
            Change::Nothing => false,
            Change::Progress => self.stored == 0 || now >= self.written_at + PROGRESS_EVERY,
            Change::Decided => true,
        };
        if !due {
            return None;
        }
        let version = self.stored + 1;
        let (term, bytes) = match &self.phase {
            Phase::Here(record) => {
                let mut record = (**record).clone();
                record.version = version;
                self.outcomes_in_swap.clone_from(&record.requests);
                self.company_in_swap = company::of(&record);
                (record.term, codec::encode(&record))
            }
            Phase::Newer(_, rest) => (ours?, rest.clone()),
            Phase::Loading | Phase::Absent => return None,
        };
        self.swapping = Some((version, self.entries.len()));
        self.held_in_swap = self.held.is_some();
        self.dirty = Change::Nothing;
        self.retry_at = None;
        self.bytes_in_swap.clone_from(&bytes);
        let (entries, trace) = (self.entries.clone(), self.trace.clone());
        self.trace_in_swap = trace.len();
        Some(SwapRequest { expect: self.stored, version, term, bytes, entries, trace })
    }

    /// Takes the store's answer. Returns whether the clean-up may begin now.
    pub(super) fn swapped(&mut self, answer: Swap, now: Duration) -> bool {
        let Some((version, carried)) = self.swapping else { return false };
        match answer {
            Swap::Won => self.won(version, carried, now),
            Swap::Stale => {
                self.end_swap();
                self.drop_held();
                self.unsure = true;
                self.loading = false;
                // What is there was written by someone else in this term: it is loaded and decided
                // upon. Until it is here, what is known goes on guarding and lowering. Once is somebody's
                // edit, and read at once; a store that says so again and again is not asked without a pause.
                let again = self.failures > 0;
                let wait = self.failed();
                self.retry_at = again.then_some(now + wait);
                false
            }
            Swap::Superseded { .. } => false,
            Swap::Unknown(why) => {
                self.drop_held();
                self.unsure = true;
                self.trouble = Some(why);
                self.retry_at = Some(now + self.failed());
                self.dirty = Change::Decided;
                false
            }
        }
    }

    /// Counts a failure; returns how long to wait after it.
    fn failed(&mut self) -> Duration {
        let wait = back_off(RETRY, self.failures);
        self.failures = self.failures.saturating_add(1);
        wait
    }

    fn won(&mut self, version: u64, carried: usize, now: Duration) -> bool {
        self.end_swap();
        self.unsure = false;
        self.failures = 0;
        self.stored = version;
        self.outcomes = std::mem::take(&mut self.outcomes_in_swap);
        self.company = self.company_in_swap.take();
        self.written_at = now;
        self.trouble = None;
        if let Phase::Here(record) = &mut self.phase {
            record.version = version;
        }
        self.trace.drain(..self.trace_in_swap.min(self.trace.len()));
        self.tellable.extend(self.entries.drain(..carried.min(self.entries.len())));
        if !std::mem::take(&mut self.held_in_swap) {
            return false;
        }
        let Some((effects, since)) = self.held.take() else { return false };
        self.won = effects.iter().find_map(|effect| match effect {
            Effect::Raise { to, mark } => Some((*to, *mark, since)),
            Effect::Lower { .. } | Effect::Finish | Effect::Release => None,
        });
        effects.contains(&Effect::Finish)
    }

    /// Returns how old a decision to raise may be: one interval of the pinned plan's guards, and never
    /// less than a store and a provider may take that work.
    fn effect_age_max(&self) -> Duration {
        let plan = self.record().and_then(|record| record.plan.as_ref());
        plan.map_or(EFFECT_AGE_MIN, |plan| plan.guard_interval().max(EFFECT_AGE_MIN))
    }

    /// Nothing is under way any more; what was written is not needed to know it again.
    fn end_swap(&mut self) {
        self.swapping = None;
        self.bytes_in_swap = Vec::new();
    }

    /// Takes what the store has.
    pub(super) fn loaded(&mut self, loaded: Result<Option<Stored>, String>, now: Duration) {
        self.loading = false;
        let stored = match loaded {
            Ok(stored) => stored,
            Err(why) => {
                self.trouble = Some(why);
                self.unsure = true;
                self.retry_at = Some(now + self.failed());
                return;
            }
        };
        let there = stored.as_ref().map_or(0, |stored| stored.version);
        if let (Phase::Here(_), Some((version, carried))) = (&self.phase, self.swapping) {
            let ours = stored.as_ref().is_some_and(|stored| stored.bytes == self.bytes_in_swap);
            if there == version && ours {
                // It was in. What waited is older than the answer, and decided anew.
                self.won(version, carried, now);
                self.drop_held();
                return;
            }
            if there == self.stored {
                // It was not in: what is here is tried again.
                self.end_swap();
                self.unsure = false;
                // Reading goes well on a full disk too: it is over once something is written.
                self.dirty = Change::Decided;
                return;
            }
        }
        self.end_swap();
        self.unsure = false;
        self.trouble = None;
        self.stored = there;
        self.entries.clear();
        self.lost = std::mem::take(&mut self.trace);
        self.drop_held();
        self.company = None;
        self.dirty = Change::Nothing;
        self.written_at = now;
        self.phase = match stored.map(|stored| codec::decode(&stored.bytes)) {
            None => Phase::Absent,
            Some(Ok(Decoded::Known(record))) => {
                let mut record = record;
                record.version = there;
                self.outcomes.clone_from(&record.requests);
                self.company = company::of(&record);
                Phase::Here(record)
            }
            Some(Ok(Decoded::Newer { header, rest })) => Phase::Newer(header, rest),
            Some(Err(why)) => {
                self.trouble = Some(why);
                self.unsure = true;
                self.retry_at = Some(now + DAMAGED_RETRY);
                Phase::Loading
            }
        };
    }

    /// Returns the looks that the record lost. Where they are recorded once more, looks of somebody else
    /// may stand before them: each says itself what it goes on from.
    pub(super) fn take_lost(&mut self) -> Vec<TracedLook> {
        let looks = std::mem::take(&mut self.lost).into_iter().filter_map(|item| match &*item {
            Traced::Look(look) if look.learned => {
                let from = look.from.clone().or_else(|| Some(look.before.clone()));
                Some(TracedLook { from, ..(**look).clone() })
            }
            Traced::Look(_) | Traced::Turn(_) | Traced::Gap(_) => None,
        });
        looks.collect()
    }

    /// Returns whether the store must be asked again, now.
    pub(super) fn retry(&mut self, now: Duration) -> bool {
        let due = self.unsure && !self.loading && self.retry_at.is_none_or(|at| at <= now);
        if due {
            self.loading = true;
            self.retry_at = None;
        }
        due
    }

    /// Returns the decisions that are recorded and were not told yet.
    pub(super) fn take_tellable(&mut self) -> Vec<JournalEntry> {
        std::mem::take(&mut self.tellable)
    }

    pub(super) fn wake_at(&self, may_write: bool) -> Option<Duration> {
        if !may_write && self.retry_at.is_none() {
            return None;
        }
        if self.retry_at.is_some() {
            return self.retry_at;
        }
        let progress = self.dirty == Change::Progress && self.swapping.is_none() && !self.unsure;
        let progress = progress && !self.loading;
        progress.then(|| self.written_at + PROGRESS_EVERY)
    }
}

#[cfg(test)]
mod tests;

/// A plan for tests of the core.
#[cfg(test)]
pub(super) fn plan_of_tests() -> Plan {
    tests::plan(Duration::from_secs(15))
}
