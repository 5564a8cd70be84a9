//! `json`: one number of a document that a service answers.
//!
//! A path picks it, or an expression makes it. The request is written here, below the address of a source
//! of kind `http`; templates in it are encoded for where they stand.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{CheckEntry, Checked, limits};
use crate::{
    SettingsError, TemplateScope, http,
    question::{Ask, Document, HttpRequest},
    settings,
    templates::{Language, Template},
};

pub(super) const ENTRY: CheckEntry =
    CheckEntry { kind: "json", schema: || schemars::schema_for!(Written), check };

/// A number of a document must stay between limits.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    /// What follows the address of the source, with its query: `/v1/score?side={{ canary }}`.
    path: String,
    /// How it is asked for.
    #[serde(default)]
    method: Method,
    /// What is sent, as JSON; with `method: POST`.
    #[serde(default)]
    body: Option<String>,
    /// A JSONPath (RFC 9535) to the value, such as `$.data.score`.
    #[serde(default)]
    json_path: Option<String>,
    /// A CEL expression that makes a number, or true or false, of `document`; of `value` or `values`
    /// where `jsonPath` picks them.
    #[serde(default)]
    expression: Option<String>,
    /// The smallest value that is good, in the unit; true is 1 and false is 0.
    #[serde(default)]
    min: Option<String>,
    /// The largest value that is good, in the unit.
    #[serde(default)]
    max: Option<String>,
    /// How limits are written and values shown: `%` for shares of one, `s` for seconds.
    #[serde(default)]
    unit: limits::WrittenUnit,
}

/// How a document is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Method {
    /// Without a body.
    #[default]
    Get,
    /// With a body.
    Post,
}

fn check(
    settings: &Value,
    scope: &TemplateScope,
    min_samples: Option<f64>,
) -> Result<Checked, Vec<SettingsError>> {
    let written: Written = settings::read(settings).map_err(|error| vec![error])?;
    let (json_path, expression) = (written.json_path.as_deref(), written.expression.as_deref());
    let mut errors = http::check_document(json_path, expression);
    if !written.path.starts_with('/') || written.path.contains('#') {
        let message = format!("{:?} is no path below the source's address", written.path);
        errors.push(SettingsError::new("/path", message, "begin it with /, such as /v1/score"));
    }
    if written.body.is_some() && written.method == Method::Get {
        errors.push(SettingsError::new("/body", "GET sends no body", "write method: POST"));
    }
    if min_samples.is_some() {
        let message = "a document does not tell how many samples there are";
        errors.push(SettingsError::new("", message, "remove minSamples"));
    }
    let (min, max) = (written.min.as_ref(), written.max.as_ref());
    let rule = limits::rule(min, max, written.unit, None).map_err(|more| errors.extend(more));
    let mut read = |language, path, text: &str| {
        let read = Template::read_in(language, &[], path, text, scope);
        read.map_err(|error| errors.push(error)).ok()
    };
    let path = read(Language::Url, "/path", &written.path);
    let body = written.body.as_deref().map(|text| read(Language::Json, "/body", text));
    let (Ok(rule), Some(path), true) = (rule, path, errors.is_empty()) else { return Err(errors) };
    let body = body.flatten();
    let exchange = path.names_canary() || body.as_ref().is_some_and(Template::names_canary);
    let method = if written.method == Method::Get { "GET" } else { "POST" };
    Checked::ready(scope, exchange, rule, |role| {
        let body = body.as_ref().map(|body| body.document(scope, role)).transpose()?;
        Ok(Ask::Document(Document {
            request: HttpRequest { method: method.into(), url: path.text(scope, role)?, body },
            json_path: written.json_path.clone(),
            expression: written.expression.clone(),
        }))
    })
}
