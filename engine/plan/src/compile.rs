//! From a document to a plan.

use std::{collections::BTreeMap, sync::Arc};

use haldane_crds::{Diagnostic, Document, Path};
use haldane_model::{CheckName, Plan, Revision, RolloutId, SourceName};
use haldane_sources::{ShapeKind, TemplateScope};
use serde_json::Value;

use crate::{
    Registries, Templates, analysis, faults::Faults, hash, odds, policies, sides, steps,
    templates::expand, traffic,
};

/// What the engine adds to a document.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The source of documents that name none: its kind and its settings.
    pub default_source: Option<(String, Value)>,
    /// Settings that stand in for a check's own, by the check's name: what was [`Unresolved`],
    /// with the answer of its source written in.
    pub settings: BTreeMap<CheckName, Value>,
    /// The templates that documents may use.
    pub templates: Templates,
    /// Whether something is there that knows the sides' workloads, as in a cluster.
    pub workloads: bool,
}

/// A document that can be used.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Which rollout.
    pub id: RolloutId,
    /// The plan, with every default in place. Not to be run while something is `unresolved`.
    pub plan: Arc<Plan>,
    /// Whether the file holds the rollout.
    pub paused: bool,
    /// The revision under test, where the file tells it.
    pub revision: Option<Revision>,
    /// What a person should know though it is no fault.
    pub warnings: Vec<Diagnostic>,
    /// What templates may name.
    pub scope: TemplateScope,
    /// What its entries drive; no two rollouts may drive the same.
    pub targets: Vec<String>,
    /// The checks whose source must be asked first.
    pub unresolved: Vec<Unresolved>,
    /// The checks' settings in the words of the written form.
    pub(crate) written: BTreeMap<CheckName, Value>,
}

/// A check whose source must be asked first which metrics the application has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// The check.
    pub check: CheckName,
    /// Its kind.
    pub kind: Arc<str>,
    /// The source to ask.
    pub source: SourceName,
    /// Which metrics are looked for.
    pub shape: ShapeKind,
    /// The settings as written.
    pub settings: Value,
}

/// Makes a plan of a document, or tells everything that is wrong with it.
pub fn compile(
    document: &Document,
    registries: &Registries<'_>,
    options: &Options,
) -> Result<Compiled, Vec<Diagnostic>> {
    let metadata = &document.rollout.metadata;
    let namespace = metadata.namespace.as_ref().map_or("default", |name| name.as_str());
    let id = RolloutId::new(namespace, metadata.name.as_str());
    let expanded = expand(document, &id, &options.templates);
    let document = &*expanded.document;
    let rollout = &document.rollout;
    let mut faults = Faults::new(document, &expanded.origins);
    faults.extend(expanded.found);
    let spec = Path::of(&["spec"]);
    let Some(scope) = scope(document, &id) else {
        let message = "a rollout moves traffic between exactly two sides";
        faults.key(&spec.key("sides"), message, "write two sides");
        return Err(faults.finish().err().unwrap_or_default());
    };
    let steps = steps::compile(&mut faults);
    let entries = traffic::compile(&mut faults, registries);
    let mut analysis = analysis::compile(&mut faults, registries, options, &scope, &steps);
    odds::share(&mut faults, &mut analysis.checks);
    let sides = sides::compile(&mut faults, registries, options, &scope, &analysis.sources);
    analysis.sources.append(&mut analysis.own_sources);
    let timing = policies::timing(&mut faults, &steps);
    let alerts = policies::alerts(&mut faults);
    let warnings = faults.finish()?;
    let spec = &rollout.spec;
    let mut plan = Plan {
        hash: "".into(),
        sides,
        entries: entries.entries,
        steps,
        watch: timing.watch,
        progress_deadline: timing.progress_deadline,
        on_deadline: policies::on_deadline(&spec.analysis),
        sources: analysis.sources,
        checks: analysis.checks,
        policies: policies::policies(&spec.analysis),
        alerts,
        guards_at_full: analysis.guards_at_full,
        unanalysed: spec.analysis.none,
    };
    plan.hash = hash::of(&plan).into();
    Ok(Compiled {
        id,
        plan: Arc::new(plan),
        paused: spec.paused,
        revision: spec.revision.as_deref().map(Revision::from),
        warnings,
        targets: entries.targets,
        scope,
        unresolved: analysis.unresolved,
        written: analysis.written,
    })
}

/// What templates may name; `None` without exactly two sides.
fn scope(document: &Document, id: &RolloutId) -> Option<TemplateScope> {
    let spec = &document.rollout.spec;
    let [first, second] = spec.sides.as_slice() else { return None };
    let side = |side: &haldane_crds::Side| (side.name.to_string(), side.labels.clone());
    Some(TemplateScope {
        namespace: id.namespace.to_string(),
        name: id.name.to_string(),
        sides: [side(first), side(second)],
        arguments: spec.analysis.arguments.clone(),
    })
}
