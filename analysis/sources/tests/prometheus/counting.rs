//! What is asked where both sides are counted, how often, and what becomes of the answers.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use haldane_model::{Answer, Counts, Sample, Window};
use haldane_sources::{CHECKS, Checked, Look, MetricSource, TemplateScope};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

use super::{look, question, scope};

const TICK: i64 = 1_795_212_790;

/// A Prometheus that answers range selectors by a part of their text, from what each series had at
/// whole seconds before the moment that is asked for.
async fn knows(series: impl Fn(&str) -> Vec<Value> + Send + Sync + 'static) -> MockServer {
    let server = MockServer::start().await;
    let answer = move |request: &Request| {
        let query = field(request, "query").unwrap_or_default();
        let data = json!({"resultType": "matrix", "result": series(&query)});
        ResponseTemplate::new(200).set_body_json(json!({"status": "success", "data": data}))
    };
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

fn field(request: &Request, name: &str) -> Option<String> {
    let body = url::form_urlencoded::parse(&request.body);
    body.into_owned().find(|(field, _)| field == name).map(|(_, value)| value)
}

/// One series with one request more in each of the last seconds.
fn rising(labels: Value, seconds: i64) -> Value {
    let at = |ago: i64| json!([TICK - ago, (1000 - ago).to_string()]);
    json!({"metric": labels, "values": (0..seconds).rev().map(at).collect::<Vec<_>>()})
}

fn both(seconds: i64) -> Vec<Value> {
    ["stable", "canary"]
        .map(|track| {
            let labels = json!({"track": track, "code": "200", "instance": track, "job": "shop"});
            rising(labels, seconds)
        })
        .to_vec()
}

fn source(server: &MockServer) -> Arc<dyn MetricSource> {
    super::source(&json!({"url": server.uri(), "scrapeInterval": "1s"}))
}

fn window(begin: i64, end: i64) -> Window {
    let at = |ago| Timestamp::from_second(TICK - ago).unwrap();
    Window { begin: at(begin), end: at(end) }
}

fn counting(begin: i64) -> Look {
    Look { window: window(begin, 0), ..look(Duration::from_secs(5)) }
}

fn errors() -> Arc<str> {
    question("errors", &json!({"metrics": "prometheus"}))
}

async fn queries(server: &MockServer) -> Vec<String> {
    let requests = server.received_requests().await.unwrap();
    requests.iter().filter_map(|request| field(request, "query")).collect()
}

#[track_caller]
fn counts(sample: &Sample) -> &Counts {
    let Answer::Counted(counts) = &sample.answer else { panic!("{sample:?}") };
    counts
}

#[track_caller]
fn is_error(sample: &Sample, words: &str) {
    let Answer::Error { message, retryable: false } = &sample.answer else { panic!("{sample:?}") };
    assert!(message.contains(words), "{message}");
}

#[tokio::test]
async fn both_sides_are_counted_window_by_window_in_one_request() {
    let server = knows(|_| both(30)).await;
    let sample = source(&server).look(errors(), counting(10)).await;
    let counts = counts(&sample);
    assert_eq!((counts.windows.len(), counts.late), (2, 0));
    for window in &counts.windows {
        assert_eq!(window.window.end.as_second() % 5, 0);
        assert_eq!((window.test[0].total, window.serving[0].total), (5.0, 5.0));
        assert_eq!(&*window.test[0].process, "shop/canary");
    }
    assert_eq!((sample.count, sample.serving_count), (Some(10.0), Some(10.0)));
    assert_eq!(
        queries(&server).await,
        ["{__name__=~\"http_requests_total|up\",track=~\"stable|canary\"}[30s]"]
    );
}

#[tokio::test]
async fn ten_checks_of_two_metrics_cost_two_requests_a_tick() {
    let histogram = |seconds| -> Vec<Value> {
        let of = |track: &str, le: &str| {
            rising(json!({"track": track, "le": le, "instance": track}), seconds)
        };
        vec![of("stable", "0.1"), of("stable", "+Inf"), of("canary", "0.1"), of("canary", "+Inf")]
    };
    let answer =
        move |query: &str| if query.contains("_bucket") { histogram(60) } else { both(60) };
    let server = knows(answer).await;
    let source = source(&server);
    let latency = question("latency", &json!({"metrics": "prometheus"}));
    let looks = (0..10).map(|number| {
        let question = if number % 2 == 0 { errors() } else { latency.clone() };
        // Some are a little behind.
        source.look(question, counting(5 + number % 3))
    });
    for sample in futures::future::join_all(looks).await {
        assert_eq!(counts(&sample).windows.last().unwrap().window.end.as_second(), TICK);
    }
    assert_eq!(queries(&server).await.len(), 2);
}

#[tokio::test]
async fn a_series_that_begins_in_a_window_is_asked_for_ten_minutes_once() {
    // The canary's scrapes had a gap of a minute and a half.
    let server = knows(|query| {
        let mut series = both(200);
        let values = series[1]["values"].as_array_mut().unwrap();
        let long = query.contains("[630s]");
        values.retain(|sample| {
            let ago = TICK - sample[0].as_i64().unwrap();
            ago < 3 || (long && ago > 90)
        });
        series
    })
    .await;
    let sample = source(&server).look(errors(), counting(5)).await;
    assert_eq!(sample.count, Some(91.0), "nothing of the gap is lost");
    let reach: Vec<bool> = queries(&server).await.iter().map(|q| q.contains("[630s]")).collect();
    assert_eq!(reach, [false, true]);
}

#[tokio::test]
async fn samples_that_come_after_their_window_was_answered_are_told() {
    let asked = AtomicUsize::new(0);
    let server = knows(move |_| {
        let mut series = both(60);
        // The first time, two scrapes of each side are still to come.
        let missing = if asked.fetch_add(1, Ordering::SeqCst) == 0 { 7 } else { 0 };
        let there = |sample: &Value| sample[0].as_i64().unwrap() <= TICK - missing;
        series.iter_mut().for_each(|one| one["values"].as_array_mut().unwrap().retain(there));
        series
    })
    .await;
    let source = source(&server);
    let late = async |window| {
        let look = Look { window, ..look(Duration::from_secs(5)) };
        let sample = source.look(errors(), look).await;
        counts(&sample).late
    };
    assert_eq!(late(window(15, 5)).await, 0);
    assert_eq!(late(window(5, 0)).await, 4);
    assert_eq!(late(window(5, 0)).await, 4, "the same windows again are the same");
}

#[tokio::test]
async fn the_time_before_is_asked_for_once_and_for_less_where_it_is_too_much() {
    let pad = json!({"metric": {"track": "stable", "code": "x".repeat(5000)}, "values": []});
    let server = knows(move |query| {
        let mut series = both(60);
        if query.contains("[3609s]") {
            series.push(pad.clone());
        }
        series
    })
    .await;
    let source =
        super::source(&json!({"url": server.uri(), "scrapeInterval": "1s", "maxBodyBytes": 5000}));
    let before = Some(Duration::from_secs(7200));
    let sample = source.look(errors(), Look { before, ..counting(10) }).await;
    let before = &counts(&sample).before;
    assert!(before.iter().all(|window| window.test.is_empty()), "the serving side alone");
    assert_eq!(before.last().unwrap().window.end, window(10, 0).begin);
    let asked = queries(&server).await;
    let own = |query: &&String| query.contains("track=\"stable\"");
    let own: Vec<&String> = asked.iter().filter(own).collect();
    assert!(own.len() == 2 && own[0].contains("[3609s]") && own[1].contains("[1809s]"), "{own:?}");
}

#[tokio::test]
async fn what_nobody_has_is_silence_and_one_silent_side_is_seen() {
    let server = knows(|_| Vec::new()).await;
    let sample = source(&server).look(errors(), counting(10)).await;
    let Answer::Nothing(why) = &sample.answer else { panic!("{sample:?}") };
    assert!(why.contains("neither side has series of"), "{why}");
    assert_eq!((sample.count, sample.serving_count), (Some(0.0), Some(0.0)));
    let server = knows(|query| match query.starts_with("max(up") {
        // A vector is no range: whether the targets are down is not known.
        true => Vec::new(),
        false => both(30).into_iter().take(1).collect(),
    })
    .await;
    let sample = source(&server).look(errors(), counting(10)).await;
    assert_eq!((sample.count, sample.serving_count), (Some(0.0), Some(10.0)));
    assert!(counts(&sample).windows.iter().all(|window| window.test.is_empty()));
    assert!(queries(&server).await.iter().any(|query| query == "max(up{track=\"canary\"})"));
}

#[tokio::test]
async fn a_series_of_both_sides_is_named() {
    let mut scope: TemplateScope = scope();
    scope.sides[0].1 = [("version".to_owned(), "v1".to_owned())].into();
    let entry = CHECKS.iter().find(|entry| entry.kind == "errors").unwrap();
    let checked = (entry.check)(&json!({"metrics": "prometheus"}), &scope, None);
    let Ok(Checked::Ready { question, .. }) = checked else { panic!("{checked:?}") };
    let labels = json!({"track": "canary", "version": "v1", "code": "200", "instance": "a"});
    let server = knows(move |_| vec![rising(labels.clone(), 30)]).await;
    let sample = source(&server).look(question, counting(10)).await;
    is_error(&sample, "belongs to both sides");
    is_error(&sample, "version=\"v1\"");
}

#[tokio::test]
async fn answers_that_cannot_be_counted_are_errors() {
    let bucket = |le: &str| {
        let labels = json!({"track": "canary", "le": le, "instance": le});
        vec![rising(labels, 30)]
    };
    let plain = knows(|_| both(30)).await;
    let latency = || question("latency", &json!({"metrics": "prometheus"}));
    is_error(&source(&plain).look(latency(), counting(10)).await, "no histogram");
    let server = knows(move |_| bucket("1")).await;
    is_error(&source(&server).look(latency(), counting(10)).await, "up to +Inf");
    let odd = json!({"metric": {"track": "canary"}, "values": [[TICK, "many"]]});
    let server = knows(move |_| vec![odd.clone()]).await;
    is_error(&source(&server).look(errors(), counting(10)).await, "\"many\" is no number");
    let server = knows(|_| (0..101).flat_map(|_| both(1)).collect()).await;
    let narrow =
        super::source(&json!({"url": server.uri(), "scrapeInterval": "1s", "maxSeries": 2}));
    is_error(&narrow.look(errors(), counting(10)).await, "202 series of raw samples");
}

#[tokio::test]
async fn native_histograms_of_a_real_answer_are_counted() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/prometheus");
    let body = fs::read(format!("{folder}/instant_native_matrix.json")).unwrap();
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(200).set_body_raw(body, "application/json");
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let own = json!({"metrics": {"histogram": "nh_request_seconds"}});
    let end = Timestamp::from_second(TICK + 1).unwrap();
    let window = Window { begin: end - SignedDuration::from_secs(5), end };
    let grid = Some(Duration::from_secs(1));
    let look = Look { window, grid, ..look(Duration::from_secs(5)) };
    let sample = source(&server).look(question("latency", &own), look).await;
    let counts = counts(&sample);
    let only = &counts.windows[0].test[0];
    let above = |bound: f64| only.bad[counts.bounds.iter().position(|b| *b == bound).unwrap()];
    assert_eq!(only.total, 150.0);
    assert_eq!(
        (above(0.0625), above(0.125), above(0.25), above(0.5), above(1.0)),
        (150.0, 140.0, 120.0, 40.0, 0.0)
    );
}
