//! The way out: one HTTP client (deadline, TLS, body cap), the engine's own cluster, and secrets.
//!
//! Whoever calls something outside asks [`Outside`] for a client and reads answers with
//! [`body`], or asks it for the [`Cluster`], so that no call is without an end and no answer without a limit. Secrets are read
//! where they are used, never kept, and never shown.

mod body;
mod client;
mod cluster;
mod mirror;
mod secret;
mod secrets;
mod tls;

pub use self::{
    body::{BODY_BYTES_MAX, BodyError, body},
    client::{DEADLINE_MAX, Outside, Reach},
    cluster::{Cluster, ClusterConfig, ClusterError, Refusal},
    mirror::{Collection, Key, Mirror, Sight, Trim},
    secret::{Secret, SecretKeyRef, SecretText},
    tls::Tls,
};

/// Why the way out is barred: settings, files or secrets that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OutsideError {
    /// What is wrong, naming the path or the variable, never its content.
    pub message: String,
    /// What to do about it.
    pub help: Option<&'static str>,
}

// === impl OutsideError ===

impl OutsideError {
    pub(crate) fn new(message: String, help: &'static str) -> Self {
        Self { message, help: Some(help) }
    }
}
