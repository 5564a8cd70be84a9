//! How long users meet failures: from the first bad response to weight 0 in HAProxy, by each source
//! that can be fast.
//!
//! Everything is real, and stays between the trials. Half of the new version's answers fail from one
//! moment on; when that was bad for a user first is what the load saw, and when it ended what HAProxy
//! had. Nothing here knows how the engine came to its decision.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{spread::Spread, stand::Stand, tape::Event};
use crate::{rollout, stage::Stage};

/// A source that is measured.
#[derive(Debug)]
pub struct Source {
    /// The kind, as a file names it.
    pub kind: &'static str,
    /// How it is set, for people.
    pub set: &'static str,
    /// The median of first bad response → weight 0 must not exceed this, in milliseconds.
    pub goal_millis: f64,
    /// How often it takes a sample.
    pace: Duration,
    /// How often the check is asked: as short as makes sense.
    interval: &'static str,
    settings: fn(&Stage) -> Value,
}

/// All of them.
pub const SOURCES: [Source; 3] = [
    Source {
        kind: "prometheus",
        set: "scrapes every 1 s, asked every 200 ms",
        goal_millis: 900.0,
        pace: Duration::from_secs(1),
        interval: "200ms",
        settings: |stage| json!({"url": stage.prometheus_url()}),
    },
    Source {
        kind: "scrape",
        set: "reads every 200 ms, asked every 40 ms",
        goal_millis: 300.0,
        pace: Duration::from_millis(200),
        interval: "40ms",
        settings: |stage| json!({"targets": stage.pages(), "interval": "200ms"}),
    },
    Source {
        kind: "haproxyStats",
        set: "reads every 100 ms, asked every 20 ms",
        goal_millis: 300.0,
        pace: Duration::from_millis(100),
        interval: "20ms",
        settings: |stage| {
            let backends = json!({"blue": "be_blue", "green": "be_green"});
            json!({"sockets": [stage.socket()], "interval": "100ms", "backends": backends})
        },
    },
];

/// What one source's trials were.
#[derive(Clone, Debug)]
pub struct Reaction {
    /// Which source.
    pub source: &'static Source,
    /// From the fault to weight 0, in milliseconds.
    pub from_fault: Spread,
    /// From the first bad response to weight 0, in milliseconds.
    pub from_bad: Spread,
    /// How many bad responses a trial had.
    pub bad: Spread,
    /// Trials that did not end as they should, and where they stood.
    pub lost: Vec<String>,
}

/// One trial.
struct Trial {
    from_fault: Duration,
    from_bad: Duration,
    bad: usize,
}

/// Runs so many trials with a source.
///
/// # Panics
/// Where a server or the loop cannot start.
#[must_use]
pub fn measure(program: &Path, source: &'static Source, trials: usize) -> Reaction {
    let stand = Stand::start(program, |stage| analysis(source, stage));
    let (mut done, mut lost) = (Vec::new(), Vec::new());
    for number in 0..trials {
        match trial(&stand, source, number) {
            Ok(trial) => {
                let [fault, bad] = [trial.from_fault, trial.from_bad].map(millis);
                let many = trial.bad;
                eprintln!(
                    "{} {number}: fault {fault:.0} ms, first bad response {bad:.0} ms, {many} bad",
                    source.kind
                );
                done.push(trial);
            }
            Err(why) => lost.push(format!("{}, trial {number}: {why}", source.kind)),
        }
        if let Err(why) = stand.again(source.pace) {
            lost.push(format!("{}, after trial {number}: {why}", source.kind));
            break;
        }
    }
    Reaction {
        source,
        from_fault: Spread::millis(done.iter().map(|trial| trial.from_fault)),
        from_bad: Spread::millis(done.iter().map(|trial| trial.from_bad)),
        bad: Spread::of(done.iter().map(|trial| trial.bad as f64)),
        lost,
    }
}

fn analysis(source: &Source, stage: &Stage) -> Value {
    let mut named = json!({"name": "main"});
    named[source.kind] = (source.settings)(stage);
    json!({"sources": [named], "interval": source.interval, "checks": [rollout::errors()]})
}

/// One trial: from calm at 25 % to 0.
fn trial(stand: &Stand, source: &Source, number: usize) -> Result<Trial, String> {
    stand.await_quarter()?;
    // Until the first windows hold two scrapes, nothing is judged. Faults come at any moment of a pace.
    let pace = u64::try_from(source.pace.as_millis()).unwrap_or(u64::MAX);
    let jitter = Duration::from_millis((number as u64 * 373) % pace);
    thread::sleep(source.pace * 3 + jitter);
    stand.tape.rewind();
    let before = stand.load.failures().len();
    let injected = Instant::now();
    stand.stage.inject("green", "error_rate=0.5");
    stand.wait_for("rolled back", || stand.tape.first(Event::RolledBack, injected).is_some())?;
    stand.stage.inject("green", "error_rate=0");
    let zero = stand.shares.zero_after(injected).ok_or("HAProxy was never at 0")?;
    let failures = stand.load.failures();
    let bad = failures.get(before..).unwrap_or_default();
    let first = bad.iter().map(|failure| failure.at).min().ok_or("no response was bad")?;
    if first < injected {
        return Err("a response was bad before the fault".to_owned());
    }
    let from_bad = zero.saturating_duration_since(first);
    Ok(Trial { from_fault: zero - injected, from_bad, bad: bad.len() })
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}
