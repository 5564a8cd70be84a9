//! The traffic entries of one rollout: reads, writes in flight, back-off, and since when a share
//! has been read.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use haldane_model::{
    Company, Direction, EntryName, EntrySeen, Mark, Now, Plan, Reading, Seen, SideName, Split,
    Unreadable, Weight, WriteSeen, back_off,
};
use haldane_providers::Error;

use super::{ByName, Command, company::Escort};

/// A read that has not been answered for this long is asked again.
const READ_LOST: Duration = Duration::from_secs(5);

/// So many reads of one entry may be under way: one that is lost has its answer in the end.
const READS_MAX: usize = 4;

/// A read that failed is repeated no sooner than this.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// How long a write that failed waits at first, and at most: doubling in between.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// A write that was acknowledged but is not read back is repeated no sooner than this.
const REPEAT: Duration = Duration::from_millis(200);

/// How long a write may take where the plan does not tell.
const WRITE_LOST: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Entries {
    /// Boxed: a map of few keeps room for many.
    known: ByName<EntryName, Box<Known>>,
    /// The names, innermost first: the order of raising.
    order: Vec<EntryName>,
    finished: BTreeMap<EntryName, Result<(), String>>,
    next_id: u64,
    /// Whether a raise waits for its record: to the machine it is under way.
    holding: bool,
    /// The last read before a raise was decided: those after it count for it.
    wanted_after: u64,
    retry_finish_at: Option<Duration>,
}

#[derive(Debug, Default)]
struct Known {
    seen: Option<Arc<EntrySeen>>,
    /// When a read was answered last: what was seen is as fresh as this.
    answered_at: Option<Duration>,
    /// Which read that was.
    answered: u64,
    /// Whether one is wanted that begins now, whatever is under way.
    wanted: bool,
    /// From when the next read is counted; `None`: it is due now.
    read_at: Option<Duration>,
    /// The reads under way, oldest first.
    asked: Vec<Asked>,
    /// The write that was acknowledged last, unless another was sent since.
    in_force: Option<(Direction, Weight, Mark)>,
    write: Option<Write>,
    /// The last write that was answered, whether it went well, and when.
    last: Option<(Direction, Weight, Duration)>,
    failures: u32,
    wait_until: Option<Duration>,
    waits_for: Option<(Direction, Weight)>,
    failed: Option<(String, bool)>,
    write_deadline: Duration,
    wake_read: Option<Duration>,
    /// A raise was sent or acknowledged, and no read that began after that was answered: to the machine it
    /// is under way still, or a slow reader would see it recorded and sent without end; and how long
    /// something was read before it says nothing.
    unread: bool,
    /// What accompanies the split.
    escort: Escort,
}

#[derive(Debug)]
struct Asked {
    id: u64,
    at: Duration,
    /// It began before a write was answered: its answer is too old.
    outdated: bool,
}

#[derive(Debug)]
struct Write {
    id: u64,
    direction: Direction,
    to: Weight,
    mark: Mark,
    since: Duration,
}

// === impl Entries ===

impl Entries {
    /// Knows these entries, and no others.
    pub(super) fn follow(&mut self, names: &[EntryName], plan: Option<&Plan>) {
        if self.order != names {
            self.known.retain(|name, _| names.contains(name));
            self.order = names.to_vec();
        }
        for name in names {
            let known = self.known.entry(name.clone()).or_default();
            let planned = plan.and_then(|plan| plan.entries.iter().find(|e| e.name == *name));
            known.write_deadline = planned.map_or(WRITE_LOST, |entry| entry.write_deadline);
        }
    }

    /// Notes that a raise waits for its record, or no longer does.
    pub(super) fn hold(&mut self, holding: bool) {
        self.holding = holding;
    }

    pub(super) fn is_writing(&self) -> bool {
        self.holding || self.known.values().any(|known| known.write.is_some())
    }

    // --- reading ---

    /// A raise was decided: everything is read again, now, before it leaves.
    pub(super) fn want_read(&mut self) {
        self.wanted_after = self.next_id;
        self.known.values_mut().for_each(|known| known.wanted = true);
    }

    /// Somebody wrote to an entry: it is read again, now.
    pub(super) fn changed(&mut self, name: &EntryName) {
        if let Some(known) = self.known.get_mut(name) {
            known.wanted = true;
        }
    }

    /// Returns whether every entry answered a read that began after [`Self::want_read`].
    pub(super) fn is_read_as_wanted(&self) -> bool {
        let answered = |name| self.known.get(name).map_or(0, |known| known.answered);
        self.order.iter().all(|name| answered(name) > self.wanted_after)
    }

    /// Asks for the reads that are due.
    pub(super) fn ask(&mut self, every: Duration, now: Now, out: &mut Vec<Command>) {
        for name in &self.order {
            let Some(known) = self.known.get_mut(name) else { continue };
            if known.is_read_due(every, now.mono) {
                self.next_id += 1;
                let id = self.next_id;
                known.note_asked(id, now.mono);
                out.push(Command::Read { entry: name.clone(), id });
            }
        }
        self.wake_for_reads(every, now);
    }

    fn wake_for_reads(&mut self, every: Duration, now: Now) {
        for known in self.known.values_mut() {
            if known.asked.is_empty() {
                known.wake_read = Some(known.due_at(every, now.mono));
            }
        }
    }

    /// Takes a reading in. Returns whether it is one that says a share.
    pub(super) fn read(
        &mut self,
        name: &EntryName,
        id: u64,
        result: Result<Reading, Error>,
        now: Now,
    ) -> bool {
        let Some(known) = self.known.get_mut(name) else { return false };
        // An older one that is answered later is of no use: what is newer is known by then.
        let Some(at) = known.asked.iter().position(|read| read.id == id) else { return false };
        let outdated = known.asked[at].outdated;
        known.asked.drain(..=at);
        if outdated {
            known.read_at = None;
            return false;
        }
        known.read_at = Some(now.mono);
        known.answered_at = Some(now.mono);
        known.answered = id;
        let unread = std::mem::take(&mut known.unread);
        let reading = result.map_err(|error| Unreadable { message: error.to_string() });
        let same = known.seen.as_ref().is_some_and(|seen| is_same(&seen.reading, &reading));
        let first = match &known.seen {
            Some(seen) if same && !unread && seen.first.boot == now.boot => seen.first,
            Some(_) | None => now,
        };
        let told = reading.is_ok();
        known.seen = Some(Arc::new(EntrySeen { reading, first }));
        told
    }

    /// Returns the lowest share of a side over all entries; `None` where one is not known.
    pub(super) fn lowest_share(&self, side: &SideName) -> Option<Weight> {
        let shares = self.order.iter().map(|name| {
            let seen = self.known.get(name)?.seen.as_ref()?;
            seen.reading.as_ref().ok().map(|reading| reading.range_of(side).0)
        });
        shares.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    // --- writing ---

    /// Lowers everywhere at once. What is under way upwards is ended.
    pub(super) fn lower(
        &mut self,
        test: &SideName,
        to: Weight,
        mark: Mark,
        now: Now,
        out: &mut Vec<Command>,
    ) {
        for name in self.order.clone() {
            let Some(known) = self.known.get_mut(&name) else { continue };
            if known.is_repeated(Direction::Lower, to, mark, now.mono) {
                continue;
            }
            // Only the very write that failed waits: a rollback never waits for another's back-off.
            if known.waits_for.is_some_and(|failed| failed != (Direction::Lower, to)) {
                known.wait_until = None;
                known.failures = 0;
            }
            if known.wait_until.is_some_and(|at| now.mono < at) {
                continue;
            }
            self.send(&name, test, to, Direction::Lower, mark, now, out);
        }
    }

    /// Raises the first entry that is not there yet: outermost last, each confirmed.
    pub(super) fn raise(
        &mut self,
        test: &SideName,
        to: Weight,
        mark: Mark,
        now: Now,
        out: &mut Vec<Command>,
    ) {
        self.holding = false;
        let next = self.order.iter().find(|name| {
            let seen = self.known.get(*name).and_then(|known| known.seen.as_ref());
            let read = seen.and_then(|seen| seen.reading.as_ref().ok());
            read.is_none_or(|reading| reading.range_of(test) != (to, to))
        });
        let Some(name) = next.cloned() else { return };
        let Some(known) = self.known.get(&name) else { return };
        let is_free = known.write.is_none() && !known.escort.is_under_way();
        if is_free && known.wait_until.is_none_or(|at| now.mono >= at) {
            self.send(&name, test, to, Direction::Raise, mark, now, out);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one write, spelled out")]
    fn send(
        &mut self,
        name: &EntryName,
        test: &SideName,
        to: Weight,
        direction: Direction,
        mark: Mark,
        now: Now,
        out: &mut Vec<Command>,
    ) {
        self.next_id += 1;
        let id = self.next_id;
        if let Some(known) = self.known.get_mut(name) {
            known.write = Some(Write { id, direction, to, mark, since: now.mono });
            known.escort.outdate(id);
            known.escort.end();
            known.outdate((direction, to, mark));
            // Only a read ends this: whatever is said of the raise, or sent after it, it may land.
            known.unread |= direction == Direction::Raise;
        }
        let split = Split::new(test.clone(), to);
        out.push(Command::Write { entry: name.clone(), id, split, direction, mark });
    }

    /// Asks for what accompanies the split, entry by entry, where what was read last is otherwise, and the
    /// share of a side is no higher than said. Never beside a write, and a raise waits for the answer.
    pub(super) fn accompany(
        &mut self,
        company: &Company,
        (side, highest): (&SideName, Weight),
        mark: Mark,
        now: Now,
        out: &mut Vec<Command>,
    ) {
        for name in &self.order {
            let Some(known) = self.known.get_mut(name) else { continue };
            let waits = self.holding || known.write.is_some() || known.unread;
            if waits || !known.escort.is_told_by(known.answered) {
                continue;
            }
            let Some(Ok(reading)) = known.seen.as_ref().map(|seen| &seen.reading) else { continue };
            if reading.range_of(side).1 > highest {
                continue;
            }
            let fits = company.is_in(&reading.company);
            if known.escort.is_due(company, fits, now.mono) {
                self.next_id += 1;
                let (id, company) = (self.next_id, company.clone());
                known.escort.called(id, now.mono);
                out.push(Command::Accompany { entry: name.clone(), id, company, mark });
            }
        }
    }

    /// Whether a call of [`Self::accompany`] was not answered.
    pub(super) fn is_escorting(&self) -> bool {
        self.known.values().any(|known| known.escort.is_under_way())
    }

    /// Takes an answer in; returns what a person should know. It is read again, now.
    pub(super) fn accompanied(
        &mut self,
        name: &EntryName,
        id: u64,
        result: Result<(), Error>,
    ) -> Option<String> {
        let known = self.known.get_mut(name)?;
        known.escort.outdate(self.next_id);
        known.wanted = true;
        known.escort.answered(id, result)
    }

    /// Asks every entry to clean up.
    pub(super) fn finish(&mut self, now: Now, out: &mut Vec<Command>) {
        self.holding = false;
        if self.retry_finish_at.is_some_and(|at| now.mono < at) {
            return;
        }
        self.retry_finish_at = Some(now.mono + Duration::from_secs(1));
        out.extend(self.order.iter().map(|name| Command::Finish { entry: name.clone() }));
    }

    pub(super) fn written(
        &mut self,
        name: &EntryName,
        id: u64,
        result: Result<(), Error>,
        now: Now,
    ) {
        let Some(known) = self.known.get_mut(name) else { return };
        let Some(write) = known.write.take_if(|write| write.id == id) else { return };
        known.last = Some((write.direction, write.to, now.mono));
        known.escort.outdate(self.next_id);
        known.outdate((write.direction, write.to, write.mark));
        known.in_force = result.is_ok().then_some((write.direction, write.to, write.mark));
        known.read_at = None;
        known.unread |= write.direction == Direction::Raise && result.is_ok();
        match result {
            Ok(()) => {
                known.failures = 0;
                known.wait_until = None;
                known.waits_for = None;
            }
            Err(error) => known.back_off(&write, &error, now.mono),
        }
    }

    pub(super) fn finished(&mut self, name: EntryName, result: Result<(), Error>, now: Now) {
        if result.is_ok() {
            self.retry_finish_at = None;
        } else {
            self.retry_finish_at = Some(now.mono + Duration::from_secs(1));
        }
        self.finished.insert(name, result.map_err(|error| error.to_string()));
    }

    // --- seeing ---

    /// Shows the machine what is known and fresh.
    pub(super) fn see(&mut self, seen: &mut Seen, fresh: Duration, now: Now) {
        seen.entries.clear();
        seen.writes.clear();
        seen.finished.clone_from(&self.finished);
        for (name, known) in &mut self.known {
            known.give_up(now.mono);
            known.escort.give_up(known.patience(), now.mono);
            known.wait_until.take_if(|at| now.mono >= *at);
            // To ask again makes nothing fresher.
            let is_fresh = known.answered_at.is_some_and(|at| now.mono <= at + fresh);
            if is_fresh && let Some(entry) = &known.seen {
                let mut entry = entry.clone();
                // A rollback must not find its 0 % in what was read before a raise.
                if known.unread {
                    Arc::make_mut(&mut entry).first = now;
                }
                seen.entries.insert(name.clone(), entry);
            }
            let finishing = self.retry_finish_at.is_some_and(|at| now.mono < at);
            let waits = self.holding || known.unread || finishing;
            let held = waits.then_some(Direction::Raise);
            let in_flight = known.write.as_ref().map(|write| write.direction).or(held);
            let backing_off = known.wait_until.is_some_and(|at| now.mono < at);
            let failed = known.failed.clone();
            if in_flight.is_some() || backing_off || failed.is_some() {
                seen.writes.insert(name.clone(), WriteSeen { in_flight, backing_off, failed });
            }
        }
    }

    /// What failed was seen once; the machine has noted it.
    pub(super) fn forget_failures(&mut self) {
        self.finished.clear();
        for known in self.known.values_mut() {
            known.failed = None;
        }
    }

    pub(super) fn wake_at(&self) -> Option<Duration> {
        let times = self.known.values().flat_map(|known| {
            let lost = known.asked.last().map(|read| read.at + READ_LOST);
            let stuck = known.write.as_ref().map(|write| write.since + known.patience());
            let escort = known.escort.wake_at(known.patience());
            [known.wake_read, known.wait_until, lost, stuck, escort]
        });
        times.flatten().min()
    }
}

// === impl Known ===

impl Known {
    /// Whether a read is to be asked for: its time has come, or the one under way is lost.
    fn is_read_due(&self, every: Duration, now: Duration) -> bool {
        match self.asked.last() {
            _ if self.wanted => true,
            Some(read) => now >= read.at + READ_LOST,
            None => now >= self.due_at(every, now),
        }
    }

    fn note_asked(&mut self, id: u64, now: Duration) {
        if self.asked.len() == READS_MAX {
            self.asked.remove(0);
        }
        self.asked.push(Asked { id, at: now, outdated: false });
        self.wake_read = None;
        self.wanted = false;
    }

    /// When the next read is due. One that failed, or that some part did not answer, is repeated
    /// sooner: it holds the rollout up.
    fn due_at(&self, every: Duration, now: Duration) -> Duration {
        let told = self.seen.as_ref().is_none_or(|seen| match &seen.reading {
            Ok(reading) => reading.silent_parts().next().is_none(),
            Err(_) => false,
        });
        let every = if told { every } else { every.min(READ_AGAIN.max(every / 6)) };
        self.read_at.map_or(now, |at| at + every)
    }

    fn patience(&self) -> Duration {
        self.write_deadline + Duration::from_secs(1)
    }

    /// A write is sent, or answered: the read under way may say what was before it. Not where the very
    /// same was acknowledged already, or a lowering that is repeated faster than a slow provider reads
    /// would never be confirmed.
    fn outdate(&mut self, write: (Direction, Weight, Mark)) {
        if self.in_force != Some(write) {
            self.in_force = None;
            self.asked.iter_mut().for_each(|read| read.outdated = true);
        }
    }

    /// Whether this very write is under way, or was acknowledged a moment ago.
    fn is_repeated(&self, direction: Direction, to: Weight, mark: Mark, now: Duration) -> bool {
        let under_way = self.write.as_ref().is_some_and(|write| {
            write.direction == direction && write.to == to && write.mark == mark
        });
        let just_done = self
            .last
            .is_some_and(|(last, share, at)| last == direction && share == to && now < at + REPEAT);
        under_way || (just_done && self.write.is_none() && self.failures == 0)
    }

    fn back_off(&mut self, write: &Write, error: &Error, now: Duration) {
        let wait = back_off(BACK_OFF, self.failures);
        self.failures = self.failures.saturating_add(1);
        self.wait_until = Some(now + wait);
        self.waits_for = Some((write.direction, write.to));
        self.failed = Some((error.to_string(), matches!(error, Error::Invalid(_))));
    }

    /// A write that nobody answered within its deadline counts as failed; it may have landed.
    fn give_up(&mut self, now: Duration) {
        let patience = self.patience();
        if let Some(write) = self.write.take_if(|write| now >= write.since + patience) {
            let error = Error::Unavailable("the write was not answered in time".to_owned());
            self.read_at = None;
            self.back_off(&write, &error, now);
        }
    }
}

/// Whether two readings say the same: share, signature, and which parts answered.
fn is_same(old: &Result<Reading, Unreadable>, new: &Result<Reading, Unreadable>) -> bool {
    match (old, new) {
        (Ok(old), Ok(new)) => {
            old.side == new.side
                && (old.lowest, old.highest, old.mark) == (new.lowest, new.highest, new.mark)
                && old.silent_parts().eq(new.silent_parts())
        }
        (Err(_), Err(_)) => true,
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
    }
}
