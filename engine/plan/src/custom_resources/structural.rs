//! From the JSON schema of the written form to the structural schema that a cluster wants.
//!
//! Every node has a type, nothing typed stands in a choice, everything is bounded, and nothing has a
//! default: an unset field stays unset, what it means is the engine's to say. Choices become fields of
//! which a rule allows one.

use serde_json::{Map, Value, json};

use super::{inline::inlined, rule, trust};

/// How long a text may be, how many entries a list and a map may have, that say nothing of their own. Without
/// bounds the API server takes no rule: it counts what a rule may cost at most.
const TEXT_MAX: u64 = 4096;
const LIST_MAX: u64 = 64;
const MAP_MAX: u64 = 64;
/// Four numbers of five digits, each with its unit.
const DURATION_MAX: u64 = 28;
const NAME_MAX: u64 = 63;
/// `12.34%`
const SHARE_MAX: u64 = 8;

/// Returns the structural schema of a JSON schema.
pub(super) fn structural(schema: &Value) -> Value {
    convert(&inlined(schema))
}

fn convert(schema: &Value) -> Value {
    let mut out = Map::new();
    if let Some(text) = description(schema) {
        out.insert("description".to_owned(), text.into());
    }
    if word(schema, "format") == Some("haldane-percent") {
        share(&mut out, schema);
    } else if let Some(words) = words(schema) {
        out.insert("type".to_owned(), "string".into());
        out.insert("enum".to_owned(), json!(words));
    } else {
        match choices(schema) {
            Some(choices) if choices.iter().all(is_object) => tagged(&mut out, choices),
            Some(choices) => mixed(&mut out, choices),
            None => typed(&mut out, schema),
        }
    }
    Value::Object(out)
}

/// What a field is for, in one paragraph, with what it is where it is not written.
fn description(schema: &Value) -> Option<String> {
    let text = word(schema, "description")?;
    let paragraphs = text.split("\n\n").map(|one| one.replace('\n', " "));
    let mut text = paragraphs.collect::<Vec<_>>().join("\n\n");
    let told = ["ithout it", "default", "nset"].iter().any(|words| text.contains(words));
    if let (false, Some(default)) = (told, default(schema)) {
        text.push_str(&format!(" Without it `{default}`."));
    }
    Some(text)
}

/// What is taken where nothing is written, if that is more than nothing.
fn default(schema: &Value) -> Option<String> {
    match schema.get("default")? {
        Value::String(text) => {
            let words = words(schema).unwrap_or_default();
            let known = words.iter().find(|known| known.eq_ignore_ascii_case(text));
            Some(known.copied().unwrap_or(text).to_owned())
        }
        Value::Bool(true) => Some("true".to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(false) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// `10` or `"0.5%"`: the one choice of types that a cluster knows.
fn share(out: &mut Map<String, Value>, schema: &Value) {
    let choices = schema.get("anyOf").and_then(Value::as_array);
    for choice in choices.into_iter().flatten() {
        for (word, value) in choice.as_object().into_iter().flatten() {
            if word != "type" {
                out.insert(word.clone(), value.clone());
            }
        }
    }
    out.insert("maxLength".to_owned(), SHARE_MAX.into());
    out.insert("anyOf".to_owned(), json!([{"type": "integer"}, {"type": "string"}]));
    out.insert("x-kubernetes-int-or-string".to_owned(), true.into());
}

/// Objects of which each has a field of its own: all fields, of which a rule allows one.
fn tagged(out: &mut Map<String, Value>, choices: &[Value]) {
    let mut fields = Map::new();
    for choice in choices {
        let own = choice.get("properties").and_then(Value::as_object);
        for (name, schema) in own.into_iter().flatten() {
            let mut schema = convert(schema);
            if schema.get("description").is_none()
                && let Some(text) = description(choice)
            {
                schema["description"] = text.into();
            }
            fields.insert(name.clone(), schema);
        }
    }
    out.insert("type".to_owned(), "object".into());
    let names: Vec<String> = fields.keys().cloned().collect();
    out.insert("properties".to_owned(), fields.into());
    rule::add(out, &exactly_one(&names));
}

/// A text or an object: a cluster has no type for that, so that no rule can look into it. What is said of texts
/// holds for texts alone, and what is said of objects for objects.
fn mixed(out: &mut Map<String, Value>, choices: &[Value]) {
    for choice in choices {
        if let Some(words) = words(choice) {
            out.insert("pattern".to_owned(), format!("^({})$", words.join("|")).into());
            continue;
        }
        let Value::Object(mut own) = convert(choice) else { continue };
        let Some(fields) = own.remove("properties") else { continue };
        if let Some(required) = own.remove("required") {
            out.insert("required".to_owned(), required);
        }
        out.insert("properties".to_owned(), fields);
    }
    out.insert("maxLength".to_owned(), TEXT_MAX.into());
    out.insert("x-kubernetes-preserve-unknown-fields".to_owned(), true.into());
}

fn typed(out: &mut Map<String, Value>, schema: &Value) {
    let Some(kind) = word(schema, "type") else {
        out.insert("x-kubernetes-preserve-unknown-fields".to_owned(), true.into());
        return;
    };
    out.insert("type".to_owned(), kind.into());
    match kind {
        "object" => object(out, schema),
        "array" => {
            copy(out, schema, "minItems");
            bound(out, schema, "maxItems", LIST_MAX);
            out.insert("items".to_owned(), convert(schema.get("items").unwrap_or(&Value::Null)));
        }
        "string" => text(out, schema),
        "integer" => {
            out.insert("format".to_owned(), "int64".into());
            copy(out, schema, "minimum");
            match word(schema, "format") {
                Some("uint32") => bound(out, schema, "maximum", u64::from(u32::MAX)),
                _ => copy(out, schema, "maximum"),
            }
        }
        _ => {}
    }
}

fn text(out: &mut Map<String, Value>, schema: &Value) {
    copy(out, schema, "minLength");
    copy(out, schema, "pattern");
    match word(schema, "format") {
        Some("date-time") => copy(out, schema, "format"),
        Some("haldane-duration") => bound(out, schema, "maxLength", DURATION_MAX),
        Some("haldane-name") => bound(out, schema, "maxLength", NAME_MAX),
        _ => bound(out, schema, "maxLength", TEXT_MAX),
    }
}

fn object(out: &mut Map<String, Value>, schema: &Value) {
    let mut fields = Map::new();
    let known = schema.get("properties").and_then(Value::as_object);
    for (name, schema) in known.into_iter().flatten() {
        fields.insert(name.clone(), convert(schema));
    }
    if let Some(rest) = schema.get("additionalProperties").filter(|rest| rest.is_object()) {
        copy(out, schema, "minProperties");
        bound(out, schema, "maxProperties", MAP_MAX);
        out.insert("additionalProperties".to_owned(), convert(rest));
        return;
    }
    copy(out, schema, "required");
    if !fields.is_empty() {
        out.insert("properties".to_owned(), fields.into());
    }
    let kinds = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let kinds: Vec<String> =
        kinds.filter_map(|choice| Some(choice["required"][0].as_str()?.to_owned())).collect();
    if !kinds.is_empty() {
        rule::add(out, &exactly_one(&kinds));
    }
}

/// Of these fields one is there, and no other.
fn exactly_one(names: &[String]) -> rule::Rule {
    let has: Vec<String> = names.iter().map(|name| format!("has(self.{name})")).collect();
    let usable: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| !trust::is_own(name)).collect();
    let message = match usable.as_slice() {
        [only] => format!("`{only}` is missing: add it"),
        _ => format!("there must be exactly one of {}: keep one, or add one", usable.join(", ")),
    };
    rule::Rule::new(format!("[{}].exists_one(it, it)", has.join(", ")), message)
}

/// The choices of a schema; `None` where it has none, or where they only say which field must be there.
fn choices(schema: &Value) -> Option<&[Value]> {
    let choices = schema.get("oneOf").or_else(|| schema.get("anyOf"))?.as_array()?;
    (schema.get("type").is_none()).then_some(choices.as_slice())
}

fn is_object(schema: &Value) -> bool {
    word(schema, "type") == Some("object")
}

/// The words of an enumeration, with or without a description for each.
fn words(schema: &Value) -> Option<Vec<&str>> {
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words.iter().map(Value::as_str).collect();
    }
    if let Some(word) = word(schema, "const") {
        return Some(vec![word]);
    }
    let choices = choices(schema)?.iter().map(words).collect::<Option<Vec<_>>>()?;
    Some(choices.concat())
}

fn word<'a>(schema: &'a Value, key: &str) -> Option<&'a str> {
    schema.get(key).and_then(Value::as_str)
}

fn copy(out: &mut Map<String, Value>, schema: &Value, key: &str) {
    if let Some(value) = schema.get(key) {
        out.insert(key.to_owned(), value.clone());
    }
}

/// The schema's own bound, or ours.
fn bound(out: &mut Map<String, Value>, schema: &Value, key: &str, ours: u64) {
    let own = schema.get(key).cloned();
    out.insert(key.to_owned(), own.unwrap_or_else(|| ours.into()));
}
