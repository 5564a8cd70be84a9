//! By how much one side lies above the other (Hodges and Lehmann, 1963).

use super::{normal::normal_quantile, order::of_sorted, sum::rank_sum};

/// How far the side under test lies above the serving side, in the unit of the samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    /// The median of all pairwise differences.
    pub estimate: f64,
    /// The lower end of the interval; −∞ where there are too few samples for the confidence.
    pub low: f64,
    /// The upper end of the interval; +∞ where there are too few samples for the confidence.
    pub high: f64,
}

/// Estimates the shift, with a two-sided interval of the confidence given (0.98 leaves 1 % a side).
///
/// The ends are ordered pairwise differences (Lehmann, 1975): the k-th from either end, where k is
/// the rank sum that is as unlikely. All differences are held at once: keep it to some thousand
/// samples a side. `None` where a side is empty or a sample is not finite.
#[must_use]
pub fn shift(test: &[f64], serving: &[f64], confidence: f64) -> Option<Shift> {
    let ranks = rank_sum(test, serving)?;
    let mut differences: Vec<f64> =
        test.iter().flat_map(|ours| serving.iter().map(move |theirs| ours - theirs)).collect();
    differences.sort_by(f64::total_cmp);
    let estimate = of_sorted(&differences, 0.5)?;
    let z = normal_quantile(0.5 + confidence / 2.0);
    let rank = (differences.len() as f64 / 2.0 - z * ranks.sigma).floor();
    if rank.is_nan() || rank < 0.0 {
        return Some(Shift { estimate, low: f64::NEG_INFINITY, high: f64::INFINITY });
    }
    // At a confidence near nothing the rank would pass the middle.
    let rank = (rank as usize).min((differences.len() - 1) / 2);
    let (low, high) = (differences[rank], differences[differences.len() - 1 - rank]);
    Some(Shift { estimate, low, high })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_unit_gives_the_same_shift_in_that_unit() {
        let test = [3.0, 5.0, 4.0, 9.0, 7.5, 6.0, 8.0, 3.5];
        let serving = [1.0, 2.0, 1.5, 4.0, 3.25, 2.5, 0.5, 5.5];
        let scaled = |samples: &[f64], by: f64| samples.iter().map(|s| s * by).collect::<Vec<_>>();
        let plain = shift(&test, &serving, 0.98).unwrap();
        for by in [1024.0, 2f64.powi(-40)] {
            let other = shift(&scaled(&test, by), &scaled(&serving, by), 0.98).unwrap();
            let back =
                Shift { estimate: other.estimate / by, low: other.low / by, high: other.high / by };
            assert_eq!(back, plain);
        }
    }

    #[test]
    fn two_samples_a_side_bound_nothing() {
        let wide = shift(&[3.0, 4.0], &[1.0, 2.0], 0.98).unwrap();
        assert_eq!((wide.low, wide.high), (f64::NEG_INFINITY, f64::INFINITY));
        assert_eq!(wide.estimate, 2.0);
    }

    #[test]
    fn two_constants_lie_exactly_their_difference_apart() {
        let apart = shift(&[3.0; 9], &[1.0; 9], 0.98).unwrap();
        assert_eq!(apart, Shift { estimate: 2.0, low: 2.0, high: 2.0 });
    }
}
