//! What was taken in, kept beside the record so that it can be done again: every look that was judged,
//! and every turn that decided something.
//!
//! A batch is swapped in with the record that it led to, in one transaction: what the trace holds is
//! what the stored record rests on, however often the engine was killed. Packed, because a turn holds a
//! whole record; never read by the loop itself.

use std::{
    io::{Read, Write},
    sync::Arc,
};

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use haldane_judge::Stage;
use haldane_model::{
    CheckName, Evidence, Finding, JournalEntry, Limits, Now, Record, Revision, Sample, Seen, Window,
};
use serde::{Deserialize, Serialize};

/// How large a batch may be once it is unpacked: what is larger is damaged.
const UNPACKED_MAX: u64 = 256 * 1_024 * 1_024;

/// One thing that was taken in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Traced {
    /// An answer was judged.
    Look(Box<TracedLook>),
    /// Something was decided.
    Turn(Box<TracedTurn>),
    /// So many items before this one were dropped: the store did not take them for too long.
    Gap(u64),
}

/// An answer that was judged, and what the judge said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TracedLook {
    /// Which check.
    pub check: CheckName,
    /// In which attempt.
    pub attempt: u32,
    /// About which revision.
    pub revision: Option<Revision>,
    /// Whether it was taken before the attempt began.
    pub at_rest: bool,
    /// When it was judged.
    pub at: Now,
    /// What was asked about, in the source's time.
    pub window: Window,
    /// The question, in the source's words.
    pub question: Arc<str>,
    /// The rule that it was judged by.
    pub rule: Arc<str>,
    /// How many odd looks the check may have.
    pub limits: Limits,
    /// Where the rollout stood.
    pub stage: Stage,
    /// Whether the check decides nothing.
    pub dry_run: bool,
    /// The evidence before it; `None` where that is what the check's look before this one left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Evidence>,
    /// What the source answered.
    pub sample: Sample,
    /// What the judge said.
    pub finding: Arc<Finding>,
    /// Whether the record took the evidence in; what it did not was judged again.
    pub learned: bool,
}

/// A turn that decided something: all that the decision rests on, and what was decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TracedTurn {
    /// The record before it.
    pub record: Record,
    /// What was seen.
    pub seen: Seen,
    /// When.
    pub now: Now,
    /// What was decided.
    pub entries: Vec<JournalEntry>,
}

/// What one swap added to a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The version of the record that it led to; growing.
    pub version: u64,
    /// The items, in the order in which they were taken in.
    pub items: Vec<Arc<Traced>>,
}

// === impl Batch ===

impl Batch {
    /// Packs the items.
    #[must_use]
    pub fn pack(items: &[Arc<Traced>]) -> Vec<u8> {
        let plain = rmp_serde::to_vec_named(items).expect("numbers, texts and lists of them");
        let mut packer = DeflateEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(&plain).expect("memory takes what is written to it");
        packer.finish().expect("memory takes what is written to it")
    }

    /// Unpacks what was packed. The error says that the bytes are damaged, or of a newer engine.
    pub fn unpack(version: u64, packed: &[u8]) -> Result<Self, String> {
        let damaged = |why: String| format!("batch {version} of the trace cannot be read: {why}");
        let mut plain = Vec::new();
        DeflateDecoder::new(packed)
            .take(UNPACKED_MAX)
            .read_to_end(&mut plain)
            .map_err(|error| damaged(error.to_string()))?;
        let items = rmp_serde::from_slice(&plain).map_err(|error| damaged(error.to_string()))?;
        Ok(Self { version, items })
    }
}

// === impl Traced ===

impl Traced {
    /// Returns in which attempt it was taken in; `None` where it says nothing.
    #[must_use]
    pub fn attempt(&self) -> Option<u32> {
        match self {
            Self::Look(look) => Some(look.attempt),
            Self::Turn(turn) => turn.entries.last().map(|entry| entry.attempt),
            Self::Gap(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use haldane_model::{Answer, Verdict};
    use jiff::Timestamp;

    use super::*;

    fn look() -> TracedLook {
        let window = Window { begin: Timestamp::UNIX_EPOCH, end: Timestamp::UNIX_EPOCH };
        let finding = Finding {
            check: "errors".into(),
            verdict: Verdict::Fail { breach: true },
            value: Some(f64::INFINITY),
            limit: None,
            unit: String::new(),
            samples: None,
            window,
            message: None,
            compared: None,
        };
        TracedLook {
            check: "errors".into(),
            attempt: 2,
            revision: None,
            at_rest: false,
            at: Now {
                wall: Timestamp::UNIX_EPOCH,
                mono: std::time::Duration::from_nanos(1),
                boot: u64::MAX,
            },
            window,
            question: "{}".into(),
            rule: "{}".into(),
            limits: Limits::default(),
            stage: Stage::default(),
            dry_run: false,
            from: Some(Evidence::from(&b"{}"[..])),
            sample: Sample {
                window,
                scrape: std::time::Duration::from_millis(1),
                share: None,
                answer: Answer::Value(f64::NEG_INFINITY),
                count: Some(1e300),
                serving_count: None,
                targets_down: true,
            },
            finding: Arc::new(finding),
            learned: true,
        }
    }

    #[test]
    fn a_batch_reads_back_to_the_bit_infinities_included() {
        let items = vec![Arc::new(Traced::Look(Box::new(look()))), Arc::new(Traced::Gap(3))];
        let again = Batch::unpack(7, &Batch::pack(&items)).unwrap();
        assert_eq!(again, Batch { version: 7, items });
    }

    #[test]
    fn a_damaged_batch_is_told_not_guessed() {
        let mut packed = Batch::pack(&[Arc::new(Traced::Gap(1))]);
        packed.truncate(1);
        for bytes in [&packed[..], b"", b"no batch"] {
            let why = Batch::unpack(9, bytes).unwrap_err();
            assert!(why.contains("batch 9 of the trace cannot be read"), "{why}");
        }
    }
}
