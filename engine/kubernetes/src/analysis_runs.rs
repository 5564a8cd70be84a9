//! AnalysisRuns: one per attempt, a copy of its journal and of what was measured. Nothing is decided by them, and
//! nothing waits for them.

mod copying;

use std::collections::HashMap;

use haldane_crds::{AnalysisRun, AnalysisRunCheck};
use haldane_model::{JournalEntry, Reason, RolloutId, State};
use haldane_outside::{Cluster, ClusterError};
use haldane_runtime::{analysis_run, trace::Batch};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{api, events::Teller, measured, picture, store::StatusStore};

/// How many attempts of a rollout are kept.
const KEPT_MAX: usize = 10;
/// How many journal entries one of them holds.
const ENTRIES_MAX: usize = 256;
/// How many come at once: an answer has a limit, and each may be near that of an object.
const PAGE: usize = 4;
/// How many such answers are read at most.
const PAGES_MAX: usize = 100;
/// Carries the rollout's name.
const LABEL: &str = "haldane.dev/rollout";

/// Reads the journal of a rollout out of its AnalysisRuns.
pub(crate) async fn journal(
    store: &StatusStore,
    id: &RolloutId,
) -> Result<Vec<JournalEntry>, String> {
    let listed = list(store, id).await.map_err(|error| api::told(&error))?;
    let mut entries: Vec<JournalEntry> = listed.iter().flat_map(entries_in).collect();
    entries.sort_by_key(|entry| entry.id);
    entries.dedup_by_key(|entry| entry.id);
    Ok(entries)
}

/// Lists those of this very rollout: one that had its name before may have left some.
async fn list(store: &StatusStore, id: &RolloutId) -> Result<Vec<Value>, ClusterError> {
    let uid = uid_of(store, id)?;
    let cluster = api::cluster(&store.outside).await?;
    let path = format!(
        "{}?labelSelector={LABEL}%3D{}&limit={PAGE}",
        api::collection("analysisruns", &id.namespace),
        id.name
    );
    let (mut all, mut more) = (Vec::new(), String::new());
    for _ in 0..PAGES_MAX {
        let mut listed = cluster.get(&format!("{path}{more}"), api::DEADLINE).await?;
        if let Some(Value::Array(items)) = listed.get_mut("items").map(Value::take) {
            all.extend(items.into_iter().filter(|run| is_of(run, &uid)));
        }
        match api::text(&listed, "/metadata/continue") {
            "" => break,
            next => more = format!("&continue={next}"),
        }
    }
    Ok(all)
}

/// Returns which object a rollout is.
fn uid_of(store: &StatusStore, id: &RolloutId) -> Result<String, ClusterError> {
    let uid = store.shelf.with(id, |kept| kept.uid.clone());
    uid.ok_or_else(|| ClusterError::Unavailable("its rollout was not read yet".to_owned()))
}

/// Whether an AnalysisRun is of this object, and not of one that had its name before.
fn is_of(run: &Value, uid: &str) -> bool {
    let owners = run.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    owners.into_iter().flatten().any(|owner| owner["uid"] == uid)
}

fn entries_in(run: &Value) -> Vec<JournalEntry> {
    let entries = run.pointer("/status/entries").and_then(Value::as_array);
    let texts = entries.into_iter().flatten().filter_map(Value::as_str);
    texts.filter_map(|text| serde_json::from_str(text).ok()).collect()
}

/// Copies what was recorded, while this engine leads.
pub(crate) async fn copy(
    store: StatusStore,
    teller: Teller,
    leads: watch::Receiver<bool>,
    token: CancellationToken,
) {
    let shelf = store.shelf.clone();
    let copy = |id: RolloutId| {
        // What the engine before this one recorded may not have been told by it.
        for entry in store.shelf.with(&id, |kept| std::mem::take(&mut kept.found)) {
            teller.tell_again(&id, &entry);
        }
        let store = store.clone();
        async move { copy_one(&store, &id).await }
    };
    copying::work_off(shelf, leads, token, copy).await;
}

async fn copy_one(store: &StatusStore, id: &RolloutId) -> Result<(), String> {
    let (entries, looks) = store.shelf.with(id, |kept| (kept.uncopied.clone(), kept.looks.clone()));
    // What came before the first attempt waits for its record.
    let Some(newest) = entries.iter().rfind(|entry| entry.attempt > 0).cloned() else {
        return Ok(());
    };
    let last = newest.id;
    let batch = Batch { version: 1, items: looks, damaged: None };
    let mut by_attempt: HashMap<u32, Vec<JournalEntry>> = HashMap::new();
    for entry in entries {
        by_attempt.entry(entry.attempt.max(1)).or_default().push(entry);
    }
    for (attempt, entries) in by_attempt {
        write(store, id, attempt, entries, &batch).await.map_err(|error| api::told(&error))?;
    }
    store.shelf.with(id, |kept| {
        kept.copied = last;
        kept.uncopied.retain(|entry| entry.id > last);
        // Nothing of an attempt that is over, and was recorded to be, is asked for again.
        let rests = kept.picture.as_ref().is_some_and(|shown| {
            shown.phase == "Degraded" || shown.phase == "Healthy" && !shown.watching
        });
        let is_end = newest.after == State::Degraded
            || matches!(newest.reason, Reason::Promoted | Reason::WatchEnded);
        if rests && is_end {
            kept.looks.clear();
        }
    });
    Ok(())
}

/// Adds entries to the record of an attempt; makes it where it is new.
async fn write(
    store: &StatusStore,
    id: &RolloutId,
    attempt: u32,
    entries: Vec<JournalEntry>,
    batch: &Batch,
) -> Result<(), ClusterError> {
    let cluster = api::cluster(&store.outside).await?;
    let name = format!("{}-{attempt}", id.name);
    let path = api::object("analysisruns", &id.namespace, &name);
    let old = match cluster.get(&path, api::DEADLINE).await {
        Ok(old) => Some(old),
        Err(error) if api::is_gone(&error) => None,
        Err(error) => return Err(error),
    };
    let uid = uid_of(store, id)?;
    let old = match old {
        Some(old) if is_of(&old, &uid) => Some(old),
        // It is of a rollout that was here before under this name.
        Some(_) => {
            cluster.delete(&path, api::DEADLINE).await?;
            None
        }
        None => None,
    };
    let mut all = old.as_ref().map(entries_in).unwrap_or_default();
    all.extend(entries);
    all.sort_by_key(|entry| entry.id);
    all.dedup_by_key(|entry| entry.id);
    let over = all.len().saturating_sub(ENTRIES_MAX);
    all.drain(..over);
    let run = analysis_run::analysis_runs(id, &all, std::slice::from_ref(batch));
    let run = run.iter().find(|run| run.spec.attempt == attempt);
    let Some(mut run) = run.map(haldane_plan::analysis_run) else { return Ok(()) };
    run.status.entries = picture::all_written(&all);
    let there = || old.as_ref().map(checks_in).unwrap_or_default();
    let before = store.shelf.with(id, |kept| kept.before.of(attempt, there));
    run.status.checks = match run.status.checks.is_empty() {
        // Nothing is at hand of an attempt that is over.
        true => there(),
        false => measured::together(before, run.status.checks),
    };
    measured::shorten(&mut run.status.checks);
    let asked = old.as_ref().and_then(|old| old.pointer("/spec/checks")?.as_array()).is_some();
    if old.is_some() && !asked && !run.spec.checks.is_empty() {
        let spec = json!({"spec": {"checks": run.spec.checks}});
        cluster.merge(&path, &spec, api::DEADLINE).await?;
    }
    if old.is_none() {
        let created = create(id, &uid, &cluster, &name, &run).await;
        match created {
            Err(error) if api::code(&error) != Some(409) => return Err(error),
            Ok(()) | Err(_) => forget_old(store, id).await?,
        }
    }
    let status = json!({"status": run.status});
    let written = cluster.merge(&format!("{path}/status"), &status, api::DEADLINE).await;
    written.map(|_| ())
}

fn checks_in(run: &Value) -> Vec<AnalysisRunCheck> {
    let run = serde_json::from_value::<AnalysisRun>(run.clone()).ok();
    run.map(|run| run.status.checks).unwrap_or_default()
}

async fn create(
    id: &RolloutId,
    uid: &str,
    cluster: &Cluster,
    name: &str,
    run: &AnalysisRun,
) -> Result<(), ClusterError> {
    let object = json!({
        "apiVersion": "haldane.dev/v1alpha1",
        "kind": "AnalysisRun",
        "metadata": {
            "name": name,
            "namespace": &*id.namespace,
            "labels": {LABEL: &*id.name},
            // It goes with its rollout.
            "ownerReferences": [{
                "apiVersion": "haldane.dev/v1alpha1",
                "kind": "Rollout",
                "name": &*id.name,
                "uid": uid,
            }],
        },
        "spec": run.spec,
    });
    let path = api::collection("analysisruns", &id.namespace);
    cluster.create(&path, &object, api::DEADLINE).await.map(|_| ())
}

/// Deletes what is older than the newest ones.
async fn forget_old(store: &StatusStore, id: &RolloutId) -> Result<(), ClusterError> {
    let mut listed = list(store, id).await?;
    let attempt = |run: &Value| run.pointer("/spec/attempt").and_then(Value::as_u64).unwrap_or(0);
    listed.sort_by_key(|run| std::cmp::Reverse(attempt(run)));
    let cluster = api::cluster(&store.outside).await?;
    for run in listed.iter().skip(KEPT_MAX) {
        let name = api::text(run, "/metadata/name");
        let path = api::object("analysisruns", &id.namespace, name);
        match cluster.delete(&path, api::DEADLINE).await {
            Err(error) if !api::is_gone(&error) => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}
