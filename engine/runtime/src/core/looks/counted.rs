//! Looks of checks that count: every window once, from the first exposure on, however long the
//! engine was away.
//!
//! A threshold looks at the last minutes; what counts gathers evidence, and what it has not seen yet
//! is what it asks for. What was seen is told by the record, so that a restart asks for the same again.

use std::{sync::Arc, time::Duration};

use haldane_judge::{Stage, Together, folded_to, part, together_of};
use haldane_model::{Check, CheckSeen, Evidence, Finding, Record, Verdict, Window};
use jiff::{SignedDuration, Timestamp};

use super::{
    Looks, is_at_rest,
    window::{begin_of, moment, on_grid},
};
use crate::core::LookKey;

/// How long before an attempt the serving side is looked at, to know how its errors clump.
const BEFORE: Duration = Duration::from_secs(3_600);

/// How far back is caught up after the engine was away; what is older is left out.
const CAUGHT_UP: SignedDuration = SignedDuration::from_mins(15);

/// What was not looked at yet, up to `end`: from the first exposure on, in whole windows.
pub(super) fn window(
    record: &Record,
    check: &Check,
    pace: Duration,
    (end, ahead): (Timestamp, SignedDuration),
) -> Window {
    let before = |end: Timestamp, by: SignedDuration| end.checked_sub(by).unwrap_or(Timestamp::MIN);
    let width = SignedDuration::try_from(pace).unwrap_or(SignedDuration::MAX);
    let last = before(end, width);
    if is_at_rest(record) {
        return Window { begin: last, end };
    }
    let exposed = begin_of(record, check).map(|stamp| moment(stamp, check, ahead));
    // What the source had not taken in yet was not folded, and is asked for again.
    let folded = record.evidence.get(&check.name).and_then(folded_to);
    let begin = exposed.into_iter().chain(folded).max().map(|begin| on_grid(begin, pace));
    let begin = begin.unwrap_or(last).max(on_grid(before(end, CAUGHT_UP), pace));
    Window { begin: begin.min(last), end }
}

/// How long before an attempt's first look the serving side is looked at as well.
pub(super) fn before(record: &Record, check: &Check) -> Option<Duration> {
    let first = record.evidence.get(&check.name).is_none_or(Evidence::is_empty);
    (first && !is_at_rest(record)).then_some(BEFORE)
}

/// What a verdict rests on: all windows of the step, where it speaks of a step. The first of them begins
/// on the grid.
pub(super) fn rests_on(stage: &Stage, key: &LookKey, pace: Duration) -> Window {
    let Window { begin, end } = key.window;
    let from = if stage.gates { first_after(stage.windows_from, pace) } else { begin };
    Window { begin: from.min(end), end }
}

/// The first point of the grid that is not before a moment.
fn first_after(moment: Timestamp, pace: Duration) -> Timestamp {
    let last = on_grid(moment, pace);
    let width = SignedDuration::try_from(pace).unwrap_or(SignedDuration::MAX);
    if last == moment { moment } else { last.checked_add(width).unwrap_or(moment) }
}

// === impl Looks ===

impl Looks {
    /// Judges the comparing checks together, after one of them had a look: they share one chance of a
    /// false alarm, and together they may show what none shows alone.
    pub(super) fn judge_together(&mut self, record: &Record, key: &LookKey) {
        if key.at_rest {
            return;
        }
        let current = |seen: &&Arc<CheckSeen>| {
            seen.attempt == key.attempt && seen.revision == key.revision && !seen.at_rest
        };
        let none = Evidence::default();
        let parts: Vec<_> = self
            .checks
            .iter()
            .filter(|(_, known)| !known.dry_run && known.compares())
            .filter_map(|(name, known)| {
                let (_, rule) = known.rule.as_ref()?;
                if known.seen.as_ref().filter(current).is_some() {
                    return Some((name, known.part?));
                }
                // Not looked since this process began: what the record has.
                let evidence = record.evidence.get(name).unwrap_or(&none);
                Some((name, part(rule, evidence)?))
            })
            .collect();
        if !parts.iter().any(|(name, _)| **name == key.check) {
            return;
        }
        let Some(shown) = together_of(&parts) else { return };
        let known = self.checks.get_mut(&key.check);
        let Some(seen) = known.and_then(|known| known.seen.as_mut()) else { return };
        if seen.verdict.is_breach() || seen.verdict == Verdict::SourceError {
            return;
        }
        let seen = Arc::make_mut(seen);
        let finding = Arc::make_mut(&mut seen.finding);
        show_together(finding, &shown);
        seen.verdict = finding.verdict;
    }
}

/// Says of a check's look what all of them show.
pub(crate) fn show_together(finding: &mut Finding, shown: &Together) {
    finding.verdict = Verdict::Fail { breach: true };
    let alone = finding.message.take().map(|message| format!(": {message}"));
    let alone = alone.unwrap_or_default();
    finding.message = Some(format!("together the checks show a regression, {shown}{alone}"));
}
