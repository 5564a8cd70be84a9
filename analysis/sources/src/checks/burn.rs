//! `burn`: how fast the error budget of an objective burns.
//!
//! It asks for the same counters as `errors` does without a limit, so that both cost one query.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    CheckEntry, Checked,
    compare::{self, Range, WARM_UP_MAX},
    errors::{self, Metrics, explain, objective},
    shape::ShapeKind,
};
use crate::{SettingsError, TemplateScope, settings};

pub(super) const ENTRY: CheckEntry =
    CheckEntry { kind: "burn", schema: || schemars::schema_for!(Written), check };

/// The longest window: what burns more slowly is for alerts.
const LONG_MAX: Duration = Duration::from_secs(3_600);
/// How many windows may be set.
const WINDOWS_MAX: usize = 8;

/// How fast the error budget of an objective burns, and what of it an attempt may spend.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    /// The part of requests that must succeed: `"99.9%"`.
    slo: String,
    /// Which metrics the application has; unset, they are looked up in the source.
    #[serde(default)]
    metrics: Option<Metrics>,
    /// With the metrics of a proxy: what each side is to it, by the side's name.
    #[serde(default)]
    proxies: BTreeMap<String, String>,
    /// What part of the error budget of 30 days an attempt may spend: `"0.5%"`.
    #[serde(default)]
    budget: Option<String>,
    /// Over which windows, and how fast it may burn; unset, the usual four.
    #[serde(default)]
    windows: Vec<WrittenWindow>,
    /// How long a process that appears is not counted, such as `30s`; unset, it is from the start.
    #[serde(default)]
    warm_up: Option<String>,
}

/// How fast the budget may burn over two windows at once.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WrittenWindow {
    /// The long one, up to `1h`.
    long: String,
    /// The short one; unset, a twelfth of the long one.
    #[serde(default)]
    short: Option<String>,
    /// How many times as fast as it lasts: `"14.4"`.
    rate: String,
    /// What follows: the traffic goes back, or no step is taken.
    #[serde(default)]
    action: Action,
}

/// What follows where the budget burns.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
enum Action {
    /// The traffic goes back.
    #[default]
    Abort,
    /// No step is taken.
    Hold,
}

#[derive(Serialize)]
struct Rule {
    burn: Burn,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Burn {
    slo: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lines: Vec<Line>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    long_seconds: u64,
    short_seconds: u64,
    rate: f64,
    action: &'static str,
}

fn check(
    settings: &Value,
    scope: &TemplateScope,
    min_samples: Option<f64>,
) -> Result<Checked, Vec<SettingsError>> {
    let written: Written = settings::read(settings).map_err(|error| vec![missing(error)])?;
    let (rule, warm_up) = rule(&written)?;
    if min_samples.is_some() {
        let message = "minSamples has no meaning for it: few requests are judged by a bet";
        return Err(vec![SettingsError::new("", message, "remove minSamples")]);
    }
    let Some(metrics) = &written.metrics else {
        return Ok(Checked::NeedsShape(ShapeKind::Errors));
    };
    Checked::ready(scope, true, rule, |role| {
        errors::counters(metrics, &written.proxies, scope, role, warm_up)
    })
}

fn missing(mut error: SettingsError) -> SettingsError {
    if error.path.is_empty() {
        error.help = Some("write the objective, such as slo: \"99.9%\"".to_owned());
    }
    explain(error)
}

fn rule(written: &Written) -> Result<(Rule, u32), Vec<SettingsError>> {
    let mut errors = Vec::new();
    let slo = objective(&written.slo).map_err(|error| errors.push(error)).unwrap_or(0.001);
    let budget = written.budget.as_deref().map(|text| compare::part("/budget", text, Range::Inner));
    let budget = budget.transpose().map_err(|error| errors.push(error)).unwrap_or_default();
    let warm_up = written.warm_up.as_deref();
    let warm_up = warm_up.map(|text| compare::span("/warmUp", text, WARM_UP_MAX)).transpose();
    let warm_up = warm_up.map_err(|error| errors.push(error)).unwrap_or_default();
    if written.windows.len() > WINDOWS_MAX {
        let message = format!("{} windows are more than {WINDOWS_MAX}", written.windows.len());
        errors.push(SettingsError::new("/windows", message, "the usual four are a good beginning"));
    }
    let mut lines = Vec::new();
    for (at, window) in written.windows.iter().enumerate() {
        match line(&format!("/windows/{at}"), window, slo) {
            Ok(line) => lines.push(line),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let warm_up = u32::try_from(warm_up.unwrap_or_default().as_secs()).unwrap_or(u32::MAX);
    Ok((Rule { burn: Burn { slo, budget, lines } }, warm_up))
}

fn line(path: &str, written: &WrittenWindow, slo: f64) -> Result<Line, SettingsError> {
    let time = |name: &str, text: &str, most: Duration| {
        let read = settings::duration(text).filter(|time| time.as_secs() >= 1 && *time <= most);
        read.ok_or_else(|| {
            let message = format!("{text:?} is no time from 1s to {}s", most.as_secs());
            SettingsError::new(&format!("{path}/{name}"), message, "write 5m and 30s, for example")
        })
    };
    let long = time("long", &written.long, LONG_MAX)?;
    let short = match &written.short {
        Some(short) => time("short", short, long)?,
        None => (long / 12).max(Duration::from_secs(1)),
    };
    let most = 1.0 / slo;
    let rate = settings::number(&written.rate).filter(|rate| *rate > 0.0 && *rate <= most);
    let rate = rate.ok_or_else(|| {
        let message = format!(
            "{:?} is no rate above 0 and up to {:.1}, at which every request fails",
            written.rate, most
        );
        SettingsError::new(&format!("{path}/rate"), message, "write \"14.4\", for example")
    })?;
    let action = match written.action {
        Action::Abort => "rollBack",
        Action::Hold => "hold",
    };
    Ok(Line { long_seconds: long.as_secs(), short_seconds: short.as_secs(), rate, action })
}
