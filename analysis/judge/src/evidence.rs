//! What the judge remembers of one check in one attempt.
//!
//! JSON with a format number first, so that it can be read in a database by hand. Counts and
//! times only: never a rate, so that nothing here can be NaN. Reading never fails.

use haldane_model::{Evidence, Thought, Window};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The format that is written here; an engine reads its own and no later one.
const FORMAT: u32 = 1;

/// The counts of one check in one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    format: u32,
    /// Failures.
    pub(crate) failures: Tally,
    /// Failures since the last Pass.
    pub(crate) consecutive: u32,
    /// Looks that were inconclusive for lack of samples.
    pub(crate) inconclusive: Tally,
    /// Whether the side under test had samples in this attempt.
    pub(crate) seen: bool,
    /// The silence of the side under test that is under way.
    pub(crate) silence: Option<Silence>,
}

/// A count of looks in which no sample is counted twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// How many.
    pub(crate) count: u32,
    /// Where the window of the last counted one ended.
    counted_to: Option<Timestamp>,
}

/// A silence of one side while the other has samples, without a gap in what was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Silence {
    /// Where its first window began.
    pub(crate) begin: Timestamp,
    /// Where its first window ended.
    pub(crate) since: Timestamp,
    /// Up to where it was looked at.
    pub(crate) to: Timestamp,
}

/// What every format has in common.
#[derive(Deserialize)]
struct Envelope {
    format: u32,
}

// === impl Ledger ===

impl Ledger {
    /// Reads evidence; what cannot be read counts as none, and the sentence says so.
    pub(crate) fn read(evidence: &Evidence) -> (Self, Option<String>) {
        if evidence.is_empty() {
            return (Self::default(), None);
        }
        let read = |bytes: &[u8]| serde_json::from_slice(bytes).ok();
        if let Some(ledger) = evidence.thought::<Self>(read).filter(|one| one.format <= FORMAT) {
            return (ledger.clone(), None);
        }
        let why = match serde_json::from_slice::<Envelope>(evidence.bytes()) {
            Ok(Envelope { format }) if format > FORMAT => {
                format!("has format {format} of a newer engine and cannot be read")
            }
            Ok(_) | Err(_) => "is damaged".to_owned(),
        };
        (Self::default(), Some(format!("the earlier evidence {why}: counting starts anew")))
    }

    /// Keeps it, in the current format.
    pub(crate) fn keep(mut self) -> Evidence {
        self.format = FORMAT;
        Evidence::of(self)
    }
}

impl Thought for Ledger {
    fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers, times and flags are always JSON")
    }
}

// === impl Tally ===

impl Tally {
    /// Counts a look unless its window overlaps one that was counted; returns whether it did.
    pub(crate) fn count(&mut self, window: Window) -> bool {
        let fresh = self.counted_to.is_none_or(|to| window.begin >= to);
        if fresh {
            self.count = self.count.saturating_add(1);
            self.counted_to = Some(window.end.max(window.begin));
        }
        fresh
    }
}
