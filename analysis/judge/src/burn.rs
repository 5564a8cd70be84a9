//! How fast the error budget burns.
//!
//! A burn rate of 1 spends the whole budget of an objective in its period, 14.4 a fiftieth of a
//! 30 days' budget in an hour (Google, The Site Reliability Workbook, 2018, chapter 5). The gate is
//! absolute: it fires in an incident that both sides share as well, and says so. Too few requests
//! are no answer, never a pass.

mod book;
mod check;
mod rule;
#[cfg(test)]
mod tests;

use crate::betting::Margin;

pub(crate) use self::{
    check::{fold, folded_to},
    rule::BurnRule,
};

/// How many requests the short window must have.
pub const REQUESTS_MIN: f64 = 50.0;
/// What part of a period's budget an attempt may spend, whatever any test says.
pub const BUDGET_MAX: f64 = 0.005;

/// What one side counted in one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tally {
    /// Bad requests.
    pub errors: f64,
    /// All requests.
    pub requests: f64,
}

/// One line of the gate: how fast the budget may burn over a long and a short window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// The long window, in seconds.
    pub long_secs: u32,
    /// The short window, in seconds: so that the gate ends soon after the burning does.
    pub short_secs: u32,
    /// The burn rate at which it fires.
    pub threshold: f64,
    /// What is to be done by default.
    pub action: Action,
}

/// What a burning budget asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The traffic goes back.
    RollBack,
    /// No further step.
    Hold,
    /// A person looks: both sides burn, and going back would not help.
    Pause,
}

/// The lines by default, for objectives over 30 days.
pub const LINES: [Line; 4] = [
    Line { long_secs: 300, short_secs: 30, threshold: 14.4, action: Action::RollBack },
    Line { long_secs: 900, short_secs: 75, threshold: 8.0, action: Action::RollBack },
    Line { long_secs: 1_800, short_secs: 150, threshold: 6.0, action: Action::Hold },
    Line { long_secs: 3_600, short_secs: 300, threshold: 3.0, action: Action::Hold },
];

/// Both windows of a line, measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burn {
    /// The burn rate over the short window.
    pub short: f64,
    /// The burn rate over the long window.
    pub long: f64,
    /// Whether both reach the threshold.
    pub fires: bool,
}

/// Returns how fast a budget burns: the part of bad requests over the part that `objective` (0.999)
/// leaves. `None` without requests, or without a budget.
#[must_use]
pub fn rate(tally: Tally, objective: f64) -> Option<f64> {
    let budget = 1.0 - objective;
    (tally.requests > 0.0 && budget > 0.0).then(|| tally.errors / tally.requests / budget)
}

/// Judges one line; `None` is "no data": fewer than [`REQUESTS_MIN`] requests in the short window.
#[must_use]
pub fn gate(short: Tally, long: Tally, objective: f64, threshold: f64) -> Option<Burn> {
    if short.requests < REQUESTS_MIN {
        return None;
    }
    let (short, long) = (rate(short, objective)?, rate(long, objective)?);
    Some(Burn { short, long, fires: short >= threshold && long >= threshold })
}

/// Returns what a line that fires asks for, given how fast the serving side burns: going back helps
/// only where the side under test burns twice as fast, or the serving side far below the threshold.
#[must_use]
pub fn action(line: &Line, test: f64, serving: Option<f64>) -> Action {
    let helps =
        serving.is_none_or(|serving| test >= 2.0 * serving || serving < line.threshold / 2.0);
    if helps { line.action } else { Action::Pause }
}

/// Returns what part of a period's error budget so many errors are.
///
/// `None` where the objective leaves no budget, or the period has no requests.
#[must_use]
pub fn budget_spent(errors: f64, objective: f64, requests_per_period: f64) -> Option<f64> {
    let budget = (1.0 - objective) * requests_per_period;
    (budget > 0.0).then(|| errors / budget)
}

/// Returns the null hypothesis "the budget burns no faster than the threshold": the gate as a bet,
/// which says on twenty requests what twenty requests say. For [`log_bet`](crate::betting::log_bet).
#[must_use]
pub fn margin(objective: f64, threshold: f64) -> Margin {
    Margin { ratio: 0.0, absolute: threshold * (1.0 - objective) }
}
