//! From a look and what is remembered to a verdict.
//!
//! Broken answers stay out of everything. Then silence, then windows that are too short, then too
//! few samples; only what is left is compared.

use haldane_model::{Limits, Verdict};

use crate::{
    evidence::Ledger,
    measure::{Look, Measured},
    rule::Range,
    silence, words,
};

/// A verdict, and how it came about where the numbers do not tell.
pub(crate) struct Ruling {
    pub(crate) verdict: Verdict,
    pub(crate) message: Option<String>,
}

pub(crate) fn judge(rule: &Range, limits: &Limits, ledger: &mut Ledger, look: &Look) -> Ruling {
    if let Measured::Broken(message) = &look.measured {
        return ruling(Verdict::SourceError, message);
    }
    let lost = silence::watch(ledger, look);
    if look.is_short() {
        return ruling(
            Verdict::Inconclusive { over_limit: false },
            "the window is still shorter than two scrapes",
        );
    }
    match (&look.measured, lost) {
        (_, Some(loss)) => ruling(Verdict::CanaryLost, &loss),
        (Measured::Silence(reason) | Measured::Broken(reason), None) => {
            ruling(Verdict::NoData, reason)
        }
        (Measured::Number(value), None) => match too_few(rule, look.samples) {
            Some(reason) => inconclusive(limits, ledger, look, &reason),
            None if rule.holds(*value) => {
                ledger.consecutive = 0;
                Ruling { verdict: Verdict::Pass, message: None }
            }
            None => fail(limits, ledger, look),
        },
    }
}

fn ruling(verdict: Verdict, message: &str) -> Ruling {
    Ruling { verdict, message: Some(message.to_owned()) }
}

/// Returns why the samples do not suffice, where they do not.
fn too_few(rule: &Range, samples: Option<f64>) -> Option<String> {
    let least = rule.min_samples()?;
    match samples {
        None => Some("minSamples is set, but the source does not tell how many there were".into()),
        Some(samples) if samples < least => Some(format!(
            "{} samples, at least {} needed",
            words::count(samples),
            words::count(least)
        )),
        Some(_) => None,
    }
}

/// An overlapping look is not counted, but a limit once exceeded stays exceeded.
fn inconclusive(limits: &Limits, ledger: &mut Ledger, look: &Look, reason: &str) -> Ruling {
    ledger.inconclusive.count(look.window);
    let count = ledger.inconclusive.count;
    let over_limit = limits.inconclusive.is_some_and(|limit| count > limit);
    let message = match limits.inconclusive {
        Some(limit) => format!("{reason}; inconclusive look {count}, {limit} allowed"),
        None => reason.to_owned(),
    };
    ruling(Verdict::Inconclusive { over_limit }, &message)
}

/// With a limit of 0 every failure is a breach. Towards a higher limit an overlapping look is not
/// counted, but a limit once exceeded stays exceeded.
fn fail(limits: &Limits, ledger: &mut Ledger, look: &Look) -> Ruling {
    let counted = ledger.failures.count(look.window);
    if counted {
        ledger.consecutive = ledger.consecutive.saturating_add(1);
    }
    let total = ledger.failures.count;
    let row = ledger.consecutive;
    let over = limits.failures == 0 || total > limits.failures;
    let over_in_row = limits.consecutive_failures.is_some_and(|limit| limit == 0 || row > limit);
    let breach = over || over_in_row;
    let message = (limits.failures > 0).then(|| {
        let in_row = limits
            .consecutive_failures
            .map(|limit| format!(", {row} in a row, {limit} allowed"))
            .unwrap_or_default();
        let twice = if counted { "" } else { ", not counted again: it overlaps the last one" };
        format!("failure {total}, {} allowed{in_row}{twice}", limits.failures)
    });
    Ruling { verdict: Verdict::Fail { breach }, message }
}
