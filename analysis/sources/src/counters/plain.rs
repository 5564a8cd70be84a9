//! Plain counters: the increases of each series.

use std::{collections::HashMap, sync::Arc};

use super::{
    Class, Labels, Samples, Scraped, Series, SideSeries, process, usable,
    windows::{Bad, Increase},
    without,
};

/// One series, and what it counts.
struct Part<'a> {
    series: &'a Series,
    total: bool,
    bad: bool,
}

/// Between which two scrapes a process began anew.
type Restart = (i64, i64);

/// Counts series of which some are bad by their class.
pub(super) fn by_class(side: &SideSeries<'_>, bad: &[Class], scraped: &Scraped) -> Vec<Increase> {
    let is_bad = |series: &Series| bad.iter().any(|class| class.holds(&series.labels));
    let parts = side.all.iter().map(|series| Part { series, total: true, bad: is_bad(series) });
    let labels: Vec<&str> = bad.iter().map(|class| class.label.as_str()).collect();
    increases(parts.collect(), &labels, scraped)
}

/// Counts series that are all of one kind.
pub(super) fn apart(side: &SideSeries<'_>, scraped: &Scraped) -> Vec<Increase> {
    let total = side.all.iter().map(|series| Part { series, total: true, bad: false });
    let bad = side.bad.iter().map(|series| Part { series, total: false, bad: true });
    increases(total.chain(bad).collect(), &[], scraped)
}

/// Series that differ by nothing but `classes` are of one counter: they begin anew together.
fn increases(parts: Vec<Part<'_>>, classes: &[&str], scraped: &Scraped) -> Vec<Increase> {
    let mut apart = vec!["__name__"];
    apart.extend(classes);
    let mut counters: HashMap<Labels, Vec<Part<'_>>> = HashMap::new();
    for part in parts {
        counters.entry(without(&part.series.labels, &apart)).or_default().push(part);
    }
    let mut increases = Vec::new();
    for parts in counters.values() {
        let restarts: Vec<Restart> = parts.iter().flat_map(|part| falls(part.series)).collect();
        for part in parts {
            let process = process(&part.series.labels);
            let deltas = deltas(part.series, &restarts, scraped, &process);
            increases.extend(deltas.into_iter().map(|(at, delta)| Increase {
                process: process.clone(),
                at,
                total: if part.total { delta } else { 0.0 },
                bad: Bad::Number(if part.bad { delta } else { 0.0 }),
            }));
        }
    }
    increases
}

/// Between which scrapes the series fell.
fn falls(series: &Series) -> Vec<Restart> {
    let samples = numbers(series);
    let falls = samples.windows(2).filter(|two| two[1].1 < two[0].1);
    falls.map(|two| (two[0].0, two[1].0)).collect()
}

fn numbers(series: &Series) -> Vec<(i64, f64)> {
    match &series.samples {
        Samples::Numbers(samples) => usable(samples).collect(),
        Samples::Histograms(samples) => {
            samples.iter().map(|(at, histogram)| (*at, histogram.count)).collect()
        }
    }
}

fn deltas(
    series: &Series,
    restarts: &[Restart],
    scraped: &Scraped,
    process: &Arc<str>,
) -> Vec<(i64, f64)> {
    let mut before: Option<(i64, f64)> = None;
    let mut deltas = Vec::new();
    for (at, value) in numbers(series) {
        let delta = match before {
            Some((since, _)) if restarted(restarts, since, at) => Some(value),
            Some((_, before)) => Some(value - before),
            None => scraped.before(process, at).then_some(value),
        };
        deltas.extend(delta.map(|delta| (at, delta)));
        before = Some((at, value));
    }
    deltas
}

fn restarted(restarts: &[Restart], since: i64, at: i64) -> bool {
    restarts.iter().any(|(from, to)| *from >= since && *to <= at)
}
