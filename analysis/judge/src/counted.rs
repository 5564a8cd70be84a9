//! What every check has in common that counts window by window, whatever it makes of the counts.
//!
//! An answer is used whole or not at all; a window is learned once; silence of the side under test
//! is watched for window by window, so that it does not matter how the looks were cut.

use haldane_model::{Answer, CountWindow, Counts, Sample};
use jiff::{SignedDuration, Timestamp};

use crate::{
    compare::sums,
    evidence::Ledger,
    measure::{Look, Measured},
    silence,
};

/// How many scrapes may pass without a closed window: they close one late.
const SCRAPES_PATIENT: i64 = 4;

/// What an answer amounts to.
pub(crate) enum Told<'a> {
    /// Windows.
    Counted(&'a Counts),
    /// The source answered, and there is nothing: why.
    Nothing(&'a str),
    /// No usable answer, and why.
    Broken(String),
}

/// Reads an answer of a check that counts.
pub(crate) fn told(sample: &Sample) -> Told<'_> {
    match &sample.answer {
        Answer::Counted(counts) => Told::Counted(counts),
        Answer::Nothing(reason) => Told::Nothing(reason),
        Answer::Error { message, .. } => Told::Broken(message.clone()),
        Answer::Value(_) | Answer::Ratio { .. } => {
            Told::Broken("the source gave one number, where counts were asked for".to_owned())
        }
    }
}

/// Returns the windows that were not folded yet.
pub(crate) fn fresh(
    windows: &[CountWindow],
    folded_to: Option<Timestamp>,
) -> impl Iterator<Item = &CountWindow> {
    windows.iter().filter(move |one| folded_to.is_none_or(|to| one.window.begin >= to))
}

/// Returns why there is no data, where no window came for longer than scrapes may take.
pub(crate) fn overdue(folded_to: Timestamp, sample: &Sample) -> Option<String> {
    let scrape = i64::try_from(sample.scrape.as_secs()).unwrap_or(i64::MAX).max(1);
    let patience = SignedDuration::from_secs(scrape.saturating_mul(SCRAPES_PATIENT));
    (sample.window.end.duration_since(folded_to) > patience)
        .then(|| format!("no side was scraped since {folded_to}"))
}

/// Watches for the silence of the side under test in one window; returns why it is lost, if it is.
pub(crate) fn watch(ledger: &mut Ledger, window: &CountWindow, sample: &Sample) -> Option<String> {
    let sums = sums(window, 0);
    let requests = !window.test.is_empty() && sums.test_total > 0.0;
    let measured = if requests {
        Measured::Number(0.0)
    } else {
        Measured::Silence("no requests of the side under test".to_owned())
    };
    let look = Look {
        samples: (!window.test.is_empty()).then_some(sums.test_total),
        serving: (!window.serving.is_empty()).then_some(sums.serving_total),
        window: window.window,
        closed: true,
        ..Look::of(sample, measured)
    };
    silence::watch(ledger, &look)
}
