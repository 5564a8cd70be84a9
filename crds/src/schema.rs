//! The JSON schema of each kind of document, from the types of the written form.
//!
//! It has no references and no `null`: a field is there or it is not.

use std::sync::LazyLock;

use schemars::{
    JsonSchema,
    generate::SchemaSettings,
    transform::{Transform, transform_subschemas},
};
use serde_json::{Map, Value, json};

use crate::{AnalysisTemplate, Kind, Rollout};

static ROLLOUT: LazyLock<Value> = LazyLock::new(|| of::<Rollout>(Kind::Rollout));
static TEMPLATE: LazyLock<Value> = LazyLock::new(|| of::<AnalysisTemplate>(Kind::AnalysisTemplate));
static CLUSTER_TEMPLATE: LazyLock<Value> =
    LazyLock::new(|| of::<AnalysisTemplate>(Kind::ClusterAnalysisTemplate));

fn of<T: JsonSchema>(kind: Kind) -> Value {
    let mut schema = schema_for::<T>();
    schema["title"] = kind.word().into();
    schema["properties"]["kind"] =
        json!({"const": kind.word(), "description": "Which kind of document."});
    schema
}

/// Returns the JSON schema of a kind of document; settings of providers, sources and checks are open in
/// it.
#[must_use]
pub fn schema(kind: Kind) -> Value {
    shared(kind).clone()
}

/// Returns the JSON schema of a type, without references and without `null`.
#[must_use]
pub fn schema_for<T: JsonSchema>() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    without_null(&mut schema);
    schema.into()
}

/// The same, without the copy.
pub(crate) fn shared(kind: Kind) -> &'static Value {
    match kind {
        Kind::Rollout => &ROLLOUT,
        Kind::AnalysisTemplate => &TEMPLATE,
        Kind::ClusterAnalysisTemplate => &CLUSTER_TEMPLATE,
    }
}

/// Removes `null` as an alternative, which the generator adds for everything optional.
pub fn without_null(schema: &mut schemars::Schema) {
    if let Some(fields) = schema.as_object_mut() {
        for key in ["type", "enum"] {
            if let Some(Value::Array(words)) = fields.get_mut(key) {
                words.retain(|word| !word.is_null() && word != "null");
                if key == "type" && words.len() == 1 {
                    let word = words.remove(0);
                    fields.insert(key.to_owned(), word);
                }
            }
        }
        for key in ["anyOf", "oneOf"] {
            merge_alternative(fields, key);
        }
    }
    transform_subschemas(&mut Nullless, schema);
}

/// Puts the one alternative that is not `null` in the place of the choice.
fn merge_alternative(fields: &mut Map<String, Value>, key: &str) {
    let Some(Value::Array(choices)) = fields.get_mut(key) else { return };
    let before = choices.len();
    choices.retain(|choice| choice.get("type").is_none_or(|word| word != "null"));
    if choices.len() == before || choices.len() != 1 {
        return;
    }
    let Value::Object(only) = choices.remove(0) else { return };
    fields.remove(key);
    for (word, value) in only {
        fields.entry(word).or_insert(value);
    }
}

#[derive(Clone)]
struct Nullless;

impl Transform for Nullless {
    fn transform(&mut self, schema: &mut schemars::Schema) {
        without_null(schema);
    }
}
