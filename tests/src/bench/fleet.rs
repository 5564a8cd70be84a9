//! Many rollouts in one process, against a world in memory, on a clock that is only told.
//!
//! No I/O and no waiting: what remains is the loop itself. Every answer comes at once and is good;
//! the store says `Won` and keeps nothing, as a disk would not keep it in memory either.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    time::Duration,
};

use futures::FutureExt;
use haldane_host::{Intent, Written};
use haldane_model::{
    Acknowledged, Answer, HeaderEntry, Health, LeaseSeen, Mark, Now, Place, Reading, Record,
    Sample, SideName, Split, Weight,
};
use haldane_runtime::{
    Command, Core, Input, codec,
    ports::{Stored, Swap},
};
use haldane_sources::SourceFacts;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::host;

/// One moment never takes a loop more turns than this, or it goes round in circles.
const TURNS_AT_ONCE_MAX: u32 = 10_000;

/// What the rollouts of a fleet are doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Healthy, after the watch: nothing is judged.
    Rest,
    /// In the bake of the first step, for a day; the revision is written in the file.
    Baking,
    /// Likewise; each side's revision is asked for in the source.
    BakingAsked,
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many turns were taken.
    pub turns: u64,
    /// Processor seconds.
    pub processor: f64,
    /// Simulated, or real, seconds.
    pub seconds: f64,
    /// Resident bytes with the fleet.
    pub resident: u64,
    /// Resident bytes before it was made.
    pub before: u64,
    /// Looks, and HTTP requests to the source.
    pub looks: u64,
    /// HTTP requests to the source.
    pub requests: u64,
    /// The most HTTP requests within one second.
    pub requests_max: u64,
}

/// A rollout that was led to where it shall be: what a fleet is made of.
#[derive(Clone, Debug)]
pub struct Seed {
    /// Its record.
    record: Record,
    /// Its split.
    pub traffic: Traffic,
}

/// One entry's split, in memory.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// What it has.
    pub split: Split,
    /// Who signed it.
    pub mark: Option<Mark>,
}

struct Rollout {
    core: Core,
    traffic: Traffic,
    /// When its wake-up stands in the queue.
    queued: Option<Duration>,
}

struct Fleet {
    rollouts: Vec<Rollout>,
    queue: BinaryHeap<Reverse<(Duration, usize)>>,
    now: Now,
    turns: u64,
    looks: u64,
    requests: u64,
    by_second: BTreeMap<u64, u64>,
}

// === impl Kind ===

impl Kind {
    /// Returns its word, for the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Baking => "baking",
            Self::BakingAsked => "baking-asked",
        }
    }

    /// Parses a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Rest, Self::Baking, Self::BakingAsked].into_iter().find(|kind| kind.word() == word)
    }

    fn is_reached(self, place: &Place) -> bool {
        match self {
            Self::Rest => matches!(place, Place::Healthy),
            Self::Baking | Self::BakingAsked => matches!(place, Place::Baking { step: 0, .. }),
        }
    }
}

/// Returns a rollout document: two checks, one HAProxy entry, guards at this pace.
#[must_use]
pub fn document(name: &str, kind: Kind, interval_secs: u64) -> String {
    let bake = if kind == Kind::Rest { "2m" } else { "24h" };
    let steps = [10, 25, 50, 100].map(|weight| json!({"weight": weight, "bake": bake}));
    let side = |side: &str| {
        let mut side_json = json!({"name": side, "labels": {"side": side, "app": name}});
        if kind == Kind::BakingAsked {
            let promql = format!("app_build_info{{app=\"{name}\",side=\"{side}\"}}");
            side_json["revisionQuery"] =
                json!({"promql": promql, "label": "version", "source": "main"});
        }
        side_json
    };
    let mut document = json!({
        "apiVersion": "haldane.dev/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name},
        "spec": {
            "sides": [side("blue"), side("green")],
            "traffic": [{"name": "edge", "haproxy": {
                "sockets": ["/run/haproxy/admin.sock"],
                "share": {"map": "/etc/haproxy/haldane/share.map", "key": name},
                "destinations": {"blue": {"backend": "be_blue"}, "green": {"backend": "be_green"}},
            }}],
            "steps": steps,
            "watch": "5m",
            "progressDeadline": "2000h",
            "analysis": {
                "sources": [{"name": "main", "prometheus": {"url": "http://127.0.0.1:9090"}}],
                "interval": format!("{interval_secs}s"),
                "checks": [
                    {"name": "errors", "errors": {"max": "1%", "metrics": "prometheus"}},
                    {"name": "p99", "latency":
                        {"quantile": "0.99", "max": "500ms", "metrics": "prometheus"}},
                ],
            },
        },
    });
    if kind != Kind::BakingAsked {
        document["spec"]["revision"] = json!("v2");
    }
    format!("{document:#}\n")
}

/// Compiles a document of our own.
///
/// # Panics
/// Where it is not valid.
#[must_use]
pub fn compile(name: &str, kind: Kind, interval_secs: u64) -> Written {
    let text = document(name, kind, interval_secs);
    // A document that names its metrics asks nobody.
    let written = haldane_host::compile(&text).now_or_never().expect("nothing is waited for");
    written.expect("the document is valid").swap_remove(0)
}

/// Leads one rollout to where it shall be.
///
/// # Panics
/// Where it does not get there within a simulated day.
#[must_use]
pub fn seed(kind: Kind, interval_secs: u64) -> Seed {
    let written = compile("seed", kind, interval_secs);
    let mut fleet = Fleet::new();
    let traffic = Traffic { split: Split::new("green".into(), Weight::ZERO), mark: None };
    fleet.add(&written, None, traffic);
    let end = fleet.now.mono + Duration::from_secs(86_400);
    loop {
        let core = &fleet.rollouts[0].core;
        let record = core.record().expect("a loop that was started has a record");
        if kind.is_reached(&record.place) && !core.is_busy() {
            let record = record.clone();
            return Seed { record, traffic: fleet.rollouts[0].traffic.clone() };
        }
        assert!(fleet.step(end), "{kind:?} is not reached: {:?}", record_place(&fleet));
    }
}

fn record_place(fleet: &Fleet) -> Option<&Place> {
    fleet.rollouts.first()?.core.record().map(|record| &record.place)
}

/// Runs a fleet for some simulated time, after a minute and a half of settling.
#[must_use]
pub fn run(count: usize, kind: Kind, interval_secs: u64, span: Duration) -> Load {
    let seed = seed(kind, interval_secs);
    let before = host::resident();
    let mut fleet = Fleet::new();
    let begin = fleet.now.mono;
    for at in 0..count {
        let written = compile(&format!("app-{at}"), kind, interval_secs);
        // Loops were started at different moments, as files are written at different moments.
        let offset = Duration::from_secs(60).mul_f64(at as f64 / count as f64);
        fleet.pass_to(begin + offset);
        fleet.add(&written, Some(seed.stored(&written)), seed.traffic.clone());
    }
    let settled = fleet.now.mono + Duration::from_secs(90);
    while fleet.step(settled) {}
    fleet.forget();
    let (processor, start) = (host::processor_time(), settled);
    while fleet.step(start + span) {}
    let processor = (host::processor_time() - processor).as_secs_f64();
    let still = fleet.rollouts.iter().filter_map(|rollout| rollout.core.record());
    assert!(still.into_iter().all(|record| kind.is_reached(&record.place)), "it stays {kind:?}");
    Load {
        turns: fleet.turns,
        processor,
        seconds: span.as_secs_f64(),
        resident: host::resident(),
        before,
        looks: fleet.looks,
        requests: fleet.requests,
        requests_max: fleet.by_second.values().copied().max().unwrap_or(0),
    }
}

// === impl Seed ===

impl Seed {
    /// Returns what the store has of a rollout like this one, with a plan of its own.
    #[must_use]
    pub fn stored(&self, written: &Written) -> Stored {
        let mut record = self.record.clone();
        record.plan = Some(written.plan.clone());
        let entries = written.plan.entries.iter().map(|entry| HeaderEntry {
            name: entry.name.clone(),
            kind: entry.kind.clone(),
            settings: entry.settings.clone(),
        });
        record.header.entries = entries.collect();
        Stored { version: record.version, bytes: codec::encode(&record) }
    }
}

// === impl Fleet ===

impl Fleet {
    fn new() -> Self {
        let wall = Timestamp::from_second(1_760_000_000).expect("within the calendar");
        Self {
            rollouts: Vec::new(),
            queue: BinaryHeap::new(),
            now: Now { wall, mono: Duration::from_secs(1_000), boot: 1 },
            turns: 0,
            looks: 0,
            requests: 0,
            by_second: BTreeMap::new(),
        }
    }

    fn forget(&mut self) {
        (self.turns, self.looks, self.requests) = (0, 0, 0);
        self.by_second.clear();
    }

    fn add(&mut self, written: &Written, stored: Option<Stored>, traffic: Traffic) {
        let (core, _) = Core::new(written.id.clone(), self.now);
        self.rollouts.push(Rollout { core, traffic, queued: None });
        let at = self.rollouts.len() - 1;
        self.feed(at, Input::Lease(LeaseSeen::Held { term: 1 }));
        self.feed(at, Input::Spec(written.seen(Intent::default())));
        self.feed(at, Input::Loaded(Ok(stored)));
    }

    /// Wakes whoever is due next, unless that is later than `end`. Returns whether it did.
    fn step(&mut self, end: Duration) -> bool {
        let Some(Reverse((at, index))) = self.queue.peek().copied() else { return false };
        if at > end {
            self.advance(end);
            return false;
        }
        self.queue.pop();
        if self.rollouts[index].queued == Some(at) {
            self.advance(at);
            self.rollouts[index].queued = None;
            self.feed(index, Input::Tick);
        }
        true
    }

    fn pass_to(&mut self, moment: Duration) {
        while self.step(moment) {}
        self.advance(moment);
    }

    fn advance(&mut self, to: Duration) {
        self.now = self.now.after(to.saturating_sub(self.now.mono));
    }

    /// Gives a loop an input, and then every answer to what it asks.
    fn feed(&mut self, index: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        let mut turns = 0;
        while let Some(input) = inputs.pop_front() {
            turns += 1;
            assert!(
                turns < TURNS_AT_ONCE_MAX,
                "the loop goes round in circles on {input:?}: {:?}",
                self.rollouts[index].core.record().map(|record| &record.place)
            );
            self.turns += 1;
            let commands = self.rollouts[index].core.handle(input, self.now);
            for command in commands {
                inputs.extend(self.answer(index, command));
            }
        }
        let rollout = &mut self.rollouts[index];
        let Some(wake) = rollout.core.wake_at() else { return };
        let wake = wake.max(self.now.mono + Duration::from_micros(1));
        if rollout.queued != Some(wake) {
            rollout.queued = Some(wake);
            self.queue.push(Reverse((wake, index)));
        }
    }

    fn answer(&mut self, index: usize, command: Command) -> Option<Input> {
        match command {
            Command::Load => Some(Input::Loaded(Ok(None))),
            Command::Swap(_) => Some(Input::Swapped(Swap::Won)),
            Command::Read { entry, id } => {
                let result = Ok(self.rollouts[index].traffic.reading());
                Some(Input::Read { entry, id, result })
            }
            Command::Write { entry, id, split, mark, .. } => {
                self.rollouts[index].traffic = Traffic { split, mark: Some(mark) };
                Some(Input::Written { entry, id, result: Ok(()) })
            }
            Command::Accompany { entry, id, .. } => {
                Some(Input::Accompanied { entry, id, result: Ok(()) })
            }
            Command::Finish { entry } => Some(Input::Finished { entry, result: Ok(()) }),
            Command::Look { key, question, look, .. } => {
                self.looks += 1;
                self.asked(http_requests(&question));
                let sample = sample(&question, look.window);
                Some(Input::Looked { key, sample })
            }
            Command::Facts { source, .. } => {
                // The time, and the list of targets.
                self.asked(2);
                Some(Input::Facts { source, facts: Ok(facts()) })
            }
            Command::Revisions { side, .. } => {
                self.asked(1);
                let revision = if side == SideName::from("green") { "v2" } else { "v1" };
                Some(Input::Revisions { side, revisions: Ok(vec![revision.into()]) })
            }
            Command::Delete
            | Command::Release
            | Command::Gate(_)
            | Command::Answer { .. }
            | Command::Tell(_)
            | Command::Notice(_)
            | Command::Stop => None,
        }
    }

    fn asked(&mut self, count: u64) {
        self.requests += count;
        *self.by_second.entry(self.now.mono.as_secs()).or_default() += count;
    }
}

// === impl Traffic ===

impl Traffic {
    /// Reads it.
    #[must_use]
    pub fn reading(&self) -> Reading {
        Reading {
            side: self.split.side.clone(),
            lowest: self.split.share,
            highest: self.split.share,
            parts: Vec::new(),
            acknowledged: Acknowledged::Programmed,
            settled: true,
            measured: None,
            mark: self.mark,
            writer: None,
            health: (Health::Ready { ready: 3, wanted: 3 }, Health::Ready { ready: 3, wanted: 3 }),
            company: Vec::new(),
        }
    }
}

// === impl Load ===

impl Load {
    /// Returns how much of one core the fleet takes, in percent.
    #[must_use]
    pub fn core_percent(&self) -> f64 {
        100.0 * self.processor / self.seconds
    }

    /// Returns how many turns a second of processor time suffices for.
    #[must_use]
    pub fn turns_per_second(&self) -> f64 {
        self.turns as f64 / self.processor
    }

    /// Writes it for the process that asked.
    #[must_use]
    pub fn to_line(&self) -> String {
        json!([
            self.turns,
            self.processor,
            self.seconds,
            self.resident,
            self.before,
            self.looks,
            self.requests,
            self.requests_max
        ])
        .to_string()
    }

    /// Reads what [`Self::to_line`] wrote.
    #[must_use]
    pub fn from_line(line: &str) -> Option<Self> {
        type Line = (u64, f64, f64, u64, u64, u64, u64, u64);
        let (turns, processor, seconds, resident, before, looks, requests, requests_max) =
            serde_json::from_str::<Line>(line).ok()?;
        Some(Self { turns, processor, seconds, resident, before, looks, requests, requests_max })
    }
}

/// What the source of this world says of itself.
#[must_use]
pub fn facts() -> SourceFacts {
    SourceFacts {
        clock_ahead: SignedDuration::ZERO,
        scrape: Some(Duration::from_secs(15)),
        delay: Duration::ZERO,
    }
}

/// A good answer to a pinned question.
#[must_use]
pub fn sample(question: &str, window: haldane_model::Window) -> Sample {
    let is_ratio = question.contains("\"ratio\"");
    let answer = match is_ratio {
        true => Answer::Ratio { part: Some(3.0), total: Some(6_000.0) },
        false => Answer::Value(0.12),
    };
    Sample {
        window,
        scrape: Duration::from_secs(15),
        share: None,
        answer,
        count: Some(6_000.0),
        serving_count: Some(54_000.0),
        targets_down: false,
    }
}

/// How many HTTP requests a pinned question takes, as the Prometheus source asks it: the parts of
/// the question, and one with the roles exchanged.
fn http_requests(question: &str) -> u64 {
    let question: Value = serde_json::from_str(question).expect("a pinned question reads back");
    let ask = question["sides"]["green"]["ask"].as_object();
    let parts = ask.and_then(|ask| ask.values().next()?.as_object()).map_or(0, |ask| ask.len());
    parts as u64 + u64::from(question["exchange"] == Value::Bool(true))
}
