//! Requests and errors of two sides, window by window.

use haldane_judge::betting::Sums;

use super::dice::Dice;

/// How many scrape targets the serving side has where offsets are simulated.
const TARGETS: usize = 9;

/// A rate or a share over time.
#[derive(Clone, Copy, Debug)]
pub enum Curve {
    /// Always the same.
    Flat(f64),
    /// From the first to the second, evenly.
    Line(f64, f64),
    /// The first, but for a while the second: `from..until` in seconds.
    While(f64, f64, f64, f64),
}

/// When the counters of a target are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scrapes {
    /// All at the end of a window.
    Together,
    /// Each target at an instant of its own, up to a window earlier.
    Apart,
}

/// Two sides under way.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// Requests per second, both sides together.
    pub rps: f64,
    /// How long a window is.
    pub window_secs: f64,
    /// How long it goes on.
    pub secs: f64,
    /// The share of the side under test.
    pub share: Curve,
    /// The rate of errors of the serving side.
    pub serving: Curve,
    /// The rate of errors of the side under test.
    pub test: Curve,
    /// When counters are read.
    pub scrapes: Scrapes,
}

// === impl Curve ===

impl Curve {
    /// Returns the value at an instant.
    #[must_use]
    pub fn at(&self, second: f64, secs: f64) -> f64 {
        match *self {
            Self::Flat(value) => value,
            Self::Line(first, last) => first + (last - first) * (second / secs).clamp(0.0, 1.0),
            Self::While(usual, other, from, until) => {
                if (from..until).contains(&second) {
                    other
                } else {
                    usual
                }
            }
        }
    }

    /// Returns so many times this curve, but at most 1.
    #[must_use]
    pub fn times(&self, factor: f64) -> Self {
        let times = |value: f64| (value * factor).min(1.0);
        match *self {
            Self::Flat(value) => Self::Flat(times(value)),
            Self::Line(first, last) => Self::Line(times(first), times(last)),
            Self::While(usual, other, from, until) => {
                Self::While(times(usual), times(other), from, until)
            }
        }
    }

    /// The mean over a stretch, at ten instants of it.
    fn mean(&self, from: f64, until: f64, secs: f64) -> f64 {
        (0..10)
            .map(|at| self.at(from + (until - from) * (f64::from(at) + 0.5) / 10.0, secs))
            .sum::<f64>()
            / 10.0
    }
}

// === impl Scene ===

impl Scene {
    /// Returns half an hour at 10 % in windows of 5 s, both sides alike.
    #[must_use]
    pub fn usual(rps: f64, rate: f64) -> Self {
        Self {
            rps,
            window_secs: 5.0,
            secs: 1800.0,
            share: Curve::Flat(0.1),
            serving: Curve::Flat(rate),
            test: Curve::Flat(rate),
            scrapes: Scrapes::Together,
        }
    }

    /// Returns the same with so many times the errors on the side under test.
    #[must_use]
    pub fn worse(self, factor: f64) -> Self {
        Self { test: self.serving.times(factor), ..self }
    }

    /// Returns how many windows it has.
    #[must_use]
    pub fn windows(&self) -> usize {
        (self.secs / self.window_secs) as usize
    }

    /// Rolls the dice for every window; counts are Poisson, errors binomial.
    #[must_use]
    pub fn play(&self, dice: &mut Dice) -> Vec<Sums> {
        match self.scrapes {
            Scrapes::Together => (0..self.windows()).map(|at| self.together(at, dice)).collect(),
            Scrapes::Apart => self.apart(dice),
        }
    }

    fn together(&self, at: usize, dice: &mut Dice) -> Sums {
        let second = (at as f64 + 0.5) * self.window_secs;
        let requests = self.rps * self.window_secs;
        let share = self.share.at(second, self.secs);
        let test_total = dice.poisson(requests * share);
        let serving_total = dice.poisson(requests * (1.0 - share));
        Sums {
            test_bad: dice.binomial(test_total, self.test.at(second, self.secs)),
            test_total,
            serving_bad: dice.binomial(serving_total, self.serving.at(second, self.secs)),
            serving_total,
        }
    }

    fn apart(&self, dice: &mut Dice) -> Vec<Sums> {
        let early: Vec<f64> = (0..=TARGETS).map(|_| dice.uniform() * self.window_secs).collect();
        let window = |at: usize| {
            let end = (at as f64 + 1.0) * self.window_secs;
            let share = self.share.at(end - self.window_secs / 2.0, self.secs);
            let requests = self.rps * self.window_secs;
            let mut sums = Sums::default();
            for (target, early) in early.iter().enumerate() {
                let stretch = (end - early - self.window_secs, end - early);
                if target == 0 {
                    let rate = self.test.mean(stretch.0, stretch.1, self.secs);
                    sums.test_total = dice.poisson(requests * share);
                    sums.test_bad = dice.binomial(sums.test_total, rate);
                } else {
                    let rate = self.serving.mean(stretch.0, stretch.1, self.secs);
                    let total = dice.poisson(requests * (1.0 - share) / TARGETS as f64);
                    sums.serving_total += total;
                    sums.serving_bad += dice.binomial(total, rate);
                }
            }
            sums
        };
        (0..self.windows()).map(window).collect()
    }
}
