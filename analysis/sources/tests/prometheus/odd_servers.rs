//! Servers that do not behave: every one of them is an answer, and none of them takes long.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use haldane_model::Answer;
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

/// Serves one connection after the other by hand; returns the address.
fn by_hand(serve: impl Fn(std::net::TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            serve(stream);
        }
    });
    address
}

fn read_request(stream: &mut std::net::TcpStream) {
    let mut request = [0_u8; 4096];
    let _ = stream.read(&mut request);
}

#[track_caller]
fn is_error(answer: &Answer, words: &str, again: bool) {
    let Answer::Error { message, retryable } = answer else { panic!("{answer:?}") };
    assert!(message.contains(words) && *retryable == again, "{answer:?}");
}

async fn answers(response: ResponseTemplate, settings: Value) -> Answer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(response).mount(&server).await;
    let mut settings = settings;
    settings["url"] = json!(server.uri());
    super::ask(&settings).await.answer
}

#[tokio::test]
async fn a_login_page_is_shown_with_its_status_and_first_words() {
    let page =
        ResponseTemplate::new(200).set_body_raw("<html><h1>Sign in</h1></html>", "text/html");
    is_error(&answers(page, json!({})).await, "HTTP 200: <html><h1>Sign in</h1>", false);
    for (status, again) in
        [(401, false), (403, false), (429, true), (500, false), (502, true), (504, true)]
    {
        let page = ResponseTemplate::new(status).set_body_string("upstream says no");
        let words = format!("HTTP {status}: upstream says no");
        is_error(&answers(page, json!({})).await, &words, again);
    }
}

#[tokio::test]
async fn a_million_series_are_not_read_to_their_end() {
    let one =
        r#"{"metric":{"__name__":"big_series","pod":"demo-app-7f9c5d0000-abcde"},"value":[1,"2"]}"#;
    let body = format!(
        r#"{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}"#,
        vec![one; 1_000_000].join(",")
    );
    let response = ResponseTemplate::new(200).set_body_raw(body, "application/json");
    let answer = answers(response, json!({})).await;
    is_error(&answer, "larger than 4194304 bytes (maxBodyBytes)", false);
}

#[tokio::test]
async fn too_many_series_are_refused() {
    let one = r#"{"metric":{},"value":[1,"2"]}"#;
    let body = format!(
        r#"{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}"#,
        [one; 11].join(",")
    );
    let response = ResponseTemplate::new(200).set_body_raw(body, "application/json");
    let answer = answers(response, json!({"maxSeries": 10})).await;
    is_error(&answer, "11 series, more than maxSeries: 10", false);
}

#[tokio::test]
async fn a_hung_server_costs_the_deadline_and_no_more() {
    let url = by_hand(|stream| {
        thread::sleep(Duration::from_secs(30));
        drop(stream);
    });
    let begin = Instant::now();
    let answer = super::ask(&json!({"url": url, "timeout": "300ms"})).await.answer;
    is_error(&answer, "did not answer within", true);
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_body_that_drips_costs_the_deadline_and_no_more() {
    let url = by_hand(|mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n");
        while stream.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let begin = Instant::now();
    let answer = super::ask(&json!({"url": url, "timeout": "300ms"})).await.answer;
    is_error(&answer, "did not answer within", true);
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_connection_that_breaks_may_be_asked_again() {
    let closed = by_hand(|mut stream| read_request(&mut stream));
    is_error(&super::ask(&json!({"url": closed})).await.answer, "cannot be asked", true);
    let torn = by_hand(|mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"status\"");
    });
    is_error(&super::ask(&json!({"url": torn})).await.answer, "cannot be asked", true);
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let refused = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    is_error(&super::ask(&json!({"url": refused})).await.answer, "Connection refused", true);
}

#[tokio::test]
async fn a_redirect_to_another_host_is_refused_and_gets_no_credentials() {
    let there = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).expect(0).mount(&there).await;
    let location = format!("{}/api/v1/query", there.uri());
    for status in [302, 307, 308] {
        let away = ResponseTemplate::new(status).insert_header("location", location.as_str());
        let settings = json!({"bearer": {"env": "PATH"}});
        is_error(&answers(away, settings).await, "is not followed", false);
    }
}

#[tokio::test]
async fn json_of_something_else_is_not_silence() {
    for body in
        ["{}", "[]", "null", r#"{"status":"success"}"#, r#"{"status":"success","data":null}"#]
    {
        let response = ResponseTemplate::new(200).set_body_raw(body, "application/json");
        let answer = answers(response, json!({})).await;
        assert!(matches!(answer, Answer::Error { retryable: false, .. }), "{body}: {answer:?}");
    }
}

#[tokio::test]
async fn a_secret_that_vanished_is_an_error_that_names_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "hunter2").unwrap();
    let server = MockServer::start().await;
    let source = super::source(&json!({"url": server.uri(), "bearer": {"file": file}}));
    std::fs::remove_file(&file).unwrap();
    let question = super::question("query", &json!({"promql": "up", "max": "1"}));
    let answer = source.look(question, super::look(Duration::from_secs(5))).await.answer;
    is_error(&answer, file.to_str().unwrap(), false);
    let Answer::Error { message, .. } = answer else { panic!() };
    assert!(!message.contains("hunter2"));
}
