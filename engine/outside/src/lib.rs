//! The way out: one HTTP client (deadline, TLS, body cap) and secrets.

/// What a process shares on its way out. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Outside {}
