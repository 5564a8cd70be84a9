//! The normal distribution: its tail, and the point that a tail begins at.
//!
//! Correct to about 1e-15, so that a reference value is met and no table is carried along.

use std::f64::consts::PI;

/// Returns the chance that a standard normal value exceeds `x`.
///
/// Near the middle the power series of Marsaglia (2004), beyond it the continued fraction of
/// Laplace, which keeps its relative precision however far out.
#[must_use]
pub fn normal_tail(x: f64) -> f64 {
    if x.is_nan() {
        return f64::NAN;
    }
    if x < 0.0 {
        return 1.0 - normal_tail(-x);
    }
    if x < 1.5 { 0.5 - density(x) * series(x) } else { density(x) / fraction(x) }
}

/// Returns the point that a standard normal value stays below with the chance `p`; infinite at the
/// ends of `0..=1`, NaN outside.
///
/// A rational start (Abramowitz and Stegun 26.2.23), then Newton's steps on the tail.
#[must_use]
pub fn normal_quantile(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    if p > 0.5 {
        return -normal_quantile(1.0 - p);
    }
    if p == 0.0 {
        return f64::NEG_INFINITY;
    }
    let t = (-2.0 * p.ln()).sqrt();
    let above = t * (t * 0.010_328 + 0.802_853) + 2.515_517;
    let below = t * (t * (t * 0.001_308 + 0.189_269) + 1.432_788) + 1.0;
    let mut x = t - above / below;
    for _ in 0..4 {
        let off = (normal_tail(x) - p) / density(x);
        // Halley's correction: the density falls as fast as x grows.
        x += off / (1.0 - off * x / 2.0).max(0.5);
    }
    -x
}

fn density(x: f64) -> f64 {
    (-x * x / 2.0).exp() / (2.0 * PI).sqrt()
}

fn series(x: f64) -> f64 {
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term > sum * 1e-18 {
        odd += 2.0;
        term *= x * x / odd;
        sum += term;
    }
    sum
}

fn fraction(x: f64) -> f64 {
    (1..=80).rev().fold(x, |rest, step| x + f64::from(step) / rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(got: f64, expected: f64) {
        assert!((got - expected).abs() <= 1e-13 * expected.abs(), "{got} is not {expected}");
    }

    #[test]
    fn the_tail_is_that_of_the_tables() {
        check(normal_tail(0.0), 0.5);
        check(normal_tail(1.0), 0.158_655_253_931_457_05);
        check(normal_tail(2.0), 0.022_750_131_948_179_21);
        check(normal_tail(3.0), 0.001_349_898_031_630_094_6);
        check(normal_tail(-1.0), 0.841_344_746_068_542_9);
        check(normal_tail(10.0), 7.619_853_024_160_527e-24);
    }

    #[test]
    fn the_quantile_is_that_of_the_tables() {
        check(normal_quantile(0.99), 2.326_347_874_040_840_8);
        check(normal_quantile(0.975), 1.959_963_984_540_054);
        check(normal_quantile(1e-9), -5.997_807_015_007_687);
        assert_eq!(normal_quantile(0.0), f64::NEG_INFINITY);
        assert!(normal_quantile(0.5).abs() < 1e-15);
    }
}
