//! The shell outside Kubernetes: one process with an embedded store.
//!
//! It adds no decision: files become plans, signals become ends, and everything else is the loop.

mod analyze;
mod clock;
mod compile;
mod engine;
mod factory;
mod files;
mod keep;
mod offline;
mod preflight;
mod shelf;
pub mod store;

pub use self::{
    analyze::{
        Ahead, Analysis, Asks, Change, Conclusion, Judged, Looks, Splits, StepAhead, Takes, Trial,
        analyze, follow, forecast,
    },
    clock::SystemClock,
    compile::{Uncompiled, Written, compile, compile_with, text},
    engine::{Engine, Intent},
    factory::Registered,
    files::Watcher,
    keep::Kept,
    offline::Offline,
    preflight::Preflight,
    shelf::Shelf,
};
