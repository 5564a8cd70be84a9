//! Whether a gauge (memory, queue, saturation) is degraded.
//!
//! Three things at once, or nothing: the shift is surely beyond what is tolerated, most pairs of
//! blocks agree, and blocks are long enough to count as nearly independent. One look spends the chance
//! `alpha`; who looks once a step gives each step its part. Exactly on the limit blocks that still
//! remember a little exceed `alpha` up to threefold (`VALIDATION.md`, chapter 10).

use super::{
    blocks::{block_length, block_means},
    order::median,
    shift::{Shift, shift},
    sum::rank_sum,
};

/// Which direction is worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Worse {
    /// More is worse: memory, a queue.
    #[default]
    Higher,
    /// Less is worse: throughput, free space.
    Lower,
}

/// What counts as degraded, and how sure one must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaugeSettings {
    /// Which direction is worse.
    pub worse: Worse,
    /// What is tolerated, as a part of the serving side's median: 0.1 is 10 %.
    pub tolerance: f64,
    /// In which part of all pairs of blocks the side under test must be the worse one.
    pub pairs_min: f64,
    /// How many blocks a side needs.
    pub blocks_min: usize,
    /// How many samples make a block.
    pub block: usize,
    /// The lag-1 autocorrelation of the serving side's samples before the attempt.
    pub autocorrelation: f64,
    /// The chance to call a gauge degraded that lies just at the tolerance, for this look.
    pub alpha: f64,
}

/// What one look at a gauge says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaugeVerdict {
    /// The decision.
    pub outcome: GaugeOutcome,
    /// How many blocks the serving side has.
    pub serving_blocks: usize,
    /// How many blocks the side under test has.
    pub test_blocks: usize,
    /// How many samples a block would need.
    pub block_needed: usize,
    /// The median of the serving side's blocks.
    pub serving_median: Option<f64>,
    /// The median of the blocks of the side under test.
    pub test_median: Option<f64>,
    /// How far the side under test lies towards worse, in the unit of the gauge.
    pub shift: Option<Shift>,
    /// In which part of all pairs of blocks the side under test is the worse one.
    pub pairs: Option<f64>,
}

/// The decision about a gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaugeOutcome {
    /// Surely worse than tolerated.
    Degraded,
    /// Not shown to be worse than tolerated.
    NotDegraded,
    /// The samples cannot tell.
    Inconclusive(Doubt),
}

/// Why samples cannot tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// A side has too few blocks.
    FewBlocks,
    /// It looks degraded, but blocks are so short that neighbours resemble one another.
    ShortBlocks,
    /// A sample is not finite.
    NotFinite,
}

/// Decides about a gauge from the samples of both sides in the order of time.
#[must_use]
pub fn gauge(serving: &[f64], test: &[f64], settings: &GaugeSettings) -> GaugeVerdict {
    let worse = match settings.worse {
        Worse::Higher => 1.0,
        Worse::Lower => -1.0,
    };
    let blocks = |samples: &[f64]| -> Vec<f64> {
        block_means(samples, settings.block).into_iter().map(|mean| mean * worse).collect()
    };
    let (theirs, ours) = (blocks(serving), blocks(test));
    let shift = shift(&ours, &theirs, 1.0 - 2.0 * settings.alpha);
    let pairs = rank_sum(&ours, &theirs).map(|ranks| ranks.cles());
    let level = median(&theirs);
    let needed = block_length(settings.autocorrelation);
    let outcome = if theirs.len().min(ours.len()) < settings.blocks_min {
        GaugeOutcome::Inconclusive(Doubt::FewBlocks)
    } else if let (Some(shift), Some(pairs), Some(level)) = (shift, pairs, level) {
        let tolerated = settings.tolerance * level.abs();
        let beyond = shift.low > tolerated || chance(&ours, &theirs, tolerated) <= settings.alpha;
        let surely = beyond && shift.estimate > tolerated && pairs >= settings.pairs_min;
        match (surely, settings.block >= needed) {
            (true, true) => GaugeOutcome::Degraded,
            (true, false) => GaugeOutcome::Inconclusive(Doubt::ShortBlocks),
            (false, true | false) => GaugeOutcome::NotDegraded,
        }
    } else {
        GaugeOutcome::Inconclusive(Doubt::NotFinite)
    };
    GaugeVerdict {
        outcome,
        serving_blocks: theirs.len(),
        test_blocks: ours.len(),
        block_needed: needed,
        serving_median: level.map(|level| level * worse),
        test_median: median(&ours).map(|level| level * worse),
        shift,
        pairs,
    }
}

/// The chance of such ranks where the side under test lies no more than what is tolerated above the
/// serving side: counted for few blocks, approximated for many or equal ones.
fn chance(ours: &[f64], theirs: &[f64], tolerated: f64) -> f64 {
    let moved: Vec<f64> = ours.iter().map(|value| value - tolerated).collect();
    rank_sum(&moved, theirs).map_or(1.0, |ranks| ranks.greater())
}

// === impl GaugeSettings ===

impl Default for GaugeSettings {
    /// 10 % tolerated, 65 % of all pairs, 8 blocks a side of one sample each, α = 1 %.
    fn default() -> Self {
        Self {
            worse: Worse::Higher,
            tolerance: 0.1,
            pairs_min: 0.65,
            blocks_min: 8,
            block: 1,
            autocorrelation: 0.0,
            alpha: 0.01,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCKS: GaugeSettings = GaugeSettings {
        worse: Worse::Higher,
        tolerance: 0.1,
        pairs_min: 0.65,
        blocks_min: 8,
        block: 3,
        autocorrelation: 0.0,
        alpha: 0.01,
    };

    /// Samples around a level that no two blocks share.
    fn around(level: f64, samples: u32) -> Vec<f64> {
        (0..samples).map(|at| level * (1.0 + 0.01 * f64::from(at * 7 % 11))).collect()
    }

    #[track_caller]
    fn check(serving: &[f64], test: &[f64], settings: &GaugeSettings, expected: GaugeOutcome) {
        assert_eq!(gauge(serving, test, settings).outcome, expected);
    }

    #[test]
    fn a_half_more_is_degraded_and_a_twentieth_more_is_not() {
        check(&around(100.0, 36), &around(150.0, 36), &BLOCKS, GaugeOutcome::Degraded);
        check(&around(100.0, 36), &around(105.0, 36), &BLOCKS, GaugeOutcome::NotDegraded);
    }

    #[test]
    fn less_is_worse_where_that_is_said() {
        let lower = GaugeSettings { worse: Worse::Lower, ..BLOCKS };
        check(&around(100.0, 36), &around(50.0, 36), &lower, GaugeOutcome::Degraded);
        check(&around(100.0, 36), &around(150.0, 36), &lower, GaugeOutcome::NotDegraded);
        assert_eq!(
            gauge(&around(1.0, 36), &around(2.0, 36), &lower).outcome,
            GaugeOutcome::NotDegraded
        );
    }

    #[test]
    fn seven_blocks_cannot_tell() {
        let doubt = GaugeOutcome::Inconclusive(Doubt::FewBlocks);
        check(&around(100.0, 36), &around(900.0, 23), &BLOCKS, doubt);
        check(&around(100.0, 36), &around(900.0, 24), &BLOCKS, GaugeOutcome::Degraded);
    }

    #[test]
    fn blocks_that_resemble_one_another_condemn_nothing() {
        let slow = GaugeSettings { autocorrelation: 0.8, ..BLOCKS };
        let doubt = GaugeOutcome::Inconclusive(Doubt::ShortBlocks);
        check(&around(100.0, 36), &around(150.0, 36), &slow, doubt);
        check(&around(100.0, 36), &around(100.0, 36), &slow, GaugeOutcome::NotDegraded);
    }

    #[test]
    fn the_unit_changes_no_verdict() {
        for unit in [1e-12, 1e-3, 1e9] {
            let (serving, test) = (around(100.0 * unit, 36), around(150.0 * unit, 36));
            check(&serving, &test, &BLOCKS, GaugeOutcome::Degraded);
        }
    }

    #[test]
    fn a_sample_that_is_no_number_condemns_nothing() {
        let mut odd = around(150.0, 36);
        odd[4] = f64::NAN;
        let doubt = GaugeOutcome::Inconclusive(Doubt::NotFinite);
        check(&around(100.0, 36), &odd, &BLOCKS, doubt);
    }
}
