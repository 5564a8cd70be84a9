//! The written form of an analysis template, as a type.
//!
//! A template holds checks for many rollouts, with arguments that each use fills. It holds what was
//! written and nothing else; whether its arguments fit is `plan`'s to say.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    Argument, Name,
    rollout::{Check, Metadata},
};

/// Checks that many rollouts use, with arguments that each use fills.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnalysisTemplate {
    /// Always `haldane.dev/v1alpha1`.
    pub api_version: String,
    /// `AnalysisTemplate` for the rollouts of one namespace, `ClusterAnalysisTemplate` for all.
    pub kind: String,
    /// What the template is called.
    pub metadata: Metadata,
    /// What the template brings.
    pub spec: TemplateSpec,
}

/// What a template brings.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemplateSpec {
    /// What each use fills.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub arguments: Vec<Declared>,
    /// The checks, in whose settings `{{ service }}` stands for the argument `service`.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub checks: Vec<Check>,
    /// Other templates whose checks it brings as well.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub templates: Vec<TemplateUse>,
}

/// One argument of a template.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Declared {
    /// Its name: letters, digits and underscores.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// What it is where a use does not say; without it every use must.
    pub default: Option<Argument>,
    /// What it means, for people; shown where it is missing.
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
}

/// One use of a template: its checks become checks of the rollout.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemplateUse {
    /// The template's name.
    pub name: Name,
    /// True names a `ClusterAnalysisTemplate`; else the template is one of the rollout's namespace.
    #[serde(default)]
    pub cluster_scope: bool,
    /// What its arguments are here; plain words, never a secret.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 32))]
    pub arguments: BTreeMap<String, Argument>,
    /// What is put before the name of each of its checks, such as `http-`.
    #[schemars(length(min = 1, max = 62))]
    pub prefix: Option<String>,
}

// === impl TemplateUse ===

impl TemplateUse {
    /// Returns the kind of document that it names.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        if self.cluster_scope { "ClusterAnalysisTemplate" } else { "AnalysisTemplate" }
    }
}
