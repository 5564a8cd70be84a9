//! A desk with two real loops over a store in memory, served on a socket of its own.
//!
//! `default/checkout` is at rest after a promotion, `default/cart` after a rollback. Neither has a
//! file, so nothing moves but by request.

#![allow(dead_code, reason = "two suites share it, and neither needs all")]

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use haldane_api::{Listener, Server};
use haldane_host::{Registered, SystemClock};
use haldane_model::{
    Actor, Cause, Finding, JournalEntry, Now, Place, Reason, Record, Revision, RolloutId, State,
    Verdict, Weight, Window,
};
use haldane_runtime::{
    Notice, codec,
    drive::{self, Handle, Ports, Sink},
    ports::{Desk, Journal, LeaseTold, Store, Stored, Swap, SwapRequest},
    trace::Packed,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The desk and its socket.
pub(crate) struct Rig {
    pub(crate) folder: TempDir,
    pub(crate) desk: Arc<Table>,
    pub(crate) token: CancellationToken,
    pub(crate) server: Option<JoinHandle<()>>,
}

pub(crate) struct Table {
    handles: Vec<Handle>,
    memory: Memory,
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<BTreeMap<RolloutId, Kept>>>);

#[derive(Clone, Default)]
struct Kept {
    stored: Option<Stored>,
    journal: Vec<JournalEntry>,
    trace: Vec<Packed>,
}

struct Silent;

impl Rig {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("hd").tempdir().unwrap();
        let token = CancellationToken::new();
        let desk = Arc::new(Table::start(&token).await);
        let mut rig = Self { folder, desk, token, server: None };
        let listener = Listener::Unix(rig.socket());
        let server = Server::bind(listener).await.unwrap();
        rig.server = Some(tokio::spawn(server.serve(rig.desk.clone(), rig.token.clone())));
        rig
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("haldane.sock")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

impl Table {
    async fn start(token: &CancellationToken) -> Self {
        let memory = Memory::default();
        memory.put(&checkout(), record(3, Place::Healthy, "2.4.1", "2.4.0"), promoted());
        let place = Place::Degraded { cause: Cause::Breach };
        memory.put(&cart(), record(1, place, "1.1", "1.0"), rolled_back());
        let ports = Ports {
            store: Arc::new(memory.clone()),
            clock: Arc::new(SystemClock::start()),
            factory: Arc::new(Registered),
            outside: haldane_outside::Outside::default(),
            sink: Arc::new(Silent),
            lease: LeaseTold::forever(1),

            workloads: Arc::new(()),
        };
        let mut handles = Vec::new();
        for id in [cart(), checkout()] {
            let (handle, _) = drive::start(id, ports.clone(), token.clone());
            while handle.status().phase == "Loading" {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            handles.push(handle);
        }
        Self { handles, memory }
    }
}

pub(crate) fn checkout() -> RolloutId {
    RolloutId::new("default", "checkout")
}

pub(crate) fn cart() -> RolloutId {
    RolloutId::new("default", "cart")
}

/// What an engine left of `default/cart`.
pub(crate) fn left(term: u64) -> SwapRequest {
    let mut record = record(1, Place::Degraded { cause: Cause::Breach }, "1.1", "1.0");
    record.term = term;
    let (bytes, entries) = (codec::encode(&record), rolled_back());
    SwapRequest { expect: 0, version: 1, term, bytes, entries, trace: Vec::new() }
}

fn record(attempt: u32, place: Place, revision: &str, previous: &str) -> Record {
    let now = Now { wall: at(0), mono: Duration::ZERO, boot: 1 };
    let mut record = Record::new("blue".into(), "green".into(), 1, now);
    record.version = 1;
    record.attempt = attempt;
    record.serving = Some("green".into());
    record.revision = Some(Revision::from(revision));
    record.previous = Some(Revision::from(previous));
    record.failed = matches!(place, Place::Degraded { .. }).then(|| Revision::from(revision));
    record.place = place;
    record.next_entry = 10;
    record
}

fn at(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_760_000_000 + second).unwrap()
}

fn entry(id: u64, attempt: u32, revision: &str, reason: Reason, after: State) -> JournalEntry {
    JournalEntry {
        id,
        at: at(i64::try_from(id).unwrap() * 60),
        attempt,
        revision: Some(Revision::from(revision)),
        step: Some(1),
        weight: Weight::from_percent(25).unwrap(),
        before: State::Baking,
        after,
        reason,
        cause: None,
        actor: Actor::Engine,
        finding: None,
        detail: None,
    }
}

fn promoted() -> Vec<JournalEntry> {
    vec![
        entry(1, 3, "2.4.1", Reason::Started, State::Shifting),
        entry(2, 3, "2.4.1", Reason::StepConfirmed, State::Baking),
        entry(3, 3, "2.4.1", Reason::Promoted, State::Healthy),
    ]
}

fn rolled_back() -> Vec<JournalEntry> {
    let finding = Finding {
        check: "errors".into(),
        verdict: Verdict::Fail { breach: true },
        value: Some(0.052),
        limit: Some("max 1 %".to_owned()),
        unit: "%".to_owned(),
        samples: Some(1_240.0),
        window: Window { begin: at(60), end: at(120) },
        message: None,
        compared: None,
    };
    let breach = JournalEntry {
        cause: Some(Cause::Breach),
        finding: Some(finding),
        ..entry(2, 1, "1.1", Reason::Breach, State::RollingBack)
    };
    let back = JournalEntry {
        before: State::RollingBack,
        ..entry(3, 1, "1.1", Reason::RolledBack, State::Degraded)
    };
    vec![entry(1, 1, "1.1", Reason::Started, State::Shifting), breach, back]
}

impl Desk for Table {
    fn rollouts(&self) -> Vec<Handle> {
        self.handles.clone()
    }

    fn journal(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'static, Result<Journal, String>> {
        self.memory.journal(id, after, limit)
    }

    fn trace(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<Packed>, String>> {
        self.memory.trace(id, after, limit)
    }

    fn effective(&self, id: &RolloutId) -> Option<serde_json::Value> {
        (*id == checkout()).then(|| serde_json::json!({"kind": "Rollout", "spec": {"watch": "1h"}}))
    }
}

impl Memory {
    fn put(&self, id: &RolloutId, record: Record, journal: Vec<JournalEntry>) {
        let stored = Some(Stored { version: 1, bytes: codec::encode(&record) });
        self.with(id, |kept| *kept = Kept { stored, journal, trace: Vec::new() });
    }

    fn with<T>(&self, id: &RolloutId, change: impl FnOnce(&mut Kept) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(all.entry(id.clone()).or_default())
    }
}

impl Store for Memory {
    fn list(&self) -> BoxFuture<'static, Result<Vec<RolloutId>, String>> {
        std::future::ready(Ok(self.0.lock().unwrap().keys().cloned().collect())).boxed()
    }

    fn load(&self, id: &RolloutId) -> BoxFuture<'static, Result<Option<Stored>, String>> {
        let stored = self.with(id, |kept| kept.stored.clone());
        async move { Ok(stored) }.boxed()
    }

    fn swap(&self, id: &RolloutId, request: SwapRequest) -> BoxFuture<'static, Swap> {
        let won = self.with(id, |kept| {
            if kept.stored.as_ref().map_or(0, |stored| stored.version) != request.expect {
                return Swap::Stale;
            }
            kept.stored = Some(Stored { version: request.version, bytes: request.bytes });
            kept.journal.extend(request.entries);
            kept.trace.push(Packed::pack(request.version, &request.trace));
            Swap::Won
        });
        async move { won }.boxed()
    }

    fn delete(&self, id: &RolloutId) -> BoxFuture<'static, Result<(), String>> {
        self.with(id, |kept| *kept = Kept::default());
        async move { Ok(()) }.boxed()
    }

    fn journal(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'static, Result<Journal, String>> {
        let journal = self.with(id, |kept| kept.journal.clone());
        let entries = journal.into_iter().filter(|entry| entry.id > after).take(limit).collect();
        async move { Ok(Journal { entries, complete_since: Some(at(0)) }) }.boxed()
    }

    fn trace(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<Packed>, String>> {
        let trace = self.with(id, |kept| kept.trace.clone());
        let batches = trace.into_iter().filter(|batch| batch.version > after).take(limit).collect();
        async move { Ok(batches) }.boxed()
    }
}

impl Sink for Silent {
    fn told(&self, _: &RolloutId, _: &JournalEntry) {}
    fn noticed(&self, _: &RolloutId, _: &Notice) {}
}
