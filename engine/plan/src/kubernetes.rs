//! Which lines of a file must move before it can be applied to a cluster.
//!
//! A Rollout in Kubernetes names objects of its own namespace only; files, environment variables,
//! sockets and programs belong to the engine's own configuration.

use haldane_crds::{Diagnostic, Document, Path};
use serde_json::Value;

/// Keys whose values are places on the engine's own machine.
const OWN_MACHINE: [(&str, &str); 9] = [
    ("file", "name a Secret instead: `{secretKeyRef: {name: …, key: …}}`"),
    ("env", "name a Secret instead: `{secretKeyRef: {name: …, key: …}}`"),
    ("sockets", "move it to the engine's configuration"),
    ("socket", "move it to the engine's configuration"),
    ("map", "move it to the engine's configuration"),
    ("path", "move it to the engine's configuration"),
    ("kubeconfig", "move it to the engine's configuration, and name it by `cluster:`"),
    ("exec", "move it to the engine's configuration"),
    ("command", "move it to the engine's configuration, and name it by `plugin:`"),
];

/// Returns one diagnostic for every line that must move; empty where the document can be applied.
#[must_use]
pub fn for_kubernetes(document: &Document) -> Vec<Diagnostic> {
    let spec = Path::of(&["spec"]);
    let mut found = Vec::new();
    let roots = [spec.key("traffic"), spec.key("analysis").key("sources")];
    let values = ["/spec/traffic", "/spec/analysis/sources"];
    for (path, pointer) in roots.iter().zip(values) {
        if let Some(value) = document.value.pointer(pointer) {
            walk(document, value, path, &mut found);
        }
    }
    found
}

fn walk(document: &Document, value: &Value, path: &Path, found: &mut Vec<Diagnostic>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = path.key(name);
                match OWN_MACHINE.iter().find(|(key, _)| key == name) {
                    Some((_, help)) if !value.is_object() && is_own(name, value) => {
                        let message = format!("`{name}` names a place on the engine's own machine");
                        let fault = Diagnostic::error(&path, message).help(*help);
                        found.push(fault.at(document.key_at(&path)));
                    }
                    Some(_) | None => walk(document, value, &path, found),
                }
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                walk(document, item, &path.index(at), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A variable is always the engine's; so is everything else that is a path.
fn is_own(name: &str, value: &Value) -> bool {
    let text =
        |value: &Value| value.as_str().is_some_and(|text| name != "path" || text.starts_with('/'));
    text(value) || value.is_array()
}
