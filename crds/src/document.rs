//! One document: from text to the typed form.

use serde_json::Value;

use crate::{Diagnostic, Path, Place, Places, Rollout, form, nearest, node, scalar::show, schema};

/// The version of the written form.
pub const API_VERSION: &str = "haldane.dev/v1alpha1";

/// The kinds of document that are known.
pub const KINDS: [&str; 1] = ["Rollout"];

/// What a Kubernetes API server adds to `metadata`; it is no part of what is wanted.
const SERVER_FIELDS: [&str; 10] = [
    "uid",
    "resourceVersion",
    "generation",
    "generateName",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "finalizers",
    "ownerReferences",
];

/// A rollout as it was written, and where.
#[derive(Clone, Debug)]
pub struct Document {
    /// The typed form.
    pub rollout: Rollout,
    /// The same as plain JSON.
    pub value: Value,
    /// Where everything stands; empty for a document that was no text.
    pub places: Places,
}

/// Reads every document of a text, which is YAML or JSON.
///
/// Returns all faults of form at once, those of every document. A text without any document is a
/// fault too.
pub fn parse(text: &str) -> Result<Vec<Document>, Vec<Diagnostic>> {
    let nodes = node::read(text).map_err(|fault| vec![*fault])?;
    let mut documents = Vec::new();
    let mut faults = Vec::new();
    for node in nodes {
        let (value, places) = node.split();
        match Document::new(value, places) {
            Ok(document) => documents.push(document),
            Err(found) => faults.extend(found),
        }
    }
    if documents.is_empty() && faults.is_empty() {
        let help = format!("begin with `apiVersion: {API_VERSION}` and `kind: Rollout`");
        faults.push(Diagnostic::error(&Path::root(), "there is no document").help(help));
    }
    if faults.is_empty() { Ok(documents) } else { Err(faults) }
}

// === impl Document ===

impl Document {
    /// Takes a document that was no text, such as an object that came through an API.
    pub fn from_value(value: Value) -> Result<Self, Vec<Diagnostic>> {
        Self::new(value, Places::default())
    }

    /// Returns where a value was written, or what holds it.
    #[must_use]
    pub fn value_at(&self, path: &Path) -> Option<Place> {
        self.places.value(path)
    }

    /// Returns where a key was written, or what holds it.
    #[must_use]
    pub fn key_at(&self, path: &Path) -> Option<Place> {
        self.places.key(path)
    }

    fn new(mut value: Value, places: Places) -> Result<Self, Vec<Diagnostic>> {
        if let Some(fault) = kind_fault(&value, &places) {
            return Err(vec![fault]);
        }
        drop_server_fields(&mut value);
        let faults = form::check(&value, schema::shared(), &Path::root(), &places);
        if !faults.is_empty() {
            return Err(faults);
        }
        match serde_path_to_error::deserialize(&value) {
            Ok(rollout) => Ok(Self { rollout, value, places }),
            Err(error) => Err(vec![residual_fault(&error, &places)]),
        }
    }
}

/// What makes a document none of ours; then the rest is not looked at.
fn kind_fault(value: &Value, places: &Places) -> Option<Diagnostic> {
    let root = Path::root();
    if !value.is_object() {
        let message = format!("{} is not a document", show(value));
        let help = format!("begin with `apiVersion: {API_VERSION}` and `kind: Rollout`");
        return Some(Diagnostic::error(&root, message).help(help).at(places.value(&root)));
    }
    let fault = |field: &str, wanted: &[&str]| {
        let path = root.key(field);
        let list = wanted.join(", ");
        let Some(written) = value.get(field) else {
            let message = format!("the field `{field}` is missing");
            let help = format!("add `{field}: {}`", wanted[0]);
            return Some(Diagnostic::error(&root, message).help(help).at(places.value(&root)));
        };
        if written.as_str().is_some_and(|word| wanted.contains(&word)) {
            return None;
        }
        let near = written.as_str().and_then(|word| nearest(word, wanted.iter().copied()));
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known: {list}"),
        };
        let message = format!("{} is not known", show(written));
        Some(Diagnostic::error(&path, message).help(help).at(places.value(&path)))
    };
    fault("kind", &KINDS).or_else(|| fault("apiVersion", &[API_VERSION]))
}

/// Removes what the API server writes, so that `kubectl get -o yaml` reads back.
fn drop_server_fields(value: &mut Value) {
    let Some(fields) = value.as_object_mut() else { return };
    fields.shift_remove("status");
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| !SERVER_FIELDS.contains(&name.as_str()));
    }
}

/// A fault that the type sees and the schema does not.
fn residual_fault(
    error: &serde_path_to_error::Error<serde_json::Error>,
    places: &Places,
) -> Diagnostic {
    use serde_path_to_error::Segment;
    let mut path = Path::root();
    for segment in error.path() {
        path = match segment {
            Segment::Seq { index } => path.index(*index),
            Segment::Map { key } => path.key(key),
            Segment::Enum { variant } => path.key(variant),
            Segment::Unknown => path,
        };
    }
    Diagnostic::error(&path, error.inner().to_string()).at(places.value(&path))
}
