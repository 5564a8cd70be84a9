//! From a fault to weight 0, against a real Prometheus and a real HAProxy.
//!
//! One rollout stands at 25 % and is looked at every second; its service begins to fail; the loop,
//! in this process, is stamped at every step. Then the fault ends, and the rollout is tried again.

use std::{
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use haldane_model::{Actor, LeaseSeen, Outcome, Request, RequestId, RolloutId, Verb};
use haldane_outside::Outside;
use haldane_runtime::{
    Input,
    drive::{self, Handle, Ports},
};
use haldane_standalone::{
    Intent, Kept, Registered, SystemClock,
    store::{Options, Store, StoreHandle},
};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::{
    spread::Spread,
    tape::{Event, StampedFactory, StampedSink, StampedStore, Tape},
};
use crate::{
    load::Load,
    rollout,
    stage::{Shares, Stage},
};

/// Requests a second.
const LOAD: u64 = 400;

/// How long anything may take before a trial is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often Prometheus is asked whether it has the first bad sample.
const POLL: Duration = Duration::from_millis(8);

/// Looks are taken every second; a longer pause than this is a late guard.
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(2_200);

/// The names of the phases, in order: what happens, and whose time it is.
pub const PHASES: [(&str, &str); 11] = [
    ("fault → first bad sample queryable", "the scrape's pace"),
    ("bad sample queryable → look due", "the guard's pace"),
    ("look due → look sent", "ours"),
    ("look sent → answered", "Prometheus, and our reading of it"),
    ("answered → decided", "ours"),
    ("decided → lowering write sent", "ours"),
    ("lowering write sent → HAProxy has weight 0", "HAProxy, and our witness (5 ms)"),
    ("decided → record on disk", "beside the write: nobody waits for it"),
    ("HAProxy has weight 0 → read back", "ours, confirms"),
    ("**look due → HAProxy has weight 0**", "all of ours"),
    ("**fault → HAProxy has weight 0**", "what users wait"),
];

/// The row of [`PHASES`] that the goal is about.
pub const OURS: usize = 9;

/// What was measured.
#[derive(Clone, Debug)]
pub struct Trials {
    /// For each of [`PHASES`], milliseconds.
    pub phases: Vec<Spread>,
    /// Trials that did not end as they should, and where they stood.
    pub lost: Vec<String>,
    /// Trials in which a look came late, or was told a wrong pace: each with its breakdown.
    pub late: Vec<String>,
    /// Requests that reached Prometheus' query API each second while the rollout baked, by its own
    /// count, and looks each second.
    pub queries: Option<(f64, f64)>,
}

/// One trial.
struct Trial {
    /// As [`PHASES`] names them.
    spans: [Duration; 11],
    /// The longest pause between two looks, from the fault to weight 0.
    pause: Duration,
    /// How many looks were told a wrong pace.
    paces_lost: usize,
}

struct Bench {
    stage: Stage,
    shares: Shares,
    tape: Tape,
    runtime: Runtime,
    handle: Handle,
}

/// Runs so many trials.
///
/// # Panics
/// Where a server or the loop cannot start.
#[must_use]
pub fn measure(program: &Path, trials: usize) -> Trials {
    let stage = Stage::start(program);
    let _load = Load::start(stage.port, LOAD);
    let runtime = Runtime::new().expect("a runtime starts");
    let tape = Tape::default();
    let token = CancellationToken::new();
    let (handle, task) = runtime.block_on(start(&stage, &tape, &token));
    let shares = stage.follow("green");
    let bench = Bench { stage, shares, tape, runtime, handle };
    let mut stamps = Vec::new();
    let mut lost = Vec::new();
    let mut late = Vec::new();
    let mut queries = None;
    for trial in 0..trials {
        match bench.trial(trial) {
            Ok(trial_of) => {
                let line = trial_of.line(trial);
                eprintln!("{line}");
                if trial_of.is_late() {
                    late.push(line);
                }
                stamps.push(trial_of.spans);
            }
            Err(why) => {
                eprintln!("trial {trial}: {why}");
                lost.push(format!("trial {trial}: {why}"));
            }
        }
        if trial == 0 {
            queries = bench.count_queries();
        }
        if let Err(why) = bench.again() {
            lost.push(format!("after trial {trial}: {why}"));
            break;
        }
    }
    token.cancel();
    let _ = bench.runtime.block_on(task);
    let phase = |at: usize| Spread::millis(stamps.iter().map(|spans: &[Duration; 11]| spans[at]));
    Trials { phases: (0..PHASES.len()).map(phase).collect(), lost, late, queries }
}

async fn start(
    stage: &Stage,
    tape: &Tape,
    token: &CancellationToken,
) -> (Handle, tokio::task::JoinHandle<()>) {
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
    };
    let written = haldane_standalone::compile(&document(stage)).await;
    let written = written.expect("the document is valid").swap_remove(0);
    let id = RolloutId::new("default", "app");
    let (handle, task) = drive::start(id, ports, token.clone());
    handle.send(Input::Lease(LeaseSeen::Held { term })).await;
    let intent = Intent { named: true, adopt: false };
    handle.send(Input::Spec(written.seen(intent))).await;
    (handle, task)
}

fn document(stage: &Stage) -> String {
    let steps = json!([{"weight": 25, "bake": "10h"}, {"weight": 100, "bake": "10m"}]);
    let more = json!({"steps": steps, "progressDeadline": "100h"});
    rollout::document(stage, "v2", &[rollout::errors(), rollout::latency("2s")], &more)
}

// === impl Bench ===

impl Bench {
    /// One trial: from calm at 25 % to calm at 0.
    fn trial(&self, trial: usize) -> Result<Trial, String> {
        self.wait_for("at 25 %", || self.phase() == "Baking" && self.shares.now() == 2_500)?;
        // Faults come at any moment of a second.
        let jitter = Duration::from_millis((trial as u64 * 373) % 1_000);
        thread::sleep(Duration::from_secs(3) + jitter);
        let before = self.stage.ask(BAD_TOTAL).unwrap_or(0.0);
        let paces_lost = self.tape.count(Event::PaceLost);
        self.tape.rewind();
        self.stage.inject("green", "error_rate=0.5");
        let injected = Instant::now();
        let queryable = self.await_sample(injected, before)?;
        let rolled_back = || self.tape.first(Event::RolledBack, injected).is_some();
        self.wait_for("rolled back", rolled_back)?;
        self.stage.inject("green", "error_rate=0");
        let spans = self.spans(injected, queryable)?;
        let zero = injected + spans[PHASES.len() - 1];
        let pause = self.tape.longest_pause(Event::Look, injected, zero);
        Ok(Trial { spans, pause, paces_lost: paces_lost + self.tape.count(Event::PaceLost) })
    }

    /// Waits until Prometheus has a bad sample; returns the earliest moment that can have been.
    fn await_sample(&self, injected: Instant, before: f64) -> Result<Instant, String> {
        let mut earliest = injected;
        while injected.elapsed() < PATIENCE {
            let asked = Instant::now();
            if self.stage.ask(BAD_TOTAL).is_some_and(|count| count > before) {
                return Ok(earliest);
            }
            earliest = asked;
            thread::sleep(POLL);
        }
        Err("prometheus never had a bad sample".to_owned())
    }

    fn spans(&self, injected: Instant, queryable: Instant) -> Result<[Duration; 11], String> {
        let first = |event: Event, after: Instant| {
            self.tape.first(event, after).ok_or_else(|| format!("no {event:?}"))
        };
        let due = first(Event::BadLookDue, injected)?;
        let sent = first(Event::BadLookSent, injected)?;
        let answered = first(Event::BadLookAnswered, injected)?;
        let decided = first(Event::BreachDecided, injected)?;
        let recorded = first(Event::BreachRecorded, injected)?;
        let lowering = first(Event::LowerSent, injected)?;
        let zero = self.shares.zero_after(injected).ok_or("HAProxy was never at 0")?;
        let read = first(Event::ReadZero, lowering)?;
        Ok([
            queryable - injected,
            due.saturating_duration_since(queryable),
            sent - due,
            answered - sent,
            decided.saturating_duration_since(answered),
            lowering.saturating_duration_since(decided),
            zero.saturating_duration_since(lowering),
            recorded - decided,
            read.saturating_duration_since(zero),
            zero.saturating_duration_since(due),
            zero - injected,
        ])
    }

    /// Tries again what was rolled back.
    fn again(&self) -> Result<(), String> {
        self.stage.inject("green", "error_rate=0");
        self.wait_for("degraded", || self.phase() == "Degraded")?;
        thread::sleep(Duration::from_secs(2));
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

    /// Counts what reaches Prometheus in ten seconds at rest or in flight, by its own count.
    fn count_queries(&self) -> Option<(f64, f64)> {
        self.again().ok()?;
        self.wait_for("at 25 %", || self.phase() == "Baking").ok()?;
        thread::sleep(Duration::from_secs(2));
        let count = || self.stage.served("/api/v1/query");
        self.tape.rewind();
        let (begin, first) = (Instant::now(), count()?);
        thread::sleep(Duration::from_secs(10));
        let (last, seconds) = (count()?, begin.elapsed().as_secs_f64());
        let looks = self.tape.count(Event::Look) as f64 / seconds;
        self.stage.inject("green", "error_rate=0.5");
        let calm = || self.phase() == "Degraded";
        self.wait_for("rolled back", calm).ok()?;
        Some(((last - first) / seconds, looks))
    }

    fn phase(&self) -> String {
        self.handle.status().phase.clone()
    }

    fn wait_for(&self, what: &str, ready: impl Fn() -> bool) -> Result<(), String> {
        let begin = Instant::now();
        while !ready() {
            if begin.elapsed() > PATIENCE {
                let status = self.handle.status();
                let held = status.held_by.join(", ");
                return Err(format!(
                    "not {what}: {} at {}, {held}",
                    status.phase,
                    self.shares.now()
                ));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

// === impl Trial ===

impl Trial {
    /// Whether a guard came later than two slots of its pace.
    fn is_late(&self) -> bool {
        self.paces_lost > 0 || self.pause > LOOK_PAUSE_MAX
    }

    /// Says everything in one line.
    fn line(&self, trial: usize) -> String {
        let phases = PHASES.iter().zip(&self.spans);
        let phases = phases.map(|((what, _), span)| format!("{what} {:.1}", millis(*span)));
        let phases: Vec<String> = phases.collect();
        format!(
            "trial {trial}: {}; longest pause between looks {:.0} ms, wrong paces {}",
            phases.join(", "),
            millis(self.pause),
            self.paces_lost
        )
    }
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

/// How many bad requests Prometheus knows of.
const BAD_TOTAL: &str = "http_requests_total{side=\"green\",code=\"500\"}";
