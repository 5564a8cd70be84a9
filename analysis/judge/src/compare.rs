//! Comparing checks: two sides counted window by window, and bets on which is worse.
//!
//! One fold, in four parts: the answer is read and refused whole where a count cannot be meant
//! (`counts`), what is new is learned into the book (`learn`, `book`), and the book is judged as it
//! stands (`verdict`, `words`). Windows count once, however the looks were cut: after a crash the
//! same windows give the same evidence, bit for bit.
//!
//! It never rolls back for want of data, and never lets a Pass stand in for it.

mod book;
mod counts;
mod forecast;
mod learn;
mod rule;
mod verdict;
mod words;

#[cfg(test)]
mod tests;

use haldane_model::{Answer, CheckName, Compared, Evidence, Finding, Needed, Sample, Verdict};
use jiff::Timestamp;

pub use self::forecast::Forecast;
use self::{book::Book, counts::Answered};
pub(crate) use self::{
    counts::{check, sums},
    forecast::forecast,
    rule::Compare,
};
use crate::{
    Folded, Stage,
    betting::{Merged, weighted_mean},
    counted,
};

/// What a look of a comparing check comes to.
pub(crate) struct Ruling {
    pub(crate) verdict: Verdict,
    pub(crate) message: String,
    /// Whether a step is held, whatever time passes.
    pub(crate) holds: bool,
    /// How much more traffic is needed, where only that is missing.
    pub(crate) needed: Option<Needed>,
}

/// Judges one look of a comparing check and adds it to the evidence of the attempt.
pub(crate) fn fold(
    rule: &Compare,
    stage: &Stage,
    evidence: &Evidence,
    check: &CheckName,
    sample: &Sample,
) -> Folded {
    let (mut book, damage) = Book::read(evidence, rule);
    let answered = match &sample.answer {
        Answer::Counted(counts) => counts::read(rule, &book, counts),
        Answer::Nothing(reason) => Ok(Answered::nothing(reason)),
        Answer::Error { message, .. } => Err(message.clone()),
        Answer::Value(_) | Answer::Ratio { .. } => {
            Err("the source gave one number, where counts were asked for".to_owned())
        }
    };
    let (ruling, as_it_was) = match answered {
        // A broken answer changes nothing, not even that nothing was asked yet.
        Err(message) => (verdict::ruling(Verdict::SourceError, message), Some(evidence)),
        Ok(answered) => {
            let news = learn::learn(rule, stage, &mut book, &answered, sample);
            let ruling = verdict::judge(rule, stage, &book, &answered, &news, sample);
            (ruling, None)
        }
    };
    let message = match damage {
        Some(damage) => format!("{}; {damage}", ruling.message),
        None => ruling.message,
    };
    let message = message + &counted::remarks(book.late, sample);
    let shown = words::shown(rule, stage, &book);
    let odds = book.ln_e().exp().min(f64::MAX);
    let kept = match as_it_was {
        Some(evidence) => evidence.clone(),
        None if book.is_blank() => evidence.clone(),
        None => book.keep(),
    };
    let finding = Finding {
        check: check.clone(),
        verdict: ruling.verdict,
        value: shown.test,
        limit: shown.limit.map(|limit| format!("max {}", crate::words::rate(limit))),
        unit: "%".to_owned(),
        samples: shown.samples,
        window: sample.window,
        message: Some(message),
        compared: Some(Compared {
            serving: shown.serving,
            odds,
            odds_needed: rule.needed().exp(),
            holds: ruling.holds,
            needed: ruling.needed,
        }),
    };
    Folded { evidence: kept, verdict: ruling.verdict, finding }
}

/// Returns the logarithm of a comparing check's evidence: 0 where there is none.
pub(crate) fn ln_e_of(evidence: &Evidence) -> f64 {
    book::ln_e_of(evidence)
}

/// Returns the evidence of several comparing checks together, each with its weight, and the check
/// that weighs most, by its place.
///
/// The traffic must go back where [`Merged::ln_e`] reaches `ln(1/α)`. Evidence that is empty, of
/// another kind of check or unreadable is worth 1: it decides nothing, and takes its weight away.
#[must_use]
pub fn merged(checks: &[(&Evidence, f64)]) -> Merged {
    weighted_mean(checks.iter().map(|(evidence, weight)| (book::ln_e_of(evidence), *weight)))
}

/// Returns up to where a comparing check has folded windows: the next look begins there. `None`
/// where nothing was folded yet.
pub(crate) fn folded_to(evidence: &Evidence) -> Option<Timestamp> {
    book::folded_to(evidence)
}
