//! The written form joined with the registries: schema, defaults, a validated plan.
//!
//! [`compile`] takes a document whose form is right and tells everything that is wrong with its
//! meaning at once, each fault with the line it stands on; without a fault it returns the plan with
//! every default in place. It asks nobody: what only a metric source can tell is left
//! [`Unresolved`], to be found out by the shell and put in through [`Options::settings`].
//! [`custom_resources`] is the same written form as a cluster wants it.

mod analysis;
mod collisions;
mod compile;
mod custom_resources;
mod effective;
mod faults;
mod hash;
mod kubernetes;
mod odds;
mod phases;
mod policies;
mod registries;
mod schema;
mod sides;
mod steps;
mod templates;
mod traffic;

pub use self::{
    collisions::collisions,
    compile::{Compiled, Options, Unresolved, compile},
    custom_resources::{CustomResource, analysis_run, custom_resources},
    effective::effective,
    kubernetes::{for_kubernetes, template_for_kubernetes},
    registries::{Registries, WriteRevision, registries},
    schema::schema,
    templates::{Templates, validate_template},
};
pub use haldane_crds::{Diagnostic, Document, Documents, Severity, Template, parse};
