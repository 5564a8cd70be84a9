//! Does the side under test get the traffic that was asked for?
//!
//! Where it does not, nothing can be learned, and what little arrives may be no fair sample. One
//! short gap is no starvation: a minute, and enough requests to be expected in it, are one stretch.

use serde::{Deserialize, Serialize};

use crate::betting::Sums;

/// How long a stretch is, in seconds.
pub const STRETCH_SECS: f64 = 60.0;
/// How many requests of the side under test must have been expected.
pub const EXPECTED_MIN: f64 = 20.0;
/// What part of them must have come.
pub const ENOUGH: f64 = 0.5;

/// What arrived, stretch by stretch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Starvation {
    secs: f64,
    expected: f64,
    test: f64,
    all: f64,
    /// The last whole stretch, where it starved: which part of the requests came.
    starved: Option<f64>,
}

// === impl Starvation ===

impl Starvation {
    /// Takes one window in; `share` is the part of the traffic that was asked for.
    pub fn learn(&mut self, sums: &Sums, share: f64, secs: f64) {
        let all = sums.test_total + sums.serving_total;
        self.secs += secs;
        self.expected += share * all;
        self.test += sums.test_total;
        self.all += all;
        if self.secs < STRETCH_SECS || self.expected < EXPECTED_MIN {
            return;
        }
        let starves = self.test < ENOUGH * self.expected;
        let starved = starves.then(|| self.test / self.all);
        *self = Self { starved, ..Self::default() };
    }

    /// Returns which part of the requests came in the last stretch, where that was too little.
    #[must_use]
    pub fn starved(&self) -> Option<f64> {
        self.starved
    }
}
