//! Errors that do not come one by one: clusters, and processes that differ from each other.

use std::f64::consts::LN_2;

use super::dice::Dice;

/// The processes of the serving side; the side under test has one.
pub const SERVING: usize = 9;
/// Requests of one process in a window of 15 s, at 50 a second in all.
const REQUESTS: f64 = 75.0;

/// How errors arrive.
#[derive(Clone, Copy, Debug)]
pub enum Arrivals {
    /// Each request on its own.
    Alone,
    /// In clusters within one process and window, of geometric size with this mean.
    Clusters(f64),
    /// Each process has a rate of its own in each window: lognormal, as far apart as its mean, and
    /// this part of it is remembered from window to window.
    Frailty(f64),
}

/// The counts of one process in one window.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// All requests.
    pub total: f64,
    /// The bad ones.
    pub bad: f64,
}

/// Processes under way; the first is the side under test.
#[derive(Clone, Debug)]
pub struct Pods {
    arrivals: Arrivals,
    moods: Vec<f64>,
}

// === impl Pods ===

impl Pods {
    /// Begins.
    #[must_use]
    pub fn new(arrivals: Arrivals, dice: &mut Dice) -> Self {
        Self { arrivals, moods: (0..=SERVING).map(|_| dice.normal()).collect() }
    }

    /// Rolls one window: every process at the rate, the first at so many times it.
    pub fn window(&mut self, rate: f64, factor: f64, dice: &mut Dice) -> Vec<Counted> {
        (0..=SERVING)
            .map(|pod| {
                let total = dice.poisson(REQUESTS);
                let rate = if pod == 0 { rate * factor } else { rate };
                Counted { total, bad: self.bad(pod, total, rate.min(1.0), dice) }
            })
            .collect()
    }

    fn bad(&mut self, pod: usize, total: f64, rate: f64, dice: &mut Dice) -> f64 {
        match self.arrivals {
            Arrivals::Alone => dice.binomial(total, rate),
            Arrivals::Clusters(mean) => {
                let clusters = dice.poisson(total * rate / mean) as u32;
                let errors: f64 = (0..clusters).map(|_| dice.geometric(mean)).sum();
                errors.min(total)
            }
            Arrivals::Frailty(memory) => {
                let mood = &mut self.moods[pod];
                *mood = memory * *mood + (1.0 - memory * memory).sqrt() * dice.normal();
                // A lognormal of mean 1 and standard deviation 1.
                let own = (LN_2.sqrt() * *mood - LN_2 / 2.0).exp();
                dice.binomial(total, (rate * own).min(1.0))
            }
        }
    }
}
