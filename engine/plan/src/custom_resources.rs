//! The CustomResourceDefinitions: the written form as a cluster stores and checks it.
//!
//! They are made from the schema that `haldane schema` prints, so that the written form has one source, and
//! from the types of what the engine writes. They hold no default, so that an unset field stays unset, and
//! refuse by name what a cluster's rollout may not name. They never convert: there is one version.

mod analysis_run;
mod inline;
mod kinds;
mod rule;
mod rules;
mod structural;
mod trust;

use haldane_crds::{Diagnostic, Document, Kind, Path, Places, Template, check_form};
use serde_json::{Value, json};

pub use self::analysis_run::analysis_run;
pub(crate) use self::inline::inlined;
use self::kinds::{KINDS, Shape};
use crate::{Registries, schema};

/// The group of every kind.
const GROUP: &str = "haldane.dev";
/// Its one version.
const VERSION: &str = "v1alpha1";

/// One CustomResourceDefinition.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomResource {
    /// The kind's plural, such as `rollouts`: its name in addresses.
    pub plural: &'static str,
    /// The object, as it is applied.
    pub definition: Value,
}

/// Returns the CustomResourceDefinitions of every kind.
#[must_use]
pub fn custom_resources(registries: &Registries<'_>) -> Vec<CustomResource> {
    KINDS.iter().map(|shape| custom_resource(shape, registries)).collect()
}

fn custom_resource(shape: &Shape, registries: &Registries<'_>) -> CustomResource {
    let Shape { kind, plural, singular, short, scope, .. } = shape;
    let columns: Vec<Value> = shape.columns.iter().map(kinds::Column::value).collect();
    let selectable: Vec<Value> =
        shape.selectable.iter().map(|path| json!({"jsonPath": path})).collect();
    let mut version = json!({
        "name": VERSION,
        "served": true,
        "storage": true,
        "additionalPrinterColumns": columns,
    });
    if !selectable.is_empty() {
        version["selectableFields"] = selectable.into();
    }
    if shape.has_status {
        version["subresources"] = json!({"status": {}});
    }
    version["schema"] = json!({"openAPIV3Schema": (shape.schema)(registries)});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{GROUP}"),
            "labels": {
                "app.kubernetes.io/name": "haldane",
                "app.kubernetes.io/part-of": "haldane",
            },
        },
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {
                "kind": kind,
                "listKind": format!("{kind}List"),
                "plural": plural,
                "singular": singular,
                "shortNames": short,
                "categories": ["haldane"],
            },
            "versions": [version],
        },
    });
    CustomResource { plural, definition }
}

/// Returns what a cluster refuses of a rollout that `compile` does not, with its lines: what must move, what
/// exceeds a cluster's bounds, and what it must know by name.
pub(crate) fn refused_rollout(document: &Document, registries: &Registries<'_>) -> Vec<Diagnostic> {
    let mut found = of_form(&document.value, &document.places, Kind::Rollout, registries);
    let mut lines = trust::Lines { places: &document.places, found: Vec::new() };
    let (spec, value) = (Path::of(&["spec"]), &document.value["spec"]);
    lines.entries(&value["traffic"], &spec.key("traffic"), &schema::providers(registries));
    let (path, value) = (spec.key("analysis"), &value["analysis"]);
    lines.entries(&value["sources"], &path.key("sources"), &schema::sources(registries));
    lines.entries(&value["checks"], &path.key("checks"), &schema::checks(registries));
    found.extend(lines.found);
    found
}

/// The same of a template.
pub(crate) fn refused_template(
    template: &Template,
    registries: &Registries<'_>,
) -> Vec<Diagnostic> {
    let kind =
        if template.is_for_all { Kind::ClusterAnalysisTemplate } else { Kind::AnalysisTemplate };
    let mut found = of_form(&template.value, &template.places, kind, registries);
    let mut lines = trust::Lines { places: &template.places, found: Vec::new() };
    let path = Path::of(&["spec", "checks"]);
    lines.entries(&template.value["spec"]["checks"], &path, &schema::checks(registries));
    found.extend(lines.found);
    found
}

fn of_form(
    value: &Value,
    places: &Places,
    kind: Kind,
    registries: &Registries<'_>,
) -> Vec<Diagnostic> {
    let schema = kinds::form(kind, registries);
    let spec = &schema["properties"]["spec"];
    let mut found = check_form(&value["spec"], spec, &Path::of(&["spec"]), places);
    for fault in &mut found {
        if fault.message == "the field `name` is missing" {
            let help = "add `name:`: a cluster merges these entries by their names";
            fault.help = Some(help.to_owned());
        }
    }
    found
}
