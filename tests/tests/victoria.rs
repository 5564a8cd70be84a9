//! The source `prometheus` against a real VictoriaMetrics with nothing but its defaults, and whole
//! rollouts that are gated on one.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[path = "victoria/run.rs"]
mod run;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use haldane_model::{Answer, Sample, Window};
use haldane_outside::Outside;
use haldane_sources::{
    CHECKS, Checked, Look, LookSides, MetricSource, SOURCES, Shape, ShapeKind, TemplateScope,
    detect_shape, revision_question,
};
use haldane_tests::{
    prometheus::{Page, Target},
    victoria::Victoria,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(2);

/// An application that serves 100 requests a second, `bad` of them with errors.
fn application(version: &'static str, bad: f64) -> Page {
    let begin = Instant::now();
    Page::serve(move || {
        let seconds = begin.elapsed().as_secs_f64();
        let mut page = format!("app_build_info{{version=\"{version}\"}} 1\nbroken NaN\n");
        let mut counter = |name: &str, labels: &str, rate: f64| {
            writeln!(page, "{name}{{{labels}}} {}", (rate * seconds).floor()).unwrap();
        };
        counter("http_requests_total", "code=\"200\"", 100.0 - bad);
        counter("http_requests_total", "code=\"503\"", bad);
        for (le, rate) in [("0.1", 50.0), ("0.2", 90.0), ("0.4", 100.0), ("+Inf", 100.0)] {
            let labels = format!("le=\"{le}\"");
            counter("http_request_duration_seconds_bucket", &labels, rate);
        }
        counter("http_request_duration_seconds_count", "", 100.0);
        page
    })
}

fn scope() -> TemplateScope {
    let labels = |track: &str| BTreeMap::from([("track".to_owned(), track.to_owned())]);
    TemplateScope {
        namespace: "shop".into(),
        name: "checkout".into(),
        sides: [("blue".into(), labels("stable")), ("green".into(), labels("canary"))],
        arguments: BTreeMap::new(),
    }
}

fn started(stable: &Page, canary: &Page) -> (Victoria, Arc<dyn MetricSource>) {
    let victoria = Victoria::start(&[
        Target::new("app", stable.address(), &[("track", "stable")]),
        Target::new("app", canary.address(), &[("track", "canary")]),
    ]);
    let source = source(&json!({"url": victoria.url}));
    (victoria, source)
}

#[track_caller]
fn source(settings: &Value) -> Arc<dyn MetricSource> {
    let settings = (SOURCES[0].check)(settings).unwrap();
    (SOURCES[0].build)(&settings, &Outside::default()).unwrap()
}

#[track_caller]
fn question(kind: &str, settings: &Value) -> Arc<str> {
    let entry = CHECKS.iter().find(|entry| entry.kind == kind).unwrap();
    match (entry.check)(settings, &scope(), None) {
        Ok(Checked::Ready { question, .. }) => question,
        other => panic!("{other:?}"),
    }
}

fn errors() -> Arc<str> {
    question("errors", &json!({"max": "1%", "metrics": "prometheus"}))
}

/// Looks at the last five seconds up to a moment, with green on trial.
async fn look(source: &dyn MetricSource, question: &Arc<str>, end: Timestamp) -> Sample {
    let window = Window { begin: end - SignedDuration::from_secs(5), end };
    let sides = LookSides { test: "green".into(), serving: "blue".into() };
    let grid = Some(Duration::from_secs(1));
    let look = Look { window, sides, deadline: PATIENCE, grid, before: None, about: None };
    source.look(question.clone(), look).await
}

/// Looks until a sample is as it should be.
async fn until(
    what: &str,
    source: &dyn MetricSource,
    question: &Arc<str>,
    good: impl Fn(&Sample) -> bool,
) -> Sample {
    let begin = Instant::now();
    loop {
        let sample = look(source, question, Timestamp::now()).await;
        if good(&sample) {
            return sample;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}: not after 20 s: {sample:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn share(sample: &Sample) -> Option<f64> {
    match sample.answer {
        Answer::Ratio { part: Some(part), total: Some(total) } if total > 0.0 => Some(part / total),
        _ => None,
    }
}

fn near(value: f64, wanted: f64) -> bool {
    (value - wanted).abs() < wanted * 0.1
}

/// The share is right at once, though VictoriaMetrics by itself answers about half a minute ago.
#[tokio::test]
async fn what_an_application_does_is_measured_without_its_half_minute_of_latency() {
    let (stable, canary) = (application("2.4.0", 0.0), application("2.4.1", 10.0));
    let (_victoria, source) = started(&stable, &canary);
    let begin = Instant::now();
    let sample = until("one in ten fails", &*source, &errors(), |sample| {
        share(sample).is_some_and(|share| near(share, 0.1))
            && sample.count.is_some_and(|count| (350.0..=650.0).contains(&count))
            && sample.serving_count.is_some_and(|count| (350.0..=650.0).contains(&count))
    })
    .await;
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    assert!(!sample.targets_down);
    // Its targets tell their interval among the labels that were discovered.
    assert_eq!(sample.scrape, Duration::from_secs(1));

    let settings = json!({"quantile": "0.9", "max": "500ms", "metrics": "prometheus"});
    let sample = look(&*source, &question("latency", &settings), Timestamp::now()).await;
    let Answer::Value(value) = sample.answer else { panic!("{sample:?}") };
    assert!(near(value, 0.2), "{sample:?}");

    // It tells its time in whole seconds, rounded down.
    let facts = source.facts(PATIENCE).await.unwrap();
    let ahead = facts.clock_ahead.as_secs_f64();
    assert!((-1.3..0.3).contains(&ahead), "{facts:?}");
    assert_eq!(facts.scrape, Some(Duration::from_secs(1)));

    let shape = detect_shape(&*source, &scope(), ShapeKind::Errors, PATIENCE).await;
    assert_eq!(shape, Ok(Shape::Prometheus));
    let written = json!({"promql": "app_build_info{track=\"canary\"}", "label": "version"});
    let written = revision_question(&written, &scope()).unwrap();
    assert_eq!(source.revisions(written, PATIENCE).await.unwrap(), ["2.4.1".into()]);
}

#[tokio::test]
async fn what_a_query_returns_is_told_apart_as_it_tells_it() {
    let (stable, canary) = (application("2.4.0", 0.0), application("2.4.1", 10.0));
    let (_victoria, source) = started(&stable, &canary);
    until("it measures", &*source, &errors(), |sample| share(sample).is_some()).await;
    let ask = async |promql: &str| {
        let settings = json!({"promql": promql, "max": "1", "dialect": "lax"});
        look(&*source, &question("query", &settings), Timestamp::now()).await.answer
    };
    assert_eq!(ask("vector(42)").await, Answer::Value(42.0));
    assert_eq!(ask("vector(1) / 0").await, Answer::Value(f64::INFINITY));
    // What is NaN is left out, and text is nothing.
    for nothing in ["nosuch", "vector(0) / 0", "broken", "\"text\""] {
        assert_eq!(ask(nothing).await, Answer::Nothing("no such series".into()), "{nothing}");
    }
    assert_eq!(ask("max(median_over_time(up[{{ window }}]))").await, Answer::Value(1.0));
    let is_error = |answer: &Answer, words: &str| match answer {
        Answer::Error { message, retryable } => message.contains(words) && !retryable,
        _ => false,
    };
    let several = ask("up").await;
    assert!(is_error(&several, "2 series where one value was asked"), "{several:?}");
    // Its `errorType` is the status.
    let broken = ask("sum(").await;
    assert!(is_error(&broken, "422: error when executing query"), "{broken:?}");
    let range = ask("up[5s]").await;
    assert!(is_error(&range, "a range of samples"), "{range:?}");
}

/// A range selector of several metrics returns raw samples, with those that mark an end as NaN.
#[tokio::test]
async fn raw_samples_are_counted_as_the_application_counted_them() {
    let (stable, canary) = (application("2.4.0", 5.0), application("2.4.1", 20.0));
    let (_victoria, source) = started(&stable, &canary);
    let compared = question("errors", &json!({"metrics": "prometheus"}));
    until("it measures", &*source, &errors(), |sample| share(sample).is_some()).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let end = Timestamp::from_second(Timestamp::now().as_second() - 2).unwrap();
    let sample = look(&*source, &compared, end).await;
    let Answer::Counted(counts) = &sample.answer else { panic!("{sample:?}") };
    assert_eq!(counts.windows.len(), 5, "{sample:?}");
    let sums = |bad: bool| {
        let number = |count: &haldane_model::Count| if bad { count.bad[0] } else { count.total };
        let test = counts.windows.iter().flat_map(|window| &window.test).map(number);
        let serving = counts.windows.iter().flat_map(|window| &window.serving).map(number);
        (test.sum::<f64>(), serving.sum::<f64>())
    };
    let ((all, all_serving), (bad, bad_serving)) = (sums(false), sums(true));
    assert!(near(all, 500.0) && near(all_serving, 500.0), "{all} {all_serving}");
    assert!((90.0..=110.0).contains(&bad), "{bad}");
    assert!((20.0..=30.0).contains(&bad_serving), "{bad_serving}");
    assert_eq!(all.fract(), 0.0, "increases of counters, not rates: {all}");

    // The same windows, asked for again, hold the same.
    let again = look(&*source, &compared, end).await;
    assert_eq!(again.answer, sample.answer);

    // A side that ends leaves a marker, and no count.
    drop(canary);
    let down = until("the side is down", &*source, &errors(), |sample| sample.targets_down).await;
    assert!(matches!(down.answer, Answer::Ratio { .. }), "{down:?}");
    let sample = look(&*source, &compared, Timestamp::now()).await;
    assert!(matches!(sample.answer, Answer::Counted(_)), "{sample:?}");
}

#[tokio::test]
async fn one_that_hangs_or_dies_is_an_error_within_the_deadline() {
    let (stable, canary) = (application("2.4.0", 0.0), application("2.4.1", 10.0));
    let (mut victoria, _) = started(&stable, &canary);
    let source = source(&json!({"url": victoria.url, "timeout": "1s"}));
    let question = errors();
    let lost = |sample: &Sample, words: &str| match &sample.answer {
        Answer::Error { message, retryable } => message.contains(words) && *retryable,
        _ => false,
    };
    until("it measures", &*source, &question, |sample| share(sample).is_some()).await;
    victoria.server.signal("STOP");
    let begin = Instant::now();
    let sample = look(&*source, &question, Timestamp::now()).await;
    assert!(lost(&sample, "did not answer within"), "{sample:?}");
    assert!(begin.elapsed() < Duration::from_millis(2_500), "{:?}", begin.elapsed());
    victoria.server.signal("CONT");
    until("it measures again", &*source, &question, |sample| share(sample).is_some()).await;
    victoria.server.kill();
    until("it is gone", &*source, &question, |sample| lost(sample, "Connection refused")).await;
}
