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

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_PERCENT: Supposed = Supposed { test: 0.025, serving: 0.005, share: 0.1, phi: 1.0 };

    #[test]
    fn five_times_the_errors_at_ten_percent_take_about_385_requests() {
        let margin = Margin { ratio: 1.0, absolute: 0.0 };
        assert!((growth(&TEN_PERCENT, &margin, 5.0) - 0.0167).abs() < 1e-4);
        let requests = to_find(&TEN_PERCENT, &margin, 0.01).unwrap();
        assert!((380.0..390.0).contains(&requests), "{requests}");
        assert_eq!(secs(requests, 50.0, 0.1).map(f64::round), Some((requests / 5.0).round()));
        assert_eq!(secs(requests, 0.0, 0.1), None);
    }

    #[test]
    fn what_is_tolerated_is_never_found() {
        let alike = Supposed { test: 0.005, ..TEN_PERCENT };
        assert_eq!(to_find(&alike, &Margin { ratio: 1.1, absolute: 0.0002 }, 0.01), None);
    }

    #[test]
    fn a_service_without_errors_is_cleared_by_about_860_requests() {
        let none = Supposed { test: 0.0, serving: 0.0, ..TEN_PERCENT };
        let margin = Margin { ratio: 1.5, absolute: 0.005 };
        let requests = to_clear(&none, &margin, 0.05, 0.0).unwrap();
        assert!((840.0..860.0).contains(&requests), "{requests}");
        assert!(to_clear(&none, &margin, 0.05, 2.0).unwrap() < requests / 2.0);
        let clumped = Supposed { phi: 4.0, ..none };
        assert!((to_clear(&clumped, &margin, 0.05, 0.0).unwrap() / requests - 4.0).abs() < 1e-9);
    }
}
