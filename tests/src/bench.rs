//! What the engine costs, measured: one file per question, and one that writes the answers up.
//!
//! Nothing here fails because a machine is slow: a goal is met, or the gap is told.

pub mod binary;
pub mod breach;
pub mod cluster;
pub mod cost;
pub mod fleet;
pub mod fold;
pub mod host;
pub mod loops;
pub mod reaction;
pub mod report;
pub mod spread;
pub mod stand;
pub mod tape;
