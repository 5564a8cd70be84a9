//! The documents of a text: from text to the typed form.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    AnalysisTemplate, Diagnostic, Path, Place, Places, Rollout, form, nearest, node, scalar::show,
    schema,
};

/// The version of the written form.
pub const API_VERSION: &str = "haldane.dev/v1alpha1";

/// The kinds of document that are known.
pub const KINDS: [&str; 3] = ["Rollout", "AnalysisTemplate", "ClusterAnalysisTemplate"];

/// A kind of document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A rollout.
    Rollout,
    /// Checks for the rollouts of one namespace.
    AnalysisTemplate,
    /// Checks for the rollouts of all namespaces.
    ClusterAnalysisTemplate,
}

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

/// An analysis template as it was written, and where.
#[derive(Clone, Debug)]
pub struct Template {
    /// The typed form.
    pub template: AnalysisTemplate,
    /// Whether it is for the rollouts of all namespaces.
    pub is_for_all: bool,
    /// The same as plain JSON.
    pub value: Value,
    /// The file that it stands in; `None` where that is the text's own.
    pub file: Option<Arc<str>>,
    /// Where everything stands.
    pub places: Places,
}

/// What a text holds, each kind in the order of the text.
#[derive(Clone, Debug, Default)]
pub struct Documents {
    /// The rollouts.
    pub rollouts: Vec<Document>,
    /// The analysis templates.
    pub templates: Vec<Template>,
}

/// Reads every document of a text, which is YAML or JSON.
///
/// Returns all faults of form at once, those of every document. A text without any document is a
/// fault too.
pub fn parse(text: &str) -> Result<Documents, Vec<Diagnostic>> {
    let nodes = node::read(text).map_err(|fault| vec![*fault])?;
    let mut documents = Documents::default();
    let mut faults = Vec::new();
    for node in nodes {
        let (value, places) = node.split();
        if let Err(found) = documents.read(value, places) {
            faults.extend(found);
        }
    }
    if documents.is_empty() && faults.is_empty() {
        let help = format!("begin with `apiVersion: {API_VERSION}` and `kind: Rollout`");
        faults.push(Diagnostic::error(&Path::root(), "there is no document").help(help));
    }
    if faults.is_empty() { Ok(documents) } else { Err(faults) }
}

// === impl Kind ===

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] =
        [Self::Rollout, Self::AnalysisTemplate, Self::ClusterAnalysisTemplate];

    /// Returns the word that a document says.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Rollout => "Rollout",
            Self::AnalysisTemplate => "AnalysisTemplate",
            Self::ClusterAnalysisTemplate => "ClusterAnalysisTemplate",
        }
    }

    /// The kind of a document; a fault tells what makes it none of ours.
    fn of(value: &Value, places: &Places) -> Result<Self, Vec<Diagnostic>> {
        if let Some(fault) = kind_fault(value, places) {
            return Err(vec![fault]);
        }
        let word = value.get("kind").and_then(Value::as_str);
        let kind = Self::ALL.into_iter().find(|kind| Some(kind.word()) == word);
        Ok(kind.expect("a word that is none of these is a fault"))
    }
}

// === impl Documents ===

impl Documents {
    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rollouts.is_empty() && self.templates.is_empty()
    }

    fn read(&mut self, value: Value, places: Places) -> Result<(), Vec<Diagnostic>> {
        match Kind::of(&value, &places)? {
            Kind::Rollout => self.rollouts.push(Document::new(value, places)?),
            Kind::AnalysisTemplate => self.templates.push(Template::new(value, places, false)?),
            Kind::ClusterAnalysisTemplate => {
                self.templates.push(Template::new(value, places, true)?);
            }
        }
        Ok(())
    }
}

// === impl Template ===

impl Template {
    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.template.metadata.name.as_str()
    }

    /// Returns its namespace; `None` where it is for all.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        let written = self.template.metadata.namespace.as_ref();
        (!self.is_for_all).then(|| written.map_or("default", |name| name.as_str()))
    }

    fn new(mut value: Value, places: Places, is_for_all: bool) -> Result<Self, Vec<Diagnostic>> {
        let kind = if is_for_all { Kind::ClusterAnalysisTemplate } else { Kind::AnalysisTemplate };
        let template: AnalysisTemplate = typed(&mut value, &places, kind)?;
        if is_for_all && template.metadata.namespace.is_some() {
            let path = Path::of(&["metadata", "namespace"]);
            let message = "a ClusterAnalysisTemplate is for every namespace and has none";
            let help =
                "remove it, or write `kind: AnalysisTemplate` for the rollouts of one namespace";
            return Err(vec![Diagnostic::error(&path, message).help(help).at(places.key(&path))]);
        }
        Ok(Self { template, is_for_all, value, file: None, places })
    }
}

// === impl Document ===

impl Document {
    /// Takes a rollout that was no text, such as an object that came through an API.
    pub fn from_value(value: Value) -> Result<Self, Vec<Diagnostic>> {
        let places = Places::default();
        match Kind::of(&value, &places)? {
            Kind::Rollout => Self::new(value, places),
            Kind::AnalysisTemplate | Kind::ClusterAnalysisTemplate => {
                let path = Path::of(&["kind"]);
                let fault = Diagnostic::error(&path, "a template is no rollout");
                Err(vec![fault.help("write `kind: Rollout`")])
            }
        }
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
        let rollout = typed(&mut value, &places, Kind::Rollout)?;
        Ok(Self { rollout, value, places })
    }
}

/// Reads the typed form of a kind of document.
fn typed<T: DeserializeOwned>(
    value: &mut Value,
    places: &Places,
    kind: Kind,
) -> Result<T, Vec<Diagnostic>> {
    drop_server_fields(value);
    let faults = form::check(value, schema::shared(kind), &Path::root(), places);
    if !faults.is_empty() {
        return Err(faults);
    }
    serde_path_to_error::deserialize(&*value).map_err(|error| vec![residual_fault(&error, places)])
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
