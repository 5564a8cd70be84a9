//! Contract tests of the monitoring services: each source against the exchange that its service documents.
//!
//! The answers are written by hand from the public descriptions of the APIs. No service was asked.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[path = "services/cloudwatch.rs"]
mod cloudwatch;
#[path = "services/datadog.rs"]
mod datadog;
#[path = "services/graphite.rs"]
mod graphite;
#[path = "services/http.rs"]
mod http;
#[path = "services/influxdb.rs"]
mod influxdb;
#[path = "services/newrelic.rs"]
mod newrelic;
#[path = "services/prometheus_kin.rs"]
mod prometheus_kin;
#[path = "services/webhook.rs"]
mod webhook;

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc, time::Duration};

use haldane_model::{Answer, Sample, Weight, Window};
use haldane_outside::Outside;
use haldane_sources::{
    About, CHECKS, Checked, Look, LookSides, MetricSource, TemplateScope, source_entry,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

/// Blue serves and green is on trial, told apart by `version`.
fn scope() -> TemplateScope {
    let labels = |version: &str| BTreeMap::from([("version".to_owned(), version.to_owned())]);
    TemplateScope {
        namespace: "shop".into(),
        name: "checkout".into(),
        sides: [("blue".into(), labels("v1")), ("green".into(), labels("v2"))],
        arguments: BTreeMap::new(),
    }
}

#[track_caller]
fn source(kind: &str, settings: &Value) -> Arc<dyn MetricSource> {
    let row = source_entry(kind).unwrap();
    let checked = (row.check)(settings).unwrap();
    (row.build)(&checked, &Outside::default()).unwrap()
}

#[track_caller]
fn question(kind: &str, settings: &Value) -> Arc<str> {
    let entry = CHECKS.iter().find(|entry| entry.kind == kind).unwrap();
    match (entry.check)(settings, &scope(), None) {
        Ok(Checked::Ready { question, .. }) => question,
        other => panic!("{other:?}"),
    }
}

/// A query of a source's own language.
fn number(query: &str) -> Arc<str> {
    question("number", &json!({"query": query, "max": "1"}))
}

/// The minute before 22:13:10 of a November evening: seconds 1795212730 to 1795212790.
fn window() -> Window {
    let end: Timestamp = "2026-11-20T22:13:10Z".parse().unwrap();
    Window { begin: end - SignedDuration::from_mins(1), end }
}

fn look() -> Look {
    let about = About {
        check: "smoke".into(),
        revision: Some("2.4.1".into()),
        attempt: 3,
        step: Some(2),
        weight: Weight::from_percent(25).unwrap(),
    };
    Look {
        window: window(),
        sides: LookSides { test: "green".into(), serving: "blue".into() },
        deadline: Duration::from_secs(3),
        grid: None,
        before: None,
        about: Some(Arc::new(about)),
    }
}

/// A server that answers all the same.
async fn answers(response: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(response).mount(&server).await;
    server
}

fn ok(body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

async fn asked(server: &MockServer) -> Vec<Request> {
    server.received_requests().await.unwrap()
}

fn parameter(request: &Request, name: &str) -> Option<String> {
    let found = request.url.query_pairs().find(|(key, _)| key == name);
    found.map(|(_, value)| value.into_owned())
}

/// A file that holds a secret, and how settings name it.
fn secret(folder: &TempDir, name: &str, text: &str) -> Value {
    let file: PathBuf = folder.path().join(name);
    fs::write(&file, text).unwrap();
    json!({"file": file})
}

#[track_caller]
fn is_nothing(answer: &Answer, words: &str) {
    let Answer::Nothing(why) = answer else { panic!("{answer:?}") };
    assert!(why.contains(words), "{why}");
}

#[track_caller]
fn is_error(answer: &Answer, words: &str, again: bool) {
    let Answer::Error { message, retryable } = answer else { panic!("{answer:?}") };
    assert!(message.contains(words) && *retryable == again, "{answer:?}");
}

/// Every service fails in these ways, whatever it is asked.
async fn fails_as_http_does(take: impl AsyncFn(&MockServer) -> Sample) {
    for (status, again) in [
        (400, false),
        (401, false),
        (403, false),
        (404, false),
        (429, true),
        (500, true),
        (503, true),
    ] {
        let server = answers(ResponseTemplate::new(status).set_body_string("no such luck")).await;
        let sample = take(&server).await;
        is_error(&sample.answer, &format!("HTTP {status}: no such luck"), again);
    }
    for page in ["<html>Sign in</html>", "", "[]", "{}", "null", "7"] {
        let server = answers(ResponseTemplate::new(200).set_body_string(page)).await;
        let answer = take(&server).await.answer;
        // Graphite's empty list is an answer.
        let silent = page == "[]" && answer == Answer::Nothing("no such series".into());
        assert!(silent || matches!(answer, Answer::Error { .. }), "{page}: {answer:?}");
    }
    let slow = ResponseTemplate::new(200).set_delay(Duration::from_secs(20));
    is_error(&take(&answers(slow).await).await.answer, "did not answer within", true);
    let large = ResponseTemplate::new(200).set_body_bytes(vec![b' '; 5 << 20]);
    is_error(&take(&answers(large).await).await.answer, "(maxBodyBytes)", false);
}
