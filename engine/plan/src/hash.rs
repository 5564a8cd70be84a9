//! What tells one plan from another.
//!
//! The hash covers what an attempt does: neither the revision nor `paused`. Order of keys, `null`
//! and empty lists count for nothing, so that a field added to the vocabulary later changes no hash.

use haldane_model::Plan;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The version of the algorithm; it precedes every hash.
const VERSION: u32 = 1;

/// Returns the hash of a plan whose own field for it is not looked at.
pub(crate) fn of(plan: &Plan) -> String {
    let mut value = serde_json::to_value(plan).expect("a plan is plain data");
    if let Some(fields) = value.as_object_mut() {
        fields.shift_remove("hash");
    }
    let digest = Sha256::digest(canonical(&value).to_string());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{VERSION}:{hex}")
}

/// The same JSON with keys in order, and without what is empty.
pub(crate) fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().filter(|(_, value)| !is_empty(value)).collect();
            sorted.sort_by_key(|(name, _)| *name);
            let fields = sorted.into_iter().map(|(name, value)| (name.clone(), canonical(value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(canonical).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
