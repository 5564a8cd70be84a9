//! `errors`: the share of requests that failed.
//!
//! Without a limit it asks for the counters of both sides, to compare them. With one it asks for two
//! counts of the side on trial and never divides: a side without any error series has no errors, a side
//! without requests is silent. The judge knows the difference.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    CheckEntry, Checked, Rule,
    compare::{self, Kind, Margin, Objective, Tolerance},
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
    CheckEntry { kind: "errors", schema: || schemars::schema_for!(Written), check };

/// The share of requests that failed: below a limit, or no worse than the serving side's.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    /// The largest share that may fail: `"1%"` or `"0.01"`. Unset, the side on trial is compared
    /// with the serving side, and the fields below say how.
    #[serde(default)]
    max: Option<String>,
    /// Which metrics the application has; unset, they are looked up in the source.
    #[serde(default)]
    metrics: Option<Metrics>,
    /// With the metrics of a proxy: what each side is to it (HAProxy's backend or server, Envoy's
    /// cluster, ingress-nginx's canary), by the side's name; unset, the sides' label says it.
    #[serde(default)]
    proxies: BTreeMap<String, String>,
    /// Whether PromQL of one's own is parsed at load.
    #[serde(default = "yes")]
    validate: bool,
    /// How much worse than the serving side is tolerated; the judge has defaults.
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
    /// The part of requests that must succeed by the service's objective: `"99.9%"`.
    #[serde(default)]
    slo: Option<String>,
}

/// Which metrics the application has.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Metrics {
    /// Metrics that are known by name.
    Usual(Usual),
    /// Two counters of one's own.
    Own(Own),
}

/// Two counters of one's own: each a selector, or a query that names `canary`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Own {
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
    let Some(max) = &written.max else { return compare(&written, scope, min_samples) };
    let max = settings::limit("/max", max, Unit::Ratio).map_err(|error| vec![error])?;
    written.comparison().refuse()?;
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

/// Compares with the serving side.
fn compare(
    written: &Written,
    scope: &TemplateScope,
    min_samples: Option<f64>,
) -> Result<Checked, Vec<SettingsError>> {
    let slo = written.slo.as_deref().map(objective).transpose().map_err(|error| vec![error])?;
    let objective = Objective { slo, bound: None };
    let (rule, warm_up) = written.comparison().rule(Kind::Errors, objective, min_samples)?;
    let Some(metrics) = &written.metrics else {
        return Ok(Checked::NeedsShape(ShapeKind::Errors));
    };
    Checked::ready(scope, true, rule, |role| {
        counters(metrics, &written.proxies, scope, role, warm_up)
    })
}

/// The counters of all requests and of those that failed, of one side.
pub(super) fn counters(
    metrics: &Metrics,
    proxies: &BTreeMap<String, String>,
    scope: &TemplateScope,
    role: Role,
    warm_up: u32,
) -> Result<Ask, SettingsError> {
    match metrics {
        Metrics::Usual(usual) => {
            let preset = usual.preset();
            let labels = preset.labels(scope, proxies)?;
            let selected = compare::known(preset.requests, &labels, preset.has_up(), role);
            let measure = Measure::Classes { bad: preset.failed() };
            Ok(compare::ask(selected, None, measure, 1, warm_up))
        }
        Metrics::Own(own) => {
            let total = compare::own("/metrics/total", &own.total, scope, role)?;
            let (bad, _) = compare::own("/metrics/bad", &own.bad, scope, role)?;
            Ok(compare::ask(total, Some(bad), Measure::Apart, 1, warm_up))
        }
    }
}

/// The part of requests that may be bad, by the part that must be good.
pub(super) fn objective(text: &str) -> Result<f64, SettingsError> {
    let inner = |good: &f64| *good > 0.0 && *good < 1.0;
    settings::ratio(text).filter(inner).map(|good| 1.0 - good).ok_or_else(|| {
        let message = format!("{text:?} is no share between 0% and 100%");
        SettingsError::new("/slo", message, "write the part that must be good, such as \"99.9%\"")
    })
}

pub(super) fn explain(mut error: SettingsError) -> SettingsError {
    if error.path == "/metrics" {
        let words = "write otel, prometheus, haproxy, istio or another known word, or {total: …, \
                     bad: …}";
        error.help = Some(words.to_owned());
    }
    error
}

fn usual_counts(
    usual: Usual,
    written: &Written,
    scope: &TemplateScope,
    role: Role,
) -> Result<Ask, SettingsError> {
    let preset = usual.preset();
    let matchers = preset.matchers(scope, &written.proxies, role)?;
    let metric = preset.requests;
    let bad: Vec<Vec<String>> = preset
        .failed_matchers()
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
}
