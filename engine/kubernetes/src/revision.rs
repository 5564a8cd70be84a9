//! The revision of a side: a hash of its pod template, as its owner means it. Pure.
//!
//! What others put into a template does not count: what injectors and restarts write, what controllers mark, and every
//! value that the API server would have filled in. A hash carries the version of this algorithm, and that version is
//! asked for again where a record shows it: an upgrade of the engine is no new revision.

use haldane_model::Revision;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The version of the algorithm.
const VERSION: u32 = 1;

/// The version of what is added where contents count.
const CONTENTS_VERSION: u32 = 1;

/// Labels that controllers put on templates.
const CONTROLLERS_LABELS: [&str; 3] =
    ["pod-template-hash", "controller-revision-hash", "pod-template-generation"];

/// Annotations that are not the application's.
const FOREIGN_ANNOTATIONS: [&str; 7] = [
    "kubectl.kubernetes.io/",
    "sidecar.istio.io/status",
    "istio.io/rev",
    "linkerd.io/",
    "vault.hashicorp.com/agent-inject-status",
    "haldane.dev/",
    "cni.projectcalico.org/",
];

/// What the API server fills in, wherever a field of this name has this value.
const DEFAULTS: [(&str, &str); 27] = [
    ("dnsPolicy", "\"ClusterFirst\""),
    ("restartPolicy", "\"Always\""),
    ("schedulerName", "\"default-scheduler\""),
    ("terminationGracePeriodSeconds", "30"),
    ("terminationMessagePath", "\"/dev/termination-log\""),
    ("terminationMessagePolicy", "\"File\""),
    ("imagePullPolicy", "\"IfNotPresent\""),
    ("imagePullPolicy", "\"Always\""),
    ("protocol", "\"TCP\""),
    ("enableServiceLinks", "true"),
    ("preemptionPolicy", "\"PreemptLowerPriority\""),
    ("priority", "0"),
    ("hostNetwork", "false"),
    ("hostPID", "false"),
    ("hostIPC", "false"),
    ("shareProcessNamespace", "false"),
    ("stdin", "false"),
    ("stdinOnce", "false"),
    ("tty", "false"),
    ("periodSeconds", "10"),
    ("timeoutSeconds", "1"),
    ("successThreshold", "1"),
    ("failureThreshold", "3"),
    ("scheme", "\"HTTP\""),
    ("defaultMode", "420"),
    ("apiVersion", "\"v1\""),
    ("creationTimestamp", "null"),
];

/// Returns the revision that a pod template stands for. The labels by which its workload knows its pods do not count:
/// two workloads that run the same differ in them.
pub(crate) fn of_template(template: &Value, selector: &Value) -> Revision {
    let digest = Sha256::digest(meant(template, selector).to_string());
    Revision::from(format!("{VERSION}-{}", hex(&digest)).as_str())
}

/// Returns the revision of a template together with what it takes its contents from: of each its kind, its name, and a
/// digest of what it holds, `None` where it is absent. Which part is different can be seen.
pub(crate) fn with_contents(
    template: &Revision,
    contents: &[(&str, String, Option<[u8; 32]>)],
) -> Revision {
    let mut all = Sha256::new();
    for (kind, name, digest) in contents {
        // No name holds a slash.
        all.update(format!("{kind}/{name}/{}/", u8::from(digest.is_some())));
        all.update(digest.unwrap_or_default());
    }
    Revision::from(format!("{template}-{CONTENTS_VERSION}-{}", hex(&all.finalize())).as_str())
}

fn hex(digest: &[u8]) -> String {
    digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the template as its owner means it, with its keys in order.
fn meant(template: &Value, selector: &Value) -> Value {
    let is_selected = |name: &str| selector["matchLabels"].get(name).is_some();
    let mut template = template.clone();
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| matches!(name.as_str(), "labels" | "annotations"));
        if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            labels.retain(|name, _| {
                !CONTROLLERS_LABELS.contains(&name.as_str()) && !is_selected(name)
            });
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            let foreign =
                |name: &str| FOREIGN_ANNOTATIONS.iter().any(|start| name.starts_with(start));
            annotations.retain(|name, _| !foreign(name));
        }
    }
    if let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) {
        // Both names mean one field.
        if spec.get("serviceAccount") == spec.get("serviceAccountName") {
            spec.shift_remove("serviceAccount");
        }
    }
    plain(&template)
}

/// The same without what is empty or filled in, keys in order.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut left: Vec<(&String, Value)> = fields
                .iter()
                .filter(|(name, value)| !is_default(name, value))
                .map(|(name, value)| (name, plain(value)))
                .filter(|(_, value)| !is_empty(value))
                .collect();
            left.sort_by_key(|(name, _)| *name);
            let fields = left.into_iter().map(|(name, value)| (name.clone(), value));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn is_default(name: &str, value: &Value) -> bool {
    let mut known = DEFAULTS.iter().filter(|(field, _)| *field == name).peekable();
    known.peek().is_some() && {
        let text = value.to_string();
        known.any(|(_, filled_in)| *filled_in == text)
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template() -> Value {
        json!({
            "metadata": {"labels": {"app": "checkout", "version": "v2"}},
            "spec": {"containers": [{"name": "app", "image": "checkout:2", "ports": [{"containerPort": 80}]}]},
        })
    }

    fn with(change: impl FnOnce(&mut Value)) -> Revision {
        let mut template = template();
        change(&mut template);
        of_template(&template, &Value::Null)
    }

    #[test]
    fn what_the_server_and_injectors_fill_in_is_no_new_revision() {
        let was = of_template(&template(), &Value::Null);
        let filled = with(|template| {
            template["metadata"]["creationTimestamp"] = Value::Null;
            template["metadata"]["labels"]["pod-template-hash"] = "5d4f".into();
            template["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/restartedAt": "now", "sidecar.istio.io/status": "{}"});
            let spec = &mut template["spec"];
            spec["restartPolicy"] = "Always".into();
            spec["dnsPolicy"] = "ClusterFirst".into();
            spec["securityContext"] = json!({});
            spec["schedulerName"] = "default-scheduler".into();
            spec["terminationGracePeriodSeconds"] = 30.into();
            let container = &mut spec["containers"][0];
            container["imagePullPolicy"] = "IfNotPresent".into();
            container["terminationMessagePath"] = "/dev/termination-log".into();
            container["resources"] = json!({});
            container["ports"][0]["protocol"] = "TCP".into();
        });
        assert_eq!(filled, was);
    }

    #[test]
    fn what_the_owner_changes_is_a_new_revision() {
        let was = of_template(&template(), &Value::Null);
        let changed: [fn(&mut Value); 4] = [
            |template| template["spec"]["containers"][0]["image"] = "checkout:3".into(),
            |template| {
                template["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "b"}])
            },
            |template| template["metadata"]["annotations"] = json!({"checksum/config": "abc"}),
            |template| template["spec"]["terminationGracePeriodSeconds"] = 60.into(),
        ];
        for change in changed {
            assert_ne!(with(change), was);
        }
    }

    #[test]
    fn two_workloads_that_run_the_same_show_one_revision() {
        let side = |side: &str| {
            let mut template = template();
            template["metadata"]["labels"]["side"] = side.into();
            of_template(&template, &json!({"matchLabels": {"app": "checkout", "side": side}}))
        };
        assert_eq!(side("blue"), side("green"));
    }

    #[test]
    fn the_order_of_fields_does_not_count_and_that_of_lists_does() {
        let one = json!({"spec": {"a": [1, 2], "b": 1}});
        let other = json!({"spec": {"b": 1, "a": [1, 2]}});
        assert_eq!(of_template(&one, &Value::Null), of_template(&other, &Value::Null));
        assert_ne!(
            of_template(&one, &Value::Null),
            of_template(&json!({"spec": {"a": [2, 1], "b": 1}}), &Value::Null)
        );
    }

    #[test]
    fn a_revision_carries_the_version_of_its_algorithm_and_stays_what_it_was() {
        assert_eq!(of_template(&template(), &Value::Null).to_string(), "1-c7ba2da74c");
    }

    #[test]
    fn contents_are_added_to_the_revision_of_the_template_and_absence_is_one_of_them() {
        let template = of_template(&template(), &Value::Null);
        let of = |digest| with_contents(&template, &[("ConfigMap", "flags".to_owned(), digest)]);
        assert_eq!(of(Some([1; 32])).to_string(), "1-c7ba2da74c-1-5a1569c8c1");
        assert_ne!(of(Some([1; 32])), of(Some([2; 32])));
        assert_ne!(of(None), of(Some([0; 32])));
        assert_ne!(of(None), with_contents(&template, &[]));
    }
}
