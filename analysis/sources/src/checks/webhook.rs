//! `webhook`: somebody outside says yes or no.
//!
//! It needs no source: whom it asks stands in its own settings (`crate::webhook`). 2xx is yes, every other
//! answer no; where there is no answer the source is broken, and its policy holds.

use serde_json::Value;

use super::{CheckEntry, Checked, Rule};
use crate::{
    SettingsError, TemplateScope,
    question::{Ask, HttpRequest},
    settings,
    templates::{ATTEMPT, Language, Template},
    webhook::{self, Written},
};

pub(super) const ENTRY: CheckEntry =
    CheckEntry { kind: webhook::KIND, schema: || schemars::schema_for!(Written), check };

/// Yes is 1 and no is 0.
const YES: f64 = 1.0;

fn check(
    settings: &Value,
    scope: &TemplateScope,
    min_samples: Option<f64>,
) -> Result<Checked, Vec<SettingsError>> {
    let written: Written = settings::read(settings).map_err(|error| vec![error])?;
    let mut errors = webhook::check_written(&written);
    if min_samples.is_some() {
        let message = "a webhook does not tell how many samples there are";
        errors.push(SettingsError::new("", message, "remove minSamples"));
    }
    let mut read = |language, path, text: &str| {
        let read = Template::read_in(language, &ATTEMPT, path, text, scope);
        read.map_err(|error| errors.push(error)).ok()
    };
    let url = read(Language::Url, "/url", &written.url);
    let body = written.body.as_deref().map(|text| read(Language::Json, "/body", text));
    let (Some(url), true) = (url, errors.is_empty()) else { return Err(errors) };
    let body = body.flatten();
    let rule = Rule { min: Some(YES), max: None, unit: "", min_samples: None };
    Checked::ready(scope, false, rule, |role| {
        let body = body.as_ref().map(|body| body.document(scope, role)).transpose()?;
        let method = written.method.word().to_owned();
        let request = HttpRequest { method, url: url.text(scope, role)?, body };
        Ok(Ask::Consent { request, rollout: format!("{}/{}", scope.namespace, scope.name) })
    })
}
