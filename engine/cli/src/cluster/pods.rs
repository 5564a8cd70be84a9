//! One pod in a line: what it is doing, and what keeps it from it, as kubectl would say it.

use serde::Serialize;
use serde_json::Value;

use super::text;

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Pod {
    /// Its name.
    pub(crate) name: String,
    /// `Running`, `CrashLoopBackOff`, `Terminating` and so on.
    pub(crate) state: String,
    /// How many of its containers are ready.
    pub(crate) ready: usize,
    /// Of how many.
    pub(crate) containers: usize,
    /// How often they were started again.
    pub(crate) restarts: u64,
    /// Why it waits, in the kubelet's words, or the scheduler's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
}

// === impl Pod ===

impl Pod {
    /// Reads one.
    pub(crate) fn of(pod: &Value) -> Self {
        let main = statuses(pod, "/status/containerStatuses");
        let (state, message) = state(pod);
        Self {
            name: text(pod, "/metadata/name").to_owned(),
            state,
            ready: main.iter().filter(|status| status["ready"] == true).count(),
            containers: pod
                .pointer("/spec/containers")
                .and_then(Value::as_array)
                .map_or(0, Vec::len),
            restarts: main.iter().filter_map(|status| status["restartCount"].as_u64()).sum(),
            message,
        }
    }

    /// Whether it does what it should.
    pub(crate) fn is_well(&self) -> bool {
        self.state == "Running" && self.ready == self.containers
    }
}

fn state(pod: &Value) -> (String, Option<String>) {
    if pod.pointer("/metadata/deletionTimestamp").is_some() {
        return ("Terminating".to_owned(), None);
    }
    for (at, before) in
        [("/status/initContainerStatuses", "Init:"), ("/status/containerStatuses", "")]
    {
        for status in statuses(pod, at) {
            if let Some((reason, message)) = trouble(status, before.is_empty()) {
                return (format!("{before}{reason}"), message);
            }
        }
    }
    let phase = match text(pod, "/status/phase") {
        "" => "Pending",
        phase => phase,
    };
    match text(pod, "/status/reason") {
        "" => (phase.to_owned(), unscheduled(pod)),
        reason => (reason.to_owned(), said(text(pod, "/status/message"))),
    }
}

/// What keeps a container from running.
fn trouble(status: &Value, is_main: bool) -> Option<(String, Option<String>)> {
    let waits = text(status, "/state/waiting/reason");
    if !waits.is_empty() && !matches!(waits, "ContainerCreating" | "PodInitializing") {
        return Some((waits.to_owned(), said(text(status, "/state/waiting/message"))));
    }
    if !waits.is_empty() && is_main {
        return Some((waits.to_owned(), None));
    }
    let ended = status.pointer("/state/terminated")?;
    let code = ended["exitCode"].as_i64().unwrap_or(0);
    if code == 0 && !is_main {
        return None;
    }
    let reason = match text(ended, "/reason") {
        "" => format!("ExitCode:{code}"),
        reason => reason.to_owned(),
    };
    Some((reason, said(text(ended, "/message"))))
}

/// Why no node takes it.
fn unscheduled(pod: &Value) -> Option<String> {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let scheduled = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "PodScheduled" && condition["status"] == "False")?;
    said(text(scheduled, "/message"))
}

fn said(text: &str) -> Option<String> {
    let short: String = text.trim().chars().take(200).collect();
    (!short.is_empty()).then_some(short)
}

fn statuses<'a>(pod: &'a Value, at: &str) -> Vec<&'a Value> {
    pod.pointer(at).and_then(Value::as_array).into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(status: &Value, state: &str, message: Option<&str>) {
        let pod =
            json!({"metadata": {"name": "p"}, "spec": {"containers": [{}, {}]}, "status": status});
        let pod = Pod::of(&pod);
        assert_eq!((pod.state.as_str(), pod.message.as_deref()), (state, message), "{status}");
    }

    #[test]
    fn a_pod_says_what_keeps_it_from_running() {
        check(&json!(null), "Pending", None);
        check(
            &json!({"phase": "Running", "containerStatuses": [{"ready": true, "state": {"running": {}}}]}),
            "Running",
            None,
        );
        let crash = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}});
        check(
            &json!({"phase": "Running", "containerStatuses": [{"restartCount": 7, "state": crash}]}),
            "CrashLoopBackOff",
            Some("back-off 5m0s"),
        );
        check(
            &json!({"phase": "Pending", "initContainerStatuses": [{"state": crash}]}),
            "Init:CrashLoopBackOff",
            Some("back-off 5m0s"),
        );
        let done = json!([{"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]);
        check(
            &json!({"phase": "Running", "initContainerStatuses": done, "containerStatuses": [{"state": {"running": {}}}]}),
            "Running",
            None,
        );
        check(
            &json!({"containerStatuses": [{"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}),
            "OOMKilled",
            None,
        );
        check(
            &json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}),
            "Evicted",
            Some("low on memory"),
        );
        let unscheduled =
            json!([{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]);
        check(
            &json!({"phase": "Pending", "conditions": unscheduled}),
            "Pending",
            Some("0/3 nodes"),
        );
    }

    #[test]
    fn readiness_and_restarts_are_counted_over_containers() {
        let status = json!({"phase": "Running", "containerStatuses": [
            {"ready": true, "restartCount": 1}, {"ready": false, "restartCount": 2}]});
        let pod = Pod::of(
            &json!({"metadata": {"name": "p"}, "spec": {"containers": [{}, {}]}, "status": status}),
        );
        assert_eq!((pod.ready, pod.containers, pod.restarts, pod.is_well()), (1, 2, 3, false));
    }
}
