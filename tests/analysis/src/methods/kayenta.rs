//! Kayenta's interval as it is, root finder included (Netflix, `kayenta-mannwhitney`).
//!
//! The rank sum is inverted numerically: the ends are where the statistic of the shifted samples
//! crosses a normal quantile. The search stops within 1e-4 of whatever the metric is measured in, so
//! that the verdict depends on the unit. Our own judge has no search; see `haldane_judge::scored`.

use haldane_judge::ranks::normal_quantile;

/// How near the search comes, in the unit of the metric.
const TOLERANCE: f64 = 1e-4;

/// The part of the estimate that the near end of the interval must exceed.
const FRACTION: f64 = 0.25;

/// Kayenta's estimate and interval at a confidence of 98 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The estimated shift.
    pub estimate: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// What Kayenta says of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// No difference that counts, or nothing to compare.
    Pass,
    /// The side under test is higher.
    High,
}

/// Returns the interval; both sides must have points, and not all of them the same.
#[must_use]
pub fn interval(test: &[f64], serving: &[f64]) -> Interval {
    let most = |points: &[f64]| points.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let least = |points: &[f64]| points.iter().copied().fold(f64::INFINITY, f64::min);
    let low = least(test) - most(serving);
    let high = most(test) - least(serving);
    let z = normal_quantile(0.99);
    let mut ranked = Vec::with_capacity(test.len() + serving.len());
    let mut root = |quantile: f64, clamp: bool| {
        let mut at = |mu: f64| statistic(test, serving, mu, &mut ranked) - quantile;
        if clamp && at(low) <= 0.0 {
            low
        } else if clamp && at(high) >= 0.0 {
            high
        } else {
            zero_in(low, high, at)
        }
    };
    Interval { estimate: root(0.0, false), low: root(z, true), high: root(-z, true) }
}

/// Judges a metric of which a rise is bad, with Kayenta's defaults; NaN points are left out.
#[must_use]
pub fn judge(test: &[f64], serving: &[f64]) -> Said {
    let present = |points: &[f64]| -> Vec<f64> {
        points.iter().copied().filter(|point| !point.is_nan()).collect()
    };
    let (test, serving) = (present(test), present(serving));
    let mut all = test.iter().chain(&serving);
    let first = all.next();
    if test.is_empty() || serving.is_empty() || !all.any(|point| Some(point) != first) {
        return Said::Pass;
    }
    let interval = interval(&test, &serving);
    let mean = |points: &[f64]| points.iter().sum::<f64>() / points.len() as f64;
    let (ours, theirs) = (mean(&test), mean(&serving));
    let effect = ours == 0.0 || theirs == 0.0 || ours / theirs >= 1.0;
    if interval.low > FRACTION * interval.estimate.abs() && effect {
        Said::High
    } else {
        Said::Pass
    }
}

/// The standardised rank sum after the side under test was lowered by `mu`.
fn statistic(test: &[f64], serving: &[f64], mu: f64, all: &mut Vec<(f64, bool)>) -> f64 {
    all.clear();
    all.extend(test.iter().map(|point| (point - mu, true)));
    all.extend(serving.iter().map(|point| (*point, false)));
    all.sort_unstable_by(|(left, _), (right, _)| left.total_cmp(right));
    let (n, m) = (test.len() as f64, serving.len() as f64);
    let (mut ranks, mut ties, mut seen) = (0.0, 0.0, 0.0);
    for group in all.chunk_by(|(left, _), (right, _)| left == right) {
        let size = group.len() as f64;
        let ours = group.iter().filter(|(_, test)| *test).count() as f64;
        ranks += ours * (seen + (size + 1.0) / 2.0);
        ties += size * size * size - size;
        seen += size;
    }
    let off = ranks - n * (n + 1.0) / 2.0 - n * m / 2.0;
    let sign = if off == 0.0 { 0.0 } else { off.signum() };
    let spread = (n + m + 1.0) - ties / ((n + m) * (n + m - 1.0));
    (off - 0.5 * sign) / (n * m / 12.0 * spread).sqrt()
}

/// Brent's zero (1973) in the form of R's `zeroin`, with an absolute tolerance.
fn zero_in(low: f64, high: f64, mut at: impl FnMut(f64) -> f64) -> f64 {
    let (mut a, mut b) = (low, high);
    let (mut fa, mut fb) = (at(a), at(b));
    let (mut c, mut fc) = (a, fa);
    if fa == 0.0 {
        return a;
    }
    for _ in 0..=1000 {
        let before = b - a;
        if fc.abs() < fb.abs() {
            (a, b, c) = (b, c, b);
            (fa, fb, fc) = (fb, fc, fb);
        }
        let near = 2.0 * f64::EPSILON * b.abs() + TOLERANCE / 2.0;
        let half = (c - b) / 2.0;
        if half.abs() <= near || fb == 0.0 {
            return b;
        }
        let mut step = half;
        if before.abs() >= near && fa.abs() > fb.abs() {
            step = interpolated((a, fa), (b, fb), (c, fc), near, before).unwrap_or(half);
        }
        if step.abs() < near {
            step = if step > 0.0 { near } else { -near };
        }
        (a, fa) = (b, fb);
        b += step;
        fb = at(b);
        if (fb > 0.0 && fc > 0.0) || (fb < 0.0 && fc < 0.0) {
            (c, fc) = (a, fa);
        }
    }
    b
}

/// The secant's or the inverse parabola's step from b, where it stays well within the bracket.
fn interpolated(
    (a, fa): (f64, f64),
    (b, fb): (f64, f64),
    (c, fc): (f64, f64),
    near: f64,
    before: f64,
) -> Option<f64> {
    let width = c - b;
    let (mut p, mut q) = if a == c {
        (width * (fb / fa), 1.0 - fb / fa)
    } else {
        let (q, t1, t2) = (fa / fc, fb / fc, fb / fa);
        (t2 * (width * q * (q - t1) - (b - a) * (t1 - 1.0)), (q - 1.0) * (t1 - 1.0) * (t2 - 1.0))
    };
    if p > 0.0 {
        q = -q;
    } else {
        p = -p;
    }
    let inside = p < 0.75 * width * q - (near * q).abs() / 2.0 && p < (before * q / 2.0).abs();
    inside.then_some(p / q)
}
