//! Foreign writes: what others raised is undone at once, what others lowered is restored only after
//! the guards had a look, and what is fought over is left to a person.

use std::time::Duration;

use haldane_model::{Actor, Block, HoldKind, Place, Reading, Reason, Weight};
use jiff::Timestamp;

use crate::turn::Turn;

/// Foreign writes are remembered this long.
const FOREIGN_SPAN: Duration = Duration::from_secs(300);

/// So many foreign writes within [`FOREIGN_SPAN`] are a conflict.
const FOREIGN_MAX: usize = 3;

/// Compares the split that was read with the one that is asserted, and corrects it.
pub(crate) fn correct(turn: &mut Turn<'_>) {
    if turn.record.serving.is_none() || turn.record.header.entries.is_empty() {
        return;
    }
    if !turn.drives_what_is_written() {
        // An edit at rest brought an entry that was never ours: it is read, not written.
        return;
    }
    let oldest = turn.ago(FOREIGN_SPAN);
    turn.record.foreign.retain(|at| *at >= oldest);
    if turn.record.is_conflicted() {
        // Not counted, but known: who resumes, resumes over what stands.
        note(turn);
        undo_seldom(turn);
        return;
    }
    let is_new = count(turn);
    if is_new && gives_all_back(turn) || turn.record.foreign.len() >= FOREIGN_MAX {
        conflict(turn);
        return;
    }
    undo_raise(turn);
    accept_lowering(turn);
}

/// The highest share that is ours, or may become so, in this place.
fn allowed(turn: &Turn<'_>) -> Weight {
    match &turn.record.place {
        Place::Shifting { step, from, .. } => {
            turn.record.plan.as_ref().map_or(*from, |plan| plan.weight(*step).max(*from))
        }
        Place::Pending { .. }
        | Place::Waiting { .. }
        | Place::Baking { .. }
        | Place::Promoting { .. }
        | Place::Watching { .. }
        | Place::Healthy
        | Place::RollingBack { .. }
        | Place::Degraded { .. } => turn.record.asserted(),
    }
}

/// The lowest share that is not somebody else's work.
fn expected(turn: &Turn<'_>) -> Weight {
    match turn.record.place {
        // While a lowered share is restored, what was read then is where it starts from.
        Place::Watching { restore: Some(_), .. } => Weight::ZERO,
        Place::Pending { .. }
        | Place::Waiting { .. }
        | Place::Shifting { .. }
        | Place::Baking { .. }
        | Place::Promoting { .. }
        | Place::Watching { .. }
        | Place::Healthy
        | Place::RollingBack { .. }
        | Place::Degraded { .. } => turn.record.asserted(),
    }
}

/// Whether the last write to this entry was somebody else's: our signature on it is the one that is
/// known, or there is none. A late write of ours carries an older one.
fn is_foreign(turn: &Turn<'_>, name: &haldane_model::EntryName, reading: &Reading) -> bool {
    let known = turn.record.marks.get(name);
    match (reading.mark, known) {
        (Some(mark), Some(known)) => mark.number == known.number,
        (Some(_), None) => false,
        (None, _) => true,
    }
}

/// Counts each foreign write once. Returns whether there is a new one.
fn count(turn: &mut Turn<'_>) -> bool {
    let new = note(turn);
    let is_new = !new.is_empty();
    turn.record.foreign.extend(new);
    let surplus = turn.record.foreign.len().saturating_sub(FOREIGN_MAX);
    turn.record.foreign.drain(..surplus);
    is_new
}

/// Notes which foreign writes stand now. Returns when those were first read that did not stand before:
/// a write that stands still is the same one, over a restart and a read that failed as well.
fn note(turn: &mut Turn<'_>) -> Vec<Timestamp> {
    let (allowed, expected) = (allowed(turn), expected(turn));
    let test = turn.record.header.test.clone();
    let mut looks = Vec::new();
    for (name, seen) in turn.seen_entries() {
        let Ok(reading) = &seen.reading else { continue };
        let (lowest, highest) = reading.range_of(&test);
        let differs = highest > allowed || lowest < expected;
        let stands = differs && is_foreign(turn, name, reading);
        let split = stands.then_some((reading.lowest, reading.highest));
        looks.push((name.clone(), split, seen.first.wall));
    }
    let mut new = Vec::new();
    for (name, split, first) in looks {
        let before = match split {
            Some(split) => turn.record.standing.insert(name, split),
            None => turn.record.standing.remove(&name),
        };
        new.extend((split.is_some() && before != split).then_some(first));
    }
    new
}

/// Whether others put everything where a rollback, or after the watch an undo, would put it.
fn gives_all_back(turn: &Turn<'_>) -> bool {
    let Some(range) = turn.range() else { return false };
    let foreign = || turn.readings().any(|(name, reading)| is_foreign(turn, name, reading));
    let place = &turn.record.place;
    let back = match place {
        Place::Healthy => range.lowest == Weight::FULL,
        Place::Waiting { .. }
        | Place::Shifting { .. }
        | Place::Baking { .. }
        | Place::Promoting { .. }
        | Place::Watching { .. } => range.highest == Weight::ZERO,
        Place::Pending { .. } | Place::RollingBack { .. } | Place::Degraded { .. } => false,
    };
    back && foreign()
}

fn conflict(turn: &mut Turn<'_>) {
    let writer = turn.readings().find_map(|(_, reading)| reading.writer.clone());
    let by = writer.unwrap_or_else(|| "someone else".to_owned());
    if turn.hold(HoldKind::Conflict { undone: None }, Actor::Engine) {
        let detail =
            format!("{by} writes to the split; resume to assert {}", turn.record.asserted());
        turn.tell(Reason::Conflicted, Actor::Engine, None, Some(detail));
    }
}

/// Undoes a raise at once: by others, of unknown origin, or a late one of ours.
fn undo_raise(turn: &mut Turn<'_>) {
    let allowed = allowed(turn);
    let Some(range) = turn.range() else { return };
    if range.highest > allowed {
        turn.lower(turn.record.asserted());
        let writer = turn.readings().find_map(|(_, reading)| reading.writer.clone());
        let by = writer.map_or_else(String::new, |writer| format!("; {writer} wrote last"));
        let words = format!("{} was read, {allowed} is ours{by}", range.highest);
        turn.block(Block::ShareHigh, words);
    }
}

/// Under a conflict a raise is undone at most once in a guard interval: nobody is fought.
fn undo_seldom(turn: &mut Turn<'_>) {
    let Some(range) = turn.range() else { return };
    // A person's rollback by hand gives everything to the home side; what is above the asserted
    // share is still undone, except after the watch, where it is the way an undo would take.
    let by_hand = turn.record.place == Place::Healthy && range.lowest == Weight::FULL;
    if range.highest <= allowed(turn) || by_hand {
        return;
    }
    let pace = turn.plan().map_or(Duration::from_secs(15), |plan| plan.guard_interval());
    let soonest = turn.ago(pace);
    let now = turn.now.wall;
    let asserted = turn.record.asserted();
    let mut due = false;
    for hold in &mut turn.record.holds {
        if let HoldKind::Conflict { undone } = &mut hold.kind
            && undone.is_none_or(|last| last <= soonest)
        {
            *undone = Some(now);
            due = true;
        }
    }
    if due {
        turn.lower(asserted);
    }
    turn.wake(pace);
}

/// Takes a lowered share as the place to start from: it is restored after the guards had a look.
fn accept_lowering(turn: &mut Turn<'_>) {
    let expected = expected(turn);
    let Some(range) = turn.range() else { return };
    if range.lowest >= expected {
        return;
    }
    // A write of ours on its way up may show one part before the other; below `from` it is not ours.
    let words = format!("{} was read, {expected} is ours", range.lowest);
    if restore_from(turn, range.lowest) {
        turn.tell(Reason::LoweredByOther, Actor::Engine, None, Some(words));
    }
}

/// Starts the way back to the last confirmed step from this share. Returns whether this place has
/// one.
pub(crate) fn restore_from(turn: &mut Turn<'_>, from: Weight) -> bool {
    let restore = Some(turn.stamp());
    let step = match &turn.record.place {
        Place::Waiting { step, .. } => step.saturating_sub(1),
        Place::Shifting { step, restore: Some(_), .. } => *step,
        // A person may have gone from the first step to the last: what lies between was never held.
        Place::Shifting { from, restore: None, .. } => {
            let steps = turn.record.plan.iter().flat_map(|plan| &plan.steps);
            steps.take_while(|step| step.weight <= *from).count().saturating_sub(1)
        }
        Place::Baking { step, .. } => *step,
        Place::Promoting { .. } => turn.record.plan.as_ref().map_or(0, |plan| plan.last_step()),
        Place::Watching { .. } => {
            turn.record.place = Place::Watching { watched: Duration::ZERO, restore };
            return true;
        }
        Place::Pending { .. }
        | Place::Healthy
        | Place::RollingBack { .. }
        | Place::Degraded { .. } => return false,
    };
    // The step is held anew: what was waived of it before is not waived again.
    turn.record.waivers.retain(|waiver| waiver.step > step);
    turn.go(Place::Shifting { step, from, restore });
    true
}
