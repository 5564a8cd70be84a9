//! What runs the sides: the users' own Deployments, StatefulSets, DaemonSets, ReplicaSets, or pods by label.
//!
//! Watched, never written. A side shows one revision once all of its pods are of it; it can take traffic as long as one
//! pod is ready. What cannot be seen is unknown, which is neither dead nor alive. A change is looked at by the sides that
//! it concerns, and namespaces do not wait for each other.

mod contents;
mod namespace;
mod pods;
mod refs;
mod selector;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::{Duration, Instant},
};

use haldane_crds::Workload;
use haldane_model::{RolloutId, SideSeen};
use haldane_outside::{Key, Mirror, Outside, Sight};
use haldane_runtime::ports::Workloads;
use serde_json::Value;
use tokio::sync::{
    broadcast::error::{RecvError, TryRecvError},
    mpsc, watch,
};
use tokio_util::sync::CancellationToken;

use self::{
    contents::{At, Shelf},
    namespace::{Held, Kind, Namespace, Sights},
    refs::Ref,
};
use crate::supervise::supervise;

/// What was seen of pods counts for so long after their watch broke.
pub(crate) const OLD_MAX: Duration = Duration::from_secs(30);

/// How long changes are gathered before sides are looked at.
const TOGETHER: Duration = Duration::from_millis(20);

/// The workloads of a cluster.
pub(crate) struct ClusterWorkloads {
    kinds: Vec<(Kind, Vec<Mirror>)>,
    namespaces: Mutex<HashMap<Arc<str>, Arc<Mutex<Watched>>>>,
    contents: Shelf,
}

/// A namespace in which somebody watches a side.
struct Watched {
    objects: Namespace,
    /// Which versions of the mirrors were taken in whole.
    versions: Vec<u64>,
}

/// What is known beside the objects of a namespace.
struct Around<'a> {
    workloads: &'a ClusterWorkloads,
    namespace: &'a Arc<str>,
}

// === impl ClusterWorkloads ===

impl ClusterWorkloads {
    /// Watches every kind of workload, and pods; what panics is counted.
    pub(crate) fn start(
        outside: &Outside,
        panics: &Arc<AtomicU64>,
        token: &CancellationToken,
    ) -> Arc<Self> {
        let mirrors = |kind: Kind| outside.mirrors(kind.api(), kind.plural(), pods::trim);
        let kinds = Kind::ALL.into_iter().map(|kind| (kind, mirrors(kind))).collect();
        let (contents, asking) = Shelf::new();
        let workloads = Arc::new(Self { kinds, namespaces: Mutex::default(), contents });
        for (kind, mirrors) in &workloads.kinds {
            for mirror in mirrors {
                let (this, kind) = (workloads.clone(), *kind);
                let (mirror, token) = (mirror.clone(), token.clone());
                let follow = move || this.clone().follow(kind, mirror.clone(), token.clone());
                tokio::spawn(supervise("a watch of workloads", panics.clone(), follow));
            }
        }
        let this = workloads.clone();
        tokio::spawn(this.follow_contents(outside.clone(), asking, token.clone()));
        workloads
    }

    async fn follow(self: Arc<Self>, kind: Kind, mirror: Mirror, token: CancellationToken) {
        let (mut changes, mut sight) = (mirror.changes(), mirror.sight());
        // What changed while nobody listened.
        self.tell_all();
        loop {
            let old = match &*sight.borrow_and_update() {
                Sight::Old(since, _) => Some(*since + OLD_MAX),
                Sight::Live | Sight::Unread(_) => None,
            };
            tokio::select! {
                () = token.cancelled() => return,
                changed = changes.recv() => match changed {
                    Ok(first) => {
                        let mut keys = BTreeSet::from([first]);
                        // What comes together is looked at together.
                        tokio::time::sleep(TOGETHER).await;
                        let lagged = loop {
                            match changes.try_recv() {
                                Ok(key) => _ = keys.insert(key),
                                Err(TryRecvError::Lagged(_)) => break true,
                                Err(TryRecvError::Empty | TryRecvError::Closed) => break false,
                            }
                        };
                        self.take_in(kind, keys);
                        if lagged {
                            self.tell_all();
                        }
                    }
                    Err(RecvError::Lagged(_)) => self.tell_all(),
                    Err(RecvError::Closed) => return,
                },
                changed = sight.changed() => match changed {
                    Ok(()) => self.tell_all(),
                    Err(_) => return,
                },
                () = until(old) => {
                    self.tell_all();
                    // Once is enough: nothing gets older than too old.
                    if sight.changed().await.is_err() {
                        return;
                    }
                    self.tell_all();
                }
            }
        }
    }

    /// Reads what holds contents that count, each for as long as a side rests on it.
    async fn follow_contents(
        self: Arc<Self>,
        outside: Outside,
        mut asking: mpsc::UnboundedReceiver<At>,
        token: CancellationToken,
    ) {
        loop {
            let at = tokio::select! {
                () = token.cancelled() => return,
                at = asking.recv() => at,
            };
            let Some(at) = at else { return };
            let (this, outside, token) = (self.clone(), outside.clone(), token.clone());
            tokio::spawn(async move {
                let follow = this.contents.follow(&outside, at, |at| this.tell_of(at));
                tokio::select! {
                    () = token.cancelled() => {}
                    () = follow => {}
                }
            });
        }
    }

    fn namespaces(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Mutex<Watched>>>> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn around<'a>(&'a self, namespace: &'a Arc<str>) -> Around<'a> {
        Around { workloads: self, namespace }
    }

    /// Takes in what changed, and tells the sides that it concerns.
    fn take_in(&self, kind: Kind, keys: BTreeSet<Key>) {
        let mut by_namespace: BTreeMap<Arc<str>, Vec<Arc<str>>> = BTreeMap::new();
        for (namespace, name) in keys {
            by_namespace.entry(namespace).or_default().push(name);
        }
        for (namespace, names) in by_namespace {
            let Some(watched) = self.namespaces().get(&namespace).cloned() else { continue };
            let mut watched = lock(&watched);
            let mut touched = BTreeSet::new();
            for name in names {
                // As it is now: what is told late is no older for it.
                let object =
                    self.mirrors(kind).iter().find_map(|mirror| mirror.get(&namespace, &name));
                watched.objects.put(kind, &name, object, &mut touched);
            }
            watched.objects.tell(&touched, &self.around(&namespace));
        }
    }

    /// Looks at every side.
    fn tell_all(&self) {
        let all: Vec<_> =
            self.namespaces().iter().map(|(name, at)| (name.clone(), at.clone())).collect();
        for (namespace, watched) in all {
            let mut watched = lock(&watched);
            self.catch_up(&namespace, &mut watched);
            let every = watched.objects.all();
            watched.objects.tell(&every, &self.around(&namespace));
        }
    }

    /// Looks at the sides that rest on the contents of an object; returns whether there are any.
    fn tell_of(&self, (namespace, what): &At) -> bool {
        let Some(watched) = self.namespaces().get(namespace).cloned() else { return false };
        let mut watched = lock(&watched);
        let resting = watched.objects.resting_on(what);
        watched.objects.tell(&resting, &self.around(namespace));
        !watched.objects.resting_on(what).is_empty()
    }

    /// Takes in all that is mirrored of a namespace, where anything is different.
    fn catch_up(&self, namespace: &Arc<str>, watched: &mut Watched) -> BTreeSet<namespace::SideId> {
        let mut touched = BTreeSet::new();
        let all = self.kinds.iter().flat_map(|(_, mirrors)| mirrors);
        let versions: Vec<u64> = all.map(Mirror::version).collect();
        if versions == watched.versions {
            return touched;
        }
        for (kind, mirrors) in &self.kinds {
            let objects = mirrors.iter().flat_map(|mirror| mirror.list_in(namespace)).collect();
            watched.objects.replace(*kind, objects, &mut touched);
        }
        watched.versions = versions;
        touched
    }

    fn mirrors(&self, kind: Kind) -> &[Mirror] {
        let found = self.kinds.iter().find(|(one, _)| *one == kind);
        found.map(|(_, mirrors)| mirrors.as_slice()).unwrap_or_default()
    }

    /// Whether every kind was read once, or cannot be.
    pub(crate) fn are_read(&self) -> bool {
        let mut all = self.kinds.iter().flat_map(|(_, mirrors)| mirrors);
        all.all(|mirror| *mirror.sight().borrow() != Sight::Unread(None))
    }

    /// Says what of a rollout's contents that count was not read, and why; begins to read it.
    pub(crate) fn unread_contents(&self, id: &RolloutId, rollout: &Value) -> Option<String> {
        let sides = rollout.pointer("/spec/sides").and_then(Value::as_array);
        sides.into_iter().flatten().find_map(|side| {
            let workload: Workload = serde_json::from_value(side.get("workload")?.clone()).ok()?;
            let counts = workload.contents?;
            let (kind, name) = namespace::named(&workload)?;
            let object =
                self.mirrors(kind).iter().find_map(|mirror| mirror.get(&id.namespace, &name))?;
            let refs = namespace::counting(&object["spec"]["template"], counts);
            refs.into_iter().find_map(|(what, optional)| {
                let held = self.contents.get(&id.namespace, &what, false);
                let why = namespace::known(&what, optional, held).err()?;
                // Somebody waits for it.
                self.contents.get(&id.namespace, &what, true);
                Some(why)
            })
        })
    }

    /// Says which kind cannot be watched in a namespace, and why.
    pub(crate) fn blind(&self, namespace: &str) -> Option<String> {
        let unread = |(kind, mirrors): &(Kind, Vec<Mirror>)| {
            let plural = kind.plural();
            let mut here = mirrors.iter().filter(|mirror| shows(mirror, namespace));
            here.find_map(|mirror| match &*mirror.sight().borrow() {
                Sight::Unread(Some(why)) => Some(format!("{plural} cannot be read: {why}")),
                Sight::Old(since, why) if since.elapsed() >= OLD_MAX => {
                    Some(format!("{plural} cannot be watched: {why}"))
                }
                Sight::Unread(None) | Sight::Live | Sight::Old(..) => None,
            })
        };
        self.kinds.iter().find_map(unread)
    }

    /// Returns how well each kind is seen, as it changes.
    pub(crate) fn sights(&self) -> Vec<watch::Receiver<Sight>> {
        self.kinds.iter().flat_map(|(_, mirrors)| mirrors).map(Mirror::sight).collect()
    }
}

impl Workloads for ClusterWorkloads {
    fn watch(&self, id: &RolloutId, workload: &str) -> watch::Receiver<SideSeen> {
        let workload: Workload = serde_json::from_str(workload).unwrap_or_default();
        let watched = {
            let mut all = self.namespaces();
            // Whoever holds one as well may be about to add a side.
            all.retain(|_, watched| Arc::strong_count(watched) > 1 || lock(watched).objects.tidy());
            let new = || Watched { objects: Namespace::new(), versions: Vec::new() };
            all.entry(id.namespace.clone()).or_insert_with(|| Arc::new(Mutex::new(new()))).clone()
        };
        let mut watched = lock(&watched);
        // Nothing changes unheard between the first look and the first word.
        let touched = self.catch_up(&id.namespace, &mut watched);
        let around = self.around(&id.namespace);
        watched.objects.tell(&touched, &around);
        watched.objects.tidy();
        let (told, mut seen) = watch::channel(SideSeen::default());
        let side = watched.objects.add(workload, told);
        watched.objects.tell(&BTreeSet::from([side]), &around);
        seen.mark_unchanged();
        seen
    }
}

/// Waits until a moment; for ever where there is none.
pub(crate) async fn until(moment: Option<Instant>) {
    match moment {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Whether a mirror holds what lies in a namespace.
fn shows(mirror: &Mirror, namespace: &str) -> bool {
    mirror.collection().namespace.as_deref().is_none_or(|only| only == namespace)
}

fn lock(watched: &Mutex<Watched>) -> MutexGuard<'_, Watched> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Around ===

impl Sights for Around<'_> {
    fn is_seen(&self, kind: Kind) -> bool {
        let mirrors = self.workloads.mirrors(kind).iter();
        mirrors.filter(|mirror| shows(mirror, self.namespace)).all(|mirror| {
            match &*mirror.sight().borrow() {
                Sight::Live => true,
                Sight::Unread(_) => false,
                Sight::Old(since, _) => since.elapsed() < OLD_MAX,
            }
        })
    }

    fn contents(&self, of: &Ref, fresh: bool) -> Held {
        self.workloads.contents.get(self.namespace, of, fresh)
    }
}
