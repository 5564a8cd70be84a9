//! All there is of a simulated world, its time, and what happens next.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use haldane_model::{
    AlertSeen, CheckName, Direction, EntryName, Health, LeaseSeen, Mark, Now, Outcome, Plan,
    Request, RequestId, SpecSeen, Weight,
};
use haldane_runtime::{
    Core, Input, LookKey,
    ports::{Swap, SwapRequest},
};
use haldane_sources::Look;
use jiff::Timestamp;

use super::{
    Rng, Shape, Weather,
    cover::Cover,
    faults::Change,
    gates::Answers,
    goal::Goal,
    plan,
    provider::{Lane, Pace},
    source::{Mood, SourceClock},
    store::Kept,
    truth::Truth,
};

/// Where the wall clock begins.
pub(super) const EPOCH: i64 = 1_760_000_000_000;

/// How much may be under way at once: what grows beyond it grows without end.
const QUEUE_MAX: usize = 2_000;

/// Everything that happens at a moment of its own.
#[derive(Debug)]
pub enum Ev {
    /// An input reaches a process.
    Input(usize, Box<Input>),
    /// A read takes place.
    ReadNow {
        /// Whose.
        proc: usize,
        /// Of what.
        entry: EntryName,
        /// Which.
        id: u64,
    },
    /// A look takes place.
    LookNow {
        /// Whose.
        proc: usize,
        /// Which.
        key: Box<LookKey>,
        /// Of what.
        look: Box<Look>,
    },
    /// A write takes effect on one part.
    Land {
        /// Whose.
        proc: usize,
        /// On which entry.
        lane: usize,
        /// On which part.
        part: usize,
        /// What.
        share: Weight,
        /// Signed how.
        mark: Option<Mark>,
        /// Which way.
        direction: Direction,
    },
    /// A swap reaches the store; the answer follows, true or not.
    Swap {
        /// Whose.
        proc: usize,
        /// What.
        request: Box<SwapRequest>,
        /// `None`: the true answer.
        answer: Option<Swap>,
        /// After how long it is answered.
        delay: u64,
    },
    /// A fault or a change around the rollout.
    Change(Change),
    /// A steered history is looked at.
    Nudge,
    /// A process starts.
    Start,
    /// A process hears that it lost its lease.
    Deposed(usize),
}

/// One process of the engine.
#[derive(Debug)]
pub struct Proc {
    /// Its loop; `None` once it died.
    pub core: Option<Core>,
    /// Its term.
    pub term: u64,
    /// Which boot its clock counts in, and since when.
    pub boot: (u64, u64),
    /// Ticks without time passing.
    pub(super) spins: u32,
}

/// The world.
#[derive(Debug)]
pub struct World {
    /// Dice.
    pub rng: Rng,
    /// What is rolled out.
    pub shape: Shape,
    /// How much goes wrong.
    pub weather: Weather,
    /// The true time, in milliseconds.
    pub now: u64,
    /// How far the wall clock is off.
    pub wall_off: i64,
    /// Until when things go wrong.
    pub peace_at: u64,
    /// The processes, oldest first.
    pub procs: Vec<Proc>,
    /// The traffic entries.
    pub lanes: Vec<Lane>,
    /// The health of blue and green.
    pub health: [Health; 2],
    /// What blue and green run.
    pub runs: [String; 2],
    /// The revision that is written.
    pub written: Option<String>,
    /// When each bad revision turns bad.
    pub bad: BTreeMap<String, u64>,
    /// How the source behaves.
    pub mood: Mood,
    /// How the source's clock goes.
    pub source_clock: SourceClock,
    /// Requests a second that testers send to green, whatever its share.
    pub testers: f64,
    /// How gates outside answer.
    pub gates: Answers,
    /// How long the data plane takes.
    pub pace: Pace,
    /// The cell of the table that this history is steered to.
    pub goal: Option<Goal>,
    /// A part that does not answer.
    pub silent_part: Option<usize>,
    /// What is written.
    pub spec: SpecSeen,
    /// The alerts that are known.
    pub alerts: Vec<AlertSeen>,
    /// Requests without an answer, which are sent again to a new process.
    pub requests: BTreeMap<RequestId, Request>,
    /// Every answer that was given.
    pub answers: BTreeMap<RequestId, Outcome>,
    /// The true truth.
    pub truth: Truth,
    /// Since when users saw which share.
    pub shares: Vec<(u64, Weight)>,
    /// Kills the process before this command, or after it.
    pub kill_at: Option<(u64, bool)>,
    /// How many commands were executed.
    pub commands: u64,
    /// Every write by name, and every question where the history is written down.
    pub sent: Vec<(u64, String)>,
    /// How swaps are answered while this is set.
    pub store_fault: Option<&'static str>,
    pub(super) kept: Kept,
    /// The look that each process waits for, by check, and until when.
    pub(super) waits: BTreeMap<(usize, CheckName), (LookKey, u64)>,
    pub(super) dead: BTreeSet<usize>,
    queue: BTreeMap<(u64, u64), Ev>,
    order: u64,
    pub(super) tracing: bool,
    pub(super) trace: Vec<String>,
    pub(super) violation: Option<String>,
    pub(super) cover: Cover,
    pub(super) inputs: u64,
    pub(super) at_peace: bool,
}

// === impl World ===

impl World {
    /// Makes a world in which nothing goes wrong.
    #[must_use]
    pub fn new(rng: Rng, shape: Shape, tracing: bool) -> Self {
        let plan: Arc<Plan> = plan(&shape);
        let ready = Health::Ready { ready: 2, wanted: 2 };
        let lanes = shape.parts.iter().map(|parts| Lane::new(*parts));
        let written = "r1".to_owned();
        let mut world = Self {
            rng,
            weather: Weather::default(),
            now: 1_000,
            wall_off: 0,
            peace_at: 600_000,
            procs: Vec::new(),
            lanes: lanes.collect(),
            health: [ready, ready],
            runs: ["r0".to_owned(), written.clone()],
            written: Some(written),
            bad: BTreeMap::new(),
            mood: Mood::Good,
            source_clock: SourceClock::default(),
            testers: 0.0,
            gates: Answers::default(),
            pace: Pace::default(),
            goal: None,
            silent_part: None,
            spec: SpecSeen::Invalid { message: String::new() },
            alerts: Vec::new(),
            requests: BTreeMap::new(),
            answers: BTreeMap::new(),
            truth: Truth::default(),
            shares: vec![(0, Weight::ZERO)],
            kill_at: None,
            commands: 0,
            sent: Vec::new(),
            store_fault: None,
            kept: Kept::default(),
            waits: BTreeMap::new(),
            dead: BTreeSet::new(),
            queue: BTreeMap::new(),
            order: 0,
            tracing,
            trace: Vec::new(),
            violation: None,
            cover: Cover::default(),
            inputs: 0,
            at_peace: false,
            shape,
        };
        world.spec = world.valid(&plan, false);
        world
    }

    /// Returns the file as it would be, valid.
    #[must_use]
    pub fn valid(&self, plan: &Arc<Plan>, paused: bool) -> SpecSeen {
        SpecSeen::Valid {
            plan: plan.clone(),
            paused,
            revision: self.written.as_deref().filter(|_| !self.shape.told).map(Into::into),
            // `haldane run` names what stands there, once; afterwards only what is new begins.
            named: self.shape.told && self.kept.record.as_ref().is_none_or(|r| r.attempt == 0),
            adopt: true,
        }
    }

    // --- time ---

    /// Returns what a process's clocks say.
    #[must_use]
    pub fn clock(&self, proc: usize) -> Now {
        let (boot, since) = self.procs[proc].boot;
        let wall = EPOCH + i64::try_from(self.now).unwrap_or(0) + self.wall_off;
        Now {
            wall: Timestamp::from_millisecond(wall).expect("within this century"),
            mono: Duration::from_millis(self.now - since),
            boot,
        }
    }

    /// Plans something for later.
    pub fn push(&mut self, delay: u64, ev: Ev) {
        if self.queue.len() > QUEUE_MAX {
            self.break_claim("what is under way grows without end".to_owned());
            return;
        }
        self.order += 1;
        self.queue.insert((self.now + delay, self.order), ev);
    }

    pub(super) fn input_in(&mut self, proc: usize, delay: u64, input: Input) {
        self.push(delay, Ev::Input(proc, Box::new(input)));
    }

    /// Lives until this time, or until something is broken.
    pub fn run_to(&mut self, until: u64) {
        while self.violation.is_none() && self.step(until) {}
        if self.now < until {
            self.pass(until - self.now);
            self.now = until;
        }
    }

    /// Lives until something is so; returns whether it came to be by this time.
    pub fn run_until(&mut self, until: u64, is_so: impl Fn(&Self) -> bool) -> bool {
        while self.violation.is_none() && !is_so(self) {
            if !self.step(until) {
                return false;
            }
        }
        self.violation.is_none()
    }

    fn wakes(&self) -> Option<(u64, usize)> {
        let wakes = self.procs.iter().enumerate().filter_map(|(index, proc)| {
            let at = proc.core.as_ref()?.wake_at()?;
            let at = proc.boot.1 + u64::try_from(at.as_micros().div_ceil(1_000)).ok()?;
            Some((at.max(self.now), index))
        });
        wakes.min()
    }

    fn step(&mut self, until: u64) -> bool {
        let next = self.queue.first_key_value().map(|(key, _)| key.0);
        let wake = self.wakes();
        let at = match (next, wake) {
            (Some(next), Some((wake, _))) => next.min(wake),
            (Some(next), None) => next,
            (None, Some((wake, _))) => wake,
            (None, None) => return false,
        };
        if at > until {
            return false;
        }
        if at > self.now {
            self.procs.iter_mut().for_each(|proc| proc.spins = 0);
            self.pass(at - self.now);
            self.now = at;
        }
        if next == Some(at) {
            if let Some((_, ev)) = self.queue.pop_first() {
                self.happen(ev);
            }
        } else if let Some((_, proc)) = wake {
            self.procs[proc].spins += 1;
            if self.procs[proc].spins > 60 {
                self.break_claim(format!("process {proc} spins: it wakes without end"));
            }
            self.handle(proc, Input::Tick);
        }
        true
    }

    fn happen(&mut self, ev: Ev) {
        match ev {
            Ev::Input(proc, input) => self.handle(proc, *input),
            Ev::ReadNow { proc, entry, id } => self.read_now(proc, entry, id),
            Ev::LookNow { proc, key, look } => self.look_now(proc, *key, &look),
            Ev::Land { proc, lane, part, share, mark, direction } => {
                if self.dead.contains(&proc) {
                    return;
                }
                self.log(|| format!("LANDS entry{lane}/{part} {share} {mark:?} {direction:?}"));
                if Some(proc) != self.leader() || self.is_late(proc, direction) {
                    // To the leader a predecessor's write, or a raise that it took back, is as
                    // unforeseen as a stranger's.
                    self.truth.unseen += 12_000;
                }
                self.land(lane, part, share, mark);
            }
            Ev::Swap { proc, request, answer, delay } => {
                if self.dead.contains(&proc) {
                    return;
                }
                let truth = self.swap_now(proc, &request);
                self.input_in(proc, delay, Input::Swapped(answer.unwrap_or(truth)));
            }
            Ev::Change(which) => self.change(which),
            Ev::Nudge => self.nudge(),
            Ev::Start => self.start_process(),
            Ev::Deposed(proc) => {
                let term = self.kept.newest_term;
                self.handle(proc, Input::Lease(LeaseSeen::Other { term }));
            }
        }
    }
}
