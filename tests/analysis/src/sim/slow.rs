//! Latencies of two sides in the default buckets of Prometheus' clients.

use haldane_judge::{
    betting::{Sums, thresholds},
    ranks::normal_tail,
};

use super::dice::Dice;

/// The bounds of the buckets, in seconds.
pub const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// The median latency.
const MEDIAN: f64 = 0.08;
/// How far latencies spread around it, in the logarithm.
const SPREAD: f64 = 0.6;
/// How slow a stalled request is, and how far that spreads.
const STALL: (f64, f64) = (1.5, 0.1);
/// From how many requests the usual latencies are known before a rollout.
const BEFORE: f64 = 1000.0;

/// What is wrong with the side under test.
#[derive(Clone, Copy, Debug)]
pub struct Slower {
    /// So many times every latency.
    pub factor: f64,
    /// This part of the requests stalls.
    pub stalled: f64,
}

/// The requests of both sides in one window, by bucket; the last has no bound.
#[derive(Clone, Debug)]
pub struct Buckets {
    /// Of the side under test.
    pub test: [f64; 12],
    /// Of the serving side.
    pub serving: [f64; 12],
}

/// A rollout's latencies: which bounds are watched, and what was counted.
#[derive(Clone, Debug)]
pub struct Latencies {
    /// The bounds that are watched, by place.
    pub watched: Vec<usize>,
    /// The part above each watched bound before the rollout.
    pub usual: Vec<f64>,
    /// How many of 1000 requests before the rollout lay above each bound.
    pub before: [f64; 11],
    /// Every window.
    pub windows: Vec<Buckets>,
}

// === impl Latencies ===

impl Latencies {
    /// Rolls the dice: 10 % of `rps` requests a second on the side under test, windows of 5 s.
    #[must_use]
    pub fn play(rps: f64, windows: usize, slower: Slower, dice: &mut Dice) -> Self {
        let usual = above(Slower { factor: 1.0, stalled: 0.0 });
        let other = above(slower);
        let before = tails(&buckets(BEFORE, &usual, dice));
        let watched = thresholds(&BOUNDS, &before, BEFORE, None);
        let requests = rps * 5.0;
        let window = |_| {
            let (ours, theirs) = (dice.poisson(requests * 0.1), dice.poisson(requests * 0.9));
            Buckets { test: buckets(ours, &other, dice), serving: buckets(theirs, &usual, dice) }
        };
        let windows = (0..windows).map(window).collect();
        let usual = watched.iter().map(|at| before[*at] / BEFORE).collect();
        Self { watched, usual, before, windows }
    }

    /// Returns what the processes see: at each watched bound who is above it.
    #[must_use]
    pub fn sums(&self) -> Vec<Vec<Sums>> {
        let window = |window: &Buckets| {
            let (ours, theirs) = (tails(&window.test), tails(&window.serving));
            let total = |buckets: &[f64; 12]| buckets.iter().sum();
            let at = |at: &usize| Sums {
                test_bad: ours[*at],
                test_total: total(&window.test),
                serving_bad: theirs[*at],
                serving_total: total(&window.serving),
            };
            self.watched.iter().map(at).collect()
        };
        self.windows.iter().map(window).collect()
    }
}

/// The chance to lie above each bound.
fn above(slower: Slower) -> [f64; 11] {
    BOUNDS.map(|bound| {
        let slow = normal_tail((bound / (MEDIAN * slower.factor)).ln() / SPREAD);
        let stalled = normal_tail((bound / STALL.0).ln() / STALL.1);
        (1.0 - slower.stalled) * slow + slower.stalled * stalled
    })
}

/// Deals requests out to buckets.
fn buckets(total: f64, above: &[f64; 11], dice: &mut Dice) -> [f64; 12] {
    let (mut left, mut part) = (total, 1.0);
    let mut buckets = [0.0; 12];
    for (bucket, above) in buckets.iter_mut().zip(above) {
        *bucket = dice.binomial(left, ((part - above) / part).clamp(0.0, 1.0));
        left -= *bucket;
        part = above.max(1e-300);
    }
    buckets[11] = left;
    buckets
}

/// Returns how many requests lie above each bound.
#[must_use]
pub fn tails(buckets: &[f64; 12]) -> [f64; 11] {
    std::array::from_fn(|at| buckets[at + 1..].iter().sum())
}

/// Returns a quantile as Prometheus interpolates it; NaN of nothing.
#[must_use]
pub fn histogram_quantile(buckets: &[f64; 12], share: f64) -> f64 {
    let total: f64 = buckets.iter().sum();
    let (rank, mut seen, mut from) = (share * total, 0.0, 0.0);
    if total == 0.0 {
        return f64::NAN;
    }
    for (count, bound) in buckets.iter().zip(BOUNDS) {
        if seen + count >= rank && *count > 0.0 {
            return from + (bound - from) * (rank - seen) / count;
        }
        seen += count;
        from = bound;
    }
    from
}
