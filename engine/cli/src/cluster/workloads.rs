//! The workload of one side: how many pods are wanted and ready, and what each of them does.

use haldane_crds::Workload as Written;
use haldane_outside::ClusterError;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Seat, escaped, number, pods::Pod, text, trouble};

/// How many pods of a workload are shown; those first that are not well.
const PODS_MAX: usize = 20;

/// What runs a side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Workload {
    /// `Deployment` and so on; `Pods` where they are found by their labels.
    pub(crate) kind: &'static str,
    /// Its name, or the labels.
    pub(crate) name: String,
    /// How many pods are ready.
    pub(crate) ready: u64,
    /// How many are wanted; `None` where nothing says so.
    pub(crate) wanted: Option<u64>,
    /// What is wrong with it, or why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// Its pods.
    pub(crate) pods: Vec<Pod>,
    /// How many more there are.
    pub(crate) more: usize,
}

// === impl Seat ===

impl Seat {
    /// Reads the workload of a side, with its pods. What may not be read is told in its place.
    pub(crate) async fn workload(&self, namespace: &str, written: &Written) -> Option<Workload> {
        let name =
            |name: &Option<haldane_crds::Name>| name.as_ref().map(|name| name.as_str().to_owned());
        let by_name = [
            ("Deployment", "deployments", name(&written.deployment)),
            ("StatefulSet", "statefulsets", name(&written.stateful_set)),
            ("DaemonSet", "daemonsets", name(&written.daemon_set)),
            ("ReplicaSet", "replicasets", name(&written.replica_set)),
        ];
        let named =
            by_name.into_iter().find_map(|(kind, plural, name)| Some((kind, plural, name?)));
        if let Some((kind, plural, name)) = named {
            return Some(self.named_workload(namespace, kind, plural, name).await);
        }
        let labels = written.pods.as_ref().filter(|labels| !labels.is_empty())?;
        let selector = selector(&json!({"matchLabels": labels}));
        let mut found = empty("Pods", selector.clone());
        self.fill_pods(&mut found, namespace, &selector).await;
        found.ready = found.pods.iter().filter(|pod| pod.is_well()).count() as u64;
        Some(found)
    }

    async fn named_workload(
        &self,
        namespace: &str,
        kind: &'static str,
        plural: &str,
        name: String,
    ) -> Workload {
        let path = format!("/apis/apps/v1/namespaces/{namespace}/{plural}/{name}");
        let mut found = empty(kind, name);
        match self.get(&path).await {
            Ok(object) => {
                (found.ready, found.wanted) = counts(kind, &object);
                found.message = message(&object);
                let selector = selector(&object["spec"]["selector"]);
                self.fill_pods(&mut found, namespace, &selector).await;
            }
            Err(ClusterError::Refused(refusal)) if refusal.code == 404 => {
                found.message = Some("is missing".to_owned());
            }
            Err(error) => found.message = Some(unread(&error)),
        }
        found
    }

    async fn fill_pods(&self, found: &mut Workload, namespace: &str, selector: &str) {
        if selector.is_empty() {
            return;
        }
        let path =
            format!("/api/v1/namespaces/{namespace}/pods?labelSelector={}", escaped(selector));
        match self.list(&path).await {
            Ok(listed) => {
                let mut pods: Vec<Pod> = listed.iter().map(Pod::of).collect();
                pods.sort_by_key(|pod| (pod.is_well(), pod.name.clone()));
                found.more = pods.len().saturating_sub(PODS_MAX);
                pods.truncate(PODS_MAX);
                found.pods = pods;
            }
            Err(error) => found.message = Some(format!("its pods: {}", unread(&error))),
        }
    }
}

fn empty(kind: &'static str, name: String) -> Workload {
    Workload { kind, name, ready: 0, wanted: None, message: None, pods: Vec::new(), more: 0 }
}

fn unread(error: &ClusterError) -> String {
    match error {
        ClusterError::Refused(refusal) if refusal.code == 403 => {
            format!("may not be read: {}", trouble::words(refusal))
        }
        ClusterError::Refused(refusal) => format!("cannot be read: {}", trouble::words(refusal)),
        ClusterError::Unavailable(why) => format!("cannot be read: {why}"),
    }
}

/// How many are ready, and how many are wanted.
fn counts(kind: &str, object: &Value) -> (u64, Option<u64>) {
    match kind {
        "DaemonSet" => {
            let wanted = number(object, "/status/desiredNumberScheduled");
            (number(object, "/status/numberReady"), Some(wanted))
        }
        _ => {
            let wanted = object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
            (number(object, "/status/readyReplicas"), Some(wanted))
        }
    }
}

/// What a workload complains of.
fn message(object: &Value) -> Option<String> {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return Some("is being deleted".to_owned());
    }
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let bad = conditions.into_iter().flatten().find(|condition| {
        let (kind, status) = (text(condition, "/type"), text(condition, "/status"));
        kind == "Progressing" && status == "False" || kind == "ReplicaFailure" && status == "True"
    })?;
    Some(format!("{}: {}", text(bad, "/reason"), text(bad, "/message")))
}

/// A label selector as a query writes it; empty where it selects by nothing.
fn selector(selector: &Value) -> String {
    let labels = selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten();
    let mut parts: Vec<String> = labels
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    let rules = selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten();
    for rule in rules {
        let key = text(rule, "/key");
        let values = rule["values"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let values = values.collect::<Vec<_>>().join(",");
        parts.push(match text(rule, "/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_written_as_the_api_server_reads_it() {
        let written = json!({"matchLabels": {"app": "checkout", "version": "v2"}, "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["a", "b"]}, {"key": "odd", "operator": "DoesNotExist"}]});
        assert_eq!(selector(&written), "app=checkout,version=v2,tier in (a,b),!odd");
        assert_eq!(selector(&Value::Null), "");
    }

    #[test]
    fn a_workload_says_what_it_complains_of() {
        let stuck = json!({"status": {"conditions": [
            {"type": "Available", "status": "False", "reason": "x", "message": "y"},
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too late"}]}});
        assert_eq!(message(&stuck).unwrap(), "ProgressDeadlineExceeded: too late");
        assert_eq!(
            counts("Deployment", &json!({"spec": {}, "status": {"readyReplicas": 1}})),
            (1, Some(1))
        );
        assert_eq!(
            counts(
                "DaemonSet",
                &json!({"status": {"numberReady": 2, "desiredNumberScheduled": 3}})
            ),
            (2, Some(3))
        );
    }
}
