//! Degraded: the traffic is back, and stays so until something new is to be rolled out.

use haldane_model::{Actor, PendingCause, Reason};

use crate::{requests, turn::Turn};

/// Retries on request, begins the next revision, or rests when the failed one was set back.
pub(crate) fn advance(turn: &mut Turn<'_>) {
    if requests::retry(turn) {
        return;
    }
    if turn.is_next_startable() {
        turn.begin_pending(PendingCause::Revision);
        turn.tell(Reason::RevisionChanged, Actor::Engine, None, None);
    } else if turn.record.holds.is_empty() && turn.is_reverted() {
        turn.settle();
    }
}
