//! What each check asks, in words that Prometheus understands.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::{Counted, Query, counters::Measure};

fn scope() -> TemplateScope {
    let labels = |version: &str| BTreeMap::from([("version".to_owned(), version.to_owned())]);
    TemplateScope {
        namespace: "shop".into(),
        name: "checkout".into(),
        sides: [("blue".into(), labels("v1")), ("green".into(), labels("v2"))],
        arguments: BTreeMap::new(),
    }
}

fn run(kind: &str, settings: &Value, samples: Option<f64>) -> Result<Checked, Vec<SettingsError>> {
    let entry = CHECKS.iter().find(|entry| entry.kind == kind).unwrap();
    (entry.check)(settings, &scope(), samples)
}

#[track_caller]
fn ready(kind: &str, settings: &Value) -> (Question, Value) {
    match run(kind, settings, None) {
        Ok(Checked::Ready { question, rule }) => {
            (serde_json::from_str(&question).unwrap(), serde_json::from_str(&rule).unwrap())
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(kind: &str, settings: &Value, path: &str, words: &str) {
    let errors = run(kind, settings, None).unwrap_err();
    let found = errors.iter().any(|error| {
        error.path == path
            && (error.message.contains(words) || error.help.iter().any(|help| help.contains(words)))
    });
    assert!(found, "{errors:?}");
}

fn text(query: &Query) -> String {
    query.text(Duration::from_secs(30))
}

#[track_caller]
fn asks_ratio(settings: &Value, total: &str, bad: &str) {
    let (question, _) = ready("errors", settings);
    assert!(question.exchange);
    let Ask::Ratio { total: t, bad: b } = &question.sides["green"].ask else { panic!() };
    assert_eq!((text(t).as_str(), text(b).as_str()), (total, bad));
    for query in [t, b] {
        crate::promql::check("", query).unwrap();
    }
}

#[track_caller]
fn asks_value(kind: &str, settings: &Value, value: &str, count: Option<&str>) -> Question {
    let (question, _) = ready(kind, settings);
    let Ask::Value { value: v, count: c } = &question.sides["green"].ask else { panic!() };
    assert_eq!((text(v).as_str(), c.as_ref().map(text).as_deref()), (value, count));
    crate::promql::check("", v).unwrap();
    question
}

#[test]
fn errors_asks_two_counts_of_the_side_on_trial() {
    asks_ratio(
        &json!({"max": "1%", "metrics": "otel"}),
        "sum(increase(http_server_request_duration_seconds_count{version=\"v2\"}[30s]))",
        "sum(increase(http_server_request_duration_seconds_count{version=\"v2\",\
         http_response_status_code=~\"5..\"}[30s]))",
    );
    asks_ratio(
        &json!({"max": "1%", "metrics": "prometheus"}),
        "sum(increase(http_requests_total{version=\"v2\"}[30s]))",
        "sum(increase(http_requests_total{version=\"v2\",code=~\"5..\"}[30s]) or \
         increase(http_requests_total{version=\"v2\",status=~\"5..\"}[30s]))",
    );
    asks_ratio(
        &json!({"max": "1%", "metrics": "haproxy", "proxies": {"blue": "be_b", "green": "be_g"}}),
        "sum(increase(haproxy_backend_http_responses_total{proxy=\"be_g\"}[30s]))",
        "sum(increase(haproxy_backend_http_responses_total{proxy=\"be_g\",code=\"5xx\"}[30s]))",
    );
}

#[test]
fn errors_takes_selectors_and_queries_of_ones_own() {
    asks_ratio(
        &json!({"max": "0.01", "metrics": {"total": "calls_total{job=\"a\"}",
            "bad": "sum(increase(calls_total{ok=\"no\",{{ canary.labels }}}[{{ window }}]))"}}),
        "sum(increase(calls_total{job=\"a\",version=\"v2\"}[30s]))",
        "sum(increase(calls_total{ok=\"no\",version=\"v2\"}[30s]))",
    );
    let blind =
        json!({"max": "1%", "metrics": {"total": "sum(increase(a_total[5m]))", "bad": "b"}});
    refused("errors", &blind, "/metrics/total", "does not say which side");
    let odd =
        json!({"max": "1%", "metrics": {"total": "sum(x{ {{ canary.labels }} }", "bad": "b"}});
    refused("errors", &odd, "/metrics/total", "is no PromQL");
    let mut unparsed = odd;
    unparsed["validate"] = json!(false);
    ready("errors", &unparsed);
}

#[test]
fn both_assignments_of_the_roles_are_pinned() {
    let (question, rule) = ready("errors", &json!({"max": "1%", "metrics": "otel"}));
    let Ask::Ratio { total, .. } = &question.sides["blue"].ask else { panic!() };
    assert!(text(total).contains("version=\"v1\""));
    assert_eq!(rule, json!({"min": null, "max": 0.01, "unit": "%", "minSamples": null}));
}

#[test]
fn what_errors_cannot_use_is_refused_with_the_remedy() {
    refused("errors", &json!({"max": "2", "metrics": "otel"}), "/max", "\"2\"");
    refused("errors", &json!({"max": "1%", "metrics": "statsd"}), "/metrics", "otel, prometheus");
    refused("errors", &json!({"max": "1%", "metrics": "haproxy"}), "/proxies", "proxies:");
    let same = json!({"max": "1%", "metrics": "haproxy", "proxies": {"blue": "b", "green": "b"}});
    refused("errors", &same, "/proxies", "both sides have the backend b");
    refused("errors", &json!({"max": "1%", "maxx": "1"}), "/maxx", "unknown field");
}

#[test]
fn unset_metrics_are_looked_up_and_written_into_the_settings() {
    let settings = json!({"max": "1%"});
    assert_eq!(run("errors", &settings, None), Ok(Checked::NeedsShape(ShapeKind::Errors)));
    let pinned = pin_shape(&settings, Shape::Otel);
    assert_eq!(pinned, json!({"max": "1%", "metrics": "otel"}));
    ready("errors", &pinned);
    let latency = json!({"quantile": "0.9", "max": "1s"});
    assert_eq!(run("latency", &latency, None), Ok(Checked::NeedsShape(ShapeKind::Latency)));
}

#[test]
fn latency_asks_a_quantile_and_a_count() {
    let question = asks_value(
        "latency",
        &json!({"quantile": "0.99", "max": "500ms", "metrics": "prometheus"}),
        "histogram_quantile(0.99, sum by (le) \
         (rate(http_request_duration_seconds_bucket{version=\"v2\"}[30s])))",
        Some("sum(increase(http_request_duration_seconds_count{version=\"v2\"}[30s]))"),
    );
    assert!(question.exchange);
    asks_value(
        "latency",
        &json!({"quantile": "0.5", "max": "1s", "metrics":
            {"bucket": "pay_bucket{route=\"/\"}", "count": "pay_count{ {{ canary.labels }} }"}}),
        "histogram_quantile(0.5, sum by (le) (rate(pay_bucket{route=\"/\",version=\"v2\"}[30s])))",
        Some("sum(increase(pay_count{ version=\"v2\" }[30s]))"),
    );
    let (_, rule) =
        ready("latency", &json!({"quantile": "0.99", "max": "500ms", "metrics": "otel"}));
    assert_eq!(rule, json!({"min": null, "max": 0.5, "unit": "s", "minSamples": null}));
}

#[test]
fn what_latency_cannot_use_is_refused_with_the_remedy() {
    let haproxy = json!({"quantile": "0.99", "max": "1s", "metrics": "haproxy"});
    refused("latency", &haproxy, "/metrics", "no histogram");
    refused("latency", &haproxy, "/metrics", "the check `query`");
    refused("latency", &json!({"quantile": "99", "max": "1s"}), "/quantile", "\"99\"");
    refused("latency", &json!({"quantile": "0.99", "max": "1d"}), "/max", "\"1d\"");
}

#[test]
fn a_query_is_asked_with_exchanged_roles_only_if_it_names_the_canary() {
    let named = json!({"promql": "sum(queue{ {{ canary.labels }} })", "max": "100"});
    assert!(asks_value("query", &named, "sum(queue{ version=\"v2\" })", None).exchange);
    let blind = json!({"promql": "sum(queue)", "max": "100"});
    assert!(!asks_value("query", &blind, "sum(queue)", None).exchange);
    let relative = json!({"promql": "sum(q{ {{ stable.labels }} })", "max": "100"});
    assert!(!asks_value("query", &relative, "sum(q{ version=\"v1\" })", None).exchange);
}

#[test]
fn a_query_has_limits_in_its_unit() {
    let rule = |settings: Value| ready("query", &settings).1;
    assert_eq!(
        rule(json!({"promql": "a", "min": "99.9%", "unit": "%"})),
        json!({"min": 0.999, "max": null, "unit": "%", "minSamples": null})
    );
    assert_eq!(
        rule(json!({"promql": "a", "max": "1m", "unit": "s"})),
        json!({"min": null, "max": 60.0, "unit": "s", "minSamples": null})
    );
    refused("query", &json!({"promql": "a"}), "/max", "neither min nor max");
    refused("query", &json!({"promql": "a", "min": "2", "max": "1"}), "/min", "above max");
    refused("query", &json!({"promql": "a", "max": "inf"}), "/max", "\"inf\"");
    refused("query", &json!({"promql": "a[5m]", "max": "1"}), "/promql", "range of samples");
    refused("query", &json!({"promql": "a{b=\"{{ c }}\"}", "max": "1"}), "/promql", "`c`");
}

#[test]
fn a_query_of_a_newer_dialect_can_be_sent_as_it_is() {
    let odd = json!({"promql": "keep_last_value(a)[[", "max": "1"});
    refused("query", &odd, "/promql", "is no PromQL");
    for (field, value) in [("dialect", json!("lax")), ("validate", json!(false))] {
        let mut settings = odd.clone();
        settings[field] = value;
        ready("query", &settings);
    }
}

#[test]
fn min_samples_needs_a_count() {
    let mut settings = json!({"promql": "a", "max": "1"});
    let errors = run("query", &settings, Some(50.0)).unwrap_err();
    assert_eq!(errors[0].path, "/count");
    settings["count"] = json!("sum(b)");
    let Ok(Checked::Ready { rule, .. }) = run("query", &settings, Some(50.0)) else { panic!() };
    assert!(rule.contains("\"minSamples\":50.0"));
}

#[test]
fn every_kind_has_a_schema() {
    for entry in CHECKS {
        let schema = serde_json::to_value((entry.schema)()).unwrap();
        assert_eq!(schema["additionalProperties"], json!(false), "{}", entry.kind);
    }
}

#[track_caller]
fn counts(kind: &str, settings: &Value, scope: &TemplateScope, side: &str) -> (Counted, Value) {
    let entry = CHECKS.iter().find(|entry| entry.kind == kind).unwrap();
    let Ok(Checked::Ready { question, rule }) = (entry.check)(settings, scope, None) else {
        panic!("{:?}", (entry.check)(settings, scope, None))
    };
    let question: Question = serde_json::from_str(&question).unwrap();
    assert!(question.exchange);
    let Ask::Counted(counted) = question.sides[side].ask.clone() else { panic!("{question:?}") };
    assert!(crate::promql::is_selector(&counted.select), "{}", counted.select);
    (counted, serde_json::from_str(&rule).unwrap())
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

#[test]
fn without_a_limit_one_selector_finds_both_sides() {
    let settings = json!({"metrics": "prometheus"});
    let (blue, _) = counts("errors", &settings, &scope(), "blue");
    let (green, rule) = counts("errors", &settings, &scope(), "green");
    assert_eq!(green.select, "{__name__=~\"http_requests_total|up\",version=~\"v1|v2\"}");
    assert_eq!(blue.select, green.select);
    assert_eq!((blue.only["version"].as_str(), green.only["version"].as_str()), ("v1", "v2"));
    let Measure::Classes { bad } = &green.measure else { panic!() };
    let failed =
        |name: &str, value: &str| bad.iter().any(|class| class.holds(&labels(&[(name, value)])));
    assert!(failed("code", "503") && failed("status", "500"));
    assert!(!failed("code", "404") && !failed("code", "5") && !failed("grpc_code", "500"));
    assert_eq!(rule, json!({"compare": {"kind": "errors"}}));
    let (latency, rule) = counts("latency", &json!({"metrics": "otel"}), &scope(), "green");
    assert_eq!(
        latency.select,
        "{__name__=~\"http_server_request_duration_seconds_bucket|up\",version=~\"v1|v2\"}"
    );
    let Measure::Histogram { except } = &latency.measure else { panic!() };
    assert!(except[0].holds(&labels(&[("http_response_status_code", "500")])));
    assert_eq!(rule, json!({"compare": {"kind": "latency"}}));
}

#[test]
fn a_label_is_matched_to_the_letter_and_other_names_cost_a_second_request() {
    let mut scope = scope();
    scope.sides[0].1 = labels(&[("v", "1.0|x"), ("app", "a")]);
    scope.sides[1].1 = labels(&[("v", "2\"+"), ("app", "a")]);
    let settings = json!({"metrics": {"total": "a_total", "bad": "b_total{x=\"y\"}"}});
    let (green, _) = counts("errors", &settings, &scope, "green");
    assert_eq!(green.select, "a_total{app=\"a\",v=~\"1\\\\.0\\\\|x|2\\\"\\\\+\"}");
    assert!(green.bad.unwrap().starts_with("b_total{x=\"y\",app=\"a\",v=~"));
    assert_eq!(green.measure, Measure::Apart);
    scope.sides[0].1 = labels(&[("track", "stable")]);
    let (green, _) = counts("errors", &settings, &scope, "green");
    let (blue, _) = counts("errors", &settings, &scope, "blue");
    assert_eq!(blue.select, "a_total{track=\"stable\"}");
    assert_eq!(green.select, "a_total{app=\"a\",v=\"2\\\"+\"}");
}

#[test]
fn metrics_of_proxies_and_meshes_have_labels_of_their_own() {
    let check = |kind: &str, settings: Value, select: &str| {
        let mut scope = scope();
        scope.sides[0].1.insert("envoy_cluster_name".into(), "shop".into());
        scope.sides[1].1.insert("envoy_cluster_name".into(), "shop-canary".into());
        let (counted, _) = counts(kind, &settings, &scope, "green");
        assert_eq!(counted.select, select);
        counted
    };
    check(
        "errors",
        json!({"metrics": "istio"}),
        "istio_requests_total{destination_version=~\"v1|v2\",\
         envoy_cluster_name=~\"shop|shop-canary\",reporter=\"destination\"}",
    );
    let envoy = check(
        "latency",
        json!({"metrics": "envoy"}),
        "envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=~\"shop|shop-canary\"}",
    );
    assert_eq!(
        (envoy.only, envoy.per_second),
        (labels(&[("envoy_cluster_name", "shop-canary")]), 1000)
    );
    let proxies = |blue: &str, green: &str| json!({"blue": blue, "green": green});
    check(
        "errors",
        json!({"metrics": "haproxy", "proxies": proxies("be_b", "be_g")}),
        "haproxy_backend_http_responses_total{proxy=~\"be_b|be_g\"}",
    );
    check(
        "errors",
        json!({"metrics": "haproxyServer", "proxies": proxies("s1", "s2")}),
        "haproxy_server_http_responses_total{server=~\"s1|s2\"}",
    );
    // The stable side of ingress-nginx is the one without a canary.
    let nginx = check(
        "errors",
        json!({"metrics": "nginx", "proxies": proxies("", "shop-canary-80")}),
        "nginx_ingress_controller_requests{canary=~\"|shop-canary-80\"}",
    );
    let Measure::Classes { bad } = nginx.measure else { panic!() };
    assert!(bad[0].holds(&labels(&[("status", "502")])));
    for metrics in ["otelGrpc", "grpc"] {
        for kind in ["errors", "latency"] {
            counts(kind, &json!({"metrics": metrics}), &scope(), "blue");
        }
    }
    let mut relabelled = scope();
    relabelled.sides[0].1.insert("reporter".into(), "source".into());
    relabelled.sides[1].1.insert("reporter".into(), "source".into());
    let (source, _) = counts("errors", &json!({"metrics": "istio"}), &relabelled, "green");
    assert!(source.select.contains("reporter=\"source\""), "{}", source.select);
}

#[test]
fn limits_may_be_set_on_every_known_metric() {
    for metrics in ["otelGrpc", "grpc", "istio", "nginx", "envoy"] {
        let proxies = json!({"blue": "b", "green": "g"});
        let settings = json!({"max": "1%", "metrics": metrics, "proxies": proxies});
        ready("errors", &settings);
        let settings =
            json!({"quantile": "0.9", "max": "1s", "metrics": metrics, "proxies": proxies});
        let (question, _) = ready("latency", &settings);
        let Ask::Value { value, .. } = &question.sides["green"].ask else { panic!() };
        crate::promql::check("", value).unwrap();
        let millis = matches!(metrics, "otelGrpc" | "istio" | "envoy");
        assert_eq!(text(value).ends_with("]))) / 1000"), millis, "{}", text(value));
    }
}

#[test]
fn a_comparison_says_what_was_set_and_nothing_else() {
    let settings = json!({"metrics": "otel", "weight": "50%",
        "tolerance": {"relative": "10%", "absolute": "0.02%"},
        "margin": {"relative": "200%", "harm": "0.2%"},
        "minStep": "90s", "minWindows": 4, "warmUp": "30s", "slo": "99%"});
    let (counted, rule) = counts("errors", &settings, &scope(), "green");
    assert_eq!(counted.warm_up_secs, 30);
    let rule = &rule["compare"];
    assert_eq!(rule["tolerance"], json!({"relative": 0.1, "absolute": 0.0002}));
    assert_eq!(rule["margin"], json!({"relative": 2.0, "harm": 0.002}));
    assert_eq!((&rule["alpha"], &rule["weight"]), (&Value::Null, &json!(0.5)));
    assert_eq!((&rule["minStepSeconds"], &rule["minWindows"]), (&json!(90.0), &json!(4)));
    assert!((rule["slo"].as_f64().unwrap() - 0.01).abs() < 1e-12);
    let slo = json!({"metrics": "otel", "slo": {"share": "99%", "within": "500ms"}});
    let (_, rule) = counts("latency", &slo, &scope(), "green");
    assert_eq!(rule["compare"]["bound"], json!(0.5));
    let Ok(Checked::Ready { rule, .. }) = run("errors", &json!({"metrics": "otel"}), Some(50.0))
    else {
        panic!()
    };
    assert!(rule.contains("\"minSamples\":50.0"), "{rule}");
}

#[test]
fn what_a_comparison_cannot_use_is_refused_with_the_remedy() {
    let refused = |kind: &str, settings: Value, path: &str, words: &str| {
        refused(kind, &settings, path, words);
    };
    refused("errors", json!({"max": "1%", "weight": "1%"}), "/weight", "`max` is set");
    refused("errors", json!({"weight": "2"}), "/weight", "\"2\" is no share");
    refused("errors", json!({"tolerance": {"relative": "-1%"}}), "/tolerance/relative", "\"10%\"");
    refused("errors", json!({"margin": {"relative": "5%"}}), "/margin/relative", "exceeds");
    refused("latency", json!({"margin": {"harm": "0.1%"}}), "/margin/harm", "(0.5%)");
    refused("errors", json!({"minWindows": 0}), "/minWindows", "at least 1");
    refused("errors", json!({"warmUp": "10m"}), "/warmUp", "up to 5m");
    refused("errors", json!({"slo": "100%"}), "/slo", "\"99.9%\"");
    refused("latency", json!({"quantile": "0.9"}), "/quantile", "set max");
    refused("latency", json!({"max": "1s"}), "/quantile", "99th percentile");
    refused("latency", json!({"metrics": "haproxy"}), "/metrics", "no histogram");
    refused("latency", json!({"metrics": {"count": "a_count"}}), "/metrics", "bucket or histogram");
    refused("errors", json!({"metrics": "envoy"}), "/proxies", "the cluster of the side blue");
    refused("errors", json!({"metrics": "nginx"}), "/metrics", "has no labels");
    let both = json!({"metrics": "haproxy", "proxies": {"blue": "b", "green": "b"}});
    refused("errors", both, "/proxies", "both sides have the backend b");
    let stranger = json!({"metrics": "haproxy", "proxies": {"red": "b"}});
    refused("errors", stranger, "/proxies", "there is no side red");
    let query = json!({"metrics": {"total": "sum(a)", "bad": "b"}});
    refused("errors", query, "/metrics/total", "is no selector");
    let alike = json!({"metrics": {"total": "a{x=\"{{ canary | length }}\"}", "bad": "b"}});
    let mut scope = scope();
    scope.sides[0].0 = "blues".into();
    let errors = (errors::ENTRY.check)(&alike, &scope, None).unwrap_err();
    assert!(errors[0].message.contains("the same series for both sides"), "{errors:?}");
    let mut scope = self::scope();
    scope.sides[1].1 = labels(&[("version", "v1"), ("app", "a")]);
    let errors = (errors::ENTRY.check)(&json!({"metrics": "otel"}), &scope, None).unwrap_err();
    assert!(errors[0].message.contains("match the same series"), "{errors:?}");
}

// === burn, gauge, score ===

#[test]
fn burning_asks_for_the_counters_that_a_comparison_of_errors_asks_for() {
    let (burn, rule) = ready("burn", &json!({"slo": "99.9%", "metrics": "otel"}));
    let (errors, _) = ready("errors", &json!({"metrics": "otel"}));
    assert_eq!(burn.sides["green"].ask, errors.sides["green"].ask);
    assert!((rule["burn"]["slo"].as_f64().unwrap() - 0.001).abs() < 1e-12);
    assert_eq!(rule["burn"].as_object().unwrap().len(), 1, "the judge has the defaults");
    let settings = json!({"slo": "99%", "metrics": "otel", "budget": "0.2%", "warmUp": "30s",
        "windows": [{"long": "10m", "rate": "6"}, {"long": "1h", "short": "2m", "rate": "3", "action": "Hold"}]});
    let (question, rule) = ready("burn", &settings);
    let lines = json!([
        {"longSeconds": 600, "shortSeconds": 50, "rate": 6.0, "action": "rollBack"},
        {"longSeconds": 3600, "shortSeconds": 120, "rate": 3.0, "action": "hold"},
    ]);
    assert_eq!(rule["burn"]["lines"], lines);
    assert_eq!(rule["burn"]["budget"], json!(0.002));
    let Ask::Counted(counted) = &question.sides["green"].ask else { panic!() };
    assert_eq!(counted.warm_up_secs, 30);
    assert!(matches!(run("burn", &json!({"slo": "99%"}), None), Ok(Checked::NeedsShape(_))));
}

#[test]
fn a_gauge_asks_for_raw_samples_of_both_sides() {
    let (question, rule) = ready("gauge", &json!({"metric": "process_resident_memory_bytes"}));
    let Ask::Counted(counted) = &question.sides["green"].ask else { panic!() };
    assert_eq!(counted.select, "process_resident_memory_bytes{version=~\"v1|v2\"}");
    assert_eq!(counted.measure, Measure::Gauge { rate: false, sum: false });
    assert_eq!(rule, json!({"gauge": {"worse": "higher", "critical": false}}));
    let settings = json!({"metric": "busy{job=\"a\"}", "worse": "Lower", "read": "Rate", "series": "Sum",
        "tolerance": "25%", "blocks": 12, "block": 6, "alpha": "5%", "critical": true, "warmUp": "2m"});
    let (question, rule) = ready("gauge", &settings);
    let Ask::Counted(counted) = &question.sides["blue"].ask else { panic!() };
    assert_eq!(counted.measure, Measure::Gauge { rate: true, sum: true });
    assert_eq!((counted.warm_up_secs, &*counted.only["version"]), (120, "v1"));
    let set = json!({"worse": "lower", "tolerance": 0.25, "blocks": 12, "block": 6, "alpha": 0.05, "critical": true});
    assert_eq!(rule["gauge"], set);
}

#[test]
fn a_score_asks_for_all_its_metrics_at_once() {
    let settings = json!({"weights": {"load": 40}, "metrics": [
        {"name": "cpu", "metric": "cpu_total", "read": "Rate", "groups": ["load"]},
        {"name": "bad", "metric": "calls_total", "labels": {"code": "500"}, "critical": true,
         "nanStrategy": "Replace", "effectSize": {"measure": "Cles", "allowedIncrease": "0.6"}},
    ]});
    let (question, rule) = ready("score", &settings);
    let Ask::Counted(counted) = &question.sides["green"].ask else { panic!() };
    assert_eq!(counted.select, "{__name__=~\"calls_total|cpu_total\",version=~\"v1|v2\"}");
    let Measure::Gauges { metrics } = &counted.measure else { panic!() };
    assert_eq!(metrics[1].labels, labels(&[("code", "500")]));
    assert!(metrics[0].rate && !metrics[1].rate);
    let plain = json!({"name": "cpu", "groups": ["load"], "direction": "either", "critical": false,
        "mustHaveData": false, "nanStrategy": "remove", "outliers": "keep"});
    assert_eq!(rule["score"]["metrics"][0], plain);
    let effect = json!({"measure": "cles", "allowedIncrease": 0.6});
    assert_eq!(rule["score"]["metrics"][1]["effectSize"], effect);
    assert_eq!(
        (&rule["score"]["points"], &rule["score"]["weights"]),
        (&json!(50), &json!({"load": 40}))
    );
}

#[test]
fn what_burn_gauge_and_score_cannot_use_is_refused_with_the_remedy() {
    let refused = |kind: &str, settings: Value, path: &str, words: &str| {
        refused(kind, &settings, path, words);
    };
    refused("burn", json!({}), "", "slo: \"99.9%\"");
    refused("burn", json!({"slo": "0%"}), "/slo", "\"99.9%\"");
    refused("burn", json!({"slo": "99%", "budget": "100%"}), "/budget", "between 0% and 100%");
    let window = |window: Value| json!({"slo": "99%", "metrics": "otel", "windows": [window]});
    refused(
        "burn",
        window(json!({"long": "2h", "rate": "2"})),
        "/windows/0/long",
        "from 1s to 3600s",
    );
    refused(
        "burn",
        window(json!({"long": "5m", "short": "6m", "rate": "2"})),
        "/windows/0/short",
        "from 1s to 300s",
    );
    refused("burn", window(json!({"long": "5m", "rate": "101"})), "/windows/0/rate", "up to 100.0");
    refused("gauge", json!({"metric": "sum(a)"}), "/metric", "is no selector");
    refused("gauge", json!({"metric": "a", "alpha": "60%"}), "/alpha", "up to 50%");
    refused("gauge", json!({"metric": "a", "alpha": "0"}), "/alpha", "between 0% and 100%");
    refused("gauge", json!({"metric": "a", "blocks": 3}), "/blocks", "between 5 and 50");
    refused("gauge", json!({"metric": "a", "tolerance": "-1%"}), "/tolerance", "from 0% on");
    let one = |fields: Value| {
        let mut metric = json!({"name": "a", "metric": "a"});
        metric.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({"metrics": [metric]})
    };
    refused("score", json!({}), "", "name what is compared");
    refused("score", json!({"metrics": []}), "/metrics", "1 to 16");
    refused("score", one(json!({"metric": "a{b=\"c\"}"})), "/metrics/0/metric", "under `labels`");
    refused("score", one(json!({"outlierFactor": "no"})), "/metrics/0/outlierFactor", "\"1.2\"");
    let twice = json!({"metrics": [{"name": "a", "metric": "a"}, {"name": "a", "metric": "b"}]});
    refused("score", twice, "/metrics/1/name", "there twice");
    let pass = json!({"pass": 40, "metrics": [{"name": "a", "metric": "a"}]});
    refused("score", pass, "/marginal", "above pass 40");
    let weights = json!({"weights": {"b": 10}, "metrics": [{"name": "a", "metric": "a"}]});
    refused("score", weights, "/weights", "no metric is in the group b");
    refused("gauge", json!({}), "", "metric: process_resident_memory_bytes");
    for (kind, settings) in [
        ("burn", json!({"slo": "99%", "metrics": "otel"})),
        ("gauge", json!({"metric": "a"})),
        ("score", json!({"metrics": [{"name": "a", "metric": "a"}]})),
    ] {
        let errors = run(kind, &settings, Some(50.0)).unwrap_err();
        assert!(errors[0].message.contains("minSamples has no meaning"), "{errors:?}");
    }
}
