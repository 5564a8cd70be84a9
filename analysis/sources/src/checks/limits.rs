//! The limits of a check that is one number: what is written, and the rule that it makes.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Rule;
use crate::{
    SettingsError,
    settings::{self, Unit},
};

/// How limits are written and values shown.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
pub(super) enum WrittenUnit {
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

/// Reads limits; one of them is needed.
pub(super) fn rule(
    min: Option<&String>,
    max: Option<&String>,
    unit: WrittenUnit,
    min_samples: Option<f64>,
) -> Result<Rule, Vec<SettingsError>> {
    let (unit, name) = match unit {
        WrittenUnit::Number => (Unit::Number, ""),
        WrittenUnit::Ratio => (Unit::Ratio, "%"),
        WrittenUnit::Seconds => (Unit::Seconds, "s"),
    };
    let mut errors = Vec::new();
    if min.is_none() && max.is_none() {
        let message = "neither min nor max is set, so every value would be good";
        errors.push(SettingsError::new("/max", message, "set one of them, such as max: \"100\""));
    }
    let mut limit = |path, text: Option<&String>| {
        let read = text.map(|text| settings::limit(path, text, unit)).transpose();
        read.map_err(|error| errors.push(error)).ok().flatten()
    };
    let (min, max) = (limit("/min", min), limit("/max", max));
    if let (Some(least), Some(most)) = (min, max)
        && least > most
    {
        let message = format!("min {least} is above max {most}");
        errors.push(SettingsError::new("/min", message, "exchange them"));
    }
    if errors.is_empty() { Ok(Rule { min, max, unit: name, min_samples }) } else { Err(errors) }
}
