//! Looks at targets of the test, as a rollout would take them.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
};

use haldane_model::Window;
use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::{CHECKS, Checked, LookSides, Shape, ShapeKind, TemplateScope, detect_shape};

/// A target that says whatever the test wants.
#[derive(Debug, Default)]
struct Told {
    side: &'static str,
    total: AtomicU64,
    bad: AtomicU64,
    silent: AtomicBool,
    odd: AtomicBool,
    hangs: AtomicBool,
    reads: AtomicUsize,
}

fn labels(side: &str, more: &[(&str, &str)]) -> Labels {
    let own = [("side", side), ("instance", side)];
    let all = own.iter().chain(more);
    all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[derive(Debug)]
struct One(Arc<Told>);

impl Target for One {
    fn name(&self) -> String {
        self.0.side.to_owned()
    }

    fn ups(&self) -> Vec<Labels> {
        vec![labels(self.0.side, &[("__name__", "up")])]
    }

    fn take(&self, wanted: Wanted) -> BoxFuture<'static, Taken> {
        let told = self.0.clone();
        let ups = self.ups();
        Box::pin(async move {
            told.reads.fetch_add(1, SeqCst);
            if told.hangs.load(SeqCst) {
                tokio::time::sleep(Duration::from_secs(1)).await;
                return Taken::Silent("it did not answer".to_owned());
            }
            if told.silent.load(SeqCst) {
                return Taken::Silent("refused".to_owned());
            }
            if told.odd.load(SeqCst) {
                return Taken::Refused(Fault::person("this is no page of metrics"));
            }
            let (total, bad) = (told.total.load(SeqCst) as f64, told.bad.load(SeqCst) as f64);
            let of = |name, more: &[(&str, &str)]| {
                let mut labels = labels(told.side, more);
                labels.insert("__name__".to_owned(), String::from(name));
                labels
            };
            let time = "http_request_duration_seconds_bucket";
            let all = [
                (of("http_requests_total", &[("code", "200")]), total - bad),
                (of("http_requests_total", &[("code", "503")]), bad),
                (of(time, &[("le", "0.1")]), total - bad),
                (of(time, &[("le", "0.2")]), total),
                (of(time, &[("le", "+Inf")]), total),
                (of("http_request_duration_seconds_count", &[]), total),
                (of("app_build_info", &[("version", "v7")]), 1.0),
            ];
            let mut series: Vec<_> =
                all.into_iter().filter(|(labels, _)| wanted.finds(labels)).collect();
            series.extend(ups.into_iter().map(|up| (up, 1.0)));
            Taken::Samples { series, process: None }
        })
    }
}

fn source() -> (Sampled, [Arc<Told>; 2]) {
    let sides = ["blue", "green"].map(|side| Arc::new(Told { side, ..Told::default() }));
    let targets = sides.iter().map(|told| Arc::new(One(told.clone())) as Arc<dyn Target>);
    (Sampled::new(targets.collect(), Duration::from_millis(50), |_any| Ok(())), sides)
}

fn scope() -> TemplateScope {
    let side = |side: &str| (side.to_owned(), BTreeMap::from([("side".into(), side.into())]));
    TemplateScope { sides: [side("blue"), side("green")], ..TemplateScope::default() }
}

#[track_caller]
fn question(kind: &str, settings: serde_json::Value) -> Arc<str> {
    let entry = CHECKS.iter().find(|entry| entry.kind == kind).unwrap();
    match (entry.check)(&settings, &scope(), None).unwrap() {
        Checked::Ready { question, .. } => question,
        Checked::NeedsShape(_) => panic!("it says which"),
    }
}

fn errors() -> Arc<str> {
    question("errors", json!({"max": "1%", "metrics": "prometheus"}))
}

/// Looks at the last five seconds, with green on trial.
async fn look(source: &Sampled, question: &Arc<str>) -> Sample {
    let end = Timestamp::now();
    let window = Window { begin: end - SignedDuration::from_secs(5), end };
    let sides = LookSides { test: "green".into(), serving: "blue".into() };
    let deadline = Duration::from_secs(2);
    let grid = Some(Duration::from_millis(100));
    source
        .look(question.clone(), Look { window, sides, deadline, grid, before: None, about: None })
        .await
}

async fn soon() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

/// Serves requests on both sides while the source reads; the first look begins to read.
async fn serve(source: &Sampled, question: &Arc<str>, [blue, green]: &[Arc<Told>; 2]) {
    look(source, question).await;
    for told in [blue, green] {
        told.total.fetch_add(100, SeqCst);
    }
    green.bad.fetch_add(7, SeqCst);
    soon().await;
}

#[tokio::test]
async fn a_limit_is_judged_by_whole_numbers_of_the_window() {
    let (source, sides) = source();
    sides[1].total.store(1_000_000, SeqCst);
    serve(&source, &errors(), &sides).await;
    let sample = look(&source, &errors()).await;
    assert_eq!(sample.answer, Answer::Ratio { part: Some(7.0), total: Some(100.0) });
    assert_eq!((sample.count, sample.serving_count), (Some(100.0), Some(100.0)));
    assert_eq!(sample.scrape, Duration::from_millis(50));
    assert!(!sample.targets_down);
}

#[tokio::test]
async fn a_quantile_is_found_in_the_buckets() {
    let (source, sides) = source();
    let written = json!({"quantile": "0.965", "max": "1s", "metrics": "prometheus"});
    let question = question("latency", written);
    serve(&source, &question, &sides).await;
    let sample = look(&source, &question).await;
    let Answer::Value(value) = sample.answer else { panic!("{sample:?}") };
    assert!((value - 0.15).abs() < 1e-9 && sample.count == Some(100.0), "{sample:?}");
}

#[tokio::test]
async fn two_sides_are_counted_and_asked_again_are_the_same() {
    let (source, sides) = source();
    for kind in ["errors", "latency"] {
        let question = question(kind, json!({"metrics": "prometheus"}));
        serve(&source, &question, &sides).await;
        let end = Timestamp::now();
        let window = Window { begin: end - SignedDuration::from_secs(5), end };
        let sides = LookSides { test: "green".into(), serving: "blue".into() };
        let deadline = Duration::from_secs(2);
        let grid = Some(Duration::from_millis(100));
        let look = Look {
            window,
            sides,
            deadline,
            grid,
            before: Some(Duration::from_secs(60)),
            about: None,
        };
        let first = source.look(question.clone(), look.clone()).await;
        soon().await;
        let again = source.look(question.clone(), look).await;
        assert_eq!(first.answer, again.answer, "a window that was told stays as it is");
        let Answer::Counted(counts) = first.answer else { panic!("{first:?}") };
        let bad: f64 = counts.windows.iter().flat_map(|w| &w.test).map(|c| c.bad[0]).sum();
        assert_eq!((bad, first.serving_count), (7.0, Some(100.0)), "{kind}");
    }
}

#[tokio::test]
async fn a_side_that_answers_nothing_is_down_and_one_that_answers_oddly_is_an_error() {
    let (source, sides) = source();
    sides[1].silent.store(true, SeqCst);
    serve(&source, &errors(), &sides).await;
    let sample = look(&source, &errors()).await;
    assert_eq!(sample.answer, Answer::Ratio { part: None, total: None });
    assert!(sample.targets_down && sample.serving_count == Some(100.0), "{sample:?}");

    sides[1].silent.store(false, SeqCst);
    soon().await;
    assert!(matches!(look(&source, &errors()).await.answer, Answer::Ratio { total: Some(_), .. }));
    sides[1].odd.store(true, SeqCst);
    soon().await;
    let sample = look(&source, &errors()).await;
    let Answer::Error { message, retryable: false } = &sample.answer else { panic!("{sample:?}") };
    assert!(message.contains("no page of metrics") && !sample.targets_down);
}

#[tokio::test]
async fn a_target_that_hangs_delays_no_other() {
    let (source, sides) = source();
    sides[0].hangs.store(true, SeqCst);
    serve(&source, &errors(), &sides).await;
    let sample = look(&source, &errors()).await;
    assert_eq!(sample.answer, Answer::Ratio { part: Some(7.0), total: Some(100.0) });
    assert_eq!(sample.serving_count, Some(0.0));
}

#[tokio::test]
async fn shapes_and_revisions_are_found_at_the_first_question() {
    let (source, _sides) = source();
    let patience = Duration::from_secs(2);
    for kind in [ShapeKind::Errors, ShapeKind::Latency] {
        assert_eq!(detect_shape(&source, &scope(), kind, patience).await, Ok(Shape::Prometheus));
    }
    let ask = async |promql: &str, label: &str| {
        let question = json!({"promql": promql, "label": label}).to_string();
        source.revisions(question.into(), patience).await
    };
    assert_eq!(ask("app_build_info{side=\"green\"}", "version").await, Ok(vec!["v7".into()]));
    assert_eq!(ask("app_build_info{side=\"red\"}", "version").await, Ok(Vec::new()));
    assert!(ask("app_build_info", "tag").await.unwrap_err().contains("no label tag"));
    assert!(ask("max(app_build_info)", "version").await.unwrap_err().contains("plain selector"));
}

#[tokio::test]
async fn a_question_that_was_pinned_and_cannot_be_answered_is_an_error() {
    let (source, _sides) = source();
    let written = json!({"promql": "rate(x{ {{ canary.labels }} }[{{ window }}])", "max": "1"});
    let question = question("query", written);
    assert!(answers(&question, |_any| Ok(())).unwrap_err().message.contains("`errors` and"));
    let sample = look(&source, &question).await;
    let Answer::Error { message, retryable: false } = sample.answer else { panic!("{sample:?}") };
    assert!(message.contains("`errors` and `latency`"), "{message}");
    let revision = json!({"promql": "max(x)", "label": "version"}).to_string();
    assert_eq!(answers(&revision, |_any| Ok(())).unwrap_err().path, "/promql");
}

#[tokio::test]
async fn who_only_asks_for_revisions_makes_no_target_busy() {
    let (source, sides) = source();
    let question = json!({"promql": "app_build_info", "label": "version"}).to_string();
    for _ in 0..5 {
        let told = source.revisions(question.clone().into(), Duration::from_secs(2)).await;
        assert_eq!(told, Ok(vec!["v7".into()]));
        soon().await;
    }
    assert!(sides[0].reads.load(SeqCst) <= 2, "{:?}", sides[0].reads);
    look(&source, &errors()).await;
    soon().await;
    assert!(sides[0].reads.load(SeqCst) >= 4, "numbers come at the source's pace");
}

#[tokio::test]
async fn nobody_is_read_without_a_question_nor_after_the_source_is_gone() {
    let (source, sides) = source();
    soon().await;
    assert_eq!(sides[0].reads.load(SeqCst), 0);
    let facts = source.facts(Duration::from_secs(1)).await.unwrap();
    assert_eq!((facts.clock_ahead, facts.scrape), (SignedDuration::ZERO, Some(source.0.interval)));
    soon().await;
    assert!(sides[0].reads.load(SeqCst) >= 2);
    source.0.data().touched = Instant::now() - run::IDLE;
    soon().await;
    let reads = sides[0].reads.load(SeqCst);
    soon().await;
    assert_eq!(sides[0].reads.load(SeqCst), reads, "nobody looked for long");
    source.facts(Duration::from_secs(1)).await.unwrap();
    soon().await;
    assert!(sides[0].reads.load(SeqCst) > reads, "and now somebody does");
    drop(source);
    soon().await;
    let reads = sides[0].reads.load(SeqCst);
    soon().await;
    assert_eq!(sides[0].reads.load(SeqCst), reads, "nobody is left to look");
}
