//! The two sides: names, labels, and where their revisions are asked for.

use std::sync::Arc;

use haldane_crds::{Path, Side as Written};
use haldane_model::{Side, SideName, Source};
use haldane_sources::TemplateScope;
use serde_json::{Value, json};

use crate::{Options, Registries, faults::Faults};

/// Compiles both sides; where there are not two, [`crate::compile`] has said so.
pub(crate) fn compile(
    faults: &mut Faults<'_>,
    registries: &Registries<'_>,
    options: &Options,
    scope: &TemplateScope,
    sources: &[Source],
) -> [Side; 2] {
    let written = &faults.document.rollout.spec.sides;
    let list = Path::of(&["spec", "sides"]);
    let names: Vec<&str> = written.iter().map(|side| side.name.as_str()).collect();
    faults.unique(&names, &list, "side");
    if let [first, second] = written.as_slice()
        && !first.labels.is_empty()
        && first.labels == second.labels
    {
        let message = "both sides have the same labels, so that their series cannot be told apart";
        faults.value(&list.index(1).key("labels"), message, "write what differs between the sides");
    }
    [0, 1].map(|at| {
        let path = list.index(at);
        if !options.workloads && written[at].workload.is_some() {
            let help = "remove it; tell the revision by `revisionQuery` or `spec.revision`";
            faults.key(&path.key("workload"), "workloads are known in a cluster only", help);
        }
        workload(faults, &written[at], &path.key("workload"));
        side(faults, registries, scope, sources, &written[at], &path)
    })
}

fn workload(faults: &mut Faults<'_>, written: &Written, path: &Path) {
    let named = written.workload.as_ref().map(haldane_crds::Workload::written);
    if let Some(count) = named.map(|named| named.len()).filter(|count| *count != 1) {
        let message = format!("a side has exactly one workload, this one names {count}");
        let help = "write one of `deployment`, `statefulSet`, `daemonSet`, `replicaSet` or `pods`";
        faults.key(path, message, help);
    }
    let without = written.workload.as_ref().filter(|workload| workload.pods.is_some());
    if without.is_some_and(|workload| workload.contents.is_some()) {
        let message = "pods by label have no template that would refer to contents";
        let help = "name the workload that makes them, or remove `contents`";
        faults.key(&path.key("contents"), message, help);
    }
}

fn side(
    faults: &mut Faults<'_>,
    registries: &Registries<'_>,
    scope: &TemplateScope,
    sources: &[Source],
    written: &Written,
    path: &Path,
) -> Side {
    for label in written.labels.keys().filter(|label| !is_label(label)) {
        let message = format!("`{label}` is no label of a series");
        let help = "Prometheus' labels consist of letters, digits and underscores";
        faults.key(&path.key("labels").key(label), message, help);
    }
    let revision_query = revision_query(faults, registries, scope, sources, written, path);
    Side {
        name: SideName::from(written.name.as_str()),
        labels: written.labels.clone(),
        revision_query,
        workload: written.workload.as_ref().map(|workload| {
            serde_json::to_string(workload).expect("names and labels are JSON").into()
        }),
    }
}

/// The question, with the name of the source to ask beside it.
fn revision_query(
    faults: &mut Faults<'_>,
    registries: &Registries<'_>,
    scope: &TemplateScope,
    sources: &[Source],
    written: &Written,
    path: &Path,
) -> Option<Arc<str>> {
    let query = written.revision_query.as_ref()?;
    let path = path.key("revisionQuery");
    let source = query.source.as_ref().map(|name| name.as_str());
    let source = source_name(faults, sources, source, &path)?;
    let settings = json!({"promql": query.promql, "label": query.label});
    let asked = (registries.revision)(&settings, scope).and_then(|question| {
        crate::analysis::answers(registries, sources, &source, &question)
            .map_err(|error| vec![error])?;
        Ok(question)
    });
    match asked {
        Ok(question) => {
            let mut value: Value = serde_json::from_str(&question).unwrap_or(settings);
            value["source"] = source.into();
            Some(value.to_string().into())
        }
        Err(errors) => {
            for error in errors {
                faults.settings(&path, &error.path, error.message, error.help);
            }
            None
        }
    }
}

/// The source that was named, or the only one.
pub(crate) fn source_name(
    faults: &mut Faults<'_>,
    sources: &[Source],
    named: Option<&str>,
    path: &Path,
) -> Option<String> {
    let known: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
    match (named, known.as_slice()) {
        (Some(name), _) if known.contains(&name) => Some(name.to_owned()),
        (Some(name), _) => {
            faults.unknown(&path.key("source"), "source", name, &known);
            None
        }
        (None, [only]) => Some((*only).to_owned()),
        // Sources that are written and cannot be used were told about where they stand.
        (None, []) if !faults.document.rollout.spec.analysis.sources.is_empty() => None,
        (None, []) => {
            let help = "add one, such as `sources: [{name: main, prometheus: {url: \"http://prometheus:9090\"}}]`";
            let sources = Path::of(&["spec", "analysis", "sources"]);
            faults.key(&sources, "there is no metric source to ask", help);
            None
        }
        (None, [..]) => {
            let message = "it does not say which source is asked";
            faults.key(
                &path.key("source"),
                message,
                format!("add `source:` with one of {}", known.join(", ")),
            );
            None
        }
    }
}

fn is_label(label: &str) -> bool {
    let mut letters = label.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}
