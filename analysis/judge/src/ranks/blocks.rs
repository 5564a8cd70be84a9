//! Blocks: means over stretches so long that neighbours no longer resemble one another.
//!
//! Rank tests take samples for independent. Gauges are not: at a lag-1 autocorrelation of 0.8 a
//! third of all comparisons of a version with itself come out as degraded.

/// How many times the time in which a series forgets a block must last.
const FORGOTTEN: f64 = 3.0;

/// The longest block that is asked for, in samples: a series that forgets more slowly is a level.
const LENGTH_MAX: f64 = 10_000.0;

/// Returns the means of consecutive blocks of `length` samples; what fills no block is left out.
#[must_use]
pub fn block_means(samples: &[f64], length: usize) -> Vec<f64> {
    samples
        .chunks_exact(length.max(1))
        .map(|block| block.iter().sum::<f64>() / block.len() as f64)
        .collect()
}

/// Returns the lag-1 autocorrelation, that of a constant being 0; `None` of fewer than three samples.
#[must_use]
pub fn autocorrelation(samples: &[f64]) -> Option<f64> {
    if samples.len() < 3 {
        return None;
    }
    let mean = samples.iter().sum::<f64>() / samples.len() as f64;
    let off: Vec<f64> = samples.iter().map(|sample| sample - mean).collect();
    let spread: f64 = off.iter().map(|off| off * off).sum();
    let together: f64 = off.windows(2).map(|pair| pair[0] * pair[1]).sum();
    let rho = if spread == 0.0 { 0.0 } else { together / spread };
    rho.is_finite().then_some(rho)
}

/// Returns how many samples a block needs for a series of this lag-1 autocorrelation: 3/(1 − ρ).
#[must_use]
pub fn block_length(autocorrelation: f64) -> usize {
    let rho = if autocorrelation.is_nan() { 1.0 } else { autocorrelation.clamp(0.0, 1.0) };
    let samples = (FORGOTTEN / (1.0 - rho)).min(LENGTH_MAX);
    // What rounding adds to a whole number is no further sample.
    (samples * (1.0 - 1e-12)).ceil() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fills_no_block_is_left_out() {
        assert_eq!(block_means(&[1.0, 3.0, 5.0, 7.0, 100.0], 2), [2.0, 6.0]);
        assert!(block_means(&[1.0], 2).is_empty());
    }

    #[test]
    fn a_series_that_forgets_slowly_needs_longer_blocks() {
        assert_eq!([-0.5, 0.0, 0.5, 0.8, 1.0].map(block_length), [3, 3, 6, 15, 10_000]);
    }

    #[test]
    fn the_autocorrelation_is_the_share_that_is_remembered() {
        assert_eq!(autocorrelation(&[1.0, 2.0]), None);
        assert_eq!(autocorrelation(&[4.0; 9]), Some(0.0));
        assert_eq!(autocorrelation(&[1.0, -1.0, 1.0, -1.0]), Some(-0.75));
    }
}
