//! From a source's raw answer to one number, silence, or an error.
//!
//! This is the only place that divides; what comes out is never NaN.

use std::time::Duration;

use haldane_model::{Answer, Sample, Weight, Window};
use jiff::SignedDuration;

/// The scrape interval where a source does not tell.
const SCRAPE_DEFAULT: Duration = Duration::from_secs(15);

/// One look, reduced to what is judged.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) measured: Measured,
    /// How many samples the number rests on; never NaN or infinite.
    pub(crate) samples: Option<f64>,
    /// What the serving side had; never NaN or infinite.
    pub(crate) serving: Option<f64>,
    pub(crate) share: Option<Weight>,
    pub(crate) scrape: SignedDuration,
    pub(crate) window: Window,
    pub(crate) targets_down: bool,
    /// Whether the window is one of counters, whole however short it is.
    pub(crate) closed: bool,
}

/// What a source's answer amounts to.
#[derive(Debug)]
pub(crate) enum Measured {
    /// A number; an infinity perhaps, NaN never.
    Number(f64),
    /// Nothing, and why.
    Silence(String),
    /// No usable answer, and why.
    Broken(String),
}

// === impl Look ===

impl Look {
    pub(crate) fn at(sample: &Sample) -> Self {
        let total = match sample.answer {
            Answer::Ratio { total, .. } => total,
            Answer::Value(_) | Answer::Counted(_) | Answer::Nothing(_) | Answer::Error { .. } => {
                None
            }
        };
        let look = Self::of(sample, measure(&sample.answer));
        Self { samples: look.samples.or_else(|| finite(total)), ..look }
    }

    /// Makes a look of which it is known what was measured.
    pub(crate) fn of(sample: &Sample, measured: Measured) -> Self {
        let scrape = if sample.scrape.is_zero() { SCRAPE_DEFAULT } else { sample.scrape };
        Self {
            measured,
            samples: finite(sample.count),
            serving: finite(sample.serving_count),
            share: sample.share,
            scrape: SignedDuration::try_from(scrape).unwrap_or(SignedDuration::MAX),
            window: sample.window,
            targets_down: sample.targets_down,
            closed: false,
        }
    }

    /// Returns the number, where there is one.
    pub(crate) fn value(&self) -> Option<f64> {
        match self.measured {
            Measured::Number(value) => Some(value),
            Measured::Silence(_) | Measured::Broken(_) => None,
        }
    }

    /// Returns how long the window is; negative where it is inverted.
    pub(crate) fn length(&self) -> SignedDuration {
        self.window.end.duration_since(self.window.begin)
    }

    /// Returns whether the window is too short to hold two scrapes.
    pub(crate) fn is_short(&self) -> bool {
        !self.closed && self.length() < self.scrapes(2)
    }

    /// Returns how long a number of scrapes takes.
    pub(crate) fn scrapes(&self, number: i32) -> SignedDuration {
        self.scrape.checked_mul(number).unwrap_or(SignedDuration::MAX)
    }
}

fn measure(answer: &Answer) -> Measured {
    match answer {
        Answer::Value(value) if value.is_nan() => {
            Measured::Silence("the value is not a number".to_owned())
        }
        Answer::Value(value) => Measured::Number(*value),
        Answer::Ratio { part, total } => ratio(*part, *total),
        Answer::Counted(_) => {
            Measured::Broken("the source counted, where one number was asked for".to_owned())
        }
        Answer::Nothing(reason) => Measured::Silence(reason.clone()),
        Answer::Error { message, .. } => Measured::Broken(message.clone()),
    }
}

/// Divides; no part is zero, no whole is silence.
fn ratio(part: Option<f64>, total: Option<f64>) -> Measured {
    let silence = |reason: &str| Measured::Silence(reason.to_owned());
    let Some(total) = total else { return silence("no series counts requests") };
    if total <= 0.0 {
        return silence("no requests in the window");
    }
    let share = part.unwrap_or(0.0) / total;
    if share.is_nan() { silence("the counts cannot be divided") } else { Measured::Number(share) }
}

fn finite(count: Option<f64>) -> Option<f64> {
    count.filter(|count| count.is_finite())
}
