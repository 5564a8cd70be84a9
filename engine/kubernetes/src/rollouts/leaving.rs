//! The end of a rollout: its object stays until its traffic is back.

use std::time::Duration;

use haldane_model::{RolloutId, SpecSeen};
use serde_json::{Value, json};

use super::{AGAIN, Rollouts};
use crate::api;

/// How soon a rollout is asked for again that is not seen any more and may be there.
const UNSEEN_AGAIN: Duration = Duration::from_secs(5);

// === impl Rollouts ===

impl Rollouts {
    /// Sees to it that an object stays until its traffic is back.
    pub(super) async fn keep(&self, id: &RolloutId, rollout: &Value) -> Result<(), String> {
        if is_kept(rollout) {
            return Ok(());
        }
        let add = match rollout.pointer("/metadata/finalizers").and_then(Value::as_array) {
            Some(list) if !list.is_empty() => {
                json!({"op": "add", "path": "/metadata/finalizers/-", "value": api::FINALIZER})
            }
            Some(_) | None => {
                json!({"op": "add", "path": "/metadata/finalizers", "value": [api::FINALIZER]})
            }
        };
        let test = json!({"op": "test", "path": "/metadata/resourceVersion",
            "value": api::text(rollout, "/metadata/resourceVersion")});
        let cluster = api::cluster(&self.outside).await.map_err(|error| error.to_string())?;
        let path = format!("{}?fieldManager={}", api::rollout(id), api::MANAGER);
        match cluster.patch(&path, &[test, add], api::DEADLINE).await {
            Ok(_) => Ok(()),
            Err(error) if api::is_gone(&error) => Ok(()),
            Err(error) => Err(format!("its finalizer cannot be set: {}", api::told(&error))),
        }
    }

    /// Puts the traffic of a rollout back that is on its way out, then lets it go.
    /// Returns when to look again: a namespace that follows says nothing to an object that goes already.
    pub(super) async fn leave(
        &self,
        id: &RolloutId,
        rollout: &Value,
        is_known: bool,
    ) -> Option<Duration> {
        if !is_kept(rollout) {
            return None;
        }
        if is_known {
            // It was told; a loop that is over has put everything back, and its object is let go.
            self.engine.handle(id)?;
            if self.is_namespace_leaving(id).await {
                self.engine.ended_with(id, SpecSeen::NamespaceDeleted).await;
            }
            return Some(AGAIN.1);
        }
        let handle = self.engine.ended_with(id, SpecSeen::Deleted).await;
        if self.is_namespace_leaving(id).await {
            self.engine.ended_with(id, SpecSeen::NamespaceDeleted).await;
        }
        // A loop that recorded nothing has nothing to forget, and ends without a word.
        let (store, mut pictures) = (self.store.clone(), handle.watch());
        let id = id.clone();
        tokio::spawn(async move {
            while pictures.changed().await.is_ok() {}
            store.let_go_of_nothing_in_the_end(&id).await;
        });
        Some(AGAIN.1)
    }

    async fn is_namespace_leaving(&self, id: &RolloutId) -> bool {
        let Ok(cluster) = api::cluster(&self.outside).await else { return false };
        let path = format!("/api/v1/namespaces/{}", id.namespace);
        let namespace = cluster.get(&path, Duration::from_secs(2)).await;
        namespace.is_ok_and(|namespace| api::text(&namespace, "/status/phase") == "Terminating")
    }

    /// The object is gone, though nobody was asked: what it drives is put back all the same.
    /// Returns when to look again: what the watch does not show, though nobody says that it is gone, stays as it is.
    pub(super) async fn gone(&self, id: &RolloutId) -> Option<Duration> {
        self.told().remove(id);
        if self.engine.handle(id).is_none() {
            self.engine.release_claims(id);
            self.store.shelf.forget(id);
            return None;
        }
        match self.store.is_there(id).await {
            Ok(false) => {
                self.engine.ended_with(id, SpecSeen::Deleted).await;
                None
            }
            Ok(true) => Some(UNSEEN_AGAIN),
            Err(why) => {
                tracing::warn!(rollout = %id, "whether it is gone is not known: {why}");
                Some(UNSEEN_AGAIN)
            }
        }
    }
}

/// Whether an object stays until its traffic is back.
fn is_kept(rollout: &Value) -> bool {
    let list = rollout.pointer("/metadata/finalizers").and_then(Value::as_array);
    list.is_some_and(|list| list.iter().any(|name| name == api::FINALIZER))
}
