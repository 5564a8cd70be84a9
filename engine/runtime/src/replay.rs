//! A trace, done again: the same function on the same inputs must decide the same, bit for bit; and what
//! other checks would have made of the same answers.
//!
//! It asks nobody and changes nothing. What it cannot do again (a gap, a question that was never asked) it
//! names, and never counts as the same.

use std::collections::BTreeMap;

use haldane_judge::{Rule, Together, fold, part, together_of};
use haldane_machine::decide;
use haldane_model::{Check, CheckName, Evidence, Finding, JournalEntry, Plan, Record, Verdict};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    core::show_together,
    trace::{Batch, Traced, TracedLook, TracedTurn},
};

/// How many looks back a record may be behind: others were judged while it was being stored.
const LEFT_MAX: usize = 8;

/// How a trace went when it was done again.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    /// Every decision, in order.
    pub decisions: Vec<Replayed>,
    /// How many looks were judged again.
    pub looks: u64,
    /// How many items the store never took.
    pub dropped: u64,
    /// What was not the same, a sentence each; empty: everything was.
    pub differences: Vec<String>,
}

/// One decision that was made again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replayed {
    /// The decision as it is recorded.
    pub entry: JournalEntry,
    /// Whether it was decided just so again.
    pub same: bool,
}

/// What other checks would have made of the same answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Alternative {
    /// Each check of the other plan, in its order.
    pub checks: Vec<AlternativeCheck>,
    /// The first breach, where there is one: the traffic would have gone back then.
    pub breach: Option<Finding>,
}

/// What one other check would have found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AlternativeCheck {
    /// Its name.
    pub check: CheckName,
    /// How many recorded answers it could be given.
    pub looks: u64,
    /// Why it could be given none, where it could not.
    pub not_replayed: Option<String>,
    /// What it said last.
    pub last: Option<Finding>,
    /// Its first breach.
    pub breach: Option<Finding>,
}

/// Does a trace again.
#[must_use]
pub fn replay(batches: &[Batch]) -> Replay {
    let mut again = Again::default();
    for batch in batches {
        if let Some(why) = &batch.damaged {
            again.damaged(why);
        }
        for item in &batch.items {
            match &**item {
                Traced::Look(look) => again.look(look),
                Traced::Turn(turn) => again.turn(turn),
                Traced::Gap(dropped) => again.gap(*dropped),
            }
        }
    }
    again.replay
}

/// Judges the answers of one attempt by the checks of another plan.
///
/// A recorded answer fits a check that is called the same and asks the same question. Once the recorded
/// rollout left a step, what the other plan would have seen in it is unknown: the recording ends there.
#[must_use]
pub fn alternative(batches: &[Batch], attempt: u32, plan: &Plan) -> Alternative {
    let looks: Vec<&TracedLook> = looks(batches).filter(|look| look.attempt == attempt).collect();
    let checks: Vec<_> = plan.checks.iter().map(|check| judge_again(&looks, check)).collect();
    let guards = |name: &CheckName| plan.gating().any(|check| check.name == *name);
    let breaches = checks.iter().filter(|one| guards(&one.check));
    let breach = breaches.filter_map(|one| one.breach.as_ref());
    let breach = breach.min_by_key(|finding| finding.window.end).cloned();
    Alternative { checks, breach }
}

/// Returns the looks of a trace, in order.
pub fn looks(batches: &[Batch]) -> impl Iterator<Item = &TracedLook> {
    batches.iter().flat_map(|batch| &batch.items).filter_map(|item| match &**item {
        Traced::Look(look) => Some(&**look),
        Traced::Turn(_) | Traced::Gap(_) => None,
    })
}

#[derive(Default)]
struct Again {
    /// What each check's last looks left, the newest last; empty: what is in the next record is believed.
    left: BTreeMap<CheckName, Left>,
    /// The record after the last turn that decided something.
    record: Option<Record>,
    replay: Replay,
}

/// What the last looks of one check left.
struct Left {
    attempt: u32,
    evidence: Vec<Evidence>,
}

// === impl Again ===

impl Again {
    fn look(&mut self, look: &TracedLook) {
        let none = Evidence::default();
        let last = self.left.get(&look.check).and_then(|left| left.evidence.last());
        let before = match (&look.from, last) {
            _ if look.at_rest => &none,
            (Some(from), _) => from,
            (None, Some(last)) => last,
            // What it went on from was dropped.
            (None, None) => return,
        };
        let Ok(rule) = Rule::parse(&look.rule) else {
            let why = "its rule is of another engine";
            self.replay.differences.push(format!("{} of check {}: {why}", when(look), look.check));
            return;
        };
        let folded = fold(&rule, &look.limits, &look.stage, before, &look.check, &look.sample);
        self.replay.looks += 1;
        self.leave(&look.check, look.attempt, folded.evidence);
        let mut finding = folded.finding;
        let alone = finding.verdict.is_breach() || finding.verdict == Verdict::SourceError;
        if !alone && let Some(shown) = self.together(look) {
            show_together(&mut finding, &shown);
        }
        if finding != *look.finding {
            let (now, then) = (&finding, &look.finding);
            let (mut now_told, mut then_told) = (words(now), words(then));
            if now_told == then_told {
                now_told = format!("{now:?}");
                then_told = format!("{then:?}");
            }
            self.replay.differences.push(format!(
                "{} of check {}: {now_told} now, {then_told} then",
                when(look),
                look.check,
            ));
        }
    }

    fn leave(&mut self, check: &CheckName, attempt: u32, evidence: Evidence) {
        let new = || Left { attempt, evidence: Vec::new() };
        let left = self.left.entry(check.clone()).or_insert_with(new);
        left.attempt = attempt;
        if left.evidence.len() == LEFT_MAX {
            left.evidence.remove(0);
        }
        left.evidence.push(evidence);
    }

    /// What all comparing checks show after this look, where it is the look of one of them.
    fn together(&self, look: &TracedLook) -> Option<Together> {
        if look.at_rest || look.dry_run {
            return None;
        }
        let record = self.record.as_ref()?;
        let plan = record.plan.as_ref()?;
        let none = Evidence::default();
        let asked = plan.checks.iter().filter(|one| !one.dry_run && record.is_in_force(one));
        let parts = asked.filter_map(|check| {
            let left = self.left.get(&check.name).filter(|left| left.attempt == look.attempt);
            let evidence = left.and_then(|left| left.evidence.last()).unwrap_or(&none);
            Some((&check.name, part(&Rule::parse(&check.rule).ok()?, evidence)?))
        });
        let mut parts: Vec<_> = parts.collect();
        parts.sort_by_key(|(name, _)| *name);
        parts.iter().any(|(name, _)| **name == look.check).then(|| together_of(&parts)).flatten()
    }

    fn turn(&mut self, turn: &TracedTurn) {
        let decision = decide(&turn.record, &turn.seen, turn.now);
        let same = decision.entries == turn.entries;
        for entry in &turn.entries {
            self.replay.decisions.push(Replayed { entry: entry.clone(), same });
        }
        if !same {
            let codes = |entries: &[JournalEntry]| {
                let codes = entries.iter().map(|entry| entry.reason.code());
                codes.collect::<Vec<_>>().join(", ")
            };
            self.replay.differences.push(format!(
                "{}: {} now, {} then",
                turn.now.wall,
                codes(&decision.entries),
                codes(&turn.entries)
            ));
        }
        for (check, recorded) in &decision.record.evidence {
            match self.left.get(check) {
                Some(left) if left.evidence.contains(recorded) => {}
                Some(_) => {
                    let what = format!("{}: the evidence of check {check}", turn.now.wall);
                    self.replay.differences.push(what);
                }
                None => self.leave(check, decision.record.attempt, recorded.clone()),
            }
        }
        self.record = Some(decision.record);
    }

    fn gap(&mut self, dropped: u64) {
        self.left.clear();
        self.replay.dropped += dropped;
    }

    fn damaged(&mut self, why: &str) {
        self.left.clear();
        self.replay.differences.push(why.to_owned());
    }
}

fn judge_again(looks: &[&TracedLook], check: &Check) -> AlternativeCheck {
    let mut found = AlternativeCheck {
        check: check.name.clone(),
        looks: 0,
        not_replayed: None,
        last: None,
        breach: None,
    };
    let Ok(rule) = Rule::parse(&check.rule) else {
        found.not_replayed = Some("its rule cannot be read".to_owned());
        return found;
    };
    let named = looks.iter().filter(|look| look.check == check.name && !look.at_rest);
    let asked: Vec<_> = named.clone().filter(|look| look.question == check.question).collect();
    if asked.is_empty() {
        let why = match named.count() {
            0 => "nothing was asked under this name",
            _ => "another question was asked under this name",
        };
        found.not_replayed = Some(why.to_owned());
    }
    let mut evidence = Evidence::default();
    for look in asked {
        let folded = fold(&rule, &check.limits, &look.stage, &evidence, &check.name, &look.sample);
        evidence = folded.evidence;
        found.looks += 1;
        if folded.verdict.is_breach() && found.breach.is_none() {
            found.breach = Some(folded.finding.clone());
        }
        found.last = Some(folded.finding);
    }
    found
}

fn when(look: &TracedLook) -> Timestamp {
    look.at.wall
}

fn words(finding: &Finding) -> String {
    let value = finding.value.map(|value| format!(" {value}")).unwrap_or_default();
    format!("{}{value}", finding.verdict.word())
}
