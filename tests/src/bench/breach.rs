//! From a fault to weight 0, against a real Prometheus and a real HAProxy.
//!
//! One rollout stands at 25 % and is looked at every second; its service begins to fail; the loop,
//! in this process, is stamped at every step. Then the fault ends, and the rollout is tried again.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    spread::Spread,
    stand::{PATIENCE, Stand},
    tape::Event,
};
use crate::rollout;

/// How long a rollout rests before it is tried again, and before its fault.
const REST: Duration = Duration::from_secs(2);

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

struct Bench(Stand);

/// Runs so many trials.
///
/// # Panics
/// Where a server or the loop cannot start.
#[must_use]
pub fn measure(program: &Path, trials: usize) -> Trials {
    let bench = Bench(Stand::start(program, |stage| {
        json!({
            "sources": [{"name": "main", "prometheus": {"url": stage.prometheus_url()}}],
            "interval": "1s",
            "checks": [rollout::errors(), rollout::latency("2s")],
        })
    }));
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
        if let Err(why) = bench.0.again(REST) {
            lost.push(format!("after trial {trial}: {why}"));
            break;
        }
    }
    let phase = |at: usize| Spread::millis(stamps.iter().map(|spans: &[Duration; 11]| spans[at]));
    Trials { phases: (0..PHASES.len()).map(phase).collect(), lost, late, queries }
}

// === impl Bench ===

impl Bench {
    /// One trial: from calm at 25 % to calm at 0.
    fn trial(&self, trial: usize) -> Result<Trial, String> {
        self.0.await_quarter()?;
        // Faults come at any moment of a second.
        let jitter = Duration::from_millis((trial as u64 * 373) % 1_000);
        thread::sleep(Duration::from_secs(3) + jitter);
        let before = self.0.stage.ask(BAD_TOTAL).unwrap_or(0.0);
        let paces_lost = self.0.tape.count(Event::PaceLost);
        self.0.tape.rewind();
        self.0.stage.inject("green", "error_rate=0.5");
        let injected = Instant::now();
        let queryable = self.await_sample(injected, before)?;
        let rolled_back = || self.0.tape.first(Event::RolledBack, injected).is_some();
        self.0.wait_for("rolled back", rolled_back)?;
        self.0.stage.inject("green", "error_rate=0");
        let spans = self.spans(injected, queryable)?;
        let zero = injected + spans[PHASES.len() - 1];
        let pause = self.0.tape.longest_pause(Event::Look, injected, zero);
        Ok(Trial { spans, pause, paces_lost: paces_lost + self.0.tape.count(Event::PaceLost) })
    }

    /// Waits until Prometheus has a bad sample; returns the earliest moment that can have been.
    fn await_sample(&self, injected: Instant, before: f64) -> Result<Instant, String> {
        let mut earliest = injected;
        while injected.elapsed() < PATIENCE {
            let asked = Instant::now();
            if self.0.stage.ask(BAD_TOTAL).is_some_and(|count| count > before) {
                return Ok(earliest);
            }
            earliest = asked;
            thread::sleep(POLL);
        }
        Err("prometheus never had a bad sample".to_owned())
    }

    fn spans(&self, injected: Instant, queryable: Instant) -> Result<[Duration; 11], String> {
        let first = |event: Event, after: Instant| {
            self.0.tape.first(event, after).ok_or_else(|| format!("no {event:?}"))
        };
        let due = first(Event::BadLookDue, injected)?;
        let sent = first(Event::BadLookSent, injected)?;
        let answered = first(Event::BadLookAnswered, injected)?;
        let decided = first(Event::BreachDecided, injected)?;
        let recorded = first(Event::BreachRecorded, injected)?;
        let lowering = first(Event::LowerSent, injected)?;
        let zero = self.0.shares.zero_after(injected).ok_or("HAProxy was never at 0")?;
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

    /// Counts what reaches Prometheus in ten seconds at rest or in flight, by its own count.
    fn count_queries(&self) -> Option<(f64, f64)> {
        self.0.again(REST).ok()?;
        self.0.wait_for("at 25 %", || self.0.phase() == "Baking").ok()?;
        thread::sleep(REST);
        let count = || self.0.stage.served("/api/v1/query");
        self.0.tape.rewind();
        let (begin, first) = (Instant::now(), count()?);
        thread::sleep(Duration::from_secs(10));
        let (last, seconds) = (count()?, begin.elapsed().as_secs_f64());
        let looks = self.0.tape.count(Event::Look) as f64 / seconds;
        self.0.stage.inject("green", "error_rate=0.5");
        let calm = || self.0.phase() == "Degraded";
        self.0.wait_for("rolled back", calm).ok()?;
        Some(((last - first) / seconds, looks))
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
