//! One check of one attempt as a picture: what both sides had, the limit, the evidence, the steps.
//!
//! It is drawn from what was recorded, never asked for anew: a picture of a rollback shows what the
//! engine saw. In a cluster the newest measurements of each attempt are kept, and drawn.

mod svg;
mod terminal;

use haldane_crds::{AnalysisRun, AnalysisRunCheck, VerdictWord};
use haldane_model::{CheckName, JournalEntry, Reason, State, Verdict, Weight};
use haldane_runtime::{replay::looks, trace::Batch};

pub(crate) use self::{svg::svg, terminal::terminal};

/// What is drawn. Times are in seconds since the first point.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plot {
    /// What it shows, in words.
    pub(crate) title: String,
    /// In what the values are, for an axis: `%`, `ms` or empty.
    pub(crate) unit: String,
    /// How long it is.
    pub(crate) span: f64,
    /// What the side under test had.
    pub(crate) test: Vec<(f64, f64)>,
    /// What the serving side had.
    pub(crate) serving: Vec<(f64, f64)>,
    /// The limit, where the check has one.
    pub(crate) limit: Option<f64>,
    /// The odds that the side under test is worse, as a power of ten.
    pub(crate) evidence: Vec<(f64, f64)>,
    /// The odds that suffice, as a power of ten.
    pub(crate) needed: Option<f64>,
    /// When which share was confirmed.
    pub(crate) steps: Vec<(f64, Weight)>,
    /// When the traffic went back.
    pub(crate) rolled_back: Option<f64>,
}

/// Puts the picture of an attempt together: of the check that is named, or of the one that tells most.
/// `None` where nothing of it is recorded.
pub(crate) fn plot(
    journal: &[JournalEntry],
    batches: &[Batch],
    attempt: u32,
    check: Option<&str>,
) -> Option<Plot> {
    let of_it = || looks(batches).filter(move |look| look.attempt == attempt && !look.at_rest);
    let check = match check {
        Some(name) => CheckName::from(name),
        None => telling(batches, attempt)?,
    };
    let taken: Vec<_> = of_it().filter(|look| look.check == check).collect();
    let (first, last) = (taken.first()?, taken.last()?);
    let points: Vec<Point> = taken
        .iter()
        .map(|look| Point {
            at: look.at.wall,
            value: look.finding.value,
            compared: look.finding.compared.map(|compared| {
                (compared.serving, Some(compared.odds), Some(compared.odds_needed))
            }),
        })
        .collect();
    let revision = first.revision.as_ref().map(|revision| revision.as_str());
    let rule = serde_json::from_str(&last.rule).unwrap_or_default();
    let about = About { check: check.as_str(), attempt, revision };
    put_together(&about, &last.finding.unit, limit(&rule), &points, journal)
}

/// The same of what a cluster keeps of an attempt. `unit`: the unit of a check, which is not kept with it.
pub(crate) fn plot_of_run(
    run: &AnalysisRun,
    journal: &[JournalEntry],
    unit: impl Fn(&str) -> String,
    check: Option<&str>,
) -> Option<Plot> {
    let with_numbers = || run.status.checks.iter().filter(|one| !one.measurements.is_empty());
    let compares =
        |one: &&AnalysisRunCheck| one.measurements.iter().any(|found| found.compared.is_some());
    let found = match check {
        Some(name) => with_numbers().find(|one| one.name == name)?,
        None => with_numbers()
            .find(|one| one.breach || one.verdict == VerdictWord::Fail)
            .or_else(|| with_numbers().find(compares))
            .or_else(|| with_numbers().next())?,
    };
    let points: Vec<Point> = found
        .measurements
        .iter()
        .map(|one| Point {
            at: one.at,
            value: one.value,
            compared: one.compared.map(|one| (one.serving, one.odds, one.odds_needed)),
        })
        .collect();
    let asked = run.spec.checks.iter().find(|asked| asked.name == found.name);
    let limit = asked.and_then(|asked| limit(&asked.rule));
    let (attempt, revision) = (run.spec.attempt, run.spec.revision.as_deref());
    let about = About { check: &found.name, attempt, revision };
    put_together(&about, &unit(&found.name), limit, &points, journal)
}

/// One look at one check: when, what the side under test had, and what it was compared with: the serving side's
/// value, the odds, and the odds that suffice.
struct Point {
    at: jiff::Timestamp,
    value: Option<f64>,
    compared: Option<(Option<f64>, Option<f64>, Option<f64>)>,
}

/// What a picture is about.
struct About<'a> {
    check: &'a str,
    attempt: u32,
    revision: Option<&'a str>,
}

fn put_together(
    about: &About<'_>,
    unit: &str,
    limit: Option<f64>,
    points: &[Point],
    journal: &[JournalEntry],
) -> Option<Plot> {
    let first = points.first()?;
    let since = |at: jiff::Timestamp| at.duration_since(first.at).as_secs_f64();
    let (unit, factor) = match unit {
        "%" => ("%", 100.0),
        "s" => ("ms", 1_000.0),
        other => (other, 1.0),
    };
    let About { check, attempt, revision } = about;
    let mut plot = Plot {
        title: match revision {
            Some(revision) => format!("{check}, attempt {attempt} of {revision}"),
            None => format!("{check}, attempt {attempt}"),
        },
        unit: unit.to_owned(),
        limit: limit.map(|limit| limit * factor),
        ..Plot::default()
    };
    for point in points {
        let at = since(point.at);
        plot.span = plot.span.max(at);
        plot.test.extend(finite(at, point.value.map(|value| value * factor)));
        if let Some((serving, odds, needed)) = point.compared {
            plot.serving.extend(finite(at, serving.map(|value| value * factor)));
            plot.evidence.extend(finite(at, odds.map(f64::log10)));
            plot.needed = needed.map(f64::log10);
        }
    }
    for entry in journal.iter().filter(|entry| entry.attempt == *attempt) {
        let at = since(entry.at).max(0.0);
        if entry.reason == Reason::StepConfirmed {
            plot.steps.push((at, entry.weight));
        }
        if entry.after == State::RollingBack && entry.before != State::RollingBack {
            plot.rolled_back = Some(at);
            plot.span = plot.span.max(at);
        }
    }
    plot.span = plot.span.max(1.0);
    plot.steps.retain(|(at, _)| *at <= plot.span);
    Some(plot)
}

/// The check that breached; else the first that compares; else the first.
fn telling(batches: &[Batch], attempt: u32) -> Option<CheckName> {
    let of_it = || looks(batches).filter(move |look| look.attempt == attempt && !look.at_rest);
    let breached = of_it()
        .find(|look| look.finding.verdict == Verdict::Fail { breach: true } && !look.dry_run);
    let compares = || of_it().find(|look| look.finding.compared.is_some());
    let look = breached.or_else(compares).or_else(|| of_it().next())?;
    Some(look.check.clone())
}

/// The limit that a rule names.
fn limit(rule: &serde_json::Value) -> Option<f64> {
    ["max", "min"].iter().find_map(|name| rule.get(name)?.as_f64())
}

fn finite(at: f64, value: Option<f64>) -> Option<(f64, f64)> {
    value.filter(|value| value.is_finite()).map(|value| (at, value))
}

// === impl Plot ===

impl Plot {
    /// From where to where the values go, with room around them; zero is always among them.
    fn range(&self) -> (f64, f64) {
        let values = self.test.iter().chain(&self.serving).map(|(_, value)| *value);
        let span = |(low, high): (f64, f64), value: f64| (low.min(value), high.max(value));
        let (low, high) = values.chain(self.limit).fold((0.0, 0.0), span);
        if low < high { (low * 1.15, high * 1.15) } else { (0.0, 1.0) }
    }

    /// From where to where the evidence goes.
    fn evidence_range(&self) -> (f64, f64) {
        let odds = || self.evidence.iter().map(|(_, odds)| *odds).chain(self.needed);
        let (low, high) = (odds().fold(0.0_f64, f64::min), odds().fold(1.0_f64, f64::max));
        (low - 0.2, high * 1.1)
    }
}

/// Says odds that are a power of ten: `100:1`, `1:10`.
fn odds(power: f64) -> String {
    let round = |power: f64| {
        let odds = 10_f64.powf(power);
        if odds < 9.95 { format!("{odds:.1}") } else { format!("{odds:.0}") }
    };
    if power >= 0.0 { format!("{}:1", round(power)) } else { format!("1:{}", round(-power)) }
}

#[cfg(test)]
mod tests;
