//! Files that name these sources, and whole rollouts without any Prometheus.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use haldane_model::Reason;
use haldane_plan::{Options, compile, parse, registries};
use haldane_tests::{
    load::Load,
    rig::{Rig, SOON},
};
use serde_json::{Value, json};

/// A rollout that has this analysis.
fn document(analysis: Value) -> Value {
    let sides = ["blue", "green"].map(|side| json!({"name": side, "labels": {"side": side}}));
    json!({
        "apiVersion": "haldane.dev/v1alpha1", "kind": "Rollout", "metadata": {"name": "app"},
        "spec": {
            "sides": sides, "revision": "v2",
            "traffic": [{"name": "edge", "haproxy": {
                "sockets": ["/run/haproxy/admin.sock"],
                "share": {"map": "/etc/haproxy/share.map", "key": "app"},
                "destinations": {"blue": {"backend": "b"}, "green": {"backend": "g"}},
            }}],
            "steps": [{"weight": 100, "bake": "1m"}],
            "analysis": analysis,
        },
    })
}

/// What is wrong with a rollout that has this analysis.
fn faults(analysis: Value) -> Vec<String> {
    let documents = parse(&document(analysis).to_string()).unwrap();
    match compile(&documents.rollouts[0], &registries(), &Options::default()) {
        Ok(compiled) => {
            let settings = &compiled.plan.sources[0].settings;
            assert!(settings.contains(r#""green":{"side":"green"}"#), "{settings}");
            Vec::new()
        }
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

fn scrape() -> Value {
    json!({"name": "main", "scrape": {"targets": {
        "blue": ["http://127.0.0.1:8001/metrics"], "green": ["http://127.0.0.1:8002/metrics"],
    }}})
}

fn stats() -> Value {
    json!({"name": "main", "haproxyStats": {
        "sockets": ["/run/haproxy/admin.sock"], "backends": {"blue": "b", "green": "g"},
    }})
}

#[test]
fn what_a_source_can_never_answer_is_refused_when_the_file_is_read() {
    let errors = json!({"name": "errors", "errors": {"max": "1%", "metrics": "prometheus"}});
    let p99 = json!({"name": "p99", "latency":
        {"quantile": "0.99", "max": "500ms", "metrics": "prometheus"}});
    let query = json!({"name": "own", "query":
        {"promql": "max(app_fault{ {{ canary.labels }} })", "max": "0"}});
    let told = |source: Value, checks: Vec<&Value>| {
        faults(json!({"sources": [source], "checks": checks})).join("; ")
    };
    assert_eq!(told(scrape(), vec![&errors, &p99]), "");
    assert_eq!(told(stats(), vec![&errors]), "");
    assert!(told(scrape(), vec![&errors, &query]).contains("`errors` and `latency`"));
    assert!(told(stats(), vec![&errors, &p99]).contains("averages"));
    let haproxy = json!({"name": "errors", "errors": {"max": "1%", "metrics": "haproxy",
        "proxies": {"blue": "b", "green": "g"}}});
    assert!(told(stats(), vec![&haproxy]).contains("leave `metrics` out"));
    let mut odd = scrape();
    odd["scrape"]["targets"]["bleu"] = json!(["http://127.0.0.1:8003/metrics"]);
    assert!(told(odd, vec![&errors]).contains("there is no side bleu"));
    let mut odd = stats();
    odd["haproxyStats"]["backends"] = json!({"blue": "b"});
    assert!(told(odd, vec![&errors]).contains("the side green has no backend"));
}

/// A rollout of the rig's, on another source.
fn rollout(rig: &Rig, source: Value, checks: Value) -> Value {
    let mut rollout = rig.rollout("v2", &[(25, "3s"), (100, "3s")]);
    rollout["spec"]["analysis"]["sources"] = json!([source]);
    rollout["spec"]["analysis"]["checks"] = checks;
    rollout
}

#[track_caller]
fn promotes_and_rolls_back(source: impl Fn(&Rig) -> Value, checks: Value) {
    let mut rig = Rig::start();
    rig.stage.kill_prometheus();
    let good = rollout(&rig, source(&rig), checks.clone());
    let mut run = rig.run(&good, &[]);
    rig.ends(&mut run, 0);
    assert!(rig.load.failures().is_empty(), "{:?}", rig.load.failures());

    rig.stage.deploy("blue", "v3");
    let mut bad = rollout(&rig, source(&rig), checks);
    bad["spec"]["revision"] = "v3".into();
    bad["spec"]["steps"] = json!([{"weight": 25, "bake": "20s"}, {"weight": 100, "bake": "3s"}]);
    let shares = rig.stage.follow("blue");
    let mut run = rig.run(&bad, &[]);
    rig.wait_for("blue has a quarter", SOON, || shares.now() == 2_500);
    let begin = Instant::now();
    rig.stage.inject("blue", "error_rate=0.2");
    rig.ends(&mut run, 10);
    let zero = shares.zero_after(begin).expect("the traffic is back").duration_since(begin);
    assert!(zero < Duration::from_secs(8), "{zero:?}");
}

#[test]
fn a_rollout_needs_no_prometheus_where_the_applications_are_read_directly() {
    let source = |rig: &Rig| {
        let targets = rig.stage.pages();
        json!({"name": "main", "scrape": {"targets": targets, "interval": "200ms"}})
    };
    let checks = json!([
        {"name": "errors", "errors": {"max": "1%"}},
        {"name": "p99", "latency": {"quantile": "0.99", "max": "2s"}},
    ]);
    promotes_and_rolls_back(source, checks);
}

#[test]
fn a_rollout_needs_no_metrics_of_the_application_where_haproxy_counts() {
    let source = |rig: &Rig| {
        json!({"name": "main", "haproxyStats": {
            "sockets": [rig.stage.socket()], "interval": "200ms",
            "backends": {"blue": "be_blue", "green": "be_green"},
        }})
    };
    promotes_and_rolls_back(source, json!([{"name": "errors", "errors": {"max": "1%"}}]));
}

#[test]
fn servers_of_one_backend_are_judged_by_what_haproxy_counts_for_each() {
    let mut rig = Rig::start();
    rig.stage.kill_prometheus();
    let source = json!({"name": "main", "haproxyStats": {
        "sockets": [rig.stage.socket()], "interval": "200ms",
        "backends": {"blue": "be_both", "green": "be_both"},
        "servers": {"blue": ["b2", "b3"], "green": ["g2", "g3"]},
    }});
    let checks = json!([{"name": "errors", "errors": {"max": "1%"}}]);
    let mut bad = rollout(&rig, source, checks);
    bad["spec"]["traffic"] = json!([{"name": "edge", "haproxy": rig.stage.server_traffic()}]);
    bad["spec"]["steps"] = json!([{"weight": 25, "bake": "20s"}, {"weight": 100, "bake": "3s"}]);
    let load = Load::start(rig.stage.servers_port, 200);
    let mut run = rig.run(&bad, &[]);
    rig.wait_for_reason(Reason::StepConfirmed, 1);
    rig.stage.inject("green", "error_rate=0.2");
    rig.ends(&mut run, 10);
    let told = rig.haldane(&["explain", "app"]).text;
    assert!(told.contains("a breach: errors was") && told.contains("limit max 1 %"), "{told}");
    drop(load);
}

/// Nothing but a webhook judges, and it needs no source.
fn asking(rig: &Rig, port: u16, steps: &[(u32, &str)]) -> Value {
    let mut rollout = rig.rollout("v2", steps);
    let analysis = &mut rollout["spec"]["analysis"];
    analysis["sources"] = json!([]);
    let url = format!("http://127.0.0.1:{port}/hook?side={{{{ canary }}}}");
    let hook = json!({"url": url, "timeout": "500ms", "attempts": 2});
    analysis["checks"] = json!([{"name": "smoke", "webhook": hook}]);
    rollout
}

/// Answers every request with a status, and keeps what was asked.
#[derive(Clone)]
struct Hook {
    port: u16,
    status: Arc<AtomicU16>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Hook {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let hook = Self { port, status: Arc::new(AtomicU16::new(200)), asked: Arc::default() };
        let own = hook.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = vec![0_u8; 8_192];
                let read = stream.read(&mut request).unwrap_or(0);
                own.asked.lock().unwrap().push(String::from_utf8_lossy(&request[..read]).into());
                let status = own.status.load(Relaxed);
                if status > 0 {
                    let _ = write!(
                        stream,
                        "HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    );
                }
            }
        });
        hook
    }
}

#[test]
fn a_webhook_that_says_no_rolls_back_and_one_that_is_gone_holds() {
    let mut rig = Rig::start();
    rig.stage.kill_prometheus();
    let hook = Hook::start();
    let mut run = rig.run(&asking(&rig, hook.port, &[(25, "4s"), (100, "3s")]), &[]);
    rig.wait_for_share(2_500);
    // Connections are closed without an answer: no answer is no consent, and no refusal either.
    hook.status.store(0, Relaxed);
    rig.holds("25 % stays", Duration::from_secs(6), || rig.stage.green_share() == Some(2_500));
    hook.status.store(204, Relaxed);
    rig.ends(&mut run, 0);
    let asked = hook.asked.lock().unwrap().join("\n");
    for part in [
        "POST /hook?side=green",
        r#""revision":"v2""#,
        r#""attempt":1"#,
        r#""step":1"#,
        r#""weight":25"#,
        r#""rollout":"default/app""#,
    ] {
        assert!(asked.contains(part), "{part} is not in: {asked}");
    }

    rig.stage.deploy("blue", "v3");
    let mut bad = asking(&rig, hook.port, &[(25, "20s"), (100, "3s")]);
    bad["spec"]["revision"] = "v3".into();
    let mut run = rig.run(&bad, &[]);
    rig.wait_for("blue has a quarter", SOON, || rig.stage.green_share() == Some(7_500));
    hook.status.store(409, Relaxed);
    rig.ends(&mut run, 10);
    let told = rig.haldane(&["explain", "app"]).text;
    assert!(told.contains("v3 was rolled back") && told.contains("smoke"), "{told}");
}

/// When something was asked, and up to which moment.
type Asked = Arc<Mutex<Vec<(f64, f64)>>>;

/// A Graphite whose newest point is as old as its window's end.
fn graphite() -> (u16, Asked) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Asked::default();
    let own = asked.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = vec![0_u8; 8_192];
            let read = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let until =
                request.split("until=").nth(1).and_then(|rest| rest.split([' ', '&']).next());
            let until: f64 = until.unwrap().parse().unwrap();
            let now = jiff::Timestamp::now().as_millisecond() as f64 / 1000.0;
            own.lock().unwrap().push((now, until));
            let body = format!(r#"[{{"target": "errors", "datapoints": [[0.0, {until}]]}}]"#);
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
        }
    });
    (port, asked)
}

#[test]
fn a_late_service_is_asked_about_earlier_and_a_step_waits_for_it() {
    let mut rig = Rig::start();
    rig.stage.kill_prometheus();
    let (port, asked) = graphite();
    let url = format!("http://127.0.0.1:{port}");
    let source = json!({"name": "main", "graphite":
        {"url": url, "scrapeInterval": "1s", "delay": "8s"}});
    let check = json!({"name": "errors", "number":
        {"query": "sumSeries(shop.{{ canary }}.errors)", "max": "1"}});
    let mut late = rollout(&rig, source, json!([check]));
    late["spec"]["steps"] = json!([{"weight": 25, "bake": "3s"}, {"weight": 100, "bake": "1s"}]);
    let shares = rig.stage.follow("green");
    let mut run = rig.run(&late, &[]);
    rig.ends(&mut run, 0);
    let changes = shares.changes();
    let at = |share: u32| changes.iter().find(|(_, seen)| *seen == share).unwrap().0;
    let step = at(10_000).duration_since(at(2_500));
    // The bake, and then what it looked like: 3 s and 8 s.
    assert!(step >= Duration::from_secs(10), "{step:?}");
    for (now, until) in asked.lock().unwrap().iter() {
        assert!(now - until >= 8.0, "asked at {now} until {until}");
    }
}

#[test]
fn a_source_of_a_check_is_its_own_and_cannot_be_named() {
    let hook = json!({"name": "smoke", "webhook": {"url": "http://127.0.0.1:1/"}});
    let compiled = |analysis: Value| {
        let mut base = document(analysis);
        base["spec"]["sides"][0]["revisionQuery"] = json!({"promql": "build", "label": "version"});
        let documents = parse(&base.to_string()).unwrap();
        match compile(&documents.rollouts[0], &registries(), &Options::default()) {
            Ok(compiled) => Ok(compiled.plan),
            Err(faults) => {
                Err(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
            }
        }
    };
    let main = json!({"name": "main", "prometheus": {"url": "http://127.0.0.1:2"}});
    let plan = compiled(json!({"sources": [main], "checks": [hook]})).unwrap();
    let sources: Vec<&str> = plan.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(sources, ["main", "smoke (its own)"]);
    // The revision is asked of the one that is written.
    assert!(plan.sides[0].revision_query.as_deref().unwrap().contains(r#""source":"main""#));
    let mut named = hook.clone();
    named["source"] = "main".into();
    let faults = compiled(json!({"sources": [main], "checks": [named]})).unwrap_err();
    assert!(faults.contains("asks whom its own settings name"), "{faults}");
    let faults = compiled(json!({"sources": [], "checks": [hook]})).unwrap_err();
    assert!(faults.contains("there is no metric source to ask"), "{faults}");
    let secret = json!({"name": "smoke", "webhook":
        {"url": "http://127.0.0.1:1/", "bearer": {"file": "/nowhere/token"}}});
    let faults = compiled(json!({"sources": [main], "checks": [secret]})).unwrap_err();
    assert!(faults.contains("/nowhere/token"), "{faults}");
}
