//! HAProxy's own statistics, of real processes.

use std::time::{Duration, Instant};

use haldane_model::Answer;
use haldane_sources::{Shape, ShapeKind, detect_shape};
use haldane_tests::haproxy::{Backend, Haproxy, Layout, Load, Origin};
use serde_json::{Value, json};

use super::{counted, look, question, scope, share, source, until};

fn layout(blue: &Origin, green: &Origin) -> Layout {
    let backend = |name: &str, lines: &str, origin: &Origin| Backend {
        name: name.into(),
        lines: lines.into(),
        servers: vec![origin.server()],
    };
    let fails = "    http-request return status 500 if { rand(100) lt 20 }";
    Layout {
        reloadable: true,
        frontend: "    use_backend be_green if { rand(2) eq 0 }\n    default_backend be_blue"
            .into(),
        backends: vec![backend("be_blue", "", blue), backend("be_green", fails, green)],
        ..Layout::default()
    }
}

fn stats(haproxy: &Haproxy) -> Value {
    json!({
        "sockets": haproxy.sockets(), "interval": "100ms",
        "backends": {"blue": "be_blue", "green": "be_green"},
    })
}

fn errors() -> std::sync::Arc<str> {
    question("errors", &json!({"max": "1%", "metrics": "prometheus"}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxys_own_counts_judge_both_sides_through_a_reload() {
    let (blue, green) = (Origin::start("blue"), Origin::start("green"));
    let directory = tempfile::tempdir().unwrap();
    let haproxy = Haproxy::start(&directory, layout(&blue, &green));
    let source = source("haproxyStats", &stats(&haproxy));

    // Nothing needs to be said of metrics: what HAProxy counts is found.
    let patience = Duration::from_secs(3);
    let shape = detect_shape(&*source, &scope(), ShapeKind::Errors, patience).await;
    assert_eq!(shape, Ok(Shape::Prometheus));
    let latency = detect_shape(&*source, &scope(), ShapeKind::Latency, patience).await.unwrap_err();
    assert!(latency.contains("averages") && latency.contains("`scrape`"), "{latency}");

    let compared = question("errors", &json!({"metrics": "prometheus"}));
    let (test, serving, _) = {
        let sample = look(&*source, &compared, 60).await;
        counted(&sample)
    };
    assert_eq!((test, serving), (0.0, 0.0));
    let load = Load::start(haproxy.port(0), 2);
    let sample = until("one in five fails on green", &*source, &errors(), |sample| {
        share(sample).is_some_and(|share| (share - 0.2).abs() < 0.05)
            && sample.count.is_some_and(|count| count > 200.0)
    })
    .await;
    assert!(sample.serving_count.unwrap() > 200.0 && !sample.targets_down, "{sample:?}");
    haproxy.reload(0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let met = load.stop();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let (test, serving, bad) = counted(&look(&*source, &compared, 60).await);
    let sent = met.total() + met.failures;
    // What the old worker served after it was read last is not known; nothing is counted twice.
    assert!(test + serving <= sent as f64, "{test} + {serving} of {sent}");
    assert!(test + serving > 0.7 * sent as f64, "{test} + {serving} of {sent}");
    assert!((bad / test - 0.2).abs() < 0.05, "{bad} of {test}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_haproxy_answers_itself_is_an_error_of_the_side_and_a_side_that_is_down_is_known() {
    let (blue, mut green) = (Origin::start("blue"), Origin::start("green"));
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout { reloadable: false, ..layout(&blue, &green) };
    let mut haproxy = Haproxy::start(&directory, layout);
    let source = source("haproxyStats", &stats(&haproxy));
    look(&*source, &errors(), 5).await;
    green.crash();
    let load = Load::start(haproxy.port(0), 1);
    let begin = Instant::now();
    let sample = until("nearly all fail", &*source, &errors(), |sample| {
        share(sample).is_some_and(|share| share > 0.9)
    })
    .await;
    assert!(sample.count.unwrap() > 0.0 && begin.elapsed() < Duration::from_secs(20));
    drop(load.stop());
    let silent =
        until("nobody asks any more", &*source, &errors(), |sample| sample.count == Some(0.0))
            .await;
    assert!(silent.targets_down, "its backend is DOWN: {silent:?}");

    haproxy.kill(0);
    let sample = until("no process", &*source, &errors(), |sample| {
        matches!(sample.answer, Answer::Error { .. })
    })
    .await;
    let Answer::Error { message, retryable: true } = &sample.answer else { panic!("{sample:?}") };
    assert!(message.contains("admin-0.sock: nothing listens there"), "{message}");
    assert!(!sample.targets_down, "nobody knows");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_not_there_is_an_error_that_names_it() {
    let (blue, green) = (Origin::start("blue"), Origin::start("green"));
    let directory = tempfile::tempdir().unwrap();
    let haproxy = Haproxy::start(&directory, layout(&blue, &green));
    let mut settings = stats(&haproxy);
    settings["backends"]["green"] = "be_gren".into();
    let sample = look(&*source("haproxyStats", &settings), &errors(), 5).await;
    let Answer::Error { message, retryable: false } = &sample.answer else { panic!("{sample:?}") };
    assert!(message.contains("no backend be_gren"), "{message}");
}
