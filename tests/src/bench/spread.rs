//! How measured values are spread.

use std::time::Duration;

/// Values in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spread(Vec<f64>);

// === impl Spread ===

impl Spread {
    /// Sorts values.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// Sorts spans, in milliseconds.
    #[must_use]
    pub fn millis(values: impl IntoIterator<Item = Duration>) -> Self {
        Self::of(values.into_iter().map(|span| span.as_secs_f64() * 1e3))
    }

    /// Returns how many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the smallest value that at least this part of all does not exceed; NaN of none.
    #[must_use]
    pub fn quantile(&self, part: f64) -> f64 {
        let rank = (part * self.0.len() as f64).ceil() as usize;
        let at = rank.max(1).min(self.0.len()).wrapping_sub(1);
        self.0.get(at).copied().unwrap_or(f64::NAN)
    }

    /// Returns the middle; NaN of none.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Returns the largest value; NaN of none.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.quantile(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let spread = Spread::of([3.0, 1.0, 2.0, 4.0]);
        let at = [0.0, 0.25, 0.5, 0.51, 0.99, 1.0].map(|part| spread.quantile(part));
        assert_eq!(at, [1.0, 1.0, 2.0, 3.0, 4.0, 4.0]);
        assert!(Spread::default().median().is_nan());
    }
}
