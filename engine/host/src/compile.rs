//! The text of a rollout file becomes plans. What it leaves open is asked of its sources.
//!
//! What a source did not tell is told apart from what is wrong in the text: asked again, it may tell.

use std::{fs, path::Path, sync::Arc, time::Duration};

use futures::future::join_all;
use haldane_crds::{Diagnostic, Path as YamlPath};
use haldane_model::{CheckName, Plan, Revision, RolloutId, SpecSeen};
use haldane_outside::Outside;
use haldane_plan::{Compiled, Document, Options, Registries, Severity, Templates, Unresolved};
use haldane_runtime::drive::Factory as _;
use haldane_sources::{detect_shape, pin_shape};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::{engine::Intent, factory::Registered};

/// How long a source may take to say which metrics it has.
const ASK: Duration = Duration::from_secs(10);

/// How many such questions are under way at once.
static ASKED: Semaphore = Semaphore::const_new(32);

/// No file may be larger.
const BYTES_MAX: u64 = 1024 * 1024;

/// A rollout as it is written, valid and with its defaults.
#[derive(Clone, Debug)]
pub struct Written {
    /// Which rollout.
    pub id: RolloutId,
    /// The plan.
    pub plan: Arc<Plan>,
    /// `paused: true`.
    pub paused: bool,
    /// The revision, where the file names one.
    pub revision: Option<Revision>,
    /// What it drives, so that two rollouts on one route are found.
    pub targets: Vec<String>,
    /// The plan with its defaults, in the words of the written form.
    pub effective: Value,
    /// What a person should know though it is no error.
    pub warnings: Vec<Diagnostic>,
}

/// Why a text gives no rollouts.
#[derive(Clone, Debug)]
pub struct Uncompiled {
    /// What is wrong, and where.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether a source did not tell what is left to it: asked again, it may.
    pub may_pass: bool,
    /// Which rollouts the text names, as far as it can be read.
    pub ids: Vec<RolloutId>,
}

// === impl Written ===

impl Written {
    /// Returns what the loop sees of it.
    #[must_use]
    pub fn seen(&self, intent: Intent) -> SpecSeen {
        SpecSeen::Valid {
            plan: self.plan.clone(),
            paused: self.paused,
            revision: self.revision.clone(),
            named: intent.named,
            adopt: intent.adopt,
        }
    }
}

impl From<Compiled> for Written {
    fn from(compiled: Compiled) -> Self {
        Self {
            effective: haldane_plan::effective(&compiled),
            id: compiled.id,
            plan: compiled.plan,
            paused: compiled.paused,
            revision: compiled.revision,
            targets: compiled.targets,
            warnings: compiled.warnings,
        }
    }
}

// === impl Uncompiled ===

impl Uncompiled {
    fn add(&mut self, other: Self) {
        self.diagnostics.extend(other.diagnostics);
        self.may_pass |= other.may_pass;
    }
}

impl From<Vec<Diagnostic>> for Uncompiled {
    fn from(diagnostics: Vec<Diagnostic>) -> Self {
        Self { diagnostics, may_pass: false, ids: Vec::new() }
    }
}

impl From<Diagnostic> for Uncompiled {
    fn from(diagnostic: Diagnostic) -> Self {
        vec![diagnostic].into()
    }
}

/// Reads a file's text; one that is too large is refused.
pub fn text(path: &Path) -> Result<String, String> {
    let told = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let size = fs::metadata(path).map_err(told)?.len();
    if size > BYTES_MAX {
        return Err(format!("{} has {size} bytes, more than {BYTES_MAX}", path.display()));
    }
    fs::read_to_string(path).map_err(told)
}

/// Compiles every rollout of a text that uses no templates of other files.
pub async fn compile(text: &str) -> Result<Vec<Written>, Uncompiled> {
    compile_with(text, &Templates::default()).await
}

/// Compiles every rollout of a text, with its own templates and those of other files. What the text
/// leaves to the sources is asked there, of all at once.
pub async fn compile_with(text: &str, others: &Templates) -> Result<Vec<Written>, Uncompiled> {
    let documents = haldane_plan::parse(text)?;
    let registries = haldane_plan::registries();
    let mut templates = Templates::default();
    templates.add(documents.templates.iter().cloned(), None);
    templates.extend(others);
    let mut wrong = Uncompiled::from(Vec::new());
    for template in &documents.templates {
        let found = haldane_plan::validate_template(template, &registries, &templates);
        let errors = found.into_iter().filter(|fault| fault.severity == Severity::Error);
        wrong.diagnostics.extend(errors);
    }
    let documents = documents.rollouts;
    let options = Options { templates, ..Options::default() };
    let outside = Outside::default();
    let resolved =
        documents.iter().map(|document| resolve(document, &registries, &options, &outside));
    let resolved = join_all(resolved).await;
    let mut all = Vec::new();
    for found in resolved {
        match found {
            Ok(compiled) => all.push(Written::from(compiled)),
            Err(found) => wrong.add(found),
        }
    }
    let targets: Vec<_> = all.iter().map(|one| (one.id.clone(), one.targets.clone())).collect();
    wrong.diagnostics.extend(haldane_plan::collisions(&targets));
    if wrong.diagnostics.is_empty() {
        return Ok(all);
    }
    wrong.ids = documents.iter().map(named).collect();
    Err(wrong)
}

/// Compiles one rollout of a cluster, whose form is right; workloads and Secrets of its namespace are known there.
pub async fn compile_in_cluster(
    document: &Document,
    templates: Templates,
    outside: &Outside,
) -> Result<Written, Uncompiled> {
    let registries = haldane_plan::registries();
    let options = Options { templates, workloads: true, ..Options::default() };
    let outside = outside.within(&named(document).namespace);
    // The API server refuses the same, where its definitions are ours; nothing of this machine rests on that.
    let refused = haldane_plan::for_kubernetes(document, &registries);
    if !refused.is_empty() {
        return Err(Uncompiled { ids: vec![named(document)], ..Uncompiled::from(refused) });
    }
    let compiled = resolve(document, &registries, &options, &outside).await;
    compiled.map(Written::from).map_err(|wrong| Uncompiled { ids: vec![named(document)], ..wrong })
}

/// Returns which rollout a document is of.
fn named(document: &Document) -> RolloutId {
    let metadata = &document.rollout.metadata;
    let namespace = metadata.namespace.as_ref().map_or("default", |name| name.as_str());
    RolloutId::new(namespace, metadata.name.as_str())
}

/// Compiles one document; a check that leaves its metrics open is answered by its source, and the
/// one shape that matches is pinned.
async fn resolve(
    document: &Document,
    registries: &Registries<'_>,
    options: &Options,
    outside: &Outside,
) -> Result<Compiled, Uncompiled> {
    let mut options = options.clone();
    let compiled = haldane_plan::compile(document, registries, &options)?;
    let asked = compiled.unresolved.iter().map(|open| detect(document, &compiled, open, outside));
    let mut wrong = Uncompiled::from(Vec::new());
    for found in join_all(asked).await {
        match found {
            Ok(Some((check, settings))) => {
                options.settings.insert(check, settings);
            }
            Ok(None) => {}
            Err(found) => wrong.add(found),
        }
    }
    if !wrong.diagnostics.is_empty() {
        return Err(wrong);
    }
    if compiled.unresolved.is_empty() {
        return Ok(compiled);
    }
    Ok(haldane_plan::compile(document, registries, &options)?)
}

/// Asks a source which metrics a check is asked by. `None`: it has no source.
async fn detect(
    document: &Document,
    compiled: &Compiled,
    open: &Unresolved,
    outside: &Outside,
) -> Result<Option<(CheckName, Value)>, Uncompiled> {
    let source = compiled.plan.sources.iter().find(|source| source.name == open.source);
    let Some(source) = source else { return Ok(None) };
    let client = Registered
        .source(&source.kind, &source.settings, outside)
        .map_err(|why| undetected(document, open, &why))?;
    let _turn = ASKED.acquire().await;
    match detect_shape(&*client, &compiled.scope, open.shape, ASK).await {
        Ok(shape) => Ok(Some((open.check.clone(), pin_shape(&open.settings, shape)))),
        Err(why) => {
            let wrong = Uncompiled::from(undetected(document, open, &why));
            Err(Uncompiled { may_pass: true, ..wrong })
        }
    }
}

fn undetected(document: &Document, open: &Unresolved, why: &str) -> Diagnostic {
    let path = YamlPath::of(&["spec", "analysis", "checks"]);
    let message = format!("which metrics {} is asked by is not known: {why}", open.check);
    Diagnostic::error(&path, message)
        .help(format!("write `metrics` in the settings of `{}`", open.kind))
        .at(document.places.key(&path))
}
