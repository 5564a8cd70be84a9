//! A webhook: what it is told, and what its answers mean.

use std::time::Instant;

use super::*;

fn check(server: &MockServer) -> Value {
    json!({"url": format!("{}/smoke?side={{{{ canary }}}}", server.uri()), "timeout": "500ms"})
}

async fn take(settings: &Value, look: Look) -> Sample {
    source("webhook", settings).look(question("webhook", settings), look).await
}

#[tokio::test]
async fn a_webhook_is_told_which_look_it_is_about_and_2xx_is_yes() {
    let server = answers(ResponseTemplate::new(204)).await;
    let folder = tempfile::tempdir().unwrap();
    let mut settings = check(&server);
    settings["headers"] = json!({"X-Api-Key": secret(&folder, "key", "hunter2")});
    let sample = take(&settings, look()).await;
    assert_eq!((sample.answer, sample.serving_count), (Answer::Value(1.0), None));
    let requests = asked(&server).await;
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!((request.method.as_str(), request.url.path()), ("POST", "/smoke"));
    assert_eq!(parameter(request, "side").unwrap(), "green");
    assert_eq!(request.headers["x-api-key"], "hunter2");
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let wanted = json!({
        "rollout": "shop/checkout", "check": "smoke", "side": "green", "serving": "blue",
        "revision": "2.4.1", "attempt": 3, "step": 2, "weight": 25,
        "window": {"begin": "2026-11-20T22:12:10Z", "end": "2026-11-20T22:13:10Z"},
    });
    assert_eq!(body, wanted);
}

#[tokio::test]
async fn a_body_of_ones_own_names_the_attempt_and_get_sends_none() {
    let server = answers(ResponseTemplate::new(200)).await;
    let mut settings = check(&server);
    settings["method"] = "PUT".into();
    settings["body"] = json!(
        "{\"v\": \"{{ revision }}\", \"at\": [{{ attempt }}, {{ step }}], \"w\": \"{{ weight }}% {{ canary }}\"}"
    );
    assert_eq!(take(&settings, look()).await.answer, Answer::Value(1.0));
    let requests = asked(&server).await;
    assert_eq!(requests[0].method.as_str(), "PUT");
    let body: Value = serde_json::from_slice(&requests[0].body).unwrap();
    assert_eq!(body, json!({"v": "2.4.1", "at": [3, 2], "w": "25% green"}));
    let server = answers(ResponseTemplate::new(200)).await;
    let mut settings = check(&server);
    settings["method"] = "GET".into();
    take(&settings, look()).await;
    assert!(asked(&server).await[0].body.is_empty());
}

#[tokio::test]
async fn every_answer_but_2xx_is_no_and_is_not_asked_again() {
    for status in [300, 304, 400, 401, 404, 409, 429, 500, 503] {
        let server =
            answers(ResponseTemplate::new(status).set_body_string("smoke test failed")).await;
        let sample = take(&check(&server), look()).await;
        assert_eq!(sample.answer, Answer::Value(0.0), "{status}");
        assert_eq!(asked(&server).await.len(), 1, "{status}");
    }
    // It said no at length.
    let long = ResponseTemplate::new(500).set_body_bytes(vec![b'x'; 1 << 20]);
    assert_eq!(take(&check(&answers(long).await), look()).await.answer, Answer::Value(0.0));
}

#[tokio::test]
async fn a_yes_at_length_is_a_yes() {
    let long = ResponseTemplate::new(200).set_body_bytes(vec![b'x'; 1 << 20]);
    assert_eq!(take(&check(&answers(long).await), look()).await.answer, Answer::Value(1.0));
}

#[tokio::test]
async fn an_odd_revision_stays_in_its_place_and_there_is_a_step_before_the_first() {
    let odd = "2.4\"1&force=yes/../#é \\";
    let about =
        About { revision: Some(odd.into()), step: None, ..(*look().about.unwrap()).clone() };
    let look = Look { about: Some(Arc::new(about)), ..look() };
    let server = answers(ResponseTemplate::new(200)).await;
    let settings = json!({
        "url": format!("{}/smoke/{{{{ revision }}}}?rev={{{{ revision }}}}", server.uri()),
        "body": "{\"v\": \"{{ revision }}\", \"step\": {{ step }}}",
    });
    assert_eq!(take(&settings, look).await.answer, Answer::Value(1.0));
    let requests = asked(&server).await;
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(parameter(request, "rev").unwrap(), odd);
    assert_eq!(parameter(request, "force"), None);
    assert!(request.url.path().starts_with("/smoke/2.4%221"), "{}", request.url);
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body, json!({"v": odd, "step": 0}));
}

#[tokio::test]
async fn nobody_there_is_a_broken_source_after_a_few_tries_with_pauses() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let settings = json!({"url": url, "attempts": 3});
    let begin = Instant::now();
    let sample = take(&settings, look()).await;
    is_error(&sample.answer, "asked 3 times", true);
    is_error(&sample.answer, "Connection refused", true);
    // 200 ms, then 400 ms.
    assert!(begin.elapsed() >= Duration::from_millis(600), "{:?}", begin.elapsed());

    let server = answers(ResponseTemplate::new(200).set_delay(Duration::from_secs(20))).await;
    let begin = Instant::now();
    let hung = Look { deadline: Duration::from_millis(1_500), ..look() };
    let sample = take(&check(&server), hung).await;
    is_error(&sample.answer, "did not answer within", true);
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn one_that_comes_back_between_two_tries_is_heard() {
    let server = MockServer::start().await;
    let slow = ResponseTemplate::new(200).set_delay(Duration::from_secs(20));
    Mock::given(any()).respond_with(slow).up_to_n_times(1).mount(&server).await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    assert_eq!(take(&check(&server), look()).await.answer, Answer::Value(1.0));
    assert_eq!(asked(&server).await.len(), 2);
}

#[tokio::test]
async fn a_webhook_is_never_asked_about_the_past() {
    let server = answers(ResponseTemplate::new(200)).await;
    let sample = take(&check(&server), Look { about: None, ..look() }).await;
    is_error(&sample.answer, "not about the past", false);
    assert!(asked(&server).await.is_empty());
}

#[tokio::test]
async fn no_answer_and_no_error_shows_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let key = secret(&folder, "key", "hunter2");
    let settings = json!({"url": "http://127.0.0.1:1/x", "attempts": 1, "bearer": key,
        "headers": {"X-Api-Key": key}});
    let sample = take(&settings, look()).await;
    let shown = format!(
        "{sample:?} {:?} {}",
        source("webhook", &settings).facts(Duration::ZERO).await,
        question("webhook", &settings)
    );
    assert!(!shown.contains("hunter2"), "{shown}");
    let checked = (source_entry("webhook").unwrap().check)(&settings).unwrap();
    assert!(!checked.to_string().contains("hunter2"), "{checked}");
}

#[test]
fn what_a_webhook_cannot_use_is_refused_with_the_remedy() {
    let entry = CHECKS.iter().find(|entry| entry.kind == "webhook").unwrap();
    let refused = |settings: Value, path: &str, words: &str| {
        let errors = (entry.check)(&settings, &scope(), None).unwrap_err();
        let found = errors.iter().any(|e| e.path == path && e.message.contains(words));
        assert!(found, "{errors:?}");
    };
    refused(json!({}), "", "missing field `url`");
    refused(json!({"url": "smoke"}), "/url", "no address");
    refused(json!({"url": "https://{{ canary }}.example.com/"}), "/url", "the name of the host");
    refused(json!({"url": "https://a:b@ci/x"}), "/url", "password");
    refused(json!({"url": "https://ci/{{ nosuch }}"}), "/url", "`nosuch`");
    refused(json!({"url": "https://ci/", "attempts": 11}), "/attempts", "between 1 and 10");
    refused(json!({"url": "https://ci/", "timeout": "0s"}), "/timeout", "cannot be read");
    refused(json!({"url": "https://ci/", "method": "GET", "body": "{}"}), "/body", "no body");
    refused(json!({"url": "https://ci/", "method": "DELETE"}), "/method", "unknown variant");
    let counted = (entry.check)(&json!({"url": "https://ci/"}), &scope(), Some(1.0)).unwrap_err();
    assert!(counted[0].message.contains("how many samples"), "{counted:?}");
}
