//! Whether arrivals are shared as intended, at any time (Lindon and Malek, 2022).

use super::gamma::ln_gamma;

/// Returns the logarithm of the evidence that counts are not shared as `shares` say.
///
/// The alternative is a Dirichlet distribution around the shares with so much `concentration`.
#[must_use]
pub fn ln_e(counts: &[f64], shares: &[f64], concentration: f64) -> f64 {
    let total: f64 = counts.iter().sum();
    let whole: f64 = shares.iter().map(|share| share * concentration).sum();
    let each: f64 = counts
        .iter()
        .zip(shares)
        .map(|(count, share)| {
            let prior = share * concentration;
            ln_gamma(prior + count) - ln_gamma(prior) - count * share.ln()
        })
        .sum();
    ln_gamma(whole) - ln_gamma(whole + total) + each
}
