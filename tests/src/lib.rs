//! The harness of the suites: real servers on free loopback ports, started and stopped here.

pub mod app;
pub mod bench;
pub mod cluster;
pub mod haproxy;
pub mod load;
pub mod mesh;
pub mod operator;
pub mod process;
pub mod prometheus;
pub mod rig;
pub mod rollout;
pub mod sim;
pub mod stage;
pub mod victoria;
