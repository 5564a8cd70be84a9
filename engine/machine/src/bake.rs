//! Bake is accumulated, not subtracted: an interval counts only if the share was confirmed at both
//! ends, the guards answered, and nothing stopped it.

use std::time::Duration;

use haldane_model::{
    Actor, Check, CheckSeen, Finding, Place, Reason, Step, Verdict, Waiver, WaiverKind, Weight,
};

use crate::turn::Turn;

/// How long after the first exposure a check may be silent because it was not asked yet.
const FIRST_ANSWER: Duration = Duration::from_secs(15);

/// Takes new evidence in and lets time pass.
pub(crate) fn count(turn: &mut Turn<'_>) {
    failures(turn);
    turn.learn();
    progress(turn);
    let counting = is_counting(turn);
    let passed = turn.now.since(&turn.before.ticked.now);
    let counts = counting && turn.before.ticked.counting;
    turn.record.ticked.counting = counting;
    let stamp = turn.stamp();
    let length = turn.step().map(|step| step.bake);
    let longest = turn.step().and_then(|step| step.max_bake);
    match &mut turn.record.place {
        Place::Baking { baked, done_at, .. } => {
            let ran_out = |baked| longest.is_some_and(|longest| baked >= longest);
            let before = *baked;
            if counts {
                *baked += passed;
            }
            if done_at.is_none() && length.is_some_and(|length| *baked >= length) {
                *done_at = Some(stamp);
            }
            let left = length.unwrap_or_default().saturating_sub(*baked);
            if ran_out(*baked) && !ran_out(before) {
                turn.wake(Duration::ZERO);
            } else if counting && !left.is_zero() {
                turn.wake(left);
            }
        }
        Place::Watching { watched, .. } => {
            if counts {
                *watched += passed;
            }
        }
        Place::Pending { .. }
        | Place::Waiting { .. }
        | Place::Shifting { .. }
        | Place::Promoting { .. }
        | Place::Healthy
        | Place::RollingBack { .. }
        | Place::Degraded { .. } => {}
    }
}

/// Tells failures that stay within their limit.
fn failures(turn: &mut Turn<'_>) {
    let within = Verdict::Fail { breach: false };
    if !turn.record.place.is_guarded() || !turn.any_verdict(|verdict| verdict == within) {
        return;
    }
    let failed: Vec<_> = turn
        .guards()
        .into_iter()
        .filter_map(|(check, seen)| {
            let seen = seen?;
            (seen.verdict == within && turn.is_new(&check.name, seen))
                .then(|| (*seen.finding).clone())
        })
        .collect();
    for finding in failed {
        turn.tell(Reason::CheckFailed, Actor::Engine, Some(finding), None);
    }
}

/// Counts towards the progress deadline, a person's holds and manual gates excluded.
fn progress(turn: &mut Turn<'_>) {
    let runs = turn.is_pending() || turn.record.place.is_guarded();
    let waits = matches!(turn.record.place, Place::Waiting { .. }) && turn.has_manual_gate();
    if runs && !waits && !turn.is_held_by_person() {
        turn.record.progressed += turn.now.since(&turn.before.ticked.now);
    }
    // Holds were put on before time was counted: what just ran out is looked at again at once.
    let deadline = turn.plan().map(|plan| plan.progress_deadline);
    let ran_out = |progressed| deadline.is_some_and(|deadline| progressed >= deadline);
    if ran_out(turn.record.progressed) && !ran_out(turn.before.progressed) {
        turn.wake(Duration::ZERO);
    }
}

/// Whether time counts from here on.
pub(crate) fn is_counting(turn: &Turn<'_>) -> bool {
    match &turn.record.place {
        Place::Baking { .. } | Place::Watching { restore: None, .. } => {
            let share = turn.record.asserted();
            turn.is_confirmed(share) && !turn.is_bake_stopped() && are_answered(turn, share)
        }
        Place::Watching { restore: Some(_), .. }
        | Place::Pending { .. }
        | Place::Waiting { .. }
        | Place::Shifting { .. }
        | Place::Promoting { .. }
        | Place::Healthy
        | Place::RollingBack { .. }
        | Place::Degraded { .. } => false,
    }
}

/// Whether the checks that are due were answered.
fn are_answered(turn: &Turn<'_>, share: Weight) -> bool {
    turn.guards().into_iter().all(|(check, seen)| match seen {
        Some(seen) => turn.counts_as_answer(seen.verdict, share),
        None => !is_due(turn, check),
    })
}

/// Whether a check must have been answered by now.
fn is_due(turn: &Turn<'_>, check: &Check) -> bool {
    let begin = match &turn.record.place {
        Place::Baking { from, .. } => from.wall,
        Place::Watching { .. }
        | Place::Pending { .. }
        | Place::Waiting { .. }
        | Place::Shifting { .. }
        | Place::Promoting { .. }
        | Place::Healthy
        | Place::RollingBack { .. }
        | Place::Degraded { .. } => return true,
    };
    turn.ago(check.initial_delay + check.interval + FIRST_ANSWER) >= begin
}

// === when a step is done ===

/// Why a step is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Every gating check passed on the step's own bake.
    Passed,
    /// It was held for its time and no guard fails: at 0 and at 100 %.
    Held,
    /// A person, or a policy, said so.
    Waived(Waiver),
}

/// Returns whether, and why, the step that bakes is done.
pub(crate) fn done(turn: &Turn<'_>) -> Option<Done> {
    let Place::Baking { step, done_at, .. } = &turn.record.place else { return None };
    let waiver = turn.record.waivers.iter().find(|waiver| waiver.step == *step);
    if let Some(waiver) = waiver {
        let now = match waiver.kind {
            WaiverKind::Promote { .. } => true,
            WaiverKind::Policy => holding(turn).is_none(),
            WaiverKind::Skip => done_at.is_some(),
            WaiverKind::Open { .. } => false,
        };
        if now {
            return Some(Done::Waived(waiver.clone()));
        }
    }
    done_at.as_ref()?;
    let plan = turn.plan()?;
    let share = plan.weight(*step);
    if plan.unanalysed {
        return Some(Done::Held);
    }
    if share == Weight::FULL {
        return turn.is_no_guard_failing().then_some(Done::Held);
    }
    let guards = turn.guards();
    if share > Weight::ZERO {
        return has_passed(turn, &guards).then_some(Done::Passed);
    }
    // Nobody has traffic here: time is enough, but for checks that are asked here for its sake.
    let own = |guard: &Guard<'_, '_>| !guard.0.during.is_background();
    let own: Vec<_> = guards.into_iter().filter(own).collect();
    let done = if own.is_empty() { Done::Held } else { Done::Passed };
    let passed = own.is_empty() || has_passed(turn, &own);
    (passed && turn.is_no_guard_failing()).then_some(done)
}

/// A gating check, and its latest verdict.
type Guard<'a, 'b> = (&'a Check, Option<&'b CheckSeen>);

/// Whether the latest verdict of every one of these checks is a Pass on a window of this step's bake
/// that ends after the bake did. All left out is no Pass.
fn has_passed(turn: &Turn<'_>, guards: &[Guard<'_, '_>]) -> bool {
    let Place::Baking { from, done_at: Some(done_at), .. } = &turn.record.place else {
        return false;
    };
    let mut passes = 0;
    for (check, seen) in guards {
        let Some(seen) = seen else { return false };
        if turn.is_left_out(seen.verdict) {
            continue;
        }
        let whole = seen.window.begin >= turn.moment(from, &check.source)
            && seen.window.end >= turn.moment(done_at, &check.source);
        if seen.verdict != Verdict::Pass || !whole {
            return false;
        }
        passes += 1;
    }
    passes > 0
}

/// Whether the bake is over and every check was looked at since; asked where no Pass came of it.
pub(crate) fn awaits_pass(turn: &Turn<'_>) -> bool {
    let Place::Baking { done_at: Some(done_at), .. } = &turn.record.place else { return false };
    let looked = |(check, seen): (&Check, Option<&CheckSeen>)| {
        seen.is_some_and(|seen| seen.window.end >= turn.moment(done_at, &check.source))
    };
    turn.guards().into_iter().all(looked)
}

/// Whether the longest bake of the step is over without it being done.
pub(crate) fn is_max_bake_over(turn: &Turn<'_>) -> bool {
    let Place::Baking { step, baked, .. } = &turn.record.place else { return false };
    let longest = turn.plan().and_then(|plan| plan.steps.get(*step)?.max_bake);
    longest.is_some_and(|longest| *baked >= longest) && done(turn).is_none()
}

/// Returns what a guard found that holds the step whatever time passes.
pub(crate) fn holding(turn: &Turn<'_>) -> Option<Finding> {
    turn.guards().into_iter().find_map(|(_, seen)| {
        let finding = &seen?.finding;
        finding.compared.is_some_and(|compared| compared.holds).then(|| (**finding).clone())
    })
}

/// Whether somebody waived something of the step that bakes.
pub(crate) fn is_waived(turn: &Turn<'_>) -> bool {
    let step = turn.record.step();
    turn.record.waivers.iter().any(|waiver| Some(waiver.step) == step)
}

// === impl Turn ===

impl Turn<'_> {
    /// Returns the step under way.
    pub(crate) fn step(&self) -> Option<&Step> {
        self.record.step().and_then(|step| self.plan()?.steps.get(step))
    }

    /// Returns whether the step ahead waits for a person to open a gate.
    pub(crate) fn has_manual_gate(&self) -> bool {
        let Some(step) = self.step() else { return false };
        let manual = |gate: &haldane_model::Gate| gate.kind == haldane_model::GateKind::Manual;
        step.gates.iter().any(manual) && !self.are_gates_waived()
    }

    /// Returns whether a person opened the manual gates of the step ahead.
    pub(crate) fn are_gates_waived(&self) -> bool {
        let step = self.record.step();
        self.record.waivers.iter().any(|waiver| match waiver.kind {
            WaiverKind::Open { full, .. } => full || Some(waiver.step) == step,
            WaiverKind::Promote { full, .. } => full,
            WaiverKind::Skip | WaiverKind::Policy => false,
        })
    }
}
