//! Holds: what only a person or an alert can lift. Off before on, so that a pause beats a resume.

use haldane_model::{
    Actor, AlertAction, Block, Gap, GapPolicy, HoldKind, OnDeadline, OnExpired, OnInconclusive,
    Outcome, Place, Reason, SpecSeen, Verb, Verdict, Weight,
};

use crate::{bake, drift, requests, turn::Turn, view::gap_of};

/// Takes off what ended: the file's pause, resolved alerts, and what a person resumes.
pub(crate) fn lift(turn: &mut Turn<'_>) {
    if let Some(SpecSeen::Valid { paused: false, .. }) = turn.seen.spec
        && turn.unhold(|kind| kind == HoldKind::Spec)
    {
        turn.record.progressed = std::time::Duration::ZERO;
        turn.tell(Reason::Resumed, Actor::Policy("paused".to_owned()), None, None);
    }
    if !is_blocked_by_alert(turn) && turn.unhold(|kind| kind == HoldKind::Block) {
        turn.tell(Reason::AlertResolved, Actor::Engine, None, None);
    }
    for request in turn.open_requests() {
        if request.verb == Verb::Resume {
            resume(turn, request);
        }
    }
}

fn resume(turn: &mut Turn<'_>, request: &haldane_model::Request) {
    let firing = is_paused_by_alert(turn);
    let ends = |kind: HoldKind| match kind {
        HoldKind::Person | HoldKind::NeedsPerson(_) | HoldKind::Conflict { .. } => true,
        HoldKind::AlertPause => !firing,
        HoldKind::Spec | HoldKind::Block => false,
    };
    let standing: Vec<&str> = turn.record.holds.iter().map(|hold| hold.kind.word()).collect();
    if !standing.is_empty() && !turn.record.holds.iter().any(|hold| ends(hold.kind)) {
        let why = format!("held by {}, which resume does not lift", standing.join(", "));
        turn.answer(request, Outcome::Refused(why));
        return;
    }
    let conflicted = turn.record.is_conflicted();
    if turn.unhold(ends) {
        turn.record.progressed = std::time::Duration::ZERO;
        let detail = request.reason.clone();
        turn.tell(Reason::Resumed, request.actor.clone(), None, detail);
        grant_time(turn);
        if conflicted {
            reassert(turn);
        }
    }
    turn.answer(request, Outcome::Accepted);
}

/// Whoever resumes grants the time that ran out once more: for a gate, and for a longest bake.
pub(crate) fn grant_time(turn: &mut Turn<'_>) {
    let now = turn.now.wall;
    let bake = turn.step().map(|step| step.bake).unwrap_or_default();
    match &mut turn.record.place {
        Place::Waiting { since, .. } => *since = now,
        Place::Baking { baked, .. } => *baked = (*baked).min(bake),
        Place::Pending { .. }
        | Place::Shifting { .. }
        | Place::Promoting { .. }
        | Place::Watching { .. }
        | Place::Healthy
        | Place::RollingBack { .. }
        | Place::Degraded { .. } => {}
    }
}

/// After a conflict: what is asserted is ours again. What is above goes at once, what is below is
/// restored once the guards had a look.
fn reassert(turn: &mut Turn<'_>) {
    // What stands now was resumed over; only other writes are another conflict.
    turn.record.foreign.clear();
    let Some(range) = turn.range() else { return };
    let asserted = turn.record.asserted();
    if range.highest > asserted {
        turn.lower(asserted);
    } else if range.lowest < asserted {
        drift::restore_from(turn, range.lowest);
    }
}

/// Puts on what began: alerts, a pause, and what asks for a person.
pub(crate) fn put_on(turn: &mut Turn<'_>) {
    heed_alerts(turn);
    pauses(turn);
    if turn.record.place.is_in_flight() || turn.is_pending() || turn.record.place.is_guarded() {
        ask_for_person(turn);
    }
}

/// During a rollback, where nothing is held: a pause is noted for afterwards.
pub(crate) fn note(turn: &mut Turn<'_>) {
    pauses(turn);
}

fn pauses(turn: &mut Turn<'_>) {
    if let Some(SpecSeen::Valid { paused: true, .. }) = turn.seen.spec
        && turn.hold(HoldKind::Spec, Actor::Policy("paused".to_owned()))
    {
        turn.tell(Reason::PausedByPerson, Actor::Policy("paused".to_owned()), None, None);
    }
    for request in turn.open_requests() {
        if request.verb == Verb::Pause {
            if turn.hold(HoldKind::Person, request.actor.clone()) {
                let detail = request.reason.clone();
                turn.tell(Reason::PausedByPerson, request.actor.clone(), None, detail);
            }
            turn.answer(request, Outcome::Accepted);
        }
    }
}

// === alerts ===

fn is_paused_by_alert(turn: &Turn<'_>) -> bool {
    turn.seen.alerts.iter().any(|alert| alert.firing && alert.action == AlertAction::Pause)
}

fn is_blocked_by_alert(turn: &Turn<'_>) -> bool {
    turn.seen.alerts.iter().any(|alert| alert.firing && alert.action != AlertAction::Pause)
}

/// An alert that blocks holds; so does one that would abort but began before users could see
/// this attempt, or where there is nothing to abort.
fn heed_alerts(turn: &mut Turn<'_>) {
    let at_rest = turn.record.place.is_at_rest() && !turn.is_pending();
    let watching = matches!(turn.record.place, Place::Watching { .. });
    for alert in turn.seen.alerts.iter().filter(|alert| alert.firing) {
        let known = turn.knows_alert(alert);
        let actor = Actor::Alert(alert.rule.to_string());
        let (kind, reason) = match alert.action {
            AlertAction::Pause => (HoldKind::AlertPause, Reason::AlertPause),
            AlertAction::Block | AlertAction::Abort => (HoldKind::Block, Reason::AlertBlock),
        };
        if known && kind == HoldKind::AlertPause {
            continue;
        }
        if !known {
            turn.remember_alert(alert, alert.action);
        }
        // In the watch no step is left to begin: only a pause means something there.
        let resting = at_rest || watching && kind == HoldKind::Block;
        let is_new = !resting && turn.hold(kind, actor.clone());
        if is_new || (resting && !known) {
            let detail = format!("{} fires since {}", alert.rule, alert.starts_at);
            turn.tell(reason, actor, None, Some(detail));
        }
    }
}

// === policies that ask for a person ===

fn ask_for_person(turn: &mut Turn<'_>) {
    refused_by_provider(turn);
    missing_answers(turn);
    inconclusive(turn);
    max_bake(turn);
    deadline(turn);
    expired_gates(turn);
}

fn needs_person(
    turn: &mut Turn<'_>,
    reason: Reason,
    finding: Option<haldane_model::Finding>,
    detail: Option<String>,
) {
    if turn.hold(HoldKind::NeedsPerson(reason), Actor::Engine) {
        turn.tell(reason, Actor::Engine, finding, detail);
    }
}

fn refused_by_provider(turn: &mut Turn<'_>) {
    let invalid = turn.entry_names().find_map(|name| {
        let (message, useless) = turn.seen.writes.get(name)?.failed.as_ref()?;
        useless.then(|| format!("{name}: {message}"))
    });
    if let Some(detail) = invalid
        && !turn.is_pending()
    {
        needs_person(turn, Reason::ProviderRefused, None, Some(detail));
    }
}

fn missing_answers(turn: &mut Turn<'_>) {
    let in_use = turn.record.place.is_guarded();
    if in_use && turn.is_test_lost() && turn.policy(Gap::CanaryLost) == GapPolicy::Pause {
        let words = turn.down_words(&turn.record.header.test);
        needs_person(turn, Reason::CanaryLost, None, Some(words));
    }
    let pausing = turn.new_verdict(|verdict| {
        gap_of(verdict).is_some_and(|gap| turn.policy(gap) == GapPolicy::Pause)
    });
    if let Some(finding) = pausing
        && turn.is_exposed()
        && !turn.is_pending()
    {
        let reason = match gap_of(finding.verdict) {
            Some(Gap::SourceError) => Reason::SourceError,
            Some(Gap::CanaryLost) => Reason::CanaryLost,
            Some(Gap::NoData) | None => Reason::NoData,
        };
        needs_person(turn, reason, Some(finding), None);
    }
}

fn inconclusive(turn: &mut Turn<'_>) {
    let policy = turn.plan().map(|plan| plan.policies.inconclusive);
    let unclear =
        turn.new_verdict(|verdict| matches!(verdict, Verdict::Inconclusive { over_limit: true }));
    match (policy, unclear) {
        (Some(OnInconclusive::Pause), Some(finding)) => {
            if !turn.is_pending() && !bake::is_waived(turn) {
                needs_person(turn, Reason::Inconclusive, Some(finding), None);
            }
        }
        (Some(OnInconclusive::Promote), Some(_)) => promote(turn, Reason::Inconclusive),
        (Some(OnInconclusive::Pause | OnInconclusive::Promote), None)
        | (Some(OnInconclusive::Abort) | None, _) => {}
    }
}

fn max_bake(turn: &mut Turn<'_>) {
    if !bake::is_max_bake_over(turn) {
        return;
    }
    match turn.plan().map(|plan| plan.policies.inconclusive) {
        Some(OnInconclusive::Promote) => promote(turn, Reason::MaxBakeReached),
        Some(OnInconclusive::Pause) if !bake::is_waived(turn) => {
            needs_person(turn, Reason::MaxBakeReached, None, None);
        }
        Some(OnInconclusive::Pause | OnInconclusive::Abort) | None => {}
    }
}

/// Passes the step by policy, unless a check holds it: then more is wrong than that proof is missing.
fn promote(turn: &mut Turn<'_>, reason: Reason) {
    let Some(finding) = bake::holding(turn) else {
        return requests::waive_by_policy(turn, reason, "onInconclusive");
    };
    let words = finding.message.clone().unwrap_or_default();
    turn.block_with(Block::AwaitingPass, format!("{}: {words}", finding.check), Some(&finding));
}

fn deadline(turn: &mut Turn<'_>) {
    let Some(plan) = turn.plan() else { return };
    let watching = matches!(turn.record.place, Place::Watching { .. });
    if watching || plan.on_deadline == OnDeadline::Abort && !turn.is_pending() {
        return;
    }
    if turn.record.progressed >= plan.progress_deadline {
        let test = &turn.record.header.test;
        let why = turn.why(test).map_or(String::new(), |why| format!("; {test}: {why}"));
        let detail = format!("{:?} without an end{why}", plan.progress_deadline);
        needs_person(turn, Reason::DeadlineReached, None, Some(detail));
    }
}

fn expired_gates(turn: &mut Turn<'_>) {
    let Place::Waiting { step, since } = turn.record.place else { return };
    let Some(plan) = turn.plan() else { return };
    let Some(step) = plan.steps.get(step) else { return };
    let waited = turn.now.wall.duration_since(since);
    let expired = step.gates.iter().find(|gate| {
        let OnExpired::Pause = gate.on_expired;
        gate.expires.is_some_and(|expires| {
            std::time::Duration::try_from(waited).is_ok_and(|waited| waited >= expires)
        })
    });
    if let Some(gate) = expired {
        let detail = format!("gate {} was not opened in time", gate.name);
        needs_person(turn, Reason::GateExpired, None, Some(detail));
    }
}

/// Ends all holds that a rollback's end ends: a person's, the file's and a conflict stay.
pub(crate) fn end_with_rollback(turn: &mut Turn<'_>) {
    turn.unhold(|kind| match kind {
        HoldKind::Person | HoldKind::Spec | HoldKind::Conflict { .. } => false,
        HoldKind::AlertPause | HoldKind::NeedsPerson(_) | HoldKind::Block => true,
    });
    debug_assert_eq!(turn.record.asserted(), Weight::ZERO, "a rollback ends at 0");
}
