//! One rollout's loop, without I/O.
//!
//! Promises: it never waits; an absent answer is absent, never a failure of the rest; a lowering
//! write leaves before the record does; a raising one leaves only once its record is won and the
//! split was read again. Never: a clock, a socket, a file.

mod company;
mod entries;
mod input;
mod looks;
mod newer;
mod questions;
mod recording;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use haldane_machine::{Change, Decision, Effect, Needs, decide, may_still_raise, needs};
use haldane_model::{
    AlertSeen, Header, JournalEntry, LeaseSeen, Now, Outcome, Plan, Record, Request, RolloutId,
    Seen, SideName, SpecSeen,
};
use jiff::SignedDuration;

pub use self::input::{Command, Input, LookKey, Notice};
pub(crate) use self::looks::show_together;
use self::{entries::Entries, looks::Looks, questions::Questions, recording::Recording};
use crate::trace::{Traced, TracedTurn};

/// How many requests may wait for an answer.
const INBOX_MAX: usize = 64;

/// How many turns one input may lead to before the loop is left to breathe.
const TURNS_MAX: usize = 8;

/// One rollout.
#[derive(Debug)]
pub struct Core {
    id: RolloutId,
    recording: Recording,
    lease: Option<LeaseSeen>,
    spec: Option<SpecSeen>,
    entries: Entries,
    looks: Looks,
    questions: Questions,
    requests: Vec<Request>,
    alerts: Vec<AlertSeen>,
    seen: Seen,
    wake_at: Option<Duration>,
    last: Option<Now>,
    stopped: bool,
    /// Whether it was told that a newer engine wrote the record.
    told_newer: bool,
}

// === impl Core ===

impl Core {
    /// Makes the loop of a rollout; the first command asks for its record.
    #[must_use]
    pub fn new(id: RolloutId, now: Now) -> (Self, Vec<Command>) {
        let core = Self {
            id,
            recording: Recording::new(now.mono),
            lease: None,
            spec: None,
            entries: Entries::default(),
            looks: Looks::default(),
            questions: Questions::default(),
            requests: Vec::new(),
            alerts: Vec::new(),
            seen: Seen::default(),
            wake_at: None,
            last: None,
            stopped: false,
            told_newer: false,
        };
        (core, vec![Command::Load])
    }

    /// Takes one input in, and says what is to be done.
    pub fn handle(&mut self, input: Input, now: Now) -> Vec<Command> {
        let mut out = Vec::new();
        if self.stopped {
            return out;
        }
        if let Some(by) = self.last.and_then(|last| clock_step(&last, &now)) {
            self.questions.clock_stepped(by);
        }
        self.last = Some(now);
        self.take(input, now, &mut out);
        self.turns(now, &mut out);
        out
    }

    /// Returns when to come back with [`Input::Tick`], on the monotonic clock.
    #[must_use]
    pub fn wake_at(&self) -> Option<Duration> {
        if self.stopped {
            return None;
        }
        let times = [
            self.wake_at,
            self.recording.wake_at(self.lease.is_some()),
            self.entries.wake_at(),
            self.looks.wake_at(),
            self.questions.wake_at(),
        ];
        times.into_iter().flatten().min()
    }

    /// Returns which rollout this is.
    #[must_use]
    pub fn id(&self) -> &RolloutId {
        &self.id
    }

    /// Returns the record as it is here; `None` before it was loaded or made.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        self.recording.record()
    }

    /// Returns the header of the record, which can be read whichever engine wrote it.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        let newer = || self.recording.newer().map(|(header, _)| header);
        self.record().map(|record| &record.header).or_else(newer)
    }

    /// Returns what was last seen.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Returns what is written.
    #[must_use]
    pub fn spec(&self) -> Option<&SpecSeen> {
        self.spec.as_ref()
    }

    /// Returns why the record cannot be written, while it cannot.
    #[must_use]
    pub fn store_trouble(&self) -> Option<&str> {
        self.recording.trouble()
    }

    /// Returns whether nothing will happen here any more.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Returns whether a write to the data plane, or to the store, has not been answered.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.entries.is_writing() || self.recording.is_swapping()
    }

    // --- input ---

    fn take(&mut self, input: Input, now: Now, out: &mut Vec<Command>) {
        match input {
            Input::Tick => {}
            Input::Loaded(loaded) => {
                self.loaded(loaded, now, out);
                self.share_plan();
            }
            Input::Swapped(answer) => self.swapped(answer, now, out),
            Input::Read { entry, id, result } => {
                let history = self.entries.read(&entry, id, result, now);
                if history && let Some(record) = self.recording.record() {
                    let share = self.entries.lowest_share(&record.header.test);
                    self.looks.note_share(now, share);
                }
            }
            Input::Written { entry, id, result } => self.entries.written(&entry, id, result, now),
            Input::Accompanied { entry, id, result } => self.accompanied(entry, id, result, out),
            Input::Finished { entry, result } => self.entries.finished(entry, result, now),
            Input::Looked { key, sample } => {
                if let Some(record) = self.recording.record() {
                    self.looks.answered(record, &key, sample, now);
                }
            }
            Input::Facts { source, facts } => self.questions.facts(source, facts, now),
            Input::Revisions { side, revisions } => self.questions.revisions(side, revisions, now),
            Input::Side { side, seen } => self.questions.side(side, seen),
            Input::Changed { entry } => self.entries.changed(&entry),
            Input::Gate { gate, answer } => self.questions.gate(gate, answer, now),
            Input::Spec(spec) => {
                self.spec = Some(spec);
                self.share_plan();
            }
            Input::Lease(lease) => self.lease = Some(lease),
            Input::Alerts(alerts) => self.alerts = alerts,
            Input::Request(request) => self.request(request, out),
        }
    }

    fn share_plan(&mut self) {
        if let Some(SpecSeen::Valid { plan, .. }) = &self.spec {
            self.recording.share_plan(plan);
        }
    }

    fn request(&mut self, request: Request, out: &mut Vec<Command>) {
        let known = self.recording.outcome(&request.id).cloned();
        if let Some(outcome) = known {
            out.push(Command::Answer { id: request.id, outcome });
        } else if self.requests.iter().any(|waiting| waiting.id == request.id) {
            // The same request again: one answer serves both.
        } else if self.requests.len() < INBOX_MAX {
            self.requests.push(request);
        } else {
            let why = format!("{INBOX_MAX} requests wait already; try again");
            out.push(Command::Answer { id: request.id, outcome: Outcome::Refused(why) });
        }
    }

    // --- turns ---

    fn turns(&mut self, now: Now, out: &mut Vec<Command>) {
        if self.is_nothing_left() {
            self.stopped = true;
            out.push(Command::Stop);
            return;
        }
        self.make_record(now);
        for _ in 0..TURNS_MAX {
            let more = self.turn(now, out);
            if !more && !self.raise_read_again(now, out) {
                break;
            }
        }
        self.ask(now, out);
        self.accompany(now, out);
        if self.recording.retry(now.mono) {
            out.push(Command::Load);
        }
        if let Some(swap) = self.due(now) {
            out.push(Command::Swap(swap));
        }
    }

    /// Returns the swap that is due. Before the lease was seen, none is: a record that was loaded has
    /// the term of its last writer, and would be refused as another engine's.
    fn due(&mut self, now: Now) -> Option<crate::ports::SwapRequest> {
        let term = match self.lease? {
            LeaseSeen::Held { term } => Some(term),
            LeaseSeen::Unsure | LeaseSeen::Other { .. } => None,
        };
        self.recording.due(now.mono, term)
    }

    /// Decides once. Returns whether more applies at once.
    fn turn(&mut self, now: Now, out: &mut Vec<Command>) -> bool {
        if self.recording.record().is_none() && self.recording.newer().is_none() {
            // Nothing is asked where there is no record: what was under way when it went is forgotten.
            self.wake_at = None;
            self.entries.follow(&[], None);
            self.questions.rest();
            self.looks.rest();
            return false;
        }
        self.look_around(now);
        if self.turn_by_header(now, out) {
            return false;
        }
        let Some(record) = self.recording.record() else { return false };
        let decision = decide(record, &self.seen, now);
        self.entries.forget_failures();
        if decision.superseded {
            self.superseded(out);
            return false;
        }
        let turn = (!decision.entries.is_empty()).then(|| {
            let (record, seen) = (record.clone(), self.seen.clone());
            Traced::Turn(Box::new(TracedTurn {
                record,
                seen,
                now,
                entries: decision.entries.clone(),
            }))
        });
        let looks = self.looks.take_traced(&decision.record);
        let trace =
            looks.into_iter().map(|look| Traced::Look(Box::new(look))).chain(turn).collect();
        let more = decision.wake_in == Some(Duration::ZERO);
        self.wake_at = decision.wake_in.map(|wait| now.mono + wait.max(Duration::from_millis(20)));
        self.perform(decision, trace, now, out);
        more && !self.stopped
    }

    fn perform(
        &mut self,
        decision: Decision,
        trace: Vec<Traced>,
        now: Now,
        out: &mut Vec<Command>,
    ) {
        let Decision { record, entries, effects, change, gone, .. } = decision;
        let roles = (record.header.test.clone(), record.header.home.clone());
        let mut held = Vec::new();
        for effect in effects {
            match effect {
                Effect::Lower { to, mark } => {
                    self.recording.drop_held();
                    self.entries.lower(&roles.0, to, mark, now, out);
                }
                Effect::Raise { .. } | Effect::Finish => held.push(effect),
                Effect::Release => out.push(Command::Release),
            }
        }
        if held.iter().any(|effect| matches!(effect, Effect::Raise { .. })) {
            self.entries.want_read();
        }
        self.recording.decided(record, entries, trace, held, change, now.mono);
        self.entries.hold(self.recording.holds_raise());
        if gone {
            self.stopped = true;
            out.push(Command::Delete);
            out.push(Command::Stop);
        } else if change == Change::Decided
            && let Some(swap) = self.due(now)
        {
            out.push(Command::Swap(swap));
        }
    }

    /// Requests whose outcome is recorded leave the inbox; whoever asked hears it. Before that an
    /// answer would be a promise that a crash, or somebody's edit of the record, can take back.
    fn answer_requests(&mut self, out: &mut Vec<Command>) {
        let recording = &self.recording;
        self.requests.retain(|request| {
            let Some(outcome) = recording.outcome(&request.id) else { return true };
            out.push(Command::Answer { id: request.id.clone(), outcome: outcome.clone() });
            false
        });
    }

    /// Sends a raise whose record is won, once a read that began after the decision was answered: what
    /// was decided upon may be as old as a held share's pace of reads. Returns whether it was found that
    /// the raise is not wanted any more: then the machine says what is in its way.
    fn raise_read_again(&mut self, now: Now, out: &mut Vec<Command>) -> bool {
        let is_ready = self.entries.is_read_as_wanted() && !self.entries.is_escorting();
        if self.stopped || !self.recording.has_won_raise() || !is_ready {
            return false;
        }
        let raise = self.recording.take_won_raise(now.mono);
        self.entries.hold(false);
        let Some(record) = self.recording.record() else { return false };
        match raise {
            Some((to, mark)) if may_still_raise(record, &self.seen, now) => {
                let test = record.header.test.clone();
                self.entries.raise(&test, to, mark, now, out);
                false
            }
            Some(_) | None => true,
        }
    }

    fn superseded(&mut self, out: &mut Vec<Command>) {
        self.stopped = true;
        out.push(Command::Notice(Notice::Superseded));
        out.push(Command::Stop);
    }

    // --- seeing ---

    /// Puts together what is known and fresh.
    fn look_around(&mut self, now: Now) {
        let plan = self.needs().and_then(|needs| needs.plan);
        // A record that cannot be read names its entries all the same: what was read of them is kept.
        let names: Vec<_> = match (&plan, self.recording.newer()) {
            (Some(plan), _) => plan.entries.iter().map(|entry| entry.name.clone()).collect(),
            (None, Some((header, _))) => newer::names(header),
            (None, None) => Vec::new(),
        };
        self.entries.follow(&names, plan.as_deref());
        let fresh = plan.as_ref().map_or(Duration::from_secs(30), |plan| plan.guard_interval() * 2);
        let fresh = fresh.max(self.needs().map_or(fresh, |needs| needs.read_every * 2));
        self.seen.lease = self.lease;
        self.seen.spec = self.spec.clone();
        self.entries.see(&mut self.seen, fresh + Duration::from_secs(2), now);
        self.questions.see(&mut self.seen, now);
        if let Some(record) = self.recording.record() {
            self.looks.give_up(record, now);
        }
        self.looks.see(&mut self.seen, now);
        self.seen.requests.clone_from(&self.requests);
        self.seen.alerts.clone_from(&self.alerts);
    }

    fn needs(&self) -> Option<Needs> {
        self.recording.record().map(|record| needs(record, self.spec.as_ref()))
    }

    /// Returns whether the rollout was deleted before anything was recorded of it.
    fn is_nothing_left(&self) -> bool {
        let deleted = matches!(self.spec, Some(SpecSeen::Deleted | SpecSeen::NamespaceDeleted));
        deleted && self.recording.is_absent()
    }

    /// Makes the record of a rollout that is new, once its sides are known.
    fn make_record(&mut self, now: Now) {
        if !self.recording.is_absent() {
            return;
        }
        let (Some(SpecSeen::Valid { plan, .. }), Some(LeaseSeen::Held { term })) =
            (&self.spec, self.lease)
        else {
            return;
        };
        let [home, test]: [SideName; 2] = [plan.sides[0].name.clone(), plan.sides[1].name.clone()];
        self.recording.make(Record::new(test, home, term, now));
    }

    // --- asking ---

    fn ask(&mut self, now: Now, out: &mut Vec<Command>) {
        if self.stopped {
            return;
        }
        if self.ask_by_header(now, out) {
            return;
        }
        let Some(needs) = self.needs() else { return };
        self.entries.ask(needs.read_every, now, out);
        let Some(plan) = needs.plan.clone() else {
            self.questions.rest();
            self.looks.rest();
            return;
        };
        self.ask_questions(&plan, &needs, now, out);
    }

    fn ask_questions(&mut self, plan: &Arc<Plan>, needs: &Needs, now: Now, out: &mut Vec<Command>) {
        let Some(record) = self.recording.record() else { return };
        let under_way = record.place.is_guarded().then_some(needs.read_every);
        self.questions.ask(plan, under_way, needs.checks, &needs.gates, now, out);
        if needs.checks {
            self.looks.ask(record, plan, &self.questions, now, out);
        } else if self.is_busy() {
            // The store may yet say that somebody edited the record: then the same is decided again.
            self.looks.pause();
        } else {
            self.looks.rest();
        }
    }

    // --- recording ---

    fn loaded(
        &mut self,
        loaded: Result<Option<crate::ports::Stored>, String>,
        now: Now,
        out: &mut Vec<Command>,
    ) {
        let before = self.recording.trouble().map(ToOwned::to_owned);
        self.recording.loaded(loaded, now.mono);
        self.looks.take_back(self.recording.take_lost());
        self.tell_newer(out);
        self.entries.hold(self.recording.holds_raise());
        self.tell_trouble(before, out);
        self.tell_won(out);
    }

    fn swapped(&mut self, answer: crate::ports::Swap, now: Now, out: &mut Vec<Command>) {
        if let crate::ports::Swap::Superseded { .. } = answer {
            self.superseded(out);
            return;
        }
        let before = self.recording.trouble().map(ToOwned::to_owned);
        let finish = self.recording.swapped(answer, now.mono);
        self.entries.hold(self.recording.holds_raise());
        self.tell_trouble(before, out);
        self.tell_won(out);
        if finish {
            self.entries.finish(now, out);
        }
    }

    fn tell_trouble(&self, before: Option<String>, out: &mut Vec<Command>) {
        match (before, self.recording.trouble()) {
            (None, Some(why)) => out.push(Command::Notice(Notice::StoreTrouble(why.to_owned()))),
            (Some(_), None) => out.push(Command::Notice(Notice::StoreBack)),
            (None, None) | (Some(_), Some(_)) => {}
        }
    }

    fn tell_won(&mut self, out: &mut Vec<Command>) {
        let entries: Vec<JournalEntry> = self.recording.take_tellable();
        out.extend(entries.into_iter().map(|entry| Command::Tell(Box::new(entry))));
        self.answer_requests(out);
    }
}

/// By how much the wall clock went another way than time did; `None` where it did not.
fn clock_step(before: &Now, now: &Now) -> Option<SignedDuration> {
    let passed = SignedDuration::try_from(now.mono.saturating_sub(before.mono)).ok()?;
    let by = now.wall.duration_since(before.wall).checked_sub(passed)?;
    let stepped = before.boot == now.boot && by.abs() > SignedDuration::from_secs(1);
    stepped.then_some(by)
}

/// Maps names to what is known of them.
type ByName<K, V> = BTreeMap<K, V>;
