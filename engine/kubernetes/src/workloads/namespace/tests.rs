//! What a change costs, and what sides show.

use std::cell::RefCell;

use haldane_model::Health;
use serde_json::json;

use super::*;
use crate::workloads::{pods, refs::Holder};

/// All is seen; objects hold what the test says.
#[derive(Default)]
struct World {
    held: HashMap<String, Held>,
    asked: RefCell<Vec<String>>,
    unseen: Option<Kind>,
}

impl Sights for World {
    fn is_seen(&self, kind: Kind) -> bool {
        self.unseen != Some(kind)
    }

    fn contents(&self, of: &Ref, fresh: bool) -> Held {
        self.asked.borrow_mut().push(format!("{} {fresh}", of.1));
        self.held.get(&of.1).cloned().unwrap_or(Held::Absent)
    }
}

/// A namespace, and what each of its sides was told last.
struct Shop {
    namespace: Namespace,
    world: World,
}

impl Shop {
    fn new() -> Self {
        Self { namespace: Namespace::new(), world: World::default() }
    }

    fn side(&mut self, workload: Value) -> watch::Receiver<SideSeen> {
        let (told, mut seen) = watch::channel(SideSeen::default());
        let side = self.namespace.add(serde_json::from_value(workload).unwrap(), told);
        self.namespace.tell(&BTreeSet::from([side]), &self.world);
        seen.mark_unchanged();
        seen
    }

    /// Takes in a change; returns how many sides were looked at.
    fn put(&mut self, kind: Kind, name: &str, object: Option<Value>) -> u64 {
        let before = self.namespace.looks();
        let object = object.map(|mut object| {
            object["metadata"]["name"] = name.into();
            pods::trim(&mut object);
            Arc::new(object)
        });
        let mut touched = BTreeSet::new();
        self.namespace.put(kind, &name.into(), object, &mut touched);
        self.namespace.tell(&touched, &self.world);
        self.namespace.looks() - before
    }
}

fn deployment(side: &str, image: &str) -> Value {
    json!({"metadata": {"uid": side, "generation": 1},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"side": side}}, "template": {
            "metadata": {"labels": {"side": side}}, "spec": {"containers": [{"image": image}]}}}})
}

fn set(of: &str, image: &str, replicas: u64) -> Value {
    json!({"metadata": {"ownerReferences": [{"kind": "Deployment", "name": of, "uid": of}]},
        "status": {"replicas": replicas},
        "spec": {"template": {"metadata": {"labels": {"side": of, "pod-template-hash": "1"}},
            "spec": {"containers": [{"image": image}]}}}})
}

fn pod(side: &str, ready: bool) -> Value {
    let status = if ready { "True" } else { "False" };
    json!({"metadata": {"labels": {"side": side, "app": "shop", "pod-template-hash": "1"}}, "spec": {"containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status}]}})
}

#[test]
fn a_change_of_a_pod_is_looked_at_by_its_own_side_alone_however_many_there_are() {
    let mut shop = Shop::new();
    let mut told = Vec::new();
    for at in 0..500 {
        let name = format!("side-{at}");
        shop.put(Kind::Deployment, &name, Some(deployment(&name, "a:1")));
        told.push(shop.side(json!({"deployment": name})));
        for pod_at in 0..4 {
            shop.put(Kind::Pod, &format!("{name}-{pod_at}"), Some(pod(&name, true)));
        }
    }
    assert_eq!(shop.put(Kind::Pod, "side-7-2", Some(pod("side-7", false))), 1);
    assert_eq!(shop.put(Kind::Pod, "stranger", Some(pod("nobody", false))), 0);
    assert_eq!(shop.put(Kind::Pod, "side-7-2", None), 1);
    assert_eq!(shop.put(Kind::ReplicaSet, "side-9-5d", Some(set("side-9", "a:1", 4))), 1);
    assert_eq!(shop.put(Kind::Deployment, "side-3", Some(deployment("side-3", "a:2"))), 1);
    assert_eq!(shop.put(Kind::Deployment, "unknown", Some(deployment("unknown", "a:2"))), 0);
    let (seen, others) = (told.remove(7), told);
    assert!(seen.has_changed().unwrap());
    assert_eq!(seen.borrow().health, Some(Health::Ready { ready: 3, wanted: 1 }));
    let changed = others
        .iter()
        .filter(|seen| seen.borrow().health != Some(Health::Ready { ready: 4, wanted: 1 }));
    assert_eq!(changed.count(), 0);
}

#[test]
fn the_same_object_once_more_is_no_change() {
    let mut shop = Shop::new();
    let _side = shop.side(json!({"pods": {"side": "green"}}));
    let object = Arc::new(pod("green", true));
    for looks in [1, 0] {
        let mut touched = BTreeSet::new();
        shop.namespace.replace(Kind::Pod, vec![object.clone()], &mut touched);
        assert_eq!(touched.len(), looks);
    }
    let mut touched = BTreeSet::new();
    shop.namespace.replace(Kind::Pod, Vec::new(), &mut touched);
    assert_eq!(touched.len(), 1, "it is gone");
}

#[test]
fn a_pod_that_gets_other_labels_leaves_one_side_and_comes_to_another() {
    let mut shop = Shop::new();
    let green = shop.side(json!({"pods": {"side": "green"}}));
    let blue = shop.side(json!({"pods": {"side": "blue"}}));
    shop.put(Kind::Pod, "one", Some(pod("green", true)));
    assert_eq!(green.borrow().health, Some(Health::Ready { ready: 1, wanted: 1 }));
    assert_eq!(shop.put(Kind::Pod, "one", Some(pod("blue", true))), 2);
    assert_eq!(green.borrow().health, Some(Health::Down));
    assert_eq!(green.borrow().why.as_deref(), Some("no pod has its labels"));
    assert_eq!(blue.borrow().health, Some(Health::Ready { ready: 1, wanted: 1 }));
}

#[test]
fn a_deployment_shows_several_revisions_as_long_as_a_set_of_another_has_pods() {
    let mut shop = Shop::new();
    let side = shop.side(json!({"deployment": "green"}));
    assert_eq!(side.borrow().why.as_deref(), Some("there is no Deployment green"));
    assert_eq!((side.borrow().health, side.borrow().revisions.clone()), (Some(Health::Down), None));
    shop.put(Kind::Deployment, "green", Some(deployment("green", "a:1")));
    shop.put(Kind::ReplicaSet, "green-1", Some(set("green", "a:1", 1)));
    let revisions = || side.borrow().revisions.as_ref().map_or(0, Vec::len);
    assert_eq!(revisions(), 1);
    shop.put(Kind::Deployment, "green", Some(deployment("green", "a:2")));
    assert_eq!(revisions(), 2);
    shop.put(Kind::ReplicaSet, "green-1", Some(set("green", "a:1", 0)));
    assert_eq!(revisions(), 1);
    // A set that somebody else owns says nothing, and one that goes is gone.
    shop.put(Kind::ReplicaSet, "red-1", Some(set("red", "a:3", 1)));
    shop.put(Kind::ReplicaSet, "green-3", Some(set("green", "a:3", 1)));
    assert_eq!(revisions(), 2);
    shop.put(Kind::ReplicaSet, "green-3", None);
    assert_eq!(revisions(), 1);
    shop.world.unseen = Some(Kind::ReplicaSet);
    shop.put(Kind::Deployment, "green", Some(deployment("green", "a:4")));
    assert_eq!(side.borrow().revisions, None, "nobody knows what its pods are made of");
}

#[test]
fn what_keeps_pods_from_being_ready_is_told_with_what_their_controller_complains_of() {
    let mut shop = Shop::new();
    let side = shop.side(json!({"deployment": "green"}));
    let mut stuck = deployment("green", "a:1");
    stuck["spec"]["replicas"] = 2.into();
    stuck["status"] = json!({"conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]});
    shop.put(Kind::Deployment, "green", Some(stuck));
    let mut broken = pod("green", false);
    broken["status"]["containerStatuses"] =
        json!([{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]);
    shop.put(Kind::Pod, "one", Some(broken));
    assert_eq!(
        side.borrow().why.as_deref(),
        Some(
            "0 of 2 pods are ready: 1 ImagePullBackOff, 1 not made yet; the Deployment's own progress deadline is exceeded"
        )
    );
}

#[test]
fn contents_count_where_that_is_asked_and_what_is_not_known_makes_no_revision() {
    let mut shop = Shop::new();
    let plain = shop.side(json!({"deployment": "green"}));
    let mut object = deployment("green", "a:1");
    object["spec"]["template"]["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "flags"}}, {"secretRef": {"name": "token", "optional": true}}]);
    shop.put(Kind::Deployment, "green", Some(object.clone()));
    let of = |seen: &watch::Receiver<SideSeen>| seen.borrow().revisions.clone();
    let template = of(&plain).unwrap();
    assert!(shop.world.asked.borrow().is_empty(), "nobody asked for contents");
    let side = shop.side(json!({"deployment": "green", "contents": {"configMaps": true}}));
    assert_eq!(of(&side), None);
    let why = side.borrow().why.clone().unwrap();
    assert!(
        why.contains("ConfigMap flags, whose contents count for the revision, does not exist"),
        "{why}"
    );
    assert_eq!(*shop.world.asked.borrow(), ["flags true"], "the Secret does not count");
    let look = |shop: &mut Shop| {
        let resting = shop.namespace.resting_on(&(Holder::ConfigMap, "flags".to_owned()));
        shop.namespace.tell(&resting, &shop.world);
        resting.len()
    };
    shop.world.held.insert("flags".to_owned(), Held::This([1; 32]));
    assert_eq!(look(&mut shop), 1, "of the two sides one rests on it");
    let first = of(&side).unwrap();
    assert!(first[0].to_string().starts_with(&format!("{}-1-", template[0])), "{first:?}");
    shop.world.held.insert("flags".to_owned(), Held::This([2; 32]));
    look(&mut shop);
    assert_ne!(of(&side).unwrap(), first);
    assert_eq!(of(&plain).unwrap(), template);
    // Secrets as well: an absent one counts as absent where it may be.
    let both = shop
        .side(json!({"deployment": "green", "contents": {"configMaps": true, "secrets": true}}));
    let without = of(&both).unwrap();
    shop.world.held.insert("token".to_owned(), Held::Unread(Some("no right".to_owned())));
    look(&mut shop);
    assert_eq!(of(&both), None);
    assert!(
        both.borrow().why.as_deref().unwrap().contains("Secret token cannot be read: no right")
    );
    shop.world.held.insert("token".to_owned(), Held::This([3; 32]));
    look(&mut shop);
    assert_ne!(of(&both).unwrap(), without);
    // Nothing new of the workload asks for nothing to be read soon; a new generation does.
    shop.world.asked.borrow_mut().clear();
    look(&mut shop);
    assert!(shop.world.asked.borrow().iter().all(|asked| asked.ends_with("false")));
    object["metadata"]["generation"] = 2.into();
    shop.put(Kind::Deployment, "green", Some(object));
    assert!(shop.world.asked.borrow().iter().any(|asked| asked.ends_with("true")));
}

#[test]
fn objects_of_no_known_form_stop_nothing() {
    let mut shop = Shop::new();
    let green = shop.side(json!({"deployment": "green"}));
    let stateful = shop.side(json!({"statefulSet": "green"}));
    let pods = shop.side(json!({"pods": {"side": "green"}}));
    for odd in [
        json!({"metadata": {}}),
        json!({"metadata": {"labels": null}, "spec": null, "status": []}),
        json!({"metadata": {"labels": [1], "ownerReferences": {}}, "spec": {"selector": 5, "template": "x", "replicas": -1}}),
        json!({"metadata": {"labels": {"side": 5}}, "spec": {"selector": {"matchLabels": {"side": null}}, "containers": 7}}),
        json!({"metadata": {"generation": "two"}, "spec": {"selector": {"matchExpressions": 1}, "template": {"metadata": {"labels": 4}}}}),
    ] {
        for kind in Kind::ALL {
            shop.put(kind, "green", Some(odd.clone()));
        }
    }
    assert_eq!(green.borrow().health, Some(Health::Down));
    assert_eq!(stateful.borrow().health, Some(Health::Down));
    shop.put(Kind::Pod, "well", Some(pod("green", true)));
    assert_eq!(pods.borrow().health, Some(Health::Ready { ready: 1, wanted: 1 }));
}

#[test]
fn a_side_that_nobody_watches_any_more_is_forgotten() {
    let mut shop = Shop::new();
    let side = shop.side(json!({"deployment": "green"}));
    shop.put(Kind::Deployment, "green", Some(deployment("green", "a:1")));
    drop(side);
    assert_eq!(shop.put(Kind::Pod, "one", Some(pod("green", true))), 0);
    assert!(!shop.namespace.tidy());
    assert!(shop.namespace.naming.is_empty());
}
