//! The kinds, a row each: what they are called, what `kubectl get` shows, and their schemas.

use haldane_crds::{AnalysisRun, Kind, RolloutRequest, RolloutStatus, schema_for};
use serde_json::{Map, Value, json};

use super::{
    rule::{self, Rule, at, by_name},
    rules,
    structural::structural,
    trust,
};
use crate::{Registries, schema};

/// One kind.
pub(super) struct Shape {
    pub(super) kind: &'static str,
    pub(super) plural: &'static str,
    pub(super) singular: &'static str,
    pub(super) short: &'static [&'static str],
    pub(super) scope: &'static str,
    pub(super) columns: &'static [Column],
    /// What a watch may select by.
    pub(super) selectable: &'static [&'static str],
    pub(super) has_status: bool,
    pub(super) schema: fn(&Registries<'_>) -> Value,
}

/// One column of `kubectl get`.
pub(super) struct Column {
    name: &'static str,
    kind: &'static str,
    path: &'static str,
    description: &'static str,
    /// Whether only `--output wide` shows it.
    is_wide: bool,
}

/// What every kind shows last.
const AGE: Column =
    column("Age", "date", ".metadata.creationTimestamp", "How long ago it was written.");

/// Every kind. No short name is one of Argo's.
pub(super) const KINDS: [Shape; 5] = [
    Shape {
        kind: "Rollout",
        plural: "rollouts",
        singular: "rollout",
        short: &["hro"],
        scope: "Namespaced",
        columns: &[
            column("Phase", "string", ".status.phase", "Where the rollout is."),
            column("Step", "string", ".status.step.shown", "The step under way, and of how many."),
            column("Weight", "string", ".status.weight", "The share of the side under test."),
            column("Verdict", "string", ".status.verdict", "The worst that a check says."),
            wide("Serving", ".status.serving", "The side that has the traffic."),
            wide("Revision", ".status.revision", "The revision under test."),
            wide(
                "Ready",
                ".status.conditions[?(@.type==\"Ready\")].status",
                "Whether it is at rest and well.",
            ),
            wide("Message", ".status.lastDecision.message", "The last decision."),
            AGE,
        ],
        selectable: &[],
        has_status: true,
        schema: rollout,
    },
    Shape {
        kind: "RolloutRequest",
        plural: "rolloutrequests",
        singular: "rolloutrequest",
        short: &["hrr"],
        scope: "Namespaced",
        columns: &[
            column("Rollout", "string", ".spec.rollout", "The rollout."),
            column("Verb", "string", ".spec.verb", "What is to be done."),
            column("Outcome", "string", ".status.outcome", "What became of it."),
            column("By", "string", ".status.actor", "Who asked."),
            wide("Reason", ".spec.reason", "Why."),
            wide("Message", ".status.message", "Why it was refused."),
            AGE,
        ],
        selectable: &[".spec.rollout"],
        has_status: true,
        schema: request,
    },
    Shape {
        kind: "AnalysisTemplate",
        plural: "analysistemplates",
        singular: "analysistemplate",
        short: &["hat"],
        scope: "Namespaced",
        columns: &[
            column("Checks", "string", ".spec.checks[*].name", "The checks that it brings."),
            wide("Arguments", ".spec.arguments[*].name", "What each use fills."),
            AGE,
        ],
        selectable: &[],
        has_status: false,
        schema: |registries| written(Kind::AnalysisTemplate, registries),
    },
    Shape {
        kind: "ClusterAnalysisTemplate",
        plural: "clusteranalysistemplates",
        singular: "clusteranalysistemplate",
        short: &["hcat"],
        scope: "Cluster",
        columns: &[
            column("Checks", "string", ".spec.checks[*].name", "The checks that it brings."),
            wide("Arguments", ".spec.arguments[*].name", "What each use fills."),
            AGE,
        ],
        selectable: &[],
        has_status: false,
        schema: |registries| written(Kind::ClusterAnalysisTemplate, registries),
    },
    Shape {
        kind: "AnalysisRun",
        plural: "analysisruns",
        singular: "analysisrun",
        short: &["har"],
        scope: "Namespaced",
        columns: &[
            column("Rollout", "string", ".spec.rollout", "The rollout."),
            column("Attempt", "integer", ".spec.attempt", "Which attempt of it."),
            column("Phase", "string", ".status.phase", "How the analysis ended."),
            wide("Revision", ".spec.revision", "The revision that was on trial."),
            wide("Message", ".status.message", "Why it ended so."),
            AGE,
        ],
        selectable: &[".spec.rollout"],
        has_status: true,
        schema: |_| analysis_run(),
    },
];

const fn column(
    name: &'static str,
    kind: &'static str,
    path: &'static str,
    description: &'static str,
) -> Column {
    Column { name, kind, path, description, is_wide: false }
}

const fn wide(name: &'static str, path: &'static str, description: &'static str) -> Column {
    Column { name, kind: "string", path, description, is_wide: true }
}

// === impl Column ===

impl Column {
    pub(super) fn value(&self) -> Value {
        let mut value = json!({
            "name": self.name,
            "type": self.kind,
            "jsonPath": self.path,
            "description": self.description,
        });
        if self.is_wide {
            value["priority"] = 1.into();
        }
        value
    }
}

/// The schema of a kind that people write.
pub(super) fn written(kind: Kind, registries: &Registries<'_>) -> Value {
    let mut root = whole(structural(&schema::of(kind, registries)));
    refuse_own(&mut root, kind, registries);
    add_rules(&mut root, kind, registries);
    root
}

/// The same without what names the engine's own machine: of that each line is told by itself, and once.
pub(super) fn form(kind: Kind, registries: &Registries<'_>) -> Value {
    let mut root = whole(structural(&schema::of(kind, registries)));
    add_rules(&mut root, kind, registries);
    root
}

fn refuse_own(root: &mut Value, kind: Kind, registries: &Registries<'_>) {
    trust::refuse(at(root, "spec"));
    let kinds = schema::checks(registries);
    match kind {
        Kind::Rollout => {
            let providers = schema::providers(registries);
            trust::refuse_kinds(at(root, "spec.traffic[]"), &providers);
            let sources = schema::sources(registries);
            trust::refuse_kinds(at(root, "spec.analysis.sources[]"), &sources);
            trust::refuse_kinds(at(root, "spec.analysis.checks[]"), &kinds);
        }
        Kind::AnalysisTemplate | Kind::ClusterAnalysisTemplate => {
            trust::refuse_kinds(at(root, "spec.checks[]"), &kinds);
        }
    }
}

fn add_rules(root: &mut Value, kind: Kind, registries: &Registries<'_>) {
    match kind {
        Kind::Rollout => rules::rollout(root, registries),
        Kind::AnalysisTemplate | Kind::ClusterAnalysisTemplate => {
            rules::template(root, kind == Kind::ClusterAnalysisTemplate, registries);
        }
    }
}

fn rollout(registries: &Registries<'_>) -> Value {
    let mut root = written(Kind::Rollout, registries);
    root["properties"]["status"] = structural(&schema_for::<RolloutStatus>());
    for (list, key) in [("traffic", "name"), ("checks", "name"), ("conditions", "type")] {
        by_name(&mut root, &format!("status.{list}"), key);
    }
    root
}

fn request(_: &Registries<'_>) -> Value {
    let mut root = whole(structural(&schema_for::<RolloutRequest>()));
    by_name(&mut root, "status.conditions", "type");
    let spec = at(&mut root, "spec");
    let rules = [
        ("self == oldSelf", "spec: a request never changes: write another RolloutRequest"),
        (
            "self.verb == 'Promote' || !((has(self.full) && self.full) \
             || (has(self.withoutGuards) && self.withoutGuards))",
            "spec: `full` and `withoutGuards` go with `verb: Promote` alone: leave them out",
        ),
        (
            "self.verb == 'Retry' || !has(self.without)",
            "spec.without: it goes with `verb: Retry` alone: leave it out",
        ),
        (
            "!has(self.withoutGuards) || !self.withoutGuards \
             || (has(self.reason) && self.reason.matches('[^ ]'))",
            "spec.reason: `withoutGuards` raises while nobody watches: say why in `reason`",
        ),
        (
            "self.verb == 'Abort' || has(self.attempt)",
            "spec.attempt: only `Abort` goes without it: copy `status.attempt` of the rollout",
        ),
        (
            "!(self.verb in ['Promote', 'Skip']) || (has(self.revision) && has(self.step))",
            "spec: `Promote` and `Skip` are for one step of one revision: copy `status.revision` and \
             `status.step.index` of the rollout into `revision` and `step`",
        ),
    ];
    for (rule, message) in rules {
        rule::add(spec, &Rule::new(rule, message));
    }
    root
}

fn analysis_run() -> Value {
    let mut root = whole(structural(&schema_for::<AnalysisRun>()));
    by_name(&mut root, "spec.checks", "name");
    by_name(&mut root, "status.checks", "name");
    by_name(&mut root, "status.conditions", "type");
    root
}

/// A whole object: what every one has, and what is its own.
fn whole(mut schema: Value) -> Value {
    let mut fields = Map::new();
    let text = |words: &str| json!({"description": words, "type": "string"});
    fields.insert("apiVersion".to_owned(), text("Always `haldane.dev/v1alpha1`."));
    fields.insert("kind".to_owned(), text("Which kind of object."));
    fields.insert("metadata".to_owned(), json!({"type": "object"}));
    for name in ["spec", "status"] {
        if let Some(own) = schema["properties"].get(name) {
            fields.insert(name.to_owned(), own.clone());
        }
    }
    schema["properties"] = fields.into();
    schema["required"] = json!(["spec"]);
    schema
}
