//! The shell in a cluster: custom resources in, status and events out, a lease of its own.
//!
//! It adds no decision: Rollouts become plans, RolloutRequests become requests, pods become health, and everything else
//! is the loop. It watches and never polls; it writes to nothing of a user's but through the providers.

mod analysis_runs;
mod api;
mod events;
mod lease;
mod measured;
mod metrics;
mod operator;
mod picture;
mod requests;
mod revision;
mod rollouts;
mod shelf;
mod store;
mod supervise;
mod workloads;

pub use self::operator::{Operator, Options};
