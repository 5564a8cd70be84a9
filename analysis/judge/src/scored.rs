//! The scored judgement, compatible with Kayenta's `NetflixACAJudge-v1.0`.
//!
//! For people who bring their configuration along: the same settings, the same defaults and the same
//! order of rules give the same class of each metric, and the same score. It is deterministic, and no
//! verdict depends on the unit of a metric. Two things differ, both where Kayenta's answer is an
//! accident of its arithmetic:
//!
//! * Kayenta searches the ends of the interval with a root finder that stops within 1e-4 of the
//!   metric's unit, so that the same latencies pass in seconds and fail in milliseconds. Here the
//!   ends are ordered pairwise differences.
//! * Where both sides are constant and differ, Kayenta adds random noise of a hundred-thousandth, so
//!   that its root finder has something to find. Here the interval is the difference itself.
//!
//! It corrects for no repeated looks, as Kayenta does not: judge once, at the end.

mod check;
mod clean;
mod metric;
mod rule;
mod score;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    check::{fold, folded_to},
    rule::ScoredRule,
};
pub use self::{
    clean::{Missing, Outliers},
    metric::{Allowed, Class, Direction, Effect, Metric, MetricResult, MetricRule, classify},
    score::{Group, Score, ScoreOutcome, ScoreRule, score},
};
