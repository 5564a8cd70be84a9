//! Counters to counts: raw samples of both sides, folded into closed windows of a fixed grid.
//!
//! Pure: samples in, [`Counts`] out, no clock and no memory. Increases are differences of whole
//! numbers, never rates, and every increase lies in the window that its later sample lies in. What
//! a window holds does not depend on how the time was divided over looks, as long as each look is
//! given the samples that lie before it.
//!
//! - A value below the one before it, in the series or in one that differs by its class or bound
//!   alone, is a restart: the whole value counts.
//! - A series that appears while its process was scraped before counts from zero: it had no
//!   requests of this kind until then.
//! - A process that appears begins with its first sample, which counts nothing.
//! - Samples that are no number, negative, repeated or later than asked are left out.
//! - After a gap the increase lies in the window of the first scrape after it.

mod gauges;
mod histogram;
mod native;
mod plain;
#[cfg(test)]
mod tests;
mod windows;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use haldane_model::{Counts, Window};
use serde::{Deserialize, Serialize};

pub use self::native::{Bucket, Native};
use self::{
    histogram::Bounds,
    windows::{Increase, fold},
};

/// The labels of a series.
pub type Labels = BTreeMap<String, String>;

/// One series of a range selector's answer, its samples in the order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its labels, with its name as `__name__`.
    pub labels: Labels,
    /// What was scraped, at milliseconds since the epoch.
    pub samples: Samples,
}

/// What was scraped.
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// Numbers: a counter, or one bucket of a classic histogram.
    Numbers(Vec<(i64, f64)>),
    /// Native histograms.
    Histograms(Vec<(i64, Native)>),
}

/// Which windows are asked for: those of the grid that end in `(begin, end]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    begin: i64,
    end: i64,
    grid: i64,
}

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Measure {
    /// Every series counts requests; some of them count bad ones.
    Classes {
        /// Which: a series that is in one of these classes.
        bad: Vec<Class>,
    },
    /// The bad requests have series of their own.
    Apart,
    /// The series are histograms: a request is bad by its bounds.
    Histogram {
        /// Which series are left out, such as those of failed requests.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        except: Vec<Class>,
    },
    /// The series are gauges: every sample counts as one, and its value stands for the bad ones.
    Gauge {
        /// Whether they are counters, read by their increase per second.
        #[serde(default)]
        rate: bool,
        /// Whether several series of one process are added up.
        #[serde(default)]
        sum: bool,
    },
    /// Likewise of several metrics, each under its own name in place of a process.
    Gauges {
        /// Which.
        metrics: Vec<Gauged>,
    },
}

/// One of several metrics that are read as gauges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gauged {
    /// What it is called.
    pub name: String,
    /// The name of its series.
    pub metric: String,
    /// Which labels its series have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// Whether it is a counter, read by its increase per second.
    #[serde(default)]
    pub rate: bool,
}

/// A class of requests, by a label of their series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// The label.
    pub label: String,
    /// The values that are in it; a dot stands for any one character.
    pub values: Vec<String>,
}

/// The series of one side.
#[derive(Clone, Debug, Default)]
pub struct SideSeries<'a> {
    /// All requests, or the histograms.
    pub all: Vec<&'a Series>,
    /// The bad requests, where they have series of their own.
    pub bad: Vec<&'a Series>,
}

/// What a look found, by side.
#[derive(Clone, Debug, Default)]
pub struct Observed<'a> {
    /// The side under test.
    pub test: SideSeries<'a>,
    /// The serving side.
    pub serving: SideSeries<'a>,
    /// Series of neither, such as `up`: they show that a process was scraped.
    pub others: Vec<&'a Series>,
}

/// When each process was scraped first, as far as is known.
#[derive(Debug, Default)]
struct Scraped(HashMap<Arc<str>, i64>);

/// Counts what both sides did in the windows of `span`, and what the serving side did before.
///
/// A process that appears counts nothing in its first `warm_up`; samples must reach that far back.
/// `before` holds the serving side alone.
///
/// # Errors
/// Where the histograms have no bound in common, or a process has several series of one gauge, with
/// what a person can do about it.
pub fn count(
    measure: &Measure,
    span: Span,
    warm_up: Duration,
    observed: &Observed<'_>,
    before: Option<(Span, &Observed<'_>)>,
) -> Result<Counts, String> {
    if let Measure::Gauge { sum, .. } = measure {
        gauges::refuse(observed, *sum)?;
    }
    let now = [&observed.test, &observed.serving];
    let sides = increases(measure, span, warm_up, observed, &now);
    let earlier = before.map_or_else(Vec::new, |(span, observed)| {
        increases(measure, span, warm_up, observed, &[&observed.serving]).swap_remove(0)
    });
    let (mut bounds, earlier) = match Bounds::common(sides.iter().flatten().chain(&earlier)) {
        Ok(bounds) => (bounds, earlier),
        // What was before is no reason to know nothing now.
        Err(_) => (Bounds::common(sides.iter().flatten())?, Vec::new()),
    };
    if let (Measure::Histogram { except }, true) = (measure, bounds.len().is_none()) {
        // Nothing was gained, and yet it is known what would be counted.
        let all = observed.test.all.iter().chain(&observed.serving.all).copied();
        bounds = Bounds::shown(all, except)?;
    }
    let [test, serving] = [&sides[0], &sides[1]];
    let windows = fold(span, &bounds, test, serving);
    let before = before.map_or_else(Vec::new, |(span, _)| fold(span, &bounds, &[], &earlier));
    Ok(Counts { bounds: bounds.values(), windows, before, late: 0, skew: None })
}

/// Returns the series of one side among those that were selected: `only` are the labels that tell
/// them apart. An empty value means that the label is absent.
#[must_use]
pub fn of_side<'a>(series: &'a [Series], only: &Labels) -> Vec<&'a Series> {
    let is_own = |series: &&Series| {
        only.iter().all(|(name, wanted)| {
            series.labels.get(name).map_or("", String::as_str) == wanted.as_str()
        })
    };
    series.iter().filter(|series| !is_witness(series)).filter(is_own).collect()
}

/// Returns the first series that both sides have: what belongs to both tells nothing apart.
#[must_use]
pub fn shared<'a>(test: &[&'a Series], serving: &[&Series]) -> Option<&'a Series> {
    let labels: std::collections::HashSet<_> =
        serving.iter().map(|series| &series.labels).collect();
    test.iter().find(|series| labels.contains(&series.labels)).copied()
}

/// Returns whether a series has a sample in the span's windows, but none before them.
#[must_use]
pub fn begins_within(series: &Series, span: Span) -> bool {
    let first = match &series.samples {
        Samples::Numbers(samples) => samples.first().map(|(at, _)| *at),
        Samples::Histograms(samples) => samples.first().map(|(at, _)| *at),
    };
    first.is_some_and(|first| span.window_end(first).is_some())
}

/// Returns whether a series has a sample later than a moment.
pub(crate) fn ends_after(series: &Series, moment: i64) -> bool {
    match &series.samples {
        Samples::Numbers(samples) => samples.last().is_some_and(|(at, _)| *at > moment),
        Samples::Histograms(samples) => samples.last().is_some_and(|(at, _)| *at > moment),
    }
}

fn increases(
    measure: &Measure,
    span: Span,
    warm_up: Duration,
    observed: &Observed<'_>,
    sides: &[&SideSeries<'_>],
) -> Vec<Vec<Increase>> {
    let warm_up = i64::try_from(warm_up.as_millis()).unwrap_or(i64::MAX);
    let scraped = Scraped::read(observed);
    let counts = |increase: &Increase| {
        let warm = scraped
            .first(&increase.process)
            .is_none_or(|first| warm_up == 0 || increase.at > first.saturating_add(warm_up));
        warm && span.window_end(increase.at).is_some()
    };
    let one = |side: &&SideSeries<'_>| {
        let mut increases = match measure {
            Measure::Classes { bad } => plain::by_class(side, bad, &scraped),
            Measure::Apart => plain::apart(side, &scraped),
            Measure::Histogram { except } => histogram::increases(side, except, &scraped),
            Measure::Gauge { rate, .. } => gauges::values(side, *rate),
            Measure::Gauges { metrics } => gauges::of_metrics(side, metrics),
        };
        increases.retain(counts);
        increases
    };
    sides.iter().map(one).collect()
}

/// The process that a series is scraped from: what its target is called.
fn process(labels: &Labels) -> Arc<str> {
    let names = ["job", "instance", "pod"].into_iter().filter_map(|name| labels.get(name));
    names.map(String::as_str).collect::<Vec<_>>().join("/").into()
}

/// The labels but for some.
fn without(labels: &Labels, names: &[&str]) -> Labels {
    let rest = labels.iter().filter(|(name, _)| !names.contains(&name.as_str()));
    rest.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Whether a series only shows that its process was scraped.
fn is_witness(series: &Series) -> bool {
    series.labels.get("__name__").is_some_and(|name| name == "up")
}

/// The samples that count: finite, not negative, each later than the one before.
fn usable(samples: &[(i64, f64)]) -> impl Iterator<Item = (i64, f64)> + '_ {
    let mut last = None;
    samples.iter().copied().filter(move |(at, value)| {
        let good = value.is_finite() && *value >= 0.0 && last.is_none_or(|last| *at > last);
        if good {
            last = Some(*at);
        }
        good
    })
}

// === impl Span ===

impl Span {
    /// Asks for the windows that end in `window`, to the millisecond.
    #[must_use]
    pub fn new(window: Window, grid: Duration) -> Self {
        let grid = i64::try_from(grid.as_millis()).unwrap_or(i64::MAX).max(1);
        Self { begin: window.begin.as_millisecond(), end: window.end.as_millisecond(), grid }
    }

    /// Returns where the window ends that a moment lies in, if that window is asked for.
    fn window_end(self, at: i64) -> Option<i64> {
        let end = at.div_euclid(self.grid) + i64::from(at.rem_euclid(self.grid) > 0);
        let end = end.checked_mul(self.grid)?;
        (end > self.begin && end <= self.end).then_some(end)
    }
}

// === impl Class ===

impl Class {
    /// A class of its label's values; a dot stands for any one character.
    #[must_use]
    pub fn new(label: &str, values: &[&str]) -> Self {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Self { label: label.to_owned(), values }
    }

    /// Returns whether a series is in it; one without the label is not.
    #[must_use]
    pub fn holds(&self, labels: &Labels) -> bool {
        labels.get(&self.label).is_some_and(|value| self.values.iter().any(|one| is(one, value)))
    }
}

fn is(pattern: &str, value: &str) -> bool {
    pattern.chars().count() == value.chars().count()
        && pattern.chars().zip(value.chars()).all(|(one, other)| one == '.' || one == other)
}

// === impl Scraped ===

impl Scraped {
    fn read(observed: &Observed<'_>) -> Self {
        let Observed { test, serving, others } = observed;
        let mut scraped = Self::default();
        let lists = [&test.all, &test.bad, &serving.all, &serving.bad, others];
        for series in lists.into_iter().flatten() {
            let first = match &series.samples {
                // A scrape that failed shows nothing.
                Samples::Numbers(samples) if is_witness(series) => {
                    samples.iter().find(|(_, up)| *up == 1.0).map(|(at, _)| *at)
                }
                Samples::Numbers(samples) => usable(samples).next().map(|(at, _)| at),
                Samples::Histograms(samples) => samples.iter().map(|(at, _)| *at).min(),
            };
            let Some(first) = first else { continue };
            let known = scraped.0.entry(process(&series.labels)).or_insert(first);
            *known = first.min(*known);
        }
        scraped
    }

    fn first(&self, process: &str) -> Option<i64> {
        self.0.get(process).copied()
    }

    /// Whether a process was scraped before a moment.
    fn before(&self, process: &str, at: i64) -> bool {
        self.first(process).is_some_and(|first| first < at)
    }
}
