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
    /// The evidence before it, in the memory of the engine that took the look: `from`, should the looks of
    /// another come between.
    #[serde(skip)]
    pub before: Evidence,
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
    /// Why there are none, where it cannot be read; the batches around it can.
    pub damaged: Option<String>,
}

/// A batch as it is stored and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The version of the record that it led to; growing.
    pub version: u64,
    /// The items: MessagePack, deflated.
    pub bytes: Vec<u8>,
}

// === impl Packed ===

impl Packed {
    /// Packs the items.
    #[must_use]
    pub fn pack(version: u64, items: &[Arc<Traced>]) -> Self {
        let plain = rmp_serde::to_vec_named(items).expect("numbers, texts and lists of them");
        let mut packer = DeflateEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(&plain).expect("memory takes what is written to it");
        Self { version, bytes: packer.finish().expect("memory takes what is written to it") }
    }

    /// Unpacks the items; where that fails, the batch says why, and has none.
    #[must_use]
    pub fn unpack(&self) -> Batch {
        let version = self.version;
        match self.items() {
            Ok(items) => Batch { version, items, damaged: None },
            Err(why) => {
                let why = format!("batch {version} of the trace cannot be read: {why}");
                Batch { version, items: Vec::new(), damaged: Some(why) }
            }
        }
    }

    fn items(&self) -> Result<Vec<Arc<Traced>>, String> {
        let mut plain = Vec::new();
        DeflateDecoder::new(&*self.bytes)
            .take(UNPACKED_MAX)
            .read_to_end(&mut plain)
            .map_err(|error| error.to_string())?;
        rmp_serde::from_slice(&plain).map_err(|error| error.to_string())
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
pub(crate) mod tests {
    use haldane_model::{Answer, Verdict};
    use jiff::Timestamp;

    use super::*;

    pub(crate) fn look() -> TracedLook {
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
            before: Evidence::default(),
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
        let again = Packed::pack(7, &items).unpack();
        assert_eq!(again, Batch { version: 7, items, damaged: None });
    }

    #[test]
    fn a_damaged_batch_is_told_not_guessed() {
        let mut packed = Packed::pack(9, &[Arc::new(Traced::Gap(1))]).bytes;
        packed.truncate(1);
        for bytes in [packed, Vec::new(), b"no batch".to_vec()] {
            let batch = Packed { version: 9, bytes }.unpack();
            let why = batch.damaged.unwrap();
            assert!(why.contains("batch 9 of the trace cannot be read"), "{why}");
            assert!(batch.items.is_empty());
        }
    }
}
