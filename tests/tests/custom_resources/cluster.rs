//! What a cluster takes, without one: the schemas of the definitions by a JSON-schema validator, their rules
//! by a CEL evaluator, unknown fields refused as `kubectl` has the API server refuse them.
//!
//! The real API server has the last word; a suite against it reads the same documents.

use std::collections::BTreeMap;

use haldane_plan::{Registries, custom_resources};
use serde_json::Value;

/// The kinds of a cluster that has the definitions.
pub struct Cluster {
    kinds: BTreeMap<String, Kind>,
}

struct Kind {
    schema: Value,
    form: jsonschema::Validator,
}

/// A violation after which the API server looks at no rule.
const BLOCKING: [&str; 6] = ["type", "enum", "required", "maxLength", "maxItems", "maxProperties"];

impl Cluster {
    /// Installs the definitions.
    pub fn new(registries: &Registries<'_>) -> Self {
        let kinds = custom_resources(registries).into_iter().map(|one| {
            let kind = one.definition["spec"]["names"]["kind"].as_str().unwrap().to_owned();
            let schema = one.definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
            let form = jsonschema::draft202012::new(&schema).unwrap();
            (kind, Kind { schema: without_type_tests(&schema), form })
        });
        Self { kinds: kinds.collect() }
    }

    /// Why an object is refused, in the order that it is looked at; `old`: what it is written over.
    pub fn refuses(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let kind = object["kind"].as_str().unwrap_or_default();
        let Some(Kind { schema, form }) = self.kinds.get(kind) else {
            return vec![format!("kind: {kind} is not known")];
        };
        let mut found = Vec::new();
        unknown(object, schema, "", &mut found);
        let mut is_blocked = false;
        for error in form.iter_errors(object) {
            is_blocked |= BLOCKING.contains(&error.kind().keyword());
            let path = as_shown(&error.instance_path().to_string());
            found.push(match error.kind() {
                jsonschema::error::ValidationErrorKind::Required { property } => {
                    format!("{path}.{}: Required value", property.as_str().unwrap_or_default())
                }
                _ => format!("{path}: {error}"),
            });
        }
        twice(object, schema, "", &mut found);
        if !is_blocked {
            let broken = self.breaks(object, old).into_iter();
            found.extend(
                broken.map(|one| format!("{}: {} {:?}", one.field_path, one.message, one.kind)),
            );
        }
        found
    }

    /// The schema of a kind, as the evaluator reads it.
    pub fn schema(&self, kind: &str) -> &Value {
        &self.kinds[kind].schema
    }

    /// The rules that an object breaks.
    pub fn breaks(&self, object: &Value, old: Option<&Value>) -> Vec<kube_cel::ValidationError> {
        let kind = object["kind"].as_str().unwrap_or_default();
        let Some(Kind { schema, .. }) = self.kinds.get(kind) else { return Vec::new() };
        let broken = kube_cel::Validator::new().validate(schema, object, old);
        broken.err().map(kube_cel::ValidationErrors::into_vec).unwrap_or_default()
    }
}

/// The evaluator has no `type()`. Rules ask with it whether a share is a number or a text with a `%`, which the
/// text itself tells as well.
fn without_type_tests(schema: &Value) -> Value {
    let text = schema.to_string();
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("(type(") {
        let (share, after) = after.split_once(") == int ?").expect("a rule asks for `int`");
        out.push_str(&format!("{before}(!string({share}).endsWith('%') ?"));
        rest = after;
    }
    out.push_str(rest);
    serde_json::from_str(&out).unwrap()
}

/// A JSON pointer as the API server shows it: `spec.steps[0].weight`.
fn as_shown(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').filter(|part| !part.is_empty()) {
        match part.parse::<usize>() {
            Ok(at) => path.push_str(&format!("[{at}]")),
            Err(_) if path.is_empty() => path.push_str(part),
            Err(_) => path.push_str(&format!(".{part}")),
        }
    }
    path
}

/// Fields that no schema knows.
fn unknown(value: &Value, schema: &Value, path: &str, found: &mut Vec<String>) {
    if schema.get("x-kubernetes-preserve-unknown-fields").is_some() {
        return;
    }
    match value {
        Value::Object(fields) => {
            let is_metadata = path == ".metadata";
            for (name, value) in fields.iter().filter(|_| !is_metadata) {
                let path = format!("{path}.{name}");
                match schema["properties"].get(name).or_else(|| schema.get("additionalProperties"))
                {
                    Some(schema) => unknown(value, schema, &path, found),
                    None => {
                        found.push(format!("unknown field \"{}\"", path.trim_start_matches('.')))
                    }
                }
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                unknown(item, &schema["items"], &format!("{path}[{at}]"), found);
            }
        }
        _ => {}
    }
}

/// Entries of a list that is merged by name, or of a set, which are there twice.
fn twice(value: &Value, schema: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let below = schema["properties"].get(name);
                if let Some(below) = below.or_else(|| schema.get("additionalProperties")) {
                    twice(value, below, &format!("{path}.{name}"), found);
                }
            }
        }
        Value::Array(items) => {
            let key = |item: &Value| match schema["x-kubernetes-list-map-keys"][0].as_str() {
                Some(key) => item[key].clone(),
                None => item.clone(),
            };
            let is_unique = ["map", "set"]
                .contains(&schema["x-kubernetes-list-type"].as_str().unwrap_or_default());
            for (at, item) in items.iter().enumerate() {
                if is_unique && items[..at].iter().any(|other| key(other) == key(item)) {
                    let path = path.trim_start_matches('.');
                    found.push(format!("{path}[{at}]: Duplicate value: {}", key(item)));
                }
                twice(item, &schema["items"], &format!("{path}[{at}]"), found);
            }
        }
        _ => {}
    }
}
