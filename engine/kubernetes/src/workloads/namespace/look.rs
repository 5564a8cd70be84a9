//! What a side shows, worked out of its own pods and of what makes them.

use std::{collections::BTreeSet, sync::Arc};

use haldane_crds::Contents;
use haldane_model::{Health, Revision, SideSeen};
use serde_json::Value;

use super::{Held, Kind, Namespace, SideId, Sights, named, selector_of};
use crate::{
    api, revision,
    workloads::{
        pods,
        refs::{self, Digest, Holder, Ref},
        selector::{anchor, selects},
    },
};

impl Namespace {
    /// Looks at sides, and tells what they show where that is different.
    pub(in crate::workloads) fn tell(&mut self, touched: &BTreeSet<SideId>, sights: &impl Sights) {
        for id in touched {
            let Some(seen) = self.look(*id, sights) else { continue };
            let Some(side) = self.sides.get(id) else { continue };
            side.told.send_if_modified(|was| std::mem::replace(was, seen.clone()) != seen);
        }
    }

    /// Returns what a side shows; `None` where nobody watches it.
    pub(in crate::workloads) fn look(
        &mut self,
        id: SideId,
        sights: &impl Sights,
    ) -> Option<SideSeen> {
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
}

/// Returns the contents that count of what a template refers to.
pub(in crate::workloads) fn counting(template: &Value, counts: Contents) -> Vec<(Ref, bool)> {
    let counts = |holder: Holder| match holder {
        Holder::ConfigMap => counts.config_maps,
        Holder::Secret => counts.secrets,
    };
    refs::of_template(template).into_iter().filter(|((holder, _), _)| counts(*holder)).collect()
}

/// Returns what an object holds as far as a revision goes: that it is absent counts as well, where it may be.
pub(in crate::workloads) fn known(
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
