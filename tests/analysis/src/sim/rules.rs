//! Who rolls back when, on the same windows.

use haldane_judge::betting::Sums;

use super::ours::Ours;
use crate::methods::{
    kayenta::{self, Said},
    proportions::Table,
    thresholds::{Counter, Counting},
};

/// How often the others look.
const MINUTE_SECS: f64 = 60.0;
/// How much time lies between two judgements of Kayenta.
const KAYENTA_SECS: f64 = 300.0;

/// A way to decide.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// Ours, at every window.
    Ours(Ours),
    /// More than 1 % errors of the side under test in a minute is a failure; failures are counted.
    OnePercent(Counting),
    /// The z-test of all there is so far at a one-sided chance, each minute.
    Z(f64),
    /// Kayenta on the points of a minute each, from the start, every five minutes.
    Kayenta,
}

// === impl Rule ===

impl Rule {
    /// Returns when it first rolls back, in seconds.
    #[must_use]
    pub fn first(&self, windows: &[Sums], window_secs: f64) -> Option<f64> {
        match self {
            Self::Ours(ours) => ours.first(windows, window_secs),
            Self::OnePercent(counting) => {
                let mut counter = Counter::new(*counting);
                let check = |minute: &Sums| {
                    counter.count(minute.test_rate().is_some_and(|rate| rate <= 0.01))
                };
                at_minute(minutes(windows, window_secs).iter().position(check))
            }
            Self::Z(chance) => {
                let mut all = Sums::default();
                at_minute(minutes(windows, window_secs).iter().position(|minute| {
                    all = all.plus(minute);
                    table(&all).z_tail() < *chance
                }))
            }
            Self::Kayenta => kayenta(&minutes(windows, window_secs)),
        }
    }
}

fn at_minute(at: Option<usize>) -> Option<f64> {
    at.map(|at| (at + 1) as f64 * MINUTE_SECS)
}

/// Adds windows up to minutes.
#[must_use]
pub fn minutes(windows: &[Sums], window_secs: f64) -> Vec<Sums> {
    windows
        .chunks_exact((MINUTE_SECS / window_secs) as usize)
        .map(|minute| minute.iter().fold(Sums::default(), |sum, window| sum.plus(window)))
        .collect()
}

fn table(sums: &Sums) -> Table {
    Table {
        test_bad: sums.test_bad,
        test_total: sums.test_total,
        serving_bad: sums.serving_bad,
        serving_total: sums.serving_total,
    }
}

fn kayenta(minutes: &[Sums]) -> Option<f64> {
    let points = |of: fn(&Sums) -> Option<f64>| -> Vec<f64> {
        minutes.iter().map(|minute| of(minute).unwrap_or(f64::NAN)).collect()
    };
    kayenta_on(&points(Sums::test_rate), &points(Sums::serving_rate), MINUTE_SECS)
}

/// Returns when Kayenta, asked every five minutes about all points so far, first says High; the
/// points lie so many seconds apart.
#[must_use]
pub fn kayenta_on(test: &[f64], serving: &[f64], apart_secs: f64) -> Option<f64> {
    let step = (KAYENTA_SECS / apart_secs) as usize;
    (step..=test.len())
        .step_by(step)
        .find(|now| kayenta::judge(&test[..*now], &serving[..*now]) == Said::High)
        .map(|points| points as f64 * apart_secs)
}
