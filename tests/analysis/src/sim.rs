//! The simulation: traffic from seeds, and who rolls back when.
//!
//! Everything is synthetic, and everything follows from a seed: a table can be made again to the
//! last digit, by any number of threads. Nothing here decides anything for the product; it plays the
//! product's own processes against what others do, on the same traffic.

pub mod chapters;
pub mod dice;
pub mod ours;
pub mod pods;
pub mod rollout;
pub mod rules;
pub mod run;
pub mod slow;
pub mod table;
pub mod traffic;
