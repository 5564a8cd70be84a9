//! What is sent for a look, and what becomes of the answers.

use std::{slice, sync::Arc, time::Duration};

use haldane_model::{Answer, Sample};
use haldane_sources::{Shape, ShapeKind, detect_shape, revision_question};
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{method, path},
};

/// A Prometheus that knows some queries by a part of their text; everything else is empty.
async fn knows(known: &[(&'static str, Value)]) -> MockServer {
    let known = known.to_vec();
    let server = MockServer::start().await;
    let answer = move |request: &Request| {
        let query = field(request, "query").unwrap();
        let found = known.iter().find(|(part, _)| query.contains(part));
        let result = found.map_or_else(|| json!([]), |(_, series)| series.clone());
        let data = json!({"resultType": "vector", "result": result});
        ResponseTemplate::new(200).set_body_json(json!({"status": "success", "data": data}))
    };
    let posted = Mock::given(method("POST")).and(path("/prefix/api/v1/query"));
    posted.respond_with(answer).mount(&server).await;
    server
}

fn field(request: &Request, name: &str) -> Option<String> {
    let body = url::form_urlencoded::parse(&request.body);
    body.into_owned().find(|(field, _)| field == name).map(|(_, value)| value)
}

fn value(text: &str) -> Value {
    json!([{"metric": {}, "value": [1, text]}])
}

fn errors() -> Arc<str> {
    super::question("errors", &json!({"max": "1%", "metrics": "prometheus"}))
}

async fn take(server: &MockServer, question: Arc<str>) -> Sample {
    let settings = json!({"url": format!("{}/prefix/", server.uri()),
        "headers": {"X-Scope-OrgID": "team"}});
    super::source(&settings).look(question, super::look(Duration::from_secs(5))).await
}

#[tokio::test]
async fn a_look_posts_the_windows_end_a_timeout_and_the_headers() {
    let server = knows(&[]).await;
    take(&server, errors()).await;
    let requests = server.received_requests().await.unwrap();
    let asked = requests.iter().find(|request| request.method.as_str() == "POST").unwrap();
    assert_eq!(field(asked, "time").unwrap(), "1795212790.500");
    let millis: u64 = field(asked, "timeout").unwrap().strip_suffix("ms").unwrap().parse().unwrap();
    assert!((1..=5000).contains(&millis), "{millis}");
    assert_eq!(asked.headers["x-scope-orgid"], "team");
    assert!(field(asked, "query").unwrap().contains("[30s]"));
}

#[tokio::test]
async fn errors_are_two_counts_and_the_serving_sides_total() {
    let server = knows(&[
        ("track=\"canary\",code", value("3")),
        ("track=\"canary\"", value("100")),
        ("track=\"stable\"", value("900")),
    ])
    .await;
    let sample = take(&server, errors()).await;
    assert_eq!(sample.answer, Answer::Ratio { part: Some(3.0), total: Some(100.0) });
    assert_eq!((sample.count, sample.serving_count), (Some(100.0), Some(900.0)));
    assert!(!sample.targets_down);
    assert_eq!((sample.scrape, sample.share), (Duration::from_secs(15), None));
}

#[tokio::test]
async fn no_error_series_is_not_silence_and_no_total_is() {
    let server = knows(&[("increase(http_requests_total{track=\"canary\"}", value("7"))]).await;
    let sample = take(&server, errors()).await;
    assert_eq!(sample.answer, Answer::Ratio { part: None, total: Some(7.0) });
    assert_eq!(sample.serving_count, Some(0.0));
    let sample = take(&knows(&[]).await, errors()).await;
    assert_eq!(sample.answer, Answer::Ratio { part: None, total: None });
    assert_eq!(sample.count, Some(0.0));
}

#[tokio::test]
async fn a_silent_side_is_asked_whether_its_targets_are_down() {
    let check = async |up: Value, down| {
        let server = knows(&[("max(up{track=\"canary\"})", up.clone())]).await;
        assert_eq!(take(&server, errors()).await.targets_down, down, "{up}");
    };
    check(value("0"), true).await;
    check(value("1"), false).await;
    check(json!([]), false).await;
}

#[tokio::test]
async fn the_roles_choose_which_rendering_is_asked() {
    let server = knows(&[("canary", value("1")), ("stable", value("2"))]).await;
    let settings = json!({"promql": "sum(q{ {{ canary.labels }} })", "max": "9"});
    let question = super::question("query", &settings);
    let sample = take(&server, question.clone()).await;
    assert_eq!((sample.answer, sample.serving_count), (Answer::Value(1.0), Some(1.0)));
    let mut exchanged = super::look(Duration::from_secs(5));
    exchanged.sides.test = "blue".into();
    exchanged.sides.serving = "green".into();
    let settings = json!({"url": format!("{}/prefix", server.uri())});
    let sample = super::source(&settings).look(question, exchanged).await;
    assert_eq!(sample.answer, Answer::Value(2.0));
}

#[tokio::test]
async fn a_query_that_does_not_name_the_canary_never_knows_the_serving_side() {
    let server = knows(&[]).await;
    let question = super::question("query", &json!({"promql": "sum(q)", "max": "9"}));
    let sample = take(&server, question).await;
    assert_eq!(sample.serving_count, None);
    assert_eq!(sample.answer, Answer::Nothing("no such series".into()));
}

#[tokio::test]
async fn a_side_without_a_pinned_question_is_an_error_and_not_silence() {
    let server = knows(&[]).await;
    let mut odd = super::look(Duration::from_secs(5));
    odd.sides.test = "red".into();
    let source = super::source(&json!({"url": server.uri()}));
    let sample = source.look(errors(), odd).await;
    assert!(matches!(sample.answer, Answer::Error { retryable: false, .. }), "{sample:?}");
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_one_shape_that_the_sides_have_is_found() {
    let detect = async |known: &[(&'static str, Value)], kind| {
        let server = knows(known).await;
        let source = super::source(&json!({"url": format!("{}/prefix", server.uri())}));
        detect_shape(&*source, &super::scope(), kind, Duration::from_secs(5)).await
    };
    let otel = ("http_server_request_duration_seconds_count{track=\"stable\"}", value("1"));
    let client = ("http_requests_total{track=\"canary\"}", value("1"));
    assert_eq!(detect(slice::from_ref(&otel), ShapeKind::Errors).await, Ok(Shape::Otel));
    assert_eq!(detect(slice::from_ref(&client), ShapeKind::Errors).await, Ok(Shape::Prometheus));
    let both = detect(&[otel, client], ShapeKind::Errors).await.unwrap_err();
    assert_eq!(both, "the sides have series of otel and prometheus: set `metrics` to one");
    let haproxy = ("haproxy_backend_http_responses_total{proxy=\"be_g\"}", value("6"));
    let server = knows(slice::from_ref(&haproxy)).await;
    let source = super::source(&json!({"url": format!("{}/prefix", server.uri())}));
    let mut scope = super::scope();
    scope.sides[1].1.insert("proxy".into(), "be_g".into());
    let found = detect_shape(&*source, &scope, ShapeKind::Errors, Duration::from_secs(5)).await;
    assert_eq!(found, Ok(Shape::Haproxy));
    let none = detect(&[], ShapeKind::Latency).await.unwrap_err();
    assert!(none.contains("http_request_duration_seconds_bucket"), "{none}");
}

#[tokio::test]
async fn revisions_are_the_distinct_values_of_a_label() {
    let series = |version: &str| json!({"metric": {"version": version}, "value": [1, "1"]});
    let shown = json!([series("2.4.1"), series("2.4.0"), series("2.4.1")]);
    let server = knows(&[("app_build_info", shown)]).await;
    let source = super::source(&json!({"url": format!("{}/prefix", server.uri())}));
    let ask = async |promql: &str, label: &str| {
        let written = json!({"promql": promql, "label": label});
        let question = revision_question(&written, &super::scope()).unwrap();
        source.revisions(question, Duration::from_secs(5)).await
    };
    let found = ask("app_build_info{side=\"blue\"}", "version").await.unwrap();
    assert_eq!(found, ["2.4.0".into(), "2.4.1".into()]);
    assert_eq!(ask("nosuch", "version").await, Ok(vec![]));
    let error = ask("app_build_info", "release").await.unwrap_err();
    assert!(error.contains("no label release, only {version="), "{error}");
    let role = json!({"promql": "x{ {{ canary.labels }} }", "label": "version"});
    assert!(revision_question(&role, &super::scope()).is_err());
}

#[tokio::test]
async fn the_sources_clock_is_compared_with_the_middle_of_the_round_trip() {
    let theirs = jiff::Timestamp::now().as_millisecond() + 60_000;
    let text = format!("{}.{:03}", theirs / 1000, theirs % 1000);
    let server = knows(&[("time()", value(&text))]).await;
    let url = format!("{}/prefix", server.uri());
    let source = super::source(&json!({"url": url}));
    let facts = source.facts(Duration::from_secs(5)).await.unwrap();
    let seconds = facts.clock_ahead.as_secs_f64();
    assert!((58.0..=60.1).contains(&seconds), "{seconds}");
    // This source does not show its targets: that is no reason to refuse it.
    assert_eq!(facts.scrape, None);
    let source = super::source(&json!({"url": url, "scrapeInterval": "30s"}));
    let facts = source.facts(Duration::from_secs(5)).await.unwrap();
    assert_eq!(facts.scrape, Some(Duration::from_secs(30)));
    let silent = super::source(&json!({"url": knows(&[]).await.uri()}));
    assert!(silent.facts(Duration::from_secs(5)).await.is_err());
}
