//! One JSON schema of a document, with the settings of every kind that the registries know.

use serde_json::{Map, Value, json};

use crate::Registries;

/// Returns the JSON schema of a document, settings included.
#[must_use]
pub fn schema(registries: &Registries<'_>) -> Value {
    let mut schema = haldane_crds::schema();
    let providers = registries.providers.iter().map(|row| (row.kind, (row.schema)()));
    compose(&mut schema, "/properties/spec/properties/traffic/items", providers.collect());
    let analysis = "/properties/spec/properties/analysis/properties";
    let sources = registries.sources.iter().map(|row| (row.kind, (row.schema)()));
    compose(&mut schema, &format!("{analysis}/sources/items"), sources.collect());
    let checks = registries.checks.iter().map(|row| (row.kind, (row.schema)()));
    compose(&mut schema, &format!("{analysis}/checks/items"), checks.collect());
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
