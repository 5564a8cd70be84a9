//! The built-in checks: what a user writes, turned into a question and a rule.
//!
//! A check asks; it does not judge. Its rule is read by the judge as
//! `{"min", "max", "unit", "minSamples"}`, in base units: shares of one and seconds. Without a
//! limit it compares with the serving side: `{"compare": {…}}`. What else is counted window by window
//! has a form of its own: `{"burn": {…}}`, `{"gauge": {…}}`, `{"score": {…}}`.

mod burn;
mod compare;
mod errors;
mod gauge;
mod json;
mod latency;
mod limits;
mod number;
mod presets;
mod query;
mod score;
mod shape;
mod webhook;

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use serde_json::Value;

pub use self::shape::{Shape, ShapeKind, detect_shape, pin_shape};
use crate::{Question, SettingsError, SideQuestion, TemplateScope, question::Ask, templates::Role};

/// Checks settings and writes what is asked.
pub type CheckSettings =
    fn(&Value, &TemplateScope, Option<f64>) -> Result<Checked, Vec<SettingsError>>;

/// One row of the registry of checks.
#[derive(Clone, Copy, Debug)]
pub struct CheckEntry {
    /// Its key under a check: `errors`.
    pub kind: &'static str,
    /// The JSON schema of its settings.
    pub schema: fn() -> schemars::Schema,
    /// Checks settings and writes the question and the rule. The number is the check's
    /// `minSamples`, where it is set.
    pub check: CheckSettings,
}

/// A check whose settings can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It can be pinned.
    Ready {
        /// What is asked: the JSON text of a [`Question`].
        question: Arc<str>,
        /// How it is judged, as JSON text for the judge.
        rule: Arc<str>,
    },
    /// It does not say which metrics the application has: find out with [`detect_shape`], write
    /// it into the settings with [`pin_shape`], and check them again.
    NeedsShape(ShapeKind),
}

/// Every kind of check.
pub const CHECKS: &[CheckEntry] = &[
    errors::ENTRY,
    latency::ENTRY,
    query::ENTRY,
    burn::ENTRY,
    gauge::ENTRY,
    score::ENTRY,
    number::ENTRY,
    json::ENTRY,
    webhook::ENTRY,
];

/// How an answer is judged, in base units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    min: Option<f64>,
    max: Option<f64>,
    unit: &'static str,
    min_samples: Option<f64>,
}

impl Checked {
    /// Writes a question with both assignments of the roles.
    fn ready(
        scope: &TemplateScope,
        exchange: bool,
        rule: impl Serialize,
        ask: impl Fn(Role) -> Result<Ask, SettingsError>,
    ) -> Result<Self, Vec<SettingsError>> {
        let mut sides = BTreeMap::new();
        for (role, (side, labels)) in
            [Role::FirstIsCanary, Role::SecondIsCanary].into_iter().zip(&scope.sides)
        {
            let ask = ask(role).map_err(|error| vec![error])?;
            sides.insert(side.clone(), SideQuestion { labels: labels.clone(), ask });
        }
        let question = Question { sides, exchange };
        let text = "plain data can be written as JSON";
        Ok(Self::Ready {
            question: serde_json::to_string(&question).expect(text).into(),
            rule: serde_json::to_string(&rule).expect(text).into(),
        })
    }
}

#[cfg(test)]
#[path = "checks/tests.rs"]
mod tests;
