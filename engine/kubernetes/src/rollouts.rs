//! Rollouts of a cluster become plans: watched, compiled with the templates that they use, told to their loops.
//!
//! Only the engine that leads works. One rollout is worked on by one task at a time, many at once, and none waits for
//! another; a task that panics is counted and tried again. What cannot be compiled never stops what is in flight.

mod leaving;
mod queue;
mod written;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use haldane_host::Engine;
use haldane_model::RolloutId;
use haldane_outside::{Key, Mirror, Outside, Sight};
use serde_json::Value;
use tokio::{
    sync::{Semaphore, broadcast::error::RecvError, mpsc, watch},
    task::{AbortHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use self::queue::Queue;
use crate::{
    api,
    store::StatusStore,
    supervise::supervise,
    workloads::{ClusterWorkloads, OLD_MAX, until},
};

/// How soon what failed is tried again, at first and at most: doubling in between.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How often it is tried to learn what a rollout in flight drives, before others need not wait for it any more.
const CLAIM_TRIES: usize = 5;
/// How soon a rollout whose route another one drives is looked at again; nothing is asked for it.
const ROUTE_AGAIN: Duration = Duration::from_secs(2);
/// How many rollouts begin at once: each writes a dozen times until it rests, and a thousand of them would starve the API
/// server that others need.
pub(crate) const BEGINNING_MAX: usize = 4;
/// How long a rollout keeps its turn until its first record is written; it may be that none ever is.
const FIRST_RECORD_MAX: Duration = Duration::from_secs(1);
/// How soon a rollout is looked at again that lets those go first that had their routes before.
const FIRST_AGAIN: Duration = Duration::from_millis(100);
/// How soon a rollout is looked at again whose workloads are still being read.
const WORKLOADS_AGAIN: Duration = Duration::from_millis(100);
/// Takes over a split found between 0 and 100 %, as `--adopt` does elsewhere.
const ADOPT: &str = "haldane.dev/adopt";

/// Tells loops what is written.
pub(crate) struct Rollouts {
    pub(crate) engine: Arc<Engine>,
    pub(crate) store: StatusStore,
    pub(crate) outside: Outside,
    /// AnalysisTemplates and ClusterAnalysisTemplates.
    pub(crate) templates: Vec<Mirror>,
    /// What runs the sides.
    pub(crate) workloads: Arc<ClusterWorkloads>,
    pub(crate) told: Mutex<HashMap<RolloutId, Told>>,
    /// After a take-over: which of those that had their routes before were not looked at yet. Others wait for them.
    pub(crate) first: Mutex<HashSet<RolloutId>>,
    /// Bounds how many begin at once.
    pub(crate) beginning: Semaphore,
    pub(crate) panics: Arc<AtomicU64>,
    /// How often this engine began to lead.
    pub(crate) taken_over: AtomicU64,
}

/// What a loop was told last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The object, its generation, and whether it is on its way out.
    of: (String, i64, bool),
    /// Since which take-over it is known.
    since: u64,
    adopt: bool,
    /// The versions of the templates that it may use, where it uses any.
    templates: Vec<String>,
    /// Whether it has to wait for another rollout's route.
    refused: bool,
    /// How long was waited for what may pass.
    waited: Duration,
}

// === impl Rollouts ===

impl Rollouts {
    /// Works until the token is cancelled.
    pub(crate) async fn run(
        self: Arc<Self>,
        leads: watch::Receiver<bool>,
        token: CancellationToken,
    ) {
        let (add, mut added) = mpsc::unbounded_channel::<RolloutId>();
        let rollouts = self.store.rollouts.iter().map(|mirror| (mirror, false));
        for (mirror, templates) in rollouts.chain(self.templates.iter().map(|one| (one, true))) {
            let (this, mirror) = (self.clone(), mirror.clone());
            let (add, token) = (add.clone(), token.clone());
            let hear =
                move || this.clone().hear(mirror.clone(), templates, add.clone(), token.clone());
            tokio::spawn(supervise("a watch of what is written", self.panics.clone(), hear));
        }
        for sight in self.workloads.sights() {
            let (this, token) = (self.clone(), token.clone());
            let see = move || this.clone().see(sight.clone(), token.clone());
            tokio::spawn(supervise("a look at the watches", self.panics.clone(), see));
        }
        let mut lead = leads.clone();
        let mut is_leading = false;
        let mut queue = Queue::default();
        let mut tasks: JoinSet<(RolloutId, Option<Duration>)> = JoinSet::new();
        let mut names = HashMap::new();
        let mut timers: HashMap<RolloutId, AbortHandle> = HashMap::new();
        if *lead.borrow_and_update() {
            self.take_over(&mut queue);
            is_leading = true;
        }
        loop {
            // Nothing begins between the lease and the take-over.
            while is_leading
                && *leads.borrow()
                && let Some(id) = queue.next()
            {
                let this = self.clone();
                let task = tasks.spawn({
                    let id = id.clone();
                    async move {
                        let again = this.work(&id).await;
                        (id, again)
                    }
                });
                names.insert(task.id(), id);
            }
            tokio::select! {
                () = token.cancelled() => return,
                Ok(()) = lead.changed() => {
                    is_leading = *lead.borrow_and_update();
                    if is_leading {
                        self.take_over(&mut queue);
                    } else {
                        queue.forget();
                    }
                }
                Some(id) = added.recv() => self.enqueue(&mut queue, id),
                Some(done) = tasks.join_next_with_id() => {
                    let (id, again) = match done {
                        Ok((task, (id, again))) => {
                            names.remove(&task);
                            (id, again)
                        }
                        Err(error) => {
                            let Some(id) = names.remove(&error.id()) else { continue };
                            self.panics.fetch_add(1, Ordering::Relaxed);
                            tracing::error!(rollout = %id, "working on it panicked; it is tried again");
                            (id, Some(AGAIN.1))
                        }
                    };
                    queue.done(&id);
                    self.first().remove(&id);
                    // One time to come again for each: the last word counts.
                    if let Some(old) = timers.remove(&id) {
                        old.abort();
                    }
                    if let Some(after) = again {
                        let (add, again) = (add.clone(), id.clone());
                        let timer = tokio::spawn(async move {
                            tokio::time::sleep(after).await;
                            let _ = add.send(again);
                        });
                        timers.insert(id, timer.abort_handle());
                    }
                }
            }
        }
    }

    /// Starts what may be in flight at once, by its pinned plan, and has everything looked at, oldest first.
    fn take_over(&self, queue: &mut Queue) {
        // What another engine did meanwhile is not known here.
        self.taken_over.fetch_add(1, Ordering::Relaxed);
        self.told().clear();
        self.store.shelf.clear();
        self.engine.forget_claims();
        let mut all: Vec<Arc<Value>> = self.store.rollouts.iter().flat_map(Mirror::list).collect();
        all.sort_by_key(|rollout| {
            let at = |at| api::text(rollout, at).to_owned();
            (at("/metadata/creationTimestamp"), at("/metadata/namespace"), at("/metadata/name"))
        });
        let in_flight = all.iter().filter(|one| may_be_in_flight(one)).map(|one| api::id_of(one));
        self.engine.begin(&in_flight.collect::<Vec<_>>());
        let goes_first = |one: &&Arc<Value>| had_its_route(one) || may_be_in_flight(one);
        *self.first() = all.iter().filter(goes_first).map(|one| api::id_of(one)).collect();
        all.iter().for_each(|rollout| queue.add(api::id_of(rollout), is_new(rollout)));
    }

    fn enqueue(&self, queue: &mut Queue, id: RolloutId) {
        let is_new = self.store.mirrored(&id).is_some_and(|rollout| is_new(&rollout));
        queue.add(id, is_new);
    }

    fn first(&self) -> MutexGuard<'_, HashSet<RolloutId>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears what changes: a rollout, or a template that concerns many.
    async fn hear(
        self: Arc<Self>,
        mirror: Mirror,
        templates: bool,
        add: mpsc::UnboundedSender<RolloutId>,
        token: CancellationToken,
    ) {
        let mut changes = mirror.changes();
        let all = |namespace: Option<&str>| {
            for rollout in self.store.rollouts.iter().flat_map(Mirror::list) {
                let id = api::id_of(&rollout);
                let within = namespace.is_none_or(|namespace| *id.namespace == *namespace);
                if within && (!templates || uses_templates(&rollout)) {
                    let _ = add.send(id);
                }
            }
        };
        // What was mirrored before anybody listened.
        all(None);
        loop {
            let changed: Result<Key, RecvError> = tokio::select! {
                () = token.cancelled() => return,
                changed = changes.recv() => changed,
            };
            match changed {
                Ok((namespace, _)) if templates && namespace.is_empty() => all(None),
                Ok((namespace, _)) if templates => all(Some(&namespace)),
                Ok((namespace, name)) => {
                    let _ = add.send(RolloutId::new(&namespace, &name));
                }
                Err(RecvError::Lagged(_)) => all(None),
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// Says of every rollout that names workloads whether they can be seen.
    async fn see(self: Arc<Self>, mut sight: watch::Receiver<Sight>, token: CancellationToken) {
        loop {
            // A watch that broke a moment ago still counts; nothing more is heard of it when it counts no more.
            let old = match &*sight.borrow_and_update() {
                Sight::Old(since, _) => Some(*since + OLD_MAX).filter(|at| *at > Instant::now()),
                Sight::Live | Sight::Unread(_) => None,
            };
            tokio::select! {
                () = token.cancelled() => return,
                changed = sight.changed() => if changed.is_err() { return },
                () = until(old) => {}
            }
            for rollout in self.store.rollouts.iter().flat_map(Mirror::list) {
                if names_workloads(&rollout) {
                    let id = api::id_of(&rollout);
                    self.blind(&id, self.workloads.blind(&id.namespace));
                }
            }
        }
    }

    fn told(&self) -> MutexGuard<'_, HashMap<RolloutId, Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at one rollout; returns after how long it must be looked at again.
    async fn work(&self, id: &RolloutId) -> Option<Duration> {
        let Some(rollout) = self.store.mirrored(id) else {
            return self.gone(id).await;
        };
        let leaves = rollout.pointer("/metadata/deletionTimestamp").is_some();
        let uid = api::text(&rollout, "/metadata/uid").to_owned();
        let adopt = rollout
            .pointer("/metadata/annotations")
            .and_then(|annotations| annotations.get(ADOPT))
            .is_some_and(|adopt| adopt == "true");
        let news = Told {
            of: (uid, generation_of(&rollout), leaves),
            since: self.taken_over.load(Ordering::Relaxed),
            adopt,
            templates: if uses_templates(&rollout) { self.versions(id) } else { Vec::new() },
            refused: false,
            waited: Duration::ZERO,
        };
        let old = self.told().get(id).cloned();
        let is_same = |old: &Told| {
            (&old.of, old.since, old.adopt, &old.templates)
                == (&news.of, news.since, news.adopt, &news.templates)
        };
        let is_known = old.as_ref().is_some_and(is_same);
        if leaves {
            self.told().insert(id.clone(), news);
            return self.leave(id, &rollout, is_known).await;
        }
        if is_known && old.as_ref().is_some_and(|old| !old.refused && old.waited.is_zero()) {
            return None;
        }
        // What stands on a side when a rollout is first seen must be known: else it would be taken for new.
        if is_new(&rollout) && names_workloads(&rollout) && !self.workloads.are_read() {
            return Some(WORKLOADS_AGAIN);
        }
        if !is_known && may_be_in_flight(&rollout) {
            self.claim_in_flight(id).await;
        }
        if !had_its_route(&rollout) {
            let mut first = self.first();
            first.remove(id);
            if !first.is_empty() {
                return Some(FIRST_AGAIN);
            }
        }
        if let Err(why) = self.keep(id, &rollout).await {
            tracing::warn!(rollout = %id, "{why}");
            self.blind(id, Some(why));
            return Some(AGAIN.0);
        }
        self.blind(id, self.workloads.blind(&id.namespace).filter(|_| names_workloads(&rollout)));
        let waited = old.filter(is_same).map_or(Duration::ZERO, |old| old.waited);
        let (refused, again) = self.tell(id, &rollout, adopt, waited).await;
        self.told().insert(id.clone(), Told { refused, waited: again.unwrap_or_default(), ..news });
        again
    }

    /// Sees to it that nobody else takes what is driven in flight. Tried for a while: others wait for it.
    async fn claim_in_flight(&self, id: &RolloutId) {
        for _ in 0..CLAIM_TRIES {
            match self.engine.claim_in_flight(id).await {
                Ok(()) => return,
                Err(why) => tracing::warn!(rollout = %id, "what it drives is not known: {why}"),
            }
            tokio::time::sleep(AGAIN.0).await;
        }
    }

    fn blind(&self, id: &RolloutId, why: Option<String>) {
        let news = self.store.shelf.with(id, |kept| {
            let news = kept.blind != why;
            kept.blind = why;
            news
        });
        if news {
            self.store.shelf.pictures().add(id);
        }
    }
}

/// Whether nothing is recorded of it yet.
fn is_new(rollout: &Value) -> bool {
    rollout.pointer("/status/record").is_none()
}

fn generation_of(rollout: &Value) -> i64 {
    rollout.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0)
}

/// Shows that the loop of a rollout knows a generation of its spec.
fn observed(store: &StatusStore, id: &RolloutId, generation: i64) {
    store.shelf.with(id, |kept| kept.generation = kept.generation.max(Some(generation)));
    store.shelf.pictures().add(id);
}

/// Whether users may see its side under test, as far as its status tells: what surely rests can wait. An engine of
/// another version may have written what cannot be read here.
fn may_be_in_flight(rollout: &Value) -> bool {
    let rests = match api::text(rollout, "/status/phase") {
        "Degraded" => true,
        // Until it is safe to scale down, what was promoted is watched.
        "Healthy" => {
            rollout.pointer("/status/attempt").and_then(Value::as_u64) == Some(0)
                || rollout.pointer("/status/safeToScaleDown").is_some()
        }
        _ => false,
    };
    rollout.pointer("/status/record").is_some() && !rests
}

/// Whether the engine before this one took its spec as it is: then it drives what it names.
fn had_its_route(rollout: &Value) -> bool {
    let conditions = rollout.pointer("/status/conditions").and_then(Value::as_array);
    let accepted = |one: &Value| {
        one["type"] == "SpecAccepted"
            && one["status"] == "True"
            && one["observedGeneration"] == generation_of(rollout)
    };
    conditions.into_iter().flatten().any(accepted)
}

/// Whether pods and what makes them concern it.
fn names_workloads(rollout: &Value) -> bool {
    let sides = rollout.pointer("/spec/sides").and_then(Value::as_array);
    sides.into_iter().flatten().any(|side| side.get("workload").is_some())
}

fn uses_templates(rollout: &Value) -> bool {
    let templates = rollout.pointer("/spec/analysis/templates").and_then(Value::as_array);
    templates.is_some_and(|templates| !templates.is_empty())
}
