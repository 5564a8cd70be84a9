//! The harness of the suites: real servers on free loopback ports, started and stopped here.

pub mod process;
pub mod sim;
pub mod world;
