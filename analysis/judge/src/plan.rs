//! How much traffic is needed until something can be said.
//!
//! An estimate for people, before and during a step: it decides nothing. It comes from how fast the
//! logarithm of the evidence grows per request if the rates are as supposed: information in Kelly's
//! (1956) and Wald's (1945) sense, and what must be gained over it.

use crate::betting::{Grid, Margin, Sums, log_bet};

/// What finding the right alternative among a grid of them costs, in units of `ln E`; from
/// simulations of the errors' grid.
const SEARCH: f64 = 1.8;

/// What is supposed of the traffic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Supposed {
    /// The rate of bad requests on the side under test.
    pub test: f64,
    /// The rate of bad requests on the serving side.
    pub serving: f64,
    /// The share of the side under test, above 0 and below 1.
    pub share: f64,
    /// How many errors come at once; at least 1.
    pub phi: f64,
}

/// Returns by how much `ln E` of the strategy η grows per request of the side under test.
///
/// For rare errors that is `p_c·ln a + (n_b/n_c)·p_b·ln(1 − λ) − δ·(a − 1)`.
#[must_use]
pub fn growth(supposed: &Supposed, margin: &Margin, eta: f64) -> f64 {
    let beside = (1.0 - supposed.share) / supposed.share;
    let sums = Sums {
        test_bad: supposed.test,
        test_total: 1.0,
        serving_bad: beside * supposed.serving,
        serving_total: beside,
    };
    log_bet(&sums, margin, eta, 0.0, supposed.phi)
}

/// Returns how many requests of the side under test it takes to find a regression of that size:
/// about `(ln(1/α) + 1.8) / I`. `None` where the rates lie within the tolerance: never.
#[must_use]
pub fn to_find(supposed: &Supposed, margin: &Margin, alpha: f64) -> Option<f64> {
    let limit = margin.ratio * supposed.serving + margin.absolute;
    let growth = growth(supposed, margin, supposed.test / limit);
    let found = supposed.test > limit && growth > 0.0;
    found.then(|| ((1.0 / alpha).ln() + SEARCH) / growth)
}

/// Returns how many more requests of the side under test it takes to show that it is not worse than
/// the margin, from evidence `ln_e` on. `None` where that cannot be shown at such rates.
///
/// The alternative that gets there first is chosen, its prior share counted.
#[must_use]
pub fn to_clear(supposed: &Supposed, margin: &Margin, beta: f64, ln_e: f64) -> Option<f64> {
    let goal = (1.0 / beta).ln();
    let grid = Grid::non_inferiority();
    let each = grid.etas().iter().zip(grid.priors()).skip(1).filter_map(|(eta, prior)| {
        let growth = growth(supposed, margin, *eta);
        // What was gained already has paid for the search.
        let left = if ln_e > 0.0 { goal - ln_e } else { goal - prior.ln() };
        (growth > 0.0).then(|| left.max(0.0) / growth)
    });
    each.min_by(f64::total_cmp)
}

/// Returns how long so many requests of the side under test take, in seconds, at `rate` requests
/// per second over both sides and that share; `None` where none come.
#[must_use]
pub fn secs(requests: f64, rate: f64, share: f64) -> Option<f64> {
    let arriving = rate * share;
    (arriving > 0.0).then(|| requests / arriving)
}
