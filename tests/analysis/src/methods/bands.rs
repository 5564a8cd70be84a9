//! Bands around a distribution function that hold at every sample size (Howard and Ramdas, 2022),
//! by which Netflix compares the latencies of two versions (Lindon, Sanden and Shirikian, 2022).

/// Returns how far from the truth the empirical distribution function of n samples ever is, but for
/// a chance of `alpha` over all n.
#[must_use]
pub fn half_width(n: f64, alpha: f64) -> f64 {
    let iterated = (1.0 + n.ln()).ln();
    0.85 * ((iterated + 0.8 * (1612.0 / alpha).ln()) / n).sqrt()
}

/// Returns whether one side is surely slower than the other somewhere: at a bound its part above
/// exceeds the other's by more than both bands. `above` are counts at the same bounds.
#[must_use]
pub fn slower(
    test: &[f64],
    test_total: f64,
    serving: &[f64],
    serving_total: f64,
    alpha: f64,
) -> bool {
    if test_total < 1.0 || serving_total < 1.0 {
        return false;
    }
    let room = half_width(test_total, alpha / 2.0) + half_width(serving_total, alpha / 2.0);
    test.iter().zip(serving).any(|(ours, theirs)| ours / test_total - theirs / serving_total > room)
}
