//! The workloads of one namespace and the sides that they run, so arranged that a change is looked at only by the
//! sides that it concerns. Pure.
//!
//! A pod concerns the sides whose selector means it, or meant what it was before; a ReplicaSet those of its owner; any
//! other workload those that name it. What a side shows is worked out of its own pods alone.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use haldane_crds::{Contents, Workload};
use haldane_model::{Health, Revision, SideSeen};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    pods,
    refs::{self, Digest, Holder, Ref},
    selector::{Index, anchor, selects, words},
};
use crate::{api, revision};

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

    // --- looks ---

    /// Looks at sides, and tells what they show where that is different.
    pub(super) fn tell(&mut self, touched: &BTreeSet<SideId>, sights: &impl Sights) {
        for id in touched {
            let Some(seen) = self.look(*id, sights) else { continue };
            let Some(side) = self.sides.get(id) else { continue };
            side.told.send_if_modified(|was| std::mem::replace(was, seen.clone()) != seen);
        }
    }

    /// Returns what a side shows; `None` where nobody watches it.
    pub(super) fn look(&mut self, id: SideId, sights: &impl Sights) -> Option<SideSeen> {
        let side = self.sides.get(&id).filter(|side| !side.told.is_closed())?;
        self.looks += 1;
        let name = named(&side.workload);
        let is_seen = name.as_ref().is_none_or(|(kind, _)| sights.is_seen(*kind));
        if !is_seen || !sights.is_seen(Kind::Pod) {
            return Some(SideSeen::default());
        }
        let Some((kind, name)) = name else { return Some(self.by_labels(&side.selector)) };
        // What is not there has no pods and no revision.
        let Some(object) = self.workloads.get(&(kind, name.clone())).cloned() else {
            let why = Some(format!("there is no {kind:?} {name}").into());
            return Some(SideSeen { health: Some(Health::Down), revisions: None, why });
        };
        Some(self.named(id, kind, &object, sights))
    }

    fn named(&mut self, id: SideId, kind: Kind, object: &Value, sights: &impl Sights) -> SideSeen {
        let selector = selector_of(object);
        let pods = self.pods(&selector);
        let number = |at: &str| object.pointer(at).and_then(Value::as_u64);
        let wanted = match kind {
            Kind::DaemonSet => number("/status/desiredNumberScheduled").unwrap_or(0),
            Kind::Deployment | Kind::ReplicaSet | Kind::StatefulSet | Kind::Pod => {
                number("/spec/replicas").unwrap_or(1)
            }
        };
        let mut templates = vec![object["spec"]["template"].clone()];
        let mut others = BTreeSet::new();
        match kind {
            Kind::Deployment => templates.extend(self.of_replica_sets(object)),
            Kind::ReplicaSet | Kind::Pod => {}
            Kind::StatefulSet | Kind::DaemonSet => others = made_of(&pods),
        }
        let late = matches!(kind, Kind::StatefulSet | Kind::DaemonSet)
            && number("/status/observedGeneration") < number("/metadata/generation");
        let generation = number("/metadata/generation");
        let revisions = self.revisions(id, generation, &templates, &selector, sights);
        // Without its ReplicaSets nobody knows what a Deployment's pods are made of; which pods of the others are of
        // which template is their controller's to say, once it has seen the template.
        let blind = kind == Kind::Deployment && !sights.is_seen(Kind::ReplicaSet);
        let (revisions, unknown) = match revisions {
            _ if late || blind => (None, None),
            Ok(own) => (Some(others.into_iter().chain(own).collect()), None),
            Err(why) => (None, Some(why)),
        };
        let parts = [unknown, pods::why(&pods, wanted), trouble(kind, object)];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let why = (!parts.is_empty()).then(|| parts.join("; ").into());
        SideSeen { health: Some(pods::health(&pods, wanted)), revisions, why }
    }

    fn by_labels(&self, selector: &Value) -> SideSeen {
        let pods = self.pods(selector);
        let revisions: BTreeSet<Revision> = pods.iter().map(|pod| pods::revision(pod)).collect();
        let wanted = pods.len() as u64;
        SideSeen {
            health: Some(pods::health(&pods, wanted)),
            revisions: (!revisions.is_empty()).then(|| revisions.into_iter().collect()),
            why: match pods.is_empty() {
                true => Some("no pod has its labels".into()),
                false => pods::why(&pods, wanted).map(Into::into),
            },
        }
    }

    /// Returns what the pods of a Deployment are made of: the templates of its ReplicaSets that have any.
    fn of_replica_sets(&self, deployment: &Value) -> impl Iterator<Item = Value> {
        let names = self.owned.get(api::text(deployment, "/metadata/uid"));
        let sets = names.into_iter().flatten();
        let sets = sets.filter_map(|name| self.workloads.get(&(Kind::ReplicaSet, name.clone())));
        let in_use = sets
            .filter(|set| set.pointer("/status/replicas").and_then(Value::as_u64).unwrap_or(0) > 0);
        in_use.map(|set| set["spec"]["template"].clone())
    }

    /// Returns what templates stand for, with the contents that count; or why that is not known.
    fn revisions(
        &mut self,
        id: SideId,
        generation: Option<u64>,
        templates: &[Value],
        selector: &Value,
        sights: &impl Sights,
    ) -> Result<BTreeSet<Revision>, String> {
        let Some(side) = self.sides.get_mut(&id) else { return Ok(BTreeSet::new()) };
        let base = |template| revision::of_template(template, selector);
        let Some(contents) = side.workload.contents else {
            return Ok(templates.iter().map(base).collect());
        };
        let fresh = side.generation != generation;
        side.generation = generation;
        side.refs.clear();
        let mut found = Ok(BTreeSet::new());
        for template in templates {
            let mut held = Vec::new();
            for ((holder, name), optional) in counting(template, contents) {
                let what = (holder, name);
                let one = sights.contents(&what, fresh);
                side.refs.insert(what.clone());
                match known(&what, optional, one) {
                    Ok(digest) => held.push((holder.kind(), what.1, digest)),
                    Err(why) => found = Err(why),
                }
            }
            let whole = revision::with_contents(&base(template), &held);
            if let Ok(found) = &mut found {
                found.insert(whole);
            }
        }
        found
    }

    /// Returns the pods that a selector means and that are not on their way out.
    fn pods(&self, selector: &Value) -> Vec<Arc<Value>> {
        let is_mine = |pod: &&Arc<Value>| {
            pod.pointer("/metadata/deletionTimestamp").is_none()
                && selects(selector, &pod["metadata"]["labels"])
        };
        match anchor(selector) {
            Some(label) => {
                let near = self.pods_by_label.under(&label);
                near.filter_map(|name| self.pods.get(name)).filter(is_mine).cloned().collect()
            }
            None => self.pods.values().filter(is_mine).cloned().collect(),
        }
    }

    #[cfg(test)]
    pub(super) fn looks(&self) -> u64 {
        self.looks
    }
}

/// Returns the contents that count of what a template refers to.
pub(super) fn counting(template: &Value, counts: Contents) -> Vec<(Ref, bool)> {
    let counts = |holder: Holder| match holder {
        Holder::ConfigMap => counts.config_maps,
        Holder::Secret => counts.secrets,
    };
    refs::of_template(template).into_iter().filter(|((holder, _), _)| counts(*holder)).collect()
}

/// Returns what an object holds as far as a revision goes: that it is absent counts as well, where it may be.
pub(super) fn known(
    (holder, name): &Ref,
    optional: bool,
    held: Held,
) -> Result<Option<Digest>, String> {
    let kind = holder.kind();
    match held {
        Held::This(digest) => Ok(Some(digest)),
        Held::Absent if optional => Ok(None),
        Held::Absent => {
            Err(format!("{kind} {name}, whose contents count for the revision, does not exist"))
        }
        Held::Unread(None) => Err(format!("{kind} {name} is being read")),
        Held::Unread(Some(why)) => Err(format!("{kind} {name} cannot be read: {why}")),
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

/// Returns the revisions of pods while there are several.
fn made_of(pods: &[Arc<Value>]) -> BTreeSet<Revision> {
    let hash = |pod: &Arc<Value>| {
        pod["metadata"]["labels"]["controller-revision-hash"].as_str().map(Revision::from)
    };
    let found: BTreeSet<Revision> = pods.iter().filter_map(hash).collect();
    if found.len() > 1 { found } else { BTreeSet::new() }
}

/// Says what a workload's own controller complains of.
fn trouble(kind: Kind, object: &Value) -> Option<String> {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let mut conditions = conditions.into_iter().flatten();
    conditions.find_map(|one| {
        let (reason, message) = (api::text(one, "/reason"), api::text(one, "/message"));
        let short: String = message.chars().take(200).collect();
        match (one["type"].as_str(), one["status"].as_str()) {
            (Some("ReplicaFailure"), Some("True")) => Some(format!("{reason}: {short}")),
            (Some("Progressing"), Some("False")) if reason == "ProgressDeadlineExceeded" => {
                Some(format!("the {kind:?}'s own progress deadline is exceeded"))
            }
            _ => None,
        }
    })
}

#[cfg(test)]
#[path = "namespace_tests.rs"]
mod tests;
