//! The plan of a rollout in a cluster with its defaults: compiled here, from the object and the templates beside it.

use std::path::Path;

use haldane_model::RolloutId;
use haldane_plan::{Options, Templates, parse};
use miette::miette;
use serde_json::{Value, json};

use super::{API, Seat};
use crate::faults;

// === impl Seat ===

impl Seat {
    /// Compiles what is written. The plan of an attempt under way may be an older one.
    pub(crate) async fn effective(&self, id: &RolloutId) -> miette::Result<Value> {
        let text = written(&self.rollout(id).await?).to_string();
        let templates = self.templates(&id.namespace).await;
        let place = format!("{id}");
        let fault = |found| faults::of_file(Path::new(&place), &text, found);
        let documents = parse(&text).map_err(fault)?;
        let document = documents.rollouts.first();
        let document = document.ok_or_else(|| miette!("{id} is no rollout"))?;
        let options = Options { templates, workloads: true, ..Options::default() };
        let compiled = haldane_plan::compile(document, &haldane_plan::registries(), &options);
        Ok(haldane_plan::effective(&compiled.map_err(fault)?))
    }

    /// Reads the templates that the rollouts of a namespace may use, as far as they may be read: one that is missing
    /// is told where it is named.
    pub(crate) async fn templates(&self, namespace: &str) -> Templates {
        let mut templates = Templates::default();
        let own = super::collection("analysistemplates", Some(namespace));
        let paths = own.into_iter().chain([format!("{API}/clusteranalysistemplates")]);
        for path in paths {
            for template in self.list(&path).await.unwrap_or_default() {
                let mut template = written(&template);
                let mut add = |template: &Value| {
                    if let Ok(read) = parse(&template.to_string()) {
                        templates.add(read.templates, None);
                    }
                };
                add(&template);
                // A file that names no namespace means this one.
                if let Some(metadata) = template["metadata"].as_object_mut()
                    && metadata.remove("namespace").is_some()
                {
                    add(&template);
                }
            }
        }
        templates
    }
}

/// What a person wrote of an object.
fn written(object: &Value) -> Value {
    let mut metadata = json!({"name": object["metadata"]["name"]});
    if let Some(namespace) = object["metadata"].get("namespace") {
        metadata["namespace"] = namespace.clone();
    }
    json!({
        "apiVersion": "haldane.dev/v1alpha1",
        "kind": object["kind"],
        "metadata": metadata,
        "spec": object["spec"],
    })
}
