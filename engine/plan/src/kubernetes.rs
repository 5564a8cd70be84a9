//! Which lines of a file must move, or change, before it can be applied to a cluster.
//!
//! A Rollout in Kubernetes names objects of its own namespace only; files, environment variables,
//! sockets and programs belong to the engine's own configuration. The API server says the same, by the rules of
//! the CustomResourceDefinitions.

use haldane_crds::{Diagnostic, Document, Template};

use crate::{
    Registries,
    custom_resources::{refused_rollout, refused_template},
};

/// Returns one diagnostic for every line that a cluster refuses of a rollout that is good elsewhere; empty where
/// it can be applied.
#[must_use]
pub fn for_kubernetes(document: &Document, registries: &Registries<'_>) -> Vec<Diagnostic> {
    refused_rollout(document, registries)
}

/// The same for a template.
#[must_use]
pub fn template_for_kubernetes(
    template: &Template,
    registries: &Registries<'_>,
) -> Vec<Diagnostic> {
    refused_template(template, registries)
}
