//! The split of traffic between the two sides: what is asked, and what a provider reads back.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Accompanied, Health, SideName, Weight};

/// A split: one side's share; the other side has the rest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Split {
    /// Whose share it is.
    pub side: SideName,
    /// The share of `side`.
    pub share: Weight,
}

/// Which way a write moves the side under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// Upwards: takes the careful way, and may be refused.
    Raise,
    /// Downwards: takes the shortest way, and is repeated until it is read back.
    Lower,
}

/// What a write of ours was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MarkKind {
    /// A step's weight, asserted.
    Raise,
    /// A rollback.
    Rollback,
}

/// The signature that a write of ours leaves beside the weight.
///
/// `number` grows with every decision of a rollout, over restarts and changes of the leader, so
/// that a write which the record does not know can be told from an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mark {
    /// What the write was for.
    pub kind: MarkKind,
    /// Which decision it came from.
    pub number: u64,
}

/// The best level at which a provider can say that a split is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Acknowledged {
    /// The control plane took it; the settling time is waited.
    Accepted,
    /// The data plane says that it has it.
    Programmed,
    /// The share was measured in the traffic.
    Measured,
}

/// One place that holds a copy of the split, such as one HAProxy process.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Part {
    /// What the provider calls it: a socket, a cluster, a site.
    pub name: String,
    /// The share of [`Reading::side`], or why it could not be read.
    pub share: Result<Weight, String>,
}

/// What a provider reads back: one consistent look at one traffic entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reading {
    /// Whose shares these are.
    pub side: SideName,
    /// The lowest share among the parts that answered.
    pub lowest: Weight,
    /// The highest share among the parts that answered.
    pub highest: Weight,
    /// Every part; more than one where an entry has several processes, clusters or sites.
    pub parts: Vec<Part>,
    /// At which level the provider stands behind these numbers.
    pub acknowledged: Acknowledged,
    /// Whether what was last written has settled.
    pub settled: bool,
    /// The share that `side` was measured to have, where the provider measures.
    pub measured: Option<Weight>,
    /// Our newest signature among the parts; `None` where there is none or it is not ours.
    pub mark: Option<Mark>,
    /// Who wrote last, where the medium tells: a field manager, for instance.
    pub writer: Option<String>,
    /// The health of `side`'s servers, and of the other side's, as this provider sees them.
    pub health: (Health, Health),
    /// What accompanies the split; it counts in no share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub company: Vec<Accompanied>,
}

// === impl Split ===

impl Split {
    /// Makes a split.
    #[must_use]
    pub fn new(side: SideName, share: Weight) -> Self {
        Self { side, share }
    }

    /// Returns the share of any of the two sides.
    #[must_use]
    pub fn share_of(&self, side: &SideName) -> Weight {
        if self.side == *side { self.share } else { self.share.complement() }
    }
}

// === impl Mark ===

impl Mark {
    /// The signature of a step's weight.
    #[must_use]
    pub fn raise(number: u64) -> Self {
        Self { kind: MarkKind::Raise, number }
    }

    /// The signature of a rollback.
    #[must_use]
    pub fn rollback(number: u64) -> Self {
        Self { kind: MarkKind::Rollback, number }
    }

    /// Returns whether a write under this mark must not go over that one: a raise never covers a
    /// rollback that it does not know, or the rollback could not be found any more.
    #[must_use]
    pub fn yields_to(&self, held: &Self) -> bool {
        self.kind == MarkKind::Raise
            && held.kind == MarkKind::Rollback
            && held.number >= self.number
    }

    /// Parses what [`Mark`]'s `Display` writes; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, number) = text.split_once(':')?;
        let kind = match kind {
            "raise" => MarkKind::Raise,
            "rollback" => MarkKind::Rollback,
            _ => return None,
        };
        Some(Self { kind, number: number.parse().ok()? })
    }
}

/// `raise:17` or `rollback:18`: what a provider stores where it can store text.
impl fmt::Display for Mark {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            MarkKind::Raise => "raise",
            MarkKind::Rollback => "rollback",
        };
        write!(out, "{kind}:{}", self.number)
    }
}

// === impl Reading ===

impl Reading {
    /// Returns the lowest and the highest share of any of the two sides.
    #[must_use]
    pub fn range_of(&self, side: &SideName) -> (Weight, Weight) {
        if self.side == *side {
            (self.lowest, self.highest)
        } else {
            (self.highest.complement(), self.lowest.complement())
        }
    }

    /// Returns the measured share of any of the two sides.
    #[must_use]
    pub fn measured_of(&self, side: &SideName) -> Option<Weight> {
        self.measured.map(|share| if self.side == *side { share } else { share.complement() })
    }

    /// Returns the health of any of the two sides.
    #[must_use]
    pub fn health_of(&self, side: &SideName) -> Health {
        if self.side == *side { self.health.0 } else { self.health.1 }
    }

    /// Returns the names of the parts that did not answer.
    pub fn silent_parts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter(|part| part.share.is_err()).map(|part| part.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_as_it_was_written() {
        for mark in [Mark::raise(17), Mark::rollback(u64::MAX)] {
            assert_eq!(Mark::parse(&mark.to_string()), Some(mark));
        }
        for odd in ["", "raise", "raise:", "raise:-1", "undo:3", "rollback:1:2"] {
            assert_eq!(Mark::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_split_tells_both_sides() {
        let split = Split::new("green".into(), Weight::from_percent(25).unwrap());
        assert_eq!(split.share_of(&"green".into()).basis_points(), 2_500);
        assert_eq!(split.share_of(&"blue".into()).basis_points(), 7_500);
    }
}
