//! Waiting: the step before is done, and the next one's gates are not all open.

use haldane_model::{Actor, Block, GateAnswer, GateKind, Place, Reason};

use crate::{raise, requests, turn::Turn};

/// Begins the step once every gate is open and a raise may be recorded.
pub(crate) fn advance(turn: &mut Turn<'_>) {
    let Place::Waiting { step, .. } = turn.record.place else { return };
    if let Some(shut) = shut(turn) {
        turn.block(Block::GateShut, shut);
        return;
    }
    let target = raise::target(turn, step);
    if let Some(name) = requests::shut_gate(turn, step, target) {
        turn.block(Block::GateShut, format!("gate {name} is closed"));
        return;
    }
    let Some(plan) = turn.record.plan.clone() else { return };
    let from = turn.record.asserted();
    let to = plan.weight(target);
    if turn.record.holds.is_empty() && raise::may_raise(turn, from, to, None) {
        raise::begin_step(turn, target, from);
        turn.tell(Reason::GateOpened, Actor::Engine, None, None);
    }
}

/// Returns what keeps the first shut gate shut.
fn shut(turn: &Turn<'_>) -> Option<String> {
    let waived = turn.are_gates_waived();
    turn.step()?.gates.iter().find_map(|gate| match gate.kind {
        GateKind::Manual => {
            (!waived).then(|| format!("gate {} waits for a person to promote", gate.name))
        }
        GateKind::External(_) => match turn.seen.gates.get(&gate.name) {
            Some(GateAnswer::Open) => None,
            Some(GateAnswer::Closed(why)) => Some(format!("gate {} is closed: {why}", gate.name)),
            None => Some(format!("gate {} has not answered", gate.name)),
        },
    })
}
