//! What a source delivers for one look, before anything is judged.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Weight, Window};

/// One look of one check: raw numbers, not yet judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// What was looked at, in the source's time.
    pub window: Window,
    /// The source's scrape interval; 15 s where it does not tell.
    pub scrape: Duration,
    /// The lowest share that the side under test was read to have during the window; `None`
    /// where that is not known.
    pub share: Option<Weight>,
    /// The number in question, about the side under test.
    pub answer: Answer,
    /// How many requests, or other samples, the answer rests on; `None` where that was not asked.
    pub count: Option<f64>,
    /// The same count with the roles exchanged: what the serving side has. `None`: not asked, so
    /// that silence can never be taken for a loss.
    pub serving_count: Option<f64>,
    /// Whether every target of the side under test is known to be down (`up == 0`).
    pub targets_down: bool,
}

/// The number in question, or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// One number; ±∞ included, NaN never.
    Value(f64),
    /// A part and its whole, divided by the judge: no `total` is silence, no `part` is zero.
    Ratio {
        /// How many are bad; `None` where no such series exists.
        part: Option<f64>,
        /// How many there are; `None` where no such series exists.
        total: Option<f64>,
    },
    /// What both sides counted, window by window: two sides are compared.
    Counted(Counts),
    /// The source answered, and there is nothing (empty, NaN, text): why, for people.
    Nothing(String),
    /// The answer cannot be used, or there was none.
    Error {
        /// The source's own message.
        message: String,
        /// Whether asking again may help.
        retryable: bool,
    },
}

/// What both sides counted since the last look, for a check that compares them.
///
/// Increases of counters, never rates. A window's counts do not depend on when or how often it was
/// asked for, so that windows asked for again after a crash are the same windows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// The bounds above which a request counts as bad, rising, in seconds; empty where a request is
    /// bad or not.
    pub bounds: Vec<f64>,
    /// The closed windows, in the order of time, on one fixed grid; none is empty on both sides
    /// for want of scrapes.
    pub windows: Vec<CountWindow>,
    /// The serving side alone in the time before the attempt; asked once, by an attempt's first look.
    pub before: Vec<CountWindow>,
    /// How many samples came too late for the window they lie in, and were left out.
    pub late: u64,
    /// How far apart the clocks of the sides' sources are; nothing where one source counts both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skew: Option<Duration>,
}

/// What both sides counted in one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CountWindow {
    /// The window.
    pub window: Window,
    /// The processes of the side under test.
    pub test: Vec<Count>,
    /// The processes of the serving side.
    pub serving: Vec<Count>,
}

/// What one process counted in one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Count {
    /// Which process: its scrape target.
    pub process: Arc<str>,
    /// All requests; of a gauge, how many samples it showed.
    pub total: f64,
    /// The bad ones: one number where there are no bounds, else one for each bound. Of a gauge, the sum
    /// of its samples.
    pub bad: Vec<f64>,
}
