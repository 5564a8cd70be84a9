//! What a check without a limit says: how much worse than the serving side is too much.
//!
//! Writes the judge's rule `{"compare": {…}}` with what was set; the judge has the defaults. What
//! contradicts itself is refused here, where the field can still be named.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::presets::both;
use crate::{
    SettingsError, TemplateScope,
    counters::{Labels, Measure},
    promql,
    question::{Ask, Counted},
    settings,
    templates::{Role, Template},
};

/// How much worse than the serving side is tolerated before the traffic goes back.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tolerance {
    /// Relative to the serving side's rate: `"10%"`.
    #[serde(default)]
    relative: Option<String>,
    /// Besides, of all requests: `"0.02%"`.
    #[serde(default)]
    absolute: Option<String>,
}

/// How much worse a step may turn out; a step is taken once more than that is ruled out.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Margin {
    /// Relative to the serving side's rate: `"50%"`.
    #[serde(default)]
    relative: Option<String>,
    /// What part of all traffic may be harmed besides: `"0.2%"`.
    #[serde(default)]
    harm: Option<String>,
}

/// What was written for a comparison.
#[derive(Clone, Debug, Default)]
pub(super) struct Written<'a> {
    pub(super) tolerance: Option<&'a Tolerance>,
    pub(super) margin: Option<&'a Margin>,
    pub(super) weight: Option<&'a str>,
    pub(super) min_step: Option<&'a str>,
    pub(super) min_windows: Option<u32>,
    pub(super) warm_up: Option<&'a str>,
    /// Whether an objective was written, whatever its form.
    pub(super) slo: bool,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Kind {
    Errors,
    Latency,
}

/// The part of requests that may be bad, and above which bound they are, where bounds tell it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Objective {
    pub(super) slo: Option<f64>,
    pub(super) bound: Option<f64>,
}

/// The judge's rule.
#[derive(Serialize)]
pub(super) struct Rule {
    compare: Compare,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Compare {
    kind: Kind,
    #[serde(skip_serializing_if = "Two::is_empty")]
    tolerance: Two,
    #[serde(skip_serializing_if = "Two::is_empty")]
    margin: Two,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_step_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_windows: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slo: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bound: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_samples: Option<f64>,
}

/// A relative and an absolute part, by the names that the judge gives them.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Two {
    #[serde(skip_serializing_if = "Option::is_none")]
    relative: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    absolute: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    harm: Option<f64>,
}

/// What the judge tolerates and accepts where nothing is set; to tell contradictions.
const RELATIVE: f64 = 0.1;
const ERRORS: f64 = 0.000_2;
const LATENCY: f64 = 0.005;
const OF_SLO: f64 = 0.1;
/// The longest warm-up: what is older than that reaches back too far.
pub(super) const WARM_UP_MAX: Duration = Duration::from_secs(300);

// === impl Two ===

impl Two {
    fn is_empty(&self) -> bool {
        self.relative.is_none() && self.absolute.is_none() && self.harm.is_none()
    }
}

// === impl Written ===

impl Written<'_> {
    /// Refuses settings of a comparison beside a limit.
    pub(super) fn refuse(&self) -> Result<(), Vec<SettingsError>> {
        let fields = [
            (self.tolerance.is_some(), "/tolerance"),
            (self.margin.is_some(), "/margin"),
            (self.weight.is_some(), "/weight"),
            (self.min_step.is_some(), "/minStep"),
            (self.min_windows.is_some(), "/minWindows"),
            (self.warm_up.is_some(), "/warmUp"),
            (self.slo, "/slo"),
        ];
        let Some((_, path)) = fields.into_iter().find(|(written, _)| *written) else {
            return Ok(());
        };
        let message = "it belongs to a comparison with the serving side, but `max` is set";
        Err(vec![SettingsError::new(path, message, "remove one of the two")])
    }

    /// Writes the rule, and how long a process that appears is not counted.
    pub(super) fn rule(
        &self,
        kind: Kind,
        objective: Objective,
        min_samples: Option<f64>,
    ) -> Result<(Rule, u32), Vec<SettingsError>> {
        let mut errors = Vec::new();
        let mut take = |path: &str, text: Option<&str>, range: Range| {
            let read = text.map(|text| part(path, text, range)).transpose();
            read.map_err(|error| errors.push(error)).ok().flatten()
        };
        let of = |text: &Option<String>| text.clone();
        let tolerance = self.tolerance.cloned().unwrap_or_default();
        let margin = self.margin.cloned().unwrap_or_default();
        let (relative, absolute) = (of(&tolerance.relative), of(&tolerance.absolute));
        let tolerance = Two {
            relative: take("/tolerance/relative", relative.as_deref(), Range::Times),
            absolute: take("/tolerance/absolute", absolute.as_deref(), Range::Part),
            harm: None,
        };
        let margin = Two {
            relative: take("/margin/relative", margin.relative.as_deref(), Range::Times),
            absolute: None,
            harm: take("/margin/harm", margin.harm.as_deref(), Range::Inner),
        };
        let weight = take("/weight", self.weight, Range::Weight);
        let mut time = |path: &str, text: Option<&str>, most: Duration| {
            let read = text.map(|text| span(path, text, most)).transpose();
            read.map_err(|error| errors.push(error)).ok().flatten()
        };
        let min_step = time("/minStep", self.min_step, Duration::MAX);
        let warm_up = time("/warmUp", self.warm_up, WARM_UP_MAX).unwrap_or_default();
        if self.min_windows == Some(0) {
            let help = "write at least 1, or leave it out";
            errors.push(SettingsError::new("/minWindows", "0 windows show nothing", help));
        }
        errors.extend(contradiction(kind, objective, tolerance, margin));
        if !errors.is_empty() {
            return Err(errors);
        }
        let compare = Compare {
            kind,
            tolerance,
            margin,
            weight,
            min_step_seconds: min_step.map(|time| time.as_secs_f64()),
            min_windows: self.min_windows,
            slo: objective.slo,
            bound: objective.bound,
            min_samples,
        };
        let warm_up = u32::try_from(warm_up.as_secs()).unwrap_or(u32::MAX);
        Ok((Rule { compare }, warm_up))
    }
}

/// What a number may be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    /// A factor less one: any number from 0 on.
    Times,
    /// A part of all, 0 included.
    Part,
    /// A part of all, neither 0 nor 1.
    Inner,
    /// A part of all, 1 included.
    Weight,
}

pub(super) fn part(path: &str, text: &str, range: Range) -> Result<f64, SettingsError> {
    let value = match text.strip_suffix('%') {
        Some(text) => settings::percent(text),
        None => settings::number(text),
    };
    let good = |value: &f64| match range {
        Range::Times => *value >= 0.0,
        Range::Part => (0.0..1.0).contains(value),
        Range::Inner => *value > 0.0 && *value < 1.0,
        Range::Weight => *value > 0.0 && *value <= 1.0,
    };
    value.filter(good).ok_or_else(|| {
        let (what, help) = match range {
            Range::Times => ("no share from 0% on", "write \"10%\" for a tenth more"),
            Range::Part => ("no share from 0% to below 100%", "write \"0.02%\" or \"0.0002\""),
            Range::Inner => ("no share between 0% and 100%", "write \"1%\" or \"0.01\""),
            Range::Weight => ("no share above 0%, up to 100%", "write \"50%\" or \"0.5\""),
        };
        SettingsError::new(path, format!("{text:?} is {what}"), help)
    })
}

pub(super) fn span(path: &str, text: &str, most: Duration) -> Result<Duration, SettingsError> {
    settings::duration(text).filter(|time| *time <= most).ok_or_else(|| {
        let limit = if most == Duration::MAX { "" } else { " up to 5m" };
        let message = format!("{text:?} is no duration{limit}");
        SettingsError::new(path, message, "write a duration such as 30s")
    })
}

/// What is tolerated must not exceed what is accepted.
fn contradiction(
    kind: Kind,
    objective: Objective,
    tolerance: Two,
    margin: Two,
) -> Option<SettingsError> {
    let least = match kind {
        Kind::Errors => ERRORS,
        Kind::Latency => LATENCY,
    };
    let least = least.max(objective.slo.map_or(0.0, |slo| OF_SLO * slo));
    let pairs = [
        ("/margin/relative", tolerance.relative.unwrap_or(RELATIVE), margin.relative),
        ("/margin/harm", tolerance.absolute.unwrap_or(least), margin.harm),
    ];
    pairs.into_iter().find_map(|(path, tolerated, accepted)| {
        let accepted = accepted.filter(|accepted| *accepted < tolerated)?;
        let message = format!(
            "what is tolerated ({}%) exceeds what is accepted ({}%)",
            tolerated * 100.0,
            accepted * 100.0
        );
        Some(SettingsError::new(path, message, "raise it, or lower the tolerance"))
    })
}

/// Selects metrics that are known by name, of this role's side; one selector for both sides where
/// that can be.
pub(super) fn known(
    name: &str,
    labels: &[Labels; 2],
    has_up: bool,
    role: Role,
) -> (String, Labels) {
    let only = labels[at(role)].clone();
    let matchers = both(labels).unwrap_or_else(|| promql::matchers(&only));
    let select = if has_up {
        format!("{{__name__=~\"{name}|up\",{matchers}}}")
    } else {
        format!("{name}{{{matchers}}}")
    };
    (select, only)
}

/// Selects metrics of one's own: a selector that says which side it is about, or one that finds
/// both sides by their labels.
pub(super) fn own(
    path: &str,
    text: &str,
    scope: &TemplateScope,
    role: Role,
) -> Result<(String, Labels), SettingsError> {
    let template = Template::read(path, text, scope)?;
    let resolved = |role| template.resolve(scope, role);
    let query = resolved(role)?;
    let [selector] = query.0.as_slice() else { return Err(no_selector(path, text)) };
    if !promql::is_selector(selector) {
        return Err(no_selector(path, text));
    }
    if template.names_roles() {
        if resolved(Role::FirstIsCanary)? == resolved(Role::SecondIsCanary)? {
            let message = format!("`{text}` finds the same series for both sides");
            let help = "put {{ canary.labels }} into it";
            return Err(SettingsError::new(path, message, help));
        }
        return Ok((selector.clone(), Labels::new()));
    }
    // Says why, where the labels do not tell the sides apart.
    Template::read(path, "{{ canary.labels }}", scope)?.resolve(scope, role)?;
    let labels = [scope.sides[0].1.clone(), scope.sides[1].1.clone()];
    let only = labels[at(role)].clone();
    let matchers = both(&labels).unwrap_or_else(|| promql::matchers(&only));
    Ok((promql::narrow(selector, &matchers), only))
}

fn no_selector(path: &str, text: &str) -> SettingsError {
    let message = format!("`{text}` is no selector");
    let help = "a comparison counts raw samples: write a selector such as calls_total{job=\"a\"}, \
                or set `max` to judge a query's value";
    SettingsError::new(path, message, help)
}

pub(super) fn at(role: Role) -> usize {
    match role {
        Role::FirstIsCanary => 0,
        Role::SecondIsCanary => 1,
    }
}

/// Puts a question together.
pub(super) fn ask(
    (select, only): (String, Labels),
    bad: Option<String>,
    measure: Measure,
    per_second: u32,
    warm_up_secs: u32,
) -> Ask {
    Ask::Counted(Counted { select, bad, only, measure, per_second, warm_up_secs })
}
