//! What a run is about: the revision that its file names, as far as the file can be used.

use haldane_model::{Revision, RolloutId};
use haldane_runtime::ports::Desk as _;
use haldane_host::Engine;

/// What the file says is to be rolled out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The file could not be used yet.
    Unknown,
    /// Whatever the idle side shows.
    Shown,
    /// This revision.
    Named(Revision),
}

// === impl Wanted ===

impl Wanted {
    /// Reads it from what the engine uses of the file.
    pub(super) fn of(engine: &Engine, id: &RolloutId) -> Self {
        let effective = engine.effective(id).unwrap_or_default();
        match (&effective["spec"], effective["spec"]["revision"].as_str()) {
            (serde_json::Value::Null, _) => Self::Unknown,
            (_, Some(revision)) => Self::Named(revision.into()),
            (_, None) => Self::Shown,
        }
    }
}
