//! The claims, checked against the world's own truth at every event.

use std::collections::{BTreeMap, BTreeSet};

use haldane_model::{
    Answer, Direction, HoldKind, JournalEntry, LeaseSeen, Mark, MarkKind, Outcome, Place, Reason,
    Record, RequestId, SpecSeen, Split, Verb, Weight,
};
use haldane_runtime::{Command, Core, Input, replay::replay};

use super::{World, store::Signed, world::Proc};

/// How long a step's weight was truly in force, in milliseconds: by attempt and step.
type Held = BTreeMap<(u32, usize), u64>;

/// What the world knows and no engine is asked.
#[derive(Debug, Default)]
pub struct Truth {
    pub(super) held: Held,
    /// Attempts that were rolled back, by record or by a write that is in force.
    pub(super) rolled_back: BTreeSet<u32>,
    /// Good looks that reached a living process: by attempt and step.
    pub(super) passes: BTreeSet<(u32, usize)>,
    /// How many requests were made.
    pub asked: u64,
    /// Whether the rollout was let go.
    pub gone: bool,
    /// For how long shares that others set may have gone unread: two guard slots and a deadline for each.
    pub unseen: u64,
    /// When no process lived, from and to.
    pub(super) idle: Vec<(u64, u64)>,
}

/// What must come of an input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expectation {
    /// Nothing in particular.
    Nothing,
    /// The traffic goes back in this very turn.
    Back(&'static str),
}

// === impl World ===

impl World {
    /// Time passes: a process lives or none does, and users see these shares.
    pub(super) fn pass(&mut self, by: u64) {
        let lives = |proc: &Proc| proc.core.as_ref().is_some_and(|core| !core.is_stopped());
        let led = self.procs.iter().any(lives);
        if !led {
            let until = self.now + by;
            match self.truth.idle.last_mut() {
                Some(last) if last.1 == self.now => last.1 = until,
                Some(_) | None => self.truth.idle.push((self.now, until)),
            }
        }
        let (low, high) = self.true_share();
        if low != high {
            return;
        }
        let records = self.procs.iter().filter_map(|proc| proc.core.as_ref()?.record());
        // What was decided and is not recorded yet may still be taken back to what is.
        let mut held: Vec<(u32, usize)> = records
            .chain(self.kept.record.as_ref().filter(|_| led))
            .filter_map(|record| {
                let step = record.step()?;
                let weight = record.plan.as_ref()?.weight(step);
                let green = record.header.test.as_str() == "green";
                let share = if green { low } else { low.complement() };
                (weight == share).then_some((record.attempt, step))
            })
            .collect();
        held.sort_unstable();
        held.dedup();
        for step in held {
            *self.truth.held.entry(step).or_default() += by;
        }
    }

    /// Says, before an input is handled, what must come of it.
    pub(super) fn expect(&mut self, proc: usize, core: &Core, input: &Input) -> Expectation {
        let Some(record) = core.record() else { return Expectation::Nothing };
        let guarded = record.place.is_guarded();
        let superseded = matches!(core.seen().lease, Some(LeaseSeen::Other { .. }));
        if core.is_stopped() || !guarded || superseded {
            return Expectation::Nothing;
        }
        match input {
            Input::Request(request) if request.verb == Verb::Abort => {
                let known = record.outcome(&request.id).is_some();
                if known { Expectation::Nothing } else { Expectation::Back("an abort") }
            }
            Input::Looked { key, sample } => {
                let current = key.attempt == record.attempt && key.revision == record.revision;
                let judged = record.judged_to.get(&key.check);
                let new = judged.is_none_or(|judged| key.window.end > *judged);
                if let (Answer::Counted(_), true) = (&sample.answer, current && new && !key.at_rest)
                {
                    // What it makes of them is its own; that they reached it is what counts here.
                    if let Some(step) = record.step() {
                        self.truth.passes.insert((record.attempt, step));
                    }
                    return Expectation::Nothing;
                }
                let length = sample.window.end.duration_since(sample.window.begin);
                let long = length.as_secs_f64() >= 10.0;
                if !current || key.at_rest || !new || !long {
                    return Expectation::Nothing;
                }
                let Answer::Ratio { part, total: Some(total) } = sample.answer else {
                    return Expectation::Nothing;
                };
                let bad = part.unwrap_or(0.0) > 0.05 * total;
                // An answer that nobody waits for any more counts nowhere: the source promised to be sooner.
                let waited = self.waits.get(&(proc, key.check.clone()));
                let awaited =
                    waited.is_some_and(|(asked, until)| asked == key && self.now < *until);
                if bad && awaited && total >= 5.0 && self.shape.failures == 0 {
                    return Expectation::Back("a breach");
                }
                if !bad && let Some(step) = record.step() {
                    self.truth.passes.insert((record.attempt, step));
                }
                Expectation::Nothing
            }
            Input::Tick
            | Input::Loaded(_)
            | Input::Swapped(_)
            | Input::Side { .. }
            | Input::Changed { .. }
            | Input::Read { .. }
            | Input::Written { .. }
            | Input::Accompanied { .. }
            | Input::Finished { .. }
            | Input::Facts { .. }
            | Input::Revisions { .. }
            | Input::Gate { .. }
            | Input::Spec(_)
            | Input::Lease(_)
            | Input::Alerts(_)
            | Input::Request(_) => Expectation::Nothing,
        }
    }

    pub(super) fn check_turn(
        &mut self,
        proc: usize,
        core: &Core,
        expected: &Expectation,
        commands: &[Command],
    ) {
        let Some(record) = core.record() else { return };
        if let Place::Baking { step, baked, .. } = record.place {
            let held = self.truth.held.get(&(record.attempt, step)).copied().unwrap_or(0);
            let baked = u64::try_from(baked.as_millis()).unwrap_or(0);
            if baked > held + self.truth.unseen + 1 && self.leads(proc) {
                let what = format!("step {step} baked {baked} ms, but was held for {held} ms");
                self.break_claim(what);
            }
        }
        let Expectation::Back(why) = expected else { return };
        let test = &record.header.test;
        let home_dead = self.home_read_dead(core, record);
        let gone_back = matches!(record.place, Place::RollingBack { .. } | Place::Degraded { .. });
        let (low, high) = self.true_share();
        let back = if test.as_str() == "green" { high } else { low.complement() };
        let impossible = record
            .holds
            .iter()
            .any(|h| h.kind == HoldKind::NeedsPerson(Reason::RollbackImpossible));
        if impossible || home_dead || (gone_back && back == Weight::ZERO) {
            return;
        }
        let mut writes = commands.iter().filter_map(|command| match command {
            Command::Write { split, direction, .. } => {
                Some((*direction == Direction::Lower, split.share_of(test)))
            }
            _ => None,
        });
        let first = writes.next();
        if first.is_none() && gone_back && self.has_just_lowered() {
            return;
        }
        if !gone_back || first != Some((true, Weight::ZERO)) {
            let place = record.place.clone();
            self.break_claim(format!(
                "{why} reached process {proc}, and the first write was {first:?}, now {place:?}"
            ));
        }
    }

    /// Whether no younger process lives, nor wrote before it died: an older one sees its successor's
    /// writes only when it reads, and can record nothing any more.
    fn leads(&self, proc: usize) -> bool {
        let alone = self.procs.iter().skip(proc + 1).all(|younger| younger.core.is_none());
        alone && !self.kept.supersedes(self.procs[proc].term)
    }

    /// Whether a lowering write went out a moment ago, so that its back-off runs.
    fn has_just_lowered(&self) -> bool {
        let lowers = |text: &str| text == "Lower 0 %" || text == "Lower 100 %";
        self.sent
            .iter()
            .rev()
            .take_while(|(at, _)| *at + 10_000 >= self.now)
            .any(|(_, t)| lowers(t))
    }

    /// Whether the last read that is fresh says that the home side is dead.
    fn home_read_dead(&self, core: &Core, record: &Record) -> bool {
        core.seen().entries.values().any(|seen| {
            let dead = haldane_model::Health::Down;
            seen.reading.as_ref().is_ok_and(|r| r.health_of(&record.header.home) == dead)
        })
    }

    pub(super) fn check_write(
        &mut self,
        proc: usize,
        split: &Split,
        direction: Direction,
        mark: Mark,
    ) {
        if direction == Direction::Lower {
            return;
        }
        let allows = |record: &Signed| {
            let Some(plan) = &record.plan else { return false };
            let share = split.share_of(&record.test);
            match record.place {
                Place::Shifting { step, .. } => share == plan.weight(step),
                Place::Watching { .. } => share == Weight::FULL,
                Place::Pending { .. }
                | Place::Waiting { .. }
                | Place::Baking { .. }
                | Place::Promoting { .. }
                | Place::Healthy
                | Place::RollingBack { .. }
                | Place::Degraded { .. } => false,
            }
        };
        let records = self.kept.marks.get(&mark.number).into_iter().flatten();
        // A late raise of an attempt before can have confirmed this one's step: then both carry its mark.
        let Some(attempt) = records.filter(|record| allows(record)).map(|r| r.attempt).max() else {
            self.break_claim(format!(
                "process {proc} raises to {} with {mark}, and no won record says so",
                split.share
            ));
            return;
        };
        if self.truth.rolled_back.contains(&attempt) && Some(proc) == self.leader() {
            self.break_claim(format!("attempt {attempt} is raised again after its rollback"));
        }
    }

    pub(super) fn check_told(&mut self, entry: &JournalEntry) {
        let kept = self.kept.journal.get(&entry.id);
        if !self.truth.gone && kept.is_none() {
            self.break_claim(format!("entry {} was told and is not recorded", entry.id));
        }
    }

    /// Who asked hears of an outcome only once a record that carries it was won: before that a crash,
    /// or somebody's edit, can take it back.
    pub(super) fn answered(&mut self, proc: usize, id: RequestId, outcome: Outcome) {
        if self.kept.newer {
            // Only the newer engine keeps outcomes in this record; what is accepted is in the header.
            if outcome == Outcome::Accepted && !self.kept.is_lowered() {
                self.break_claim(format!("process {proc} accepts {id}, and no header says so"));
            }
            self.requests.remove(&id);
            return;
        }
        let full =
            matches!(&outcome, Outcome::Refused(why) if why.contains("requests wait already"));
        if !full && self.kept.outcomes.get(&id) != Some(&outcome) {
            self.break_claim(format!(
                "process {proc} answers {id} with {outcome:?}, and no won record says so"
            ));
        }
        self.requests.remove(&id);
        let first = self.answers.entry(id.clone()).or_insert_with(|| outcome.clone());
        if *first != outcome {
            let what = format!("request {id} was answered {first:?}, then {outcome:?}");
            self.break_claim(what);
        }
    }

    /// A rollout is let go at rest, after its traffic went back, or with its namespace, and then with
    /// one lowering write.
    pub(super) fn check_gone(&mut self, proc: usize) {
        let Some(record) = self.procs[proc].core.as_ref().and_then(|core| core.record()) else {
            return;
        };
        if !record.place.is_in_flight() {
            return;
        }
        let lowered = self.sent.iter().rev().take_while(|(at, _)| *at == self.now);
        let lowered = lowered.map(|(_, text)| text).any(|text| text.starts_with("Lower"));
        let sent = lowered || self.has_just_lowered();
        let dead =
            self.procs[proc].core.as_ref().is_some_and(|core| self.home_read_dead(core, record));
        if self.spec != SpecSeen::NamespaceDeleted || !(sent || dead) {
            let place = record.place.clone();
            self.break_claim(format!("the rollout was let go in {place:?}"));
        }
    }

    /// What is kept of what the engines took in decides the same when it is done again.
    pub(super) fn check_trace(&mut self) {
        let again = replay(&self.kept.trace);
        if let Some(difference) = again.differences.first() {
            let difference = format!("done again, it is not the same: {difference}");
            self.break_claim(difference);
        }
    }

    /// What must be so once the rollout rests.
    pub(super) fn check_end(&mut self) {
        if self.violation().is_some() || self.truth.gone {
            return;
        }
        let (low, high) = self.true_share();
        let Some(record) = self.core().and_then(|core| core.record()).cloned() else { return };
        let green = record.header.test.as_str() == "green";
        let wanted = if green { Weight::ZERO } else { Weight::FULL };
        if (low, high) != (wanted, wanted) {
            let state = record.state();
            self.break_claim(format!("{state:?} at rest, and users see {low} to {high} of green"));
        }
        if let Some(id) = self.requests.keys().next().cloned() {
            self.break_claim(format!("request {id} got no answer"));
        }
        if record.holds.iter().any(|hold| hold.kind != HoldKind::Block && hold.kind.pauses()) {
            self.break_claim(format!("holds are left at rest: {:?}", record.holds));
        }
    }

    /// Returns whether our newest signature on an entry is a rollback's.
    #[must_use]
    pub fn is_signed_as_rollback(&self, lane: usize) -> bool {
        let marks = self.lanes[lane].parts.iter().filter_map(|part| part.1);
        marks.max_by_key(|mark| mark.number).is_some_and(|mark| mark.kind == MarkKind::Rollback)
    }
}
