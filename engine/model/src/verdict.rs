//! What a measurement means.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What the judge says of one check at one look.
///
/// No answer stands in for another: silence is not a pass, and a broken source is not a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// The condition holds.
    Pass,
    /// The condition is broken; `breach` once the check's limit on failures is exceeded.
    Fail {
        /// Whether the limit on failures is exceeded, so that traffic must go back.
        breach: bool,
    },
    /// There was an answer, but too little in it to tell.
    Inconclusive {
        /// Whether the check's limit on inconclusive looks is exceeded.
        over_limit: bool,
    },
    /// The source answered and has nothing on either side.
    NoData,
    /// The source did not answer, or its answer cannot be used.
    SourceError,
    /// The source answers, the serving side has samples, and the side under test has vanished.
    CanaryLost,
}

/// A stretch of time on a source's clock; `begin` is excluded, `end` included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Where it begins.
    pub begin: Timestamp,
    /// Where it ends: the moment that was asked for.
    pub end: Timestamp,
}

// === impl Verdict ===

impl Verdict {
    /// Returns whether traffic must go back because of this verdict alone.
    #[must_use]
    pub fn is_breach(self) -> bool {
        matches!(self, Self::Fail { breach: true })
    }

    /// Returns the word for people: `Pass`, `Fail`, `NoData` and so on.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "Pass",
            Self::Fail { .. } => "Fail",
            Self::Inconclusive { .. } => "Inconclusive",
            Self::NoData => "NoData",
            Self::SourceError => "SourceError",
            Self::CanaryLost => "CanaryLost",
        }
    }
}
