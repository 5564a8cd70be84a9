//! Plays the kubelet of one namespace: what has been created runs and is ready a moment later.
//!
//! There are no nodes. It writes the status of pods that have none, and leaves alone what a test wrote:
//! a pod that a test has broken stays broken.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use futures::StreamExt as _;
use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::Access;

/// How often it looks.
const PACE: Duration = Duration::from_millis(200);

/// At work until dropped.
#[derive(Debug)]
pub struct Kubelet {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

// === impl Kubelet ===

impl Kubelet {
    /// Begins to play for a namespace.
    #[must_use]
    pub fn start(admin: &Access, namespace: &str) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let (end, admin, namespace) = (ended.clone(), admin.clone(), namespace.to_owned());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let pods = Api::namespaced(admin.client(), &namespace);
                while !end.load(Ordering::Relaxed) {
                    settle(&pods).await;
                    tokio::time::sleep(PACE).await;
                }
            });
        });
        Self { ended, thread: Some(thread) }
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Lets every pod run that nobody has said anything about. A failure is tried again at the next look.
async fn settle(pods: &Api<Pod>) {
    let Ok(list) = pods.list(&ListParams::default()).await else { return };
    let is_new = |pod: &Pod| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        pod.metadata.deletion_timestamp.is_none() && conditions.is_none_or(Vec::is_empty)
    };
    let new = list.items.iter().filter(|pod| is_new(pod));
    futures::stream::iter(new)
        .for_each_concurrent(8, |pod| async move {
            let status = json!({"status": ready(pod)});
            let patch = Patch::Merge(&status);
            let _ = pods.patch_status(&pod.name_any(), &PatchParams::default(), &patch).await;
        })
        .await;
}

/// The status of a pod that is well.
fn ready(pod: &Pod) -> Value {
    let now = Timestamp::now().to_string();
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now});
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let containers = containers.map(|container| {
        json!({
            "name": container.name, "image": container.image, "imageID": "test", "ready": true,
            "started": true, "restartCount": 0, "state": {"running": {"startedAt": now}},
        })
    });
    json!({
        "phase": "Running",
        "startTime": now,
        "conditions": [condition("Initialized"), condition("Ready"), condition("ContainersReady")],
        "containerStatuses": containers.collect::<Vec<_>>(),
    })
}

/// Writes the status of one pod over what it was: how a test breaks it, or mends it.
pub(super) async fn set_status(client: Client, namespace: &str, name: &str, status: &Value) {
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let status = json!({"status": status});
    let patch = Patch::Merge(&status);
    let told = pods.patch_status(name, &PatchParams::default(), &patch).await;
    told.unwrap_or_else(|error| panic!("the status of pod {namespace}/{name}: {error}"));
}
