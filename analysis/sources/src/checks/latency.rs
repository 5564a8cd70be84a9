//! `latency`: a quantile of the response times, from a classic histogram.
//!
//! Without observations the quantile is NaN, which is silence and not a pass.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{CheckEntry, Checked, Rule, errors::labels_of, shape::ShapeKind};
use crate::{
    Query, SettingsError, TemplateScope, promql,
    question::Ask,
    settings::{self, Unit},
    templates::{Role, Template},
};

pub(super) const ENTRY: CheckEntry =
    CheckEntry { kind: "latency", schema: || schemars::schema_for!(Written), check };

/// A quantile of the response times must stay below a limit.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    /// Which quantile: `"0.99"`, between 0 and 1.
    quantile: String,
    /// The longest time that it may take: `500ms`.
    max: String,
    /// Which metrics the application has; unset, they are looked up in the source.
    #[serde(default)]
    metrics: Option<Metrics>,
}

/// Which metrics the application has.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Metrics {
    /// A usual shape.
    Usual(Usual),
    /// A histogram of one's own.
    Own(Own),
}

/// A usual shape.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Usual {
    /// `http_server_request_duration_seconds_bucket`.
    Otel,
    /// `http_request_duration_seconds_bucket`.
    Prometheus,
    /// Refused: HAProxy's exporter has no histogram.
    #[schemars(skip)]
    Haproxy,
}

/// A classic histogram of one's own, in seconds; both are selectors.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Own {
    /// Its buckets, such as `checkout_seconds_bucket{route="/pay"}`.
    bucket: String,
    /// Its count, such as `checkout_seconds_count{route="/pay"}`.
    count: String,
}

fn check(
    settings: &Value,
    scope: &TemplateScope,
    min_samples: Option<f64>,
) -> Result<Checked, Vec<SettingsError>> {
    let written: Written = settings::read(settings).map_err(|error| vec![explain(error)])?;
    let quantile = quantile(&written.quantile).map_err(|error| vec![error])?;
    let max = settings::limit("/max", &written.max, Unit::Seconds).map_err(|error| vec![error])?;
    let rule = Rule { max: Some(max), unit: "s", min_samples, ..Rule::default() };
    let Some(metrics) = &written.metrics else {
        return Ok(Checked::NeedsShape(ShapeKind::Latency));
    };
    Checked::ready(scope, true, rule, |role| {
        let (bucket, count) = selectors(metrics, scope, role)?;
        let value = vec![
            format!("histogram_quantile({quantile}, sum by (le) (rate({bucket}["),
            "])))".to_owned(),
        ];
        let count = vec![format!("sum(increase({count}["), "]))".to_owned()];
        let ask = Ask::Value { value: Query(value), count: Some(Query(count)) };
        if let (Metrics::Own(_), Ask::Value { value, .. }) = (metrics, &ask) {
            promql::check("/metrics/bucket", value)?;
        }
        Ok(ask)
    })
}

fn explain(mut error: SettingsError) -> SettingsError {
    if error.path == "/metrics" {
        error.help = Some("write otel, prometheus, or {bucket: …, count: …}".to_owned());
    }
    error
}

fn quantile(text: &str) -> Result<f64, SettingsError> {
    let inside = |value: &f64| *value > 0.0 && *value < 1.0;
    settings::number(text).filter(inside).ok_or_else(|| {
        let message = format!("{text:?} is no quantile between 0 and 1");
        SettingsError::new("/quantile", message, "write \"0.99\" for the 99th percentile")
    })
}

fn selectors(
    metrics: &Metrics,
    scope: &TemplateScope,
    role: Role,
) -> Result<(String, String), SettingsError> {
    let usual = |metric: &str| {
        let labels = labels_of(scope, role)?;
        Ok((format!("{metric}_bucket{{{labels}}}"), format!("{metric}_count{{{labels}}}")))
    };
    match metrics {
        Metrics::Usual(Usual::Otel) => usual("http_server_request_duration_seconds"),
        Metrics::Usual(Usual::Prometheus) => usual("http_request_duration_seconds"),
        Metrics::Usual(Usual::Haproxy) => {
            let message = "HAProxy's exporter has averages only, and no histogram for a quantile";
            let help = "use the application's own metrics, or the check `query`";
            Err(SettingsError::new("/metrics", message, help))
        }
        Metrics::Own(own) => Ok((
            selector("/metrics/bucket", &own.bucket, scope, role)?,
            selector("/metrics/count", &own.count, scope, role)?,
        )),
    }
}

/// A selector of one's own, narrowed to the side unless it names it itself.
fn selector(
    path: &str,
    text: &str,
    scope: &TemplateScope,
    role: Role,
) -> Result<String, SettingsError> {
    let template = Template::read(path, text, scope)?;
    match template.resolve(scope, role)?.0.as_slice() {
        [only] if promql::is_selector(only) && template.names_canary() => Ok(only.clone()),
        [only] if promql::is_selector(only) => Ok(promql::narrow(only, &labels_of(scope, role)?)),
        _ => {
            let message = format!("`{text}` is no selector");
            Err(SettingsError::new(path, message, "write it as name_bucket{route=\"/pay\"}"))
        }
    }
}
