//! What a run of seeds met: which fault, in which state, under which verdict.
//!
//! A cell that was never met fails the run, unless its reason stands here; and so does one that was
//! met although it is said to be impossible.

use std::{collections::BTreeMap, sync::OnceLock};

use haldane_model::{State, Verdict};

/// A state, a fault, and a verdict.
pub type Cell = (State, &'static str, &'static str);

/// Everything that can go wrong, by name.
pub const FAULTS: [&str; 15] = [
    "crash",
    "takeover",
    "newer format",
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

/// Says why a run may miss a cell: it is met for a moment alone.
fn excuse((state, fault, verdict): Cell) -> Option<&'static str> {
    match (state, fault, verdict) {
        (State::Pending, _, "CanaryLost") => Some(
            "at share 0 nothing can be lost: only a raise that comes late, before an attempt has begun, gives \
             a silent side a share, until it is undone",
        ),
        (State::Promoting, "write fails" | "write hangs", _) => Some(
            "what others lower there is restored from Shifting: only a namespace that is deleted just \
             then gets its one lowering write",
        ),
        (State::Promoting, _, "CanaryLost") => Some(
            "at 100 % the other side has no samples, so that silence is NoData; only the verdict of \
             the step before may still stand, for a scrape or two",
        ),
        (State::Healthy, "write fails" | "write hangs", "CanaryLost") => Some(
            "only where others lowered the share in the watch, and the loss is left out by policy",
        ),
        (State::Healthy, "write fails" | "write hangs", "SourceError") => Some(
            "a restoration in the watch is raised by answers alone: the source must break between the \
             raise and its answer",
        ),
        (
            State::Degraded,
            _,
            "Pass" | "Fail" | "Inconclusive" | "NoData" | "SourceError" | "CanaryLost",
        ) => {
            Some("nothing is asked there: a verdict is seen in the turn that ends a rollback alone")
        }
        _ => None,
    }
}

/// Returns every cell of the table.
pub fn cells() -> impl Iterator<Item = Cell> {
    STATES.into_iter().flat_map(|state| {
        FAULTS.into_iter().flat_map(move |fault| VERDICTS.map(|verdict| (state, fault, verdict)))
    })
}

/// Returns every cell, to draw one.
#[must_use]
pub fn all() -> &'static [Cell] {
    static CELLS: OnceLock<Vec<Cell>> = OnceLock::new();
    CELLS.get_or_init(|| cells().collect())
}

/// Counts by state, fault and verdict.
#[derive(Clone, Debug, Default)]
pub struct Cover {
    counts: BTreeMap<Cell, u64>,
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
    pub fn count(&self, cell: Cell) -> u64 {
        self.counts.get(&cell).copied().unwrap_or_default()
    }

    /// Returns the cells that were not met and are not excused.
    #[must_use]
    pub fn gaps(&self) -> Vec<String> {
        let missed = cells().filter(|cell| self.count(*cell) == 0 && excuse(*cell).is_none());
        missed
            .map(|(state, fault, verdict)| format!("never met: {state:?} × {fault} × {verdict}"))
            .collect()
    }

    /// Returns how many cells there are, were met, and are rare and were not met.
    #[must_use]
    pub fn summary(&self) -> String {
        let met = cells().filter(|cell| self.count(*cell) > 0).count();
        let missed = cells().filter(|cell| self.count(*cell) == 0 && excuse(*cell).is_some());
        format!("{} cells: {met} met, {} rare and not met", cells().count(), missed.count())
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

    /// Draws the table: one line for each state and fault, one column for each verdict; below it, why
    /// what was missed may be.
    #[must_use]
    pub fn table(&self) -> String {
        let mut rare = String::new();
        let mut text = format!("{:<12} {:<17}", "state", "fault");
        for verdict in VERDICTS {
            text.push_str(&format!("{verdict:>13}"));
        }
        for state in STATES {
            for fault in FAULTS {
                text.push_str(&format!("\n{:<12} {fault:<17}", format!("{state:?}")));
                for verdict in VERDICTS {
                    let cell = (state, fault, verdict);
                    let shown = match (self.count(cell), excuse(cell)) {
                        (0, Some(why)) => {
                            rare.push_str(&format!("\n(0) {state:?} × {fault} × {verdict}: {why}"));
                            "(0)".to_owned()
                        }
                        (count, _) => count.to_string(),
                    };
                    text.push_str(&format!("{shown:>13}"));
                }
            }
        }
        text + &rare
    }
}
