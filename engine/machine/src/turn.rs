//! One turn: the record before, the record being made, and what is to be done.
//!
//! Nothing is decided here; this is the paper that the other files write on.

use std::{collections::BTreeSet, time::Duration};

use haldane_model::{
    Actor, Alert, AlertAction, AlertSeen, Block, Cause, EntryName, Evidence, Exposure, Finding,
    Ground, Hold, HoldKind, JournalEntry, LeaseSeen, Mark, Now, Outcome, Place, Reason, Record,
    Request, Seen, SourceName, Stamp, Tick, Weight,
};
use jiff::Timestamp;

use crate::{Change, Decision, Effect};

/// How often a rollout is looked at when nothing happens.
const RESYNC: Duration = Duration::from_secs(30);

/// How many answers to requests, and how many alerts, a record keeps.
const REMEMBERED_MAX: usize = 64;

/// One turn under way.
pub(crate) struct Turn<'a> {
    /// The record as it was.
    pub(crate) before: &'a Record,
    /// The record as it will be.
    pub(crate) record: Record,
    /// What is seen.
    pub(crate) seen: &'a Seen,
    /// When.
    pub(crate) now: Now,
    /// What keeps the rollout from going on, this turn.
    pub(crate) blocks: BTreeSet<Block>,
    entries: Vec<JournalEntry>,
    effects: Vec<Effect>,
    wake_in: Option<Duration>,
    /// Words for blocks that are told for the first time.
    words: Vec<(Block, String, Option<Finding>)>,
    moved: bool,
    decided: bool,
    gone: bool,
}

// === impl Turn ===

impl<'a> Turn<'a> {
    pub(crate) fn new(before: &'a Record, seen: &'a Seen, now: Now) -> Self {
        Self {
            before,
            record: before.clone(),
            seen,
            now,
            blocks: BTreeSet::new(),
            entries: Vec::new(),
            effects: Vec::new(),
            wake_in: None,
            words: Vec::new(),
            moved: false,
            decided: false,
            gone: false,
        }
    }

    /// Takes moments that lie in the future as this one: they were noted before the wall clock was set
    /// back, and nothing may wait until it has caught up with them.
    pub(crate) fn heal_clock(&mut self) {
        let now = self.stamp();
        let exposed = &mut self.record.exposed;
        let mut moments: Vec<&mut Stamp> =
            exposed.could.iter_mut().chain(exposed.confirmed.iter_mut()).collect();
        moments.extend(self.record.in_force.values_mut());
        match &mut self.record.place {
            Place::Shifting { restore, .. } | Place::Watching { restore, .. } => {
                moments.extend(restore.iter_mut());
            }
            Place::Baking { from, done_at, .. } => {
                moments.push(from);
                moments.extend(done_at.iter_mut());
            }
            Place::Waiting { since, .. } => *since = (*since).min(now.wall),
            Place::Pending { .. }
            | Place::Promoting { .. }
            | Place::Healthy
            | Place::RollingBack { .. }
            | Place::Degraded { .. } => {}
        }
        for moment in moments {
            if moment.wall > now.wall {
                moment.clone_from(&now);
            }
        }
    }

    /// Forgets the word of an older engine that put the traffic back, where there is none to put back:
    /// what is asserted there is 0 already.
    pub(crate) fn heed_header(&mut self) {
        if !self.record.place.is_guarded() && self.record.header.lowered.take().is_some() {
            self.decided = true;
        }
    }

    /// Returns whether another engine holds the lease, or held it since ours was granted.
    pub(crate) fn is_superseded(&self) -> bool {
        match self.seen.lease {
            Some(LeaseSeen::Other { .. }) => true,
            Some(LeaseSeen::Held { term }) => term < self.record.term,
            Some(LeaseSeen::Unsure) | None => false,
        }
    }

    /// Takes the record over into our own, newer term.
    pub(crate) fn take_over(&mut self) {
        if let Some(LeaseSeen::Held { term }) = self.seen.lease
            && term > self.record.term
        {
            self.record.term = term;
            self.tell(Reason::TookOver, Actor::Engine, None, None);
        }
    }

    // --- telling ---

    /// Writes a journal entry; a turn with one is a decision.
    pub(crate) fn tell(
        &mut self,
        reason: Reason,
        actor: Actor,
        finding: Option<Finding>,
        detail: Option<String>,
    ) {
        let cause = match self.record.place {
            Place::RollingBack { cause, .. } | Place::Degraded { cause } => Some(cause),
            Place::Pending { .. }
            | Place::Waiting { .. }
            | Place::Shifting { .. }
            | Place::Baking { .. }
            | Place::Promoting { .. }
            | Place::Watching { .. }
            | Place::Healthy => None,
        };
        self.entries.push(JournalEntry {
            id: self.record.next_entry,
            at: self.now.wall,
            attempt: self.record.attempt,
            revision: self.record.revision.clone(),
            step: self.before.step().or_else(|| self.record.step()),
            weight: self.record.asserted(),
            before: self.before.state(),
            after: self.record.state(),
            reason,
            cause,
            actor,
            finding,
            detail,
        });
        self.record.next_entry += 1;
        self.decided = true;
    }

    /// Notes that something keeps the rollout from going on; told once while it lasts.
    pub(crate) fn block(&mut self, block: Block, words: impl Into<String>) {
        self.block_with(block, words, None);
    }

    /// Like [`Self::block`], with the measurement behind it.
    pub(crate) fn block_with(
        &mut self,
        block: Block,
        words: impl Into<String>,
        finding: Option<&Finding>,
    ) {
        if self.blocks.insert(block) {
            self.words.push((block, words.into(), finding.cloned()));
        }
    }

    // --- moving ---

    /// Returns whether the place was changed this turn; it is changed at most once.
    pub(crate) fn has_moved(&self) -> bool {
        self.moved
    }

    /// Goes to another place.
    pub(crate) fn go(&mut self, place: Place) {
        self.record.place = place;
        self.moved = true;
        self.decided = true;
        self.wake_in = Some(Duration::ZERO);
    }

    /// Begins a rollback: the first effect of the turn is the lowering write, unless the home side
    /// is known dead.
    pub(crate) fn roll_back(&mut self, cause: Cause, out_of: Ground) {
        self.effects.clear();
        self.record.header.lowered = None;
        let mark = Mark::rollback(self.next_number());
        let names: Vec<EntryName> = self.entry_names().cloned().collect();
        self.record.marks = names.into_iter().map(|name| (name, mark)).collect();
        self.go(Place::RollingBack { cause, since: self.now.wall, out_of });
        self.wake(Duration::from_millis(100));
        if self.is_home_dead() {
            self.block(Block::RollbackBlocked, "no endpoint of the other side is ready");
        } else {
            self.effects.push(Effect::Lower { to: Weight::ZERO, mark });
        }
    }

    /// Asks for a lowering write to what is asserted, under the signature that is known here.
    pub(crate) fn lower(&mut self, to: Weight) {
        let mark = self.known_mark();
        self.effects.push(Effect::Lower { to, mark });
        self.wake(Duration::from_millis(500));
    }

    /// Asks for a raising write; it goes out only if this turn's record is won.
    pub(crate) fn raise(&mut self, to: Weight) {
        let mark = self.known_mark();
        self.effects.push(Effect::Raise { to, mark });
        self.decided = true;
        self.wake(Duration::from_millis(500));
    }

    /// Asks for the clean-up; it goes out only if this turn's record is won.
    pub(crate) fn clean_up(&mut self) {
        self.effects.push(Effect::Finish);
        self.decided = true;
    }

    /// Lets the rollout go, with everything of ours but the weights.
    pub(crate) fn release(&mut self) {
        self.effects.push(Effect::Release);
        self.gone = true;
        self.decided = true;
    }

    /// Looks again after at most this long.
    pub(crate) fn wake(&mut self, wait: Duration) {
        self.wake_in = Some(self.wake_in.map_or(wait, |sooner| sooner.min(wait)));
    }

    // --- marks ---

    /// Returns the number of the next decision: above every number known or read.
    pub(crate) fn next_number(&self) -> u64 {
        let known = self.record.marks.values().map(|mark| mark.number);
        let read = self.readings().filter_map(|(_, reading)| reading.mark.map(|mark| mark.number));
        known.chain(read).fold(self.record.version, u64::max) + 1
    }

    /// Returns the signature that the entries carry, making one where there is none.
    fn known_mark(&mut self) -> Mark {
        if let Some(mark) = self.record.marks.values().max_by_key(|mark| mark.number) {
            return *mark;
        }
        let mark = Mark::raise(self.next_number());
        self.sign(mark);
        mark
    }

    /// Makes this the signature of every entry.
    pub(crate) fn sign(&mut self, mark: Mark) {
        let names: Vec<EntryName> = self.entry_names().cloned().collect();
        self.record.marks = names.into_iter().map(|name| (name, mark)).collect();
    }

    // --- remembering ---

    /// Remembers how a request was answered.
    pub(crate) fn answer(&mut self, request: &Request, outcome: Outcome) {
        if let Outcome::Refused(why) = &outcome {
            let detail = format!("{} refused: {why}", request.verb.word());
            self.tell(Reason::RequestRefused, request.actor.clone(), None, Some(detail));
        }
        self.record.requests.push((request.id.clone(), outcome));
        let surplus = self.record.requests.len().saturating_sub(REMEMBERED_MAX);
        self.record.requests.drain(..surplus);
        self.decided = true;
    }

    /// Returns the requests that have no answer yet.
    pub(crate) fn open_requests(&self) -> impl Iterator<Item = &'a Request> + use<'a> {
        let answered: Vec<_> = self.record.requests.iter().map(|(id, _)| id.clone()).collect();
        self.seen.requests.iter().filter(move |request| !answered.contains(&request.id))
    }

    /// Remembers that an alert took effect.
    pub(crate) fn remember_alert(&mut self, alert: &AlertSeen, action: AlertAction) {
        self.record.alerts.push(Alert {
            fingerprint: alert.fingerprint.clone(),
            starts_at: alert.starts_at,
            action,
        });
        let surplus = self.record.alerts.len().saturating_sub(REMEMBERED_MAX);
        self.record.alerts.drain(..surplus);
        self.decided = true;
    }

    /// Returns whether an alert took effect already.
    pub(crate) fn knows_alert(&self, alert: &AlertSeen) -> bool {
        self.record.alerts.iter().any(|known| {
            known.fingerprint == alert.fingerprint && known.starts_at == alert.starts_at
        })
    }

    /// Puts a hold on; nothing where one of its kind is on already. Returns whether it is new.
    pub(crate) fn hold(&mut self, kind: HoldKind, actor: Actor) -> bool {
        if self.record.hold(kind).is_some() {
            return false;
        }
        self.record.holds.push(Hold { kind, since: self.now.wall, actor });
        self.decided = true;
        true
    }

    /// Takes holds off. Returns whether there were any.
    pub(crate) fn unhold(&mut self, ends: impl Fn(HoldKind) -> bool) -> bool {
        let count = self.record.holds.len();
        self.record.holds.retain(|hold| !ends(hold.kind));
        let ended = self.record.holds.len() < count;
        self.decided |= ended;
        ended
    }

    /// Returns this moment, on every clock that is known.
    pub(crate) fn stamp(&self) -> Stamp {
        let sources = self
            .seen
            .clocks
            .iter()
            .map(|(name, ahead)| {
                let there = self.now.wall.checked_add(*ahead).unwrap_or(self.now.wall);
                (name.clone(), there)
            })
            .collect();
        Stamp { wall: self.now.wall, sources }
    }

    /// Returns a moment on a source's clock. Where the source had not told its time by then, what it
    /// tells now is used: else a source an hour behind would look like one that was never asked.
    pub(crate) fn moment(&self, stamp: &Stamp, source: &SourceName) -> Timestamp {
        let ahead = self.seen.clocks.get(source).filter(|_| !stamp.sources.contains_key(source));
        let there = ahead.and_then(|ahead| stamp.wall.checked_add(*ahead).ok());
        there.unwrap_or_else(|| stamp.of(source))
    }

    /// Returns the moment a while ago.
    pub(crate) fn ago(&self, span: Duration) -> Timestamp {
        self.now.wall.checked_sub(span).unwrap_or(Timestamp::MIN)
    }

    /// Forgets everything that was learned about a revision: a new attempt begins from nothing.
    pub(crate) fn forget(&mut self) {
        self.record.evidence.clear();
        self.record.judged_to.clear();
        self.record.in_force.clear();
        self.record.expected = None;
        self.record.waivers.clear();
        self.record.exposed = Exposure::default();
    }

    /// Takes a check's new evidence in; slots that were judged before are ignored.
    pub(crate) fn learn(&mut self) {
        for (name, check) in &self.seen.checks {
            if self.is_new(name, check) {
                let evidence: Evidence = check.evidence.clone();
                self.record.evidence.insert(name.clone(), evidence);
                self.record.judged_to.insert(name.clone(), check.judged_to);
            }
        }
    }

    // --- ending ---

    /// Ends the turn: tells what is new among the blocks, and says how much changed.
    pub(crate) fn finish(mut self) -> Decision {
        for (block, words, finding) in std::mem::take(&mut self.words) {
            if !self.record.told.contains(&block) {
                self.tell(block.reason(), Actor::Engine, finding, Some(words));
            }
        }
        if self.record.told != self.blocks {
            self.record.told = std::mem::take(&mut self.blocks);
        }
        let counting = self.record.ticked.counting;
        self.record.ticked = Tick { now: self.now, counting };
        let at_rest = self.record.place.is_at_rest() && !self.is_pending();
        let change = if self.decided || self.record.told != self.before.told {
            Change::Decided
        } else if at_rest {
            Change::Nothing
        } else {
            Change::Progress
        };
        self.wake(RESYNC);
        Decision {
            record: self.record,
            entries: self.entries,
            effects: self.effects,
            wake_in: if self.gone { None } else { self.wake_in },
            change,
            superseded: false,
            gone: self.gone,
        }
    }

    /// Ends the turn with nothing done: another engine has taken over.
    pub(crate) fn stop(self) -> Decision {
        Decision {
            record: self.before.clone(),
            entries: Vec::new(),
            effects: Vec::new(),
            wake_in: None,
            change: Change::Nothing,
            superseded: true,
            gone: false,
        }
    }
}
