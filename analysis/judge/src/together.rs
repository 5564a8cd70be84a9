//! What the comparing checks of one attempt show together: one chance of a false alarm for them all.

use std::fmt;

use haldane_model::{CheckName, Evidence};

use crate::{
    compare,
    rule::{Form, Rule},
    words,
};

/// Checks that together show a regression.
#[derive(Clone, Debug, PartialEq)]
pub struct Together {
    /// The check that weighs most.
    pub leader: CheckName,
    /// How many times likelier what was counted is if the side under test is worse.
    pub odds: f64,
    /// How many times are needed.
    pub needed: f64,
}

/// Returns the regression that comparing checks show together, where they do; each with the evidence
/// after its last look.
///
/// The weighted mean of their evidence is held against one alpha for the rollout (see
/// [`crate::betting::weighted_mean`]). Rules that do not compare have no part in it.
#[must_use]
pub fn together(checks: &[(&CheckName, &Rule, &Evidence)]) -> Option<Together> {
    let compared: Vec<_> = checks
        .iter()
        .filter_map(|(name, rule, evidence)| match rule.form() {
            Form::Compare(rule) => Some((*name, rule, *evidence)),
            Form::Range(_) => None,
        })
        .collect();
    let alpha = compared.iter().map(|(_, rule, _)| rule.alpha).reduce(f64::min)?;
    let weighed: Vec<(&Evidence, f64)> =
        compared.iter().map(|(_, rule, evidence)| (*evidence, rule.weight)).collect();
    let merged = compare::merged(&weighed);
    let (leader, _, _) = compared.get(merged.leader?)?;
    let needed = 1.0 / alpha;
    (merged.ln_e >= needed.ln()).then(|| Together {
        leader: (*leader).clone(),
        odds: merged.ln_e.exp().min(f64::MAX),
        needed,
    })
}

// === impl Together ===

impl fmt::Display for Together {
    /// Says who and how surely: `errors above all: evidence 140:1 (needed 100:1)`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (odds, needed) = (words::odds(self.odds), self.needed);
        write!(out, "{} above all: evidence {odds} (needed {needed:.0}:1)", self.leader)
    }
}
