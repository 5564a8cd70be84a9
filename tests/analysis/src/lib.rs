//! The harness of the analysis' proofs: reference values, and traffic from seeds.
//!
//! The proofs have a package of their own so that they build in seconds after a change of the
//! judge. Nothing here does I/O but reading the reference values.

pub mod methods;
pub mod reference;
pub mod sim;
