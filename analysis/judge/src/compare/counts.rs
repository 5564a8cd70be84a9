//! From a source's counts to sums, or a refusal.
//!
//! One count that cannot be meant makes the whole answer unusable: what is wrong in one place is
//! not to be trusted in the next, and NaN must never reach the evidence.

use haldane_model::{Count, CountWindow, Counts};

use super::{
    book::Book,
    rule::{Compare, Kind},
};
use crate::betting::Sums;

/// No process serves more requests in a window.
const COUNT_MAX: f64 = 1e15;

/// An answer that can be used.
#[derive(Debug)]
pub(super) struct Answered<'a> {
    /// The bounds of the source, rising; empty for errors.
    pub(super) bounds: &'a [f64],
    pub(super) windows: &'a [CountWindow],
    /// The serving side before the attempt.
    pub(super) before: &'a [CountWindow],
    pub(super) late: u64,
    /// Why there is nothing at all, where the source says so.
    pub(super) nothing: Option<&'a str>,
}

impl<'a> Answered<'a> {
    /// The source answered, and there is nothing.
    pub(super) fn nothing(reason: &'a str) -> Self {
        Self { bounds: &[], windows: &[], before: &[], late: 0, nothing: Some(reason) }
    }
}

/// Reads counts; the error is for people.
pub(super) fn read<'a>(
    rule: &Compare,
    book: &Book,
    counts: &'a Counts,
) -> Result<Answered<'a>, String> {
    let bounds = &counts.bounds;
    match rule.kind {
        Kind::Errors if !bounds.is_empty() => {
            return Err("the source counted by bounds, where errors were asked for".to_owned());
        }
        Kind::Latency if bounds.is_empty() => {
            return Err("the source has no bounds: latency needs a histogram".to_owned());
        }
        Kind::Errors | Kind::Latency => {}
    }
    if bounds.iter().any(|bound| bound.is_nan()) || !bounds.is_sorted() {
        return Err("the source's bounds do not rise".to_owned());
    }
    let gone = |bound: &f64| !bounds.contains(bound);
    if let Some(bound) = book.lines.iter().filter_map(|line| line.bound).find(gone) {
        return Err(format!("the histogram has no bound {bound} any more, at which is watched"));
    }
    if let Some((gathered, _)) =
        book.premise.as_ref().and_then(|premise| premise.gathering.as_ref())
        && gathered.len() != bounds.len()
    {
        return Err("the histogram has other bounds than before".to_owned());
    }
    let numbers = bounds.len().max(1);
    for window in counts.before.iter().chain(&counts.windows) {
        check(window, numbers)?;
    }
    let Counts { bounds, windows, before, late, skew: _ } = counts;
    Ok(Answered { bounds, windows, before, late: *late, nothing: None })
}

pub(crate) fn check(window: &CountWindow, numbers: usize) -> Result<(), String> {
    if window.window.end <= window.window.begin {
        return Err(format!("a window ends at {} before it begins", window.window.end));
    }
    for count in window.test.iter().chain(&window.serving) {
        let odd = |number: &&f64| !(0.0..=COUNT_MAX).contains(*number);
        let all = || std::iter::once(&count.total).chain(&count.bad);
        if let Some(number) = all().find(odd) {
            return Err(format!("{} counted {number} requests in a window", count.process));
        }
        if count.bad.len() != numbers {
            let given = count.bad.len();
            return Err(format!("{} gave {given} counts, {numbers} expected", count.process));
        }
    }
    Ok(())
}

/// Returns what both sides counted at one bound. More bad requests than there were are as many as
/// there were: both numbers come from one scrape, but perhaps not from one instant.
pub(crate) fn sums(window: &CountWindow, at: usize) -> Sums {
    let (test_bad, test_total) = side(&window.test, at);
    let (serving_bad, serving_total) = side(&window.serving, at);
    Sums { test_bad, test_total, serving_bad, serving_total }
}

/// The bad and all requests of a side's processes.
pub(super) fn side(processes: &[Count], at: usize) -> (f64, f64) {
    let total: f64 = processes.iter().map(|count| count.total).sum();
    let bad: f64 = processes.iter().map(|count| count.bad.get(at).copied().unwrap_or(0.0)).sum();
    (bad.min(total), total)
}
