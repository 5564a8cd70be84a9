//! The harness of the machine's proofs: a small world around one pure function.
//!
//! The proofs have a package of their own so that they build in seconds after a change of the
//! machine; `make mutants` makes a thousand of them. Nothing here does I/O.

pub mod world;
