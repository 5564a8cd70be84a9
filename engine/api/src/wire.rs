//! What goes over the wire, in JSON: the same types on both ends.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use haldane_model::{JournalEntry, RequestId, Revision};
use haldane_runtime::{status::Status, trace::Packed};
use serde::{Deserialize, Serialize};

/// Every rollout of an engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RolloutList {
    /// Their pictures, in the order of their names.
    pub rollouts: Vec<Status>,
}

/// A picture, and what tells it from the next one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Picture {
    /// Opaque; to be given back as `since`.
    pub version: String,
    /// The picture.
    pub status: Status,
}

/// A stretch of a journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalPage {
    /// The entries, oldest first.
    pub entries: Vec<Entry>,
    /// From when on the journal is complete, where older entries were dropped.
    pub complete_since: Option<jiff::Timestamp>,
}

/// A stretch of what a rollout took in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracePage {
    /// The batches, oldest first.
    pub batches: Vec<PackedBatch>,
}

/// What one swap added to a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedBatch {
    /// The version of the record that it led to.
    pub version: u64,
    /// The items as the runtime packs them, in base64: their numbers may be infinite, which JSON cannot say.
    pub packed: String,
}

/// One decision, with the sentence that people read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The decision.
    #[serde(flatten)]
    pub entry: JournalEntry,
    /// The same in a sentence.
    pub sentence: String,
}

/// How a request went, and what it was made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// `accepted` or `refused`.
    pub outcome: String,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The request's identity: asked again with the same one, the answer is the same.
    pub id: RequestId,
    /// The revision that it was made for.
    pub revision: Option<Revision>,
    /// The attempt that it was made for.
    pub attempt: Option<u32>,
    /// The step that it was made for, from 0.
    pub step: Option<usize>,
    /// Who asked, as the journal names them.
    pub actor: String,
}

/// What was wrong with a call, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What was wrong.
    pub error: String,
    /// Which field, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Which engine answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its version.
    pub version: String,
    /// The API's version: the first part of every path.
    pub api: String,
    /// The format of its records.
    pub format: u32,
}

// === impl PackedBatch ===

impl PackedBatch {
    /// Writes down a batch.
    pub(crate) fn of(batch: &Packed) -> Self {
        Self { version: batch.version, packed: BASE64_STANDARD.encode(&batch.bytes) }
    }

    /// Reads it. The error says that it is no base64.
    pub fn read(&self) -> Result<Packed, String> {
        let bytes = BASE64_STANDARD.decode(&self.packed).map_err(|error| error.to_string())?;
        Ok(Packed { version: self.version, bytes })
    }
}

// === impl Answer ===

impl Answer {
    /// The word for a request that took effect, or will.
    pub const ACCEPTED: &str = "accepted";
    /// The word for a request that did not.
    pub const REFUSED: &str = "refused";

    /// Returns whether the request took effect, or will.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.outcome == Self::ACCEPTED
    }
}

// === impl Trouble ===

impl Trouble {
    /// Says what was wrong.
    pub(crate) fn new(error: impl Into<String>) -> Self {
        Self { error: error.into(), field: None, remedy: None }
    }

    /// Says which field, what was wrong with it, and what to do.
    pub(crate) fn field(name: &str, error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { error: error.into(), field: Some(name.to_owned()), remedy: Some(remedy.into()) }
    }

    /// Says what to do about it.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

// === impl Version ===

impl Version {
    /// Returns the version of this program.
    #[must_use]
    pub fn own() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api: "v1".to_owned(),
            format: haldane_runtime::codec::FORMAT,
        }
    }
}
