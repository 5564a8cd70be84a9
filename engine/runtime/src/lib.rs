//! The loop: observe, decide, record, perform, tell.
//!
//! [`Core`] is one rollout's loop without any I/O: inputs in, commands out, time as an argument. It
//! joins the machine, the judge and what was asked, and it is what the simulation runs. [`drive`]
//! executes its commands on tokio, through the ports.

pub mod analysis_run;
pub mod codec;
mod core;
pub mod drive;
pub mod explain;
pub mod ports;
pub mod replay;
pub mod status;
pub mod trace;

pub use self::core::{Command, Core, Input, LookKey, Notice};
