//! The workloads of one namespace and the sides that they run, so arranged that a change is looked at only by the
//! sides that it concerns. Pure.
//!
//! A pod concerns the sides whose selector means it, or meant what it was before; a ReplicaSet those of its owner; any
//! other workload those that name it. What a side shows is worked out of its own pods alone.

mod look;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use haldane_crds::Workload;
use haldane_model::SideSeen;
use serde_json::{Value, json};
use tokio::sync::watch;

pub(super) use self::look::{counting, known};
use super::{
    refs::{Digest, Ref},
    selector::{Index, anchor, selects, words},
};
use crate::api;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    Pod,
}

/// A side that somebody watches.
pub(super) type SideId = u64;

/// What is known beside the objects of a namespace.
pub(super) trait Sights {
    /// Whether a kind is seen as it is, or was a moment ago.
    fn is_seen(&self, kind: Kind) -> bool;
    /// What a ConfigMap or a Secret holds; `fresh`: it should be looked at again soon.
    fn contents(&self, of: &Ref, fresh: bool) -> Held;
}

/// What is known of the contents of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// It holds this.
    This(Digest),
    /// It is not there.
    Absent,
    /// Nobody knows; why, where an attempt failed.
    Unread(Option<String>),
}

/// A namespace.
pub(super) struct Namespace {
    sides: HashMap<SideId, Side>,
    last: SideId,
    /// The sides that name a workload.
    naming: HashMap<(Kind, Arc<str>), BTreeSet<SideId>>,
    /// The sides by a label that all of their pods have.
    selecting: Index<SideId>,
    workloads: HashMap<(Kind, Arc<str>), Arc<Value>>,
    /// The ReplicaSets of an owner, by its uid.
    owned: HashMap<String, BTreeSet<Arc<str>>>,
    pods: HashMap<Arc<str>, Arc<Value>>,
    pods_by_label: Index<Arc<str>>,
    /// How many looks there were.
    looks: u64,
}

struct Side {
    workload: Workload,
    told: watch::Sender<SideSeen>,
    /// Which pods it means, as its workload says it.
    selector: Value,
    /// The generation of its workload at the last look.
    generation: Option<u64>,
    /// What its revision rests on beside templates.
    refs: BTreeSet<Ref>,
}

// === impl Kind ===

impl Kind {
    pub(super) const ALL: [Self; 5] =
        [Self::Deployment, Self::ReplicaSet, Self::StatefulSet, Self::DaemonSet, Self::Pod];

    pub(super) fn api(self) -> &'static str {
        match self {
            Self::Pod => "/api/v1",
            Self::Deployment | Self::ReplicaSet | Self::StatefulSet | Self::DaemonSet => {
                "/apis/apps/v1"
            }
        }
    }

    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Deployment => "deployments",
            Self::ReplicaSet => "replicasets",
            Self::StatefulSet => "statefulsets",
            Self::DaemonSet => "daemonsets",
            Self::Pod => "pods",
        }
    }
}

/// Returns what a side names; pods by label have no name.
pub(super) fn named(workload: &Workload) -> Option<(Kind, Arc<str>)> {
    let Workload { deployment, stateful_set, daemon_set, replica_set, pods: _, contents: _ } =
        workload;
    let (kind, name) = [
        (Kind::Deployment, deployment),
        (Kind::StatefulSet, stateful_set),
        (Kind::DaemonSet, daemon_set),
        (Kind::ReplicaSet, replica_set),
    ]
    .into_iter()
    .find_map(|(kind, name)| Some((kind, name.as_ref()?)))?;
    Some((kind, name.as_str().into()))
}

// === impl Namespace ===

impl Namespace {
    pub(super) fn new() -> Self {
        Self {
            sides: HashMap::new(),
            last: 0,
            naming: HashMap::new(),
            selecting: Index::default(),
            workloads: HashMap::new(),
            owned: HashMap::new(),
            pods: HashMap::new(),
            pods_by_label: Index::default(),
            looks: 0,
        }
    }

    // --- sides ---

    /// Adds a side; what it shows is told to whoever listens.
    pub(super) fn add(&mut self, workload: Workload, told: watch::Sender<SideSeen>) -> SideId {
        self.last += 1;
        let id = self.last;
        let by_label = json!({"matchLabels": workload.pods});
        let name = named(&workload);
        let side =
            Side { workload, told, selector: Value::Null, generation: None, refs: BTreeSet::new() };
        self.sides.insert(id, side);
        match name {
            Some(name) => {
                let selector = self.workloads.get(&name).map(|one| selector_of(one));
                self.naming.entry(name).or_default().insert(id);
                self.select(id, selector.unwrap_or_default());
            }
            None => self.select(id, by_label),
        }
        id
    }

    /// Forgets the sides that nobody watches any more; returns whether any is left.
    pub(super) fn tidy(&mut self) -> bool {
        let gone: Vec<SideId> = self
            .sides
            .iter()
            .filter(|(_, side)| side.told.is_closed())
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.select(id, Value::Null);
            let Some(side) = self.sides.remove(&id) else { continue };
            let Some(name) = named(&side.workload) else { continue };
            if let Some(sides) = self.naming.get_mut(&name) {
                sides.remove(&id);
                if sides.is_empty() {
                    self.naming.remove(&name);
                }
            }
        }
        !self.sides.is_empty()
    }

    pub(super) fn all(&self) -> BTreeSet<SideId> {
        self.sides.keys().copied().collect()
    }

    /// Returns the sides whose revision rests on an object.
    pub(super) fn resting_on(&self, what: &Ref) -> BTreeSet<SideId> {
        let resting = self.sides.iter().filter(|(_, side)| side.refs.contains(what));
        resting.filter(|(_, side)| !side.told.is_closed()).map(|(id, _)| *id).collect()
    }

    /// Changes which pods a side means.
    fn select(&mut self, id: SideId, selector: Value) {
        let Some(side) = self.sides.get_mut(&id) else { return };
        if side.selector == selector {
            return;
        }
        if !side.selector.is_null() {
            self.selecting.remove(anchor(&side.selector), &id);
        }
        if !selector.is_null() {
            self.selecting.add(anchor(&selector), id);
        }
        side.selector = selector;
    }

    // --- objects ---

    /// Takes in what an object is now, `None` where it is gone; adds the sides that it concerns.
    pub(super) fn put(
        &mut self,
        kind: Kind,
        name: &Arc<str>,
        object: Option<Arc<Value>>,
        touched: &mut BTreeSet<SideId>,
    ) {
        match kind {
            Kind::Pod => self.put_pod(name, object, touched),
            Kind::Deployment | Kind::ReplicaSet | Kind::StatefulSet | Kind::DaemonSet => {
                self.put_workload(kind, name, object, touched);
            }
        }
    }

    /// Takes in all objects of a kind that there are.
    pub(super) fn replace(
        &mut self,
        kind: Kind,
        objects: Vec<Arc<Value>>,
        touched: &mut BTreeSet<SideId>,
    ) {
        let mut gone: BTreeSet<Arc<str>> = match kind {
            Kind::Pod => self.pods.keys().cloned().collect(),
            Kind::Deployment | Kind::ReplicaSet | Kind::StatefulSet | Kind::DaemonSet => {
                let of = |(one, name): &(Kind, Arc<str>)| (*one == kind).then(|| name.clone());
                self.workloads.keys().filter_map(of).collect()
            }
        };
        for object in objects {
            let name: Arc<str> = api::text(&object, "/metadata/name").into();
            gone.remove(&name);
            self.put(kind, &name, Some(object), touched);
        }
        for name in gone {
            self.put(kind, &name, None, touched);
        }
    }

    fn put_pod(
        &mut self,
        name: &Arc<str>,
        pod: Option<Arc<Value>>,
        touched: &mut BTreeSet<SideId>,
    ) {
        let old = self.pods.get(name).cloned();
        if is_same(old.as_ref(), pod.as_ref()) {
            return;
        }
        for labels in [&old, &pod].into_iter().flatten().map(|pod| &pod["metadata"]["labels"]) {
            let some = words(labels)
                .flat_map(|label| self.selecting.under(&label).copied().collect::<Vec<_>>());
            let near: BTreeSet<SideId> = some.chain(self.selecting.others().copied()).collect();
            touched.extend(near.into_iter().filter(|id| {
                self.sides.get(id).is_some_and(|side| selects(&side.selector, labels))
            }));
        }
        if let Some(old) = old {
            words(&old["metadata"]["labels"])
                .for_each(|label| self.pods_by_label.remove(Some(label), name));
            self.pods.remove(name);
        }
        if let Some(pod) = pod {
            words(&pod["metadata"]["labels"])
                .for_each(|label| self.pods_by_label.add(Some(label), name.clone()));
            self.pods.insert(name.clone(), pod);
        }
    }

    fn put_workload(
        &mut self,
        kind: Kind,
        name: &Arc<str>,
        object: Option<Arc<Value>>,
        touched: &mut BTreeSet<SideId>,
    ) {
        let key = (kind, name.clone());
        let old = self.workloads.get(&key).cloned();
        if is_same(old.as_ref(), object.as_ref()) {
            return;
        }
        let naming = self.naming.get(&key).cloned().unwrap_or_default();
        for id in &naming {
            self.select(*id, object.as_ref().map(|object| selector_of(object)).unwrap_or_default());
        }
        touched.extend(naming);
        if kind == Kind::ReplicaSet {
            for set in [&old, &object].into_iter().flatten() {
                let owner = api::text(set, "/metadata/ownerReferences/0/name").into();
                touched.extend(self.naming.get(&(Kind::Deployment, owner)).into_iter().flatten());
            }
            let uid = |set: &Value| api::text(set, "/metadata/ownerReferences/0/uid").to_owned();
            if let Some(owner) = old.as_ref().map(|old| uid(old))
                && let Some(sets) = self.owned.get_mut(&owner)
            {
                sets.remove(name);
                if sets.is_empty() {
                    self.owned.remove(&owner);
                }
            }
            if let Some(set) = &object {
                self.owned.entry(uid(set)).or_default().insert(name.clone());
            }
        }
        match object {
            Some(object) => self.workloads.insert(key, object),
            None => self.workloads.remove(&key),
        };
    }

    #[cfg(test)]
    pub(super) fn looks(&self) -> u64 {
        self.looks
    }
}

fn is_same(old: Option<&Arc<Value>>, new: Option<&Arc<Value>>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => Arc::ptr_eq(old, new),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn selector_of(object: &Value) -> Value {
    object.pointer("/spec/selector").cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests;
