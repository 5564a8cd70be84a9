//! Rollout files: read, validated, and watched.
//!
//! A file that becomes unreadable or wrong never stops a rollout: its pinned plan goes on, and the
//! diagnosis is shown. A file that is gone counts as deleted only after it stayed away for a while:
//! editors replace files.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use haldane_crds::{Diagnostic, Path as YamlPath};
use haldane_model::{Plan, Revision, RolloutId, SpecSeen};
use haldane_outside::Outside;
use haldane_plan::{Compiled, Options};
use haldane_runtime::drive::Factory;
use haldane_sources::{detect_shape, pin_shape};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    engine::{Engine, Intent},
    factory::Registered,
};

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// For how many looks a file must stay away to count as deleted.
const AWAY: u32 = 6;

/// How long a source may take to say which metrics it has.
const ASK: Duration = Duration::from_secs(10);

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

/// Watches a file, or a directory of them, and tells the engine what is written.
#[derive(Debug)]
pub struct Watcher {
    what: What,
    intent: Intent,
    known: BTreeMap<PathBuf, Known>,
}

#[derive(Debug)]
enum What {
    /// One file, for one of its rollouts.
    File(RolloutId),
    /// Every rollout file of a directory.
    Directory(PathBuf),
}

#[derive(Debug, Default)]
struct Known {
    text: Option<String>,
    ids: Vec<RolloutId>,
    away: u32,
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

/// Reads a file's text; one that is too large is refused.
pub fn text(path: &Path) -> Result<String, String> {
    let told = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let size = fs::metadata(path).map_err(told)?.len();
    if size > BYTES_MAX {
        return Err(format!("{} has {size} bytes, more than {BYTES_MAX}", path.display()));
    }
    fs::read_to_string(path).map_err(told)
}

/// Compiles every rollout of a document. What the file leaves to the sources is asked there.
pub async fn compile(text: &str) -> Result<Vec<Written>, Vec<Diagnostic>> {
    let documents = haldane_plan::parse(text)?;
    let registries = haldane_plan::registries();
    let (mut all, mut wrong) = (Vec::new(), Vec::new());
    for document in &documents {
        match resolve(document, &registries).await {
            Ok(compiled) => all.push(Written::from(compiled)),
            Err(diagnostics) => wrong.extend(diagnostics),
        }
    }
    let targets: Vec<_> = all.iter().map(|one| (one.id.clone(), one.targets.clone())).collect();
    wrong.extend(haldane_plan::collisions(&targets));
    if wrong.is_empty() { Ok(all) } else { Err(wrong) }
}

/// Compiles one document; a check that leaves its metrics open is answered by its source, and the
/// one shape that matches is pinned.
async fn resolve(
    document: &haldane_plan::Document,
    registries: &haldane_plan::Registries<'_>,
) -> Result<Compiled, Vec<Diagnostic>> {
    let mut options = Options::default();
    let compiled = haldane_plan::compile(document, registries, &options)?;
    let mut wrong = Vec::new();
    for open in &compiled.unresolved {
        let source = compiled.plan.sources.iter().find(|source| source.name == open.source);
        let Some(source) = source else { continue };
        let client = Registered.source(&source.kind, &source.settings, &Outside::default());
        let shape = match client {
            Ok(client) => detect_shape(&*client, &compiled.scope, open.shape, ASK).await,
            Err(why) => Err(why),
        };
        match shape {
            Ok(shape) => {
                let settings = pin_shape(&open.settings, shape);
                options.settings.insert(open.check.clone(), settings);
            }
            Err(why) => wrong.push(undetected(document, open, &why)),
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    if compiled.unresolved.is_empty() {
        return Ok(compiled);
    }
    haldane_plan::compile(document, registries, &options)
}

fn undetected(
    document: &haldane_plan::Document,
    open: &haldane_plan::Unresolved,
    why: &str,
) -> Diagnostic {
    let path = YamlPath::of(&["spec", "analysis", "checks"]);
    let message = format!("which metrics {} is asked by is not known: {why}", open.check);
    Diagnostic::error(&path, message)
        .help(format!("write `metrics` in the settings of `{}`", open.kind))
        .at(document.places.key(&path))
}

// === impl Watcher ===

impl Watcher {
    /// Watches one file for one rollout that runs already.
    #[must_use]
    pub fn file(path: PathBuf, id: RolloutId, intent: Intent) -> Self {
        let mut known = BTreeMap::new();
        let text = text(&path).ok();
        known.insert(path, Known { text, ids: vec![id.clone()], away: 0 });
        Self { what: What::File(id), intent, known }
    }

    /// Watches a directory.
    #[must_use]
    pub fn directory(path: PathBuf, intent: Intent) -> Self {
        Self { what: What::Directory(path), intent, known: BTreeMap::new() }
    }

    /// Watches until the token is cancelled.
    pub async fn run(mut self, engine: Arc<Engine>, token: CancellationToken) {
        let mut pace = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                _ = pace.tick() => self.look(&engine).await,
            }
        }
    }

    async fn look(&mut self, engine: &Arc<Engine>) {
        for path in self.paths() {
            match text(&path) {
                Ok(text) => self.found(engine, path, text).await,
                Err(why) => self.unreadable(engine, &path, why).await,
            }
        }
    }

    /// Returns the files to look at: those that are there, and those that were.
    fn paths(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = self.known.keys().cloned().collect();
        if let What::Directory(directory) = &self.what {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            let files = entries.map(|entry| entry.path()).filter(|path| is_rollout_file(path));
            paths.extend(files);
        }
        paths.sort();
        paths.dedup();
        paths
    }

    async fn found(&mut self, engine: &Arc<Engine>, path: PathBuf, text: String) {
        let known = self.known.entry(path.clone()).or_default();
        known.away = 0;
        if known.text.as_ref() == Some(&text) {
            return;
        }
        let compiled = compile(&text).await;
        known.text = Some(text);
        match compiled {
            Ok(written) => self.apply(engine, path, written).await,
            Err(diagnostics) => {
                let message = one_line(&path, &diagnostics);
                tracing::warn!(file = %path.display(), "{message}");
                for id in known.ids.clone() {
                    engine.invalid(&id, message.clone()).await;
                }
            }
        }
    }

    async fn apply(&mut self, engine: &Arc<Engine>, path: PathBuf, written: Vec<Written>) {
        let mut ids = Vec::new();
        for one in written {
            if let What::File(wanted) = &self.what
                && one.id != *wanted
            {
                continue;
            }
            if let Some(why) = self.collision(engine, &path, &one) {
                tracing::error!(file = %path.display(), rollout = %one.id, "{why}");
                continue;
            }
            for warning in &one.warnings {
                tracing::warn!(file = %path.display(), rollout = %one.id, "{}", warning.message);
            }
            engine.apply(&one, self.intent).await;
            ids.push(one.id);
        }
        let known = self.known.entry(path).or_default();
        for gone in known.ids.iter().filter(|id| !ids.contains(id)) {
            engine.deleted(gone).await;
        }
        known.ids = ids;
    }

    /// Says which other rollout drives the same route, or has the same name in another file.
    fn collision(&self, engine: &Engine, path: &Path, one: &Written) -> Option<String> {
        let elsewhere = self
            .known
            .iter()
            .find(|(other, known)| other.as_path() != path && known.ids.contains(&one.id));
        if let Some((other, _)) = elsewhere {
            return Some(format!("{} is written in {} already", one.id, other.display()));
        }
        let (first, target) = engine.claim(&one.id, &one.targets)?;
        Some(format!("refused: {target} is driven by {first} already; give each route one rollout"))
    }

    async fn unreadable(&mut self, engine: &Engine, path: &Path, why: String) {
        let Some(known) = self.known.get_mut(path) else { return };
        known.away += 1;
        if known.away != AWAY {
            return;
        }
        known.text = None;
        let gone = !path.exists();
        for id in known.ids.clone() {
            match (&self.what, gone) {
                (What::Directory(_), true) => engine.deleted(&id).await,
                // A person runs this file: without it the pinned plan goes on.
                (What::File(_), _) | (What::Directory(_), false) => {
                    engine.invalid(&id, why.clone()).await;
                }
            }
        }
        if gone && matches!(self.what, What::Directory(_)) {
            self.known.remove(path);
        }
    }
}

fn is_rollout_file(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    path.is_file() && !hidden && matches!(ending, Some("yaml" | "yml" | "json"))
}

/// Says the first diagnosis in one line, with its place.
fn one_line(path: &Path, diagnostics: &[Diagnostic]) -> String {
    let Some(first) = diagnostics.first() else { return "cannot be used".to_owned() };
    let place = match (first.line, first.column) {
        (Some(line), Some(column)) => format!("{}:{line}:{column}: ", path.display()),
        (Some(_) | None, _) => format!("{}: ", path.display()),
    };
    let more = match diagnostics.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    format!("{place}{}{more}", first.message)
}
