//! The sign test that may be looked at any time.
//!
//! Of each block only the sign is kept: is the side under test beyond what is tolerated. Where it is
//! beyond in at most half of all blocks, the evidence exceeds 1/α with a chance of at most α, however
//! often one looks (Ville, 1939).

/// The stakes between which the evidence is shared.
pub const SIGN_BETS: [f64; 5] = [0.1, 0.25, 0.5, 0.75, 0.95];

/// Returns 1 where the side under test lies above `factor` times the serving side, −1 where it lies
/// below, 0 where it is equal or a number is missing.
#[must_use]
pub fn sign_of(test: f64, serving: f64, factor: f64) -> i8 {
    let limit = factor * serving;
    i8::from(test > limit) - i8::from(test < limit)
}

/// Returns ln E after each sign: E is the mean over the stakes λ of ∏(1 + λ s).
#[must_use]
pub fn sign_e(signs: &[i8], stakes: &[f64]) -> Vec<f64> {
    let mut logs = vec![0.0; stakes.len()];
    signs
        .iter()
        .map(|sign| {
            for (log, stake) in logs.iter_mut().zip(stakes) {
                *log += (stake * f64::from(sign.signum())).ln_1p();
            }
            ln_mean(&logs)
        })
        .collect()
}

/// Returns the logarithm of the mean of what the logarithms stand for; nothing staked is 0.
fn ln_mean(logs: &[f64]) -> f64 {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return if logs.is_empty() { 0.0 } else { most };
    }
    most + (logs.iter().map(|log| (log - most).exp()).sum::<f64>() / logs.len() as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_all_orders_of_a_fair_coin_the_evidence_is_worth_one() {
        let rounds = 12;
        let total: f64 = (0..1u32 << rounds)
            .map(|coins| {
                let signs: Vec<i8> =
                    (0..rounds).map(|at| if coins >> at & 1 == 1 { 1 } else { -1 }).collect();
                sign_e(&signs, &SIGN_BETS).last().unwrap().exp()
            })
            .sum();
        let mean = total / f64::from(1u32 << rounds);
        assert!((mean - 1.0).abs() < 1e-12, "{mean}");
    }

    #[test]
    fn a_tie_and_a_missing_number_are_no_evidence() {
        assert_eq!(sign_of(1.1, 1.0, 1.1), 0);
        assert_eq!(sign_of(f64::NAN, 1.0, 1.1), 0);
        assert_eq!(sign_e(&[0, 0], &SIGN_BETS), [0.0, 0.0]);
    }

    #[test]
    fn ten_thousand_signs_overflow_nothing() {
        let sure = sign_e(&vec![1; 10_000], &SIGN_BETS);
        assert!(sure.iter().all(|log| log.is_finite()));
    }
}
