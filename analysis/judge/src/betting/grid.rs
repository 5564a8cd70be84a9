//! The grids: which alternatives are bet on, and what part of the stake each gets first.
//!
//! The first strategy of every grid is cash: it bets on nothing, so that a long healthy time costs
//! at most what was not cash.

use std::sync::LazyLock;

/// How many strategies a grid may have, cash included.
pub const STRATEGIES_MAX: usize = 16;

/// Alternatives and the prior shares of the stake; the first is cash (η = 1).
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    etas: [f64; STRATEGIES_MAX],
    priors: [f64; STRATEGIES_MAX],
    len: usize,
}

/// Against a regression in errors: 1.5 to 64 times the limit. Tuned by simulation; the smallest
/// alternatives, which take longest, get most.
static ERRORS: LazyLock<Grid> = LazyLock::new(|| Grid::log_spaced(1.5, 64.0, 12, 0.2, 0.2));

/// Against a regression in latency: tails are large, so that 1.1 times the limit can be told.
static LATENCY: LazyLock<Grid> = LazyLock::new(|| Grid::log_spaced(1.1, 64.0, 14, 0.2, 0.2));

/// For non-inferiority: from "no errors at all" (η = 0) to "hardly below the margin".
static NON_INFERIORITY: LazyLock<Grid> = LazyLock::new(|| {
    Grid::of(
        &[1.0, 0.0, 0.08, 0.2, 0.35, 0.5, 0.65, 0.8],
        &[0.02, 0.28, 0.12, 0.14, 0.14, 0.13, 0.1, 0.07],
    )
});

// === impl Grid ===

impl Grid {
    /// Returns the grid against a regression in errors.
    #[must_use]
    pub fn errors() -> &'static Self {
        &ERRORS
    }

    /// Returns the grid against a regression in latency.
    #[must_use]
    pub fn latency() -> &'static Self {
        &LATENCY
    }

    /// Returns the grid for non-inferiority.
    #[must_use]
    pub fn non_inferiority() -> &'static Self {
        &NON_INFERIORITY
    }

    /// Makes a grid of `number` alternatives from `low` to `high`, evenly spaced in the logarithm,
    /// after cash with the prior `cash`; the other priors fall as `exp(−decay·j)`.
    ///
    /// # Panics
    /// Where there are none, or more than [`STRATEGIES_MAX`] with cash.
    #[must_use]
    pub fn log_spaced(low: f64, high: f64, number: usize, cash: f64, decay: f64) -> Self {
        assert!((1..STRATEGIES_MAX).contains(&number), "a grid has 1 to 15 alternatives");
        let mut etas = [1.0; STRATEGIES_MAX];
        let mut priors = [0.0; STRATEGIES_MAX];
        let raw = |at: usize| (-decay * at as f64).exp();
        let sum: f64 = (0..number).map(raw).sum();
        priors[0] = cash;
        let steps = number.saturating_sub(1).max(1) as f64;
        for at in 0..number {
            etas[at + 1] = match at {
                0 => low,
                _ if at + 1 == number => high,
                _ => (low.ln() + (high / low).ln() * at as f64 / steps).exp(),
            };
            priors[at + 1] = (1.0 - cash) * raw(at) / sum;
        }
        Self { etas, priors, len: number + 1 }
    }

    /// Makes a grid as given; the first alternative is cash.
    ///
    /// # Panics
    /// Where the two differ in length, are empty or longer than [`STRATEGIES_MAX`].
    #[must_use]
    pub fn of(etas: &[f64], priors: &[f64]) -> Self {
        let len = etas.len();
        assert!(len == priors.len() && (1..=STRATEGIES_MAX).contains(&len), "a prior per strategy");
        let mut grid = Self { etas: [1.0; 16], priors: [0.0; 16], len };
        grid.etas[..len].copy_from_slice(etas);
        grid.priors[..len].copy_from_slice(priors);
        grid
    }

    /// Returns the alternatives; the first is cash.
    #[must_use]
    pub fn etas(&self) -> &[f64] {
        &self.etas[..self.len]
    }

    /// Returns the prior shares; they add up to 1.
    #[must_use]
    pub fn priors(&self) -> &[f64] {
        &self.priors[..self.len]
    }
}
