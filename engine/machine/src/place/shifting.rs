//! Shifting: on the way to a step's weight. Users may see the new revision from the first write.

use haldane_model::{Acknowledged, Actor, Block, Place, Reason, WaiverKind, Weight};

use crate::{bake, raise, requests, turn::Turn};

/// Begins the bake once every entry reads the weight, acknowledged and settled.
pub(crate) fn keep(turn: &mut Turn<'_>) {
    let Place::Shifting { step, .. } = turn.record.place else { return };
    let Some(plan) = turn.record.plan.clone() else { return };
    let to = plan.weight(step);
    if !turn.is_confirmed(to) {
        return;
    }
    let stamp = turn.stamp();
    if to > Weight::ZERO && turn.record.exposed.confirmed.is_none() {
        turn.record.exposed.confirmed = Some(stamp.clone());
    }
    let read: Vec<_> =
        turn.readings().filter_map(|(name, read)| Some((name.clone(), read.mark?))).collect();
    turn.record.marks.extend(read);
    turn.record
        .waivers
        .retain(|waiver| waiver.step >= step && !matches!(waiver.kind, WaiverKind::Open { .. }));
    turn.record.expected = None;
    let bake = std::time::Duration::ZERO;
    turn.go(Place::Baking { step, baked: bake, from: stamp, done_at: None });
    turn.record.ticked.counting = bake::is_counting(turn);
    let level = turn.readings().map(|(_, reading)| reading.acknowledged).min();
    let how = match level {
        Some(Acknowledged::Measured) => "measured in the traffic",
        Some(Acknowledged::Programmed) => "the data plane has it",
        Some(Acknowledged::Accepted) | None => "accepted and settled",
    };
    turn.tell(Reason::StepConfirmed, Actor::Engine, None, Some(how.to_owned()));
}

/// Asks for the raise again while it is not read back.
pub(crate) fn advance(turn: &mut Turn<'_>) {
    let Place::Shifting { step, from, restore } = turn.record.place.clone() else { return };
    let Some(plan) = turn.record.plan.clone() else { return };
    let to = plan.weight(step);
    if to < from {
        // Others left more than this step asks for; what is above it goes at once.
        turn.lower(to);
        return;
    }
    let unsent = turn.reads_exactly(from) && !turn.is_writing();
    if restore.is_none()
        && unsent
        && let Some(name) = requests::shut_gate(turn, step, step)
    {
        turn.block(Block::GateShut, format!("gate {name} is closed"));
        return;
    }
    raise::raise_again(turn, from, to, restore.as_ref());
}
