//! Decisions as Kubernetes Events, and in the log. Best effort, in order, and never waited for: a decision's event has
//! a name of its own, so that telling it twice makes one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use haldane_model::{JournalEntry, RolloutId, Severity};
use haldane_outside::Outside;
use haldane_runtime::{Notice, drive::Sink, explain, status::Status};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{api, shelf::Shelf};

/// How many events may wait; what comes beyond is in the log and in the journal alone.
const QUEUE_MAX: usize = 1_024;
/// How often one is tried.
const TRIES: u32 = 4;
/// An event's note is no longer, in bytes.
const NOTE_MAX: usize = 1_000;

/// Where decisions are told.
#[derive(Clone)]
pub(crate) struct Teller {
    events: mpsc::Sender<(RolloutId, JournalEntry)>,
    shelf: Arc<Shelf>,
    dropped: Arc<AtomicU64>,
}

// === impl Teller ===

impl Teller {
    /// Starts telling. Returns how many events were dropped so far, as it grows.
    pub(crate) fn start(
        outside: Outside,
        shelf: Arc<Shelf>,
        identity: Arc<str>,
    ) -> (Self, Arc<AtomicU64>) {
        let (events, mut told) = mpsc::channel::<(RolloutId, JournalEntry)>(QUEUE_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let (of, lost) = (shelf.clone(), dropped.clone());
        tokio::spawn(async move {
            while let Some((id, entry)) = told.recv().await {
                if !publish(&outside, &of, &identity, &id, &entry).await {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        (Self { events, shelf, dropped: dropped.clone() }, dropped)
    }
}

impl Teller {
    /// Tells a decision of an engine before this one as an Event alone, where new ones leave room; twice makes one.
    pub(crate) fn tell_again(&self, rollout: &RolloutId, entry: &JournalEntry) {
        if self.events.capacity() > QUEUE_MAX / 2 {
            self.event(rollout, entry);
        }
    }

    fn event(&self, rollout: &RolloutId, entry: &JournalEntry) {
        if self.events.try_send((rollout.clone(), entry.clone())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Sink for Teller {
    fn told(&self, rollout: &RolloutId, entry: &JournalEntry) {
        let (reason, message) = (entry.reason.code(), explain::sentence(entry));
        match entry.reason.severity() {
            Severity::Normal => tracing::info!(%rollout, id = entry.id, reason, "{message}"),
            Severity::Warning => tracing::warn!(%rollout, id = entry.id, reason, "{message}"),
            Severity::Page => tracing::error!(%rollout, id = entry.id, reason, "{message}"),
        }
        self.event(rollout, entry);
    }

    fn noticed(&self, rollout: &RolloutId, notice: &Notice) {
        tracing::warn!(%rollout, "{notice:?}");
    }

    fn shown(&self, rollout: &RolloutId, status: &Arc<Status>) {
        self.shelf.with(rollout, |kept| kept.picture = Some(status.clone()));
        self.shelf.pictures().add(rollout);
    }
}

/// Makes the event of a decision; one that is there already is told.
async fn publish(
    outside: &Outside,
    shelf: &Shelf,
    identity: &str,
    id: &RolloutId,
    entry: &JournalEntry,
) -> bool {
    let uid = shelf.with(id, |kept| kept.uid.clone()).unwrap_or_else(|| "gone".to_owned());
    let event = event(identity, id, entry, &uid);
    let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", id.namespace);
    for attempt in 0..TRIES {
        let Ok(cluster) = api::cluster(outside).await else { continue };
        match cluster.create(&path, &event, api::DEADLINE).await {
            Ok(_) => return true,
            Err(error) if matches!(api::code(&error), Some(409)) => return true,
            // Once more is no use; a right that is missing is a person's to give. So is said, too, where the namespace goes.
            Err(error) if api::code(&error) == Some(403) => {
                tracing::warn!(rollout = %id, "no event: {}", api::told(&error));
                return false;
            }
            Err(error) if api::code(&error).is_some() => {
                tracing::debug!(rollout = %id, "no event: {}", api::told(&error));
                return false;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(200 << attempt)).await,
        }
    }
    false
}

fn event(identity: &str, id: &RolloutId, entry: &JournalEntry, uid: &str) -> Value {
    let short: String = uid.chars().take(8).collect();
    let kind = match entry.reason.severity() {
        Severity::Normal => "Normal",
        Severity::Warning | Severity::Page => "Warning",
    };
    let mut note = explain::sentence(entry);
    note.truncate(note.floor_char_boundary(NOTE_MAX));
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": format!("{}.{short}.{}", id.name, entry.id), "namespace": &*id.namespace},
        "eventTime": entry.at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
        "reportingController": "haldane.dev/haldane",
        "reportingInstance": identity,
        "action": format!("{:?}", entry.after),
        "reason": entry.reason.code(),
        "type": kind,
        "note": note,
        "regarding": {
            "apiVersion": "haldane.dev/v1alpha1",
            "kind": "Rollout",
            "name": &*id.name,
            "namespace": &*id.namespace,
            "uid": uid,
        },
    })
}
