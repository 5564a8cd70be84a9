//! Baking: at the step's weight, gathering evidence until the step is done.

use haldane_model::{Actor, Block, Place, Reason, WaiverKind};

use crate::{
    bake::{self, Done},
    expected, raise, requests,
    turn::Turn,
};

/// Ends the step, and begins what comes after it.
pub(crate) fn advance(turn: &mut Turn<'_>) {
    let Place::Baking { step, .. } = turn.record.place else { return };
    let Some(plan) = turn.record.plan.clone() else { return };
    let Some(done) = bake::done(turn) else {
        if bake::awaits_pass(turn) {
            turn.block(Block::AwaitingPass, "the bake is over, and not every check passes");
        }
        return;
    };
    if !turn.record.holds.is_empty() {
        return;
    }
    let beside = expected::beside(turn);
    if step == plan.last_step() {
        let left = plan.entries.iter().map(|entry| entry.name.clone()).collect();
        turn.go(Place::Promoting { left });
        turn.clean_up();
        tell_done(turn, &done, beside);
        return;
    }
    let target = raise::target(turn, step + 1);
    let gated = plan.steps.get(step + 1).is_some_and(|next| !next.gates.is_empty());
    if gated && target == step + 1 && !opens_gates(&done) {
        turn.go(Place::Waiting { step: step + 1, since: turn.now.wall });
        tell_done(turn, &done, beside);
        turn.tell(Reason::GateAsked, Actor::Engine, None, None);
        return;
    }
    if opens_gates(&done)
        && let Some(name) = requests::shut_gate(turn, step + 1, target)
    {
        turn.block(Block::GateShut, format!("gate {name} is closed"));
        return;
    }
    let from = plan.weight(step);
    if raise::may_raise(turn, from, plan.weight(target), None) {
        raise::begin_step(turn, target, from);
        tell_done(turn, &done, beside);
    }
}

/// Only a full promotion opens the manual gates on its way.
fn opens_gates(done: &Done) -> bool {
    match done {
        Done::Waived(waiver) => matches!(waiver.kind, WaiverKind::Promote { full: true, .. }),
        Done::Passed | Done::Held => false,
    }
}

fn tell_done(turn: &mut Turn<'_>, done: &Done, beside: Option<String>) {
    let (actor, detail) = match done {
        Done::Passed => {
            let beside = beside.map(|beside| format!("; {beside}")).unwrap_or_default();
            (Actor::Engine, format!("every check passed on this bake{beside}"))
        }
        Done::Held => (Actor::Engine, "its time passed and no guard failed".to_owned()),
        Done::Waived(waiver) => {
            let how = match waiver.kind {
                WaiverKind::Promote { .. } => "promoted",
                WaiverKind::Skip => "its evidence was waived",
                WaiverKind::Policy | WaiverKind::Open { .. } => "by policy",
            };
            (waiver.actor.clone(), how.to_owned())
        }
    };
    turn.tell(Reason::StepPassed, actor, None, Some(detail));
}
