//! What is done to the points of a metric before they are compared.

use crate::ranks::quantile;

/// What a missing point (NaN) becomes: Kayenta's `nanStrategy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// It is left out.
    #[default]
    Remove,
    /// It counts as zero; then a side without any point passes.
    Replace,
}

/// What becomes of points far from the others: Kayenta's `outliers`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Outliers {
    /// They stay.
    #[default]
    Keep,
    /// Those go that lie both beyond so many interquartile ranges and beyond the outer hundredths.
    Remove {
        /// How many interquartile ranges from the quartiles; 3 in Kayenta.
        factor: f64,
    },
}

/// Returns the points that are compared.
pub(super) fn clean(
    points: &[f64],
    missing: Missing,
    outliers: Outliers,
    expected: usize,
) -> Vec<f64> {
    let kept: Vec<f64> = match missing {
        Missing::Remove => points.iter().copied().filter(|point| !point.is_nan()).collect(),
        Missing::Replace => {
            let gap = expected.saturating_sub(points.len());
            let zero = |point: f64| if point.is_nan() { 0.0 } else { point };
            points.iter().map(|point| zero(*point)).chain(std::iter::repeat_n(0.0, gap)).collect()
        }
    };
    match outliers {
        Outliers::Keep => kept,
        Outliers::Remove { factor } => within(kept, factor),
    }
}

fn within(points: Vec<f64>, factor: f64) -> Vec<f64> {
    let at = |share| quantile(&points, share);
    let (Some(first), Some(third)) = (at(0.25), at(0.75)) else { return points };
    let (Some(lowest), Some(highest)) = (at(0.01), at(0.99)) else { return points };
    let reach = factor * (third - first);
    let (low, high) = (lowest.min(first - reach), highest.max(third + reach));
    points.into_iter().filter(|point| (low..=high).contains(point)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_point_is_left_out_or_counts_as_zero() {
        let points = [1.0, f64::NAN, 3.0];
        assert_eq!(clean(&points, Missing::Remove, Outliers::Keep, 5), [1.0, 3.0]);
        assert_eq!(clean(&points, Missing::Replace, Outliers::Keep, 5), [1.0, 0.0, 3.0, 0.0, 0.0]);
    }

    #[test]
    fn only_what_lies_beyond_both_fences_goes() {
        let few = [1.0, 2.0, 3.0, 4.0, 100.0];
        let remove = Outliers::Remove { factor: 3.0 };
        assert_eq!(clean(&few, Missing::Remove, remove, 0), [1.0, 2.0, 3.0, 4.0]);
        let near = [1.0, 2.0, 3.0, 4.0, 8.0];
        assert_eq!(clean(&near, Missing::Remove, remove, 0), near);
    }
}
