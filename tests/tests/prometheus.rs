//! The Prometheus source against a real Prometheus that scrapes two sides of an application.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use haldane_model::{Answer, Sample, Window};
use haldane_outside::Outside;
use haldane_sources::{
    CHECKS, Checked, Look, LookSides, MetricSource, SOURCES, Shape, ShapeKind, TemplateScope,
    detect_shape, revision_question,
};
use haldane_tests::prometheus::{Page, Prometheus, Target};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use serde_json::{Value, json};

const SECONDS_5: SignedDuration = SignedDuration::from_secs(5);

/// An application that serves 100 requests a second, `bad` of them with errors.
fn application(version: &'static str, bad: f64) -> Page {
    let begin = Instant::now();
    Page::serve(move || {
        let seconds = begin.elapsed().as_secs_f64();
        let mut page = format!("app_build_info{{version=\"{version}\"}} 1\n");
        let mut counter = |name: &str, labels: &str, rate: f64| {
            writeln!(page, "{name}{{{labels}}} {}", rate * seconds).unwrap();
        };
        counter("http_requests_total", "code=\"200\"", 100.0 - bad);
        if bad > 0.0 {
            counter("http_requests_total", "code=\"503\"", bad);
        }
        for (le, rate) in [("0.1", 50.0), ("0.2", 90.0), ("0.4", 100.0), ("+Inf", 100.0)] {
            let labels = format!("le=\"{le}\"");
            counter("http_request_duration_seconds_bucket", &labels, rate);
        }
        counter("http_request_duration_seconds_count", "", 100.0);
        page
    })
}

fn scope(canary: &str) -> TemplateScope {
    let labels = |track: &str| BTreeMap::from([("track".to_owned(), track.to_owned())]);
    TemplateScope {
        namespace: "shop".into(),
        name: "checkout".into(),
        sides: [("blue".into(), labels("stable")), ("green".into(), labels(canary))],
        arguments: BTreeMap::new(),
    }
}

fn targets(stable: &Page, canary: &Page) -> [Target; 2] {
    [
        Target::new("app", stable.address(), &[("track", "stable")]),
        Target::new("app", canary.address(), &[("track", "canary")]),
    ]
}

#[track_caller]
fn source(settings: &Value) -> Arc<dyn MetricSource> {
    let settings = (SOURCES[0].check)(settings).unwrap();
    (SOURCES[0].build)(&settings, &Outside::default()).unwrap()
}

#[track_caller]
fn question(kind: &str, settings: &Value, scope: &TemplateScope) -> Arc<str> {
    let entry = CHECKS.iter().find(|entry| entry.kind == kind).unwrap();
    match (entry.check)(settings, scope, None) {
        Ok(Checked::Ready { question, .. }) => question,
        other => panic!("{other:?}"),
    }
}

fn errors() -> Arc<str> {
    question("errors", &json!({"max": "1%", "metrics": "prometheus"}), &scope("canary"))
}

/// Looks at the last five seconds, with green on trial.
async fn look(source: &dyn MetricSource, question: &Arc<str>) -> Sample {
    let end = Timestamp::now();
    let window = Window { begin: end - SECONDS_5, end };
    let sides = LookSides { test: "green".into(), serving: "blue".into() };
    let deadline = Duration::from_secs(2);
    let look = Look { window, sides, deadline, grid: None, before: None, about: None };
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
        let sample = look(source, question).await;
        if good(&sample) {
            return sample;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}: not after 20 s: {sample:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn share(sample: &Sample) -> Option<f64> {
    match sample.answer {
        Answer::Ratio { part: Some(part), total: Some(total) } => Some(part / total),
        Answer::Ratio { .. }
        | Answer::Value(_)
        | Answer::Counted(_)
        | Answer::Nothing(_)
        | Answer::Error { .. } => None,
    }
}

fn near(value: f64, wanted: f64) -> bool {
    (value - wanted).abs() < wanted * 0.05
}

#[tokio::test]
async fn what_an_application_does_is_measured() {
    let (stable, canary) = (application("2.4.0", 0.0), application("2.4.1", 10.0));
    let prometheus = Prometheus::start(&targets(&stable, &canary));
    let source = source(&json!({"url": prometheus.url}));

    let sample = until("one in ten fails", &*source, &errors(), |sample| {
        share(sample).is_some_and(|share| near(share, 0.1))
            && sample.count.is_some_and(|count| near(count, 500.0))
            && sample.serving_count.is_some_and(|count| near(count, 500.0))
            && sample.scrape == Duration::from_secs(1)
    })
    .await;
    assert!(!sample.targets_down);

    // The stable side has no error series at all: that is zero, and not silence.
    let mut sides = scope("stable");
    sides.sides[0].1.insert("track".into(), "canary".into());
    let settings = json!({"max": "1%", "metrics": "prometheus"});
    let sample = look(&*source, &question("errors", &settings, &sides)).await;
    let Answer::Ratio { part: None, total: Some(total) } = sample.answer else {
        panic!("{sample:?}")
    };
    assert!(near(total, 500.0));

    let settings = json!({"quantile": "0.9", "max": "500ms", "metrics": "prometheus"});
    let sample = look(&*source, &question("latency", &settings, &scope("canary"))).await;
    let Answer::Value(value) = sample.answer else { panic!("{sample:?}") };
    assert!(near(value, 0.2) && near(sample.count.unwrap(), 500.0), "{sample:?}");

    let facts = source.facts(Duration::from_secs(2)).await.unwrap();
    assert!(facts.clock_ahead.abs() < SignedDuration::from_millis(500), "{facts:?}");
    assert_eq!(facts.scrape, Some(Duration::from_secs(1)));

    let patience = Duration::from_secs(2);
    let shape = detect_shape(&*source, &scope("canary"), ShapeKind::Errors, patience).await;
    assert_eq!(shape, Ok(Shape::Prometheus));
    let shape = detect_shape(&*source, &scope("canary"), ShapeKind::Latency, patience).await;
    assert_eq!(shape, Ok(Shape::Prometheus));

    let written = json!({"promql": "app_build_info{track=\"canary\"}", "label": "version"});
    let written = revision_question(&written, &scope("canary")).unwrap();
    assert_eq!(source.revisions(written, patience).await.unwrap(), ["2.4.1".into()]);
}

#[tokio::test]
async fn no_value_of_a_label_can_reach_another_series() {
    let (stable, canary) = (application("2.4.0", 0.0), application("2.4.1", 10.0));
    let prometheus = Prometheus::start(&targets(&stable, &canary));
    let source = source(&json!({"url": prometheus.url}));
    until("it measures", &*source, &errors(), |sample| share(sample).is_some()).await;
    for evil in
        ["x\"} or up{job=\"app", "x\",track=~\".*", "x\\", "x\n", "x'} or up{a='", "\u{2603}`"]
    {
        let settings = json!({"promql": "count(up{ {{ canary.labels }} })", "max": "1"});
        let sample = look(&*source, &question("query", &settings, &scope(evil))).await;
        assert_eq!(sample.answer, Answer::Nothing("no such series".into()), "{evil}");
        // The serving side is asked by its own labels.
        assert_eq!(sample.serving_count, Some(1.0), "{evil}");
    }
}

#[tokio::test]
async fn what_a_query_returns_is_told_apart() {
    let (stable, canary) = (application("2.4.0", 0.0), application("2.4.1", 10.0));
    let prometheus = Prometheus::start(&targets(&stable, &canary));
    let source = source(&json!({"url": prometheus.url}));
    until("it measures", &*source, &errors(), |sample| share(sample).is_some()).await;
    let ask = async |promql: &str| {
        let settings = json!({"promql": promql, "max": "1", "validate": false});
        look(&*source, &question("query", &settings, &scope("canary"))).await.answer
    };
    assert_eq!(ask("vector(1) / 0").await, Answer::Value(f64::INFINITY));
    assert_eq!(ask("vector(0) / 0").await, Answer::Nothing("the value is NaN".into()));
    assert_eq!(ask("nosuch").await, Answer::Nothing("no such series".into()));
    let is_error = |answer: &Answer, words: &str| match answer {
        Answer::Error { message, retryable } => message.contains(words) && !retryable,
        Answer::Value(_) | Answer::Ratio { .. } | Answer::Counted(_) | Answer::Nothing(_) => false,
    };
    let several = ask("up").await;
    assert!(
        is_error(&several, "2 series where one value was asked: {__name__=\"up\""),
        "{several:?}"
    );
    let broken = ask("sum(").await;
    assert!(is_error(&broken, "bad_data: invalid parameter"), "{broken:?}");
    let range = ask("up[5s]").await;
    assert!(is_error(&range, "a range of samples"), "{range:?}");
}

#[tokio::test]
async fn a_side_whose_targets_die_is_silent_and_known_to_be_down() {
    let (stable, canary) = (application("2.4.0", 0.0), application("2.4.1", 10.0));
    let prometheus = Prometheus::start(&targets(&stable, &canary));
    let source = source(&json!({"url": prometheus.url}));
    let question = errors();
    until("it measures", &*source, &question, |sample| share(sample).is_some()).await;
    drop(canary);
    let sample = until("the side is down", &*source, &question, |sample| sample.targets_down).await;
    assert_eq!(sample.answer, Answer::Ratio { part: None, total: None });
    assert!(sample.serving_count.unwrap() > 300.0, "{sample:?}");
}

#[tokio::test]
async fn a_prometheus_that_hangs_or_dies_is_an_error_within_the_deadline() {
    let (stable, canary) = (application("2.4.0", 0.0), application("2.4.1", 10.0));
    let mut prometheus = Prometheus::start(&targets(&stable, &canary));
    let source = source(&json!({"url": prometheus.url, "timeout": "1s"}));
    let question = errors();
    let lost = |sample: &Sample, words: &str| match &sample.answer {
        Answer::Error { message, retryable } => message.contains(words) && *retryable,
        Answer::Value(_) | Answer::Ratio { .. } | Answer::Counted(_) | Answer::Nothing(_) => false,
    };
    until("it measures", &*source, &question, |sample| share(sample).is_some()).await;

    prometheus.server.signal("STOP");
    let begin = Instant::now();
    let sample = look(&*source, &question).await;
    assert!(lost(&sample, "did not answer within"), "{sample:?}");
    assert!(begin.elapsed() < Duration::from_millis(2_500), "{:?}", begin.elapsed());
    assert!(source.facts(Duration::from_secs(1)).await.is_err());
    prometheus.server.signal("CONT");
    until("it measures again", &*source, &question, |sample| share(sample).is_some()).await;

    prometheus.server.kill();
    let sample = until("it is gone", &*source, &question, |s| lost(s, "Connection refused")).await;
    assert_eq!((sample.count, sample.serving_count, sample.targets_down), (None, None, false));
}

/// A certificate authority with a server's and a client's certificate, as files.
fn certificates(folder: &Path) {
    let mut authority = CertificateParams::new(vec![]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    fs::write(folder.join("ca.crt"), authority.pem()).unwrap();
    let leaves = [
        ("server", vec!["127.0.0.1".to_owned()], ExtendedKeyUsagePurpose::ServerAuth),
        ("client", vec!["haldane".to_owned()], ExtendedKeyUsagePurpose::ClientAuth),
    ];
    for (name, hosts, usage) in leaves {
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(hosts).unwrap();
        leaf.extended_key_usages = vec![usage];
        let leaf = leaf.signed_by(&key, &authority).unwrap();
        fs::write(folder.join(format!("{name}.crt")), leaf.pem()).unwrap();
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

#[tokio::test]
async fn tls_client_certificates_and_passwords_are_shown_and_verified() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    fs::write(file("password"), "s3cret\n").unwrap();
    fs::write(file("wrong"), "secret\n").unwrap();
    // The hash is of "s3cret", at bcrypt's lowest cost.
    let web = format!(
        "tls_server_config: {{cert_file: {}, key_file: {}, client_ca_file: {}, \
         client_auth_type: RequireAndVerifyClientCert}}\n\
         basic_auth_users: {{analyst: '$2y$04$abcdefghijklmnopqrstuuLZYjhNQAOdpbzt4WxWlUHjv1wsyH5DG'}}\n",
        file("server.crt"),
        file("server.key"),
        file("ca.crt")
    );
    let prometheus = Prometheus::start_with_web(&[], &web);
    let tls = json!({"caFile": file("ca.crt"), "certFile": file("client.crt"),
        "keyFile": file("client.key")});
    let ask = async |tls: &Value, password: &str| {
        let basic = json!({"username": "analyst", "password": {"file": file(password)}});
        let source = source(&json!({"url": prometheus.url, "tls": tls, "basic": basic}));
        let settings = json!({"promql": "vector(42)", "max": "1"});
        look(&*source, &question("query", &settings, &scope("canary"))).await.answer
    };
    let words = |answer: Answer| {
        let Answer::Error { message, retryable } = answer else { panic!("{answer:?}") };
        (message, retryable)
    };
    assert_eq!(ask(&tls, "password").await, Answer::Value(42.0));
    assert_eq!(words(ask(&tls, "wrong").await), ("HTTP 401: Unauthorized".into(), false));

    let mut unknown = tls.clone();
    unknown["caFile"] = Value::Null;
    let (message, retryable) = words(ask(&unknown, "password").await);
    assert!(message.contains("invalid peer certificate: UnknownIssuer") && !retryable, "{message}");
    unknown["insecureSkipVerify"] = json!(true);
    assert_eq!(ask(&unknown, "password").await, Answer::Value(42.0));

    let nobody = json!({"caFile": file("ca.crt")});
    // Which words come depends on who closes first: the alert may be lost with the connection.
    words(ask(&nobody, "password").await);
}
