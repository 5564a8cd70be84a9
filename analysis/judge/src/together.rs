//! What the comparing checks of one attempt show together: one chance of a false alarm for them all.

use std::fmt;

use haldane_model::{CheckName, Evidence};

use crate::{
    betting::weighted_mean,
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

/// What one comparing check brings: kept beside its evidence, so that nobody has to look into it again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    alpha: f64,
    weight: f64,
    ln_e: f64,
}

/// Returns what a check brings; `None` where its rule does not compare.
#[must_use]
pub fn part(rule: &Rule, evidence: &Evidence) -> Option<Part> {
    match rule.form() {
        Form::Compare(rule) => {
            let ln_e = compare::ln_e_of(evidence);
            Some(Part { alpha: rule.alpha, weight: rule.weight, ln_e })
        }
        Form::Range(_) | Form::Burn(_) | Form::Gauge(_) | Form::Score(_) => None,
    }
}

/// Returns the regression that comparing checks show together, where they do; each with the evidence
/// after its last look.
///
/// The weighted mean of their evidence is held against one alpha for the rollout (see
/// [`crate::betting::weighted_mean`]). Rules that do not compare have no part in it.
#[must_use]
pub fn together(checks: &[(&CheckName, &Rule, &Evidence)]) -> Option<Together> {
    let parts = checks.iter().filter_map(|(name, rule, evidence)| {
        let part = part(rule, evidence)?;
        Some((*name, part))
    });
    together_of(&parts.collect::<Vec<_>>())
}

/// Returns the same of what was kept beside the evidence.
#[must_use]
pub fn together_of(parts: &[(&CheckName, Part)]) -> Option<Together> {
    let alpha = parts.iter().map(|(_, part)| part.alpha).reduce(f64::min)?;
    let merged = weighted_mean(parts.iter().map(|(_, part)| (part.ln_e, part.weight)));
    let (leader, _) = parts.get(merged.leader?)?;
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
