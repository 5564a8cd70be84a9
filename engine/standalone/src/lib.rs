//! The shell outside Kubernetes: one process with an embedded store.
//!
//! It adds no decision: files become plans, signals become ends, and everything else is the loop.

mod analyze;
mod files;
mod keep;
mod offline;
mod open;
mod shelf;
pub mod store;

pub use self::{
    analyze::{
        Ahead, Analysis, Asks, Change, Conclusion, Judged, Looks, Splits, StepAhead, Takes, Trial,
        analyze, follow, forecast,
    },
    files::Watcher,
    keep::Kept,
    offline::Offline,
    open::open,
    shelf::Shelf,
};
