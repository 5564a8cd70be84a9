//! The shell outside Kubernetes: one process with an embedded store.

pub mod store;
