//! What runs the sides: the users' own Deployments, StatefulSets, DaemonSets, ReplicaSets, or pods by label.
//!
//! Watched, never written. A side shows one revision once all of its pods are of it; it can take traffic as long as one
//! pod is ready. What cannot be seen is unknown, which is neither dead nor alive.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use haldane_crds::Workload;
use haldane_model::{Health, Revision, RolloutId, SideSeen};
use haldane_outside::{Mirror, Outside, Sight};
use haldane_runtime::ports::Workloads;
use serde_json::{Value, json};
use tokio::sync::{broadcast::error::RecvError, watch};
use tokio_util::sync::CancellationToken;

use crate::{api, revision};

/// What was seen of pods counts for so long after their watch broke.
const OLD_MAX: Duration = Duration::from_secs(30);

/// How long changes are gathered before sides are looked at.
const TOGETHER: Duration = Duration::from_millis(20);

/// The workloads of a cluster.
pub(crate) struct ClusterWorkloads {
    kinds: Vec<(&'static str, Vec<Mirror>)>,
    asked: Mutex<HashMap<Arc<str>, Vec<Asked>>>,
}

/// Somebody who watches a side.
struct Asked {
    namespace: Arc<str>,
    workload: Workload,
    told: watch::Sender<SideSeen>,
}

/// What is there in one namespace.
struct Objects<'a> {
    workloads: &'a ClusterWorkloads,
    namespace: &'a str,
    sets: Vec<Arc<Value>>,
    pods: Vec<Arc<Value>>,
}

const APPS: &str = "/apis/apps/v1";

// === impl ClusterWorkloads ===

impl ClusterWorkloads {
    /// Watches every kind of workload, and pods.
    pub(crate) fn start(outside: &Outside, token: &CancellationToken) -> Arc<Self> {
        let kind = |api: &str, plural: &'static str| (plural, outside.mirrors(api, plural, trim));
        let kinds = vec![
            kind(APPS, "deployments"),
            kind(APPS, "replicasets"),
            kind(APPS, "statefulsets"),
            kind(APPS, "daemonsets"),
            kind("/api/v1", "pods"),
        ];
        let workloads = Arc::new(Self { kinds, asked: Mutex::default() });
        for mirror in workloads.kinds.iter().flat_map(|(_, mirrors)| mirrors) {
            tokio::spawn(workloads.clone().follow(mirror.clone(), token.clone()));
        }
        workloads
    }

    async fn follow(self: Arc<Self>, mirror: Mirror, token: CancellationToken) {
        let (mut changes, mut sight) = (mirror.changes(), mirror.sight());
        loop {
            let old = match &*sight.borrow_and_update() {
                Sight::Old(since, _) => Some(*since + OLD_MAX),
                Sight::Live | Sight::Unread(_) => None,
            };
            let too_old = async move {
                match old {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = token.cancelled() => return,
                changed = changes.recv() => match changed {
                    Ok((namespace, _)) => {
                        let mut namespaces = BTreeSet::from([namespace]);
                        // What comes together is looked at together.
                        tokio::time::sleep(TOGETHER).await;
                        while let Ok((namespace, _)) = changes.try_recv() {
                            namespaces.insert(namespace);
                        }
                        namespaces.iter().for_each(|namespace| self.tell(Some(namespace)));
                    }
                    Err(RecvError::Lagged(_)) => self.tell(None),
                    Err(RecvError::Closed) => return,
                },
                changed = sight.changed() => match changed {
                    Ok(()) => self.tell(None),
                    Err(_) => return,
                },
                () = too_old => {
                    self.tell(None);
                    // Once is enough: nothing gets older than too old.
                    if sight.changed().await.is_err() {
                        return;
                    }
                    self.tell(None);
                }
            }
        }
    }

    /// Tells whoever watches a side of a namespace, or of any, what it shows now.
    fn tell(&self, namespace: Option<&Arc<str>>) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        match namespace {
            Some(namespace) => self.tell_all(asked.get_mut(namespace)),
            None => asked.values_mut().for_each(|asked| self.tell_all(Some(asked))),
        }
    }

    fn tell_all(&self, asked: Option<&mut Vec<Asked>>) {
        let Some(asked) = asked else { return };
        asked.retain(|one| !one.told.is_closed());
        let Some(first) = asked.first() else { return };
        let namespace = first.namespace.clone();
        let objects = self.objects(&namespace);
        for one in asked {
            let seen = self.look(&objects, &one.workload);
            one.told.send_if_modified(|was| {
                *was != seen && {
                    *was = seen;
                    true
                }
            });
        }
    }

    fn objects<'a>(&'a self, namespace: &'a str) -> Objects<'a> {
        let within = |plural: &str| {
            let all = self.mirrors(plural).iter().flat_map(|mirror| mirror.list_in(namespace));
            all.collect()
        };
        Objects { workloads: self, namespace, sets: within("replicasets"), pods: within("pods") }
    }

    fn look(&self, objects: &Objects<'_>, workload: &Workload) -> SideSeen {
        let plural = plural_of(workload);
        if !self.is_seen(plural) || !self.is_seen("pods") {
            return SideSeen::default();
        }
        objects.seen(workload)
    }

    /// Whether a kind is seen as it is, or was a moment ago.
    fn is_seen(&self, plural: &str) -> bool {
        self.mirrors(plural).iter().all(|mirror| match &*mirror.sight().borrow() {
            Sight::Live => true,
            Sight::Unread(_) => false,
            Sight::Old(since, _) => since.elapsed() < OLD_MAX,
        })
    }

    fn mirrors(&self, plural: &str) -> &[Mirror] {
        let found = self.kinds.iter().find(|(kind, _)| *kind == plural);
        found.map(|(_, mirrors)| mirrors.as_slice()).unwrap_or_default()
    }

    /// Whether every kind was read once, or cannot be.
    pub(crate) fn are_read(&self) -> bool {
        let mut all = self.kinds.iter().flat_map(|(_, mirrors)| mirrors);
        all.all(|mirror| *mirror.sight().borrow() != Sight::Unread(None))
    }

    /// Says which kind cannot be watched, and why.
    pub(crate) fn blind(&self) -> Option<String> {
        let unread = |(plural, mirrors): &(&str, Vec<Mirror>)| {
            mirrors.iter().find_map(|mirror| match &*mirror.sight().borrow() {
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
        // Nothing changes unheard between the first look and the first word.
        let mut all = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, asked| !asked.is_empty());
        let (told, seen) = watch::channel(self.look(&self.objects(&id.namespace), &workload));
        let asked = Asked { namespace: id.namespace.clone(), workload, told };
        all.entry(asked.namespace.clone()).or_default().push(asked);
        seen
    }
}

fn plural_of(workload: &Workload) -> &'static str {
    match workload {
        Workload { deployment: Some(_), .. } => "deployments",
        Workload { stateful_set: Some(_), .. } => "statefulsets",
        Workload { daemon_set: Some(_), .. } => "daemonsets",
        Workload { replica_set: Some(_), .. } => "replicasets",
        Workload { .. } => "pods",
    }
}

// === impl Objects ===

impl Objects<'_> {
    fn seen(&self, workload: &Workload) -> SideSeen {
        let Workload { deployment, stateful_set, daemon_set, replica_set, pods } = workload;
        let named = deployment.as_ref().or(stateful_set.as_ref()).or(daemon_set.as_ref());
        let Some(name) = named.or(replica_set.as_ref()) else {
            return self.by_labels(&json!({"matchLabels": pods}));
        };
        let plural = plural_of(workload);
        let found = self
            .workloads
            .mirrors(plural)
            .iter()
            .find_map(|mirror| mirror.get(self.namespace, name.as_str()));
        // What is not there has no pods and no revision.
        let Some(object) = found else {
            return SideSeen { health: Some(Health::Down), revisions: None };
        };
        let selector = object.pointer("/spec/selector").cloned().unwrap_or_default();
        let pods = self.pods(&selector);
        let number = |at: &str| object.pointer(at).and_then(Value::as_u64);
        let wanted = match plural {
            "daemonsets" => number("/status/desiredNumberScheduled").unwrap_or(0),
            _ => number("/spec/replicas").unwrap_or(1),
        };
        let own = revision::of_template(&object["spec"]["template"], &selector);
        let revisions = match plural {
            // Without its ReplicaSets nobody knows what its pods are made of.
            "deployments" if !self.workloads.is_seen("replicasets") => None,
            "deployments" => Some(self.replica_sets(&object).chain([own]).collect()),
            "replicasets" => Some(BTreeSet::from([own])),
            // Which pods are of which template is the controller's to say, once it has seen the template.
            _ if number("/status/observedGeneration") < number("/metadata/generation") => None,
            _ => {
                let made_of = |pod: &Arc<Value>| {
                    pod["metadata"]["labels"]["controller-revision-hash"]
                        .as_str()
                        .map(Revision::from)
                };
                let kinds: BTreeSet<Revision> = pods.iter().filter_map(made_of).collect();
                let old = if kinds.len() > 1 { kinds } else { BTreeSet::new() };
                Some(old.into_iter().chain([own]).collect())
            }
        };
        let revisions = revisions.map(|revisions: BTreeSet<_>| revisions.into_iter().collect());
        SideSeen { health: Some(health(&pods, wanted)), revisions }
    }

    /// Returns what the pods of a Deployment are made of: those of its ReplicaSets that have any.
    fn replica_sets(&self, deployment: &Value) -> impl Iterator<Item = Revision> {
        let uid = api::text(deployment, "/metadata/uid").to_owned();
        let owned = self.sets.iter().filter(move |set| {
            api::text(set, "/metadata/ownerReferences/0/uid") == uid
                && set.pointer("/status/replicas").and_then(Value::as_u64).unwrap_or(0) > 0
        });
        let selector = deployment["spec"]["selector"].clone();
        owned.map(move |set| revision::of_template(&set["spec"]["template"], &selector))
    }

    fn by_labels(&self, selector: &Value) -> SideSeen {
        let pods = self.pods(selector);
        let revisions: BTreeSet<Revision> = pods.iter().map(|pod| revision_of_pod(pod)).collect();
        let wanted = pods.len() as u64;
        SideSeen {
            health: Some(health(&pods, wanted)),
            revisions: (!revisions.is_empty()).then(|| revisions.into_iter().collect()),
        }
    }

    /// Returns the pods that a selector means and that are not on their way out.
    fn pods(&self, selector: &Value) -> Vec<Arc<Value>> {
        let mine = self.pods.iter().filter(|pod| {
            pod.pointer("/metadata/deletionTimestamp").is_none()
                && selects(selector, &pod["metadata"]["labels"])
        });
        mine.cloned().collect()
    }
}

fn health(pods: &[Arc<Value>], wanted: u64) -> Health {
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    match ready {
        0 => Health::Down,
        ready => Health::Ready { ready: number(ready as u64), wanted: number(wanted) },
    }
}

/// Whether a pod takes traffic, as its Services see it.
fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let mut conditions = conditions.into_iter().flatten();
    api::text(pod, "/status/phase") == "Running"
        && conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
}

/// Pods by label belong to nothing that we know: what made them says its hash, else what they run tells.
fn revision_of_pod(pod: &Value) -> Revision {
    let labels = &pod["metadata"]["labels"];
    for label in ["pod-template-hash", "controller-revision-hash"] {
        if let Some(hash) = labels.get(label).and_then(Value::as_str) {
            return Revision::from(hash);
        }
    }
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
    let run = containers.into_iter().flatten().map(|container| {
        json!({"name": container["name"], "image": container["image"], "command": container["command"],
            "args": container["args"], "env": container["env"]})
    });
    let template = json!({"spec": {"containers": run.collect::<Vec<_>>()}});
    revision::of_template(&template, &Value::Null)
}

/// Whether a selector means an object with these labels.
fn selects(selector: &Value, labels: &Value) -> bool {
    let label = |name: &str| labels.get(name).and_then(Value::as_str);
    let exact = selector.get("matchLabels").and_then(Value::as_object);
    let rules = selector.get("matchExpressions").and_then(Value::as_array);
    let nothing = exact.is_none_or(serde_json::Map::is_empty) && rules.is_none_or(Vec::is_empty);
    !nothing
        && exact.into_iter().flatten().all(|(name, value)| label(name) == value.as_str())
        && rules.into_iter().flatten().all(|rule| {
            let found = label(rule["key"].as_str().unwrap_or_default());
            let listed = rule["values"].as_array().is_some_and(|values| {
                values.iter().any(|value| found.is_some() && value.as_str() == found)
            });
            match rule["operator"].as_str() {
                Some("In") => listed,
                Some("NotIn") => !listed,
                Some("Exists") => found.is_some(),
                Some("DoesNotExist") => found.is_none(),
                Some(_) | None => false,
            }
        })
}

/// Takes away what nobody reads here: most of a pod.
fn trim(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| {
            matches!(
                name.as_str(),
                "name"
                    | "namespace"
                    | "uid"
                    | "generation"
                    | "labels"
                    | "ownerReferences"
                    | "deletionTimestamp"
                    | "resourceVersion"
            )
        });
    }
    let is_pod = object.pointer("/spec/containers").is_some();
    if is_pod {
        let made = object.pointer("/metadata/labels").is_some_and(|labels| {
            ["pod-template-hash", "controller-revision-hash"]
                .iter()
                .any(|label| labels.get(label).is_some())
        });
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            spec.retain(|name, _| name == "containers" && !made);
        }
        if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
            status.retain(|name, _| matches!(name.as_str(), "phase" | "conditions"));
        }
    }
}
