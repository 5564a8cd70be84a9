//! Many rollouts on the real loop: tasks, channels and timers of tokio, on the real clock.
//!
//! Provider, source and store answer from memory, so that what remains is ours.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, ready},
    stream::{self, BoxStream},
};
use haldane_host::{Intent, SystemClock, Written};
use haldane_model::{
    Acknowledged, Direction, JournalEntry, Mark, Reading, Revision, RolloutId, Sample, Split,
};
use haldane_outside::Outside;
use haldane_providers::{Capabilities, Error, Roles, Sides, Snapshot, TrafficProvider};
use haldane_runtime::{
    Input, Notice,
    drive::{self, Factory, Ports, Sink},
    ports::{Journal, LeaseTold, Store, Stored, Swap, SwapRequest},
    trace::Packed,
};
use haldane_sources::{Look, MetricSource, SourceFacts};
use tokio_util::sync::CancellationToken;

use super::{
    fleet::{self, Kind, Load, Seed, Traffic},
    host,
};

/// How long the loops run before they are measured: a fixed time, and more for each.
const SETTLE: Duration = Duration::from_secs(3);
const SETTLE_EACH: Duration = Duration::from_millis(1);

/// The one world of all loops.
struct Memory {
    seed: Seed,
    /// Records on their way into their loops; a record leaves when it is loaded.
    stored: Mutex<std::collections::BTreeMap<RolloutId, Stored>>,
    reads: AtomicU64,
    looks: AtomicU64,
}

struct InMemory(Arc<Memory>);

struct OneEntry {
    memory: Arc<Memory>,
    traffic: Mutex<Traffic>,
}

struct OneSource(Arc<Memory>);

struct Silent;

/// Runs a fleet of real loops for some real seconds.
///
/// # Panics
/// Where tokio cannot start.
#[must_use]
pub fn run(count: usize, kind: Kind, interval_secs: u64, span: Duration) -> Load {
    let seed = fleet::seed(kind, interval_secs);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    runtime.block_on(measure(seed, count, kind, interval_secs, span))
}

async fn measure(seed: Seed, count: usize, kind: Kind, interval_secs: u64, span: Duration) -> Load {
    let before = host::resident();
    let memory = Arc::new(Memory {
        seed,
        stored: Mutex::default(),
        reads: AtomicU64::default(),
        looks: AtomicU64::default(),
    });
    let ports = Ports {
        store: Arc::new(InMemory(memory.clone())),
        clock: Arc::new(SystemClock::start()),
        factory: Arc::new(InMemory(memory.clone())),
        outside: Outside::default(),
        sink: Arc::new(Silent),
        lease: LeaseTold::forever(1),

        workloads: Arc::new(()),
    };
    let token = CancellationToken::new();
    let mut running = Vec::new();
    for at in 0..count {
        let written = fleet::compile(&format!("app-{at}"), kind, interval_secs);
        running.push(begin(written, &memory, &ports, &token).await);
    }
    tokio::time::sleep(
        SETTLE + SETTLE_EACH.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX)),
    )
    .await;
    let counts = || (memory.reads.load(Relaxed), memory.looks.load(Relaxed));
    let (begin, processor, first) = (tokio::time::Instant::now(), host::processor_time(), counts());
    tokio::time::sleep(span).await;
    let (seconds, processor) =
        (begin.elapsed().as_secs_f64(), (host::processor_time() - processor).as_secs_f64());
    let resident = host::resident();
    let last = counts();
    let (reads, looks) = (last.0 - first.0, last.1 - first.1);
    token.cancel();
    for (_, _, task) in running {
        let _ = task.await;
    }
    Load {
        // A read, or a look, is a turn that asks and a turn that hears.
        turns: 2 * (reads + looks),
        processor,
        seconds,
        resident,
        before,
        looks,
        requests: 0,
        requests_max: 0,
    }
}

/// Starts one loop as the engine does; the plan in its own words is kept, as the engine keeps it.
async fn begin(
    written: Written,
    memory: &Memory,
    ports: &Ports,
    token: &CancellationToken,
) -> (drive::Handle, Box<str>, tokio::task::JoinHandle<()>) {
    let stored = memory.seed.stored(&written);
    memory.stored.lock().unwrap_or_else(PoisonError::into_inner).insert(written.id.clone(), stored);
    let (handle, task) = drive::start(written.id.clone(), ports.clone(), token.clone());
    handle.send(Input::Spec(written.seen(Intent::default()))).await;
    (handle, written.effective.to_string().into_boxed_str(), task)
}

// === impl InMemory ===

impl Store for InMemory {
    fn list(&self) -> BoxFuture<'static, Result<Vec<RolloutId>, String>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn load(&self, id: &RolloutId) -> BoxFuture<'static, Result<Option<Stored>, String>> {
        let mut stored = self.0.stored.lock().unwrap_or_else(PoisonError::into_inner);
        ready(Ok(stored.remove(id))).boxed()
    }

    fn swap(&self, _: &RolloutId, _: SwapRequest) -> BoxFuture<'static, Swap> {
        ready(Swap::Won).boxed()
    }

    fn delete(&self, _: &RolloutId) -> BoxFuture<'static, Result<(), String>> {
        ready(Ok(())).boxed()
    }

    fn journal(
        &self,
        _: &RolloutId,
        _: u64,
        _: usize,
    ) -> BoxFuture<'static, Result<Journal, String>> {
        ready(Ok(Journal::default())).boxed()
    }

    fn trace(
        &self,
        _: &RolloutId,
        _: u64,
        _: usize,
    ) -> BoxFuture<'static, Result<Vec<Packed>, String>> {
        ready(Ok(Vec::new())).boxed()
    }
}

impl Factory for InMemory {
    fn provider(
        &self,
        _: &str,
        _: &str,
        _: &Sides,
        _: &Outside,
    ) -> Result<Arc<dyn TrafficProvider>, Error> {
        let traffic = Mutex::new(self.0.seed.traffic.clone());
        Ok(Arc::new(OneEntry { memory: self.0.clone(), traffic }))
    }

    fn source(&self, _: &str, _: &str, _: &Outside) -> Result<Arc<dyn MetricSource>, String> {
        Ok(Arc::new(OneSource(self.0.clone())))
    }
}

// === impl OneEntry ===

impl OneEntry {
    fn traffic(&self) -> std::sync::MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TrafficProvider for OneEntry {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            granularity: 1,
            acknowledged: Acknowledged::Programmed,
            settling: Duration::ZERO,
            write_deadline: Duration::from_secs(2),
            signed: true,
            layer7: true,
            sticky: false,
            mirroring: false,
        }
    }

    fn preflight(&self) -> BoxFuture<'_, Result<Snapshot, Error>> {
        ready(Ok(Snapshot::default())).boxed()
    }

    fn representable(&self, split: &Split) -> Split {
        split.clone()
    }

    fn read(&self) -> BoxFuture<'_, Result<Reading, Error>> {
        self.memory.reads.fetch_add(1, Relaxed);
        ready(Ok(self.traffic().reading())).boxed()
    }

    fn write(&self, split: Split, _: Direction, mark: Mark) -> BoxFuture<'_, Result<(), Error>> {
        *self.traffic() = Traffic { split, mark: Some(mark) };
        ready(Ok(())).boxed()
    }

    fn finish(&self, _: Roles) -> BoxFuture<'_, Result<(), Error>> {
        ready(Ok(())).boxed()
    }

    fn release(&self, _: Snapshot) -> BoxFuture<'_, Result<(), Error>> {
        ready(Ok(())).boxed()
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        stream::empty().boxed()
    }
}

// === impl OneSource ===

impl MetricSource for OneSource {
    fn look(&self, question: Arc<str>, look: Look) -> BoxFuture<'static, Sample> {
        self.0.looks.fetch_add(1, Relaxed);
        ready(fleet::sample(&question, look.window)).boxed()
    }

    fn revisions(
        &self,
        _: Arc<str>,
        _: Duration,
    ) -> BoxFuture<'static, Result<Vec<Revision>, String>> {
        ready(Err("not asked".to_owned())).boxed()
    }

    fn facts(&self, _: Duration) -> BoxFuture<'static, Result<SourceFacts, String>> {
        ready(Ok(fleet::facts())).boxed()
    }
}

// === impl Silent ===

impl Sink for Silent {
    fn told(&self, _: &RolloutId, _: &JournalEntry) {}

    fn noticed(&self, _: &RolloutId, _: &Notice) {}
}
