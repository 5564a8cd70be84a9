//! Any service that answers JSON: what is sent, and what becomes of the answers.

use super::*;

async fn take(server: &MockServer, check: &Value) -> Sample {
    let settings = json!({"url": format!("{}/api/", server.uri()), "timeout": "1s"});
    source("http", &settings).look(question("json", check), look()).await
}

fn score() -> Value {
    json!({
        "path": "/v1/score?side={{ canary }}&version={{ canary.labels.version }}&last={{ window }}",
        "jsonPath": "$.data.score", "max": "0.5",
    })
}

#[tokio::test]
async fn a_document_is_asked_for_by_its_path_and_one_number_is_picked() {
    let server = answers(ok(&json!({"data": {"score": 0.25}}))).await;
    let sample = take(&server, &score()).await;
    assert_eq!((sample.answer, sample.serving_count), (Answer::Value(0.25), Some(1.0)));
    assert_eq!(sample.scrape, Duration::from_secs(1));
    let requests = asked(&server).await;
    assert!(requests.iter().all(|request| request.url.path() == "/api/v1/score"));
    assert!(
        requests
            .iter()
            .any(|request| request.url.query() == Some("side=green&version=v2&last=60s"))
    );
    assert_eq!(requests[0].headers["accept"], "application/json");
}

#[tokio::test]
async fn a_body_is_posted_with_its_values_in_their_place() {
    let server = answers(ok(&json!({"good": true}))).await;
    let folder = tempfile::tempdir().unwrap();
    let settings = json!({"url": server.uri(), "bearer": secret(&folder, "token", "hunter2")});
    let check = json!({
        "path": "/ask", "method": "POST", "body": "{\"side\": \"{{ canary }}\", \"to\": {{ end_seconds }}}",
        "expression": "document.good", "min": "1",
    });
    let sample = source("http", &settings).look(question("json", &check), look()).await;
    assert_eq!(sample.answer, Answer::Value(1.0));
    let requests = asked(&server).await;
    let request =
        requests.iter().find(|r| String::from_utf8_lossy(&r.body).contains("green")).unwrap();
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body, json!({"side": "green", "to": 1_795_212_790}));
    assert_eq!(request.headers["authorization"], "Bearer hunter2");
    assert_eq!(request.headers["content-type"], "application/json");
}

/// The rules of every source hold: one number, or nothing, or an error.
#[tokio::test]
async fn what_a_document_may_be_is_told_apart() {
    let of = async |body: Value| take(&answers(ok(&body)).await, &score()).await.answer;
    is_nothing(&of(json!({})).await, "nothing at $.data.score");
    is_nothing(&of(json!({"data": {"score": null}})).await, "is null");
    is_nothing(&of(json!({"data": {"score": "0.25"}})).await, "is a text");
    is_error(&of(json!({"data": {"score": [1]}})).await, "a list", false);
    let many = json!({"path": "/x?at={{ end }}", "jsonPath": "$[*].n", "max": "1"});
    let two = ok(&json!([{"n": 1}, {"n": 2}]));
    is_error(&take(&answers(two.clone()).await, &many).await.answer, "2 values", false);
    let mut worst = many;
    worst["expression"] = json!("values.exists(n, n > 1) ? 1 : 0");
    assert_eq!(take(&answers(two).await, &worst).await.answer, Answer::Value(1.0));
    fails_unlike_a_list(score()).await;
}

async fn fails_unlike_a_list(check: Value) {
    for (status, again) in [(401, false), (404, false), (429, true), (500, true), (503, true)] {
        let server = answers(ResponseTemplate::new(status).set_body_string("no")).await;
        is_error(&take(&server, &check).await.answer, &format!("HTTP {status}: no"), again);
    }
    let page = ResponseTemplate::new(200).set_body_string("<html>Sign in");
    is_error(&take(&answers(page).await, &check).await.answer, "no JSON: <html>Sign in", false);
    let large = ResponseTemplate::new(200).set_body_bytes(vec![b' '; 5 << 20]);
    is_error(&take(&answers(large).await, &check).await.answer, "(maxBodyBytes)", false);
    let slow = ResponseTemplate::new(200).set_delay(Duration::from_secs(20));
    is_error(&take(&answers(slow).await, &check).await.answer, "did not answer within", true);
}

#[tokio::test]
async fn a_document_that_names_no_time_is_not_asked_about_the_past() {
    let server = answers(ok(&json!({"n": 1}))).await;
    let check = json!({"path": "/now", "jsonPath": "$.n", "max": "1"});
    is_error(&take(&server, &check).await.answer, "names no time", false);
    assert!(asked(&server).await.is_empty());
    let source = source("http", &json!({"url": server.uri()}));
    let now = Timestamp::now();
    let window = Window { begin: now - SignedDuration::from_secs(10), end: now };
    let sample = source.look(question("json", &check), Look { window, ..look() }).await;
    assert_eq!(sample.answer, Answer::Value(1.0));
}

#[test]
fn what_json_cannot_use_is_refused_with_the_remedy() {
    let entry = CHECKS.iter().find(|entry| entry.kind == "json").unwrap();
    let refused = |settings: Value, path: &str, words: &str| {
        let errors = (entry.check)(&settings, &scope(), None).unwrap_err();
        let found = errors.iter().any(|e| e.path == path && e.message.contains(words));
        assert!(found, "{errors:?}");
    };
    let with = |more: Value| {
        let mut settings = json!({"path": "/x", "jsonPath": "$.a", "max": "1"});
        for (name, value) in more.as_object().unwrap() {
            settings[name] = value.clone();
        }
        settings
    };
    refused(with(json!({"path": "http://elsewhere/"})), "/path", "no path below");
    refused(with(json!({"path": "//elsewhere/{{ nosuch }}"})), "/path", "`nosuch`");
    refused(with(json!({"body": "{}"})), "/body", "GET sends no body");
    refused(with(json!({"body": "{a}", "method": "POST"})), "/body", "no JSON");
    let bare = r#"{"from": {{ begin }}}"#;
    refused(with(json!({"body": bare, "method": "POST"})), "/body", "no JSON");
    refused(with(json!({"jsonPath": "$..a..b"})), "/jsonPath", "times `..`");
    refused(with(json!({"expression": "nosuch"})), "/expression", "nosuch is not known");
    refused(with(json!({"max": null})), "/max", "neither min nor max");
    refused(with(json!({"max": "x"})), "/max", "cannot be read");
    refused(json!({"path": "/x", "max": "1"}), "/jsonPath", "nothing says which number");
    refused(with(json!({"path": "/{{ canary.labels }}"})), "/path", "canary.labels.version");
    refused(
        with(json!({"path": "/{{ canary.labels.zone }}"})),
        "/path",
        "a label that a side has not",
    );
    let counted = (entry.check)(&with(json!({})), &scope(), Some(1.0)).unwrap_err();
    assert!(counted[0].message.contains("how many samples"), "{counted:?}");
}

/// No value can leave its place, wherever it is printed.
#[tokio::test]
async fn no_value_of_a_label_can_leave_its_place_in_a_path_a_body_or_a_query() {
    let mut scope = scope();
    let evil = "a&admin=1/../\"}, \"x\": {\"";
    scope.sides[1].1.insert("version".into(), evil.into());
    let ready = |kind: &str, settings: &Value| {
        let entry = CHECKS.iter().find(|entry| entry.kind == kind).unwrap();
        (entry.check)(settings, &scope, None)
    };
    let server = answers(ok(&json!({"n": 1}))).await;
    let check = json!({
        "path": "/x/{{ canary.labels.version }}?v={{ canary.labels.version }}&t={{ end }}",
        "method": "POST", "body": "{\"v\": \"{{ canary.labels.version }}\"}",
        "jsonPath": "$.n", "max": "1",
    });
    let Ok(Checked::Ready { question, .. }) = ready("json", &check) else { panic!() };
    let source = source("http", &json!({"url": server.uri()}));
    assert_eq!(source.look(question, look()).await.answer, Answer::Value(1.0));
    let requests = asked(&server).await;
    let request = requests.iter().find(|r| parameter(r, "v").as_deref() == Some(evil)).unwrap();
    assert_eq!(parameter(request, "admin"), None);
    assert_eq!(request.url.path_segments().unwrap().count(), 2);
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body, json!({"v": evil}));

    for up in [".", ".."] {
        let mut scope = scope.clone();
        scope.sides[1].1.insert("version".into(), up.into());
        let entry = CHECKS.iter().find(|entry| entry.kind == "json").unwrap();
        let errors = (entry.check)(&check, &scope, None).unwrap_err();
        assert!(errors[0].message.contains("another path"), "{errors:?}");
    }

    let query = json!({"query": "sum:x{version:{{ canary.labels.version }}}", "max": "1"});
    let errors = ready("number", &query).unwrap_err();
    assert!(errors[0].message.contains("may mean something where it is printed"), "{errors:?}");
    let safe = json!({"query": "sum:x{version:{{ canary.labels.version | safe }}}", "max": "1"});
    assert!(ready("number", &safe).is_ok());
}

#[test]
fn a_source_refuses_what_is_written_for_another() {
    let asks = |kind: &str, settings: Value, source: &str| {
        let question = question(kind, &settings);
        (source_entry(source).unwrap().answers)(&json!({}), &question)
    };
    let promql = || json!({"promql": "up", "max": "1"});
    let own = || json!({"query": "avg:up{*}", "max": "1"});
    let document = || json!({"path": "/x", "jsonPath": "$.a", "max": "1"});
    for kind in ["datadog", "cloudWatch", "newRelic", "graphite", "influxdb"] {
        assert!(asks("number", own(), kind).is_ok());
        let error = asks("query", promql(), kind).unwrap_err();
        assert!(error.message.contains("cannot be asked for PromQL"), "{error}");
        assert!(error.help.unwrap().contains("write `number:"));
        assert!(asks("json", document(), kind).is_err());
        assert!(asks("errors", json!({"metrics": "prometheus"}), kind).is_err());
    }
    assert!(asks("json", document(), "http").is_ok() && asks("number", own(), "http").is_err());
    let error = asks("number", own(), "prometheus").unwrap_err();
    assert!(error.help.unwrap().contains("query: {promql"));
    assert!(asks("query", promql(), "prometheus").is_ok());
    assert!(
        asks("json", document(), "scrape").is_err()
            && asks("number", own(), "haproxyStats").is_err()
    );
}
