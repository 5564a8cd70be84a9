//! Holds a document against its schema and tells every fault of form at once.
//!
//! Understands the part of JSON Schema that the written form's own schema uses, no more. The
//! scalars of ours are checked by their own parsers, so that a message says what was meant.

use serde_json::{Map, Value};

use crate::{
    Diagnostic, Path, Places,
    argument::{SECRET_REMEDY, is_of_a_secret},
    nearest,
    scalar::{self, show},
};

/// Returns everything in `value` that the schema does not allow. Of the words of JSON Schema it knows those
/// that schemas of the written form use.
#[must_use]
pub fn check(value: &Value, schema: &Value, path: &Path, places: &Places) -> Vec<Diagnostic> {
    let mut form = Form { places, found: Vec::new() };
    form.value(value, schema, path);
    form.found
}

struct Form<'a> {
    places: &'a Places,
    found: Vec<Diagnostic>,
}

// === impl Form ===

impl Form<'_> {
    fn value(&mut self, value: &Value, schema: &Value, path: &Path) {
        let format = text(schema, "format").unwrap_or_default();
        if let Some(checked) = scalar::check(format, value) {
            if let Err(odd) = checked {
                self.tell(path, odd.message, Some(odd.help));
            }
            return;
        }
        if let Some(words) = words(schema) {
            self.word(value, &words, path);
            return;
        }
        if let Some(wanted) = text(schema, "type")
            && !is_a(value, wanted)
        {
            let message = format!("{} is not {}", show(value), article(wanted));
            self.tell(path, message, type_remedy(value, wanted));
            return;
        }
        match value {
            Value::Object(fields) => self.object(fields, schema, path),
            Value::Array(items) => self.list(items, schema, path),
            Value::String(written) => self.text(written, schema, path),
            Value::Number(number) => self.number(number, schema, path),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn object(&mut self, fields: &Map<String, Value>, schema: &Value, path: &Path) {
        let none = Map::new();
        let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let rest = schema.get("additionalProperties");
        let most = schema.get("maxProperties").and_then(Value::as_u64).unwrap_or(u64::MAX);
        if fields.len() as u64 > most {
            let message =
                format!("the map has {} entries, at most {most} are allowed", fields.len());
            self.tell(path, message, text(schema, "description").map(lower));
        }
        for (name, value) in fields {
            let path = path.key(name);
            match (known.get(name), rest) {
                (Some(schema), _) => self.value(value, schema, &path),
                (None, Some(Value::Bool(false))) => self.unknown(name, known, &path),
                (None, Some(rest)) => self.value(value, rest, &path),
                (None, None) => {}
            }
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str).filter(|name| !fields.contains_key(*name)) {
            let description = known.get(name).and_then(|schema| text(schema, "description"));
            let place = self.places.key(path);
            let message = format!("the field `{name}` is missing");
            let help = description.map(|words| format!("add `{name}`: {}", lower(words)));
            self.found.push(Diagnostic::error(path, message).help_if(help).at(place));
        }
    }

    fn unknown(&mut self, name: &str, known: &Map<String, Value>, path: &Path) {
        let names = known.keys().map(String::as_str);
        let secret = is_of_a_secret(name) && known.contains_key("default");
        let help = match nearest(name, names.clone()) {
            _ if secret => SECRET_REMEDY.to_owned(),
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", names.collect::<Vec<_>>().join(", ")),
        };
        let message = format!("the field `{name}` is not known");
        self.found.push(Diagnostic::error(path, message).help(help).at(self.places.key(path)));
    }

    fn list(&mut self, items: &[Value], schema: &Value, path: &Path) {
        let limit = |key| schema.get(key).and_then(Value::as_u64);
        let (least, most) = (limit("minItems").unwrap_or(0), limit("maxItems").unwrap_or(u64::MAX));
        let count = items.len() as u64;
        if count < least || count > most {
            let wanted = match (least, most) {
                _ if least == most => format!("there must be exactly {least}"),
                _ if count < least => format!("there must be at least {least}"),
                _ => format!("at most {most} are allowed"),
            };
            let message = match count {
                0 => format!("the list is empty, {wanted}"),
                _ => format!("the list has {count} entries, {wanted}"),
            };
            let help = text(schema, "description").map(lower);
            self.found
                .push(Diagnostic::error(path, message).help_if(help).at(self.places.key(path)));
        }
        if let Some(schema) = schema.get("items") {
            for (at, item) in items.iter().enumerate() {
                self.value(item, schema, &path.index(at));
            }
        }
    }

    fn text(&mut self, written: &str, schema: &Value, path: &Path) {
        let limit = |key| schema.get(key).and_then(Value::as_u64);
        let count = written.chars().count() as u64;
        if limit("minLength").is_some_and(|least| count < least) {
            self.tell(path, "the text is empty".to_owned(), None);
        }
        if let Some(most) = limit("maxLength").filter(|most| count > *most) {
            self.tell(
                path,
                format!("the text has {count} characters, at most {most} are read"),
                None,
            );
        }
    }

    fn number(&mut self, number: &serde_json::Number, schema: &Value, path: &Path) {
        let limit = |key| schema.get(key).and_then(Value::as_f64);
        let value = number.as_f64().unwrap_or(f64::NAN);
        if limit("minimum").is_some_and(|least| value < least) {
            self.tell(path, format!("`{number}` is negative"), None);
        }
        let most = limit("maximum").unwrap_or_else(|| f64::from(u32::MAX));
        if value > most {
            self.tell(path, format!("`{number}` is too large, the most is {most}"), None);
        }
    }

    fn word(&mut self, value: &Value, words: &[&str], path: &Path) {
        if value.as_str().is_some_and(|word| words.contains(&word)) {
            return;
        }
        let near = value.as_str().and_then(|word| nearest(word, words.iter().copied()));
        let list = words.join(", ");
        let help = match near {
            Some(near) => format!("did you mean `{near}`? Known: {list}"),
            None => format!("known: {list}"),
        };
        self.tell(path, format!("{} is not known here", show(value)), Some(help));
    }

    fn tell(&mut self, path: &Path, message: String, help: Option<String>) {
        let place = self.places.value(path);
        self.found.push(Diagnostic::error(path, message).help_if(help).at(place));
    }
}

fn text<'a>(schema: &'a Value, key: &str) -> Option<&'a str> {
    schema.get(key).and_then(Value::as_str)
}

/// The words of an enumeration, with or without a description for each.
fn words(schema: &Value) -> Option<Vec<&str>> {
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return Some(words.iter().filter_map(Value::as_str).collect());
    }
    if let Some(word) = text(schema, "const") {
        return Some(vec![word]);
    }
    let choices = schema.get("oneOf").and_then(Value::as_array)?;
    Some(choices.iter().filter_map(words).flatten().collect())
}

fn is_a(value: &Value, wanted: &str) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        _ => true,
    }
}

fn article(wanted: &str) -> &str {
    match wanted {
        "object" => "a map",
        "array" => "a list",
        "string" => "a string",
        "boolean" => "a boolean",
        "integer" => "a whole number",
        other => other,
    }
}

fn type_remedy(value: &Value, wanted: &str) -> Option<String> {
    let remedy = match (wanted, value) {
        (_, Value::Null) => "write a value, or remove the key".to_owned(),
        ("string", Value::Number(_) | Value::Bool(_)) => format!("quote it: `\"{value}\"`"),
        ("boolean", _) => "write `true` or `false`".to_owned(),
        ("integer", Value::String(text)) if text.parse::<u32>().is_ok() => {
            format!("write it without quotes: `{text}`")
        }
        ("array", _) => "begin each entry on a line of its own with `- `".to_owned(),
        ("object", _) => "write `key: value` lines, indented".to_owned(),
        _ => return None,
    };
    Some(remedy)
}

/// A description as part of a sentence.
fn lower(description: &str) -> String {
    let first = description.lines().next().unwrap_or_default().trim_end_matches('.');
    let mut letters = first.chars();
    match letters.next() {
        Some(letter) => letter.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}
