//! What a comparing check remembers of one attempt.
//!
//! JSON with the format number 2; numbers are written so that they are read back bit for bit.
//! Everything that was fixed before the first window stays as it was: how errors clump, at which
//! bounds is watched, and, at 100 %, the rate to judge by. Reading never fails, and never hides
//! that evidence was lost.

use std::{collections::BTreeMap, sync::Arc};

use haldane_model::{Evidence, Thought};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::rule::{Compare, Kind};
use crate::{
    betting::{Bound, Expected, Grid, Process, Sums, THRESHOLDS_MAX, weighted_mean},
    dispersion,
    evidence::Ledger,
    starvation::Starvation,
};

/// The format that is written here; threshold checks write 1.
const FORMAT: u32 = 2;

/// All that is remembered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Book {
    format: u32,
    /// Up to where windows were folded.
    pub(super) folded_to: Option<Timestamp>,
    /// Where the first folded window began.
    pub(super) began: Option<Timestamp>,
    /// Whether earlier evidence of this attempt was lost.
    pub(super) anew: bool,
    /// What was fixed before the first window.
    pub(super) premise: Option<Premise>,
    /// One for errors, one per bound for latency.
    pub(super) lines: Vec<Line>,
    /// The highest evidence so far; evidence that was there once cannot be talked away.
    pub(super) top: f64,
    /// The step under way.
    pub(super) step: Step,
    /// The processes of the side under test, their bad and all requests; errors alone.
    pub(super) processes: BTreeMap<Arc<str>, (f64, f64)>,
    /// The silence of the side under test.
    pub(super) silence: Ledger,
    /// How many samples came too late to be counted.
    pub(super) late: u64,
}

/// What was fixed before the first window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Premise {
    /// How many errors come at once; 1 where that could not be measured.
    pub(super) phi: f64,
    /// Whether it could.
    pub(super) measured: bool,
    /// What the serving side had until the bounds were chosen: slow requests at each of the
    /// source's bounds, and all; `None` once they are.
    pub(super) gathering: Option<(Vec<f64>, f64)>,
}

/// One thing that is compared: errors, or requests slower than one bound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    /// The bound; none for errors.
    pub(super) bound: Option<f64>,
    /// Against "no worse than tolerated", over the whole attempt.
    pub(super) regression: Process,
    /// Against "worse than accepted", in this step.
    pub(super) clearance: Process,
    /// The serving side's rate as the past predicts it; errors are rare and need none.
    pub(super) expected: Option<Expected>,
    /// By which factor it is worse, at least; errors alone.
    pub(super) at_least: Option<Bound>,
    /// All windows of the attempt that had both sides to compare.
    pub(super) sums: Sums,
    /// The windows of this step.
    pub(super) in_step: Sums,
    /// The serving side's bad and all requests in the last step that had enough of them.
    pub(super) pooled: Option<(f64, f64)>,
    /// The rate that 100 % is judged by, fixed at its first window.
    pub(super) frozen: Option<Frozen>,
}

/// The rate that 100 % is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Frozen {
    /// The serving side's, and the limit that follows from it.
    Rate {
        /// The rate.
        rate: f64,
        /// The limit.
        limit: f64,
    },
    /// The objective's.
    Objective {
        /// The limit.
        limit: f64,
    },
    /// There is nothing to judge by.
    Nothing,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Step {
    /// Which.
    pub(super) number: Option<u32>,
    /// How many of its windows were folded.
    pub(super) windows: u32,
    /// What time they cover, in seconds.
    pub(super) secs: f64,
    /// Whether what was asked for arrives.
    pub(super) starvation: Starvation,
}

/// What every format has in common.
#[derive(Deserialize)]
struct Envelope {
    format: u32,
}

// === impl Book ===

impl Book {
    /// Reads evidence. What cannot be read counts as none, and then the sentence says what that
    /// costs: an attempt that begins anew may roll a healthy release back once more in 1/α.
    pub(super) fn read(evidence: &Evidence, rule: &Compare) -> (Self, Option<String>) {
        if evidence.is_empty() {
            return (Self::default(), None);
        }
        let cost = || {
            let most = crate::words::rate(rule.alpha);
            format!(
                "the evidence starts anew, and with it the chance of a false alarm ({most} at most)"
            )
        };
        match current(evidence) {
            Some(book) if book.is_sound(rule) => {
                let note = book.anew.then(|| format!("earlier evidence was lost: {}", cost()));
                return (book.clone(), note);
            }
            Some(_) | None => {}
        }
        let anew = Self { anew: true, ..Self::default() };
        let why = match serde_json::from_slice::<Envelope>(evidence.bytes()) {
            Ok(Envelope { format }) if format > FORMAT => {
                format!("has format {format} of a newer engine and cannot be read")
            }
            Ok(_) | Err(_) => "is damaged".to_owned(),
        };
        (anew, Some(format!("the earlier evidence {why}: {}", cost())))
    }

    /// Keeps it, in the current format.
    pub(super) fn keep(mut self) -> Evidence {
        self.format = FORMAT;
        Evidence::of(self)
    }

    /// Returns whether nothing was learned: then nothing is written, so that the time before the
    /// attempt is asked for again.
    pub(super) fn is_blank(&self) -> bool {
        self.premise.is_none()
    }

    /// Returns the evidence of a regression: the mean over the bounds.
    pub(super) fn ln_e(&self) -> f64 {
        let weight = 1.0 / self.lines.len().max(1) as f64;
        if self.lines.is_empty() {
            return 0.0;
        }
        weighted_mean(self.lines.iter().map(|line| (line.regression.ln_e(), weight))).ln_e
    }

    /// Returns the one process that makes the errors, where there is one, with its errors and all.
    pub(super) fn one_bad_process(&self) -> Option<(&str, f64, f64)> {
        let all = self.processes.iter().map(|(name, (bad, total))| (name.as_ref(), *bad, *total));
        dispersion::one_bad_process(all)
    }

    /// Returns the line with the most evidence of a regression.
    pub(super) fn leader(&self) -> Option<&Line> {
        let better =
            |one: &&Line, other: &&Line| one.regression.ln_e().total_cmp(&other.regression.ln_e());
        self.lines.iter().max_by(better)
    }

    /// Returns the line that is least cleared, and what clears it.
    pub(super) fn laggard(&self) -> Option<&Line> {
        let less =
            |one: &&Line, other: &&Line| one.clearance.ln_e().total_cmp(&other.clearance.ln_e());
        self.lines.iter().min_by(less)
    }

    /// Whether this can be the book of such a check.
    fn is_sound(&self, rule: &Compare) -> bool {
        let most = match rule.kind {
            Kind::Errors => 1,
            Kind::Latency => THRESHOLDS_MAX,
        };
        let line = |line: &Line| {
            let Sums { test_bad, test_total, serving_bad, serving_total } = line.sums;
            line.regression.fits(rule.grid())
                && line.clearance.fits(Grid::non_inferiority())
                && line.bound.is_some() == (rule.kind == Kind::Latency)
                && [test_bad, test_total, serving_bad, serving_total].iter().all(|sum| *sum >= 0.0)
        };
        let phi = self.premise.as_ref().is_none_or(|premise| premise.phi >= 1.0);
        self.format == FORMAT && self.lines.len() <= most && phi && self.lines.iter().all(line)
    }
}

/// Returns the evidence of a comparing check: 0, odds of 1, where there is none that can be read, or
/// where it speaks of one bad process and not of the side.
pub(super) fn ln_e_of(evidence: &Evidence) -> f64 {
    let of_the_side = current(evidence).filter(|book| book.one_bad_process().is_none());
    of_the_side.map_or(0.0, |book| book.ln_e())
}

/// Returns up to where windows were folded.
pub(super) fn folded_to(evidence: &Evidence) -> Option<Timestamp> {
    current(evidence)?.folded_to
}

/// The book that evidence is; bytes are read once, however often is asked.
fn current(evidence: &Evidence) -> Option<&Book> {
    let read = |bytes: &[u8]| serde_json::from_slice(bytes).ok();
    evidence.thought::<Book>(read).filter(|book| book.format == FORMAT)
}

impl Thought for Book {
    fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("finite numbers, times and flags are JSON")
    }
}

// === impl Line ===

impl Line {
    /// Begins to watch; `rate` is the part of slow requests before, for a bound.
    pub(super) fn new(rule: &Compare, bound: Option<(f64, f64)>) -> Self {
        Self {
            bound: bound.map(|(bound, _)| bound),
            regression: Process::new(rule.grid()),
            clearance: Process::new(Grid::non_inferiority()),
            expected: bound.map(|(_, rate)| Expected::new(rate)),
            at_least: bound.is_none().then(Bound::default),
            sums: Sums::default(),
            in_step: Sums::default(),
            pooled: None,
            frozen: None,
        }
    }
}
