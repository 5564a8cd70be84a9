//! Records in the status of their rollouts, swapped by a JSON Patch that tests our own version.
//!
//! The patch tests neither resourceVersion nor anything of a person's: only another engine can make it lose. One answer
//! decides; what cannot be said to have landed is unknown, and is read again. The journal entries of a decision ride in
//! `status.lastDecision` and are copied to an AnalysisRun afterwards, which nothing waits for.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use haldane_crds::{RolloutStatus, StoredRecord};
use haldane_model::{JournalEntry, RolloutId};
use haldane_outside::{ClusterError, Mirror, Outside};
use haldane_runtime::{
    codec::{self, Decoded},
    ports::{Journal, STORE_DEADLINE, Store, Stored, Swap, SwapRequest},
    status::Status,
    trace::Packed,
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{analysis_runs, api, picture, shelf::Shelf};

/// How many journal entries ride along at most; more are only there where copying fails for long.
const ENTRIES_MAX: usize = 64;
/// No older decision is told as an Event once more.
const EVENT_AGE_MAX: Duration = Duration::from_secs(600);
/// How soon the finalizer is tried again, at first and at most: doubling in between.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// Records in the status of rollouts.
#[derive(Clone)]
pub(crate) struct StatusStore {
    pub(crate) outside: Outside,
    pub(crate) rollouts: Arc<[Mirror]>,
    pub(crate) shelf: Arc<Shelf>,
    /// Bounds how many records are written at once.
    pub(crate) writing: Arc<Semaphore>,
}

/// How many records are written at once: more would only wait in the API server, and get too old there.
pub(crate) const WRITING_MAX: usize = 16;

// === impl StatusStore ===

impl StatusStore {
    /// Returns a rollout as it is mirrored.
    pub(crate) fn mirrored(&self, id: &RolloutId) -> Option<Arc<Value>> {
        self.rollouts.iter().find_map(|mirror| mirror.get(&id.namespace, &id.name))
    }

    async fn read(&self, id: &RolloutId) -> Result<Option<Value>, ClusterError> {
        let cluster = api::cluster(&self.outside).await?;
        match cluster.get(&api::rollout(id), STORE_DEADLINE).await {
            Ok(rollout) => Ok(Some(rollout)),
            Err(error) if api::is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks whether there is a rollout. That it is gone counts only where the server names it: a 404 may also mean that
    /// a kind is not served for a while, or be the word of a proxy.
    pub(crate) async fn is_there(&self, id: &RolloutId) -> Result<bool, String> {
        let cluster = api::cluster(&self.outside).await.map_err(|error| error.to_string())?;
        match cluster.get(&api::rollout(id), STORE_DEADLINE).await {
            Ok(_) => Ok(true),
            Err(ClusterError::Refused(no)) if no.code == 404 && no.object.is_some() => Ok(false),
            Err(error) => Err(api::told(&error)),
        }
    }

    async fn load_now(&self, id: &RolloutId) -> Result<Option<Stored>, String> {
        let known = self.shelf.with(id, |kept| kept.uid.clone());
        let Some(rollout) = self.read(id).await.map_err(|error| api::told(&error))? else {
            return match known {
                // What was in flight is put back from what is remembered here.
                Some(_) => Err("the rollout was taken away".to_owned()),
                None => Ok(None),
            };
        };
        let uid = api::text(&rollout, "/metadata/uid").to_owned();
        let entries = entries_of(&rollout);
        self.shelf.with(id, |kept| {
            kept.uid = Some(uid);
            // What the engine before this one did not come to copy, and what landed though its answer was lost.
            let new = |entry: &JournalEntry| !kept.uncopied.iter().any(|old| old.id == entry.id);
            let missing: Vec<JournalEntry> = entries.into_iter().filter(new).collect();
            let untold = |entry: &&JournalEntry| entry.id > kept.found_until && is_recent(entry);
            let found: Vec<JournalEntry> = missing.iter().filter(untold).cloned().collect();
            kept.found_until = found.last().map_or(kept.found_until, |last| last.id);
            kept.found.extend(found);
            kept.uncopied.extend(missing);
            kept.uncopied.retain(|entry| entry.id > kept.copied);
            kept.uncopied.sort_by_key(|entry| entry.id);
        });
        self.shelf.entries().add(id);
        match record_of(&rollout)? {
            Some(record) => {
                self.shelf.note_recorded(id);
                Ok(Some(Stored { version: record.version, bytes: record.text.into_bytes() }))
            }
            None => Ok(None),
        }
    }

    async fn swap_now(&self, id: &RolloutId, request: SwapRequest) -> Swap {
        let cluster = match api::cluster(&self.outside).await {
            Ok(cluster) => cluster,
            Err(error) => return Swap::Unknown(error.to_string()),
        };
        let _turn = self.writing.acquire().await;
        // Drawn now: a picture may have been published meanwhile.
        let written = match self.written(id, &request) {
            Ok(written) => written,
            Err(why) => return Swap::Unknown(why),
        };
        let uid = self.shelf.with(id, |kept| kept.uid.clone());
        let mut tests = vec![json!({"op": "test", "path": "/metadata/uid", "value": uid})];
        let set = json!({"op": "add", "path": "/status", "value": written});
        let path = format!("{}/status?fieldManager={}", api::rollout(id), api::MANAGER);
        let answer = if request.expect > 0 {
            let at = "/status/record/version";
            tests.push(json!({"op": "test", "path": at, "value": request.expect}));
            tests.push(set);
            cluster.patch(&path, &tests, STORE_DEADLINE).await
        } else {
            // Without any status not even the place of a record is there to be tested.
            let mut first = tests.clone();
            first.push(json!({"op": "test", "path": "/status", "value": null}));
            first.push(set.clone());
            match cluster.patch(&path, &first, STORE_DEADLINE).await {
                Err(error) if api::has_moved(&error) => {
                    tests.push(json!({"op": "test", "path": "/status/record", "value": null}));
                    tests.push(set);
                    cluster.patch(&path, &tests, STORE_DEADLINE).await
                }
                answer => answer,
            }
        };
        match answer {
            Ok(_) => {
                self.note_won(id, &request);
                Swap::Won
            }
            Err(error) if api::has_moved(&error) || api::is_gone(&error) => {
                self.lost(id, request.term).await
            }
            Err(error) => Swap::Unknown(api::told(&error)),
        }
    }

    /// Says whose write was faster.
    async fn lost(&self, id: &RolloutId, term: u64) -> Swap {
        let there = match self.read(id).await {
            Ok(Some(rollout)) => record_of(&rollout),
            Ok(None) => return Swap::Unknown("the rollout was taken away".to_owned()),
            Err(error) => return Swap::Unknown(api::told(&error)),
        };
        match there {
            Ok(Some(record)) if record.term > term => Swap::Superseded { term: record.term },
            Ok(_) => Swap::Stale,
            Err(why) => Swap::Unknown(why),
        }
    }

    /// Returns the whole status: what people see, and the record.
    fn written(&self, id: &RolloutId, request: &SwapRequest) -> Result<Value, String> {
        let text = String::from_utf8(request.bytes.clone())
            .map_err(|_| "the record is no text".to_owned())?;
        let mut shown = match codec::decode(&request.bytes)? {
            Decoded::Known(record) => Status::remembered(id, &record),
            Decoded::Newer { header, .. } => Status::of_newer(id, &header),
        };
        let before = self.mirrored(id).map(|rollout| picture::status_of(&rollout));
        let (generation, blind, entries) = self.shelf.with(id, |kept| {
            if let Some(live) = &kept.picture {
                picture::overlay(&mut shown, live);
            }
            let mut entries = kept.uncopied.clone();
            entries.extend(request.entries.iter().cloned());
            let over = entries.len().saturating_sub(ENTRIES_MAX);
            entries.drain(..over);
            // What an engine before this one looked at stays looked at.
            let observed = before.as_ref().and_then(|before| before.observed_generation);
            (kept.generation.max(observed), kept.blind.clone(), entries)
        });
        let mut status: RolloutStatus =
            picture::draw(&shown, generation, blind.as_deref(), before.as_ref());
        if let Some(last) = entries.last() {
            status.last_decision = Some(picture::decision(last, &entries));
        } else {
            status.last_decision = before.and_then(|before| before.last_decision);
        }
        status.record = Some(StoredRecord { version: request.version, term: request.term, text });
        serde_json::to_value(status).map_err(|error| error.to_string())
    }

    fn note_won(&self, id: &RolloutId, request: &SwapRequest) {
        let attempt = request.entries.last().map(|entry| entry.attempt);
        self.shelf.with(id, |kept| {
            kept.uncopied.extend(request.entries.iter().cloned());
            let over = kept.uncopied.len().saturating_sub(ENTRIES_MAX);
            kept.uncopied.drain(..over);
            kept.note_looks(attempt, &request.trace);
        });
        self.shelf.note_recorded(id);
        if !request.entries.is_empty() {
            self.shelf.entries().add(id);
        }
    }

    /// Lets an object go of which nothing was ever recorded, however long the server takes.
    pub(crate) async fn let_go_of_nothing_in_the_end(&self, id: &RolloutId) {
        until_done(id, || self.let_go_of_nothing(id)).await;
    }

    async fn let_go_of_nothing(&self, id: &RolloutId) -> Result<(), String> {
        match self.read(id).await.map_err(|error| api::told(&error))? {
            Some(rollout) if record_of(&rollout)?.is_none() => {
                self.let_go(id, Some(api::text(&rollout, "/metadata/uid"))).await
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Lets an object go that only waited for its traffic; never another one of the same name that came after it.
    async fn let_go(&self, id: &RolloutId, uid: Option<&str>) -> Result<(), String> {
        let Some(rollout) = self.read(id).await.map_err(|error| api::told(&error))? else {
            return Ok(());
        };
        if uid.is_some_and(|uid| uid != api::text(&rollout, "/metadata/uid")) {
            return Ok(());
        }
        let list = rollout.pointer("/metadata/finalizers").and_then(Value::as_array);
        let left: Vec<&Value> =
            list.into_iter().flatten().filter(|name| **name != api::FINALIZER).collect();
        if rollout.pointer("/metadata/deletionTimestamp").is_none() {
            return Ok(());
        }
        let operations = [
            json!({"op": "test", "path": "/metadata/resourceVersion",
                "value": api::text(&rollout, "/metadata/resourceVersion")}),
            json!({"op": "add", "path": "/metadata/finalizers", "value": left}),
        ];
        let cluster = api::cluster(&self.outside).await.map_err(|error| error.to_string())?;
        match cluster.patch(&api::rollout(id), &operations, api::DEADLINE).await {
            Ok(_) => Ok(()),
            Err(error) if api::is_gone(&error) => Ok(()),
            Err(error) => Err(api::told(&error)),
        }
    }
}

impl Store for StatusStore {
    fn list(&self) -> BoxFuture<'static, Result<Vec<RolloutId>, String>> {
        let all: Vec<_> = self.rollouts.iter().flat_map(Mirror::list).collect();
        let with_record = all.iter().filter(|rollout| rollout.pointer("/status/record").is_some());
        let ids = with_record.map(|rollout| api::id_of(rollout)).collect();
        futures::future::ready(Ok(ids)).boxed()
    }

    fn load(&self, id: &RolloutId) -> BoxFuture<'static, Result<Option<Stored>, String>> {
        let (store, id) = (self.clone(), id.clone());
        async move { store.load_now(&id).await }.boxed()
    }

    fn swap(&self, id: &RolloutId, request: SwapRequest) -> BoxFuture<'static, Swap> {
        let (store, id) = (self.clone(), id.clone());
        async move { store.swap_now(&id, request).await }.boxed()
    }

    fn delete(&self, id: &RolloutId) -> BoxFuture<'static, Result<(), String>> {
        let (store, id) = (self.clone(), id.clone());
        async move {
            let_go_in_the_end(store, id);
            Ok(())
        }
        .boxed()
    }

    fn journal(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'static, Result<Journal, String>> {
        let (store, id) = (self.clone(), id.clone());
        async move {
            let mut entries = analysis_runs::journal(&store, &id).await?;
            entries.extend(store.shelf.with(&id, |kept| kept.uncopied.clone()));
            entries.sort_by_key(|entry| entry.id);
            entries.dedup_by_key(|entry| entry.id);
            entries.retain(|entry| entry.id > after);
            entries.truncate(limit);
            let since = entries.first().filter(|first| first.id > after + 1).map(|first| first.at);
            Ok(Journal { entries, complete_since: since })
        }
        .boxed()
    }

    fn trace(
        &self,
        id: &RolloutId,
        after: u64,
        _limit: usize,
    ) -> BoxFuture<'static, Result<Vec<Packed>, String>> {
        // What an attempt rests on is in its AnalysisRun; here is what was not written there yet.
        let looks = self.shelf.with(id, |kept| kept.looks.clone());
        let packed = (!looks.is_empty() && after == 0).then(|| Packed::pack(1, &looks));
        futures::future::ready(Ok(packed.into_iter().collect())).boxed()
    }
}

/// Lets an object go, however long the server takes: the loop that asks for it ends, and nobody asks again.
fn let_go_in_the_end(store: StatusStore, id: RolloutId) {
    let uid = store.shelf.with(&id, |kept| kept.uid.clone());
    tokio::spawn(async move {
        until_done(&id, || store.let_go(&id, uid.as_deref())).await;
        store.shelf.forget(&id);
    });
}

/// Makes a call until it succeeds: an edit in between is no reason to keep an object, and neither is a server that is
/// down.
async fn until_done<F: Future<Output = Result<(), String>>>(id: &RolloutId, call: impl Fn() -> F) {
    let mut wait = AGAIN.0;
    while let Err(why) = call().await {
        tracing::debug!(rollout = %id, "the finalizer is tried again: {why}");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(AGAIN.1);
    }
}

/// Whether it is worth an Event still: older ones were told, and are forgotten by the cluster itself.
fn is_recent(entry: &JournalEntry) -> bool {
    let age = jiff::Timestamp::now().duration_since(entry.at);
    age <= jiff::SignedDuration::try_from(EVENT_AGE_MAX).unwrap_or_default()
}

/// Returns the record of a rollout. An error says that it is damaged.
fn record_of(rollout: &Value) -> Result<Option<StoredRecord>, String> {
    let Some(record) = rollout.pointer("/status/record") else { return Ok(None) };
    serde_json::from_value(record.clone())
        .map(Some)
        .map_err(|error| format!("status.record is damaged: {error}"))
}

/// Returns the journal entries that ride in a rollout's status; a damaged one is left out.
pub(crate) fn entries_of(rollout: &Value) -> Vec<JournalEntry> {
    let entries = rollout.pointer("/status/lastDecision/entries").and_then(Value::as_array);
    let texts = entries.into_iter().flatten().filter_map(Value::as_str);
    texts.filter_map(|text| serde_json::from_str(text).ok()).collect()
}
