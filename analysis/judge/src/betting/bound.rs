//! How much worse, at least: the test turned around into a bound.
//!
//! For each factor r of a rising row the null "at most r times the serving side's rate" is tested
//! on its own. The bound is the last factor before the first that still stands. It exceeds the
//! truth with probability α at most: for that the first factor above the truth would have to fall,
//! and that is one test of a null that holds.

use serde::{Deserialize, Serialize};

use super::{Game, Grid, Margin, Process, Sums, log_bet};

/// The factors that a finding names.
const FACTORS: [f64; 6] = [1.5, 2.0, 3.0, 5.0, 10.0, 20.0];
/// What is bet on for each factor, with equal stakes: coarse, as only a sentence depends on it.
const ETAS: [f64; 3] = [1.5, 3.0, 8.0];

/// A bound that is kept window by window: one stake per factor and alternative.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// The logarithm of each stake.
    stakes: [[f64; ETAS.len()]; FACTORS.len()],
    /// How many factors have fallen, each after the one before it.
    fallen: usize,
}

// === impl Bound ===

impl Default for Bound {
    fn default() -> Self {
        Self { stakes: [[0.0; ETAS.len()]; FACTORS.len()], fallen: 0 }
    }
}

impl Bound {
    /// Plays one window; `alpha` is how often the bound may ever exceed the truth.
    pub fn play(&mut self, sums: &Sums, alpha: f64, phi: f64, cap: f64) {
        let goal = (1.0 / alpha).ln();
        for at in self.fallen..FACTORS.len() {
            let margin = Margin { ratio: FACTORS[at], absolute: 0.0 };
            let stakes = &mut self.stakes[at];
            for (stake, eta) in stakes.iter_mut().zip(ETAS) {
                *stake += log_bet(sums, &margin, eta, 0.0, phi).min(cap);
            }
            let highest = stakes.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            // The mean reaches no goal that the highest does not.
            if self.fallen == at && highest >= goal {
                let wealth: f64 = stakes.iter().map(|stake| stake.exp()).sum();
                self.fallen += usize::from((wealth / ETAS.len() as f64).ln() >= goal);
            }
        }
    }

    /// Returns by which factor the side under test is worse, at least.
    #[must_use]
    pub fn at_least(&self) -> Option<f64> {
        self.fallen.checked_sub(1).and_then(|at| FACTORS.get(at)).copied()
    }
}

/// Returns, for each factor of a rising row, the highest `ln E` that the windows ever gave against
/// it, and the bound: the last factor before the first that stands. Without renewal and guard.
#[must_use]
pub fn ratio_bound(windows: &[Sums], factors: &[f64], alpha: f64) -> (Vec<f64>, Option<f64>) {
    let goal = (1.0 / alpha).ln();
    let highest = |factor: &f64| {
        let margin = Margin { ratio: *factor, absolute: 0.0 };
        let game = Game { grid: Grid::errors(), margin, phi: 1.0, cap: f64::INFINITY };
        let mut process = Process::new(game.grid);
        windows.iter().fold(f64::NEG_INFINITY, |top, sums| {
            process.play(&game, sums, 0.0, 0.0);
            top.max(process.ln_e())
        })
    };
    let tops: Vec<f64> = factors.iter().map(highest).collect();
    let fallen = tops.iter().take_while(|top| **top >= goal).count();
    let bound = fallen.checked_sub(1).and_then(|at| factors.get(at)).copied();
    (tops, bound)
}
