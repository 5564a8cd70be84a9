//! What an API server would say of a document: it is asked to apply it, and to change nothing.

use haldane_outside::{ClusterError, Refusal};
use haldane_plan::{Diagnostic, Document, Severity, Template};
use miette::miette;
use serde_json::Value;

use super::{API, DEADLINE, Seat, named, text, trouble};

/// One document to be tried.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tried<'a> {
    /// A rollout.
    Rollout(&'a Document),
    /// A template.
    Template(&'a Template),
}

// === impl Seat ===

impl Seat {
    /// Has the server look at a document; what it finds comes with its line where the path leads to one.
    pub(crate) async fn try_out(
        &self,
        document: Tried<'_>,
        namespace: &str,
    ) -> miette::Result<Vec<Diagnostic>> {
        let mut object = document.value().clone();
        let name = text(&object, "/metadata/name").to_owned();
        let mut path = API.to_owned();
        if document.is_namespaced() {
            let own = text(&object, "/metadata/namespace");
            let namespace = if own.is_empty() { namespace } else { own }.to_owned();
            path.push_str(&format!("/namespaces/{}", named(&namespace)?));
            object["metadata"]["namespace"] = namespace.into();
        }
        let query = "dryRun=All&fieldManager=haldane-validate&force=true&fieldValidation=Strict";
        let path = format!("{path}/{}/{}?{query}", document.plural(), named(&name)?);
        match self.cluster.apply(&path, &object, DEADLINE).await {
            Ok(_) => Ok(Vec::new()),
            Err(ClusterError::Refused(refusal))
                if refusal.code == 404 && refusal.object.is_none() =>
            {
                let error = ClusterError::Refused(refusal);
                Err(trouble::of_list(error, document.plural(), None))
            }
            Err(ClusterError::Refused(refusal)) => Ok(document.found(&refusal)),
            Err(ClusterError::Unavailable(why)) => {
                Err(miette!("the API server was not asked: {why}"))
            }
        }
    }
}

// === impl Tried ===

impl Tried<'_> {
    fn value(&self) -> &Value {
        match self {
            Self::Rollout(document) => &document.value,
            Self::Template(template) => &template.value,
        }
    }

    fn is_namespaced(&self) -> bool {
        match self {
            Self::Rollout(_) => true,
            Self::Template(template) => !template.is_for_all,
        }
    }

    fn plural(&self) -> &'static str {
        match self {
            Self::Rollout(_) => "rollouts",
            Self::Template(template) if template.is_for_all => "clusteranalysistemplates",
            Self::Template(_) => "analysistemplates",
        }
    }

    /// What a refusal says of this document.
    fn found(&self, refusal: &Refusal) -> Vec<Diagnostic> {
        faults(refusal).into_iter().map(|(field, message)| self.fault(&field, &message)).collect()
    }

    fn fault(&self, field: &str, message: &str) -> Diagnostic {
        // The nearest node that is written: what is missing is shown at what lacks it.
        let places = match self {
            Self::Rollout(document) => &document.places,
            Self::Template(template) => &template.places,
        };
        let path = path_of(field);
        let place = places.key(&path);
        Diagnostic {
            severity: Severity::Error,
            path: field.to_owned(),
            message: format!("the API server refuses it: {message}"),
            help: None,
            file: None,
            line: place.map(|place| place.line),
            column: place.map(|place| place.column),
            offset: place.and_then(|place| place.offset),
            len: place.and_then(|place| place.len),
        }
    }
}

/// The fields that a refusal names, with what it says of each; one without a field where it names none.
fn faults(refusal: &Refusal) -> Vec<(String, String)> {
    let split = |cause: &String| {
        let (field, said) = cause.split_once(": ").unwrap_or(("", cause));
        // Where a rule is of no field the server writes this.
        let field = if matches!(field, "<nil>" | "") { inner(said) } else { field.to_owned() };
        (field, said.to_owned())
    };
    let mut found: Vec<_> = refusal.causes.iter().map(split).collect();
    found.retain(|(_, said)| !said.contains("some validation rules were not checked"));
    if !found.is_empty() {
        return found;
    }
    let unknown = refusal.message.split("unknown field \"").skip(1);
    let unknown = unknown.filter_map(|rest| rest.split_once('"'));
    let said = |field: &str| (field.to_owned(), format!("it does not know the field {field}"));
    let unknown: Vec<_> = unknown.map(|(field, _)| said(field.trim_start_matches('.'))).collect();
    match unknown.is_empty() {
        false => unknown,
        true => vec![(inner(&refusal.message), trouble::words(refusal))],
    }
}

/// The field that a policy's own words begin with: `spec.verb: …`.
fn inner(said: &str) -> String {
    let begin = |part: &str| part.starts_with("spec.") || part.starts_with("metadata.");
    let mut parts = said.split(": ").map(str::trim);
    parts.find(|part| begin(part) && !part.contains(' ')).unwrap_or_default().to_owned()
}

/// `spec.steps[0].weight` or `metadata.labels[app.kubernetes.io/name]` as a path.
fn path_of(field: &str) -> haldane_crds::Path {
    let mut path = haldane_crds::Path::root();
    let mut rest = field.trim_start_matches('.');
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let (key, after) = inside.split_once(']').unwrap_or((inside, ""));
            path = match key.parse::<usize>() {
                Ok(index) => path.index(index),
                Err(_) => path.key(key.trim_matches('"')),
            };
            rest = after.trim_start_matches('.');
            continue;
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        path = path.key(&rest[..end]);
        rest = rest[end..].trim_start_matches('.');
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, causes: &[&str], found: &[(&str, &str)]) {
        let causes = causes.iter().map(|cause| (*cause).to_owned()).collect();
        let refusal = Refusal { code: 422, message: message.to_owned(), object: None, causes };
        let got = faults(&refusal);
        let got: Vec<(&str, &str)> = got.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(got, found);
    }

    #[test]
    fn every_field_that_a_refusal_names_is_told() {
        check(
            "invalid",
            &["spec.steps[1].weight: Invalid value: 5: too low"],
            &[("spec.steps[1].weight", "Invalid value: 5: too low")],
        );
        check(
            "strict decoding error: unknown field \"spec.foo\", unknown field \"spec.steps[0].bar\"",
            &[],
            &[
                ("spec.foo", "it does not know the field spec.foo"),
                ("spec.steps[0].bar", "it does not know the field spec.steps[0].bar"),
            ],
        );
        check(
            "denied request: spec.paused: not on Fridays",
            &[],
            &[("spec.paused", "denied request: spec.paused: not on Fridays")],
        );
        check("no", &[], &[("", "no")]);
    }

    #[test]
    fn a_field_as_the_server_writes_it_is_a_path() {
        assert_eq!(path_of("spec.steps[0].weight").to_string(), "spec.steps[0].weight");
        assert_eq!(
            path_of("metadata.labels[app.kubernetes.io/name]").to_string(),
            "metadata.labels[\"app.kubernetes.io/name\"]"
        );
        assert_eq!(path_of("").to_string(), "");
    }
}
