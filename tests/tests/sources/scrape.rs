//! The direct scrape: instrumented applications, and servers that answer oddly.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use haldane_model::Answer;
use haldane_sources::{Shape, ShapeKind, detect_shape, revision_question};
use haldane_tests::{app::App, load::Load, process::free_port, prometheus::Page};
use serde_json::json;

use super::{counted, look, question, scope, share, source, until};

/// An application on a port of its own.
fn application(version: &'static str) -> u16 {
    let port = free_port();
    thread::spawn(move || App::serve(port, version));
    haldane_tests::process::wait_for("the application", Duration::from_secs(10), || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    port
}

fn get(port: u16, path: &str) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let _ = stream.read(&mut [0_u8; 1024]).unwrap();
}

/// A server that answers every request with these bytes; `None`: it never answers.
fn raw(answer: impl Fn() -> Option<Vec<u8>> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0_u8; 4096]);
            match answer() {
                Some(bytes) => {
                    let _ = stream.write_all(&bytes);
                }
                None => kept.push(stream),
            }
        }
    });
    address
}

fn page(kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
        .into_bytes()
}

fn errors() -> std::sync::Arc<str> {
    question("errors", &json!({"max": "1%", "metrics": "prometheus"}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_and_comparisons_are_asked_of_the_applications_themselves() {
    let (blue, green) = (application("2.4.0"), application("2.4.1"));
    get(green, "/control?error_rate=0.1");
    let page = |port| format!("http://127.0.0.1:{port}/metrics");
    let targets = json!({"blue": [page(blue)], "green": [page(green)]});
    let source = source("scrape", &json!({"targets": targets, "interval": "200ms"}));

    let patience = Duration::from_secs(3);
    for kind in [ShapeKind::Errors, ShapeKind::Latency] {
        assert_eq!(detect_shape(&*source, &scope(), kind, patience).await, Ok(Shape::Prometheus));
    }
    let written = json!({"promql": "app_build_info{side=\"green\"}", "label": "version"});
    let written = revision_question(&written, &scope()).unwrap();
    assert_eq!(source.revisions(written, patience).await.unwrap(), ["2.4.1".into()]);
    let facts = source.facts(patience).await.unwrap();
    assert_eq!(facts.scrape, Some(Duration::from_millis(200)));

    let compared = question("errors", &json!({"metrics": "prometheus"}));
    look(&*source, &compared, 60).await;
    let loads = [Load::start(blue, 100), Load::start(green, 100)];
    let sample = until("one in ten fails", &*source, &errors(), |sample| {
        share(sample).is_some_and(|share| (share - 0.1).abs() < 0.02)
            && sample.count.is_some_and(|count| count > 100.0)
            && sample.serving_count.is_some_and(|count| count > 100.0)
    })
    .await;
    assert!(!sample.targets_down && sample.scrape == Duration::from_millis(200));
    let written = json!({"quantile": "0.99", "max": "500ms", "metrics": "prometheus"});
    let latency = question("latency", &written);
    let sample =
        until("a quantile", &*source, &latency, |sample| matches!(sample.answer, Answer::Value(_)))
            .await;
    let Answer::Value(value) = sample.answer else { panic!("{sample:?}") };
    assert!(value > 0.0 && value <= 2.5 && sample.count.unwrap() > 0.0, "{sample:?}");

    // Whole numbers: what was sent is what was counted, to the request.
    let sent = loads.map(Load::stop);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let sample = look(&*source, &compared, 60).await;
    let (test, serving, bad) = counted(&sample);
    assert_eq!(serving, sent[0] as f64, "{sample:?}");
    assert_eq!(test, sent[1] as f64, "{sample:?}");
    assert!((bad / test - 0.1).abs() < 0.01, "{bad} of {test}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_page_of_metrics_is_an_error_with_its_reason() {
    let good = Page::serve(|| "http_requests_total{code=\"200\"} 5\n".to_owned());
    let text = "text/plain; version=0.0.4";
    let open = "application/openmetrics-text; version=1.0.0";
    let line = "http_requests_total{code=\"200\"} 5\n";
    let half = format!("HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n{line}").into_bytes();
    let cut = format!("HTTP/1.0 200 OK\r\n\r\n{line}http_requests_total{{code=").into_bytes();
    let large: String =
        (0..100_000).map(|n| format!("http_requests_total{{path=\"{n}\"}} 1\n")).collect();
    let broken = b"HTTP/1.1 503 Unavailable\r\ncontent-length: 4\r\n\r\nbusy".to_vec();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a login page", page("text/html", "<html>\n<h1>Sign in</h1>\n"), "<h1>Sign in</h1>"),
        ("half an answer", half, "broke off"),
        ("half a line", cut, "breaks off"),
        ("half a page", page(open, line), "before its end"),
        ("a series twice", page(text, &format!("x 1\n{line}{line}")), "there already"),
        (
            "a line that is none",
            page(text, &format!("{line}http_requests_total 1 2 3\n")),
            "line 2",
        ),
        ("more than may be read", page(text, &large), "(maxBodyBytes)"),
        ("a server that fails", broken, "HTTP 503: busy"),
    ];
    for (what, answer, words) in cases {
        let odd = raw(move || Some(answer.clone()));
        let targets = json!({
            "blue": [format!("http://{}/metrics", good.address())],
            "green": [format!("http://{odd}/metrics?token=s3cret")],
        });
        let settings = json!({"targets": targets, "interval": "1s", "maxBodyBytes": 1_000_000});
        let source = source("scrape", &settings);
        // On a busy machine the first read may not be over yet.
        let sample = until(what, &*source, &errors(), |sample| {
            matches!(&sample.answer, Answer::Error { message, .. } if message.contains(words))
        })
        .await;
        let Answer::Error { message, .. } = &sample.answer else { unreachable!("it is one") };
        assert!(message.contains(&odd.to_string()) && !message.contains("s3cret"), "{message}");
        assert!(!sample.targets_down, "{what}: it answers");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_side_whose_targets_hang_or_are_gone_is_down_and_the_other_is_read_meanwhile() {
    let gone = {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.local_addr().unwrap()
    };
    let hung = raw(|| None);
    let begin = Instant::now();
    let good = Page::serve(move || {
        format!("http_requests_total{{code=\"200\"}} {}\n", begin.elapsed().as_millis())
    });
    let targets = json!({
        "blue": [format!("http://{}/metrics", good.address())],
        "green": [format!("http://{hung}/metrics"), format!("http://{gone}/metrics")],
    });
    let settings = json!({"targets": targets, "interval": "200ms", "timeout": "300ms"});
    let source = source("scrape", &settings);
    let sample = until("green is down", &*source, &errors(), |sample| {
        sample.targets_down && sample.serving_count.is_some_and(|count| count > 500.0)
    })
    .await;
    assert_eq!(sample.answer, Answer::Ratio { part: None, total: None });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_odd_numbers_and_old_times_count_as_what_they_are() {
    // 100 more at each read; every fifth read it begins anew, every third one bucket is no number.
    let reads = std::sync::atomic::AtomicU64::new(0);
    let green = Page::serve(move || {
        let read = reads.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let total = (read % 5 + 1) * 100;
        let odd = if read % 3 == 2 { "NaN".to_owned() } else { "7".to_owned() };
        // The times are from long ago, and stand still.
        format!(
            "http_requests_total{{code=\"200\"}} {total} 1395066363000\n\
             http_requests_total{{code=\"500\"}} {odd}\n"
        )
    });
    let blue =
        Page::serve(|| "http_requests_total{code=\"200\"} 1000000 1395066363000\n".to_owned());
    let address = |page: &Page| format!("http://{}/metrics", page.address());
    let targets = json!({"blue": [address(&blue)], "green": [address(&green)]});
    let source = source("scrape", &json!({"targets": targets, "interval": "200ms"}));
    let compared = question("errors", &json!({"metrics": "prometheus"}));
    look(&*source, &compared, 5).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let sample = look(&*source, &compared, 5).await;
    let (test, serving, bad) = counted(&sample);
    assert_eq!(serving, 0.0, "a counter that stands still had no request");
    // Each read adds 100, and each beginning anew 7 more of the bad ones.
    assert!(test > 800.0 && test < 3_500.0, "{test}");
    assert!(bad % 7.0 == 0.0 && bad <= test / 500.0 * 7.0 + 14.0, "{bad} of {test}");
}
