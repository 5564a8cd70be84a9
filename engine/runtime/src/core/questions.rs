//! What is asked besides the split and the checks: sources about themselves, sides about their
//! revision, gates whether they are open.

use std::{collections::BTreeMap, time::Duration};

use haldane_model::{
    Gate, GateAnswer, GateName, Now, Plan, Revision, Seen, SideName, SideSeen, SourceName,
};
use haldane_sources::SourceFacts;
use jiff::SignedDuration;

use super::{ByName, Command};

/// A question that has not been answered for this long is asked again.
const LOST: Duration = Duration::from_secs(10);

/// After how long an answer is of no use.
const DEADLINE: Duration = Duration::from_secs(5);

/// How often a source is asked about itself; sooner where it did not answer.
const FACTS_EVERY: Duration = Duration::from_secs(60);
const FACTS_RETRY: Duration = Duration::from_secs(5);

/// How soon, and how often at first, a source is asked again that does not say how often it scrapes: one
/// that just started has no targets yet, and the pace of the guards hangs on it.
const SCRAPE_RETRY: Duration = Duration::from_secs(2);
const SCRAPE_RETRIES_MAX: u32 = 15;

/// How often a side is asked at rest which revision it shows.
const REVISIONS_AT_REST: Duration = Duration::from_secs(10);
/// The shortest pause between two such questions under way, where they are asked as often as the split
/// is read.
const REVISIONS_UNDER_WAY: Duration = Duration::from_secs(2);

/// How often a gate is asked.
const GATE_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Asked<T> {
    asked_at: Option<Duration>,
    answered_at: Option<Duration>,
    answer: Option<T>,
    /// When `answer` was heard: what failed since makes it no younger.
    heard_at: Option<Duration>,
    times: u32,
    /// Whether a question is under way whose answer is of no use: our clock was stepped meanwhile.
    void: bool,
}

#[derive(Debug, Default)]
pub(super) struct Questions {
    sources: ByName<SourceName, Asked<Result<SourceFacts, String>>>,
    sides: ByName<SideName, Asked<Vec<Revision>>>,
    gates: ByName<GateName, Asked<GateAnswer>>,
    /// What the sides' workloads tell.
    workloads: BTreeMap<SideName, SideSeen>,
    wake_at: Option<Duration>,
}

// === impl Questions ===

impl Questions {
    /// Asks what is due. `under_way`: how often the split is read while an attempt is.
    pub(super) fn ask(
        &mut self,
        plan: &Plan,
        under_way: Option<Duration>,
        checks: bool,
        gates: &[Gate],
        now: Now,
        out: &mut Vec<Command>,
    ) {
        self.wake_at = None;
        if checks {
            for source in &plan.sources {
                let asked = self.sources.entry(source.name.clone()).or_default();
                if asked.is_due(asked.facts_every(), now.mono) {
                    let source = source.name.clone();
                    out.push(Command::Facts { source, deadline: DEADLINE });
                }
            }
        }
        let pace = under_way.unwrap_or(REVISIONS_AT_REST);
        let pace = pace.clamp(REVISIONS_UNDER_WAY, REVISIONS_AT_REST);
        for side in &plan.sides {
            let Some(question) = &side.revision_query else { continue };
            if self.sides.entry(side.name.clone()).or_default().is_due(pace, now.mono) {
                let (side, question) = (side.name.clone(), question.clone());
                out.push(Command::Revisions { side, question, deadline: DEADLINE });
            }
        }
        for gate in gates {
            if self.gates.entry(gate.name.clone()).or_default().is_due(GATE_EVERY, now.mono) {
                out.push(Command::Gate(gate.clone()));
            }
        }
        self.gates.retain(|name, _| gates.iter().any(|gate| gate.name == *name));
        self.sides.retain(|name, _| plan.sides.iter().any(|side| side.name == *name));
        self.workloads.retain(|name, _| {
            plan.sides.iter().any(|side| side.name == *name && side.workload.is_some())
        });
        self.plan_wake(pace, checks);
    }

    fn plan_wake(&mut self, pace: Duration, checks: bool) {
        let sides = self.sides.values().map(|asked| asked.due_at(pace));
        let gates = self.gates.values().map(|asked| asked.due_at(GATE_EVERY));
        let sources = self.sources.values().filter(|_| checks);
        let sources = sources.map(|asked| asked.due_at(asked.facts_every()));
        self.wake_at = sides.chain(gates).chain(sources).min();
    }

    pub(super) fn facts(
        &mut self,
        source: SourceName,
        facts: Result<SourceFacts, String>,
        now: Now,
    ) {
        let asked = self.sources.entry(source).or_default();
        // What it compares our clock with is gone; the question was asked again.
        if std::mem::take(&mut asked.void) {
            return;
        }
        // What a source said of itself stays true while it is silent.
        let keep = facts.is_err() && matches!(asked.answer, Some(Ok(_)));
        asked.answered(if keep { None } else { Some(facts) }, now.mono);
    }

    pub(super) fn revisions(
        &mut self,
        side: SideName,
        revisions: Result<Vec<Revision>, String>,
        now: Now,
    ) {
        let asked = self.sides.entry(side).or_default();
        asked.answered(revisions.ok(), now.mono);
    }

    pub(super) fn side(&mut self, side: SideName, seen: SideSeen) {
        self.workloads.insert(side, seen);
    }

    pub(super) fn gate(&mut self, gate: GateName, answer: GateAnswer, now: Now) {
        self.gates.entry(gate).or_default().answered(Some(answer), now.mono);
    }

    /// Returns what a source said of itself; `None` until it was heard, or not, once.
    pub(super) fn source(&self, name: &SourceName) -> Option<&Result<SourceFacts, String>> {
        self.sources.get(name).and_then(|asked| asked.answer.as_ref())
    }

    /// Shows the machine what is known and fresh.
    pub(super) fn see(&self, seen: &mut Seen, now: Now) {
        let known = self.sources.iter().filter_map(|(name, asked)| match &asked.answer {
            Some(Ok(facts)) => Some((name.clone(), facts.clock_ahead)),
            Some(Err(_)) | None => None,
        });
        seen.clocks = known.collect();
        seen.sides = self
            .sides
            .iter()
            .map(|(name, asked)| {
                let fresh = asked.fresh(REVISIONS_AT_REST * 2 + DEADLINE, now.mono).cloned();
                (name.clone(), SideSeen { revisions: fresh, ..SideSeen::default() })
            })
            .collect::<BTreeMap<_, _>>();
        for (name, told) in &self.workloads {
            let side = seen.sides.entry(name.clone()).or_default();
            side.health = told.health;
            side.why.clone_from(&told.why);
            // A query that a person wrote says more than a hash of what was applied.
            side.revisions = side.revisions.take().or_else(|| told.revisions.clone());
        }
        let gates = self.gates.iter().filter_map(|(name, asked)| {
            Some((name.clone(), asked.fresh(GATE_EVERY * 2 + DEADLINE, now.mono)?.clone()))
        });
        seen.gates = gates.collect();
    }

    /// Our wall clock was stepped by this much: the sources' are ahead by so much less. They are
    /// asked again; until they answer no look may reach into what is their future.
    pub(super) fn clock_stepped(&mut self, by: SignedDuration) {
        for asked in self.sources.values_mut() {
            if let Some(Ok(facts)) = &mut asked.answer {
                facts.clock_ahead = facts.clock_ahead.saturating_sub(by);
            }
            asked.void |= asked.asked_at.is_some();
            asked.asked_at = None;
            asked.answered_at = None;
        }
    }

    /// Nothing is asked now.
    pub(super) fn rest(&mut self) {
        self.wake_at = None;
    }

    pub(super) fn wake_at(&self) -> Option<Duration> {
        self.wake_at
    }
}

// === impl Asked ===

impl<T> Default for Asked<T> {
    fn default() -> Self {
        Self {
            asked_at: None,
            answered_at: None,
            answer: None,
            heard_at: None,
            times: 0,
            void: false,
        }
    }
}

impl Asked<Result<SourceFacts, String>> {
    fn facts_every(&self) -> Duration {
        match &self.answer {
            Some(Ok(SourceFacts { scrape: Some(_), .. })) => FACTS_EVERY,
            Some(Ok(_)) if self.times < SCRAPE_RETRIES_MAX => SCRAPE_RETRY,
            Some(Ok(_)) => FACTS_EVERY,
            Some(Err(_)) | None => FACTS_RETRY,
        }
    }
}

impl<T> Asked<T> {
    /// Returns whether it is to be asked now, and notes that it is.
    fn is_due(&mut self, every: Duration, now: Duration) -> bool {
        let due = now >= self.due_at(every);
        if due {
            self.asked_at = Some(now);
            self.times = self.times.saturating_add(1);
        }
        due
    }

    fn due_at(&self, every: Duration) -> Duration {
        match (self.asked_at, self.answered_at) {
            (Some(asked), _) => asked + LOST,
            (None, Some(answered)) => answered + every,
            (None, None) => Duration::ZERO,
        }
    }

    fn answered(&mut self, answer: Option<T>, now: Duration) {
        self.asked_at = None;
        self.answered_at = Some(now);
        if answer.is_some() {
            self.answer = answer;
            self.heard_at = Some(now);
        }
    }

    fn fresh(&self, limit: Duration, now: Duration) -> Option<&T> {
        let fresh = self.heard_at.is_some_and(|at| now <= at + limit);
        self.answer.as_ref().filter(|_| fresh)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_question_that_fails_since_makes_its_old_answer_no_younger() {
        let (limit, at) = (Duration::from_secs(10), Duration::from_secs);
        let mut asked = Asked::default();
        asked.answered(Some("v2"), at(100));
        for failed in 101..=110 {
            asked.answered(None, at(failed));
            assert_eq!(asked.fresh(limit, at(failed)), Some(&"v2"));
        }
        asked.answered(None, at(111));
        assert_eq!(asked.fresh(limit, at(111)), None);
    }

    #[test]
    fn an_answer_that_our_clocks_step_overtook_is_not_believed() {
        let source = SourceName::from("main");
        let told = |secs| {
            let clock_ahead = SignedDuration::from_secs(secs);
            Ok(SourceFacts { clock_ahead, scrape: None, delay: Duration::ZERO })
        };
        let ahead = |questions: &Questions| match questions.source(&SourceName::from("main")) {
            Some(Ok(facts)) => facts.clock_ahead.as_secs(),
            other => panic!("{other:?}"),
        };
        let now =
            |secs| Now { wall: Timestamp::UNIX_EPOCH, mono: Duration::from_secs(secs), boot: 1 };
        let mut questions = Questions::default();
        let asks = |questions: &mut Questions, at| {
            let asked = questions.sources.entry(source.clone()).or_default();
            asked.is_due(FACTS_EVERY, Duration::from_secs(at))
        };
        assert!(asks(&mut questions, 1));
        questions.facts(source.clone(), told(-7), now(2));
        assert!(asks(&mut questions, 70));
        questions.clock_stepped(SignedDuration::from_secs(3_600));
        assert_eq!(ahead(&questions), -3_607);
        assert!(asks(&mut questions, 71), "it is asked again at once");
        questions.facts(source.clone(), told(-7), now(72));
        assert_eq!(ahead(&questions), -3_607, "measured on the clock that is gone");
        questions.facts(source.clone(), told(-3_608), now(73));
        assert_eq!(ahead(&questions), -3_608);
    }
}
