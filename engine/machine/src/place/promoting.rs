//! Promoting: at 100 %, cleaning up. The flip comes with the last entry that is done.

use haldane_model::{Actor, Block, Place, Reason};

use crate::{turn::Turn, view::Shown};

/// Takes note of what is cleaned up, and flips once everything is.
pub(crate) fn keep(turn: &mut Turn<'_>) {
    let finished = &turn.seen.finished;
    if let Place::Promoting { left } = &mut turn.record.place {
        left.retain(|name| !matches!(finished.get(name), Some(Ok(()))));
    }
}

/// Flips, or asks for the clean-up again.
pub(crate) fn advance(turn: &mut Turn<'_>) {
    let Place::Promoting { left } = &turn.record.place else { return };
    if !left.is_empty() {
        let failed = left.iter().find_map(|name| {
            let why = turn.seen.finished.get(name)?.as_ref().err()?;
            Some(format!("{name}: {why}"))
        });
        if let Some(why) = failed {
            turn.block(Block::WriteFailing, why);
        }
        if !turn.is_writing() {
            turn.clean_up();
        }
        turn.wake(std::time::Duration::from_secs(1));
        return;
    }
    if turn.record.holds.is_empty() {
        flip(turn);
    }
}

/// One record: from here on the side under test serves. Roles turn after the watch.
fn flip(turn: &mut Turn<'_>) {
    let test = turn.record.header.test.clone();
    let home = turn.record.header.home.clone();
    turn.record.stood = match turn.shown(&home) {
        Shown::One(revision) => Some(revision.clone()),
        Shown::Unknown | Shown::Several(_) => turn.record.previous.clone(),
    };
    turn.record.failed = None;
    turn.record.serving = Some(test.clone());
    if let Some(revision) = turn.record.revision.clone() {
        turn.record.promoted.insert(test.clone(), revision);
    }
    turn.record.progressed = std::time::Duration::ZERO;
    let watch = turn.record.plan.as_ref().map(|plan| plan.watch).unwrap_or_default();
    turn.go(Place::Watching { watched: std::time::Duration::ZERO, restore: None });
    turn.tell(Reason::Promoted, Actor::Engine, None, Some(format!("{test} serves")));
    if watch.is_zero() {
        super::healthy::end_watch(turn);
    }
}
