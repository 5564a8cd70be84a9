//! Traffic providers: what moves traffic, one folder each.
//!
//! A provider promises little and keeps it: [`TrafficProvider::write`] is idempotent, `read` tells
//! what is, never what was asked, and nothing but the weights and our mark is ever changed.

pub mod contract;
mod entry;
pub mod gateway;
pub mod haproxy;
pub mod istio;
pub mod memory;
mod provider;
mod routes;
mod settings;

pub use self::{
    entry::{Built, ProviderEntry, Scope, SettingsError, Sides, object_of, overlap},
    provider::{Capabilities, Error, Roles, Snapshot, TrafficProvider},
};

/// Every kind of provider that a user may name. [`memory`] is not among them: it serves tests.
pub static REGISTRY: [ProviderEntry; 3] = [gateway::ENTRY, haproxy::ENTRY, istio::ENTRY];

/// Returns the row of a kind, such as `haproxy`.
#[must_use]
pub fn find(kind: &str) -> Option<&'static ProviderEntry> {
    REGISTRY.iter().find(|entry| entry.kind == kind)
}
