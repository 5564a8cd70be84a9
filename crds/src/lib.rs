//! The written form of a rollout.
