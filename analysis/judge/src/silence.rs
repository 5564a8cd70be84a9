//! Silence of one side: when it is a fact and not a gap.
//!
//! A look is suspicious when the source answers, the serving side has samples, the side under test
//! has a share and no samples, and some were to be expected: it had some in this attempt, or its
//! share predicts at least 20 in the window. Suspicious looks whose windows leave no gap between
//! them are one silence. Its first window counts as one scrape, however long it is, and then every
//! whole scrape interval of the source's time as one more, however often it is asked: a check that
//! looks every 5 s at a scrape every 15 s still needs 30 s from the first silent look. Three
//! scrapes are a loss, and so are targets that are known to be down.
//!
//! Counters that exist and stand still are weaker evidence than counters that vanished: a service
//! with little traffic is idle now and then. They are a loss only once the silence covers the time
//! in which 20 requests were to be expected.

use haldane_model::Weight;

use crate::{
    evidence::{Ledger, Silence},
    measure::{Look, Measured},
    words,
};

/// How many scrapes in a row make silence a loss.
const SCRAPES: i32 = 3;
/// How many requests must have been expected before their absence means something.
const EXPECTED: f64 = 20.0;

/// Notes what a look says about the silence of the side under test; returns why it is lost, if it is.
///
/// A window shorter than two scrapes can end a silence, but neither begins nor lengthens one. Not to
/// be asked about broken answers: they say nothing about anyone's silence.
pub(crate) fn watch(ledger: &mut Ledger, look: &Look) -> Option<String> {
    if has_samples(look) {
        ledger.seen = true;
    }
    let Some(serving) = suspicious(ledger, look) else {
        ledger.silence = None;
        return None;
    };
    if look.is_short() {
        return None;
    }
    let silence = lengthen(ledger.silence, look);
    ledger.silence = silence;
    let share = look.share.unwrap_or(Weight::ZERO);
    let beside =
        format!("while the serving side had {} and the share was {share}", words::count(serving));
    if look.targets_down {
        return Some(format!("every target is down {beside}"));
    }
    let silence = silence?;
    let long = silence.to.duration_since(silence.since) >= look.scrapes(SCRAPES - 1);
    let enough = !is_idle(look) || expected_over(silence, look) >= EXPECTED;
    (long && enough).then(|| format!("no samples for {SCRAPES} scrapes in a row {beside}"))
}

/// Returns the serving side's samples, where the other side's silence beside them is odd.
fn suspicious(ledger: &Ledger, look: &Look) -> Option<f64> {
    let silent = matches!(look.measured, Measured::Silence(_)) && !has_samples(look);
    let serving = look.serving.filter(|serving| *serving > 0.0)?;
    let share = look.share.filter(|share| *share > Weight::ZERO)?;
    let awaited = ledger.seen || look.targets_down || predicted(serving, share) >= Some(EXPECTED);
    (silent && awaited).then_some(serving)
}

/// How many requests the share predicts, seen from the serving side's; at 100 % nothing can be predicted.
fn predicted(serving: f64, share: Weight) -> Option<f64> {
    let rest = share.complement().fraction();
    (rest > 0.0).then(|| serving * share.fraction() / rest)
}

/// How many requests were to be expected since a silence began, at the present rate.
fn expected_over(silence: Silence, look: &Look) -> f64 {
    let (Some(serving), Some(share)) = (look.serving, look.share) else { return 0.0 };
    let length = look.length().as_secs_f64();
    let covered = silence.to.duration_since(silence.begin).as_secs_f64();
    predicted(serving, share).map_or(0.0, |predicted| predicted * (covered / length).max(1.0))
}

fn has_samples(look: &Look) -> bool {
    match look.samples {
        Some(samples) => samples > 0.0,
        None => matches!(look.measured, Measured::Number(_)),
    }
}

/// Counters that exist and did not move.
fn is_idle(look: &Look) -> bool {
    look.samples.is_some()
}

/// Adds a look to a silence; a gap between them, or no silence yet, begins a new one.
fn lengthen(before: Option<Silence>, look: &Look) -> Option<Silence> {
    let window = look.window;
    match before {
        Some(silence) if window.begin <= silence.to => {
            Some(Silence { to: silence.to.max(window.end), ..silence })
        }
        Some(_) | None => Some(Silence { begin: window.begin, since: window.end, to: window.end }),
    }
}
