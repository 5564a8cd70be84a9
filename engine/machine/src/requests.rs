//! What people ask for: every request gets one answer, and keeps it however often it is repeated.

use haldane_model::{
    Actor, Cause, GateAnswer, GateKind, Ground, HoldKind, Outcome, Place, Plan, Reason, Request,
    SourceName, Verb, Waiver, WaiverKind,
};

use crate::{holds, turn::Turn};

/// Refuses what was asked of another revision, attempt or step. An abort is never stale.
pub(crate) fn refuse_stale(turn: &mut Turn<'_>) {
    for request in turn.open_requests() {
        if let Some(why) = staleness(turn, request) {
            turn.answer(request, Outcome::Refused(why));
        }
    }
}

fn staleness(turn: &Turn<'_>, request: &Request) -> Option<String> {
    let record = &turn.record;
    let with_step = match request.verb {
        Verb::Abort => return None,
        Verb::Promote { .. } | Verb::Skip => true,
        Verb::Pause | Verb::Resume | Verb::Retry { .. } | Verb::Undo => false,
    };
    let name = |revision: &Option<haldane_model::Revision>| {
        revision.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string)
    };
    if request.revision != record.revision {
        let (asked, current) = (name(&request.revision), name(&record.revision));
        return Some(format!("it was made for revision {asked}, current is {current}"));
    }
    if request.attempt != Some(record.attempt) {
        let asked = request.attempt.unwrap_or_default();
        return Some(format!("it was made for attempt {asked}, current is {}", record.attempt));
    }
    if with_step && request.step != record.step() {
        let show =
            |step: Option<usize>| step.map_or_else(|| "none".to_owned(), |s| (s + 1).to_string());
        let (asked, current) = (show(request.step), show(record.step()));
        return Some(format!("it was made for step {asked}, current is {current}"));
    }
    None
}

/// Answers what cannot take effect while the traffic goes back.
pub(crate) fn answer_while_rolling_back(turn: &mut Turn<'_>) {
    for request in turn.open_requests() {
        let outcome = match &request.verb {
            Verb::Abort | Verb::Pause | Verb::Resume => Outcome::Accepted,
            Verb::Promote { .. } | Verb::Skip | Verb::Retry { .. } | Verb::Undo => {
                Outcome::Refused("the traffic is going back; wait until it is".to_owned())
            }
        };
        turn.answer(request, outcome);
    }
}

/// Abort where nothing is under way: before an attempt it gives up the revision, elsewhere there
/// is nothing to abort. Returns whether the rollout moved.
pub(crate) fn abort_at_rest(turn: &mut Turn<'_>) -> bool {
    let Some(request) = turn.open_requests().find(|request| request.verb == Verb::Abort) else {
        return false;
    };
    match turn.record.place {
        Place::Pending { .. } if turn.record.serving.is_some() => {
            let test = turn.record.header.test.clone();
            let shown = match turn.shown(&test) {
                crate::view::Shown::One(revision) => Some(revision.clone()),
                crate::view::Shown::Unknown | crate::view::Shown::Several(_) => None,
            };
            turn.record.failed = shown;
            turn.go(Place::Degraded { cause: Cause::AbortedByPerson });
            let detail = request.reason.clone();
            turn.tell(Reason::AbortedByPerson, request.actor.clone(), None, detail);
            turn.answer(request, Outcome::Accepted);
            true
        }
        Place::Healthy => {
            let why = match &turn.record.previous {
                Some(previous) => {
                    format!("nothing to abort; `haldane undo` returns to {previous}")
                }
                None => "nothing to abort".to_owned(),
            };
            turn.answer(request, Outcome::Refused(why));
            false
        }
        Place::Pending { .. }
        | Place::Waiting { .. }
        | Place::Shifting { .. }
        | Place::Baking { .. }
        | Place::Promoting { .. }
        | Place::Watching { .. }
        | Place::RollingBack { .. }
        | Place::Degraded { .. } => {
            turn.answer(request, Outcome::Accepted);
            false
        }
    }
}

/// Returns to the previous revision, in one write under a rollback's rules. Returns whether it
/// began.
pub(crate) fn undo(turn: &mut Turn<'_>) -> bool {
    let Some(request) = turn.open_requests().find(|request| request.verb == Verb::Undo) else {
        return false;
    };
    let ground = match turn.record.place {
        Place::Watching { .. } => Ground::Watch,
        Place::Healthy => Ground::Rest,
        Place::Pending { .. }
        | Place::Waiting { .. }
        | Place::Shifting { .. }
        | Place::Baking { .. }
        | Place::Promoting { .. }
        | Place::RollingBack { .. }
        | Place::Degraded { .. } => {
            let why = "undo is for after a promotion; `haldane abort` puts the traffic back";
            turn.answer(request, Outcome::Refused(why.to_owned()));
            return false;
        }
    };
    let serves = turn.record.serving.as_ref().and_then(|side| turn.record.promoted.get(side));
    if turn.record.previous.is_none() || turn.record.previous.as_ref() == serves {
        let why = "there is no previous revision to return to".to_owned();
        turn.answer(request, Outcome::Refused(why));
        return false;
    }
    let swap = |turn: &mut Turn<'_>| {
        let header = &mut turn.record.header;
        std::mem::swap(&mut header.test, &mut header.home);
    };
    if ground == Ground::Rest {
        swap(turn);
    }
    if !turn.is_home_intact() {
        if ground == Ground::Rest {
            swap(turn);
        }
        let why = "the previous revision is gone or dead; roll it out again instead".to_owned();
        turn.answer(request, Outcome::Refused(why));
        return false;
    }
    turn.roll_back(Cause::Undone, ground);
    turn.tell(Reason::Undone, request.actor.clone(), None, request.reason.clone());
    turn.answer(request, Outcome::Accepted);
    true
}

// === waivers ===

/// Notes promote and skip as waivers of the current step; refuses them where they mean nothing.
pub(crate) fn note_waivers(turn: &mut Turn<'_>) {
    for request in turn.open_requests() {
        match request.verb {
            Verb::Promote { full, without_guards } => {
                let outcome = promote(turn, request, full, without_guards);
                turn.answer(request, outcome);
            }
            Verb::Skip => {
                let outcome = skip(turn, request);
                turn.answer(request, outcome);
            }
            // What restarts an attempt is answered at rest; an abort was found before.
            Verb::Retry { .. } => retry_elsewhere(turn, request),
            Verb::Abort | Verb::Pause | Verb::Resume | Verb::Undo => {}
        }
    }
}

fn promote(turn: &mut Turn<'_>, request: &Request, full: bool, unguarded: bool) -> Outcome {
    if let Some(refused) = refused_under_hold(turn) {
        return refused;
    }
    let without = if unguarded { silent_sources(turn) } else { Vec::new() };
    let (step, kind) = match turn.record.place {
        Place::Waiting { step, .. } => {
            if let Some(name) = shut_gate(turn, step, last_of(turn, step, full)) {
                return Outcome::Refused(format!("gate {name} is closed"));
            }
            (step, WaiverKind::Open { full, without })
        }
        Place::Shifting { step, .. } | Place::Baking { step, .. } => {
            let last = last_of(turn, step, full);
            if full && let Some(name) = shut_gate(turn, step + 1, last) {
                return Outcome::Refused(format!("gate {name} is closed"));
            }
            (step, WaiverKind::Promote { full, without })
        }
        Place::Pending { .. }
        | Place::Promoting { .. }
        | Place::Watching { .. }
        | Place::Healthy
        | Place::RollingBack { .. }
        | Place::Degraded { .. } => return nothing_under_way("promote"),
    };
    waive(turn, request, step, kind);
    turn.tell(Reason::PromotedByPerson, request.actor.clone(), None, request.reason.clone());
    Outcome::Accepted
}

fn skip(turn: &mut Turn<'_>, request: &Request) -> Outcome {
    if let Some(refused) = refused_under_hold(turn) {
        return refused;
    }
    match turn.record.place {
        Place::Shifting { step, .. } | Place::Baking { step, .. } => {
            waive(turn, request, step, WaiverKind::Skip);
            let detail = request.reason.clone();
            turn.tell(Reason::EvidenceWaived, request.actor.clone(), None, detail);
            Outcome::Accepted
        }
        Place::Pending { .. }
        | Place::Waiting { .. }
        | Place::Promoting { .. }
        | Place::Watching { .. }
        | Place::Healthy
        | Place::RollingBack { .. }
        | Place::Degraded { .. } => nothing_under_way("skip"),
    }
}

fn nothing_under_way(verb: &str) -> Outcome {
    Outcome::Refused(format!("no step is under way that {verb} could end"))
}

fn refused_under_hold(turn: &Turn<'_>) -> Option<Outcome> {
    let hold = turn.record.holds.iter().find(|hold| match hold.kind {
        HoldKind::Person
        | HoldKind::Spec
        | HoldKind::AlertPause
        | HoldKind::Block
        | HoldKind::Conflict { .. } => true,
        HoldKind::NeedsPerson(_) => false,
    })?;
    let remedy = match hold.kind {
        HoldKind::Spec => "set `paused: false` first",
        HoldKind::Block => "it ends when the alert is resolved",
        HoldKind::Person
        | HoldKind::AlertPause
        | HoldKind::Conflict { .. }
        | HoldKind::NeedsPerson(_) => "resume first",
    };
    Some(Outcome::Refused(format!("held by {}: {remedy}", hold.kind.word())))
}

fn waive(turn: &mut Turn<'_>, request: &Request, step: usize, kind: WaiverKind) {
    if turn.unhold(|kind| matches!(kind, HoldKind::NeedsPerson(_))) {
        // Whoever ends a hold grants the time that ran out once more.
        turn.record.progressed = std::time::Duration::ZERO;
        holds::grant_time(turn);
    }
    turn.record.waivers.retain(|waiver| waiver.step < step);
    turn.record.waivers.push(Waiver {
        step,
        kind,
        actor: request.actor.clone(),
        request: Some(request.id.clone()),
    });
}

/// Lets a policy say that the step is done.
pub(crate) fn waive_by_policy(turn: &mut Turn<'_>, reason: Reason, field: &str) {
    let Place::Baking { step, .. } = turn.record.place else { return };
    if turn.record.waivers.iter().any(|waiver| waiver.step == step) {
        return;
    }
    let actor = Actor::Policy(field.to_owned());
    turn.record.waivers.push(Waiver {
        step,
        kind: WaiverKind::Policy,
        actor: actor.clone(),
        request: None,
    });
    turn.tell(reason, actor, None, Some("the step counts as done".to_owned()));
}

fn last_of(turn: &Turn<'_>, step: usize, full: bool) -> usize {
    turn.plan().filter(|_| full).map_or(step, Plan::last_step)
}

/// Returns the first gate, from this step to that, that something else than a person keeps shut.
pub(crate) fn shut_gate(turn: &Turn<'_>, step: usize, last: usize) -> Option<String> {
    let plan = turn.plan()?;
    let gates = plan.steps.iter().skip(step).take((last + 1).saturating_sub(step));
    let mut gates = gates.flat_map(|step| &step.gates);
    let shut = gates.find(|gate| match gate.kind {
        GateKind::Manual => false,
        GateKind::External(_) => turn.seen.gates.get(&gate.name) != Some(&GateAnswer::Open),
    })?;
    Some(shut.name.to_string())
}

/// The sources that give no usable answer now.
fn silent_sources(turn: &Turn<'_>) -> Vec<SourceName> {
    let plan = turn.plan();
    let silent = plan.into_iter().flat_map(Plan::gating).filter(|check| {
        !turn.verdict(&check.name).is_some_and(|seen| turn.is_answer(seen.verdict))
    });
    let mut names: Vec<SourceName> = silent.map(|check| check.source.clone()).collect();
    names.sort();
    names.dedup();
    names
}

// === retry ===

fn retry_elsewhere(turn: &mut Turn<'_>, request: &Request) {
    if matches!(turn.record.place, Place::Degraded { .. }) {
        return;
    }
    let why = "retry is for after a rollback".to_owned();
    turn.answer(request, Outcome::Refused(why));
}

/// After a rollback: the failed revision once more. Returns whether it began.
pub(crate) fn retry(turn: &mut Turn<'_>) -> bool {
    let wanted = turn.open_requests().find(|request| matches!(request.verb, Verb::Retry { .. }));
    let Some(request) = wanted else { return false };
    if let Verb::Retry { without: Some(name) } = &request.verb {
        let why =
            format!("only one traffic entry drives this rollout, it cannot go on without {name}");
        turn.answer(request, Outcome::Refused(why));
        return false;
    }
    if let Some(hold) = turn.record.holds.first() {
        let why = format!("held by {}: resume first", hold.kind.word());
        turn.answer(request, Outcome::Refused(why));
        return false;
    }
    turn.answer(request, Outcome::Accepted);
    turn.begin_pending(haldane_model::PendingCause::Retry);
    turn.tell(Reason::Retried, request.actor.clone(), None, request.reason.clone());
    true
}

// === impl Turn ===

impl Turn<'_> {
    /// Goes to Pending, with nothing learned.
    pub(crate) fn begin_pending(&mut self, cause: haldane_model::PendingCause) {
        self.forget();
        self.record.progressed = std::time::Duration::ZERO;
        self.go(Place::Pending { cause });
    }
}
