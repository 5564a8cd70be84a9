//! `latency`: the response times, from a histogram.
//!
//! Without a limit it asks for the buckets of both sides, to compare how many requests are slower
//! than several bounds; failed requests are left out. With one it asks for a quantile: without
//! observations the quantile is NaN, which is silence and not a pass.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use std::collections::BTreeMap;

use super::{
    CheckEntry, Checked, Rule,
    compare::{self, Kind, Margin, Objective, Tolerance},
    errors::{labels_of, objective},
    presets::Usual,
    shape::ShapeKind,
};
use crate::{
    Query, SettingsError, TemplateScope,
    counters::Measure,
    promql,
    question::Ask,
    settings::{self, Unit},
    templates::{Role, Template},
};

pub(super) const ENTRY: CheckEntry =
    CheckEntry { kind: "latency", schema: || schemars::schema_for!(Written), check };

/// The response times: a quantile below a limit, or no slower than the serving side's.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    /// With `max`: which quantile, such as `"0.99"`, between 0 and 1.
    #[serde(default)]
    quantile: Option<String>,
    /// The longest time that it may take: `500ms`. Unset, the side on trial is compared with the
    /// serving side at several bounds of the histogram, and the fields below say how.
    #[serde(default)]
    max: Option<String>,
    /// Which metrics the application has; unset, they are looked up in the source.
    #[serde(default)]
    metrics: Option<Metrics>,
    /// With the metrics of a proxy: what each side is to it (Envoy's cluster, ingress-nginx's
    /// canary), by the side's name; unset, the sides' label says it.
    #[serde(default)]
    proxies: BTreeMap<String, String>,
    /// How many more slow requests than on the serving side are tolerated; the judge has defaults.
    #[serde(default)]
    tolerance: Option<Tolerance>,
    /// How much worse a step may turn out.
    #[serde(default)]
    margin: Option<Margin>,
    /// What the check weighs among all that compare: `"50%"`.
    #[serde(default)]
    weight: Option<String>,
    /// How long a step is watched at least, such as `60s`.
    #[serde(default)]
    min_step: Option<String>,
    /// Over how many windows a step is watched at least.
    #[serde(default)]
    min_windows: Option<u32>,
    /// How long a process that appears is not counted, such as `30s`; unset, it is from the start.
    #[serde(default)]
    warm_up: Option<String>,
    /// The service's objective.
    #[serde(default)]
    slo: Option<Slo>,
}

/// A service's objective for its response times.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Slo {
    /// The part of requests that must be fast enough: `"99%"`.
    share: String,
    /// How fast: `500ms`.
    within: String,
}

/// Which metrics the application has.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Metrics {
    /// Metrics that are known by name.
    Usual(Usual),
    /// A histogram of one's own.
    Own(Own),
}

/// A histogram of one's own; all are selectors.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Own {
    /// Its classic buckets, such as `checkout_seconds_bucket{route="/pay"}`.
    #[serde(default)]
    bucket: Option<String>,
    /// With `max`: its count, such as `checkout_seconds_count{route="/pay"}`.
    #[serde(default)]
    count: Option<String>,
    /// Without `max`, instead of `bucket`: a native histogram, such as `checkout_seconds`.
    #[serde(default)]
    histogram: Option<String>,
    /// In which unit it counts: `s` or `ms`.
    #[serde(default)]
    unit: TimeUnit,
}

/// In which unit a histogram counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum TimeUnit {
    /// Seconds.
    #[default]
    S,
    /// Milliseconds.
    Ms,
}

fn check(
    settings: &Value,
    scope: &TemplateScope,
    min_samples: Option<f64>,
) -> Result<Checked, Vec<SettingsError>> {
    let written: Written = settings::read(settings).map_err(|error| vec![explain(error)])?;
    let Some(max) = &written.max else { return compare(&written, scope, min_samples) };
    let quantile = quantile(written.quantile.as_deref()).map_err(|error| vec![error])?;
    let max = settings::limit("/max", max, Unit::Seconds).map_err(|error| vec![error])?;
    written.comparison().refuse()?;
    let rule = Rule { max: Some(max), unit: "s", min_samples, ..Rule::default() };
    let Some(metrics) = &written.metrics else {
        return Ok(Checked::NeedsShape(ShapeKind::Latency));
    };
    Checked::ready(scope, true, rule, |role| {
        let (bucket, count, per_second) = selectors(metrics, &written, scope, role)?;
        let end = if per_second == 1 { String::new() } else { format!(" / {per_second}") };
        let value = vec![
            format!("histogram_quantile({quantile}, sum by (le) (rate({bucket}["),
            format!("]))){end}"),
        ];
        let count = vec![format!("sum(increase({count}["), "]))".to_owned()];
        let ask = Ask::Value { value: Query(value), count: Some(Query(count)) };
        if let (Metrics::Own(_), Ask::Value { value, .. }) = (metrics, &ask) {
            promql::check("/metrics/bucket", value)?;
        }
        Ok(ask)
    })
}

/// Compares with the serving side: how many requests are slower than several bounds.
fn compare(
    written: &Written,
    scope: &TemplateScope,
    min_samples: Option<f64>,
) -> Result<Checked, Vec<SettingsError>> {
    if written.quantile.is_some() {
        let message = "a quantile is judged by a limit, and `max` is not set";
        let help = "set max: 500ms, or remove the quantile to compare with the serving side";
        return Err(vec![SettingsError::new("/quantile", message, help)]);
    }
    let objective = written.objective().map_err(|error| vec![error])?;
    let (rule, warm_up) = written.comparison().rule(Kind::Latency, objective, min_samples)?;
    let Some(metrics) = &written.metrics else {
        return Ok(Checked::NeedsShape(ShapeKind::Latency));
    };
    Checked::ready(scope, true, rule, |role| match metrics {
        Metrics::Usual(usual) => {
            let preset = usual.preset();
            let (name, per_second) = preset.times.ok_or_else(no_histogram)?;
            let labels = preset.labels(scope, &written.proxies)?;
            let name = format!("{name}_bucket");
            let selected = compare::known(&name, &labels, preset.has_up(), role);
            // A failure is often fast: it must not make a side look better.
            let measure = Measure::Histogram { except: preset.failed() };
            Ok(compare::ask(selected, None, measure, per_second, warm_up))
        }
        Metrics::Own(own) => {
            let (path, text) = match (&own.bucket, &own.histogram) {
                (Some(bucket), None) => ("/metrics/bucket", bucket),
                (None, Some(histogram)) => ("/metrics/histogram", histogram),
                (Some(_), Some(_)) | (None, None) => {
                    let message = "either bucket or histogram is needed";
                    let help = "write bucket: name_bucket, or histogram: name for a native one";
                    return Err(SettingsError::new("/metrics", message, help));
                }
            };
            let selected = compare::own(path, text, scope, role)?;
            let measure = Measure::Histogram { except: Vec::new() };
            Ok(compare::ask(selected, None, measure, own.per_second(), warm_up))
        }
    })
}

fn explain(mut error: SettingsError) -> SettingsError {
    if error.path == "/metrics" {
        let words = "write otel, prometheus, istio or another known word, or {bucket: …, count: …}";
        error.help = Some(words.to_owned());
    }
    error
}

fn quantile(text: Option<&str>) -> Result<f64, SettingsError> {
    let help = "write \"0.99\" for the 99th percentile";
    let Some(text) = text else {
        let message = "`max` is set, but not which quantile it limits";
        return Err(SettingsError::new("/quantile", message, help));
    };
    let inside = |value: &f64| *value > 0.0 && *value < 1.0;
    settings::number(text).filter(inside).ok_or_else(|| {
        let message = format!("{text:?} is no quantile between 0 and 1");
        SettingsError::new("/quantile", message, help)
    })
}

fn no_histogram() -> SettingsError {
    let message = "HAProxy's exporter has averages only, and no histogram for a quantile";
    let help = "use the application's own metrics, or the check `query`";
    SettingsError::new("/metrics", message, help)
}

/// The selectors of the buckets and of the count, and the histogram's units in a second.
fn selectors(
    metrics: &Metrics,
    written: &Written,
    scope: &TemplateScope,
    role: Role,
) -> Result<(String, String, u32), SettingsError> {
    match metrics {
        Metrics::Usual(usual) => {
            let preset = usual.preset();
            let (name, per_second) = preset.times.ok_or_else(no_histogram)?;
            let labels = preset.matchers(scope, &written.proxies, role)?;
            let of = |part| format!("{name}_{part}{{{labels}}}");
            Ok((of("bucket"), of("count"), per_second))
        }
        Metrics::Own(own) => {
            let (Some(bucket), Some(count)) = (&own.bucket, &own.count) else {
                let message = "with `max`, both bucket and count are needed";
                let help = "write {bucket: name_bucket, count: name_count}";
                return Err(SettingsError::new("/metrics", message, help));
            };
            let bucket = selector("/metrics/bucket", bucket, scope, role)?;
            let count = selector("/metrics/count", count, scope, role)?;
            Ok((bucket, count, own.per_second()))
        }
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

// === impl Written ===

impl Written {
    fn comparison(&self) -> compare::Written<'_> {
        compare::Written {
            tolerance: self.tolerance.as_ref(),
            margin: self.margin.as_ref(),
            weight: self.weight.as_deref(),
            min_step: self.min_step.as_deref(),
            min_windows: self.min_windows,
            warm_up: self.warm_up.as_deref(),
            slo: self.slo.is_some(),
        }
    }

    fn objective(&self) -> Result<Objective, SettingsError> {
        let Some(Slo { share, within }) = &self.slo else { return Ok(Objective::default()) };
        let slo = objective(share)
            .map_err(|error| SettingsError { path: "/slo/share".to_owned(), ..error })?;
        let bound = settings::limit("/slo/within", within, Unit::Seconds)?;
        Ok(Objective { slo: Some(slo), bound: Some(bound) })
    }
}

// === impl Own ===

impl Own {
    fn per_second(&self) -> u32 {
        match self.unit {
            TimeUnit::S => 1,
            TimeUnit::Ms => 1000,
        }
    }
}
