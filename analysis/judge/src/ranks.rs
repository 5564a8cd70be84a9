//! Rank statistics for gauges: is the side under test higher, by how much, and how sure is that.
//!
//! Pure functions over finite samples. No answer depends on the unit of the numbers: an interval is
//! made of differences that were seen, and nothing here searches for a root.

mod blocks;
mod gauge;
mod normal;
mod order;
mod shift;
mod sign;
mod sum;

#[cfg(test)]
mod tests;

pub use self::{
    blocks::{autocorrelation, block_length, block_means},
    gauge::{Doubt, GaugeOutcome, GaugeSettings, GaugeVerdict, Worse, gauge},
    normal::{normal_quantile, normal_tail},
    order::{median, quantile},
    shift::{Shift, shift},
    sign::{SIGN_BETS, sign_e, sign_of},
    sum::{RankSum, rank_sum},
};
