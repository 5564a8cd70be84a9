//! One route object in the API server: looks, patches, and what its answers mean.
//!
//! What was read last is kept, so that a raise is refused where anything was written since, and a lowering
//! goes out without a look before it. Nothing else is kept.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use haldane_model::{Direction, Mark, Weight};
use haldane_outside::{Cluster, ClusterError, Key, Mirror, Outside, Refusal};
use serde_json::Value;
use tokio::sync::{broadcast::error::RecvError, watch};

use super::{
    company::{self, Escort},
    layout::{Layout, Target},
    mirror::Copies,
    others::MANAGER,
    patch::{self, Wish},
};
use crate::Error;

/// How long one call may take.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(2);
/// How often a lowering follows an object that changes under it.
const TRIES: usize = 3;

/// One route object.
pub(crate) struct Object {
    pub(crate) target: Target,
    outside: Outside,
    /// Which of the kind's versions the server has, as it is found out.
    version: watch::Sender<usize>,
    known: Mutex<Known>,
    /// The watch of the version in use, where anything is watched.
    mirror: Mutex<Option<(usize, Mirror)>>,
}

/// What was read last, and since when it asks for what it asks for.
#[derive(Default)]
struct Known {
    layout: Option<Layout>,
    since: Option<Instant>,
}

/// Whether a patch is carried out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    Real,
    /// The server checks everything and changes nothing.
    Dry,
}

// === impl Object ===

impl Object {
    pub(crate) fn new(target: Target, outside: Outside) -> Self {
        Self {
            target,
            outside,
            version: watch::Sender::new(0),
            known: Mutex::default(),
            mirror: Mutex::default(),
        }
    }

    /// Reads it; this is what the next write rests on.
    pub(crate) async fn look(&self) -> Result<Layout, Error> {
        match self.mirrored() {
            Some(document) => Ok(self.note(&document)),
            None => self.look_there().await,
        }
    }

    /// Reads it at the server, whatever the watch says.
    async fn look_there(&self) -> Result<Layout, Error> {
        Ok(self.note(&self.fetch().await?))
    }

    /// Returns it as the watch told it, where that hears everything, and is not behind what was read or written here.
    fn mirrored(&self) -> Option<Arc<Value>> {
        let mirror = self.mirror()?;
        if !mirror.is_live() {
            return None;
        }
        let document = mirror.get(&self.target.namespace, &self.target.name)?;
        let number = |version: &str| version.parse::<u64>().ok();
        let version = document.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        let told = number(version.unwrap_or_default())?;
        let known = self.known().map_or(Some(0), |known| number(&known.resource_version))?;
        (told >= known).then_some(document)
    }

    fn mirror(&self) -> Option<Mirror> {
        let at = *self.version.borrow();
        let mut held = self.mirror.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, mirror)) = held.as_ref()
            && *of == at
        {
            return Some(mirror.clone());
        }
        let mirror = mirror_of(&self.outside, &self.target, at)?;
        *held = Some((at, mirror.clone()));
        Some(mirror)
    }

    /// Tells each time that somebody wrote it; never where nothing is watched.
    pub(crate) fn changes(&self) -> BoxStream<'static, ()> {
        let mut version = self.version.subscribe();
        let at = *version.borrow_and_update();
        let Some(mirror) = mirror_of(&self.outside, &self.target, at) else {
            return stream::pending().boxed();
        };
        let (outside, target) = (self.outside.clone(), self.target.clone());
        let key: Key = (target.namespace.as_str().into(), target.name.as_str().into());
        // The watch lives as long as somebody hears it.
        let heard = (mirror.changes(), mirror);
        let told = stream::unfold((heard, version), move |((mut changes, mirror), mut version)| {
            let (outside, target, key) = (outside.clone(), target.clone(), key.clone());
            async move {
                loop {
                    tokio::select! {
                        changed = changes.recv() => match changed {
                            Ok(changed) if changed != key => {}
                            Ok(_) | Err(RecvError::Lagged(_)) => {
                                return Some(((), ((changes, mirror), version)));
                            }
                            Err(RecvError::Closed) => return None,
                        },
                        // The server has another version: the watch of the first one hears nothing.
                        Ok(()) = version.changed() => {
                            let at = *version.borrow_and_update();
                            let mirror = mirror_of(&outside, &target, at)?;
                            return Some(((), ((mirror.changes(), mirror), version)));
                        }
                    }
                }
            }
        });
        told.boxed()
    }

    async fn fetch(&self) -> Result<Value, Error> {
        self.ask(None).await.map_err(|error| self.error(error))
    }

    /// Returns how long it has asked for what it asks for, as far as we saw.
    pub(crate) fn age(&self) -> Duration {
        let since = self.known.lock().unwrap_or_else(PoisonError::into_inner).since;
        since.map(|since| since.elapsed()).unwrap_or_default()
    }

    /// Whether a patch would be taken: our rights, and whoever checks what is written.
    pub(crate) async fn rehearse(&self, layout: &Layout) -> Result<(), Error> {
        let asked = self.ask(Some((&patch::rehearsal(layout), Run::Dry))).await;
        asked.map(drop).map_err(|error| self.error(error))
    }

    pub(crate) async fn write(&self, wish: &Wish) -> Result<(), Error> {
        match wish.direction {
            Direction::Raise => self.raise(wish).await,
            Direction::Lower => self.lower(wish).await,
        }
    }

    /// Raises on top of what was read last, or not at all.
    async fn raise(&self, wish: &Wish) -> Result<(), Error> {
        let layout = match self.known() {
            Some(layout) => layout,
            None => self.look().await?,
        };
        self.may_raise(wish, &layout)?;
        let operations =
            wish.operations(&self.target, &layout).map_err(|why| self.invalid(&why))?;
        match self.ask(Some((&operations, Run::Real))).await {
            Ok(document) => {
                self.note(&document);
                Ok(())
            }
            Err(error) if has_moved(&error) => Err(self.overtaken().await),
            Err(error) => Err(self.error(error)),
        }
    }

    fn may_raise(&self, wish: &Wish, layout: &Layout) -> Result<(), Error> {
        if let Some(held) = layout.mark.filter(|held| wish.mark.yields_to(held)) {
            let message =
                format!("{} holds {held}, which is newer than {}", self.target.title(), wish.mark);
            return Err(Error::Conflict(message));
        }
        match self.obstacle(layout) {
            Some(why) => Err(self.invalid(&why)),
            None => Ok(()),
        }
    }

    /// Returns what a person must put right before anything can be raised.
    pub(crate) fn obstacle(&self, layout: &Layout) -> Option<String> {
        let driven = layout
            .driven_by
            .as_ref()
            .map(|other| format!("{other} moves its traffic; take it out of one of the two"));
        driven.or_else(|| layout.complaints())
    }

    /// Says who was faster. Whoever raises again must read again: what is seen here is not kept.
    async fn overtaken(&self) -> Error {
        let title = self.target.title();
        match self.fetch().await {
            Ok(document) => {
                let writer = self.target.layout(&document).writer;
                let who = writer.map(|writer| format!("; {writer} wrote its rules last"));
                Error::Conflict(format!(
                    "{title} changed since it was read{}",
                    who.unwrap_or_default()
                ))
            }
            Err(error @ Error::Invalid(_)) => error,
            Err(_) => Error::Conflict(format!("{title} changed since it was read")),
        }
    }

    /// Lowers what can be lowered, whatever else changed; the first patch goes out without a look.
    async fn lower(&self, wish: &Wish) -> Result<(), Error> {
        let known = self.known().filter(|layout| layout.complaints().is_none());
        let mut layout = match known {
            Some(layout) => layout,
            None => self.look().await?,
        };
        // What a rollback takes off beside: never a reason for it to fail.
        let mut ends = wish.ends();
        for _ in 0..TRIES {
            if layout.fit().next().is_none() {
                return Err(self.invalid(&layout.complaints().unwrap_or_default()));
            }
            let mut operations =
                wish.operations(&self.target, &layout).map_err(|why| self.invalid(&why))?;
            let beside = self.left(ends.as_ref(), &layout);
            let alone = beside.is_empty();
            operations.extend(beside);
            layout = match self.ask(Some((&operations, Run::Real))).await {
                Ok(document) => self.note(&document),
                Err(error) if has_moved(&error) => {
                    ends = None;
                    self.look_there().await?
                }
                Err(ClusterError::Refused(_)) if !alone => {
                    ends = None;
                    continue;
                }
                Err(error) => return Err(self.error(error)),
            };
            // Something of it may have been under way when the patch was made.
            let is_alone = self.left(ends.as_ref(), &layout).is_empty();
            if is_alone && wish.is_in(&self.target, &layout) {
                return self.done(&layout);
            }
        }
        if wish.is_in(&self.target, &layout) {
            return self.done(&layout);
        }
        Err(Error::Conflict(format!("{} changes faster than it is written", self.target.title())))
    }

    /// Returns what is left to be patched of what accompanies the split.
    fn left(&self, escort: Option<&Escort>, layout: &Layout) -> Vec<Value> {
        escort.map(|escort| escort.steps(&self.target, layout).operations).unwrap_or_default()
    }

    // --- what accompanies the split ---

    /// Makes it so on top of what is read now, or not at all.
    pub(crate) async fn accompany(&self, escort: Escort, mark: Mark) -> Result<(), Error> {
        let layout = self.look().await?;
        if let Some(held) = layout.mark.filter(|held| mark.yields_to(held)) {
            let message =
                format!("{} holds {held}, which is newer than {mark}", self.target.title());
            return Err(Error::Conflict(message));
        }
        let steps = escort.steps(&self.target, &layout);
        if !steps.operations.is_empty() {
            let layout = self.patch_unchanged(&layout, steps.operations).await?;
            self.is_kept(&escort, &layout).await?;
        }
        match steps.complaints.is_empty() {
            true => Ok(()),
            false => Err(self.invalid(&steps.complaints.join("; "))),
        }
    }

    /// Takes a copy off again that the server made another one: it does not know all of its fields.
    async fn is_kept(&self, escort: &Escort, layout: &Layout) -> Result<(), Error> {
        let Some((_, share)) = escort.mirror else { return Ok(()) };
        let Some(why) = self.drops(layout, share) else { return Ok(()) };
        let nothing = Escort { testers: None, mirror: None };
        let off = nothing.steps(&self.target, layout).operations;
        self.patch_unchanged(layout, off).await?;
        Err(self.invalid(&why))
    }

    /// Returns what to do where a copy is there and copies another share than was asked for.
    fn drops(&self, layout: &Layout, asked: Weight) -> Option<String> {
        let other =
            layout.fit().filter_map(|rule| rule.spot.as_ref()).find_map(|spot| {
                match spot.copies {
                    Copies::Ours { share, .. } if share != asked => Some(share),
                    Copies::Ours { .. } | Copies::Nothing | Copies::Theirs(_) => None,
                }
            })?;
        let of = self.target.kind.of;
        Some(format!(
            "the API server makes a mirror of {other} of one of {asked}: its CRDs do not know the share; install \
             newer CRDs of {of} (the Gateway API has it from v1.3 on), or write `mirror: 100%`"
        ))
    }

    async fn patch_unchanged(&self, layout: &Layout, rest: Vec<Value>) -> Result<Layout, Error> {
        let mut operations = vec![patch::unchanged(layout)];
        operations.extend(rest);
        match self.ask(Some((&operations, Run::Real))).await {
            Ok(document) => Ok(self.note(&document)),
            Err(error) if has_moved(&error) => Err(self.overtaken().await),
            Err(error) => Err(self.error(error)),
        }
    }

    /// Takes off what is only for the time of a rollout; what cannot be is no reason to wait.
    pub(crate) async fn finish(&self, escort: Escort) -> Result<(), Error> {
        let mut layout = self.look().await?;
        for _ in 0..TRIES {
            let operations = self.left(Some(&escort), &layout);
            if operations.is_empty() {
                return Ok(());
            }
            match self.ask(Some((&operations, Run::Real))).await {
                Ok(document) => layout = self.note(&document),
                Err(error) if has_moved(&error) => layout = self.look_there().await?,
                Err(error) => return Err(self.error(error)),
            }
        }
        Err(Error::Conflict(format!("{} changes faster than it is written", self.target.title())))
    }

    /// Whether so much could be copied from every rule: nothing of the user's own is in its way, and the
    /// server takes it as it is meant.
    pub(crate) async fn rehearse_mirror(&self, share: Weight) -> Result<(), Error> {
        let layout = self.look().await?;
        let steps = Escort { testers: None, mirror: Some((1, share)) }.steps(&self.target, &layout);
        if !steps.complaints.is_empty() {
            return Err(self.invalid(&steps.complaints.join("; ")));
        }
        let asked = self.ask(Some((&steps.operations, Run::Dry))).await;
        let document = asked.map_err(|error| self.error(error))?;
        match self.drops(&self.target.layout(&document), share) {
            Some(why) => Err(self.invalid(&why)),
            None => Ok(()),
        }
    }

    /// Returns what a person must put right about rules for testers before a rollout starts.
    pub(crate) fn testers_obstacle(&self, layout: &Layout) -> Option<String> {
        layout.testers.iter().find_map(|rule| match rule {
            Ok(rule) if rule.narrow => None,
            Ok(rule) => Some(company::takes_everybody(rule)),
            Err(unfit) => Some(format!("{}: {}", unfit.label, unfit.why)),
        })
    }

    fn done(&self, layout: &Layout) -> Result<(), Error> {
        match layout.complaints() {
            None => Ok(()),
            Some(message) => {
                Err(Error::Partial { done: layout.fit().count(), of: layout.rules.len(), message })
            }
        }
    }

    /// Takes our mark away, and what accompanied the split: testers go where all of the traffic goes.
    /// Nothing to do where it, or the object, is not there.
    pub(crate) async fn release(&self) -> Result<(), Error> {
        let mut is_alone = false;
        for _ in 0..TRIES {
            let layout = match self.ask(None).await {
                Ok(document) => self.note(&document),
                Err(ClusterError::Refused(refusal)) if refusal.code == 404 => return Ok(()),
                Err(error) => return Err(self.error(error)),
            };
            let escort = Escort { testers: layout.serving(), mirror: None };
            let beside = self.left(Some(&escort).filter(|_| !is_alone), &layout);
            let has_beside = !beside.is_empty();
            let mark = layout.marked.then(|| patch::unmark(&self.target));
            let operations: Vec<Value> = beside.into_iter().chain(mark).collect();
            if operations.is_empty() {
                return Ok(());
            }
            match self.ask(Some((&operations, Run::Real))).await {
                Ok(document) => {
                    self.note(&document);
                    return Ok(());
                }
                Err(error) if has_moved(&error) => {}
                Err(ClusterError::Refused(_)) if has_beside => is_alone = true,
                Err(error) => return Err(self.error(error)),
            }
        }
        Err(Error::Conflict(format!("{} changes faster than it is written", self.target.title())))
    }

    fn known(&self) -> Option<Layout> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).layout.clone()
    }

    fn note(&self, document: &Value) -> Layout {
        let layout = self.target.layout(document);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = known.layout.as_ref().map(|before| &before.generation);
        if generation != Some(&layout.generation) {
            known.since = Some(Instant::now());
        }
        known.layout = Some(layout.clone());
        layout
    }

    /// Asks in the version that the server has; the others are tried where it has not that one.
    async fn ask(&self, patch: Option<(&[Value], Run)>) -> Result<Value, ClusterError> {
        let cluster = self.outside.cluster().await;
        let cluster = cluster.map_err(|error| ClusterError::Unavailable(error.to_string()))?;
        let versions = self.target.kind.versions;
        let first = *self.version.borrow();
        let mut refused = None;
        for at in (0..versions.len()).map(|next| (first + next) % versions.len()) {
            match self.ask_version(&cluster, versions[at], patch).await {
                Err(ClusterError::Refused(refusal)) if is_unknown(&refusal) => {
                    refused = Some(refusal)
                }
                told => {
                    self.version.send_if_modified(|known| std::mem::replace(known, at) != at);
                    return told;
                }
            }
        }
        Err(ClusterError::Refused(refused.unwrap_or_default()))
    }

    async fn ask_version(
        &self,
        cluster: &Cluster,
        version: &str,
        patch: Option<(&[Value], Run)>,
    ) -> Result<Value, ClusterError> {
        let Target { kind, namespace, name, .. } = &self.target;
        let path =
            format!("/apis/{}/{version}/namespaces/{namespace}/{}/{name}", kind.group, kind.plural);
        match patch {
            None => cluster.get(&path, CALL_DEADLINE).await,
            Some((operations, run)) => {
                let dry = if run == Run::Dry { "&dryRun=All" } else { "" };
                let path = format!("{path}?fieldManager={MANAGER}{dry}");
                cluster.patch(&path, operations, CALL_DEADLINE).await
            }
        }
    }

    fn invalid(&self, why: &str) -> Error {
        Error::Invalid(format!("{}: {why}", self.target.title()))
    }

    fn error(&self, error: ClusterError) -> Error {
        match error {
            ClusterError::Unavailable(why) => {
                Error::Unavailable(format!("{}: {why}", self.target.title()))
            }
            ClusterError::Refused(refusal) if is_unknown(&refusal) => {
                let Target { kind, .. } = &self.target;
                Error::Invalid(format!(
                    "the API server does not serve {} ({}); install the CRDs of {}",
                    kind.name, kind.group, kind.of
                ))
            }
            ClusterError::Refused(refusal) => said(&self.target.title(), &refusal),
        }
    }
}

/// Makes an error of a refusal, with what to do about it.
pub(crate) fn said(title: &str, refusal: &Refusal) -> Error {
    let Refusal { code, message, causes, .. } = refusal;
    Error::Invalid(match code {
        404 => format!("{title} does not exist; create it, or correct its name"),
        403 if message.contains(" cannot ") => {
            format!("{message}; grant the engine this verb in a Role of the namespace")
        }
        _ if causes.is_empty() => format!("{title}: {refusal}"),
        _ => format!("{title}: {refusal} ({})", causes.join("; ")),
    })
}

/// Returns the watch of a kind in one of its versions, where anything is watched.
fn mirror_of(outside: &Outside, target: &Target, at: usize) -> Option<Mirror> {
    let kind = target.kind;
    let api = format!("/apis/{}/{}", kind.group, kind.versions[at]);
    outside.mirror(&target.namespace, &api, kind.plural, |_| {})
}

/// Whether the server knows the kind at all: it names the object where it does.
fn is_unknown(refusal: &Refusal) -> bool {
    refusal.code == 404 && refusal.object.is_none()
}

/// Whether the object is not as it was when the patch was made: a test failed, or a path is not there.
fn has_moved(error: &ClusterError) -> bool {
    match error {
        ClusterError::Refused(refusal) => {
            refusal.code == 409 || (refusal.code == 422 && refusal.causes.is_empty())
        }
        ClusterError::Unavailable(_) => false,
    }
}
