//! A JSON schema without references: what a cluster cannot follow is put where it is named.

use serde_json::{Map, Value};

/// How deep schemas nest at most; ours are trees.
const DEPTH_MAX: usize = 64;

/// Returns the schema with every reference replaced by what it names.
pub(crate) fn inlined(schema: &Value) -> Value {
    resolve(schema, &Map::new(), 0)
}

/// `defs`: what references name here; the nearest definitions count.
fn resolve(schema: &Value, defs: &Map<String, Value>, depth: usize) -> Value {
    assert!(depth < DEPTH_MAX, "the written form does not hold itself");
    let Value::Object(fields) = schema else { return schema.clone() };
    let defs = fields.get("$defs").and_then(Value::as_object).unwrap_or(defs);
    let below = |value: &Value| resolve(value, defs, depth + 1);
    let mut out = match fields.get("$ref").and_then(Value::as_str) {
        Some(name) => match below(target(name, defs)) {
            Value::Object(named) => named,
            other @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)) => return other,
        },
        None => Map::new(),
    };
    for (word, value) in fields {
        let value = match (word.as_str(), value) {
            ("$ref" | "$defs" | "$id" | "$schema" | "title", _) => continue,
            ("properties", Value::Object(known)) => {
                known.iter().map(|(name, schema)| (name.clone(), below(schema))).collect()
            }
            ("anyOf" | "oneOf" | "allOf", Value::Array(choices)) => {
                choices.iter().map(below).collect()
            }
            ("items" | "additionalProperties", schema) => below(schema),
            (_, value) => value.clone(),
        };
        out.insert(word.clone(), value);
    }
    Value::Object(out)
}

fn target<'a>(name: &str, defs: &'a Map<String, Value>) -> &'a Value {
    let name = name.strip_prefix("#/$defs/").expect("references name definitions");
    defs.get(name).expect("what is named is defined")
}
