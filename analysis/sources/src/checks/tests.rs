//! What each check asks, in words that Prometheus understands.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::Query;

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
    refused("errors", &json!({"metrics": "otel"}), "", "max: \"1%\"");
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
