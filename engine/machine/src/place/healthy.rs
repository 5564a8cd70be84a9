//! Healthy: all traffic is where it belongs. During the watch guards go on; after it nothing is
//! judged, and the next revision begins.

use std::time::Duration;

use haldane_model::{Actor, PendingCause, Place, Reason, Weight};

use crate::{raise, turn::Turn, view::Shown};

/// In the watch: restores, ends it, or is cut short by the next revision. After it: begins that.
pub(crate) fn advance(turn: &mut Turn<'_>) {
    match turn.record.place.clone() {
        Place::Watching { watched, restore } => watch(turn, watched, restore.as_ref()),
        Place::Healthy => next(turn),
        Place::Pending { .. }
        | Place::Waiting { .. }
        | Place::Shifting { .. }
        | Place::Baking { .. }
        | Place::Promoting { .. }
        | Place::RollingBack { .. }
        | Place::Degraded { .. } => {}
    }
}

fn watch(turn: &mut Turn<'_>, watched: Duration, restore: Option<&haldane_model::Stamp>) {
    let Some(plan) = turn.record.plan.clone() else { return };
    if let Some(moment) = restore {
        let from = turn.range().map_or(Weight::ZERO, |range| range.lowest);
        raise::raise_again(turn, from, Weight::FULL, Some(moment));
    }
    let over = watched >= plan.watch && (plan.unanalysed || turn.is_no_guard_failing());
    let late = turn.record.progressed >= plan.watch.saturating_add(plan.progress_deadline);
    if over || late {
        end_watch(turn);
    } else if cut(turn) {
        turn.record.progressed = Duration::ZERO;
    } else {
        turn.wake(plan.watch.saturating_sub(watched).max(Duration::from_millis(100)));
    }
}

/// The previous revision is gone from the other side, and a new one can begin: the watch ends.
fn cut(turn: &mut Turn<'_>) -> bool {
    if !turn.has_home_changed() || !turn.record.holds.is_empty() {
        return false;
    }
    let home = turn.record.header.home.clone();
    let Shown::One(revision) = turn.shown(&home) else { return false };
    let revision = revision.clone();
    turn_roles(turn);
    if !turn.is_startable(&revision, false) {
        turn_roles(turn);
        return false;
    }
    turn.begin_pending(PendingCause::Revision);
    turn.tell(Reason::WatchCut, Actor::Engine, None, Some(format!("{home} shows {revision}")));
    true
}

/// Ends the watch: nothing is judged any more, and the roles turn.
pub(crate) fn end_watch(turn: &mut Turn<'_>) {
    turn.go(Place::Healthy);
    turn_roles(turn);
    turn.forget();
    turn.record.progressed = Duration::ZERO;
    turn.tell(Reason::WatchEnded, Actor::Engine, None, None);
}

fn turn_roles(turn: &mut Turn<'_>) {
    let header = &mut turn.record.header;
    std::mem::swap(&mut header.test, &mut header.home);
}

fn next(turn: &mut Turn<'_>) {
    if turn.is_next_startable() {
        turn.begin_pending(PendingCause::Revision);
        turn.tell(Reason::RevisionChanged, Actor::Engine, None, None);
    }
}

// === impl Turn ===

impl Turn<'_> {
    /// Returns whether, at rest, something new stands on the idle side.
    pub(crate) fn is_next_startable(&self) -> bool {
        if self.written_plan().is_none() || !self.record.holds.is_empty() || self.is_reverted() {
            return false;
        }
        match self.shown(&self.record.header.test) {
            Shown::One(revision) => self.is_startable(revision, false),
            Shown::Unknown | Shown::Several(_) => false,
        }
    }
}
