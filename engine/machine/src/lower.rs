//! Lowering asks for nothing: the first cause found begins the rollback, and no hold, lease or
//! gate is looked at.

use haldane_model::{
    Actor, AlertAction, Block, Cause, Direction, Finding, Gap, GapPolicy, Ground, HoldKind,
    MarkKind, OnDeadline, OnInconclusive, Outcome, Place, Reason, SpecSeen, Verb, Verdict, Weight,
};

use crate::{bake, requests, turn::Turn, view::gap_of};

/// A cause, and what is known of it.
struct Found {
    cause: Cause,
    actor: Actor,
    finding: Option<Finding>,
    detail: Option<String>,
}

/// Looks for a cause to put the traffic back. Returns whether one was found and acted upon.
pub(crate) fn look_for_cause(turn: &mut Turn<'_>) -> bool {
    if let Some(done) = leave(turn) {
        return done;
    }
    let Some(ground) = ground(turn) else {
        return requests::undo(turn) || requests::abort_at_rest(turn) || lost_undo(turn);
    };
    let Some(found) = find(turn) else {
        return requests::undo(turn);
    };
    // What was lowered already is not raised again, whatever the other side shows.
    let lowered = found.cause == Cause::OwnLoweringFound;
    if ground == Ground::Watch && !lowered && !turn.is_home_intact() {
        impossible(turn, found);
        // Nothing moved: the rest of the turn still counts, holds and answers.
        return requests::undo(turn);
    }
    act(turn, found, ground);
    true
}

/// Where users may see the side under test; `None` elsewhere.
fn ground(turn: &Turn<'_>) -> Option<Ground> {
    match turn.record.place {
        Place::Waiting { .. }
        | Place::Shifting { .. }
        | Place::Baking { .. }
        | Place::Promoting { .. } => Some(Ground::Flight),
        Place::Watching { .. } => Some(Ground::Watch),
        Place::Pending { .. }
        | Place::Healthy
        | Place::RollingBack { .. }
        | Place::Degraded { .. } => None,
    }
}

/// Returns the first cause, in the order in which they are named to people.
fn find(turn: &Turn<'_>) -> Option<Found> {
    breach(turn)
        .or_else(|| lost(turn))
        .or_else(|| abort(turn))
        .or_else(|| own_lowering(turn))
        .or_else(|| alert(turn))
        .or_else(|| deleted(turn))
        .or_else(|| revision_changed(turn))
        .or_else(|| policy(turn))
}

/// Records the rollback with its cause.
fn act(turn: &mut Turn<'_>, found: Found, ground: Ground) {
    for alert in aborting_alerts(turn) {
        turn.remember_alert(&alert, AlertAction::Abort);
    }
    turn.learn();
    turn.roll_back(found.cause, ground);
    turn.tell(found.cause.reason(), found.actor, found.finding, found.detail);
    for request in turn.open_requests() {
        if request.verb == Verb::Abort {
            turn.answer(request, Outcome::Accepted);
        }
    }
}

/// In the watch, with the previous revision gone: hold, and page.
fn impossible(turn: &mut Turn<'_>, found: Found) {
    turn.learn();
    for alert in aborting_alerts(turn) {
        turn.remember_alert(&alert, AlertAction::Abort);
    }
    for request in turn.open_requests() {
        if request.verb == Verb::Abort {
            turn.answer(request, Outcome::Accepted);
        }
    }
    if turn.hold(HoldKind::NeedsPerson(Reason::RollbackImpossible), Actor::Engine) {
        let why = format!(
            "{}: the previous revision is gone or dead, traffic stays where it is",
            found.cause.code()
        );
        let detail = match found.detail {
            Some(detail) => format!("{why} ({detail})"),
            None => why,
        };
        turn.tell(Reason::RollbackImpossible, found.actor, found.finding, Some(detail));
    }
}

// === causes ===

fn found(cause: Cause, finding: Option<Finding>, detail: Option<String>) -> Found {
    Found { cause, actor: Actor::Engine, finding, detail }
}

fn breach(turn: &Turn<'_>) -> Option<Found> {
    let finding = turn.new_verdict(Verdict::is_breach)?;
    Some(found(Cause::Breach, Some(finding), None))
}

fn lost(turn: &Turn<'_>) -> Option<Found> {
    if turn.policy(Gap::CanaryLost) != GapPolicy::Abort {
        return None;
    }
    let test = &turn.record.header.test;
    if turn.is_test_lost() {
        let detail = match turn.seen.sides.get(test) {
            Some(seen) if seen.why.is_some() => turn.down_words(test),
            Some(_) | None => format!("0 endpoints of {test} are up, at least 1 is needed"),
        };
        return Some(found(Cause::CanaryLost, None, Some(detail)));
    }
    if !turn.is_exposed() {
        return None;
    }
    let finding = turn.new_verdict(|verdict| verdict == Verdict::CanaryLost)?;
    Some(found(Cause::CanaryLost, Some(finding), None))
}

fn abort(turn: &Turn<'_>) -> Option<Found> {
    let request = turn.open_requests().find(|request| request.verb == Verb::Abort)?;
    Some(Found {
        cause: Cause::AbortedByPerson,
        actor: request.actor.clone(),
        finding: None,
        detail: request.reason.clone(),
    })
}

/// A rollback of our own that the record does not know: its swap was lost, the write was not; or an
/// engine that could not read the record began it, and left word in the header.
fn own_lowering(turn: &Turn<'_>) -> Option<Found> {
    if let Some(cause) = turn.record.header.lowered {
        let detail = format!("an older engine put the traffic back: {}", cause.code());
        return Some(found(Cause::OwnLoweringFound, None, Some(detail)));
    }
    let asserted = turn.record.asserted();
    let test = &turn.record.header.test;
    let (name, mark) = turn.readings().find_map(|(name, reading)| {
        let (lowest, _) = reading.range_of(test);
        let lower = lowest < asserted;
        let (mark, ours) = match turn.unknown_mark(name, reading) {
            Some(mark) => (mark, mark.kind == MarkKind::Rollback || lower),
            // Nothing that is known here in an attempt is a rollback: this one of ours came late.
            None => {
                let mark = reading.mark?;
                let known = turn.record.marks.get(name);
                (mark, lower && mark.kind == MarkKind::Rollback && known != Some(&mark))
            }
        };
        ours.then(|| (name.clone(), mark))
    })?;
    let detail = format!("{name} carries {mark}, which the record does not know");
    Some(found(Cause::OwnLoweringFound, None, Some(detail)))
}

/// Alerts that ask for a rollback, fire, and began after users could see this attempt.
fn aborting_alerts(turn: &Turn<'_>) -> Vec<haldane_model::AlertSeen> {
    let Some(could) = &turn.record.exposed.could else { return Vec::new() };
    let since = could.wall;
    let alerts = turn.seen.alerts.iter().filter(|alert| {
        alert.firing
            && alert.action == AlertAction::Abort
            && alert.starts_at >= since
            && !turn.knows_alert(alert)
    });
    alerts.cloned().collect()
}

fn alert(turn: &Turn<'_>) -> Option<Found> {
    let alert = aborting_alerts(turn).into_iter().next()?;
    Some(Found {
        cause: Cause::AlertAbort,
        actor: Actor::Alert(alert.rule.to_string()),
        finding: None,
        detail: Some(format!("{} fires since {}", alert.rule, alert.starts_at)),
    })
}

fn deleted(turn: &Turn<'_>) -> Option<Found> {
    let in_flight = turn.record.place.is_in_flight();
    let gone = turn.seen.spec == Some(SpecSeen::Deleted);
    (gone && in_flight).then(|| found(Cause::Deleted, None, None))
}

fn revision_changed(turn: &Turn<'_>) -> Option<Found> {
    if !turn.record.place.is_in_flight() || !turn.has_test_changed() {
        return None;
    }
    let detail = format!("{} shows another revision", turn.record.header.test);
    Some(found(Cause::RevisionChanged, None, Some(detail)))
}

/// Policies that say Abort.
fn policy(turn: &Turn<'_>) -> Option<Found> {
    let gap = turn.new_verdict(|verdict| {
        gap_of(verdict).is_some_and(|gap| {
            gap != Gap::CanaryLost && turn.policy(gap) == GapPolicy::Abort && turn.is_exposed()
        })
    });
    if let Some(finding) = gap {
        let cause = match finding.verdict {
            Verdict::SourceError => Cause::SourceError,
            Verdict::NoData
            | Verdict::CanaryLost
            | Verdict::Pass
            | Verdict::Fail { .. }
            | Verdict::Inconclusive { .. } => Cause::NoData,
        };
        return Some(Found { actor: policy_actor(cause), ..found(cause, Some(finding), None) });
    }
    let plan = turn.plan()?;
    if plan.policies.inconclusive == OnInconclusive::Abort {
        let unclear = turn
            .new_verdict(|verdict| matches!(verdict, Verdict::Inconclusive { over_limit: true }));
        if let Some(finding) = unclear {
            let cause = Cause::Inconclusive;
            return Some(Found { actor: policy_actor(cause), ..found(cause, Some(finding), None) });
        }
        if bake::is_max_bake_over(turn) {
            let cause = Cause::MaxBakeReached;
            return Some(Found { actor: policy_actor(cause), ..found(cause, None, None) });
        }
    }
    let late = turn.record.place.is_in_flight()
        && plan.on_deadline == OnDeadline::Abort
        && turn.record.progressed >= plan.progress_deadline;
    let cause = Cause::DeadlineReached;
    let test = &turn.record.header.test;
    let why = turn.why(test).map(|why| format!("{test}: {why}"));
    late.then(|| Found { actor: policy_actor(cause), ..found(cause, None, why) })
}

fn policy_actor(cause: Cause) -> Actor {
    let field = match cause {
        Cause::SourceError => "onSourceError",
        Cause::Inconclusive | Cause::MaxBakeReached => "onInconclusive",
        Cause::DeadlineReached => "onDeadline",
        Cause::NoData
        | Cause::Breach
        | Cause::CanaryLost
        | Cause::AbortedByPerson
        | Cause::OwnLoweringFound
        | Cause::AlertAbort
        | Cause::Deleted
        | Cause::RevisionChanged
        | Cause::Undone => "onNoData",
    };
    Actor::Policy(field.to_owned())
}

// === leaving and resting ===

/// A deleted rollout: at rest it goes at once, weights stay. `None`: it was not deleted.
fn leave(turn: &mut Turn<'_>) -> Option<bool> {
    let namespace = turn.seen.spec == Some(SpecSeen::NamespaceDeleted);
    if !namespace && turn.seen.spec != Some(SpecSeen::Deleted) {
        return None;
    }
    if turn.record.place.is_in_flight() {
        if !namespace {
            return None;
        }
        // One lowering write, and nothing waits for it: a namespace's deletion is never blocked.
        if !turn.is_home_dead() {
            turn.lower(Weight::ZERO);
        }
    }
    turn.tell(Reason::Deleted, Actor::Engine, None, None);
    turn.release();
    Some(true)
}

/// After the watch: the idle side has all traffic by a write of ours that the record does not know.
/// It is an undo whose record was lost, and it is finished as one.
fn lost_undo(turn: &mut Turn<'_>) -> bool {
    if turn.record.place != Place::Healthy {
        return false;
    }
    let test = turn.record.header.test.clone();
    let ours = turn.readings().any(|(name, reading)| {
        let (lowest, _) = reading.range_of(&test);
        lowest == Weight::FULL
            && turn.unknown_mark(name, reading).is_some_and(|mark| mark.kind == MarkKind::Rollback)
    });
    if !ours {
        return false;
    }
    std::mem::swap(&mut turn.record.header.test, &mut turn.record.header.home);
    turn.roll_back(Cause::Undone, Ground::Rest);
    turn.tell(Reason::OwnLoweringFound, Actor::Engine, None, Some("an undo was found".to_owned()));
    true
}

/// Keeps the rollback going. The write is asked for even where 0 is read already: until that is
/// confirmed, a raise of ours may still be on its way.
pub(crate) fn keep_lowering(turn: &mut Turn<'_>) {
    if turn.is_home_dead() {
        if !turn.reads_exactly(Weight::ZERO) {
            turn.block(Block::RollbackBlocked, "no endpoint of the other side is ready");
        }
        return;
    }
    turn.lower(Weight::ZERO);
    let failing = turn.entry_names().find_map(|name| {
        let write = turn.seen.writes.get(name)?;
        let waits = write.backing_off && write.in_flight != Some(Direction::Raise);
        (write.failed.is_some() || waits).then(|| {
            let why = write.failed.as_ref().map_or("no answer", |(message, _)| message.as_str());
            format!("{name}: {why}")
        })
    });
    if let Some(why) = failing {
        turn.block(Block::LowerFailing, why);
    }
}
