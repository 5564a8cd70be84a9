//! The judge: what measurements mean.
//!
//! A pure fold `(rule, limits, evidence, sample) -> (evidence, verdict, finding)`: no I/O, no clock,
//! no state of its own. The same samples in the same order always give the same verdicts, so a
//! recorded rollout can be judged again.
//!
//! It never fails and never panics: odd input is a verdict. Silence is never a pass, and a broken
//! source is never a failure.

pub mod betting;
pub mod burn;
mod compare;
mod counted;
pub mod dispersion;
mod evidence;
mod gauge;
mod judge;
mod measure;
pub mod plan;
pub mod ranks;
mod rule;
pub mod scored;
mod silence;
mod stage;
pub mod starvation;
mod together;
mod words;

#[cfg(test)]
mod tests;

use haldane_model::{CheckName, Evidence, Finding, Limits, Sample, Verdict};

use jiff::Timestamp;

use self::rule::{Form, Range};
pub use self::{
    compare::{Forecast, merged},
    rule::Rule,
    stage::Stage,
    together::{Part, Together, part, together, together_of},
    words::{odds, sentence},
};

/// What one look changed, and what it means.
#[derive(Clone, Debug, PartialEq)]
pub struct Folded {
    /// The evidence after this look; stored as it is.
    pub evidence: Evidence,
    /// The verdict.
    pub verdict: Verdict,
    /// The same in numbers and words, for people.
    pub finding: Finding,
}

/// Judges one look of one check and adds it to the evidence of the attempt.
///
/// Empty evidence begins an attempt. Evidence that cannot be read (damaged, or of a newer engine)
/// begins anew as well, and the finding says so. The same window may be folded again: it counts
/// once. Ratios, their limits and [`Finding::value`] are fractions: 0.05 with the unit `%` is 5 %.
/// `stage` matters to rules that compare, `limits` to those that do not: what is compared has its
/// limit in the evidence.
#[must_use]
pub fn fold(
    rule: &Rule,
    limits: &Limits,
    stage: &Stage,
    evidence: &Evidence,
    check: &CheckName,
    sample: &Sample,
) -> Folded {
    match rule.form() {
        Form::Range(range) => in_range(range, limits, evidence, check, sample),
        Form::Compare(rule) => compare::fold(rule, stage, evidence, check, sample),
        Form::Burn(rule) => burn::fold(rule, stage, evidence, check, sample),
        Form::Gauge(rule) => gauge::fold(rule, stage, evidence, check, sample),
        Form::Score(rule) => scored::fold(rule, stage, evidence, check, sample),
    }
}

/// Returns what a step of this share will need of a check, if the side under test does what the serving
/// side does in what was counted; `None` for a rule that compares nothing and needs no evidence.
#[must_use]
pub fn forecast(
    rule: &Rule,
    share: haldane_model::Weight,
    next: Option<haldane_model::Weight>,
    past: &haldane_model::Counts,
) -> Option<Result<Forecast, String>> {
    match rule.form() {
        Form::Compare(rule) => Some(compare::forecast(rule, share, next, past)),
        Form::Range(_) | Form::Burn(_) | Form::Gauge(_) | Form::Score(_) => None,
    }
}

/// Returns up to where a check that counts has folded windows: the next look begins there. `None`
/// where nothing was folded yet.
#[must_use]
pub fn folded_to(evidence: &Evidence) -> Option<Timestamp> {
    compare::folded_to(evidence)
        .or_else(|| burn::folded_to(evidence))
        .or_else(|| gauge::folded_to(evidence))
        .or_else(|| scored::folded_to(evidence))
}

fn in_range(
    rule: &Range,
    limits: &Limits,
    evidence: &Evidence,
    check: &CheckName,
    sample: &Sample,
) -> Folded {
    let (mut ledger, damage) = evidence::Ledger::read(evidence);
    let look = measure::Look::at(sample);
    let ruling = judge::judge(rule, limits, &mut ledger, &look);
    let message = match (ruling.message, damage) {
        (Some(message), Some(damage)) => Some(format!("{message}; {damage}")),
        (message, damage) => message.or(damage),
    };
    let finding = Finding {
        check: check.clone(),
        verdict: ruling.verdict,
        value: look.value(),
        limit: Some(rule.limit_text()),
        unit: rule.unit().to_owned(),
        samples: look.samples,
        window: sample.window,
        message,
        compared: None,
    };
    Folded { evidence: ledger.keep(), verdict: ruling.verdict, finding }
}
