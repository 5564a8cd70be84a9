//! The places a rollout can be in: one file each, with what it keeps and how it goes on.
//!
//! `keep` states facts (a share that was confirmed, a clean-up that is done) and runs under every
//! hold; `advance` is all that raises or starts, and runs under none that pauses.

mod baking;
mod degraded;
mod healthy;
mod pending;
mod promoting;
mod rolling_back;
mod shifting;
mod waiting;
mod watching;

use haldane_model::{Place, Record, State};

pub(crate) use self::rolling_back::rolling_back;
use crate::turn::Turn;

/// Returns whether the traffic is going back, which has an order of its own.
pub(crate) fn is_rolling_back(record: &Record) -> bool {
    matches!(record.place, Place::RollingBack { .. })
}

/// Goes on, by at most one place.
pub(crate) fn advance(turn: &mut Turn<'_>) {
    if turn.has_moved() {
        return;
    }
    keep(turn);
    if turn.has_moved() {
        return;
    }
    match turn.record.state() {
        State::Pending => pending::advance(turn),
        State::Waiting => waiting::advance(turn),
        State::Shifting => shifting::advance(turn),
        State::Baking => baking::advance(turn),
        State::Promoting => promoting::advance(turn),
        State::Healthy => healthy::advance(turn),
        State::Degraded => degraded::advance(turn),
        // Held: what is asserted stays asserted, guards run, nothing begins.
        State::Paused | State::Conflicted => {}
        State::RollingBack => {}
    }
}

fn keep(turn: &mut Turn<'_>) {
    match turn.record.place {
        Place::Pending { .. } => pending::keep(turn),
        Place::Shifting { .. } => shifting::keep(turn),
        Place::Promoting { .. } => promoting::keep(turn),
        Place::Watching { .. } => watching::keep(turn),
        Place::Waiting { .. }
        | Place::Baking { .. }
        | Place::Healthy
        | Place::RollingBack { .. }
        | Place::Degraded { .. } => {}
    }
}
