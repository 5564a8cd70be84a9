//! RollingBack: putting the traffic back. It asks for the write until every entry reads 0 for longer
//! than any write takes, and nothing else happens meanwhile.

use std::time::Duration;

use haldane_model::{Actor, Cause, Ground, PendingCause, Place, Reason, SpecSeen, Weight};

use crate::{holds, lower, turn::Turn};

/// The longest pause between two looks at a rollback.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Keeps lowering; ends once 0 was read for longer than any write can take to land.
pub(crate) fn rolling_back(turn: &mut Turn<'_>) {
    let Place::RollingBack { cause, out_of, .. } = turn.record.place else { return };
    if matches!(turn.seen.spec, Some(SpecSeen::NamespaceDeleted)) {
        lower::keep_lowering(turn);
        turn.tell(Reason::Deleted, Actor::Engine, None, None);
        turn.release();
        return;
    }
    if is_confirmed(turn) {
        end(turn, cause, out_of);
    } else {
        lower::keep_lowering(turn);
        turn.wake(LOOK_AGAIN);
    }
}

fn is_confirmed(turn: &Turn<'_>) -> bool {
    let longest = turn.record.plan.as_ref().map(|plan| plan.write_deadline()).unwrap_or_default();
    turn.reads_exactly(Weight::ZERO)
        && turn.seen_entries().all(|(_, seen)| {
            seen.first.boot == turn.now.boot
                && turn.now.mono.saturating_sub(seen.first.mono) >= longest
        })
}

fn end(turn: &mut Turn<'_>, cause: Cause, out_of: Ground) {
    let home = turn.record.header.home.clone();
    turn.record.serving = Some(home.clone());
    let read: Vec<_> =
        turn.readings().filter_map(|(name, read)| Some((name.clone(), read.mark?))).collect();
    turn.record.marks.extend(read);
    let failed = turn.record.revision.clone();
    let deleted = turn.seen.spec == Some(SpecSeen::Deleted) || cause == Cause::Deleted;
    if deleted {
        turn.tell(Reason::Deleted, Actor::Engine, None, None);
        turn.release();
        return;
    }
    match cause {
        Cause::RevisionChanged => turn.begin_pending(PendingCause::Revision),
        Cause::Undone => {
            turn.record.failed = failed;
            turn.record.revision = turn.record.previous.take();
            turn.forget();
            turn.go(Place::Healthy);
        }
        Cause::Breach
        | Cause::CanaryLost
        | Cause::AbortedByPerson
        | Cause::OwnLoweringFound
        | Cause::AlertAbort
        | Cause::Deleted
        | Cause::NoData
        | Cause::SourceError
        | Cause::Inconclusive
        | Cause::MaxBakeReached
        | Cause::DeadlineReached => {
            turn.record.failed = failed;
            turn.go(Place::Degraded { cause });
        }
    }
    holds::end_with_rollback(turn);
    let from = match out_of {
        Ground::Flight => "out of an attempt",
        Ground::Watch => "out of the watch",
        Ground::Rest => "after the watch",
    };
    turn.tell(Reason::RolledBack, Actor::Engine, None, Some(format!("{home} serves, {from}")));
}
