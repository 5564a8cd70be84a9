//! Which ConfigMaps and Secrets a pod template takes its contents from, and what they hold, as a digest. Pure.
//!
//! A digest stands for `data` and `binaryData`, in order and alone: who wrote an object, and when, does not count. One of
//! a Secret is made slowly, so that whoever sees a revision cannot guess by the million what it stands for.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// How often a Secret's digest is digested.
const ROUNDS: u32 = 50_000;

/// What holds contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Holder {
    ConfigMap,
    Secret,
}

/// One of them, in the namespace of who refers to it.
pub(super) type Ref = (Holder, String);

/// What an object holds.
pub(super) type Digest = [u8; 32];

// === impl Holder ===

impl Holder {
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }

    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmaps",
            Self::Secret => "secrets",
        }
    }
}

/// Returns what a template refers to, and whether it may be missing.
pub(super) fn of_template(template: &Value) -> BTreeMap<Ref, bool> {
    let mut found = BTreeMap::new();
    let spec = &template["spec"];
    for list in ["initContainers", "containers"] {
        for container in items(&spec[list]) {
            for from in items(&container["envFrom"]) {
                note(&mut found, Holder::ConfigMap, &from["configMapRef"], "name");
                note(&mut found, Holder::Secret, &from["secretRef"], "name");
            }
            for env in items(&container["env"]) {
                note(&mut found, Holder::ConfigMap, &env["valueFrom"]["configMapKeyRef"], "name");
                note(&mut found, Holder::Secret, &env["valueFrom"]["secretKeyRef"], "name");
            }
        }
    }
    for volume in items(&spec["volumes"]) {
        note(&mut found, Holder::ConfigMap, &volume["configMap"], "name");
        note(&mut found, Holder::Secret, &volume["secret"], "secretName");
        for source in items(&volume["projected"]["sources"]) {
            note(&mut found, Holder::ConfigMap, &source["configMap"], "name");
            note(&mut found, Holder::Secret, &source["secret"], "name");
        }
    }
    found
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn note(found: &mut BTreeMap<Ref, bool>, holder: Holder, by: &Value, field: &str) {
    let Some(name) = by[field].as_str().filter(|name| !name.is_empty()) else { return };
    let optional = by["optional"] == true;
    // It may be missing where nobody needs it.
    let all = found.entry((holder, name.to_owned())).or_insert(true);
    *all &= optional;
}

/// Returns what an object holds.
pub(super) fn digest(holder: Holder, namespace: &str, object: &Value) -> Digest {
    let sorted = |field: &str| -> BTreeMap<String, Value> {
        let fields = object[field].as_object().into_iter().flatten();
        fields.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    let held = (sorted("data"), sorted("binaryData"));
    let text = serde_json::to_vec(&held).unwrap_or_default();
    let mut digest: Digest = Sha256::digest(&text).into();
    if holder == Holder::Secret {
        for _ in 0..ROUNDS {
            digest = Sha256::new().chain_update(digest).chain_update(namespace).finalize().into();
        }
    }
    digest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_way_of_taking_contents_is_followed_and_what_nobody_needs_is_optional() {
        let template = json!({"spec": {
            "initContainers": [{"envFrom": [{"configMapRef": {"name": "init"}}]}],
            "containers": [
                {"envFrom": [{"secretRef": {"name": "env", "optional": true}}], "env": [
                    {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "keys", "key": "a", "optional": true}}},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "token", "key": "b"}}},
                    {"name": "C", "value": "c"}]},
                {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "keys", "key": "b"}}}]}],
            "volumes": [{"name": "a", "configMap": {"name": "files", "optional": true}},
                {"name": "b", "secret": {"secretName": "tls"}},
                {"name": "c", "projected": {"sources": [{"configMap": {"name": "part"}}, {"secret": {"name": "part"}},
                    {"serviceAccountToken": {"path": "t"}}]}},
                {"name": "d", "emptyDir": {}}]}});
        let found: Vec<String> = of_template(&template)
            .iter()
            .map(|((holder, name), optional)| format!("{} {name} {optional}", holder.kind()))
            .collect();
        assert_eq!(
            found,
            [
                "ConfigMap files true",
                "ConfigMap init false",
                "ConfigMap keys false",
                "ConfigMap part false",
                "Secret env true",
                "Secret part false",
                "Secret tls false",
                "Secret token false",
            ]
        );
    }

    #[test]
    fn what_is_no_template_refers_to_nothing() {
        for odd in [json!(null), json!({"spec": 5}), json!({"spec": {"containers": {"env": []}}})] {
            assert!(of_template(&odd).is_empty(), "{odd}");
        }
    }

    #[test]
    fn contents_alone_count_in_whatever_order() {
        let digest = |object: Value| digest(Holder::ConfigMap, "shop", &object);
        let one =
            digest(json!({"data": {"a": "1", "b": "2"}, "metadata": {"resourceVersion": "1"}}));
        let same = digest(
            json!({"data": {"b": "2", "a": "1"}, "metadata": {"labels": {"x": "y"}}, "binaryData": null}),
        );
        assert_eq!(one, same);
        assert_ne!(one, digest(json!({"data": {"a": "1", "b": "3"}})));
        assert_ne!(one, digest(json!({"data": {"a": "1"}, "binaryData": {"b": "2"}})));
        assert_ne!(digest(json!({})), digest(json!({"data": {"a": ""}})));
    }
}
