//! What was read of the targets in the last half hour, kept for those series alone that are asked for.
//!
//! Pure: moments are arguments. A series holds one sample more than is kept, so that no increase is
//! taken for a beginning; what is kept in all is bounded, and grows shorter where much is asked for.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Fault, Taken,
    selector::{Selector, Wanted},
};
use crate::counters::{Labels, Samples, Series};

/// How long samples are kept.
const KEPT: i64 = 30 * 60 * 1000;
/// How many samples are kept of all targets together: 64 MiB.
const VALUES_MAX: usize = 4 << 20;
/// How many series of one target may be asked for.
const SERIES_MAX: usize = 10_000;
/// How many selectors are asked for at once.
const SELECTORS_MAX: usize = 256;
/// After how long a selector that nobody asks for is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// A clock that goes back by more than this makes what was read before unusable.
const CLOCK_BACK: i64 = 5_000;

/// Everything that is kept.
#[derive(Debug, Default)]
pub(super) struct Ring {
    watched: Vec<Watched>,
    targets: Vec<Kept>,
}

#[derive(Debug)]
struct Watched {
    selector: Arc<Selector>,
    since: Instant,
    asked: Instant,
}

/// What is known of one target.
#[derive(Debug, Default)]
struct Kept {
    /// The labels under which it says that it is up: one set for each side it speaks of.
    ups: Vec<Labels>,
    series: HashMap<Labels, VecDeque<(i64, f64)>>,
    /// Since when each selector's series are read.
    read_since: HashMap<Arc<str>, i64>,
    /// When it was read last, and whether the last try was one of those.
    last: Option<i64>,
    /// When the last try that ended had begun.
    began: Option<Instant>,
    fault: Option<Fault>,
    is_current: bool,
    process: Option<String>,
}

// === impl Ring ===

impl Ring {
    pub(super) fn new(ups: Vec<Vec<Labels>>) -> Self {
        let target = |ups| Kept { ups, ..Kept::default() };
        Self { watched: Vec::new(), targets: ups.into_iter().map(target).collect() }
    }

    /// Wants series from now on; returns since when all of them are wanted.
    pub(super) fn watch(&mut self, selectors: &[Arc<Selector>], now: Instant) -> Option<Instant> {
        for selector in selectors {
            match self.watched.iter_mut().find(|watched| watched.selector == *selector) {
                Some(known) => known.asked = now,
                None => {
                    let selector = selector.clone();
                    self.watched.push(Watched { selector, since: now, asked: now });
                }
            }
        }
        if self.watched.len() > SELECTORS_MAX {
            self.watched.sort_by_key(|watched| std::cmp::Reverse(watched.asked));
            self.watched.truncate(SELECTORS_MAX);
        }
        let own = self.watched.iter().filter(|watched| selectors.contains(&watched.selector));
        own.map(|watched| watched.since).max()
    }

    /// Returns what is wanted now.
    pub(super) fn wanted(&mut self, now: Instant) -> Wanted {
        self.watched.retain(|watched| now.duration_since(watched.asked) < FORGOTTEN);
        Wanted(self.watched.iter().map(|watched| watched.selector.clone()).collect())
    }

    /// Whether every target was tried by somebody who knew what is wanted since then.
    pub(super) fn was_tried(&self, since: Instant) -> bool {
        self.targets.iter().all(|target| target.began.is_some_and(|began| began >= since))
    }

    /// Keeps what a target told.
    pub(super) fn keep(
        &mut self,
        target: usize,
        began: Instant,
        at: i64,
        wanted: &Wanted,
        taken: Taken,
    ) {
        let budget = VALUES_MAX / self.targets.len().max(1);
        let kept = &mut self.targets[target];
        kept.began = Some(began);
        kept.keep(at, wanted, taken);
        kept.prune(at, budget);
    }

    /// Forgets what was read of a target.
    pub(super) fn forget(&mut self, target: usize) {
        let kept = &mut self.targets[target];
        *kept = Kept { ups: std::mem::take(&mut kept.ups), ..Kept::default() };
    }

    /// Returns the series that any selector finds, from the last sample before `from` on.
    pub(super) fn series(&self, selectors: &[Arc<Selector>], from: i64, to: i64) -> Vec<Series> {
        let mut found = Vec::new();
        for (labels, samples) in self.targets.iter().flat_map(|target| &target.series) {
            if is_up(labels) || !selectors.iter().any(|selector| selector.finds(labels)) {
                continue;
            }
            let until = samples.partition_point(|(at, _)| *at <= to);
            let usable =
                |(at, value): &(i64, f64)| *at <= from && value.is_finite() && *value >= 0.0;
            let begin = samples.range(..until).rposition(usable).unwrap_or(0);
            let samples: Vec<_> = samples.range(begin..until).copied().collect();
            if !samples.is_empty() {
                let labels = labels.clone();
                found.push(Series { labels, samples: Samples::Numbers(samples) });
            }
        }
        found
    }

    /// Returns `up` of every target, for the time in which all these selectors were read: what
    /// appears later than that was not there before.
    pub(super) fn witnesses(&self, selectors: &[Arc<Selector>], to: i64) -> Vec<Series> {
        let mut found = Vec::new();
        for target in &self.targets {
            let since = selectors.iter().map(|selector| target.read_since.get(&selector.text));
            let Some(since) = since.collect::<Option<Vec<_>>>() else { continue };
            let since = since.into_iter().max().copied().unwrap_or(i64::MIN);
            for (labels, samples) in target.series.iter().filter(|(labels, _)| is_up(labels)) {
                let samples = samples.iter().filter(|(at, _)| (since..=to).contains(at)).copied();
                let samples = Samples::Numbers(samples.collect());
                found.push(Series { labels: labels.clone(), samples });
            }
        }
        found
    }

    /// Returns the series that are there now.
    pub(super) fn present(&self, selector: &Selector) -> Vec<&Labels> {
        let current = self.targets.iter().filter(|target| target.is_current);
        let series = current.flat_map(|target| {
            let is_new =
                |samples: &VecDeque<(i64, f64)>| samples.back().map(|(at, _)| *at) == target.last;
            target.series.iter().filter(move |(_, samples)| is_new(samples))
        });
        series.map(|(labels, _)| labels).filter(|labels| selector.finds(labels)).collect()
    }

    /// Whether every target with these labels said in the window that it is down, and none that it
    /// is up.
    pub(super) fn is_down(&self, side: &Labels, begin: i64, end: i64) -> bool {
        let own = self.targets.iter().flat_map(|target| &target.series);
        let mut states = own
            .filter(|(labels, _)| is_up(labels) && covers(side, labels))
            .flat_map(|(_, samples)| samples)
            .filter(|(at, _)| *at > begin && *at <= end)
            .peekable();
        !side.is_empty() && states.peek().is_some() && states.all(|(_, up)| *up == 0.0)
    }

    /// Returns what is wrong with a target of a side that could not be read since a moment.
    pub(super) fn fault(&self, side: &Labels, since: i64) -> Option<&Fault> {
        let own = self.targets.iter().filter(|target| {
            let is_old = target.last.is_none_or(|last| last < since);
            is_old && target.ups.iter().any(|labels| covers(side, labels))
        });
        own.filter_map(|target| target.fault.as_ref()).next()
    }
}

// === impl Kept ===

impl Kept {
    fn keep(&mut self, at: i64, wanted: &Wanted, taken: Taken) {
        let newest = self.series.values().filter_map(|samples| samples.back()).map(|(at, _)| *at);
        let newest = newest.max().unwrap_or(i64::MIN);
        if at < newest.saturating_sub(CLOCK_BACK) {
            self.series.clear();
            self.read_since.clear();
        }
        // Two reads are never one moment, even where the clock was set back a little.
        let at = if at < newest.saturating_sub(CLOCK_BACK) {
            at
        } else {
            at.max(newest.saturating_add(2))
        };
        self.is_current = false;
        match taken {
            Taken::Samples { series, process } => {
                if series.len() > SERIES_MAX {
                    let count = series.len();
                    self.fault = Some(Fault::person(format!(
                        "{count} series are asked for, more than {SERIES_MAX}: select fewer"
                    )));
                    return;
                }
                self.read(at, wanted, series, process);
            }
            Taken::Silent(_) => {
                self.fault = None;
                for labels in self.ups.clone() {
                    push(&mut self.series, labels, (at, 0.0));
                }
            }
            Taken::Refused(fault) => self.fault = Some(fault),
        }
    }

    fn read(
        &mut self,
        at: i64,
        wanted: &Wanted,
        series: Vec<(Labels, f64)>,
        process: Option<String>,
    ) {
        let restarted =
            matches!((&self.process, &process), (Some(before), Some(now)) if before != now);
        if restarted {
            for (_, samples) in self.series.iter_mut().filter(|(labels, _)| !is_up(labels)) {
                // A new process counted from zero, whatever it has reached by now.
                samples.push_back((at - 1, 0.0));
            }
        }
        self.process = process.or_else(|| self.process.take());
        for (labels, value) in series {
            push(&mut self.series, labels, (at, value));
        }
        let texts = wanted.0.iter().map(|selector| &selector.text);
        self.read_since.retain(|text, _| texts.clone().any(|wanted| wanted == text));
        for text in texts {
            self.read_since.entry(text.clone()).or_insert(at);
        }
        (self.last, self.fault, self.is_current) = (Some(at), None, true);
    }

    fn prune(&mut self, at: i64, budget: usize) {
        let values: usize = self.series.values().map(VecDeque::len).sum();
        let first = self.series.values().filter_map(|samples| samples.front()).map(|(at, _)| *at);
        let kept = if values > budget {
            let span = at - first.min().unwrap_or(at);
            // All of them fit into 2^53.
            (span as f64 * 0.9 * budget as f64 / values as f64) as i64
        } else {
            KEPT
        };
        let oldest = at - kept;
        self.series.retain(|labels, samples| {
            let next = |samples: &VecDeque<(i64, f64)>| match is_up(labels) {
                true => samples.front().copied(),
                false => samples.get(1).copied(),
            };
            while next(samples).is_some_and(|(at, _)| at < oldest) {
                samples.pop_front();
            }
            samples.back().is_some_and(|(at, _)| *at >= oldest)
        });
    }
}

fn push(series: &mut HashMap<Labels, VecDeque<(i64, f64)>>, labels: Labels, sample: (i64, f64)) {
    series.entry(labels).or_default().push_back(sample);
}

fn is_up(labels: &Labels) -> bool {
    labels.get("__name__").is_some_and(|name| name == "up")
}

/// Whether a series has all labels of a side.
fn covers(side: &Labels, labels: &Labels) -> bool {
    side.iter().all(|(name, value)| labels.get(name) == Some(value))
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
