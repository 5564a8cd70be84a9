//! What a check remembers of one attempt.
//!
//! The judge goes on with what it thinks in; bytes come into being only where somebody reads them: a
//! record that is written, a person. Both forms say the same, and evidence never changes once it is
//! made.

use std::{
    any::Any,
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, OnceLock},
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{SeqAccess, Visitor},
};

/// The evidence of one check in one attempt, in the judge's own, versioned format.
///
/// Written as a text where it is one, which takes a quarter of the room; both forms are read.
#[derive(Clone, Default)]
pub struct Evidence(Arc<Held>);

/// What the judge thinks in, which can be written down.
pub trait Thought: Any + Send + Sync {
    /// Writes it down; what is read back from that must go on in the same way, bit for bit.
    fn write(&self) -> Vec<u8>;
}

/// One of the two at least; with neither it is empty.
#[derive(Default)]
struct Held {
    bytes: OnceLock<Box<[u8]>>,
    thought: OnceLock<Box<dyn Thought>>,
}

// === impl Evidence ===

impl Evidence {
    /// Keeps a thought; it is written down once somebody asks for it.
    #[must_use]
    pub fn of(thought: impl Thought) -> Self {
        let held = Held { bytes: OnceLock::new(), thought: OnceLock::from(boxed(thought)) };
        Self(Arc::new(held))
    }

    /// Returns it as it is stored.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let written = || self.0.thought.get().map_or_else(Vec::new, |one| one.write());
        self.0.bytes.get_or_init(|| written().into())
    }

    /// Returns whether nothing was ever learned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.thought.get().is_none() && self.bytes().is_empty()
    }

    /// Returns the thought; from bytes it is read once. `None` where it is of another kind, or the
    /// bytes cannot be read.
    #[must_use]
    pub fn thought<T: Thought>(&self, read: impl FnOnce(&[u8]) -> Option<T>) -> Option<&T> {
        if self.0.thought.get().is_none()
            && let Some(thought) = read(self.bytes())
        {
            // Whoever was faster read the same bytes.
            let _ = self.0.thought.set(boxed(thought));
        }
        let thought: &dyn Any = &**self.0.thought.get()?;
        thought.downcast_ref()
    }
}

fn boxed(thought: impl Thought) -> Box<dyn Thought> {
    Box::new(thought)
}

impl From<Vec<u8>> for Evidence {
    fn from(bytes: Vec<u8>) -> Self {
        let bytes = OnceLock::from(bytes.into_boxed_slice());
        Self(Arc::new(Held { bytes, thought: OnceLock::new() }))
    }
}

impl From<&[u8]> for Evidence {
    fn from(bytes: &[u8]) -> Self {
        Self::from(bytes.to_vec())
    }
}

impl PartialEq for Evidence {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.bytes() == other.bytes()
    }
}

impl Eq for Evidence {}

impl Hash for Evidence {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes().hash(state);
    }
}

impl fmt::Debug for Evidence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Evidence({})", String::from_utf8_lossy(self.bytes()))
    }
}

impl Serialize for Evidence {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.bytes()) {
            Ok(text) => out.serialize_str(text),
            Err(_) => self.bytes().serialize(out),
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
                Ok(Evidence::from(text.as_bytes()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Evidence, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = list.next_element()? {
                    bytes.push(byte);
                }
                Ok(Evidence::from(bytes))
            }
        }
        input.deserialize_any(Bytes)
    }
}
