//! One JSON schema of all documents, with the settings of every kind that the registries know.

use haldane_crds::Kind;
use serde_json::{Map, Value, json};

use crate::Registries;

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

fn of(kind: Kind, registries: &Registries<'_>) -> Value {
    let mut schema = haldane_crds::schema(kind);
    let checks: Vec<_> = registries.checks.iter().map(|row| (row.kind, (row.schema)())).collect();
    match kind {
        Kind::AnalysisTemplate | Kind::ClusterAnalysisTemplate => {
            compose(&mut schema, "/properties/spec/properties/checks/items", checks);
            return schema;
        }
        Kind::Rollout => {}
    }
    let providers = registries.providers.iter().map(|row| (row.kind, (row.schema)()));
    compose(&mut schema, "/properties/spec/properties/traffic/items", providers.collect());
    let analysis = "/properties/spec/properties/analysis/properties";
    let sources = registries.sources.iter().map(|row| (row.kind, (row.schema)()));
    compose(&mut schema, &format!("{analysis}/sources/items"), sources.collect());
    compose(&mut schema, &format!("{analysis}/checks/items"), checks);
    schema
}

/// Adds each kind as a field of which exactly one must be there, and closes the object.
fn compose(schema: &mut Value, pointer: &str, kinds: Vec<(&str, schemars::Schema)>) {
    let Some(Value::Object(item)) = schema.pointer_mut(pointer) else { return };
    let choices: Vec<Value> = kinds.iter().map(|(kind, _)| json!({"required": [kind]})).collect();
    item.insert("oneOf".to_owned(), choices.into());
    item.insert("additionalProperties".to_owned(), false.into());
    let Some(fields) =
        item.entry("properties").or_insert_with(|| Map::new().into()).as_object_mut()
    else {
        return;
    };
    for (kind, mut schema) in kinds {
        haldane_crds::without_null(&mut schema);
        let mut schema = Value::from(schema);
        let id = format!("#{kind}");
        // The kind's own references are resolved within the kind's own schema.
        if let Some(words) = schema.as_object_mut() {
            words.shift_remove("$schema");
            if words.contains_key("$defs") {
                words.insert("$id".to_owned(), format!("haldane:{}", &id[1..]).into());
            }
        }
        fields.insert(kind.to_owned(), schema);
    }
}
