//! Many processes, one verdict: the weighted mean of evidence is evidence.
//!
//! That holds under any dependence between them, which a product would not. It never lets a
//! process without data decide anything: its evidence is 1, and it only takes its weight away.

/// The evidence of several processes together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Merged {
    /// The logarithm of the weighted mean.
    pub ln_e: f64,
    /// Which one weighs most, by its place; `None` where there is none with a weight.
    pub leader: Option<usize>,
}

/// Returns the logarithm of `Σ w·E` of pairs `(ln E, w)`, and the pair that weighs most.
///
/// Weights that add up to more than 1 are scaled to 1; less than 1 stay, as the rest bets on
/// nothing and counts as lost. Negative and unreadable weights count as 0. The order of the pairs
/// does not matter beyond rounding.
#[must_use]
pub fn weighted_mean(pairs: impl Iterator<Item = (f64, f64)> + Clone) -> Merged {
    let weighed = pairs.map(|(ln_e, weight)| (ln_e, weight.max(0.0)));
    let whole: f64 = weighed.clone().map(|(_, weight)| weight).sum();
    let mut top = f64::NEG_INFINITY;
    let mut leader = None;
    for (at, (ln_e, weight)) in weighed.clone().enumerate() {
        let ln = ln_e + weight.ln();
        if ln > top {
            (top, leader) = (ln, Some(at));
        }
    }
    if leader.is_none() {
        return Merged { ln_e: f64::NEG_INFINITY, leader };
    }
    let sum: f64 = weighed.map(|(ln_e, weight)| (ln_e + weight.ln() - top).exp()).sum();
    Merged { ln_e: top + sum.ln() - whole.max(1.0).ln(), leader }
}
