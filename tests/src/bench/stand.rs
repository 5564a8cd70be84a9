//! What trials from a fault to weight 0 have in common: a stage under load, and one rollout's loop in
//! this process, stamped at every step. It is tried again after each rollback; the servers stay.

use std::{
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use haldane_host::{Intent, Registered, SystemClock};
use haldane_model::{Actor, Outcome, Request, RequestId, RolloutId, Verb};
use haldane_outside::Outside;
use haldane_runtime::{
    Input,
    drive::{self, Handle, Ports},
    ports::LeaseTold,
};
use haldane_standalone::{
    Kept,
    store::{Options, Store, StoreHandle},
};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::tape::{StampedFactory, StampedSink, StampedStore, Tape};
use crate::{
    load::Load,
    rollout,
    stage::{Shares, Stage},
};

/// Requests a second.
const LOAD: u64 = 400;

/// How long anything may take before a trial is given up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A stage, and the rollout on it that stands at 25 % between its trials.
pub struct Stand {
    /// The servers.
    pub stage: Stage,
    /// The share of the side under test, as HAProxy has it.
    pub shares: Shares,
    /// What users meet.
    pub load: Load,
    /// What the loop did, and when.
    pub tape: Tape,
    runtime: Runtime,
    handle: Handle,
    task: Option<JoinHandle<()>>,
    token: CancellationToken,
}

// === impl Stand ===

impl Stand {
    /// Starts everything. `analysis` is the rollout's, from what the stage has.
    ///
    /// # Panics
    /// Where a server or the loop cannot start.
    #[must_use]
    pub fn start(program: &Path, analysis: impl Fn(&Stage) -> Value) -> Self {
        let stage = Stage::start(program);
        let load = Load::start(stage.port, LOAD);
        let runtime = Runtime::new().expect("a runtime starts");
        let tape = Tape::default();
        let token = CancellationToken::new();
        let document = document(&stage, &analysis(&stage));
        let (handle, task) = runtime.block_on(start(&stage, &document, &tape, &token));
        let shares = stage.follow("green");
        Self { stage, shares, load, tape, runtime, handle, task: Some(task), token }
    }

    /// Waits until the rollout stands at 25 %.
    ///
    /// # Errors
    /// Where it does not.
    pub fn await_quarter(&self) -> Result<(), String> {
        self.wait_for("at 25 %", || self.phase() == "Baking" && self.shares.now() == 2_500)
    }

    /// Tries again what was rolled back, after a pause.
    ///
    /// # Errors
    /// Where it was not rolled back, or the loop refuses.
    pub fn again(&self, pause: Duration) -> Result<(), String> {
        self.stage.inject("green", "error_rate=0");
        self.wait_for("degraded", || self.phase() == "Degraded")?;
        thread::sleep(pause);
        let status = self.handle.status();
        let now = jiff::Timestamp::now();
        let request = Request {
            id: RequestId::from(format!("again-{}", now.as_nanosecond())),
            verb: Verb::Retry { without: None },
            revision: status.revision.clone(),
            attempt: Some(status.attempt),
            step: None,
            reason: Some("the next trial".to_owned()),
            actor: Actor::Person("bench".to_owned()),
            at: now,
        };
        match self.runtime.block_on(self.handle.request(request)) {
            Some(Outcome::Accepted) => Ok(()),
            Some(Outcome::Refused(why)) => Err(why),
            None => Err("the loop is over".to_owned()),
        }
    }

    /// Returns where the rollout is.
    #[must_use]
    pub fn phase(&self) -> String {
        self.handle.status().phase.clone()
    }

    /// Waits for something.
    ///
    /// # Errors
    /// Says where the rollout stands, where it takes too long.
    pub fn wait_for(&self, what: &str, ready: impl Fn() -> bool) -> Result<(), String> {
        let begin = Instant::now();
        while !ready() {
            if begin.elapsed() > PATIENCE {
                let status = self.handle.status();
                let held = status.held_by.join(", ");
                let share = self.shares.now();
                return Err(format!("not {what}: {} at {share}, {held}", status.phase));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.token.cancel();
        if let Some(task) = self.task.take() {
            let _ = self.runtime.block_on(task);
        }
    }
}

async fn start(
    stage: &Stage,
    document: &str,
    tape: &Tape,
    token: &CancellationToken,
) -> (Handle, JoinHandle<()>) {
    let state = rollout::state(stage);
    let store = Store::open(&state, &Options::default()).expect("the folder is new");
    let store = StoreHandle::start(store).expect("a thread starts");
    let term = store.term();
    let ports = Ports {
        store: Arc::new(StampedStore(Kept(store), tape.clone())),
        clock: Arc::new(SystemClock::start()),
        factory: Arc::new(StampedFactory(Registered, tape.clone())),
        outside: Outside::default(),
        sink: Arc::new(StampedSink(tape.clone())),
        lease: LeaseTold::forever(term),

        workloads: Arc::new(()),
    };
    let written = haldane_host::compile(document).await;
    let written = written.expect("the document is valid").swap_remove(0);
    let id = RolloutId::new("default", "app");
    let (handle, task) = drive::start(id, ports, token.clone());
    let intent = Intent { named: true, adopt: false };
    handle.send(Input::Spec(written.seen(intent))).await;
    (handle, task)
}

fn document(stage: &Stage, analysis: &Value) -> String {
    let steps = json!([{"weight": 25, "bake": "10h"}, {"weight": 100, "bake": "10m"}]);
    let more = json!({"steps": steps, "progressDeadline": "100h", "analysis": analysis});
    rollout::document(stage, "v2", &[], &more)
}
