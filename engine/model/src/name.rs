//! Names: short strings that must not be confused with each other.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Returns the name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    )*};
}

names! {
    /// One of the two sides of a rollout, such as `blue`.
    SideName;
    /// One traffic entry of a rollout, such as `edge`.
    EntryName;
    /// One check of an analysis, such as `errors`.
    CheckName;
    /// One metric source, such as `main`.
    SourceName;
    /// One gate before a step.
    GateName;
    /// One alert rule of a rollout.
    AlertName;
    /// What a side runs, such as `2.4.1`; compared for equality only.
    Revision;
    /// A request's identity: the same id is the same request, however often it arrives.
    RequestId;
    /// Why a hold of kind `NeedsPerson` stands: the code of the reason.
    HoldReason;
}

/// Which rollout: unique within one engine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RolloutId {
    /// The namespace; `default` where the file names none.
    pub namespace: Arc<str>,
    /// The rollout's own name.
    pub name: Arc<str>,
}

// === impl RolloutId ===

impl RolloutId {
    /// Makes an id from a namespace and a name.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// `namespace/name`, as everywhere in logs and in the API.
impl fmt::Display for RolloutId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}
