//! Gauges: what each process showed, and not what it counted.
//!
//! A sample counts as one, and its value stands where bad requests stand else, so that a window holds
//! how many samples there were and their sum. A counter can be read as a gauge by its rate.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Gauged, Labels, Observed, Samples, Series, SideSeries, is_witness, process,
    windows::{Bad, Increase},
};

/// Refuses what cannot be read as gauges: several series of one process that nobody adds up, and
/// histograms.
pub(super) fn refuse(observed: &Observed<'_>, sums: bool) -> Result<(), String> {
    for side in [&observed.test, &observed.serving] {
        let mut known: BTreeMap<Arc<str>, &Labels> = BTreeMap::new();
        for series in side.all.iter().filter(|series| !is_witness(series)) {
            if matches!(series.samples, Samples::Histograms(_)) {
                return Err("a histogram is no gauge: name a metric of plain numbers".to_owned());
            }
            let process = process(&series.labels);
            if let Some(other) = known.insert(process.clone(), &series.labels)
                && !sums
            {
                return Err(format!(
                    "process {process} has several series, {{{}}} and {{{}}}: narrow the selector, \
                     or set `series: Sum` to add them up",
                    crate::promql::matchers(other),
                    crate::promql::matchers(&series.labels)
                ));
            }
        }
    }
    Ok(())
}

/// The values of a side's processes; several series of one are added up, scrape by scrape.
pub(super) fn values(side: &SideSeries<'_>, rate: bool) -> Vec<Increase> {
    let mut scrapes: BTreeMap<(Arc<str>, i64), f64> = BTreeMap::new();
    for series in side.all.iter().filter(|series| !is_witness(series)) {
        let process = process(&series.labels);
        for (at, value) in read(series, rate) {
            *scrapes.entry((process.clone(), at)).or_default() += value;
        }
    }
    scrapes.into_iter().map(|((process, at), value)| one(process, at, value)).collect()
}

/// The values of several metrics, each under its own name in place of a process.
pub(super) fn of_metrics(side: &SideSeries<'_>, metrics: &[Gauged]) -> Vec<Increase> {
    let mut values = Vec::new();
    for metric in metrics {
        let name: Arc<str> = metric.name.as_str().into();
        for series in side.all.iter().filter(|series| metric.finds(&series.labels)) {
            let read = read(series, metric.rate);
            values.extend(read.into_iter().map(|(at, value)| one(name.clone(), at, value)));
        }
    }
    values
}

fn one(process: Arc<str>, at: i64, value: f64) -> Increase {
    Increase { process, at, total: 1.0, bad: Bad::Number(value) }
}

/// A series' values, or its increases per second; a fall is a restart.
fn read(series: &Series, rate: bool) -> Vec<(i64, f64)> {
    let Samples::Numbers(samples) = &series.samples else { return Vec::new() };
    let mut last = None;
    let rises = samples.iter().copied().filter(move |(at, value)| {
        let good = value.is_finite() && last.is_none_or(|last| *at > last);
        if good {
            last = Some(*at);
        }
        good
    });
    if !rate {
        return rises.collect();
    }
    let counts: Vec<(i64, f64)> = rises.filter(|(_, value)| *value >= 0.0).collect();
    counts
        .windows(2)
        .map(|two| {
            let [(since, before), (at, value)] = [two[0], two[1]];
            let rise = if value < before { value } else { value - before };
            (at, rise * 1_000.0 / (at - since) as f64)
        })
        .collect()
}

// === impl Gauged ===

impl Gauged {
    /// Returns whether a series is of this metric.
    fn finds(&self, labels: &Labels) -> bool {
        labels.get("__name__") == Some(&self.metric)
            && self.labels.iter().all(|(name, value)| labels.get(name) == Some(value))
    }
}
