//! Label selectors as the API server reads them, and an index of what they may mean. Pure.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

/// Things by the labels that they have or ask for. What asks for no label by its value is found by everybody.
#[derive(Debug)]
pub(super) struct Index<T> {
    by_label: HashMap<String, BTreeSet<T>>,
    others: BTreeSet<T>,
}

// === impl Index ===

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { by_label: HashMap::new(), others: BTreeSet::new() }
    }
}

impl<T: Ord + Clone> Index<T> {
    /// Adds something under one label, or as what everybody finds.
    pub(super) fn add(&mut self, label: Option<String>, thing: T) {
        match label {
            Some(label) => self.by_label.entry(label).or_default().insert(thing),
            None => self.others.insert(thing),
        };
    }

    pub(super) fn remove(&mut self, label: Option<String>, thing: &T) {
        let Some(label) = label else {
            self.others.remove(thing);
            return;
        };
        if let Some(things) = self.by_label.get_mut(&label) {
            things.remove(thing);
            if things.is_empty() {
                self.by_label.remove(&label);
            }
        }
    }

    /// Returns what stands under a label.
    pub(super) fn under(&self, label: &str) -> impl Iterator<Item = &T> {
        self.by_label.get(label).into_iter().flatten()
    }

    /// Returns what stands under no label.
    pub(super) fn others(&self) -> impl Iterator<Item = &T> {
        self.others.iter()
    }
}

/// Returns the labels of an object, each in one word.
pub(super) fn words(labels: &Value) -> impl Iterator<Item = String> {
    let labels = labels.as_object().into_iter().flatten();
    labels.filter_map(|(name, value)| Some(word(name, value.as_str()?)))
}

/// Returns a label that all have whom a selector means, where it names one.
pub(super) fn anchor(selector: &Value) -> Option<String> {
    let mut exact = selector.get("matchLabels")?.as_object()?.iter();
    exact.find_map(|(name, value)| Some(word(name, value.as_str()?)))
}

fn word(name: &str, value: &str) -> String {
    format!("{name}={value}")
}

/// Whether a selector means an object with these labels. One that says nothing means nobody.
pub(super) fn selects(selector: &Value, labels: &Value) -> bool {
    let label = |name: &str| labels.get(name).and_then(Value::as_str);
    let exact = selector.get("matchLabels").and_then(Value::as_object);
    let rules = selector.get("matchExpressions").and_then(Value::as_array);
    let nothing = exact.is_none_or(serde_json::Map::is_empty) && rules.is_none_or(Vec::is_empty);
    let has = |(name, value): (&String, &Value)| {
        value.as_str().is_some_and(|value| label(name) == Some(value))
    };
    !nothing
        && exact.into_iter().flatten().all(has)
        && rules.into_iter().flatten().all(|rule| {
            let found = label(rule["key"].as_str().unwrap_or_default());
            let listed = rule["values"].as_array().is_some_and(|values| {
                values.iter().any(|value| found.is_some() && value.as_str() == found)
            });
            match rule["operator"].as_str() {
                Some("In") => listed,
                Some("NotIn") => !listed,
                Some("Exists") => found.is_some(),
                Some("DoesNotExist") => found.is_none(),
                Some(_) | None => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(selector: &Value, labels: &Value, meant: bool) {
        assert_eq!(selects(selector, labels), meant, "{selector} of {labels}");
    }

    #[test]
    fn a_selector_means_whom_the_api_server_says() {
        let rule = |operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": "a", "operator": operator, "values": values}]});
        let a = json!({"a": "1", "b": "2"});
        check(&json!({"matchLabels": {"a": "1"}}), &a, true);
        check(&json!({"matchLabels": {"a": "1", "c": "3"}}), &a, false);
        check(&rule("In", &["1", "2"]), &a, true);
        check(&rule("NotIn", &["1"]), &a, false);
        check(&rule("NotIn", &["1"]), &json!({}), true);
        check(&rule("Exists", &[]), &a, true);
        check(&rule("DoesNotExist", &[]), &a, false);
    }

    #[test]
    fn what_is_no_selector_means_nobody() {
        for odd in [
            json!(null),
            json!({}),
            json!([]),
            json!({"matchLabels": {"c": 5}}),
            json!({"matchLabels": null}),
            json!({"matchExpressions": [{"key": 1}]}),
        ] {
            check(&odd, &json!({"a": "1"}), false);
            check(&odd, &Value::Null, false);
        }
    }
}
