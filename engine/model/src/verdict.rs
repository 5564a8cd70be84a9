//! What a measurement means, and the evidence it leaves.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{SeqAccess, Visitor},
};

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

/// The evidence of one check in one attempt: bytes in the judge's own, versioned format.
///
/// Written as a text where it is one, which takes a quarter of the room; both forms are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Evidence(pub Arc<[u8]>);

/// A stretch of time on a source's clock; `begin` is excluded, `end` included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Where it begins.
    pub begin: Timestamp,
    /// Where it ends: the moment that was asked for.
    pub end: Timestamp,
}

// === impl Evidence ===

impl Serialize for Evidence {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => out.serialize_str(text),
            Err(_) => self.0.serialize(out),
        }
    }
}

impl<'de> Deserialize<'de> for Evidence {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Evidence;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("evidence: a text, or a list of bytes")
            }

            fn visit_str<E>(self, text: &str) -> Result<Evidence, E> {
                Ok(Evidence(Arc::from(text.as_bytes())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Evidence, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = list.next_element()? {
                    bytes.push(byte);
                }
                Ok(Evidence(bytes.into()))
            }
        }
        input.deserialize_any(Bytes)
    }
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
