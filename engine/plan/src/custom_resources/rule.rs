//! One rule that the API server checks, and the places in a schema that rules and list types belong to.

use serde_json::{Map, Value, json};

/// A rule in CEL, and what is said where it is broken: the field, and the remedy.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    rule: String,
    message: String,
    /// A text in CEL that shows the values as well; the message stands in for it where it fails.
    shows: Option<String>,
}

// === impl Rule ===

impl Rule {
    pub(super) fn new(rule: impl Into<String>, message: impl Into<String>) -> Self {
        Self { rule: rule.into(), message: message.into(), shows: None }
    }

    /// Refuses whatever has this field at all.
    pub(super) fn never(message: impl Into<String>) -> Self {
        Self::new("false", message)
    }

    pub(super) fn shows(mut self, expression: impl Into<String>) -> Self {
        self.shows = Some(expression.into());
        self
    }
}

/// Adds a rule to a schema.
pub(super) fn add(schema: &mut Map<String, Value>, rule: &Rule) {
    let mut value = json!({"rule": rule.rule, "message": rule.message});
    if let Some(shows) = &rule.shows {
        value["messageExpression"] = shows.as_str().into();
    }
    let rules = schema.entry("x-kubernetes-validations").or_insert_with(|| json!([]));
    if let Some(rules) = rules.as_array_mut() {
        rules.push(value);
    }
}

/// The schema at a place such as `spec.traffic[].follow`.
pub(super) fn at<'a>(schema: &'a mut Value, place: &str) -> &'a mut Map<String, Value> {
    let mut here = schema;
    for part in place.split('.').filter(|part| !part.is_empty()) {
        let (name, is_list) = match part.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (part, false),
        };
        here = &mut here["properties"][name];
        if is_list {
            here = &mut here["items"];
        }
    }
    here.as_object_mut().unwrap_or_else(|| panic!("the written form has no {place}"))
}

/// Makes a list one that is merged entry by entry, by the name of each.
pub(super) fn by_name(schema: &mut Value, place: &str, key: &str) {
    let list = at(schema, place);
    list.insert("x-kubernetes-list-type".to_owned(), "map".into());
    list.insert("x-kubernetes-list-map-keys".to_owned(), json!([key]));
    let required = at(schema, &format!("{place}[]")).entry("required").or_insert_with(|| json!([]));
    if let Some(required) = required.as_array_mut().filter(|names| !names.contains(&key.into())) {
        required.insert(0, key.into());
    }
}
