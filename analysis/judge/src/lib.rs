//! The judge: what measurements mean.
//!
//! A pure fold `(rule, limits, evidence, sample) -> (evidence, verdict, finding)`: no I/O, no clock,
//! no state of its own. The same samples in the same order always give the same verdicts, so a
//! recorded rollout can be judged again.
