//! Rollout files: read, validated, and watched.
//!
//! A file that becomes unreadable or wrong never stops a rollout: its pinned plan goes on, and the
//! diagnosis is shown. A file that is gone counts as deleted only after it stayed away for a while:
//! editors replace files. What no file names when the engine starts is guarded by its pinned plan:
//! nothing tells a file that was deleted meanwhile from one that was never here.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use haldane_crds::Diagnostic;
use haldane_host::{Engine, Intent, Uncompiled, Written, compile_with, text};
use haldane_model::RolloutId;
use haldane_plan::Templates;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::shelf::Shelf;

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// For how many looks a file must stay away to count as deleted.
pub(crate) const AWAY: u32 = 6;

/// How long to wait until a source that did not tell is asked again, at first and at most: doubling
/// in between.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Watches a file, or a directory of them, and tells the engine what is written.
#[derive(Debug)]
pub struct Watcher {
    what: What,
    intent: Intent,
    known: BTreeMap<PathBuf, Known>,
    /// The templates that files may use.
    shelf: Shelf,
    /// Texts that are being compiled: no file waits for another one's source.
    compiling: JoinSet<(PathBuf, u64, Result<Vec<Written>, Uncompiled>)>,
    /// The last text that began to be compiled.
    rounds: u64,
    /// What of the store is to be taken up.
    stored: Stored,
}

/// What the store holds though no file may name it.
#[derive(Debug)]
enum Stored {
    /// It was not read yet.
    Unread,
    /// These run; the files are not all compiled for the first time.
    Running(Vec<RolloutId>),
    /// Each was told what its file says, or that there is none.
    Told,
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
    /// The state of the shelf that the text was compiled with.
    shelf: u64,
    ids: Vec<RolloutId>,
    away: u32,
    /// Which compilation counts; an older one was overtaken.
    round: u64,
    /// When to ask the sources again, and how long that was waited for.
    again: Option<(Instant, Duration)>,
}

// === impl Watcher ===

impl Watcher {
    /// Watches one file for one rollout that runs already, and the files of templates that it may use.
    /// `written`: its plan was applied.
    #[must_use]
    pub fn file(path: PathBuf, id: RolloutId, intent: Intent, written: bool, shelf: Shelf) -> Self {
        let text = text(&path).ok().filter(|_| written);
        let version = shelf.version();
        let known = Known { text, ids: vec![id.clone()], shelf: version, ..Known::default() };
        let known = BTreeMap::from([(path, known)]);
        Self { known, shelf, ..Self::new(What::File(id), intent, Stored::Told) }
    }

    /// Watches a directory, and takes up whatever is stored.
    #[must_use]
    pub fn directory(path: PathBuf, intent: Intent) -> Self {
        Self::new(What::Directory(path), intent, Stored::Unread)
    }

    fn new(what: What, intent: Intent, stored: Stored) -> Self {
        let (known, compiling) = (BTreeMap::new(), JoinSet::new());
        let shelf = Shelf::default();
        Self { what, intent, known, shelf, compiling, rounds: 0, stored }
    }

    /// Watches until the token is cancelled.
    pub async fn run(mut self, engine: Arc<Engine>, token: CancellationToken) {
        let mut pace = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                _ = pace.tick() => self.look(&engine).await,
                Some(Ok((path, round, found))) = self.compiling.join_next() => {
                    self.compiled(&engine, path, round, found).await;
                }
            }
        }
    }

    async fn look(&mut self, engine: &Arc<Engine>) {
        if matches!(self.stored, Stored::Unread) {
            self.stored = match engine.take_up().await {
                Ok(ids) => Stored::Running(ids),
                Err(why) => {
                    tracing::error!("what is stored cannot be taken up yet: {why}");
                    Stored::Unread
                }
            };
        }
        let mut found = Vec::new();
        for path in self.paths() {
            match text(&path) {
                Ok(text) => found.push((path, text)),
                Err(why) => self.unreadable(engine, &path, why).await,
            }
        }
        // Every template is known before the first rollout may use it.
        match &self.what {
            What::File(_) => self.shelf.look(),
            What::Directory(_) => {
                found.iter().for_each(|(path, text)| self.shelf.put(path, Some(text)));
            }
        }
        for (path, text) in found {
            self.found(path, text);
        }
        if self.compiling.is_empty() {
            self.tell_the_unnamed(engine).await;
        }
    }

    /// Tells each rollout that is stored and that no file names that its pinned plan is all there is.
    async fn tell_the_unnamed(&mut self, engine: &Engine) {
        let Stored::Running(ids) = &self.stored else { return };
        let What::Directory(directory) = &self.what else { return };
        let message = format!(
            "no file in {} that can be read names it: what it began with goes on",
            directory.display()
        );
        for id in ids.iter().filter(|id| !self.known.values().any(|known| known.ids.contains(id))) {
            tracing::warn!(rollout = %id, "{message}");
            engine.invalid(id, message.clone()).await;
        }
        self.stored = Stored::Told;
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

    /// Begins to compile a text that is new, or whose templates may be, or that a source may tell more
    /// of now.
    fn found(&mut self, path: PathBuf, text: String) {
        let known = self.known.entry(path.clone()).or_default();
        known.away = 0;
        let same = known.text.as_ref() == Some(&text);
        let due = known.again.is_some_and(|(at, _)| at <= Instant::now());
        // Without the word nothing is used, and a template that changes changes nothing.
        let uses = text.contains("templates");
        let version = self.shelf.version();
        if same && !due && (known.shelf == version || !uses) {
            return;
        }
        let others = if uses { self.shelf.beside(&path) } else { Templates::default() };
        known.shelf = version;
        // Not due again until this one has answered.
        known.again = known.again.filter(|_| same).map(|(at, wait)| (at + 2 * AGAIN.1, wait));
        self.rounds += 1;
        known.round = self.rounds;
        known.text = Some(text.clone());
        let round = self.rounds;
        self.compiling.spawn(async move { (path, round, compile_with(&text, &others).await) });
    }

    async fn compiled(
        &mut self,
        engine: &Arc<Engine>,
        path: PathBuf,
        round: u64,
        found: Result<Vec<Written>, Uncompiled>,
    ) {
        let Some(known) = self.known.get_mut(&path).filter(|known| known.round == round) else {
            return;
        };
        match found {
            Ok(written) => {
                known.again = None;
                self.apply(engine, path, written).await;
            }
            Err(wrong) => self.uncompiled(engine, &path, &wrong).await,
        }
    }

    async fn uncompiled(&mut self, engine: &Arc<Engine>, path: &Path, wrong: &Uncompiled) {
        let message = one_line(path, &wrong.diagnostics);
        tracing::warn!(file = %path.display(), "{message}");
        let elsewhere = |id: &RolloutId| {
            self.known.iter().any(|(other, known)| other != path && known.ids.contains(id))
        };
        let stored = match &self.stored {
            Stored::Running(ids) => ids.as_slice(),
            Stored::Unread | Stored::Told => &[],
        };
        // Of what it names, what runs is this file's: its deletion is one of theirs.
        let named: Vec<RolloutId> =
            wrong.ids.iter().filter(|id| stored.contains(id) && !elsewhere(id)).cloned().collect();
        let Some(known) = self.known.get_mut(path) else { return };
        let waited = known.again.map(|(_, wait)| wait);
        known.again = wrong.may_pass.then(|| {
            let wait = waited.map_or(AGAIN.0, |wait| (wait * 2).min(AGAIN.1));
            (Instant::now() + wait, wait)
        });
        let new: Vec<RolloutId> = named.into_iter().filter(|id| !known.ids.contains(id)).collect();
        known.ids.extend(new);
        for id in known.ids.clone() {
            engine.invalid(&id, message.clone()).await;
        }
    }

    async fn apply(&mut self, engine: &Arc<Engine>, path: PathBuf, written: Vec<Written>) {
        let mut ids = Vec::new();
        let mut waits = false;
        for one in written {
            if let What::File(wanted) = &self.what
                && one.id != *wanted
            {
                continue;
            }
            if let Some(why) = self.collision(engine, &path, &one).await {
                // Whoever drives it may rest soon, or go.
                waits = true;
                tracing::error!(file = %path.display(), rollout = %one.id, "{why}");
                if self.known.get(&path).is_some_and(|known| known.ids.contains(&one.id)) {
                    // It runs, and is still written: nobody deleted it.
                    engine.invalid(&one.id, why).await;
                    ids.push(one.id);
                }
                continue;
            }
            for warning in &one.warnings {
                tracing::warn!(file = %path.display(), rollout = %one.id, "{}", warning.message);
            }
            engine.apply(&one, self.intent);
            ids.push(one.id);
        }
        let known = self.known.entry(path).or_default();
        known.again = waits.then(|| (Instant::now() + AGAIN.1, AGAIN.1));
        for gone in known.ids.iter().filter(|id| !ids.contains(id)) {
            engine.deleted(gone).await;
        }
        known.ids = ids;
    }

    /// Says which other rollout drives the same route, or has the same name in another file.
    async fn collision(&self, engine: &Engine, path: &Path, one: &Written) -> Option<String> {
        let elsewhere = self
            .known
            .iter()
            .find(|(other, known)| other.as_path() != path && known.ids.contains(&one.id));
        if let Some((other, _)) = elsewhere {
            return Some(format!("{} is written in {} already", one.id, other.display()));
        }
        let (first, target) = engine.claim(&one.id, &one.targets).await?;
        Some(format!("refused: {target} is driven by {first} already; give each route one rollout"))
    }

    async fn unreadable(&mut self, engine: &Engine, path: &Path, why: String) {
        let Some(known) = self.known.get_mut(path) else { return };
        known.away += 1;
        if known.away != AWAY {
            return;
        }
        known.text = None;
        known.again = None;
        known.round = 0;
        if matches!(self.what, What::Directory(_)) {
            self.shelf.put(path, None);
        }
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

pub(crate) fn is_rollout_file(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    path.is_file() && !hidden && matches!(ending, Some("yaml" | "yml" | "json"))
}

/// Says the first diagnosis in one line, with its place.
pub(crate) fn one_line(path: &Path, diagnostics: &[Diagnostic]) -> String {
    let Some(first) = diagnostics.first() else { return "cannot be used".to_owned() };
    let file = first.file.as_deref().map_or_else(|| path.display().to_string(), ToOwned::to_owned);
    let place = match (first.line, first.column) {
        (Some(line), Some(column)) => format!("{file}:{line}:{column}: "),
        (Some(_) | None, _) => format!("{file}: "),
    };
    let more = match diagnostics.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    format!("{place}{}{more}", first.message)
}
