//! What people ask for.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{EntryName, RequestId, Revision};

/// Who did something: a person, an alert or a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Actor {
    /// A person, by the name that the shell vouches for.
    Person(String),
    /// An alert, by the name of the rule that matched it.
    Alert(String),
    /// A policy of the plan, by the field that sets it.
    Policy(String),
    /// The engine itself.
    Engine,
}

/// What a person wants done.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verb {
    /// This step is done, now.
    Promote {
        /// To the last step, not only to the next.
        full: bool,
        /// Raise although sources are silent; a breach still rolls back.
        without_guards: bool,
    },
    /// This step needs no Pass; its bake stays.
    Skip,
    /// Put the traffic back.
    Abort,
    /// Hold here.
    Pause,
    /// Lift a standing pause.
    Resume,
    /// Try the revision that failed once more.
    Retry {
        /// Go on without this entry, which does not confirm.
        without: Option<EntryName>,
    },
    /// Return to the previous revision, after Healthy.
    Undo,
}

/// One request. Immutable; the id is its identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Request {
    /// The identity.
    pub id: RequestId,
    /// What is wanted.
    pub verb: Verb,
    /// The revision it was made for; needed by all verbs but abort.
    pub revision: Option<Revision>,
    /// The attempt it was made for; needed by all verbs but abort.
    pub attempt: Option<u32>,
    /// The step it was made for, from 0; needed by promote and skip.
    pub step: Option<usize>,
    /// Why, in the person's words.
    pub reason: Option<String>,
    /// Who asks.
    pub actor: Actor,
    /// When it was made.
    pub at: Timestamp,
}

// === impl Actor ===

impl std::fmt::Display for Actor {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Person(name) => write!(out, "{name}"),
            Self::Alert(name) => write!(out, "alert {name}"),
            Self::Policy(field) => write!(out, "policy {field}"),
            Self::Engine => write!(out, "haldane"),
        }
    }
}

// === impl Verb ===

impl Verb {
    /// Returns the word that people type.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Promote { .. } => "promote",
            Self::Skip => "skip",
            Self::Abort => "abort",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Retry { .. } => "retry",
            Self::Undo => "undo",
        }
    }
}
