//! What every check has in common that counts window by window, whatever it makes of the counts.
//!
//! An answer is used whole or not at all; a window is learned once; silence of the side under test
//! is watched for window by window, so that it does not matter how the looks were cut.

use haldane_model::{Answer, CountWindow, Counts, Sample, Verdict};
use jiff::{SignedDuration, Timestamp};

use crate::{
    betting::Sums,
    evidence::Ledger,
    measure::{Look, Measured},
    silence,
};

/// How many scrapes may pass without a closed window: they close one late.
const SCRAPES_PATIENT: i64 = 4;

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

/// Watches for the silence of the side under test in one window, of which the sums are known; returns
/// why it is lost, if it is.
pub(crate) fn watch(
    ledger: &mut Ledger,
    window: &CountWindow,
    sums: &Sums,
    sample: &Sample,
) -> Option<String> {
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

/// What is odd about how windows were counted, to be put behind a finding; nothing, where nothing is.
pub(crate) fn remarks(late: u64, sample: &Sample) -> String {
    let mut remarks = String::new();
    if late > 0 {
        let samples = if late == 1 { "sample" } else { "samples" };
        remarks = format!("; {late} {samples} came too late and count nowhere");
    }
    if let Answer::Counted(Counts { skew: Some(skew), .. }) = &sample.answer {
        let apart = skew.as_secs_f64();
        remarks.push_str(&format!("; the clocks of the sides' sources are {apart:.1} s apart"));
    }
    remarks
}

/// What a look of a check that counts comes to.
pub(crate) struct Ruled {
    pub(crate) verdict: Verdict,
    /// How it came about, and what was wrong with the evidence before it.
    pub(crate) message: String,
    /// Whether anything was judged: a broken answer changes nothing.
    pub(crate) learned: bool,
}

/// Judges what was counted; silence and a broken answer are verdicts of their own.
pub(crate) fn ruled(
    sample: &Sample,
    damage: Option<String>,
    judge: impl FnOnce(&Counts) -> Result<(Verdict, String), String>,
) -> Ruled {
    let judged = match &sample.answer {
        Answer::Counted(counts) => judge(counts),
        Answer::Nothing(reason) => Ok((Verdict::NoData, reason.clone())),
        Answer::Error { message, .. } => Err(message.clone()),
        Answer::Value(_) | Answer::Ratio { .. } => {
            Err("the source gave one number, where counts were asked for".to_owned())
        }
    };
    let (verdict, message, learned) = match judged {
        Err(message) => (Verdict::SourceError, message, false),
        Ok((verdict, message)) => (verdict, message, true),
    };
    let message = match damage {
        Some(damage) => format!("{message}; {damage}"),
        None => message,
    };
    Ruled { verdict, message, learned }
}
