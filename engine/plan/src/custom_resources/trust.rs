//! What a Rollout of a cluster may not name: places on the engine's own machine, programs, other
//! clusters, other namespaces.
//!
//! One table, for the rules of the API server and for `validate --for kubernetes`.

use haldane_crds::{Diagnostic, Path, Places};
use serde_json::{Map, Value, json};

use super::{
    inline::inlined,
    rule::{self, Rule},
};

const SECRET: &str = "name a Secret instead: `{secretKeyRef: {name: …, key: …}}`";
const MOVE: &str = "move it to the engine's configuration";
const PLACE: &str = "names a place on the engine's own machine";

/// Fields that name such a thing: what they name, and what to do instead.
const OWN: [(&str, &str, &str); 14] = [
    ("file", PLACE, SECRET),
    ("env", PLACE, SECRET),
    ("caFile", PLACE, MOVE),
    ("certFile", PLACE, MOVE),
    ("keyFile", PLACE, MOVE),
    ("sockets", PLACE, MOVE),
    ("socket", PLACE, MOVE),
    ("map", PLACE, MOVE),
    ("directory", PLACE, MOVE),
    ("exec", "names a program", MOVE),
    ("command", "names a program", MOVE),
    ("kubeconfig", PLACE, MOVE),
    ("context", "names another cluster", MOVE),
    (
        "namespace",
        "names another namespace",
        "remove it: a rollout names objects of its own namespace",
    ),
];

/// Returns whether a field of settings may not be named in a cluster.
pub(super) fn is_own(name: &str) -> bool {
    OWN.iter().any(|(own, _, _)| *own == name)
}

fn refusal(name: &str) -> Option<(String, &'static str)> {
    let (_, what, help) = OWN.iter().find(|(own, _, _)| *own == name)?;
    Some((format!("`{name}` {what}"), help))
}

/// Refuses, below a structural schema, every such field by its name.
pub(super) fn refuse(schema: &mut Map<String, Value>) {
    match schema.get_mut("required").and_then(Value::as_array_mut) {
        Some(required) => required.retain(|name| !name.as_str().is_some_and(is_own)),
        None => require_the_only_usable(schema),
    }
    for word in ["items", "additionalProperties"] {
        if let Some(below) = schema.get_mut(word).and_then(Value::as_object_mut) {
            refuse(below);
        }
    }
    // No rule looks into what has no type: there nothing fits, and the field's own words say why.
    let is_mixed = schema.get("type").is_none();
    let Some(fields) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (name, field) in fields {
        if let Some((message, help)) = refusal(name).filter(|_| is_mixed) {
            let description = format!("{message}: {help}");
            *field = json!({"description": description, "type": "string", "minLength": 1, "maxLength": 0});
            continue;
        }
        let Some(field) = field.as_object_mut() else { continue };
        refuse(field);
        if let Some((message, help)) = refusal(name).filter(|_| field["type"] != "object") {
            rule::add(field, &Rule::never(format!("{message}: {help}")));
        }
    }
}

/// Of a text or an object, no rule says that one of the object's fields must be there: where a cluster takes one
/// alone, that one must.
fn require_the_only_usable(schema: &mut Map<String, Value>) {
    if schema.contains_key("type") {
        return;
    }
    let fields = schema.get("properties").and_then(Value::as_object);
    let usable = fields.into_iter().flat_map(Map::keys).filter(|name| !is_own(name));
    if let [only] = usable.collect::<Vec<_>>().as_slice() {
        let required = json!([only]);
        schema.insert("required".to_owned(), required);
    }
}

/// Refuses, in the structural schema of entries, the kinds that live by the engine's own machine.
pub(super) fn refuse_kinds(entries: &mut Map<String, Value>, kinds: &[(&'static str, Value)]) {
    for (kind, field) in kinds.iter().filter_map(|(kind, schema)| Some((kind, lives_by(schema)?))) {
        let (message, help) = refused_kind(kind, &field);
        if let Some(schema) = entries["properties"][kind].as_object_mut() {
            rule::add(schema, &Rule::never(format!("{message}: {help}")));
        }
    }
}

fn refused_kind(kind: &str, field: &str) -> (String, &'static str) {
    let message = format!("`{kind}` lives by `{field}` on the engine's own machine");
    (message, "run this rollout there with `haldane serve`, or use a kind that a cluster has")
}

/// The field of the engine's own machine without which settings do nothing: it must be there, or is taken
/// where it is not.
fn lives_by(schema: &Value) -> Option<String> {
    let schema = inlined(schema);
    let required = schema.get("required").and_then(Value::as_array);
    let is_required =
        |name: &str| required.is_some_and(|names| names.iter().any(|required| required == name));
    let fields = schema.get("properties")?.as_object()?;
    let mut fields = fields.iter().filter(|(name, _)| is_own(name));
    let taken = |schema: &Value| schema.get("default").is_some_and(|default| !default.is_null());
    fields.find(|(name, schema)| is_required(name) || taken(schema)).map(|(name, _)| name.clone())
}

/// Tells which lines of settings must move, with their places.
pub(super) struct Lines<'a> {
    pub(super) places: &'a Places,
    pub(super) found: Vec<Diagnostic>,
}

// === impl Lines ===

impl Lines<'_> {
    /// Looks at a list of entries, each with one of these kinds.
    pub(super) fn entries(&mut self, list: &Value, path: &Path, kinds: &[(&'static str, Value)]) {
        for (at, entry) in list.as_array().into_iter().flatten().enumerate() {
            for (kind, schema) in kinds {
                let Some(settings) = entry.get(kind) else { continue };
                let path = path.index(at).key(kind);
                if let Some(field) = lives_by(schema) {
                    let (message, help) = refused_kind(kind, &field);
                    self.tell(&path, message, help);
                }
                self.walk(settings, &inlined(schema), &path);
            }
        }
    }

    fn walk(&mut self, value: &Value, schema: &Value, path: &Path) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let path = path.key(name);
                    for (schema, is_field) in below(schema, name) {
                        match refusal(name).filter(|_| is_field && !value.is_object()) {
                            Some((message, help)) => self.tell(&path, message, help),
                            None => self.walk(value, schema, &path),
                        }
                    }
                }
            }
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    if let Some(schema) = schema.get("items") {
                        self.walk(item, schema, &path.index(at));
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn tell(&mut self, path: &Path, message: String, help: &str) {
        let fault = Diagnostic::error(path, message).help(help).at(self.places.key(path));
        if !self.found.contains(&fault) {
            self.found.push(fault);
        }
    }
}

/// The schemas of what stands under a key, and whether it is a field with a name of its own: a user's own
/// key in a map says nothing.
fn below<'a>(schema: &'a Value, name: &str) -> Vec<(&'a Value, bool)> {
    if let Some(field) = schema.get("properties").and_then(|fields| fields.get(name)) {
        return vec![(field, true)];
    }
    if let Some(rest) = schema.get("additionalProperties").filter(|rest| rest.is_object()) {
        return vec![(rest, false)];
    }
    let choices = ["oneOf", "anyOf"].iter().filter_map(|word| schema.get(*word)?.as_array());
    choices.flatten().flat_map(|choice| below(choice, name)).collect()
}
