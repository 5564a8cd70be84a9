//! The process: many strategies share one stake, and the shares follow what works.
//!
//! Two devices, both of which only ever lower what the proof allows:
//! - Fixed share (Herbster and Warmuth, 1998): after each window a part ε of the stake is dealt out
//!   anew by the prior, so that a regression that begins late is found almost as fast as one that
//!   was there from the start. The total does not change by that: it moves money, it makes none.
//! - The burst guard: no strategy gains more than a cap in one window, so that no single window
//!   decides. Less than what was won is always valid.
//!
//! It never forgets: the state is all there is, and written out and read back it goes on as if
//! nothing had happened, bit for bit.

use serde::{Deserialize, Serialize};

use super::{Grid, Margin, STRATEGIES_MAX, Sums, log_bet};

/// How long a strategy's share survives without success, in seconds: ε is `window / memory`.
const MEMORY_SECS: f64 = 1_000.0;
/// What the cap leaves beyond the threshold, so that two windows at the cap reach it surely.
const CAP_SLACK: f64 = 0.3;

/// What one process plays for: everything that is fixed before a window is seen.
#[derive(Clone, Copy, Debug)]
pub struct Game<'a> {
    /// The strategies.
    pub grid: &'a Grid,
    /// The edge of the null hypothesis.
    pub margin: Margin,
    /// How many errors come at once; at least 1.
    pub phi: f64,
    /// The most that the logarithm of a strategy's stake gains in one window; +∞ for no guard.
    pub cap: f64,
}

/// The wealth of one process, and how its strategies share it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Process {
    ln_e: f64,
    shares: [f64; STRATEGIES_MAX],
    len: usize,
}

/// A process as it is stored: exactly as many shares as the grid has strategies.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Written {
    ln_e: f64,
    shares: Vec<f64>,
}

/// Returns the cap of the burst guard, for a process that must reach `ln(1/(alpha·weight))`.
///
/// Where the clumping of errors was measured (`phi`), two windows must agree; where not, three.
#[must_use]
pub fn cap(alpha: f64, weight: f64, phi_is_measured: bool) -> f64 {
    let windows = if phi_is_measured { 2.0 } else { 3.0 };
    ((1.0 / (alpha * weight)).ln() + CAP_SLACK) / windows
}

// === impl Process ===

impl Process {
    /// Begins with a stake of 1, shared by the prior.
    #[must_use]
    pub fn new(grid: &Grid) -> Self {
        let mut shares = [0.0; STRATEGIES_MAX];
        let priors = grid.priors();
        shares[..priors.len()].copy_from_slice(priors);
        Self { ln_e: 0.0, shares, len: priors.len() }
    }

    /// Returns the logarithm of the wealth: the evidence so far.
    #[must_use]
    pub fn ln_e(&self) -> f64 {
        self.ln_e
    }

    /// Returns how the strategies share the wealth, cash first; they add up to 1.
    #[must_use]
    pub fn shares(&self) -> &[f64] {
        &self.shares[..self.len]
    }

    /// Returns whether this is a process of that grid.
    #[must_use]
    pub fn fits(&self, grid: &Grid) -> bool {
        self.len == grid.priors().len()
    }

    /// Returns the part ε that is dealt out anew after a window of this length.
    #[must_use]
    pub fn renewal(window_secs: f64) -> f64 {
        (window_secs / MEMORY_SECS).clamp(0.0, 1.0)
    }

    /// Plays one window; `expected` is the serving side's rate as the past predicts it, `renewal`
    /// the part that is dealt out anew (0: never, for a process that lives no longer than a step).
    ///
    /// A window that bets on nothing changes no more than the renewal does.
    pub fn play(&mut self, game: &Game<'_>, sums: &Sums, expected: f64, renewal: f64) {
        let etas = game.grid.etas();
        let priors = game.grid.priors();
        debug_assert!(self.fits(game.grid), "a process stays with its grid");
        let mut bets = [0.0; STRATEGIES_MAX];
        let mut top = 0.0_f64;
        for (bet, eta) in bets.iter_mut().zip(etas).skip(1) {
            *bet = log_bet(sums, &game.margin, *eta, expected, game.phi).min(game.cap);
            top = top.max(*bet);
        }
        // Where nothing is bet, not even rounding may move anything.
        if bets.iter().any(|bet| *bet != 0.0) {
            self.settle(&bets, top);
        }
        for (share, prior) in self.shares.iter_mut().zip(priors) {
            *share = (1.0 - renewal) * *share + renewal * prior;
        }
    }

    /// Pays the bets out, scaled by the highest so that nothing overflows. Cash bets nothing and
    /// keeps a share, so that the sum is never zero.
    fn settle(&mut self, bets: &[f64; STRATEGIES_MAX], top: f64) {
        let mut sum = 0.0;
        for (share, bet) in self.shares.iter_mut().zip(bets).take(self.len) {
            *share *= (bet - top).exp();
            sum += *share;
        }
        self.ln_e += top + sum.ln();
        for share in &mut self.shares {
            *share /= sum;
        }
    }
}

// === impl Written ===

impl From<Process> for Written {
    fn from(process: Process) -> Self {
        Self { ln_e: process.ln_e, shares: process.shares().to_vec() }
    }
}

impl TryFrom<Written> for Process {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let len = written.shares.len();
        let whole: f64 = written.shares.iter().sum();
        let odd = written.shares.iter().any(|share| !(0.0..=1.0 + 1e-9).contains(share));
        if len == 0 || len > STRATEGIES_MAX || odd || (whole - 1.0).abs() > 1e-6 {
            return Err("the shares of a process do not add up to 1".to_owned());
        }
        if !written.ln_e.is_finite() {
            return Err("the evidence of a process is not finite".to_owned());
        }
        let mut shares = [0.0; STRATEGIES_MAX];
        shares[..len].copy_from_slice(&written.shares);
        Ok(Self { ln_e: written.ln_e, shares, len })
    }
}
