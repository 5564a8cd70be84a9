//! What every shell is made of: many rollouts in one process, one loop each.
//!
//! A shell brings a store, a lease and what is written; this starts loops, has what they would drive looked at, and
//! keeps two rollouts off one route. It adds no decision.

mod claims;
mod clock;
mod compile;
mod engine;
mod factory;
mod preflight;

pub use self::{
    clock::SystemClock,
    compile::{Uncompiled, Written, compile, compile_in_cluster, compile_with, text},
    engine::{Applied, Engine, Intent},
    factory::Registered,
    preflight::Preflight,
};
