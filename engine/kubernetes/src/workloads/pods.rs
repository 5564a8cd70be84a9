//! What pods tell: whether they take traffic, and what keeps them from it, in the words that kubectl uses. Pure.
//!
//! Most of a pod is thrown away when it is mirrored ([`trim`]); the reason why it is not ready is made then, and kept.

use std::{collections::BTreeMap, sync::Arc};

use haldane_model::{Health, Revision};
use serde_json::{Value, json};

use crate::{api, revision};

/// How many reasons a sentence lists.
const REASONS_MAX: usize = 5;
/// No reason of others is longer.
const REASON_MAX: usize = 64;
/// Where the reason is kept.
const REASON: &str = "haldaneReason";

/// Labels that say what a pod was made of.
const MADE_OF: [&str; 2] = ["pod-template-hash", "controller-revision-hash"];

/// Whether a pod takes traffic, as its Services see it.
pub(super) fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let mut conditions = conditions.into_iter().flatten();
    api::text(pod, "/status/phase") == "Running"
        && conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
}

/// Whether pods can take traffic; one that is ready is enough.
pub(super) fn health(pods: &[Arc<Value>], wanted: u64) -> Health {
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    match ready {
        0 => Health::Down,
        ready => Health::Ready { ready: number(ready as u64), wanted: number(wanted) },
    }
}

/// Says how many are ready and what keeps the others from it; `None` where all are.
pub(super) fn why(pods: &[Arc<Value>], wanted: u64) -> Option<String> {
    let ready = pods.iter().filter(|pod| is_ready(pod)).count() as u64;
    if ready >= wanted && ready > 0 {
        return None;
    }
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !is_ready(pod)) {
        *reasons.entry(reason_of(pod)).or_default() += 1;
    }
    let mut reasons: Vec<(&str, usize)> = reasons.into_iter().collect();
    // Those that most have come first.
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut listed: Vec<String> = reasons
        .iter()
        .take(REASONS_MAX)
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    let missing = wanted.saturating_sub(pods.len() as u64);
    if missing > 0 {
        listed.push(format!("{missing} not made yet"));
    }
    let words = format!("{ready} of {wanted} pods are ready");
    Some(match (wanted, listed.is_empty()) {
        (0, true) => "no pod is wanted".to_owned(),
        (_, true) => words,
        (_, false) => format!("{words}: {}", listed.join(", ")),
    })
}

/// Pods by label belong to nothing that we know: what made them says its hash, else what they run tells.
pub(super) fn revision(pod: &Value) -> Revision {
    let labels = &pod["metadata"]["labels"];
    for label in MADE_OF {
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

/// Takes away what nobody reads here: most of a pod.
pub(super) fn trim(object: &mut Value) {
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
    if !is_pod {
        return;
    }
    let labels = object.pointer("/metadata/labels");
    let made = labels.is_some_and(|labels| MADE_OF.iter().any(|one| labels.get(one).is_some()));
    let reason = if is_ready(object) { None } else { Some(reason(object)) };
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.retain(|name, _| name == "containers" && !made);
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        status.retain(|name, _| matches!(name.as_str(), "phase" | "conditions"));
        if let Some(reason) = reason {
            status.insert(REASON.to_owned(), reason.into());
        }
    }
}

fn reason_of(pod: &Value) -> &str {
    match pod["status"][REASON].as_str() {
        Some(reason) => reason,
        None => "Pending",
    }
}

/// Why a pod is not ready, in one word where there is one.
fn reason(pod: &Value) -> String {
    let groups = [("/status/initContainerStatuses", "Init:"), ("/status/containerStatuses", "")];
    let found = groups.iter().find_map(|(at, before)| {
        let statuses = pod.pointer(at).and_then(Value::as_array);
        let found = statuses.into_iter().flatten().find_map(trouble)?;
        Some(format!("{before}{found}"))
    });
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let unscheduled = conditions
        .into_iter()
        .flatten()
        .any(|one| one["type"] == "PodScheduled" && one["status"] == "False");
    let said = api::text(pod, "/status/reason");
    let reason = match (found, said, api::text(pod, "/status/phase")) {
        (Some(found), _, _) => found,
        (None, "", _) if unscheduled => "Unschedulable".to_owned(),
        (None, "", "Running") => "running and not ready".to_owned(),
        (None, "", "") => "Pending".to_owned(),
        (None, "", phase) => phase.to_owned(),
        (None, said, _) => said.to_owned(),
    };
    reason.chars().take(REASON_MAX).collect()
}

/// What keeps a container from running.
fn trouble(status: &Value) -> Option<String> {
    let waits = api::text(status, "/state/waiting/reason");
    // Why it was ended says more than that it waits to be started again.
    let ended = api::text(status, "/lastState/terminated/reason");
    match waits {
        "" => {}
        "ContainerCreating" | "PodInitializing" => return None,
        "CrashLoopBackOff" if ended == "OOMKilled" => {
            return Some("CrashLoopBackOff (OOMKilled)".to_owned());
        }
        waits => return Some(waits.to_owned()),
    }
    let terminated = status.pointer("/state/terminated")?;
    match (terminated["exitCode"].as_i64().unwrap_or(0), api::text(terminated, "/reason")) {
        (0, _) => None,
        (code, "") => Some(format!("ExitCode:{code}")),
        (_, reason) => Some(reason.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(status: Value) -> Arc<Value> {
        let mut pod =
            json!({"metadata": {"name": "p"}, "spec": {"containers": [{}]}, "status": status});
        trim(&mut pod);
        Arc::new(pod)
    }

    fn waiting(reason: &str) -> Value {
        json!({"phase": "Running", "containerStatuses": [{"state": {"waiting": {"reason": reason}}}]})
    }

    fn ready() -> Value {
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})
    }

    #[track_caller]
    fn check(statuses: &[Value], wanted: u64, words: Option<&str>) {
        let pods: Vec<Arc<Value>> = statuses.iter().cloned().map(pod).collect();
        assert_eq!(why(&pods, wanted).as_deref(), words);
    }

    #[test]
    fn a_sentence_says_how_many_are_ready_and_what_keeps_the_others() {
        let crash = || waiting("CrashLoopBackOff");
        check(
            &[crash(), waiting("ImagePullBackOff"), crash()],
            3,
            Some("0 of 3 pods are ready: 2 CrashLoopBackOff, 1 ImagePullBackOff"),
        );
        check(&[ready(), crash()], 2, Some("1 of 2 pods are ready: 1 CrashLoopBackOff"));
        check(&[ready(), ready()], 2, None);
        check(&[], 2, Some("0 of 2 pods are ready: 2 not made yet"));
        check(&[], 0, Some("no pod is wanted"));
        check(&[Value::Null], 1, Some("0 of 1 pods are ready: 1 Pending"));
    }

    #[test]
    fn each_way_of_not_being_ready_has_its_word() {
        let one = |status: Value, word: &str| {
            check(&[status], 1, Some(&format!("0 of 1 pods are ready: 1 {word}")));
        };
        let oom = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        one(json!({"containerStatuses": [{"state": oom}]}), "OOMKilled");
        one(
            json!({"containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": oom}]}),
            "CrashLoopBackOff (OOMKilled)",
        );
        one(
            json!({"containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]}),
            "ExitCode:3",
        );
        one(
            json!({"phase": "Pending", "initContainerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}]}),
            "Init:ErrImagePull",
        );
        one(json!({"phase": "Failed", "reason": "Evicted"}), "Evicted");
        one(
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False"}]}),
            "Unschedulable",
        );
        one(waiting("ContainerCreating"), "running and not ready");
        one(json!({"phase": "Pending"}), "Pending");
        // What is no status of a pod keeps nobody from saying so.
        one(json!({"phase": 5, "containerStatuses": {"a": 1}, "conditions": "no"}), "Pending");
    }
}
