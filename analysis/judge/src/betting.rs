//! Testing by betting: is one side worse than the other, however often one looks?
//!
//! A bet multiplies a wealth that began at 1. Under the null hypothesis no bet gains on average, so
//! that a wealth of 1/α is as rare as α, whenever and however often it is looked at (Ville, 1939).
//! The wealth is called evidence, or odds: 829 says "829 to 1 that it is worse".
//!
//! Everything here is arithmetic on numbers that are given: no clock, no I/O, no allocation per
//! window. Logarithms are natural; rates are fractions; counts may be fractional.

mod bound;
mod grid;
mod kernel;
mod merge;
mod process;
mod tails;

pub use self::{
    bound::{Bound, ratio_bound},
    grid::{Grid, STRATEGIES_MAX},
    kernel::{Margin, Sums, log_bet},
    merge::{Merged, weighted_mean},
    process::{Game, Process, cap},
    tails::{EXPECTED_WEIGHT, Expected, THRESHOLDS_MAX, Tails, thresholds},
};
