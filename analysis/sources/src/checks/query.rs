//! `query`: one number of one's own.
//!
//! Where the query names `canary` it is also asked with the roles exchanged, to know that the
//! serving side has samples; one that does not can never say that the canary is lost.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{CheckEntry, Checked, Rule};
use crate::{
    Query, SettingsError, TemplateScope, promql,
    question::Ask,
    settings::{self, Unit},
    templates::{Role, Template},
};

pub(super) const ENTRY: CheckEntry =
    CheckEntry { kind: "query", schema: || schemars::schema_for!(Written), check };

/// A query's value must stay between limits.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    /// A query that returns one number; see the page on templates for what it may name.
    promql: String,
    /// The smallest value that is good, in the unit.
    #[serde(default)]
    min: Option<String>,
    /// The largest value that is good, in the unit.
    #[serde(default)]
    max: Option<String>,
    /// How limits are written and values shown: `%` for shares of one, `s` for seconds.
    #[serde(default)]
    unit: WrittenUnit,
    /// A query for the number of samples behind the value; `minSamples` needs it.
    #[serde(default)]
    count: Option<String>,
    /// Which grammar the queries follow.
    #[serde(default)]
    dialect: Dialect,
    /// Whether the queries are parsed at load.
    #[serde(default = "yes")]
    validate: bool,
}

/// How limits are written and values shown.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
enum WrittenUnit {
    /// A plain number.
    #[default]
    #[serde(rename = "")]
    Number,
    /// A share of one.
    #[serde(rename = "%")]
    Ratio,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
}

/// Which grammar the queries follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Dialect {
    /// PromQL, as Prometheus 3.8 knows it.
    #[default]
    Strict,
    /// More than that, such as MetricsQL: not parsed at load.
    Lax,
}

fn yes() -> bool {
    true
}

fn check(
    settings: &Value,
    scope: &TemplateScope,
    min_samples: Option<f64>,
) -> Result<Checked, Vec<SettingsError>> {
    let written: Written = settings::read(settings).map_err(|error| vec![error])?;
    let rule = rule(&written, min_samples)?;
    let value = Template::read("/promql", &written.promql, scope).map_err(|error| vec![error])?;
    let count = written.count.as_deref().map(|text| Template::read("/count", text, scope));
    let count = count.transpose().map_err(|error| vec![error])?;
    let names_canary = |template: &Template| template.names_canary();
    let exchange = names_canary(&value) && count.as_ref().is_none_or(names_canary);
    let parse = written.validate && written.dialect == Dialect::Strict;
    Checked::ready(scope, exchange, rule, |role| {
        let value = resolve("/promql", &value, scope, role, parse)?;
        let count = count.as_ref().map(|count| resolve("/count", count, scope, role, parse));
        Ok(Ask::Value { value, count: count.transpose()? })
    })
}

fn rule(written: &Written, min_samples: Option<f64>) -> Result<Rule, Vec<SettingsError>> {
    let (unit, name) = match written.unit {
        WrittenUnit::Number => (Unit::Number, ""),
        WrittenUnit::Ratio => (Unit::Ratio, "%"),
        WrittenUnit::Seconds => (Unit::Seconds, "s"),
    };
    let mut errors = Vec::new();
    let mut limit = |path, text: Option<&String>| {
        let read = text.map(|text| settings::limit(path, text, unit)).transpose();
        read.map_err(|error| errors.push(error)).ok().flatten()
    };
    let (min, max) = (limit("/min", written.min.as_ref()), limit("/max", written.max.as_ref()));
    if written.min.is_none() && written.max.is_none() {
        let message = "neither min nor max is set, so every value would be good";
        errors.push(SettingsError::new("/max", message, "set one of them, such as max: \"100\""));
    }
    if let (Some(least), Some(most)) = (min, max)
        && least > most
    {
        let message = format!("min {least} is above max {most}");
        errors.push(SettingsError::new("/min", message, "exchange them"));
    }
    if min_samples.is_some() && written.count.is_none() {
        let help = "write a query that counts the samples, or remove minSamples";
        errors.push(SettingsError::new("/count", "minSamples is set and count is not", help));
    }
    if errors.is_empty() { Ok(Rule { min, max, unit: name, min_samples }) } else { Err(errors) }
}

fn resolve(
    path: &str,
    template: &Template,
    scope: &TemplateScope,
    role: Role,
    parse: bool,
) -> Result<Query, SettingsError> {
    let query = template.resolve(scope, role)?;
    if parse {
        promql::check(path, &query)?;
    }
    Ok(query)
}
