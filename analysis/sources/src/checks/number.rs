//! `number`: one number of one's own, in the language of the source.
//!
//! What `query` is for PromQL. Nothing reads the text but the source; whatever templates print in it is
//! a plain word, so that no value can leave its place.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{CheckEntry, Checked, limits};
use crate::{
    SettingsError, TemplateScope,
    question::Ask,
    settings,
    templates::{Language, Template},
};

pub(super) const ENTRY: CheckEntry =
    CheckEntry { kind: "number", schema: || schemars::schema_for!(Written), check };

/// A number of a source must stay between limits.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    /// A query that returns one number, in the language of the source.
    query: String,
    /// The smallest value that is good, in the unit.
    #[serde(default)]
    min: Option<String>,
    /// The largest value that is good, in the unit.
    #[serde(default)]
    max: Option<String>,
    /// How limits are written and values shown: `%` for shares of one, `s` for seconds.
    #[serde(default)]
    unit: limits::WrittenUnit,
    /// A query for the number of samples behind the value; `minSamples` needs it.
    #[serde(default)]
    count: Option<String>,
}

fn check(
    settings: &Value,
    scope: &TemplateScope,
    min_samples: Option<f64>,
) -> Result<Checked, Vec<SettingsError>> {
    let written: Written = settings::read(settings).map_err(|error| vec![error])?;
    if min_samples.is_some() && written.count.is_none() {
        let help = "write a query that counts the samples, or remove minSamples";
        let message = "minSamples is set and count is not";
        return Err(vec![SettingsError::new("/count", message, help)]);
    }
    let (min, max) = (written.min.as_ref(), written.max.as_ref());
    let rule = limits::rule(min, max, written.unit, min_samples)?;
    let read = |path, text| {
        let read = Template::read_in(Language::Plain, &[], path, text, scope);
        read.map_err(|error| vec![error])
    };
    let value = read("/query", &written.query)?;
    let count = written.count.as_deref().map(|text| read("/count", text)).transpose()?;
    let exchange = value.names_canary() && count.as_ref().is_none_or(Template::names_canary);
    Checked::ready(scope, exchange, rule, |role| {
        let count = count.as_ref().map(|count| count.text(scope, role)).transpose()?;
        Ok(Ask::Own { value: value.text(scope, role)?, count })
    })
}
