//! One JSON schema of all documents, with the settings of every kind that the registries know.

use haldane_crds::Kind;
use serde_json::{Map, Value, json};

use crate::{Registries, custom_resources::inlined};

/// A kind's name, and the schema of its settings.
pub(crate) type Settings = (&'static str, Value);

/// Returns the JSON schema of a document, settings included: exactly one of its kinds.
#[must_use]
pub fn schema(registries: &Registries<'_>) -> Value {
    let mut kinds: Vec<Value> = Kind::ALL.into_iter().map(|kind| of(kind, registries)).collect();
    let draft = kinds.iter_mut().filter_map(|kind| kind.as_object_mut()?.shift_remove("$schema"));
    let draft = draft.last().unwrap_or_default();
    let words: Vec<&str> = Kind::ALL.into_iter().map(Kind::word).collect();
    json!({
        "$schema": draft,
        "title": "Haldane",
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": {"kind": {"enum": words}},
        "oneOf": kinds,
    })
}

/// Returns the JSON schema of one kind of document.
pub(crate) fn of(kind: Kind, registries: &Registries<'_>) -> Value {
    let mut schema = haldane_crds::schema(kind);
    match kind {
        Kind::AnalysisTemplate | Kind::ClusterAnalysisTemplate => {
            compose(&mut schema, "/properties/spec/properties/checks/items", checks(registries));
            return schema;
        }
        Kind::Rollout => {}
    }
    compose(&mut schema, "/properties/spec/properties/traffic/items", providers(registries));
    let analysis = "/properties/spec/properties/analysis/properties";
    compose(&mut schema, &format!("{analysis}/sources/items"), sources(registries));
    compose(&mut schema, &format!("{analysis}/checks/items"), checks(registries));
    schema
}

/// The settings of every provider.
pub(crate) fn providers(registries: &Registries<'_>) -> Vec<Settings> {
    registries.providers.iter().map(|row| (row.kind, settings(row.kind, (row.schema)()))).collect()
}

/// The settings of every source; one that holds another holds its settings.
pub(crate) fn sources(registries: &Registries<'_>) -> Vec<Settings> {
    let rows = registries.sources.iter();
    let mut all: Vec<Settings> =
        rows.map(|row| (row.kind, settings(row.kind, (row.schema)()))).collect();
    let plain: Vec<Settings> = all.iter().map(|(kind, schema)| (*kind, inlined(schema))).collect();
    for (_, schema) in &mut all {
        fill_open(schema, &plain);
    }
    all
}

/// The settings of every check.
pub(crate) fn checks(registries: &Registries<'_>) -> Vec<Settings> {
    registries.checks.iter().map(|row| (row.kind, settings(row.kind, (row.schema)()))).collect()
}

fn settings(kind: &str, mut schema: schemars::Schema) -> Value {
    haldane_crds::without_null(&mut schema);
    let mut schema = Value::from(schema);
    // The kind's own references are resolved within the kind's own schema.
    if let Some(words) = schema.as_object_mut() {
        words.shift_remove("$schema");
        words.entry("description").or_insert_with(|| format!("The settings of `{kind}`.").into());
        if words.contains_key("$defs") {
            words.insert("$id".to_owned(), format!("haldane:{kind}").into());
        }
    }
    schema
}

/// Puts the settings of a kind where a field of its name says nothing of what it holds.
fn fill_open(schema: &mut Value, kinds: &[Settings]) {
    let Some(words) = schema.as_object_mut() else { return };
    for (word, below) in words {
        match (word.as_str(), below) {
            ("properties", Value::Object(fields)) => {
                for (name, field) in fields {
                    let says = ["type", "$ref", "anyOf", "oneOf", "enum", "const"];
                    let is_open = says.iter().all(|word| field.get(word).is_none());
                    match kinds.iter().find(|(kind, _)| is_open && kind == name) {
                        Some((_, known)) => *field = known.clone(),
                        None => fill_open(field, kinds),
                    }
                }
            }
            ("$defs", Value::Object(defs)) => {
                defs.values_mut().for_each(|schema| fill_open(schema, kinds));
            }
            ("items" | "additionalProperties", below) => fill_open(below, kinds),
            (_, _) => {}
        }
    }
}

/// Adds each kind as a field of which exactly one must be there, and closes the object.
fn compose(schema: &mut Value, pointer: &str, kinds: Vec<Settings>) {
    let Some(Value::Object(item)) = schema.pointer_mut(pointer) else { return };
    let choices: Vec<Value> = kinds.iter().map(|(kind, _)| json!({"required": [kind]})).collect();
    item.insert("oneOf".to_owned(), choices.into());
    item.insert("additionalProperties".to_owned(), false.into());
    let Some(fields) =
        item.entry("properties").or_insert_with(|| Map::new().into()).as_object_mut()
    else {
        return;
    };
    for (kind, schema) in kinds {
        fields.insert(kind.to_owned(), schema);
    }
}
