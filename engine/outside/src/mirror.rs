//! A kind of object of the engine's own cluster, mirrored: listed once, then watched.
//!
//! Whoever asks for the same kind shares one watch. A watch that breaks is begun again where it ended, or by a
//! list where the server has forgotten that; what is mirrored stays, and is known to be old. Nothing is asked while
//! nothing changes. An object that is no object of its kind is kept as it is: who reads it says what it lacks.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use kube::core::WatchEvent;
use serde_json::Value;
use tokio::{
    sync::{broadcast, watch},
    task::AbortHandle,
};

use crate::{Cluster, ClusterError, Outside};

/// How many objects one page of a list holds.
const PAGE: usize = 50;
/// How long one page may take.
const LIST_DEADLINE: Duration = Duration::from_secs(15);
/// How long the server keeps a watch open; the longer, the fewer are opened while nothing changes.
const WATCH_SECONDS: u32 = 1_500;
/// A watch that said where it is and then says nothing for longer is dead: servers say it every minute.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// Not every server says where a watch is that has nothing to tell.
const SILENCE_UNTOLD_MAX: Duration = Duration::from_secs(600);
/// How long it waits before it asks again, at first and at most: doubling in between.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// A watch that ends sooner was none.
const BRIEF: Duration = Duration::from_secs(1);
/// As long as a kind is not served, it is asked for at this pace.
const ABSENT_AGAIN: Duration = Duration::from_secs(5);
/// How many changes somebody may lag behind before all counts as changed.
const LAG_MAX: usize = 4_096;

/// Which objects: a kind, and where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Collection {
    /// `/api/v1` or `/apis/GROUP/VERSION`.
    pub api: Arc<str>,
    /// The plural, such as `pods`.
    pub plural: Arc<str>,
    /// One namespace; `None`: all.
    pub namespace: Option<Arc<str>>,
    /// Which alone, such as `metadata.name=haldane`.
    pub field: Option<Arc<str>>,
}

/// Which object changed: its namespace, empty where it has none, and its name.
pub type Key = (Arc<str>, Arc<str>);

/// How well a mirror knows what is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Nothing was listed yet; why, where an attempt failed.
    Unread(Option<String>),
    /// All that happens is heard.
    Live,
    /// What is mirrored is old: since when, and why.
    Old(Instant, String),
}

/// Takes away of an object what nobody here reads.
pub type Trim = fn(&mut Value);

/// A mirror. Cheap to clone; the watch ends with the last one.
#[derive(Clone)]
pub struct Mirror(Arc<Shared>);

struct Shared {
    state: Arc<State>,
    task: AbortHandle,
}

struct State {
    collection: Collection,
    trim: Trim,
    objects: RwLock<Objects>,
    sight: watch::Sender<Sight>,
    changes: broadcast::Sender<Key>,
}

/// What is mirrored, by namespace and name, so that nobody looks through all of it for what lies in one namespace.
#[derive(Default)]
struct Objects {
    within: HashMap<Arc<str>, HashMap<Arc<str>, Arc<Value>>>,
    /// Grows with every change.
    version: u64,
}

/// The mirrors of one engine, so that a kind is watched once.
#[derive(Default)]
pub(crate) struct Mirrors(Mutex<HashMap<Collection, std::sync::Weak<Shared>>>);

/// Why a watch ended.
enum End {
    /// The server closed it; it goes on where it was.
    Closed,
    /// The server does not know any more what happened since: it is listed anew.
    Forgotten,
    /// Something broke.
    Broken(String),
    /// The kind is not served.
    Absent(String),
}

// === impl Collection ===

impl Collection {
    /// A kind in every namespace.
    #[must_use]
    pub fn everywhere(api: &str, plural: &str) -> Self {
        Self { api: api.into(), plural: plural.into(), namespace: None, field: None }
    }

    /// The same in one namespace.
    #[must_use]
    pub fn within(self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.into()), ..self }
    }

    fn path(&self) -> String {
        let Self { api, plural, namespace, field } = self;
        let within = namespace.as_ref().map_or_else(String::new, |at| format!("/namespaces/{at}"));
        let field =
            field.as_ref().map_or_else(String::new, |field| format!("&fieldSelector={field}"));
        format!("{api}{within}/{plural}?{}", field.trim_start_matches('&'))
    }
}

// === impl Mirrors ===

impl Mirrors {
    fn known(&self) -> MutexGuard<'_, HashMap<Collection, std::sync::Weak<Shared>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, outside: &Outside, collection: Collection, trim: Trim) -> Mirror {
        let mut known = self.known();
        if let Some(shared) = known.get(&collection).and_then(std::sync::Weak::upgrade) {
            return Mirror(shared);
        }
        let state = Arc::new(State {
            collection: collection.clone(),
            trim,
            objects: RwLock::default(),
            sight: watch::channel(Sight::Unread(None)).0,
            changes: broadcast::channel(LAG_MAX).0,
        });
        // The watch must not keep the mirrors alive that keep it.
        let outside = outside.without_mirrors();
        let task = tokio::spawn(state.clone().follow(outside)).abort_handle();
        let shared = Arc::new(Shared { state, task });
        known.retain(|_, shared| shared.strong_count() > 0);
        known.insert(collection, Arc::downgrade(&shared));
        Mirror(shared)
    }
}

// === impl Mirror ===

impl Mirror {
    /// Returns an object.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.0.state.objects().within.get(namespace)?.get(name).cloned()
    }

    /// Returns every object, in no order.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Value>> {
        self.0.state.objects().within.values().flat_map(HashMap::values).cloned().collect()
    }

    /// Returns every object of a namespace, in no order.
    #[must_use]
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<Value>> {
        let objects = self.0.state.objects();
        objects
            .within
            .get(namespace)
            .map(|within| within.values().cloned().collect())
            .unwrap_or_default()
    }

    /// Returns a number that grows with every change: where it is the same, nothing is different.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.0.state.objects().version
    }

    /// Returns how well it knows what is, as it changes.
    #[must_use]
    pub fn sight(&self) -> watch::Receiver<Sight> {
        self.0.state.sight.subscribe()
    }

    /// Returns whether all that happens is heard.
    #[must_use]
    pub fn is_live(&self) -> bool {
        *self.0.state.sight.borrow() == Sight::Live
    }

    /// Returns what changes from now on; who lags behind hears so, and looks at everything.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Key> {
        self.0.state.changes.subscribe()
    }

    /// Returns which objects these are.
    #[must_use]
    pub fn collection(&self) -> &Collection {
        &self.0.state.collection
    }
}

// === impl Shared ===

impl Drop for Shared {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl State ===

impl State {
    fn objects(&self) -> RwLockReadGuard<'_, Objects> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn objects_mut(&self) -> RwLockWriteGuard<'_, Objects> {
        self.objects.write().unwrap_or_else(PoisonError::into_inner)
    }

    async fn follow(self: Arc<Self>, outside: Outside) {
        let mut version: Option<String> = None;
        let mut wait = AGAIN.0;
        loop {
            let opened = Instant::now();
            let end = match outside.cluster().await {
                Ok(cluster) => self.once(&cluster, &mut version, &mut wait).await,
                Err(error) => End::Broken(error.to_string()),
            };
            match end {
                // Opened and closed at once: it is not asked again at once.
                End::Closed if opened.elapsed() >= BRIEF => continue,
                End::Closed => {}
                End::Forgotten => {
                    version = None;
                    self.note_trouble("it is listed anew".to_owned());
                }
                End::Broken(why) => self.note_trouble(why),
                End::Absent(why) => {
                    self.replace(HashMap::new());
                    self.sight.send_replace(Sight::Unread(Some(why)));
                    version = None;
                    wait = wait.max(ABSENT_AGAIN);
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(AGAIN.1);
        }
    }

    /// Lists where that is needed, then watches until the watch ends.
    async fn once(
        &self,
        cluster: &Cluster,
        version: &mut Option<String>,
        wait: &mut Duration,
    ) -> End {
        let from = match version.take() {
            Some(from) => from,
            None => match self.read_all(cluster).await {
                Ok(from) => from,
                Err(ClusterError::Refused(refusal)) if refusal.code == 404 => {
                    return End::Absent(refusal.to_string());
                }
                Err(error) => return End::Broken(error.to_string()),
            },
        };
        self.watch(cluster, version.insert(from), wait).await
    }

    async fn read_all(&self, cluster: &Cluster) -> Result<String, ClusterError> {
        let path = self.collection.path();
        let mut found = HashMap::new();
        let mut more = String::new();
        loop {
            let page = format!("{path}&limit={PAGE}{more}");
            let mut listed = cluster.get(&page, LIST_DEADLINE).await?;
            let items = listed.get_mut("items").map(Value::take);
            for mut item in items.and_then(|items| items.as_array().cloned()).unwrap_or_default() {
                (self.trim)(&mut item);
                found.insert(key_of(&item), Arc::new(item));
            }
            let text = |at: &str| listed.pointer(at).and_then(Value::as_str).unwrap_or_default();
            let (next, version) = (text("/metadata/continue"), text("/metadata/resourceVersion"));
            if next.is_empty() {
                let version = version.to_owned();
                self.replace(found);
                return Ok(version);
            }
            more = format!("&continue={next}");
        }
    }

    async fn watch(&self, cluster: &Cluster, version: &mut String, wait: &mut Duration) -> End {
        let path = format!(
            "{}&watch=true&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={WATCH_SECONDS}",
            self.collection.path()
        );
        let events = match cluster.events(&path, LIST_DEADLINE).await {
            Ok(events) => events,
            Err(ClusterError::Refused(refusal)) if refusal.code == 410 => return End::Forgotten,
            Err(ClusterError::Refused(refusal)) if refusal.code == 404 => {
                return End::Absent(refusal.to_string());
            }
            Err(error) => return End::Broken(error.to_string()),
        };
        futures::pin_mut!(events);
        *wait = AGAIN.0;
        self.sight.send_if_modified(|sight| std::mem::replace(sight, Sight::Live) != Sight::Live);
        let mut silence = SILENCE_UNTOLD_MAX;
        loop {
            let event = match tokio::time::timeout(silence, events.next()).await {
                Ok(Some(Ok(event))) => event,
                Ok(Some(Err(error))) => return End::Broken(error.to_string()),
                Ok(None) => return End::Closed,
                // It goes on where it was: what was missed comes then.
                Err(_silent) => return End::Closed,
            };
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    note_version(version, &object);
                    self.put(object);
                }
                WatchEvent::Deleted(object) => {
                    note_version(version, &object);
                    self.remove(&key_of(&object));
                }
                WatchEvent::Bookmark(mark) => {
                    silence = SILENCE_MAX;
                    version.clone_from(&mark.metadata.resource_version);
                }
                WatchEvent::Error(status) if status.code == 410 => return End::Forgotten,
                WatchEvent::Error(status) => return End::Broken(status.message.clone()),
            }
        }
    }

    fn put(&self, mut object: Value) {
        (self.trim)(&mut object);
        let key = key_of(&object);
        self.objects_mut().put(&key, Arc::new(object));
        let _ = self.changes.send(key);
    }

    fn remove(&self, key: &Key) {
        self.objects_mut().remove(key);
        let _ = self.changes.send(key.clone());
    }

    /// Takes in what was listed, and tells what of it is new, changed or gone.
    fn replace(&self, found: HashMap<Key, Arc<Value>>) {
        let changed = self.objects_mut().replace(found);
        for key in changed {
            let _ = self.changes.send(key);
        }
    }

    fn note_trouble(&self, why: String) {
        let Collection { plural, .. } = &self.collection;
        let told = self.sight.send_if_modified(|sight| {
            let was = sight.clone();
            *sight = match &was {
                Sight::Unread(_) => Sight::Unread(Some(why.clone())),
                Sight::Live => Sight::Old(Instant::now(), why.clone()),
                Sight::Old(since, _) => Sight::Old(*since, why.clone()),
            };
            was != *sight
        });
        if told {
            tracing::info!(%plural, "the watch is broken: {why}");
        }
    }
}

// === impl Objects ===

impl Objects {
    fn put(&mut self, (namespace, name): &Key, object: Arc<Value>) {
        self.version += 1;
        self.within.entry(namespace.clone()).or_default().insert(name.clone(), object);
    }

    fn remove(&mut self, (namespace, name): &Key) {
        self.version += 1;
        let Some(within) = self.within.get_mut(namespace) else { return };
        within.remove(name);
        if within.is_empty() {
            self.within.remove(namespace);
        }
    }

    /// Returns what is new, changed or gone.
    fn replace(&mut self, found: HashMap<Key, Arc<Value>>) -> Vec<Key> {
        let mut old = std::mem::take(&mut self.within);
        let mut changed = Vec::new();
        for (key, object) in found {
            let was = old.get_mut(&key.0).and_then(|within| within.remove(&key.1));
            if was.as_ref() != Some(&object) {
                changed.push(key.clone());
            }
            self.put(&key, object);
        }
        for (namespace, left) in old {
            changed.extend(left.into_keys().map(|name| (namespace.clone(), name)));
        }
        self.version += 1;
        changed
    }
}

fn key_of(object: &Value) -> Key {
    let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default().into();
    (text("/metadata/namespace"), text("/metadata/name"))
}

fn note_version(version: &mut String, object: &Value) {
    if let Some(found) = object.pointer("/metadata/resourceVersion").and_then(Value::as_str) {
        found.clone_into(version);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(namespace: &str, name: &str) -> Key {
        (namespace.into(), name.into())
    }

    fn names(mut keys: Vec<Key>) -> Vec<String> {
        keys.sort();
        keys.iter().map(|(namespace, name)| format!("{namespace}/{name}")).collect()
    }

    #[test]
    fn a_list_tells_what_is_new_changed_or_gone_and_nothing_else() {
        let mut objects = Objects::default();
        for (name, value) in [("same", 1), ("other", 1), ("gone", 1)] {
            objects.put(&key("shop", name), Arc::new(json!(value)));
        }
        objects.put(&key("empty", "last"), Arc::new(json!(1)));
        let found = [("same", 1), ("other", 2), ("new", 1)];
        let found = found.map(|(name, value)| (key("shop", name), Arc::new(json!(value))));
        let changed = objects.replace(found.into_iter().collect());
        assert_eq!(names(changed), ["empty/last", "shop/gone", "shop/new", "shop/other"]);
        assert_eq!((objects.within.len(), objects.within["shop"].len()), (1, 3));
    }

    #[test]
    fn every_change_has_a_version_and_an_empty_namespace_is_forgotten() {
        let mut objects = Objects::default();
        objects.put(&key("shop", "one"), Arc::new(json!(1)));
        let one = objects.version;
        objects.remove(&key("shop", "one"));
        assert!(objects.version > one && objects.within.is_empty());
        objects.remove(&key("shop", "one"));
    }
}
