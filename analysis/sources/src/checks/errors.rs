//! `errors`: the share of requests that failed.
//!
//! Asks for two counts and never divides: a side without any error series has no errors, a side
//! without requests is silent. The judge knows the difference.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{CheckEntry, Checked, Rule, shape::PROXY, shape::ShapeKind};
use crate::{
    Query, SettingsError, TemplateScope, promql,
    question::Ask,
    settings::{self, Unit},
    templates::{Role, Template},
};

pub(super) const ENTRY: CheckEntry =
    CheckEntry { kind: "errors", schema: || schemars::schema_for!(Written), check };

/// The share of requests that failed must stay below a limit.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    /// The largest share that may fail: `"1%"` or `"0.01"`.
    max: String,
    /// Which metrics the application has; unset, they are looked up in the source.
    #[serde(default)]
    metrics: Option<Metrics>,
    /// With `metrics: haproxy`: the backend of each side, by its name; unset, the sides' label
    /// `proxy`.
    #[serde(default)]
    proxies: BTreeMap<String, String>,
    /// Whether PromQL of one's own is parsed at load.
    #[serde(default = "yes")]
    validate: bool,
}

/// Which metrics the application has.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Metrics {
    /// A usual shape.
    Usual(Usual),
    /// Two counters of one's own.
    Own(Own),
}

/// A usual shape.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Usual {
    /// `http_server_request_duration_seconds_count` with `http_response_status_code`.
    Otel,
    /// `http_requests_total` with `code` or `status`.
    Prometheus,
    /// `haproxy_backend_http_responses_total` with `proxy` and `code`.
    Haproxy,
}

/// Two counters of one's own: each a selector, or a query that names `canary`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Own {
    /// All requests.
    total: String,
    /// The failed ones.
    bad: String,
}

fn yes() -> bool {
    true
}

fn check(
    settings: &Value,
    scope: &TemplateScope,
    min_samples: Option<f64>,
) -> Result<Checked, Vec<SettingsError>> {
    let written: Written = settings::read(settings).map_err(|error| vec![explain(error)])?;
    let max = settings::limit("/max", &written.max, Unit::Ratio).map_err(|error| vec![error])?;
    let rule = Rule { max: Some(max), unit: "%", min_samples, ..Rule::default() };
    let Some(metrics) = &written.metrics else {
        return Ok(Checked::NeedsShape(ShapeKind::Errors));
    };
    Checked::ready(scope, true, rule, |role| match metrics {
        Metrics::Usual(usual) => usual_counts(*usual, &written, scope, role),
        Metrics::Own(own) => Ok(Ask::Ratio {
            total: counted("/metrics/total", &own.total, written.validate, scope, role)?,
            bad: counted("/metrics/bad", &own.bad, written.validate, scope, role)?,
        }),
    })
}

fn explain(mut error: SettingsError) -> SettingsError {
    if error.message.contains("missing field `max`") {
        error.help = Some("write the largest share that may fail, such as max: \"1%\"".to_owned());
    }
    if error.path == "/metrics" {
        error.help = Some("write otel, prometheus, haproxy, or {total: …, bad: …}".to_owned());
    }
    error
}

fn usual_counts(
    usual: Usual,
    written: &Written,
    scope: &TemplateScope,
    role: Role,
) -> Result<Ask, SettingsError> {
    let (metric, matchers, bad) = match usual {
        Usual::Otel => (
            "http_server_request_duration_seconds_count",
            labels_of(scope, role)?,
            &["http_response_status_code=~\"5..\""][..],
        ),
        Usual::Prometheus => (
            "http_requests_total",
            labels_of(scope, role)?,
            &["code=~\"5..\"", "status=~\"5..\""][..],
        ),
        Usual::Haproxy => (
            "haproxy_backend_http_responses_total",
            proxy_of(written, scope, role)?,
            &["code=\"5xx\""][..],
        ),
    };
    let bad: Vec<Vec<String>> = bad
        .iter()
        .map(|bad| vec![format!("increase({metric}{{{matchers},{bad}}}["), "])".to_owned()])
        .collect();
    let total = increase(&format!("{metric}{{{matchers}}}"));
    Ok(Ask::Ratio { total, bad: summed(&bad) })
}

/// Adds up what any of the queries finds; series that several find count once.
fn summed(queries: &[Vec<String>]) -> Query {
    let mut pieces = vec!["sum(".to_owned()];
    for (at, query) in queries.iter().enumerate() {
        let between = if at == 0 { "" } else { " or " };
        append(&mut pieces, vec![between.to_owned()]);
        append(&mut pieces, query.clone());
    }
    append(&mut pieces, vec![")".to_owned()]);
    Query(pieces)
}

/// Puts pieces behind pieces: the seam is one text.
fn append(pieces: &mut Vec<String>, more: Vec<String>) {
    let mut more = more.into_iter();
    if let (Some(last), Some(first)) = (pieces.last_mut(), more.next()) {
        last.push_str(&first);
    }
    pieces.extend(more);
}

/// The matchers of the side on trial.
pub(super) fn labels_of(scope: &TemplateScope, role: Role) -> Result<String, SettingsError> {
    let query = Template::read("", "{{ canary.labels }}", scope)?.resolve(scope, role)?;
    Ok(query.0.concat())
}

fn proxy_of(written: &Written, scope: &TemplateScope, role: Role) -> Result<String, SettingsError> {
    let help = "give each side a label `proxy`, or write proxies: {blue: be_blue, green: be_green}";
    let refuse = |message| Err(SettingsError::new("/proxies", message, help));
    let of = |(side, labels): &(String, BTreeMap<String, String>)| {
        written.proxies.get(side).or_else(|| labels.get(PROXY)).cloned()
    };
    let [first, second] = &scope.sides;
    let (test, serving) = match role {
        Role::FirstIsCanary => (first, second),
        Role::SecondIsCanary => (second, first),
    };
    let Some(proxy) = of(test) else {
        return refuse(format!("the backend of the side {} is not known", test.0));
    };
    if of(serving).as_ref() == Some(&proxy) {
        return refuse(format!("both sides have the backend {proxy}"));
    }
    Ok(promql::matchers(&BTreeMap::from([(PROXY.to_owned(), proxy)])))
}

/// A count of one's own: a selector is narrowed to the side and counted, a query is as it is.
pub(super) fn counted(
    path: &str,
    text: &str,
    validate: bool,
    scope: &TemplateScope,
    role: Role,
) -> Result<Query, SettingsError> {
    let template = Template::read(path, text, scope)?;
    let query = template.resolve(scope, role)?;
    let selector = match query.0.as_slice() {
        [only] if promql::is_selector(only) => Some(only.clone()),
        _ => None,
    };
    let query = match selector {
        Some(selector) if template.names_canary() => increase(&selector),
        Some(selector) => increase(&promql::narrow(&selector, &labels_of(scope, role)?)),
        None if template.names_canary() => query,
        None => {
            let message = format!("`{text}` does not say which side it counts");
            let help = "put {{ canary.labels }} into its selectors";
            return Err(SettingsError::new(path, message, help));
        }
    };
    if validate {
        promql::check(path, &query)?;
    }
    Ok(query)
}

fn increase(selector: &str) -> Query {
    Query(vec![format!("sum(increase({selector}["), "]))".to_owned()])
}
