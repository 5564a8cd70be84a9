//! The rollout state machine: one pure function.
