//! One process's engine: many rollouts, one loop each.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use haldane_model::{Entry, Plan, RolloutId, SpecSeen};
use haldane_runtime::{
    Input,
    drive::{self, Handle, Ports},
    ports::{Desk, Journal},
    trace::Packed,
};
use serde_json::Value;
use tokio::{
    sync::{Semaphore, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    claims::Claims,
    compile::Written,
    factory::targets,
    preflight::{ASKED_MAX, Preflight},
};

#[cfg(test)]
mod tests;

/// How long a loop that panicked rests before it begins anew.
const AGAIN: Duration = Duration::from_secs(1);

/// How long a loop may take to end.
const END_MAX: Duration = Duration::from_secs(20);

/// One process's engine.
pub struct Engine {
    me: Weak<Self>,
    /// How many loops panicked so far.
    panics: Arc<AtomicU64>,
    ports: Ports,
    token: CancellationToken,
    running: Mutex<BTreeMap<RolloutId, Running>>,
    claims: Mutex<Claims>,
    /// The last preflight that was begun.
    preflights: AtomicU64,
    asking: Semaphore,
}

struct Running {
    handle: Handle,
    task: JoinHandle<()>,
    /// As JSON text: it is asked for seldom, and a tree of values takes many times as much.
    effective: Box<str>,
    /// The preflight that counts; an older one was overtaken.
    preflight: u64,
    /// Held while the loop is told what is written.
    order: Arc<Order>,
    /// What it found.
    found: Option<Preflight>,
    /// The plan whose entries were found good last.
    ready: Option<Arc<Plan>>,
    /// What its loop was told last of what is written.
    told: Option<SpecSeen>,
    /// Who waits until it is told what is written last.
    hears: Option<oneshot::Sender<()>>,
}

/// One teller at a time.
type Order = tokio::sync::Mutex<()>;

/// A rollout that was taken up.
pub struct Applied {
    /// The handle on its loop.
    pub handle: Handle,
    /// Answers once its loop was told what is written; ends without an answer where something newer overtook it.
    pub told: oneshot::Receiver<()>,
}

/// What a command line says about how a rollout is taken up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Intent {
    /// Whatever the idle side shows is meant, though it stood there before.
    pub named: bool,
    /// A split found between 0 and 100 % is taken over.
    pub adopt: bool,
}

/// Waits for the end of a loop; one that panicked begins anew.
fn watch_over(engine: Weak<Engine>, id: RolloutId, task: JoinHandle<()>) -> BoxFuture<'static, ()> {
    let watching = async move {
        let Err(error) = task.await else { return };
        if error.is_panic()
            && let Some(engine) = engine.upgrade()
        {
            engine.begin_anew(&id).await;
        }
    };
    watching.boxed()
}

/// Whether two plans drive the same, so that what was found of one is true of the other.
fn is_driven_alike(one: &Plan, other: &Plan) -> bool {
    let sides =
        one.sides.iter().map(|side| &side.name).eq(other.sides.iter().map(|side| &side.name));
    let entries = one.entries.iter().zip(&other.entries);
    let alike = |(one, other): (&Entry, &Entry)| {
        (&one.name, &one.kind, &one.settings) == (&other.name, &other.kind, &other.settings)
    };
    sides && one.entries.len() == other.entries.len() && entries.into_iter().all(alike)
}

// === impl Running ===

impl Running {
    /// Whether its loop takes in what it is told, or will once it begins anew.
    fn is_alive(&self) -> bool {
        !self.task.is_finished() && !self.handle.is_over()
    }
}

// === impl Engine ===

impl Engine {
    /// Makes an engine of its ports; no rollout runs yet.
    #[must_use]
    pub fn new(ports: Ports) -> Arc<Self> {
        Self::counting(ports, Arc::default())
    }

    /// The same; panics are counted there, beside those of others.
    #[must_use]
    pub fn counting(ports: Ports, panics: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            panics,
            ports,
            token: CancellationToken::new(),
            running: Mutex::default(),
            claims: Mutex::default(),
            preflights: AtomicU64::new(0),
            asking: Semaphore::new(ASKED_MAX),
        })
    }

    /// Starts a loop for each rollout that is stored: its pinned plan needs no file. Returns which.
    pub async fn take_up(&self) -> Result<Vec<RolloutId>, String> {
        let stored = self.ports.store.list().await?;
        self.begin(&stored);
        for id in &stored {
            if let Err(why) = self.claim_in_flight(id).await {
                tracing::warn!(rollout = %id, "what it drives is not known: {why}");
            }
        }
        Ok(stored)
    }

    /// Starts a loop for each of these rollouts that has none, from its record alone.
    pub fn begin(&self, stored: &[RolloutId]) {
        for id in stored {
            self.loop_of(id, None);
        }
    }

    /// Takes a rollout up, or tells its loop what is written now: at once where it may be in flight or
    /// what it would drive was found good already, else once that was looked at.
    pub fn apply(self: &Arc<Self>, written: &Written, intent: Intent) -> Applied {
        let handle = self.loop_of(&written.id, Some(&written.effective));
        let preflight = self.begin_preflight(&written.id);
        let (hears, told) = oneshot::channel();
        if let Some(running) = self.running().get_mut(&written.id) {
            running.hears = Some(hears);
        }
        tokio::spawn(self.clone().take(written.clone(), intent, preflight));
        Applied { handle, told }
    }

    async fn take(self: Arc<Self>, written: Written, intent: Intent, preflight: u64) {
        if self.is_ready(&written) {
            let _ = self.note_preflight(&written, preflight, &Preflight::Ready);
        } else if !self.may_be_in_flight(&written.id).await {
            return self.run_preflight(written, intent, preflight).await;
        }
        self.tell(&written.id, preflight, written.seen(intent)).await;
    }

    /// Whether just this was found good the last time.
    fn is_ready(&self, written: &Written) -> bool {
        let running = self.running();
        let ready = running.get(&written.id).and_then(|running| running.ready.as_ref());
        ready.is_some_and(|ready| is_driven_alike(ready, &written.plan))
    }

    /// Tells a loop what is written, unless something newer was begun: what is older never comes
    /// after what is newer.
    pub(crate) async fn tell(&self, id: &RolloutId, preflight: u64, spec: SpecSeen) {
        let Some((handle, order)) = self.counts(id, preflight) else { return };
        let _turn = order.lock().await;
        if self.counts(id, preflight).is_some() {
            if let Some(running) = self.running().get_mut(id) {
                running.told = Some(spec.clone());
            }
            handle.send(Input::Spec(spec)).await;
            let hears = self.running().get_mut(id).and_then(|running| running.hears.take());
            if let Some(hears) = hears {
                let _ = hears.send(());
            }
        }
    }

    /// Returns how a loop is told, if this preflight is the last that was begun.
    fn counts(&self, id: &RolloutId, preflight: u64) -> Option<(Handle, Arc<Order>)> {
        let all = self.running();
        let running = all.get(id).filter(|running| running.preflight == preflight)?;
        Some((running.handle.clone(), running.order.clone()))
    }

    /// Returns whether what a rollout would drive is as it must be; `None` where that was not asked.
    #[must_use]
    pub fn preflight(&self, id: &RolloutId) -> Option<Preflight> {
        self.running().get(id).and_then(|running| running.found.clone())
    }

    /// Begins a preflight, and so overtakes every one begun before.
    fn begin_preflight(&self, id: &RolloutId) -> u64 {
        let preflight = self.preflights.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(running) = self.running().get_mut(id) {
            running.preflight = preflight;
            running.found = None;
            running.hears = None;
        }
        preflight
    }

    /// Notes what a preflight found. `false`: it was overtaken.
    pub(crate) fn note_preflight(
        &self,
        written: &Written,
        preflight: u64,
        found: &Preflight,
    ) -> bool {
        let mut all = self.running();
        let running = all.get_mut(&written.id).filter(|running| running.preflight == preflight);
        let Some(running) = running else { return false };
        running.found = Some(found.clone());
        running.ready = (*found == Preflight::Ready).then(|| written.plan.clone());
        true
    }

    /// Ends a preflight of what is in flight: nothing is asked of it any more.
    pub(crate) fn end_preflight(&self, id: &RolloutId, preflight: u64) {
        let mut all = self.running();
        if let Some(running) = all.get_mut(id).filter(|running| running.preflight == preflight) {
            running.found = None;
        }
    }

    /// Returns what bounds how many preflights are under way.
    pub(crate) fn asking(&self) -> &Semaphore {
        &self.asking
    }

    /// Returns what everything here shares.
    pub(crate) fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Waits for the end of the engine.
    pub(crate) async fn ended(&self) {
        self.token.cancelled().await;
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<RolloutId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims what a rollout drives. Returns who drives a part of it already, and which: nothing is
    /// claimed then.
    pub async fn claim(&self, id: &RolloutId, targets: &[String]) -> Option<(RolloutId, String)> {
        loop {
            let taken = self.claims().take(id, targets).err()?;
            // What is in flight drives what it began with, whatever its document says by now.
            if taken.is_written || self.may_be_in_flight(&taken.owner).await {
                return Some((taken.owner, taken.target));
            }
            self.claims().free_left(&taken.owner);
        }
    }

    /// Claims what a rollout drives by its record, where it may be in flight: its document may name something else.
    pub async fn claim_in_flight(&self, id: &RolloutId) -> Result<(), String> {
        if let Some(header) = self.in_flight(id).await? {
            self.claims().note_in_flight(id, targets(&header.entries));
        }
        Ok(())
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets who drives what: whoever comes first has it then.
    pub fn forget_claims(&self) {
        self.claims().clear();
    }

    /// Frees what a rollout drove that is gone.
    pub fn release_claims(&self, id: &RolloutId) {
        self.claims().free(id);
    }

    /// Tells the loop of a rollout that what is written cannot be used; what is in flight goes on.
    pub async fn invalid(&self, id: &RolloutId, message: String) -> Handle {
        let handle = self.loop_of(id, None);
        let preflight = self.begin_preflight(id);
        self.tell(id, preflight, SpecSeen::Invalid { message }).await;
        handle
    }

    /// Tells the loop of a rollout that its file is gone.
    pub async fn deleted(&self, id: &RolloutId) {
        self.ended_with(id, SpecSeen::Deleted).await;
    }

    /// Tells the loop of a rollout how it came to its end; what it drives is free for others once its traffic is back.
    pub async fn ended_with(&self, id: &RolloutId, end: SpecSeen) -> Handle {
        let handle = self.loop_of(id, None);
        let preflight = self.begin_preflight(id);
        self.tell(id, preflight, end).await;
        self.claims().leave(id);
        handle
    }

    /// Returns the handle on a rollout whose loop runs.
    #[must_use]
    pub fn handle(&self, id: &RolloutId) -> Option<Handle> {
        let running = self.running();
        let running = running.get(id).filter(|running| running.is_alive());
        running.map(|running| running.handle.clone())
    }

    /// Returns the handle on a rollout's loop, which is begun where there is none.
    fn loop_of(&self, id: &RolloutId, effective: Option<&Value>) -> Handle {
        let effective = effective.map(|effective| effective.to_string().into_boxed_str());
        // Held until it is begun and noted: one rollout never has two loops.
        let mut all = self.running();
        all.retain(|_, running| !running.task.is_finished());
        if let Some(running) = all.get_mut(id).filter(|running| !running.handle.is_over()) {
            if let Some(effective) = effective {
                running.effective = effective;
            }
            return running.handle.clone();
        }
        let (handle, task) = drive::start(id.clone(), self.ports.clone(), self.token.clone());
        let running = Running {
            handle: handle.clone(),
            task: tokio::spawn(watch_over(self.me.clone(), id.clone(), task)),
            effective: effective.unwrap_or_default(),
            preflight: 0,
            order: Arc::default(),
            found: None,
            ready: None,
            told: None,
            hears: None,
        };
        all.insert(id.clone(), running);
        handle
    }

    /// Returns how many loops panicked so far, as it grows.
    #[must_use]
    pub fn panics(&self) -> Arc<AtomicU64> {
        self.panics.clone()
    }

    /// Begins a loop anew that panicked, from its record and from what it was told last.
    async fn begin_anew(&self, id: &RolloutId) {
        self.panics.fetch_add(1, Ordering::Relaxed);
        tracing::error!(rollout = %id, "its loop panicked; it begins anew from its record");
        tokio::select! {
            () = self.token.cancelled() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
        let fallen = {
            let mut running = self.running();
            // Somebody may have begun it anew already.
            let is_fallen = running.get(id).is_some_and(|running| running.handle.is_over());
            if is_fallen { running.remove(id) } else { None }
        };
        let Some(fallen) = fallen else { return };
        self.loop_of(id, None);
        let told = fallen.told.clone();
        let handle = self.running().get_mut(id).map(|running| {
            let task = std::mem::replace(&mut running.task, tokio::spawn(async {}));
            let handle = std::mem::replace(&mut running.handle, fallen.handle.clone());
            *running = Running { handle: handle.clone(), task, ..fallen };
            handle
        });
        if let (Some(handle), Some(told)) = (handle, told) {
            handle.send(Input::Spec(told)).await;
        }
    }

    /// Ends every loop; weights stay where they are.
    pub async fn stop(&self) {
        self.token.cancel();
        let tasks: Vec<JoinHandle<()>> = {
            let mut running = self.running();
            std::mem::take(&mut *running).into_values().map(|running| running.task).collect()
        };
        for task in tasks {
            let _ = tokio::time::timeout(END_MAX, task).await;
        }
    }
}

impl Desk for Engine {
    fn rollouts(&self) -> Vec<Handle> {
        let running = self.running();
        // A rollout whose file went, and whose loop is over, is none any more.
        let alive = running.values().filter(|running| !running.task.is_finished());
        alive.map(|running| running.handle.clone()).collect()
    }

    fn journal(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'static, Result<Journal, String>> {
        self.ports.store.journal(id, after, limit)
    }

    fn trace(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<Packed>, String>> {
        self.ports.store.trace(id, after, limit)
    }

    fn effective(&self, id: &RolloutId) -> Option<Value> {
        let running = self.running();
        let running = running.get(id)?;
        // None is known of a rollout whose file could not be read yet.
        Some(serde_json::from_str(&running.effective).unwrap_or(Value::Null))
    }
}
