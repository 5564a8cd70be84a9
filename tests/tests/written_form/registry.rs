//! A registry as small as the written form's tests need: the kinds' names and the shape of their
//! answers, without anything that connects.

use std::sync::Arc;

use haldane_model::Acknowledged;
use haldane_plan::{CheckKind, Checked, Registries};
use haldane_providers::{Capabilities, Error, ProviderEntry, SettingsError as ProviderFault};
use haldane_sources::{SettingsError, SourceEntry, TemplateScope};
use serde_json::{Value, json};

/// Returns every kind that the tests name.
pub(crate) fn registries() -> Registries<'static> {
    Registries { providers: &[HAPROXY], sources: &[PROMETHEUS], checks: &CHECKS, revision }
}

const HAPROXY: ProviderEntry = ProviderEntry {
    kind: "haproxy",
    schema: || schemars::json_schema!({"type": "object", "required": ["share", "destinations"]}),
    check: |settings, sides| {
        let there = |side: &str| settings["destinations"].get(side).is_some();
        let missing =
            [sides.first.as_str(), sides.second.as_str()].into_iter().find(|side| !there(side));
        match missing {
            None => Ok(settings.clone()),
            Some(side) => Err(vec![ProviderFault {
                path: "/destinations".to_owned(),
                message: format!("the side `{side}` has no destination"),
                help: Some("name a backend for each side".to_owned()),
            }]),
        }
    },
    targets: |settings| {
        let word = |pointer| settings.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        vec![format!("haproxy:{}:{}", word("/share/map"), word("/share/key"))]
    },
    capabilities: |_| Capabilities {
        granularity: 1,
        acknowledged: Acknowledged::Programmed,
        settling: std::time::Duration::ZERO,
        write_deadline: std::time::Duration::from_secs(5),
        signed: true,
        layer7: true,
        sticky: false,
        mirroring: false,
    },
    build: |_, _, _| Err(Error::Invalid("nothing is built where only text is read".to_owned())),
};

const PROMETHEUS: SourceEntry = SourceEntry {
    kind: "prometheus",
    schema: || schemars::json_schema!({"type": "object", "required": ["url"]}),
    check: |settings| {
        let file = settings.pointer("/bearer/file").and_then(Value::as_str);
        match file.filter(|file| !std::path::Path::new(file).exists()) {
            None => Ok(settings.clone()),
            Some(file) => Err(vec![fault(
                "/bearer/file",
                format!("the file `{file}` cannot be read: not found"),
                "create it, readable for the user the engine runs as",
            )]),
        }
    },
    build: |_, _| Err(fault("", "nothing is built where only text is read".to_owned(), "")),
};

const CHECKS: [CheckKind; 3] = [
    CheckKind { kind: "errors", schema: limit_schema, check: measured },
    CheckKind { kind: "latency", schema: limit_schema, check: measured },
    CheckKind { kind: "query", schema: limit_schema, check: queried },
];

fn limit_schema() -> schemars::Schema {
    schemars::json_schema!({"type": "object", "properties": {"max": {"type": "string"}}})
}

fn fault(path: &str, message: String, help: &str) -> SettingsError {
    SettingsError { path: path.to_owned(), message, help: Some(help.to_owned()) }
}

fn ready(settings: &Value, samples: Option<f64>) -> Result<Checked, Vec<SettingsError>> {
    let max = settings["max"].as_str().map(|_| 1.0);
    let rule = json!({"min": null, "max": max, "minSamples": samples});
    Ok(Checked::Ready { question: settings.to_string().into(), rule: rule.to_string().into() })
}

fn measured(
    settings: &Value,
    _: &TemplateScope,
    samples: Option<f64>,
) -> Result<Checked, Vec<SettingsError>> {
    if settings["max"].is_string() && settings["metrics"].is_null() {
        return Ok(Checked::NeedsShape);
    }
    ready(settings, samples)
}

fn queried(
    settings: &Value,
    _: &TemplateScope,
    samples: Option<f64>,
) -> Result<Checked, Vec<SettingsError>> {
    let query = settings["promql"].as_str().unwrap_or_default();
    let known = ["canary", "canary.labels", "stable", "stable.labels", "window", "namespace"];
    for piece in query.split("{{").skip(1) {
        let name = piece.split("}}").next().unwrap_or_default().trim();
        if !known.contains(&name) {
            let help = format!("known: {}", known.join(", "));
            return Err(vec![fault(
                "/promql",
                format!("the variable `{name}` is not known"),
                &help,
            )]);
        }
    }
    if samples.is_some() && settings["count"].is_null() {
        let help = "write a query that counts the samples, or remove minSamples";
        return Err(vec![fault("/count", "minSamples is set and count is not".to_owned(), help)]);
    }
    if query.matches('(').count() != query.matches(')').count() {
        let help = "close every parenthesis";
        return Err(vec![fault("/promql", format!("`{query}` is no PromQL"), help)]);
    }
    ready(settings, samples)
}

fn revision(settings: &Value, _: &TemplateScope) -> Result<Arc<str>, Vec<SettingsError>> {
    Ok(settings.to_string().into())
}
