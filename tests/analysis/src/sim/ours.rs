//! The product's own processes, as a rollout plays them.

use haldane_judge::betting::{Game, Grid, Margin, Process, Sums, Tails, cap};

/// What is tolerated by default: 10 % and 0.02 percentage points more errors.
pub const TOLERANCE: Margin = Margin { ratio: 1.1, absolute: 0.0002 };
/// Nothing is tolerated.
pub const NOTHING: Margin = Margin { ratio: 1.0, absolute: 0.0 };
/// What is tolerated of latency by default: 10 % and 0.5 percentage points more slow requests.
pub const SLOWER: Margin = Margin { ratio: 1.1, absolute: 0.005 };

/// The burst guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// One window may decide.
    None,
    /// Two windows must agree.
    Two,
    /// Three windows must agree.
    Three,
}

/// Whether evidence is dealt out anew as time goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// As in the product: a regression may begin at any time.
    Switching,
    /// Never: every window counts alike.
    Cumulative,
}

/// A process against regressions in errors.
#[derive(Clone, Copy, Debug)]
pub struct Ours {
    /// The chance of a false rollback.
    pub alpha: f64,
    /// What is tolerated.
    pub margin: Margin,
    /// How many windows must agree.
    pub guard: Guard,
    /// How many errors come at once.
    pub phi: f64,
    /// Whether evidence is dealt out anew.
    pub memory: Memory,
}

/// The recommended settings.
pub const RECOMMENDED: Ours =
    Ours { alpha: 0.01, margin: TOLERANCE, guard: Guard::Two, phi: 1.0, memory: Memory::Switching };

// === impl Ours ===

impl Ours {
    /// Returns when the evidence first suffices, in seconds.
    #[must_use]
    pub fn first(&self, windows: &[Sums], window_secs: f64) -> Option<f64> {
        let game = self.game(Grid::errors(), 1.0);
        let renewal = self.renewal(window_secs);
        let mut process = Process::new(Grid::errors());
        let needed = (1.0 / self.alpha).ln();
        let at = windows.iter().position(|sums| {
            process.play(&game, sums, 0.0, renewal);
            process.ln_e() >= needed
        })?;
        Some((at + 1) as f64 * window_secs)
    }

    /// Returns when the mean of the evidence of all bounds first suffices, in seconds.
    #[must_use]
    pub fn first_slow(
        &self,
        windows: &[Vec<Sums>],
        usual: &[f64],
        window_secs: f64,
    ) -> Option<f64> {
        // Each bound can reach the threshold of the mean alone.
        let game = self.game(Grid::latency(), 1.0 / usual.len().max(1) as f64);
        let renewal = self.renewal(window_secs);
        let mut tails = Tails::new(Grid::latency(), usual);
        let needed = (1.0 / self.alpha).ln();
        let at = windows.iter().position(|bounds| {
            for (at, sums) in bounds.iter().enumerate() {
                tails.play(at, &game, sums, renewal);
            }
            tails.mean().ln_e >= needed
        })?;
        Some((at + 1) as f64 * window_secs)
    }

    /// Returns the game of a process that has this part of the threshold.
    #[must_use]
    pub fn game<'a>(&self, grid: &'a Grid, weight: f64) -> Game<'a> {
        let cap = match self.guard {
            Guard::None => f64::INFINITY,
            Guard::Two => cap(self.alpha, weight, true),
            Guard::Three => cap(self.alpha, weight, false),
        };
        Game { grid, margin: self.margin, phi: self.phi, cap }
    }

    /// Returns the part that is dealt out anew after a window.
    #[must_use]
    pub fn renewal(&self, window_secs: f64) -> f64 {
        match self.memory {
            Memory::Switching => Process::renewal(window_secs),
            Memory::Cumulative => 0.0,
        }
    }
}

/// The question whether a side is not worse than a margin.
#[derive(Clone, Copy, Debug)]
pub struct NotWorse {
    /// The chance to call a side not worse that lies on the margin.
    pub beta: f64,
    /// The margin.
    pub margin: Margin,
}

// === impl NotWorse ===

impl NotWorse {
    /// Returns the game of the process.
    #[must_use]
    pub fn game(&self) -> Game<'static> {
        let cap = (1.0 / self.beta).ln() / 3.0;
        Game { grid: Grid::non_inferiority(), margin: self.margin, phi: 1.0, cap }
    }

    /// Returns when it is first shown, in seconds.
    #[must_use]
    pub fn first(&self, windows: &[Sums], window_secs: f64) -> Option<f64> {
        let game = self.game();
        let mut process = Process::new(game.grid);
        let at = windows.iter().position(|sums| {
            process.play(&game, sums, 0.0, 0.0);
            process.ln_e() >= (1.0 / self.beta).ln() - 1e-9
        })?;
        Some((at + 1) as f64 * window_secs)
    }
}
