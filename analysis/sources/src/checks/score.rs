//! `score`: the scored judgement of Kayenta, for people who bring their configuration along.
//!
//! The words are Kayenta's. One query asks for the samples of all metrics of both sides; their means
//! over windows are the points that are judged.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CheckEntry, Checked, compare};
use crate::{
    SettingsError, TemplateScope,
    counters::{Gauged, Measure},
    promql, settings,
};

pub(super) const ENTRY: CheckEntry =
    CheckEntry { kind: "score", schema: || schemars::schema_for!(Written), check };

/// How many metrics may be scored.
const METRICS_MAX: usize = 16;

/// Metrics of both sides, each classified, and scored by groups as Kayenta does.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    /// What is compared.
    metrics: Vec<WrittenMetric>,
    /// From which score on a step passes, 0 to 100.
    #[serde(default = "pass")]
    pass: u32,
    /// From which score on a policy or a person decides; below it the traffic goes back.
    #[serde(default = "marginal")]
    marginal: u32,
    /// How many windows of a step are points; the step is scored once it has them.
    #[serde(default = "points")]
    points: u32,
    /// What each group weighs, of 100; groups that are not named share the rest.
    #[serde(default)]
    weights: BTreeMap<String, u32>,
}

/// One metric.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenMetric {
    /// What it is called.
    name: String,
    /// The name of its series, such as `process_resident_memory_bytes`.
    metric: String,
    /// Labels of its series, besides the sides' own.
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// How it is read.
    #[serde(default)]
    read: Read,
    /// The groups it counts in; unset, one that all such metrics share.
    #[serde(default)]
    groups: Vec<String>,
    /// Which difference counts.
    #[serde(default)]
    direction: Direction,
    /// Whether it alone can fail everything.
    #[serde(default)]
    critical: bool,
    /// Whether having no points is a failure.
    #[serde(default)]
    must_have_data: bool,
    /// What a missing point becomes.
    #[serde(default)]
    nan_strategy: NanStrategy,
    /// What becomes of points far from the others.
    #[serde(default)]
    outliers: Outliers,
    /// How many interquartile ranges from the quartiles an outlier lies: `"3"`.
    #[serde(default)]
    outlier_factor: Option<String>,
    /// How large a difference must be.
    #[serde(default)]
    effect_size: Option<EffectSize>,
}

/// How a metric is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
enum Read {
    /// As it is.
    #[default]
    Value,
    /// It is a counter: its increase per second.
    Rate,
}

/// Which difference counts.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all(serialize = "camelCase"))]
enum Direction {
    /// A rise.
    Increase,
    /// A fall.
    Decrease,
    /// Both.
    #[default]
    Either,
}

/// What a missing point becomes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all(serialize = "camelCase"))]
enum NanStrategy {
    /// It is left out.
    #[default]
    Remove,
    /// It counts as zero.
    Replace,
}

/// What becomes of points far from the others.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all(serialize = "camelCase"))]
enum Outliers {
    /// They stay.
    #[default]
    Keep,
    /// They go.
    Remove,
}

/// How large a difference must be, and how large a critical one.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EffectSize {
    /// How it is measured.
    #[serde(default)]
    measure: EffectMeasure,
    /// From where on a rise counts: `"1.2"`.
    #[serde(default)]
    allowed_increase: Option<String>,
    /// From where on a fall counts: `"0.8"`.
    #[serde(default)]
    allowed_decrease: Option<String>,
    /// From where on a rise of a critical metric fails everything.
    #[serde(default)]
    critical_increase: Option<String>,
    /// From where on a fall of a critical metric fails everything.
    #[serde(default)]
    critical_decrease: Option<String>,
}

/// How the size of a difference is measured.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all(serialize = "camelCase"))]
enum EffectMeasure {
    /// By the ratio of the means.
    #[default]
    MeanRatio,
    /// By the part of all pairs in which the side on trial is higher.
    Cles,
}

fn pass() -> u32 {
    75
}

fn marginal() -> u32 {
    50
}

fn points() -> u32 {
    50
}

#[derive(Serialize)]
struct Rule<'a> {
    score: Score<'a>,
}

#[derive(Serialize)]
struct Score<'a> {
    pass: u32,
    marginal: u32,
    points: u32,
    weights: &'a BTreeMap<String, u32>,
    metrics: Vec<Metric<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metric<'a> {
    name: &'a str,
    groups: &'a [String],
    direction: Direction,
    critical: bool,
    must_have_data: bool,
    nan_strategy: NanStrategy,
    outliers: Outliers,
    #[serde(skip_serializing_if = "Option::is_none")]
    outlier_factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effect_size: Option<Effect>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Effect {
    measure: EffectMeasure,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_increase: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_decrease: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    critical_increase: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    critical_decrease: Option<f64>,
}

fn check(
    settings: &Value,
    scope: &TemplateScope,
    min_samples: Option<f64>,
) -> Result<Checked, Vec<SettingsError>> {
    let written: Written = settings::read(settings).map_err(|error| vec![missing(error)])?;
    let rule = rule(&written)?;
    if min_samples.is_some() {
        let message = "minSamples has no meaning for it: it needs points";
        return Err(vec![SettingsError::new("", message, "write `points` instead")]);
    }
    let names: BTreeSet<&str> = written.metrics.iter().map(|one| one.metric.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let select = format!("{{__name__=~\"{}\"}}", names.join("|"));
    let measure = Measure::Gauges { metrics: written.metrics.iter().map(gauged).collect() };
    Checked::ready(scope, true, rule, |role| {
        let selected = compare::own("/metrics", &select, scope, role)?;
        Ok(compare::ask(selected, None, measure.clone(), 1, 0))
    })
}

fn missing(mut error: SettingsError) -> SettingsError {
    if error.path.is_empty() {
        let help =
            "name what is compared, such as metrics: [{metric: process_resident_memory_bytes}]";
        error.help = Some(help.to_owned());
    }
    error
}

fn gauged(written: &WrittenMetric) -> Gauged {
    Gauged {
        name: written.name.clone(),
        metric: written.metric.clone(),
        labels: written.labels.clone(),
        rate: written.read == Read::Rate,
    }
}

fn rule(written: &Written) -> Result<Rule<'_>, Vec<SettingsError>> {
    let Written { pass, marginal, points, weights, metrics } = written;
    let mut errors = Vec::new();
    let mut refuse = |path: &str, message: String, help: &str| {
        errors.push(SettingsError::new(path, message, help));
    };
    if *pass > 100 {
        refuse("/pass", format!("{pass} is more than 100"), "write a score from 0 to 100");
    }
    if marginal > pass {
        let message = format!("marginal {marginal} is above pass {pass}");
        refuse("/marginal", message, "lower it, or raise pass");
    }
    if !(5..=100).contains(points) {
        let message = format!("{points} does not lie between 5 and 100");
        refuse("/points", message, "Kayenta advises 50 at least");
    }
    if weights.values().map(|weight| u64::from(*weight)).sum::<u64>() > 100 {
        refuse("/weights", "they are more than 100 together".to_owned(), "lower them");
    }
    let of_group = |group: &String| metrics.iter().any(|metric| metric.groups.contains(group));
    if let Some(group) = weights.keys().find(|group| !of_group(group)) {
        let message = format!("no metric is in the group {group}");
        refuse("/weights", message, "write groups: [name] under a metric, or remove it");
    }
    if metrics.is_empty() || metrics.len() > METRICS_MAX {
        let message = format!("{} metrics, where 1 to {METRICS_MAX} can be scored", metrics.len());
        refuse("/metrics", message, "split them into several checks");
    }
    let mut read = Vec::new();
    let mut known = BTreeSet::new();
    for (at, metric) in metrics.iter().enumerate() {
        let path = format!("/metrics/{at}");
        if !known.insert(&metric.name) {
            let message = format!("{} is there twice", metric.name);
            errors.push(SettingsError::new(&format!("{path}/name"), message, "rename one"));
        }
        match metric.read_at(&path) {
            Ok(metric) => read.push(metric),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let score = Score { pass: *pass, marginal: *marginal, points: *points, weights, metrics: read };
    Ok(Rule { score })
}

// === impl WrittenMetric ===

impl WrittenMetric {
    fn read_at(&self, path: &str) -> Result<Metric<'_>, SettingsError> {
        let is_name = promql::is_label_name(&self.metric.replace(':', "_"));
        if !is_name {
            let message = format!("{:?} is no name of a metric", self.metric);
            let help = "write its name alone, and its labels under `labels`";
            return Err(SettingsError::new(&format!("{path}/metric"), message, help));
        }
        let number = |name: &str, text: &Option<String>| {
            let read = |text: &String| {
                settings::number(text).filter(|number| *number > 0.0).ok_or_else(|| {
                    let message = format!("{text:?} is no number above 0");
                    let help = "write a number such as \"1.2\"";
                    SettingsError::new(&format!("{path}/{name}"), message, help)
                })
            };
            text.as_ref().map(read).transpose()
        };
        let effect = self.effect_size.as_ref().map(|effect| {
            Ok(Effect {
                measure: effect.measure,
                allowed_increase: number("effectSize/allowedIncrease", &effect.allowed_increase)?,
                allowed_decrease: number("effectSize/allowedDecrease", &effect.allowed_decrease)?,
                critical_increase: number(
                    "effectSize/criticalIncrease",
                    &effect.critical_increase,
                )?,
                critical_decrease: number(
                    "effectSize/criticalDecrease",
                    &effect.critical_decrease,
                )?,
            })
        });
        Ok(Metric {
            name: &self.name,
            groups: &self.groups,
            direction: self.direction,
            critical: self.critical,
            must_have_data: self.must_have_data,
            nan_strategy: self.nan_strategy,
            outliers: self.outliers,
            outlier_factor: number("outlierFactor", &self.outlier_factor)?,
            effect_size: effect.transpose()?,
        })
    }
}
