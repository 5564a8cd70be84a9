//! What accompanies the split: the record implies it, nothing decides it, and nobody waits for it.
//!
//! Promises: it is made only under the lease and once the record that says so is won, like a raise; it is
//! taken off with the lowering write of a rollback, and again until a read shows that it is off. What was
//! found otherwise is put right with back-off, and is never a conflict.

use std::time::Duration;

use haldane_model::{Company, LeaseSeen, Mark, Mirror, Now, Place, Record, Weight, back_off};
use haldane_providers::Error;

use super::{Command, Core, Notice};

/// How long a call waits after the one before, at first and at most: doubling in between.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// After how long without a call the next one waits for as long as the first.
const CALM: Duration = Duration::from_secs(120);

/// So many calls may fail before it is told; what a person must put right is told at once.
const FAILURES_MAX: u32 = 3;

/// What was asked of one entry.
#[derive(Debug, Default)]
pub(super) struct Escort {
    wish: Option<Company>,
    /// The call under way: which, and since when.
    under_way: Option<(u64, Duration)>,
    /// Reads that were asked for before this one say what was before a write.
    reads_from: u64,
    calls: u32,
    called_at: Option<Duration>,
    not_before: Option<Duration>,
    told: Option<String>,
}

/// Returns what is to accompany the split; `None` where it is not known yet who serves.
pub(super) fn of(record: &Record) -> Option<Company> {
    record.serving.as_ref()?;
    let (test, home) = (&record.header.test, &record.header.home);
    let at = |step: usize| {
        let share = record.plan.as_ref().and_then(|plan| plan.steps.get(step)?.mirror);
        let mirror = share.map(|share| Mirror { to: test.clone(), share });
        Company { testers: test.clone(), mirror }
    };
    let nothing = |testers| Company { testers, mirror: None };
    Some(match &record.place {
        Place::Shifting { step, .. } | Place::Baking { step, .. } => at(*step),
        // Before a gate the step before it is held.
        Place::Waiting { step, .. } => match step.checked_sub(1) {
            Some(held) => at(held),
            None => nothing(home.clone()),
        },
        // The clean-up gives testers what everybody has.
        Place::Promoting { .. } => nothing(test.clone()),
        Place::Pending { .. }
        | Place::Watching { .. }
        | Place::Healthy
        | Place::RollingBack { .. }
        | Place::Degraded { .. } => nothing(home.clone()),
    })
}

/// Returns the signature of a raise that would be decided now: it yields to every rollback that this record
/// does not know, and to none that it does. To take off is never in the way of a rollback, and yields to none.
fn next_mark(record: &Record) -> Mark {
    let known = record.marks.values().map(|mark| mark.number);
    Mark::raise(known.fold(record.version, u64::max) + 1)
}

// === impl Core ===

impl Core {
    /// Asks for what accompanies the split where what was read is otherwise.
    pub(super) fn accompany(&mut self, now: Now, out: &mut Vec<Command>) {
        if self.stopped || !matches!(self.lease, Some(LeaseSeen::Held { .. })) {
            return;
        }
        let Some(record) = self.recording.record() else { return };
        let Some(company) = of(record) else { return };
        let is_off = company.testers == record.header.home && company.mirror.is_none();
        // A person who put the traffic back by hand is not fought here either.
        let may_turn_on = self.recording.company_won() == Some(&company) && !record.is_conflicted();
        if !is_off && !may_turn_on {
            return;
        }
        let test = record.header.test.clone();
        // Where the other side is down a rollback waits with everything.
        let goes_back = matches!(record.place, Place::RollingBack { .. });
        let highest = if goes_back { Weight::ZERO } else { Weight::FULL };
        let mark = if is_off { Mark::rollback(0) } else { next_mark(record) };
        self.entries.accompany(&company, (&test, highest), mark, now, out);
    }

    pub(super) fn accompanied(
        &mut self,
        entry: haldane_model::EntryName,
        id: u64,
        result: Result<(), Error>,
        out: &mut Vec<Command>,
    ) {
        if let Some(why) = self.entries.accompanied(&entry, id, result) {
            out.push(Command::Notice(Notice::Unaccompanied { entry, why }));
        }
    }
}

// === impl Escort ===

impl Escort {
    /// Returns whether a call is due, where what was read is not what is wished.
    pub(super) fn is_due(&mut self, wish: &Company, fits: bool, now: Duration) -> bool {
        if self.wish.as_ref() != Some(wish) {
            self.wish = Some(wish.clone());
            self.calls = 0;
            self.not_before = None;
        }
        if fits {
            if self.called_at.is_none_or(|at| now >= at + CALM) {
                self.calls = 0;
            }
            self.not_before = None;
            return false;
        }
        // What was put right is put right again at once the first time only.
        let waits =
            self.called_at.map(|at| at + self.wait()).filter(|at| self.calls > 0 && now < *at);
        self.not_before = waits;
        self.under_way.is_none() && waits.is_none()
    }

    fn wait(&self) -> Duration {
        back_off(BACK_OFF, self.calls.saturating_sub(1))
    }

    pub(super) fn called(&mut self, id: u64, now: Duration) {
        self.under_way = Some((id, now));
        self.called_at = Some(now);
        self.calls = self.calls.saturating_add(1);
    }

    /// Takes an answer in; returns what a person should know.
    pub(super) fn answered(&mut self, id: u64, result: Result<(), Error>) -> Option<String> {
        self.under_way.take_if(|(under_way, _)| *under_way == id)?;
        let error = match result {
            Ok(()) => {
                self.told = None;
                return None;
            }
            Err(error) => error,
        };
        let tell = matches!(error, Error::Invalid(_)) || self.calls >= FAILURES_MAX;
        let why = error.to_string();
        let is_news = tell && self.told.as_ref() != Some(&why);
        if is_news {
            self.told = Some(why.clone());
        }
        is_news.then_some(why)
    }

    /// A write was sent, or something was answered: only reads that begin from now on say what is.
    pub(super) fn outdate(&mut self, last_read: u64) {
        self.reads_from = last_read;
    }

    /// Returns whether a read says what is.
    pub(super) fn is_told_by(&self, read: u64) -> bool {
        read > self.reads_from
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Forgets the call that a lowering write ended, or that nobody answered.
    pub(super) fn end(&mut self) {
        self.under_way = None;
    }

    /// Forgets the call that nobody answered, and a time that has come: whoever was waked for it wakes once.
    pub(super) fn give_up(&mut self, patience: Duration, now: Duration) {
        self.under_way.take_if(|(_, since)| now >= *since + patience);
        self.not_before.take_if(|at| now >= *at);
    }

    pub(super) fn wake_at(&self, patience: Duration) -> Option<Duration> {
        let lost = self.under_way.map(|(_, since)| since + patience);
        lost.or(self.not_before)
    }
}

#[cfg(test)]
mod tests;
