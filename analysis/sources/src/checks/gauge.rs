//! `gauge`: memory, a queue, the load of a processor, compared with the serving side's.
//!
//! It asks for the raw samples of both sides' processes, by a selector; a rank test compares them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    CheckEntry, Checked,
    compare::{self, Range, WARM_UP_MAX},
};
use crate::{SettingsError, TemplateScope, counters::Measure, settings};

pub(super) const ENTRY: CheckEntry =
    CheckEntry { kind: "gauge", schema: || schemars::schema_for!(Written), check };

/// A gauge of the side on trial, such as its memory: not worse than the serving side's.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    /// Its series, one for each process: a selector such as `process_resident_memory_bytes`.
    metric: String,
    /// Which direction is worse.
    #[serde(default)]
    worse: Worse,
    /// How the metric is read.
    #[serde(default)]
    read: Read,
    /// Whether a process may have several series, which are added up.
    #[serde(default)]
    series: Several,
    /// How much worse than the serving side is tolerated: `"10%"`.
    #[serde(default)]
    tolerance: Option<String>,
    /// How many blocks of windows each side needs for the look of a step.
    #[serde(default)]
    blocks: Option<u32>,
    /// How many windows make a block at least.
    #[serde(default)]
    block: Option<u32>,
    /// How likely a gauge that is no worse than tolerated may be called worse, in an attempt.
    #[serde(default)]
    alpha: Option<String>,
    /// Whether the traffic goes back where it is worse; unset, no step is taken.
    #[serde(default)]
    critical: bool,
    /// How long a process that appears is not looked at, such as `30s`.
    #[serde(default)]
    warm_up: Option<String>,
}

/// Which direction is worse.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
enum Worse {
    /// More is worse: memory, a queue.
    #[default]
    Higher,
    /// Less is worse: free space, a hit rate.
    Lower,
}

/// How a metric is read.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
enum Read {
    /// As it is.
    #[default]
    Value,
    /// It is a counter: its increase per second, as for `process_cpu_seconds_total`.
    Rate,
}

/// How many series a process may have.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
enum Several {
    /// One.
    #[default]
    One,
    /// Any number; they are added up.
    Sum,
}

#[derive(Serialize)]
struct Rule {
    gauge: Gauge,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Gauge {
    worse: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tolerance: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocks: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alpha: Option<f64>,
    critical: bool,
}

fn check(
    settings: &Value,
    scope: &TemplateScope,
    min_samples: Option<f64>,
) -> Result<Checked, Vec<SettingsError>> {
    let written: Written = settings::read(settings).map_err(|error| vec![missing(error)])?;
    let (rule, warm_up) = rule(&written)?;
    if min_samples.is_some() {
        let message = "minSamples has no meaning for it: it needs windows";
        return Err(vec![SettingsError::new("", message, "write `blocks` instead")]);
    }
    let measure = Measure::Gauge {
        rate: matches!(written.read, Read::Rate),
        sum: matches!(written.series, Several::Sum),
    };
    Checked::ready(scope, true, rule, |role| {
        let selected = compare::own("/metric", &written.metric, scope, role)?;
        Ok(compare::ask(selected, None, measure.clone(), 1, warm_up))
    })
}

fn missing(mut error: SettingsError) -> SettingsError {
    if error.path.is_empty() {
        error.help = Some("name its series: metric: process_resident_memory_bytes".to_owned());
    }
    error
}

fn rule(written: &Written) -> Result<(Rule, u32), Vec<SettingsError>> {
    let mut errors = Vec::new();
    let mut take = |path: &str, text: Option<&str>, range: Range| {
        let read = text.map(|text| compare::part(path, text, range)).transpose();
        read.map_err(|error| errors.push(error)).ok().flatten()
    };
    let tolerance = take("/tolerance", written.tolerance.as_deref(), Range::Times);
    let alpha = take("/alpha", written.alpha.as_deref(), Range::Inner);
    if let Some(alpha) = alpha.filter(|alpha| *alpha > 0.5) {
        let message = format!("{alpha} is no chance up to 50%");
        errors.push(SettingsError::new("/alpha", message, "write \"1%\""));
    }
    let counts = [("/blocks", written.blocks, 5, 50), ("/block", written.block, 1, 60)];
    for (path, value, least, most) in counts {
        if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
            let message = format!("{value} does not lie between {least} and {most}");
            errors.push(SettingsError::new(path, message, "leave it out for the default"));
        }
    }
    let warm_up = written.warm_up.as_deref();
    let warm_up = warm_up.map(|text| compare::span("/warmUp", text, WARM_UP_MAX)).transpose();
    let warm_up = warm_up.map_err(|error| errors.push(error)).unwrap_or_default();
    if !errors.is_empty() {
        return Err(errors);
    }
    let worse = match written.worse {
        Worse::Higher => "higher",
        Worse::Lower => "lower",
    };
    let Written { blocks, block, critical, .. } = *written;
    let gauge = Gauge { worse, tolerance, blocks, block, alpha, critical };
    let warm_up = u32::try_from(warm_up.unwrap_or_default().as_secs()).unwrap_or(u32::MAX);
    Ok((Rule { gauge }, warm_up))
}
