//! What a run of seeds met: which fault, in which state, under which verdict.

use std::collections::BTreeMap;

use haldane_model::{State, Verdict};

/// Everything that can go wrong, by name.
pub const FAULTS: [&str; 14] = [
    "crash",
    "takeover",
    "store unknown",
    "store stale",
    "store hung",
    "write fails",
    "write hangs",
    "read fails",
    "foreign raise",
    "foreign lowering",
    "health",
    "clock",
    "source silent",
    "source broken",
];

/// Every verdict, and none.
pub const VERDICTS: [&str; 7] =
    ["none", "Pass", "Fail", "Inconclusive", "NoData", "SourceError", "CanaryLost"];

/// Every state.
pub const STATES: [State; 10] = [
    State::Pending,
    State::Waiting,
    State::Shifting,
    State::Baking,
    State::Paused,
    State::Promoting,
    State::Healthy,
    State::RollingBack,
    State::Degraded,
    State::Conflicted,
];

/// Says why a state need not meet a fault or a verdict.
fn excuse(state: State, what: &str) -> Option<&'static str> {
    match (state, what) {
        (State::Promoting, "Fail" | "Inconclusive" | "CanaryLost" | "NoData") => {
            Some("it lasts as long as one clean-up, and is entered on a Pass")
        }
        (State::Pending, "CanaryLost") => Some("at share 0 nothing can be lost"),
        (State::Healthy, "CanaryLost") => {
            Some("at 100 % the other side has no samples, so that silence is NoData")
        }
        (
            State::Degraded,
            "Pass" | "Fail" | "Inconclusive" | "CanaryLost" | "NoData" | "SourceError",
        ) => {
            Some("nothing is asked there: a verdict is seen in the turn that ends a rollback alone")
        }
        (State::Promoting, "write fails" | "write hangs") => Some("it writes no share"),
        (State::Promoting, "foreign raise") => Some("nothing is above 100 %"),
        (State::Promoting, "health" | "clock") => Some("it lasts as long as one clean-up"),
        (State::Promoting, "source silent" | "source broken" | "takeover" | "foreign lowering") => {
            Some("it lasts as long as one clean-up")
        }
        _ => None,
    }
}

/// Counts by state, fault and verdict.
#[derive(Clone, Debug, Default)]
pub struct Cover {
    counts: BTreeMap<(State, &'static str, &'static str), u64>,
    /// How rollouts ended.
    pub ends: BTreeMap<String, u64>,
}

// === impl Cover ===

impl Cover {
    /// Counts one.
    pub fn note(&mut self, state: State, fault: &'static str, verdict: Option<Verdict>) {
        let verdict = verdict.map_or("none", Verdict::word);
        *self.counts.entry((state, fault, verdict)).or_default() += 1;
    }

    /// Returns how often a cell was met.
    #[must_use]
    pub fn count(&self, state: State, fault: &str, verdict: &str) -> u64 {
        let found =
            self.counts.iter().find(|((s, f, v), _)| (*s, *f, *v) == (state, fault, verdict));
        found.map_or(0, |(_, count)| *count)
    }

    /// Returns the pairs of state and fault, and of state and verdict, that were never met and are
    /// not excused.
    #[must_use]
    pub fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        for state in STATES {
            for fault in FAULTS {
                let met = VERDICTS.iter().any(|verdict| self.count(state, fault, verdict) > 0);
                if !met && excuse(state, fault).is_none() {
                    gaps.push(format!("{state:?} × {fault}"));
                }
            }
            for verdict in VERDICTS {
                let met = FAULTS.iter().any(|fault| self.count(state, fault, verdict) > 0);
                if !met && excuse(state, verdict).is_none() {
                    gaps.push(format!("{state:?} × {verdict}"));
                }
            }
        }
        gaps
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        for (cell, count) in &other.counts {
            *self.counts.entry(*cell).or_default() += count;
        }
        for (end, count) in &other.ends {
            *self.ends.entry(end.clone()).or_default() += count;
        }
    }

    /// Draws the table: one line for each state and fault, one column for each verdict.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("{:<12} {:<17}", "state", "fault");
        for verdict in VERDICTS {
            text.push_str(&format!("{verdict:>13}"));
        }
        for state in STATES {
            for fault in FAULTS {
                text.push_str(&format!("\n{:<12} {fault:<17}", format!("{state:?}")));
                for verdict in VERDICTS {
                    text.push_str(&format!("{:>13}", self.count(state, fault, verdict)));
                }
            }
        }
        text
    }
}
