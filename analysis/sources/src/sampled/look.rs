//! One look at what is kept: the number in question, its counts, and whether the targets are down.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use haldane_model::{Answer, Sample, Window};

use super::{
    Fault, Sampled, Selector,
    ask::{Asked, Number, SideAsked, What},
    ring::Ring,
    run::Why,
};
use crate::{
    Look,
    counters::{self, Measure, Observed, Series, SideSeries, Span},
};

/// How many tries may fail before what cannot be read is an error.
const TRIES: u32 = 3;
/// Increases of one window alone are asked for: every moment is a window then.
const MOMENT: Duration = Duration::from_millis(1);

/// What was found.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) answer: Answer,
    pub(super) count: Option<f64>,
    pub(super) serving_count: Option<f64>,
}

/// What a number was found to be.
enum Found {
    Number(f64),
    Nothing(&'static str),
}

impl Sampled {
    /// Takes one look; whatever fails is an answer.
    pub(super) async fn take(&self, question: &Arc<str>, look: &Look) -> Sample {
        let end = Instant::now() + look.deadline;
        let (looked, targets_down) = match self.prepare(question, look) {
            Ok(asked) => {
                self.watch(&asked.selectors(), Why::Numbers, end).await;
                self.answer(&asked, look)
            }
            Err(message) => (Looked::error(Fault::person(message)), false),
        };
        Sample {
            window: look.window,
            scrape: self.0.interval,
            share: None,
            answer: looked.answer,
            count: looked.count,
            serving_count: looked.serving_count,
            targets_down,
        }
    }

    fn prepare(&self, question: &Arc<str>, look: &Look) -> Result<Arc<Asked>, String> {
        let asked = self.read(question)?;
        let side = &look.sides.test;
        if !asked.sides.contains_key(side.as_str()) {
            return Err(format!("the pinned question has no side {side}"));
        }
        if look.window.begin >= look.window.end {
            return Err("the window is empty".to_owned());
        }
        asked.selectors().iter().try_for_each(|selector| (self.0.knows)(selector))?;
        Ok(asked)
    }

    fn answer(&self, asked: &Asked, look: &Look) -> (Looked, bool) {
        let test = &asked.sides[look.sides.test.as_str()];
        let serving = asked.sides.get(look.sides.serving.as_str()).filter(|_| asked.exchange);
        let data = self.0.data();
        let ring = &data.ring;
        let (begin, end) = millis(look.window);
        let tries = i64::try_from((self.0.interval * TRIES).as_millis()).unwrap_or(i64::MAX);
        if let Some(fault) = ring.fault(&test.labels, end.saturating_sub(tries)) {
            return (Looked::error(fault.clone()), false);
        }
        let looked = match (&test.what, serving) {
            (What::Counted { .. }, None) => {
                let message = "the pinned question does not count the serving side";
                Looked::error(Fault::person(message))
            }
            (What::Counted { .. }, Some(serving)) => {
                match ring.fault(&serving.labels, end.saturating_sub(tries)) {
                    Some(fault) => Looked::error(fault.clone()),
                    None => self.counted(ring, test, serving, look),
                }
            }
            (What::Ratio { .. } | What::Value { .. }, serving) => one(ring, test, serving, look),
        };
        let is_down = looked.is_silent() && ring.is_down(&test.labels, begin, end);
        (looked, is_down)
    }
}

/// Answers one number about the side on trial.
fn one(ring: &Ring, test: &SideAsked, serving: Option<&SideAsked>, look: &Look) -> Looked {
    let serving_count = serving.and_then(|serving| {
        let number = number(ring, serving.what.amount()?, look.window).ok()?;
        Some(number.value().unwrap_or(0.0))
    });
    let of = |asked: &Number| number(ring, asked, look.window);
    let looked = match &test.what {
        What::Ratio { total, bad } => of(total).and_then(|total| {
            let (total, part) = (total.value(), of(bad)?.value());
            let answer = Answer::Ratio { part, total };
            Ok(Looked { answer, count: Some(total.unwrap_or(0.0)), serving_count })
        }),
        What::Value { value, count } => of(value).and_then(|value| {
            let count = count.as_ref().map(of).transpose()?;
            let answer = match value {
                Found::Number(value) => Answer::Value(value),
                Found::Nothing(why) => Answer::Nothing(why.to_owned()),
            };
            let count = count.map(|count| count.value().unwrap_or(0.0));
            Ok(Looked { answer, count, serving_count })
        }),
        What::Counted { .. } => return Looked::nothing("it is counted".to_owned()),
    };
    looked.unwrap_or_else(|fault| Looked { serving_count, ..Looked::error(fault) })
}

fn number(ring: &Ring, asked: &Number, window: Window) -> Result<Found, Fault> {
    match asked {
        Number::Count(selector) => Ok(match ring.present(selector).len() {
            0 => Found::Nothing("no such series"),
            several => Found::Number(several as f64),
        }),
        Number::Increase(selectors) => {
            let measure = Measure::Classes { bad: Vec::new() };
            let Some((_, total, _)) = gained(ring, selectors, window, &measure)? else {
                return Ok(Found::Nothing("no such series"));
            };
            Ok(Found::Number(total))
        }
        Number::Quantile { quantile, of, per_second } => {
            let measure = Measure::Histogram { except: Vec::new() };
            let of = std::slice::from_ref(of);
            match gained(ring, of, window, &measure)? {
                None => Ok(Found::Nothing("no such series")),
                Some((_, 0.0, _)) => Ok(Found::Nothing("no request in the window")),
                Some((bounds, total, above)) => {
                    Ok(Found::Number(at_quantile(*quantile, &bounds, total, &above) / per_second))
                }
            }
        }
    }
}

/// Bounds, what was gained in all, and how much of it above each bound.
type Gained = (Vec<f64>, f64, Vec<f64>);

/// `None`: nothing was read of such series in the window.
fn gained(
    ring: &Ring,
    selectors: &[Arc<Selector>],
    window: Window,
    measure: &Measure,
) -> Result<Option<Gained>, Fault> {
    let (begin, end) = millis(window);
    let series = ring.series(selectors, begin, end);
    if !series.iter().any(|series| counters::ends_after(series, begin)) {
        return Ok(None);
    }
    let others = ring.witnesses(selectors, end);
    let all: Vec<&Series> = series.iter().collect();
    let observed = Observed {
        test: SideSeries { all, bad: Vec::new() },
        serving: SideSeries::default(),
        others: others.iter().collect(),
    };
    let span = Span::new(window, MOMENT);
    let counts =
        counters::count(measure, span, Duration::ZERO, &observed, None).map_err(Fault::person)?;
    let (mut total, mut above) = (0.0, vec![0.0; counts.bounds.len()]);
    for count in counts.windows.iter().flat_map(|window| &window.test) {
        total += count.total;
        above.iter_mut().zip(&count.bad).for_each(|(sum, bad)| *sum += bad);
    }
    Ok(Some((counts.bounds, total, above)))
}

/// Where a quantile lies, as Prometheus finds it: evenly within its bucket, and never above the last
/// finite bound.
fn at_quantile(quantile: f64, bounds: &[f64], total: f64, above: &[f64]) -> f64 {
    let rank = quantile * total;
    let (mut lower, mut below) = (0.0, 0.0);
    for (bound, above) in bounds.iter().zip(above) {
        let until = total - above;
        if until >= rank {
            let inside = until - below;
            let is_first_below_zero = lower == 0.0 && *bound <= 0.0;
            if inside <= 0.0 || is_first_below_zero {
                return *bound;
            }
            return lower + (bound - lower) * (rank - below) / inside;
        }
        (lower, below) = (*bound, until);
    }
    bounds.last().copied().unwrap_or(f64::NAN)
}

pub(super) fn millis(window: Window) -> (i64, i64) {
    (window.begin.as_millisecond(), window.end.as_millisecond())
}

// === impl Found ===

impl Found {
    fn value(&self) -> Option<f64> {
        match self {
            Self::Number(value) => Some(*value),
            Self::Nothing(_) => None,
        }
    }
}

// === impl Looked ===

impl Looked {
    pub(super) fn error(fault: Fault) -> Self {
        Self { answer: fault.into(), count: None, serving_count: None }
    }

    pub(super) fn nothing(why: String) -> Self {
        Self { answer: Answer::Nothing(why), count: Some(0.0), serving_count: Some(0.0) }
    }

    /// Whether there is nothing about the side on trial: no series, or no traffic.
    fn is_silent(&self) -> bool {
        match &self.answer {
            Answer::Nothing(_) | Answer::Ratio { total: None, .. } => true,
            Answer::Ratio { total: Some(total), .. } => *total == 0.0,
            Answer::Counted(_) => self.count.is_none_or(|count| count == 0.0),
            Answer::Value(_) | Answer::Error { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::at_quantile;

    #[test]
    fn a_quantile_lies_where_prometheus_finds_it() {
        let (bounds, above) = ([0.1, 0.2, 0.4], [50.0, 10.0, 0.0]);
        assert_eq!(at_quantile(0.9, &bounds, 100.0, &above), 0.2);
        assert!((at_quantile(0.7, &bounds, 100.0, &above) - 0.15).abs() < 1e-12);
        assert!((at_quantile(0.25, &bounds, 100.0, &above) - 0.05).abs() < 1e-12);
        // Above the last finite bound nothing is known.
        assert_eq!(at_quantile(0.99, &bounds, 100.0, &[60.0, 50.0, 40.0]), 0.4);
    }
}
