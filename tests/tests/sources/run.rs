//! Files that name these sources, and whole rollouts without any Prometheus.

use std::time::{Duration, Instant};

use haldane_plan::{Options, compile, parse, registries};
use haldane_tests::rig::{Rig, SOON};
use serde_json::{Value, json};

/// What is wrong with a rollout that has this analysis.
fn faults(analysis: Value) -> Vec<String> {
    let sides = ["blue", "green"].map(|side| json!({"name": side, "labels": {"side": side}}));
    let rollout = json!({
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
    });
    let documents = parse(&rollout.to_string()).unwrap();
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
