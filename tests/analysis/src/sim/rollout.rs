//! Whole rollouts: weights that depend on what was decided, and what users see of it.

use haldane_judge::betting::{Grid, Margin, Process, Sums};

use super::{
    dice::Dice,
    ours::{NotWorse, RECOMMENDED},
};
use crate::methods::thresholds::{Counter, Counting};

const WINDOW_SECS: f64 = 5.0;
/// The least time of a step.
const STEP_SECS: f64 = 60.0;
/// The most time of a step.
const STEP_SECS_MAX: f64 = 600.0;
/// The harm that is accepted, of all traffic.
const HARM: f64 = 0.002;
/// How many requests of the side under test a step needs that ends without evidence.
const REQUESTS_MIN: f64 = 100.0;

/// A release and its traffic.
#[derive(Clone, Copy, Debug)]
pub struct Release {
    /// Requests per second, both sides together.
    pub rps: f64,
    /// The serving side's rate of errors.
    pub rate: f64,
    /// So many times that on the side under test.
    pub factor: f64,
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Back at 0.
    RolledBack,
    /// Held for a person.
    Paused,
    /// At 100 %.
    Promoted,
}

/// How it ended, when, and what users saw.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// How.
    pub end: End,
    /// After how many seconds.
    pub secs: f64,
    /// How many errors the side under test answered with.
    pub errors: f64,
}

/// A rollout in flight.
struct Flight<'a> {
    release: &'a Release,
    dice: &'a mut Dice,
    secs: f64,
    errors: f64,
}

// === impl Release ===

impl Release {
    /// Goes on as the evidence allows, over these shares; the last is full.
    ///
    /// A step ends when it is shown that the errors stay below 1.5 times the serving side's and what
    /// is accepted at the next share (0.2 percentage points of all traffic), after a minute and
    /// three windows, while the odds of a regression are below 10. After ten minutes it goes on
    /// where the counts themselves lie within that margin, and pauses otherwise.
    #[must_use]
    pub fn by_evidence(&self, shares: &[f64], dice: &mut Dice) -> Ended {
        let mut flight = Flight { release: self, dice, secs: 0.0, errors: 0.0 };
        let mut regression = Process::new(Grid::errors());
        for pair in shares.windows(2) {
            let absolute = (HARM / pair[1]).min(0.05);
            let margin = Margin { ratio: 1.5, absolute };
            if let Some(end) = flight.step(pair[0], margin, &mut regression) {
                return flight.end(end);
            }
        }
        flight.end(End::Promoted)
    }

    /// Goes on as Flagger does: 5 % a minute up to 50 %, each minute without a failure; five
    /// failures roll back. More than 1 % errors, or none to measure, is a failure.
    #[must_use]
    pub fn by_flagger(&self, dice: &mut Dice) -> Ended {
        let mut flight = Flight { release: self, dice, secs: 0.0, errors: 0.0 };
        let mut counter = Counter::new(Counting::Total(5));
        let mut share: f64 = 0.05;
        loop {
            let minute = (0..12).fold(Sums::default(), |sum, _| sum.plus(&flight.window(share)));
            let passed = minute.test_rate().is_some_and(|rate| rate <= 0.01);
            if counter.count(passed) {
                return flight.end(End::RolledBack);
            }
            if passed {
                share += 0.05;
            }
            if share > 0.501 {
                return flight.end(End::Promoted);
            }
        }
    }
}

// === impl Flight ===

impl Flight<'_> {
    fn window(&mut self, share: f64) -> Sums {
        let requests = self.release.rps * WINDOW_SECS;
        let test_total = self.dice.poisson(requests * share);
        let serving_total = self.dice.poisson(requests * (1.0 - share));
        let rate = (self.release.rate * self.release.factor).min(1.0);
        let sums = Sums {
            test_bad: self.dice.binomial(test_total, rate),
            test_total,
            serving_bad: self.dice.binomial(serving_total, self.release.rate),
            serving_total,
        };
        self.secs += WINDOW_SECS;
        self.errors += sums.test_bad;
        sums
    }

    /// One step; `None` where it goes on.
    fn step(&mut self, share: f64, margin: Margin, regression: &mut Process) -> Option<End> {
        let ours = RECOMMENDED;
        let (game, renewal) = (ours.game(Grid::errors(), 1.0), ours.renewal(WINDOW_SECS));
        let not_worse = NotWorse { beta: 0.05, margin };
        let mut safe = Process::new(Grid::non_inferiority());
        let mut sums = Sums::default();
        let begin = self.secs;
        while self.secs - begin < STEP_SECS_MAX {
            let window = self.window(share);
            sums = sums.plus(&window);
            regression.play(&game, &window, 0.0, renewal);
            safe.play(&not_worse.game(), &window, 0.0, 0.0);
            if regression.ln_e() >= (1.0 / ours.alpha).ln() {
                return Some(End::RolledBack);
            }
            let shown = safe.ln_e() >= (1.0 / not_worse.beta).ln() - 1e-9;
            if shown && calm(regression) && self.secs - begin >= STEP_SECS {
                return None;
            }
        }
        let limit = margin.ratio * sums.serving_rate().unwrap_or(0.0) + margin.absolute;
        let within = sums.test_rate().is_some_and(|rate| rate <= limit);
        let enough = sums.test_total >= REQUESTS_MIN;
        if within && enough && calm(regression) { None } else { Some(End::Paused) }
    }

    fn end(self, end: End) -> Ended {
        Ended { end, secs: self.secs, errors: self.errors }
    }
}

/// Whether nothing speaks for a regression: the odds are below 10.
fn calm(regression: &Process) -> bool {
    regression.ln_e() < 10f64.ln()
}
