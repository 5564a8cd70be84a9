//! Latency: one process per bound, on the part of the requests that are slower than it.
//!
//! The null hypothesis is "at no bound are there more slow requests than tolerated": a stochastic
//! order with a tolerance. The mean of the processes' evidence is evidence against it. Quantiles
//! are never compared: a bucket's interpolated quantile jumps, and 1 % of the traffic decides it.

use serde::{Deserialize, Serialize};

use super::{Game, Grid, Merged, Process, Sums, weighted_mean};

/// How many bounds are watched at most: the median's, the 90th and 99th percentile's, the SLO's.
pub const THRESHOLDS_MAX: usize = 4;
/// How many requests the part that was measured before counts as.
pub const EXPECTED_WEIGHT: f64 = 50.0;
/// How fast the guess forgets, per window.
const FORGETTING: f64 = 0.99;
/// The quantiles of the serving side at whose bounds is watched.
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// A guess of the serving side's rate that the past has fixed: what was seen so far, forgotten
/// slowly. It is read before a window and told of it afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    bad: f64,
    total: f64,
}

/// The processes of a latency check, one for each bound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tails {
    processes: Vec<(Process, Expected)>,
}

/// Returns at which of the bounds to watch: the smallest below which half, nine tenths and 99 of
/// 100 requests stayed, and the first that is not below `wanted`; rising, none twice.
///
/// `above[i]` of `total` requests were slower than `bounds[i]`, which rise. Where more requests
/// were slower than every bound the quantile has none and is left out.
#[must_use]
pub fn thresholds(bounds: &[f64], above: &[f64], total: f64, wanted: Option<f64>) -> Vec<usize> {
    let quantile = |q: f64| {
        let rest = (1.0 - q) * total * (1.0 + 1e-12);
        above.iter().take(bounds.len()).position(|above| *above <= rest)
    };
    let measured = (total > 0.0).then_some(QUANTILES).into_iter().flatten().filter_map(quantile);
    let slo = wanted.and_then(|wanted| bounds.iter().position(|bound| *bound >= wanted));
    let mut places: Vec<usize> = measured.chain(slo).collect();
    places.sort_unstable();
    places.dedup();
    places
}

// === impl Expected ===

impl Expected {
    /// Begins with a rate measured before, worth 50 requests.
    #[must_use]
    pub fn new(rate: f64) -> Self {
        Self { bad: EXPECTED_WEIGHT * rate, total: EXPECTED_WEIGHT }
    }

    /// Returns the guess.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.bad / self.total
    }

    /// Learns a window, after it was bet on.
    pub fn learn(&mut self, sums: &Sums) {
        self.bad = FORGETTING * self.bad + sums.serving_bad;
        self.total = FORGETTING * self.total + sums.serving_total;
    }
}

// === impl Tails ===

impl Tails {
    /// Begins with one process per bound; `rates` are the parts that were slower before.
    #[must_use]
    pub fn new(grid: &Grid, rates: &[f64]) -> Self {
        let begin = |rate: &f64| (Process::new(grid), Expected::new(*rate));
        Self { processes: rates.iter().map(begin).collect() }
    }

    /// Returns how many bounds are watched.
    #[must_use]
    pub fn len(&self) -> usize {
        self.processes.len()
    }

    /// Returns whether no bound is watched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// Plays one window at one bound; see [`Process::play`].
    pub fn play(&mut self, at: usize, game: &Game<'_>, sums: &Sums, renewal: f64) {
        if let Some((process, expected)) = self.processes.get_mut(at) {
            process.play(game, sums, expected.rate(), renewal);
            expected.learn(sums);
        }
    }

    /// Returns the evidence at each bound.
    pub fn ln_es(&self) -> impl Iterator<Item = f64> + Clone + '_ {
        self.processes.iter().map(|(process, _)| process.ln_e())
    }

    /// Returns the guess of the serving side's rate at one bound.
    #[must_use]
    pub fn expected(&self, at: usize) -> Option<f64> {
        self.processes.get(at).map(|(_, expected)| expected.rate())
    }

    /// Returns the mean of the evidence, and the bound that weighs most.
    #[must_use]
    pub fn mean(&self) -> Merged {
        let weight = 1.0 / self.len().max(1) as f64;
        weighted_mean(self.ln_es().map(|ln_e| (ln_e, weight)))
    }

    /// Returns the smallest evidence: what holds at every bound.
    #[must_use]
    pub fn least(&self) -> f64 {
        self.ln_es().fold(f64::INFINITY, f64::min)
    }
}
