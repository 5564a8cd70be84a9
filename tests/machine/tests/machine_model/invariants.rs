//! The invariants, on one turn: numbered as in the machine's table of proofs.

use haldane_machine::{Change, Decision, Effect, decide};
use haldane_machine_tests::world::{EDGE, ERRORS};
use haldane_model::{
    AlertAction, Cause, Check, CheckName, During, Gap, GapPolicy, Health, HoldKind, LeaseSeen,
    OnDeadline, OnInconclusive, Place, Plan, Reason, Record, Seen, SideName, Verb, Verdict,
    WaiverKind, Weight,
};

use crate::env::{State, Written, now};

/// Returns the first invariant that this decision breaks.
pub(crate) fn check(state: &State, seen: &Seen, decision: &Decision) -> Result<(), String> {
    if decision.superseded {
        return Err("nobody else holds the lease".to_owned());
    }
    raises_ask_for_everything(state, seen, decision)?;
    steps_rise_by_a_pass_or_a_name(state, seen, decision)?;
    causes_win(state, seen, decision)?;
    rollback_comes_first(state, decision)?;
    rollbacks_have_a_cause(state, seen, decision)?;
    bake_is_earned(state, seen, decision)?;
    the_plan_is_pinned(state, decision)?;
    deciding_again_changes_nothing(state, seen, decision)?;
    conflicts_are_not_fought(decision)?;
    everything_is_told(state, decision)
}

fn must(holds: bool, invariant: &str, decision: &Decision) -> Result<(), String> {
    if holds {
        return Ok(());
    }
    let reasons: Vec<_> = decision.entries.iter().map(|entry| entry.reason).collect();
    Err(format!(
        "{invariant}\nto {:?}, effects {:?}, told {reasons:?}",
        decision.record.place, decision.effects
    ))
}

fn up(seen: &Seen, side: &SideName) -> bool {
    seen.sides.get(side).and_then(|side| side.health) != Some(Health::Down)
}

fn shows(seen: &Seen, side: &SideName) -> Option<haldane_model::Revision> {
    seen.sides.get(side)?.revisions.as_ref()?.first().cloned()
}

/// What the check says that speaks here: the one that is asked in a phase, if this is its phase.
fn speaker(record: &Record) -> CheckName {
    let own = bound(record).and_then(|plan| plan.checks.get(1));
    own.filter(|check| is_its_phase(check, record))
        .map_or_else(|| ERRORS.into(), |check| check.name.clone())
}

/// Said again, apart from the machine: the step that was confirmed last, by its share.
fn is_its_phase(check: &Check, record: &Record) -> bool {
    let share = record.asserted();
    let plan = record.plan.as_ref().expect("the check is one of its plan");
    let confirmed = match &record.place {
        Place::Baking { step, .. } | Place::Shifting { step, restore: Some(_), .. } => Some(*step),
        Place::Waiting { step, .. } | Place::Shifting { step, restore: None, .. } => {
            (0..*step).find(|before| plan.weight(*before) == share)
        }
        Place::Promoting { .. } | Place::Watching { .. } => Some(plan.last_step()),
        _ => None,
    };
    let watching = matches!(record.place, Place::Watching { .. });
    match &check.during {
        During::Background => true,
        During::BeforeTraffic => confirmed.is_some_and(|step| plan.weight(step) == Weight::ZERO),
        During::Steps(steps) => !watching && confirmed.is_some_and(|step| steps.contains(&step)),
        During::AfterPromotion => confirmed.is_some_and(|step| plan.weight(step) == Weight::FULL),
    }
}

/// Its verdict, if it is about this revision and attempt, and about its phase.
fn current(seen: &Seen, record: &Record) -> Option<Verdict> {
    let name = speaker(record);
    let check = seen.checks.get(&name)?;
    let begun = record.in_force.get(&name).map(|since| since.wall);
    if name != ERRORS.into() && begun.is_none_or(|begun| check.window.end <= begun) {
        return None;
    }
    let about = check.attempt == record.attempt && check.revision == record.revision;
    (about && check.at_rest == matches!(record.place, Place::Pending { .. }))
        .then_some(check.verdict)
}

fn is_new(seen: &Seen, record: &Record) -> bool {
    let name = speaker(record);
    let judged = record.judged_to.get(&name);
    seen.checks.get(&name).is_none_or(|check| judged.is_none_or(|judged| check.judged_to > *judged))
}

fn bound(record: &Record) -> Option<&Plan> {
    record.plan.as_deref()
}

// === 0 ===

fn raises_ask_for_everything(state: &State, seen: &Seen, turn: &Decision) -> Result<(), String> {
    let raise = turn.effects.iter().find_map(|effect| match effect {
        Effect::Raise { to, .. } => Some(*to),
        Effect::Lower { .. } | Effect::Finish | Effect::Release => None,
    });
    let Some(to) = raise else { return Ok(()) };
    let (before, record) = (&state.memory, &turn.record);
    let header = &record.header;
    let weight = match record.place {
        Place::Shifting { step, .. } => bound(record).map(|plan| plan.weight(step)),
        Place::Watching { restore: Some(_), .. } => Some(Weight::FULL),
        Place::Pending { .. }
        | Place::Waiting { .. }
        | Place::Baking { .. }
        | Place::Promoting { .. }
        | Place::Watching { restore: None, .. }
        | Place::Healthy
        | Place::RollingBack { .. }
        | Place::Degraded { .. } => None,
    };
    must(weight == Some(to), "0: exactly the step's weight is raised to", turn)?;
    must(turn.change == Change::Decided, "0: a raise waits for its record", turn)?;
    let lease = seen.lease == Some(LeaseSeen::Held { term: record.term });
    must(lease, "0: a raise needs the lease", turn)?;
    must(record.holds.is_empty(), "0: nothing rises under a hold", turn)?;
    must(up(seen, &header.test) && up(seen, &header.home), "0: both sides live", turn)?;
    must(shows(seen, &header.test) == record.revision, "0: the side shows what is on trial", turn)?;
    if !matches!(record.place, Place::Watching { .. }) {
        let same = shows(seen, &header.home) == record.previous;
        must(same, "0: home shows what was before", turn)?;
    }
    let verdict = current(seen, before);
    let waived = record.waivers.iter().any(|waiver| match &waiver.kind {
        WaiverKind::Open { without, .. } | WaiverKind::Promote { without, .. } => {
            !without.is_empty()
        }
        WaiverKind::Skip | WaiverKind::Policy => false,
    });
    must(verdict.is_some() || waived, "0: guards answer before anything rises", turn)?;
    let breach = verdict == Some(Verdict::Fail { breach: true });
    must(!breach, "0: nothing rises over a breach", turn)?;
    let attempt = Some(record.attempt);
    must(state.env.rolled != attempt, "0: an attempt that was rolled back never rises", turn)
}

// === 1 ===

fn steps_rise_by_a_pass_or_a_name(
    state: &State,
    seen: &Seen,
    turn: &Decision,
) -> Result<(), String> {
    let (before, record) = (&state.memory, &turn.record);
    let (Place::Baking { step, .. }, Some(next)) = (&before.place, record.step()) else {
        return Ok(());
    };
    let done = next > *step || matches!(record.place, Place::Promoting { .. });
    if before.attempt != record.attempt || !done {
        return Ok(());
    }
    let share = before.asserted();
    let by_time = share == Weight::ZERO || share == Weight::FULL;
    let named = record.waivers.iter().any(|waiver| waiver.step == *step);
    let verdict = current(seen, before);
    let passed = verdict == Some(Verdict::Pass)
        && state.env.said.as_ref().is_some_and(|said| {
            matches!(&record.place, Place::Shifting { .. } | Place::Waiting { .. } if {
                let Place::Baking { from, .. } = &before.place else { return false };
                said.window().begin >= from.wall
            })
        });
    let own = speaker(before) != ERRORS.into();
    let by_time =
        share == Weight::FULL || by_time && !own || by_time && verdict == Some(Verdict::Pass);
    let held = by_time && !matches!(verdict, None | Some(Verdict::Fail { .. }));
    must(named || passed || held, "1: no step ends without a Pass or a name", turn)?;
    let told = turn.entries.iter().any(|entry| entry.reason == Reason::StepPassed);
    must(told, "1: the journal says why the step ended", turn)
}

// === 2 and 3 ===

fn causes_win(state: &State, seen: &Seen, turn: &Decision) -> Result<(), String> {
    let record = &state.memory;
    if !record.place.is_guarded() {
        return Ok(());
    }
    let watching = matches!(record.place, Place::Watching { .. });
    let home = &record.header.home;
    let intact = up(seen, home) && shows(seen, home) == record.previous;
    let exposed = state.env.share(record) > Weight::ZERO;
    let fresh = current(seen, record).filter(|_| is_new(seen, record));
    let lost = bound(record).is_some_and(|plan| plan.policies.canary_lost == GapPolicy::Abort);
    let cause = fresh == Some(Verdict::Fail { breach: true })
        || lost && exposed && fresh == Some(Verdict::CanaryLost)
        || lost && exposed && !up(seen, &record.header.test)
        || open(state).any(|request| request.verb == Verb::Abort)
        || !watching && state.env.written == Written::Deleted
        || !watching && shows(seen, &record.header.test) != record.revision;
    if !cause || watching && (!intact || state.env.written == Written::Deleted) {
        return Ok(());
    }
    let back = matches!(turn.record.place, Place::RollingBack { .. });
    must(back, "2: a cause wins over everything that came with it", turn)
}

fn open(state: &State) -> impl Iterator<Item = &haldane_model::Request> {
    let record = &state.memory;
    state.env.requests.iter().filter(|request| record.outcome(&request.id).is_none())
}

fn rollback_comes_first(state: &State, turn: &Decision) -> Result<(), String> {
    let header = &turn.record.header;
    if !matches!(turn.record.place, Place::RollingBack { .. }) || turn.gone {
        return Ok(());
    }
    let blue = header.home == haldane_machine_tests::world::BLUE.into();
    let dead = if blue { !state.env.blue_up } else { !state.env.green_up };
    let first = matches!(turn.effects.first(), Some(Effect::Lower { to: Weight::ZERO, .. }));
    must(dead || first, "3: the lowering write comes first, in every turn of a rollback", turn)?;
    must(!dead || turn.effects.is_empty(), "3: nothing is sent to a dead side", turn)
}

// === 4 ===

fn rollbacks_have_a_cause(state: &State, seen: &Seen, turn: &Decision) -> Result<(), String> {
    let (before, record) = (&state.memory, &turn.record);
    let Place::RollingBack { cause, .. } = record.place else { return Ok(()) };
    if matches!(before.place, Place::RollingBack { .. }) {
        return Ok(());
    }
    let Some(plan) = bound(before) else { return must(false, "4: there is no plan", turn) };
    let verdict = current(seen, before);
    let exposed = state.env.share(before) > Weight::ZERO;
    let policy = |gap: Gap| match gap {
        Gap::NoData => plan.policies.no_data,
        Gap::SourceError => plan.policies.source_error,
        Gap::CanaryLost => plan.policies.canary_lost,
    };
    let unclear = plan.policies.inconclusive == OnInconclusive::Abort;
    let holds = match cause {
        Cause::Breach => verdict == Some(Verdict::Fail { breach: true }),
        Cause::CanaryLost => {
            exposed && (verdict == Some(Verdict::CanaryLost) || !up(seen, &before.header.test))
        }
        Cause::AbortedByPerson => open(state).any(|request| request.verb == Verb::Abort),
        Cause::OwnLoweringFound => {
            let known = before.marks.get(&EDGE.into());
            state.env.mark.as_ref().is_some_and(|mark| known != Some(mark))
        }
        Cause::AlertAbort => matches!(state.env.alert, Some((AlertAction::Abort, _))),
        Cause::Deleted => state.env.written == Written::Deleted,
        Cause::RevisionChanged => shows(seen, &before.header.test) != before.revision,
        Cause::NoData => {
            verdict == Some(Verdict::NoData) && policy(Gap::NoData) == GapPolicy::Abort
        }
        Cause::SourceError => {
            verdict == Some(Verdict::SourceError) && policy(Gap::SourceError) == GapPolicy::Abort
        }
        Cause::Inconclusive | Cause::MaxBakeReached => unclear,
        Cause::DeadlineReached => plan.on_deadline == OnDeadline::Abort,
        Cause::Undone => {
            open(state).any(|request| request.verb == Verb::Undo)
                || state.env.mark.is_some_and(|mark| Some(&mark) != before.marks.get(&EDGE.into()))
        }
    };
    must(holds, "4: a rollback has the cause that it names", turn)
}

// === 5 ===

fn bake_is_earned(state: &State, seen: &Seen, turn: &Decision) -> Result<(), String> {
    let (before, record) = (&state.memory, &turn.record);
    let share = state.env.share(record);
    let grown = match (&before.place, &record.place) {
        (Place::Baking { baked: was, step: old, .. }, Place::Baking { baked, step, .. }) => {
            must(old == step, "5: a bake begins with a confirmation", turn)?;
            baked.saturating_sub(*was)
        }
        (Place::Watching { watched: was, .. }, Place::Watching { watched, .. }) => {
            watched.saturating_sub(*was)
        }
        (_, Place::Baking { baked, step, .. }) => {
            let weight = bound(record).map(|plan| plan.weight(*step));
            must(Some(share) == weight, "5: a bake begins only once the weight is read", turn)?;
            must(baked.is_zero(), "5: a bake begins at nothing", turn)?;
            let shifting = matches!(before.place, Place::Shifting { .. });
            must(shifting, "5: a bake begins out of Shifting alone", turn)?;
            *baked
        }
        _ => return Ok(()),
    };
    if grown.is_zero() {
        return Ok(());
    }
    let elapsed = now().since(&before.ticked.now);
    must(grown <= elapsed, "5: no more bake than time passed", turn)?;
    must(share == before.asserted(), "5: bake counts at the step's weight alone", turn)?;
    must(!before.stops_bake(), "5: a hold stops the bake", turn)?;
    let gap = matches!(current(seen, before), Some(Verdict::NoData | Verdict::SourceError));
    let ignored = bound(before).is_some_and(|plan| plan.policies.no_data == GapPolicy::Ignore);
    must(!gap || share == Weight::ZERO || ignored, "5: silence bakes nothing", turn)
}

// === 6 ===

fn the_plan_is_pinned(state: &State, turn: &Decision) -> Result<(), String> {
    let (before, record) = (&state.memory, &turn.record);
    let pending = matches!(before.place, Place::Pending { .. });
    let began = record.attempt != before.attempt;
    must(began || record.plan == before.plan, "6: the plan is pinned", turn)?;
    must(!began || pending, "6: an attempt begins out of Pending alone", turn)?;
    let empty = record.waivers.is_empty() && record.judged_to.is_empty();
    must(!began || empty, "6: an attempt inherits nothing", turn)
}

// === 7 ===

fn deciding_again_changes_nothing(
    state: &State,
    seen: &Seen,
    turn: &Decision,
) -> Result<(), String> {
    // A turn that asks for the next one at once says itself that more applies.
    let more = turn.wake_in == Some(std::time::Duration::ZERO);
    let moved = turn.record.place != state.memory.place;
    if turn.gone || more || moved || !turn.entries.is_empty() {
        return Ok(());
    }
    let again = decide(&turn.record, seen, now());
    must(again.entries.is_empty(), "7: deciding again tells nothing", turn)?;
    must(again.record == turn.record, "7: deciding again changes nothing", turn)
}

// === 8 ===

fn conflicts_are_not_fought(turn: &Decision) -> Result<(), String> {
    let raises = turn.effects.iter().any(|effect| matches!(effect, Effect::Raise { .. }));
    must(!(turn.record.is_conflicted() && raises), "8: nothing rises under a conflict", turn)
}

// === 9 ===

fn everything_is_told(state: &State, turn: &Decision) -> Result<(), String> {
    let (before, record) = (&state.memory, &turn.record);
    let kinds = |record: &Record| {
        let kind = |kind: HoldKind| match kind {
            HoldKind::Conflict { .. } => HoldKind::Conflict { undone: None },
            other => other,
        };
        record.holds.iter().map(|hold| kind(hold.kind)).collect::<Vec<_>>()
    };
    let moved = before.place.state() != record.place.state();
    let held = kinds(before) != kinds(record);
    let waived = before.waivers.len() < record.waivers.len();
    let answered = before.requests.len() < record.requests.len();
    let told = !turn.entries.is_empty();
    must(told || !(moved || held || waived), "9: every change is told", turn)?;
    let decided = turn.change == Change::Decided;
    must(decided || !(moved || held || waived || answered), "9: every change is written", turn)?;
    must(turn.gone || turn.wake_in.is_some(), "9: a wake-up is left behind", turn)
}
