//! Where a look's window lies: on the grid of its pace, in the source's time, within the attempt.

use std::{collections::VecDeque, time::Duration};

use haldane_model::{Check, Plan, Record, Stamp, Weight, Window};
use jiff::{SignedDuration, Timestamp};

use super::is_at_rest;

/// The last point of the grid that is not in the future.
pub(super) fn on_grid(there: Timestamp, pace: Duration) -> Timestamp {
    let pace = i64::try_from(pace.as_millis()).unwrap_or(i64::MAX).max(1);
    let at = there.as_millisecond();
    Timestamp::from_millisecond(at - at.rem_euclid(pace)).unwrap_or(there)
}

/// How long it is until the grid's next point.
pub(super) fn until(there: Timestamp, slot: Timestamp, pace: Duration) -> Duration {
    let passed = Duration::try_from(there.duration_since(slot)).unwrap_or_default();
    pace.saturating_sub(passed).max(Duration::from_millis(1))
}

/// What one look reaches over: this attempt, and no more than the check's window.
pub(super) fn window(
    record: &Record,
    plan: &Plan,
    check: &Check,
    scrape: Duration,
    (end, ahead): (Timestamp, SignedDuration),
) -> Window {
    let shortest = plan.steps.iter().map(|step| step.bake).filter(|bake| !bake.is_zero()).min();
    let width = check
        .window
        .unwrap_or_else(|| check.interval.max(scrape * 4).min(shortest.unwrap_or(Duration::MAX)))
        // What is shorter is never judged: the check would neither pass nor guard, however long it is
        // asked. A step whose bake is shorter waits a little longer for its Pass.
        .max(scrape * 2);
    let begin = end.checked_sub(width).unwrap_or(Timestamp::MIN);
    let first = begin_of(record, check).filter(|_| !is_at_rest(record));
    let first = first.map(|stamp| moment(stamp, check, ahead));
    let first = first.and_then(|first| first.checked_sub(scrape).ok());
    Window { begin: first.map_or(begin, |first| begin.max(first)).min(end), end }
}

/// Since when a check looks: the first exposure, or the begin of the phase that it is asked in.
pub(super) fn begin_of<'a>(record: &'a Record, check: &Check) -> Option<&'a Stamp> {
    let exposed = record.exposed.confirmed.as_ref().or(record.exposed.could.as_ref());
    record.in_force.get(&check.name).or(exposed)
}

/// A moment on the check's source's clock. Where the source had not told its time by then, what it
/// tells now is used, as the machine does.
pub(super) fn moment(stamp: &Stamp, check: &Check, ahead: SignedDuration) -> Timestamp {
    let there = || stamp.wall.checked_add(ahead).unwrap_or(stamp.wall);
    stamp.sources.get(&check.source).copied().unwrap_or_else(there)
}

/// The lowest share that was read during a window; `None` where nothing was.
pub(super) fn lowest_share(
    shares: &VecDeque<(Timestamp, Option<Weight>)>,
    window: Window,
    ahead: SignedDuration,
) -> Option<Weight> {
    let begin = window.begin.checked_sub(ahead).unwrap_or(window.begin);
    let end = window.end.checked_sub(ahead).unwrap_or(window.end);
    let before = shares.iter().rev().find(|(at, _)| *at <= begin);
    let during = shares.iter().filter(|(at, _)| *at > begin && *at <= end);
    before
        .into_iter()
        .chain(during)
        .map(|(_, share)| *share)
        .collect::<Option<Vec<_>>>()?
        .into_iter()
        .min()
}
