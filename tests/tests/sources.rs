//! The sources that need no Prometheus, against real servers: the applications' own pages, HAProxy's
//! own statistics, and whole rollouts on nothing else.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[path = "sources/haproxy.rs"]
mod haproxy;
#[path = "sources/run.rs"]
mod run;
#[path = "sources/scrape.rs"]
mod scrape;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use haldane_model::{Answer, Sample, Window};
use haldane_outside::Outside;
use haldane_sources::{CHECKS, Checked, Look, LookSides, MetricSource, SOURCES, TemplateScope};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// Blue and green, told apart by `side`.
fn scope() -> TemplateScope {
    let side = |side: &str| (side.to_owned(), BTreeMap::from([("side".into(), side.into())]));
    TemplateScope {
        namespace: "shop".into(),
        name: "checkout".into(),
        sides: [side("blue"), side("green")],
        arguments: BTreeMap::new(),
    }
}

/// Builds a source as a plan would.
#[track_caller]
fn source(kind: &str, settings: &Value) -> Arc<dyn MetricSource> {
    let row = SOURCES.iter().find(|row| row.kind == kind).unwrap();
    let checked = (row.check)(settings).unwrap();
    let joined = (row.join)(&checked, &scope()).unwrap();
    (row.build)(&joined, &Outside::default()).unwrap()
}

#[track_caller]
fn question(kind: &str, settings: &Value) -> Arc<str> {
    let entry = CHECKS.iter().find(|entry| entry.kind == kind).unwrap();
    match (entry.check)(settings, &scope(), None) {
        Ok(Checked::Ready { question, .. }) => question,
        other => panic!("{other:?}"),
    }
}

/// Looks at the last so many seconds, with green on trial.
async fn look(source: &dyn MetricSource, question: &Arc<str>, seconds: i64) -> Sample {
    let end = Timestamp::now();
    let window = Window { begin: end - SignedDuration::from_secs(seconds), end };
    let sides = LookSides { test: "green".into(), serving: "blue".into() };
    let (deadline, grid) = (Duration::from_secs(3), Some(Duration::from_secs(1)));
    source
        .look(question.clone(), Look { window, sides, deadline, grid, before: None, about: None })
        .await
}

/// Looks at the last five seconds until a sample is as it should be.
async fn until(
    what: &str,
    source: &dyn MetricSource,
    question: &Arc<str>,
    good: impl Fn(&Sample) -> bool,
) -> Sample {
    let begin = Instant::now();
    loop {
        let sample = look(source, question, 5).await;
        if good(&sample) {
            return sample;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "{what}: not after 30 s: {sample:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn share(sample: &Sample) -> Option<f64> {
    match sample.answer {
        Answer::Ratio { part, total: Some(total) } if total > 0.0 => {
            Some(part.unwrap_or(0.0) / total)
        }
        _ => None,
    }
}

/// All requests that were counted in windows, of the side on trial and of the other, and the bad
/// ones of the side on trial.
#[track_caller]
fn counted(sample: &Sample) -> (f64, f64, f64) {
    let Answer::Counted(counts) = &sample.answer else { panic!("{sample:?}") };
    let bad = counts.windows.iter().flat_map(|window| &window.test).map(|count| count.bad[0]);
    (sample.count.unwrap(), sample.serving_count.unwrap(), bad.sum())
}
