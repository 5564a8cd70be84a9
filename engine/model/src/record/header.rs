//! The header: what an engine of any version must be able to read. Its layout never changes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Cause, EntryName, SideName};

/// What an engine of any version must be able to read, so that it can lower what it cannot raise.
///
/// Its layout never changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Header {
    /// The side on trial; at rest the idle one.
    pub test: SideName,
    /// The side that a rollback sends everything to.
    pub home: SideName,
    /// The two sides, in the order of the file: what providers are built with.
    pub sides: [SideName; 2],
    /// Through what traffic is moved.
    pub entries: Vec<HeaderEntry>,
    /// Set while an engine that cannot read the rest has put the traffic back.
    pub lowered: Option<Cause>,
}

/// One traffic entry, enough to build its provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HeaderEntry {
    /// Its name.
    pub name: EntryName,
    /// Which provider drives it.
    pub kind: Arc<str>,
    /// The provider's settings, as JSON.
    pub settings: Arc<str>,
}
