//! The looks: when each check is asked, at what window, and what the judge makes of the answer.
//!
//! A look is taken on a fixed grid in the source's time; a slot that was judged is never asked or
//! counted again.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use haldane_judge::{Part, Rule, fold, part};
use haldane_model::{
    Answer, Check, CheckName, CheckSeen, Evidence, Limits, Now, Place, Plan, Record, Sample, Seen,
    Verdict, Weight,
};
use haldane_sources::{About, Look, LookSides};
use jiff::{SignedDuration, Timestamp};

use super::{ByName, Command, LookKey, questions::Questions};
use crate::trace::TracedLook;

mod counted;
mod stage;
mod window;

pub(crate) use self::counted::show_together;
use self::window::{lowest_share, on_grid, until, window};

/// The scrape interval where the source does not tell.
const SCRAPE_DEFAULT: Duration = Duration::from_secs(15);

/// For how long shares are remembered, to know what the side under test had during a window.
const SHARES_SPAN: Duration = Duration::from_secs(600);

/// How many shares are remembered.
const SHARES_MAX: usize = 4_096;

#[derive(Debug, Default)]
pub(super) struct Looks {
    /// Boxed: a map of few keeps room for many.
    checks: ByName<CheckName, Box<Known>>,
    shares: VecDeque<(Timestamp, Option<Weight>)>,
    resting: bool,
    /// Looks that the record never took in.
    superseded: Vec<TracedLook>,
}

#[derive(Debug, Default)]
struct Known {
    asked: Option<(LookKey, Duration, Duration)>,
    last_slot: Option<Timestamp>,
    seen: Option<Arc<CheckSeen>>,
    /// The looks that `seen` rests on, as far as the record did not take them in yet: one, but where a
    /// record was lost.
    traced: Vec<TracedLook>,
    /// The evidence that the last look left.
    left: Option<Evidence>,
    /// What it brings to all comparisons together, after the look that is `seen`.
    part: Option<Part>,
    seen_at: Duration,
    fresh_for: Duration,
    rule: Option<(Arc<str>, Rule)>,
    limits: Limits,
    question: Arc<str>,
    dry_run: bool,
    /// How often it is asked: its interval, or what the scrapes allow.
    pace: Duration,
    /// How long after its end a window is looked at.
    late: Duration,
    next_at: Duration,
    ahead: SignedDuration,
    /// The scrape interval that this check's own series were last said to have.
    scrape: Option<Duration>,
    /// Whether the source told its time; else a look's moment is a guess.
    timed: bool,
}

// === impl Looks ===

impl Looks {
    /// Remembers which share the side under test was read to have.
    pub(super) fn note_share(&mut self, now: Now, share: Option<Weight>) {
        let same =
            self.shares.back().is_some_and(|(_, last)| *last == share) && self.shares.len() > 1;
        if same && self.shares.iter().rev().nth(1).is_some_and(|(_, last)| *last == share) {
            self.shares.pop_back();
        }
        self.shares.push_back((now.wall, share));
        let oldest = now.wall.checked_sub(SHARES_SPAN).unwrap_or(Timestamp::MIN);
        while self.shares.len() > SHARES_MAX
            || self.shares.get(1).is_some_and(|(at, _)| *at < oldest)
        {
            self.shares.pop_front();
        }
    }

    /// Nothing is asked now; what was answered is kept.
    pub(super) fn pause(&mut self) {
        self.resting = true;
    }

    /// Nothing is asked now, and what was answered does not matter any more.
    pub(super) fn rest(&mut self) {
        self.checks.clear();
        self.shares.clear();
        self.resting = true;
    }

    /// Asks the checks that are due.
    pub(super) fn ask(
        &mut self,
        record: &Record,
        plan: &Plan,
        questions: &Questions,
        now: Now,
        out: &mut Vec<Command>,
    ) {
        self.resting = false;
        let asked = || plan.checks.iter().filter(|check| record.is_in_force(check));
        self.checks.retain(|name, _| asked().any(|check| check.name == *name));
        for check in asked() {
            // A source says first what time it has; one that cannot is asked all the same.
            let Some(facts) = questions.source(&check.source) else { continue };
            let (ahead, longest, delay) = match facts {
                Ok(facts) => (facts.clock_ahead, facts.scrape, facts.delay),
                Err(_) => (SignedDuration::ZERO, None, Duration::ZERO),
            };
            let known = self.checks.entry(check.name.clone()).or_default();
            known.ahead = ahead;
            // What the source says of itself is the longest interval of all its targets: a look that
            // was told more was told a default.
            let told = known.scrape.into_iter().chain(longest).min();
            let scrape = told.unwrap_or(SCRAPE_DEFAULT);
            if let Some(command) = known.ask(record, plan, check, (scrape, delay), now) {
                known.timed = facts.is_ok();
                out.push(command);
            }
        }
    }

    /// Judges an answer, if it is still about this attempt.
    pub(super) fn answered(
        &mut self,
        record: &Record,
        key: &LookKey,
        mut sample: Sample,
        now: Now,
    ) {
        let shares = &self.shares;
        let Some(known) = self.checks.get_mut(&key.check) else { return };
        if known.asked.as_ref().is_none_or(|(asked, _, _)| asked != key) {
            return;
        }
        known.asked = None;
        if !is_current(record, key) {
            known.seen = None;
            known.next_at = now.mono;
            return;
        }
        if !matches!(sample.answer, Answer::Error { .. }) {
            known.scrape = Some(sample.scrape);
        }
        sample.share = lowest_share(shares, sample.window, known.ahead);
        let before = known.judge(record, key, sample, now);
        self.judge_together(record, key);
        self.trace(&key.check, before);
    }

    /// The last look of a check is judged for good: what was said of it last is what is kept.
    fn trace(&mut self, check: &CheckName, before: Vec<TracedLook>) {
        self.superseded.extend(before);
        let Some(known) = self.checks.get_mut(check) else { return };
        if let (Some(traced), Some(seen)) = (known.traced.last_mut(), &known.seen) {
            traced.finding = seen.finding.clone();
        }
    }

    /// Returns the looks of which it is known by now whether the record took them in.
    pub(super) fn take_traced(&mut self, record: &Record) -> Vec<TracedLook> {
        let mut taken = std::mem::take(&mut self.superseded);
        for known in self.checks.values_mut() {
            let (Some(seen), Some(look)) = (&known.seen, known.traced.last()) else { continue };
            let learned = record.judged_to.get(&look.check) == Some(&seen.judged_to)
                && record.evidence.get(&look.check) == Some(&seen.evidence);
            if learned {
                let looks = known.traced.drain(..);
                taken.extend(looks.map(|look| TracedLook { learned, ..look }));
            }
        }
        taken
    }

    /// The record that took these in was lost; what was found since rests on them.
    pub(super) fn take_back(&mut self, lost: Vec<TracedLook>) {
        for look in lost.into_iter().rev() {
            if let Some(known) = self.checks.get_mut(&look.check) {
                known.traced.insert(0, look);
            }
        }
    }

    /// A look that nobody answered is an answer too: the source is broken, and that is told.
    pub(super) fn give_up(&mut self, record: &Record, now: Now) {
        for known in self.checks.values_mut() {
            let lost =
                known.asked.take_if(|(_, since, deadline)| now.mono >= *since + *deadline * 2);
            let Some((key, _, _)) = lost else { continue };
            if is_current(record, &key) {
                let sample = unanswered(&key);
                self.superseded.extend(known.judge(record, &key, sample, now));
            }
        }
    }

    /// Shows the machine what is known and fresh.
    pub(super) fn see(&self, seen: &mut Seen, now: Now) {
        let fresh = self.checks.iter().filter_map(|(name, known)| {
            let fresh = now.mono <= known.seen_at + known.fresh_for;
            Some((name.clone(), known.seen.clone().filter(|_| fresh)?))
        });
        seen.checks = fresh.collect();
    }

    pub(super) fn wake_at(&self) -> Option<Duration> {
        if self.resting {
            return None;
        }
        let due = self.checks.values().map(|known| match &known.asked {
            Some((_, since, deadline)) => *since + *deadline * 2,
            None => known.next_at,
        });
        due.min()
    }
}

// === impl Known ===

impl Known {
    fn ask(
        &mut self,
        record: &Record,
        plan: &Plan,
        check: &Check,
        (scrape, delay): (Duration, Duration),
        now: Now,
    ) -> Option<Command> {
        self.read_rule(check);
        self.limits = check.limits;
        self.dry_run = check.dry_run;
        self.question = check.question.clone();
        self.late = delay.max(if self.counts() { scrape } else { Duration::ZERO });
        let pace = self.rule.as_ref().map(|(_, rule)| rule.pace(check.interval, scrape));
        self.keep_pace(pace.unwrap_or_else(|| check.interval.max(scrape)), now);
        if self.asked.is_some() || now.mono < self.next_at {
            return None;
        }
        let pace = self.pace;
        let there = self.there(now);
        let slot = on_grid(there, pace);
        let judged = record.judged_to.get(&check.name).is_some_and(|judged| *judged >= slot);
        self.next_at = now.mono + until(there, slot, pace);
        if self.last_slot == Some(slot) || judged || self.is_too_early(record, check, now) {
            return None;
        }
        self.last_slot = Some(slot);
        let window = if self.counts() {
            counted::window(record, check, pace, (slot, self.ahead))
        } else {
            window(record, plan, check, scrape, (slot, self.ahead))
        };
        let deadline = check.interval.clamp(Duration::from_secs(2), Duration::from_secs(10));
        self.fresh_for = pace * 2 + deadline;
        let key = LookKey {
            check: check.name.clone(),
            attempt: record.attempt,
            revision: record.revision.clone(),
            at_rest: is_at_rest(record),
            window,
        };
        self.asked = Some((key.clone(), now.mono, deadline));
        let sides =
            LookSides { test: record.header.test.clone(), serving: record.header.home.clone() };
        let grid = self.counts().then_some(pace);
        let before = grid.and_then(|_| counted::before(record, check));
        let about = Some(Arc::new(about(record, plan, check)));
        let look = Look { window, sides, deadline, grid, before, about };
        let (source, question) = (check.source.clone(), check.question.clone());
        Some(Command::Look { key, source, question, look })
    }

    /// Whether the check waits for its initial delay.
    fn is_too_early(&self, record: &Record, check: &Check, now: Now) -> bool {
        let phase = record.in_force.get(&check.name);
        let Some(confirmed) = phase.or(record.exposed.confirmed.as_ref()) else {
            return !check.initial_delay.is_zero() && record.exposed.could.is_some();
        };
        let since = now.wall.duration_since(confirmed.wall);
        Duration::try_from(since).unwrap_or_default() < check.initial_delay
    }

    /// Asks in time for this pace. Where it is faster than what was assumed, the next look is due
    /// sooner: it must not wait for a slot of a pace that never was.
    fn keep_pace(&mut self, pace: Duration, now: Now) {
        if pace < self.pace {
            let there = self.there(now);
            self.next_at = self.next_at.min(now.mono + until(there, on_grid(there, pace), pace));
        }
        self.pace = pace;
    }

    /// The moment up to which the source can tell: a window that is counted closes one scrape late.
    fn there(&self, now: Now) -> Timestamp {
        let there = now.wall.checked_add(self.ahead).unwrap_or(now.wall);
        there.checked_sub(self.late).unwrap_or(there)
    }

    fn compares(&self) -> bool {
        self.rule.as_ref().is_some_and(|(_, rule)| rule.compares())
    }

    fn counts(&self) -> bool {
        self.rule.as_ref().is_some_and(|(_, rule)| rule.counts())
    }

    fn read_rule(&mut self, check: &Check) {
        let known = self.rule.as_ref().is_some_and(|(text, _)| *text == check.rule);
        if !known {
            self.rule = Rule::parse(&check.rule).ok().map(|rule| (check.rule.clone(), rule));
        }
    }

    /// Judges an answer. Returns the looks before it that the record never took in.
    fn judge(
        &mut self,
        record: &Record,
        key: &LookKey,
        sample: Sample,
        now: Now,
    ) -> Vec<TracedLook> {
        let Some((text, rule)) = &self.rule else { return Vec::new() };
        let none = Evidence::default();
        // Before an attempt nothing is remembered: what is looked at is not the new revision yet.
        let evidence = match is_at_rest(record) {
            true => &none,
            false => record.evidence.get(&key.check).unwrap_or(&none),
        };
        let stage = stage::stage(record, &key.check, self.ahead);
        let folded = fold(rule, &self.limits, &stage, evidence, &key.check, &sample);
        self.part = part(rule, &folded.evidence);
        let finding = Arc::new(folded.finding);
        let from = (self.left.as_ref() != Some(evidence)).then(|| evidence.clone());
        self.left = Some(folded.evidence.clone());
        self.seen = Some(Arc::new(CheckSeen {
            verdict: folded.verdict,
            evidence: folded.evidence,
            judged_to: if self.timed && folded.verdict != Verdict::SourceError {
                key.window.end
            } else {
                just_after(record, key)
            },
            window: if rule.counts() {
                counted::rests_on(&stage, key, self.pace)
            } else {
                key.window
            },
            finding: finding.clone(),
            revision: key.revision.clone(),
            attempt: key.attempt,
            at_rest: key.at_rest,
        }));
        self.seen_at = now.mono;
        let look = TracedLook {
            check: key.check.clone(),
            attempt: key.attempt,
            revision: key.revision.clone(),
            at_rest: key.at_rest,
            at: now,
            window: key.window,
            question: self.question.clone(),
            rule: text.clone(),
            limits: self.limits,
            stage,
            dry_run: self.dry_run,
            from,
            before: evidence.clone(),
            sample,
            finding,
            learned: false,
        };
        std::mem::replace(&mut self.traced, vec![look])
    }
}

/// Up to when a look judges whose moment may come from a clock that the source never confirmed, or
/// whose answer is broken: it is news, but it must not hide later looks.
fn just_after(record: &Record, key: &LookKey) -> Timestamp {
    let next = |judged: &Timestamp| judged.checked_add(SignedDuration::from_millis(1)).ok();
    let before = record.judged_to.get(&key.check);
    before.and_then(next).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Whether a look is still about this attempt.
fn is_current(record: &Record, key: &LookKey) -> bool {
    key.attempt == record.attempt
        && key.revision == record.revision
        && key.at_rest == is_at_rest(record)
}

/// What a look that was not answered in time amounts to.
fn unanswered(key: &LookKey) -> Sample {
    Sample {
        window: key.window,
        scrape: SCRAPE_DEFAULT,
        share: None,
        answer: Answer::Error { message: "no answer in time".to_owned(), retryable: true },
        count: None,
        serving_count: None,
        targets_down: false,
    }
}

fn is_at_rest(record: &Record) -> bool {
    matches!(record.place, Place::Pending { .. })
}

/// What a look is taken for.
fn about(record: &Record, plan: &Plan, check: &Check) -> About {
    let step = match &record.place {
        Place::Waiting { step, .. } | Place::Shifting { step, .. } | Place::Baking { step, .. } => {
            Some(step + 1)
        }
        Place::Promoting { .. } | Place::Watching { .. } => Some(plan.steps.len()),
        Place::Pending { .. }
        | Place::Healthy
        | Place::RollingBack { .. }
        | Place::Degraded { .. } => None,
    };
    About {
        check: check.name.clone(),
        revision: record.revision.clone(),
        attempt: record.attempt,
        step,
        weight: record.asserted(),
    }
}
