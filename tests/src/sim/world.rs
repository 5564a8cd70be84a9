//! Time, processes and what happens next.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use haldane_model::{
    AlertSeen, Direction, EntryName, Health, LeaseSeen, Mark, Now, Outcome, Place, Plan, Request,
    RequestId, RolloutId, SpecSeen, Weight,
};
use haldane_runtime::{
    Command, Core, Input, LookKey,
    ports::{Swap, SwapRequest},
};
use haldane_sources::Look;
use jiff::Timestamp;

use super::{
    Ended, Rng, Shape, Weather, cover::Cover, plan, provider::Lane, source::Mood, store::Kept,
    truth::Truth,
};

/// Where the wall clock begins.
const EPOCH: i64 = 1_760_000_000_000;

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
    /// A fault or a change around the rollout, by its number in `faults`.
    Change(u32),
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
    /// Every command by name, for claims.
    pub sent: Vec<(u64, String)>,
    /// How swaps are answered while this is set.
    pub store_fault: Option<&'static str>,
    pub(super) kept: Kept,
    pub(super) dead: BTreeSet<usize>,
    queue: BTreeMap<(u64, u64), Ev>,
    order: u64,
    tracing: bool,
    trace: Vec<String>,
    pub(super) violation: Option<String>,
    cover: Cover,
    inputs: u64,
    at_peace: bool,
}

// === impl World ===

impl World {
    /// Makes a world in which nothing goes wrong.
    #[must_use]
    pub fn new(rng: Rng, shape: Shape, tracing: bool) -> Self {
        let plan: Arc<Plan> = plan(&shape);
        let ready = Health::Ready { ready: 2, wanted: 2 };
        let lanes = shape
            .parts
            .iter()
            .map(|parts| Lane { parts: vec![(Weight::ZERO, None); *parts], changed_at: 0 });
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

    /// The source keeps the true time, whatever the engine's clock says.
    pub(super) fn true_time(&self, wall: Timestamp) -> u64 {
        u64::try_from(wall.as_millisecond() - EPOCH).unwrap_or(0)
    }

    /// Plans something for later.
    pub fn push(&mut self, delay: u64, ev: Ev) {
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
            let (low, high) = self.true_share();
            self.pass(until - self.now, low, high);
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
            let (low, high) = self.true_share();
            self.pass(at - self.now, low, high);
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
            Ev::ReadNow { proc, entry } => self.read_now(proc, entry),
            Ev::LookNow { proc, key, look } => self.look_now(proc, *key, &look),
            Ev::Land { proc, lane, part, share, mark, direction } => {
                if self.dead.contains(&proc) {
                    return;
                }
                self.log(|| format!("LANDS entry{lane}/{part} {share} {mark:?} {direction:?}"));
                if Some(proc) != self.leader() {
                    // To the leader a predecessor's write is as unforeseen as a stranger's.
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
            Ev::Start => self.start_process(),
            Ev::Deposed(proc) => {
                let term = self.kept.newest_term;
                self.handle(proc, Input::Lease(LeaseSeen::Other { term }));
            }
        }
    }

    // --- processes ---

    /// Starts a process in a new term; older ones that live are not told.
    pub fn start_process(&mut self) {
        self.kept.newest_term += 1;
        let term = self.kept.newest_term;
        let boot = (self.procs.len() as u64 + 1, self.now.saturating_sub(1_000));
        let proc = self.procs.len();
        self.procs.push(Proc { core: None, term, boot, spins: 0 });
        let (core, commands) = Core::new(RolloutId::new("shop", "checkout"), self.clock(proc));
        self.procs[proc].core = Some(core);
        self.log(|| format!("START process {proc} term {term}"));
        for older in 0..proc {
            // Whoever lost the lease hears so in the end, if it lives to.
            if self.procs[older].core.is_some() {
                let delay = self.rng.range(10, 15_000);
                self.push(delay, Ev::Deposed(older));
            }
        }
        self.execute(proc, commands);
        let (spec, alerts) = (self.spec.clone(), self.alerts.clone());
        self.input_in(proc, 5, Input::Spec(spec));
        self.input_in(proc, 8, Input::Lease(LeaseSeen::Held { term }));
        self.input_in(proc, 9, Input::Alerts(alerts));
        for request in self.requests.values().cloned().collect::<Vec<_>>() {
            self.input_in(proc, 30, Input::Request(request));
        }
    }

    /// Kills a process. What it sent may still arrive, or not.
    pub fn kill(&mut self, proc: usize, loses_writes: bool) {
        let Some(core) = self.procs[proc].core.take() else { return };
        self.log(|| format!("KILL process {proc}, writes lost: {loses_writes}"));
        self.check_loss(&core);
        if loses_writes {
            self.dead.insert(proc);
        }
    }

    /// Returns the youngest living process.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        (0..self.procs.len())
            .rev()
            .find(|proc| self.procs[*proc].core.as_ref().is_some_and(|core| !core.is_stopped()))
    }

    /// Returns the youngest living loop.
    #[must_use]
    pub fn core(&self) -> Option<&Core> {
        self.leader().and_then(|proc| self.procs[proc].core.as_ref())
    }

    /// Returns where the rollout is, by the youngest living process.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.core()?.record().map(|record| &record.place)
    }

    /// Hands an input to every living process.
    pub fn tell_all(&mut self, input: impl Fn() -> Input) {
        for proc in 0..self.procs.len() {
            if self.procs[proc].core.is_some() {
                self.input_in(proc, 3, input());
            }
        }
    }

    /// Hands an input to a process, and executes what it asks for.
    pub fn handle(&mut self, proc: usize, input: Input) {
        let now = self.clock(proc);
        let Some(mut core) = self.procs[proc].core.take() else { return };
        self.inputs += 1;
        if self.tracing && !matches!(input, Input::Tick) {
            let text = brief(format!("{input:?}"));
            self.log(|| format!("  -> {proc}: {text}"));
        }
        let expectation = self.expect(&core, &input);
        let before = core.record().map(|record| record.state());
        let commands = core.handle(input, now);
        if self.tracing {
            let after = core.record().map(|record| (record.place.clone(), record.holds.clone()));
            if core.record().map(|record| record.state()) != before {
                self.log(|| format!("  == {proc}: {}", brief(format!("{after:?}"))));
            }
        }
        self.check_turn(proc, &core, &expectation, &commands);
        self.procs[proc].core = Some(core);
        self.execute(proc, commands);
    }

    fn execute(&mut self, proc: usize, commands: Vec<Command>) {
        for command in commands {
            if self.procs[proc].core.is_none() {
                return;
            }
            self.commands += 1;
            let kill = self.kill_at.filter(|(at, _)| *at == self.commands);
            if let Some((_, false)) = kill {
                self.killed(proc);
                return;
            }
            self.perform(proc, command);
            if kill.is_some() {
                self.killed(proc);
                return;
            }
        }
    }

    fn killed(&mut self, proc: usize) {
        self.kill(proc, false);
        self.push(2_000, Ev::Start);
    }

    fn perform(&mut self, proc: usize, command: Command) {
        if self.tracing {
            let text = brief(format!("{command:?}"));
            self.log(|| format!("  <- {proc}: {text}"));
        }
        match command {
            Command::Load => self.load(proc),
            Command::Swap(request) => self.swap(proc, request),
            Command::Delete => {
                self.kept.forget();
                self.truth.gone = true;
            }
            Command::Read { entry } => self.read(proc, entry),
            Command::Write { entry, id, split, direction, mark } => {
                self.sent.push((self.now, format!("{direction:?} {}", split.share)));
                self.check_write(proc, &split, direction, mark);
                self.write(proc, entry, id, &split, direction, mark);
            }
            Command::Finish { entry } => {
                let failed = self.stormy() && self.rng.chance(self.weather.provider);
                let error = || haldane_providers::Error::Unavailable("busy".to_owned());
                let result = if failed { Err(error()) } else { Ok(()) };
                self.input_in(proc, 50, Input::Finished { entry, result });
            }
            Command::Look { key, look, .. } => {
                self.sent.push((self.now, format!("Look {}", key.window.end)));
                self.look(proc, key, look);
            }
            Command::Facts { source, .. } => self.facts(proc, source),
            Command::Revisions { side, .. } => {
                let runs = self.runs[usize::from(side.as_str() == "green")].clone();
                let revisions = match self.mood {
                    Mood::Hung => return,
                    Mood::Broken => Err("502".to_owned()),
                    Mood::Good | Mood::Empty | Mood::Lost => Ok(vec![runs.as_str().into()]),
                };
                self.input_in(proc, 20, Input::Revisions { side, revisions });
            }
            Command::Answer { id, outcome } => self.answered(id, outcome),
            Command::Tell(entry) => self.check_told(&entry),
            Command::Gate(_) | Command::Release | Command::Notice(_) | Command::Stop => {}
        }
    }

    // --- the store ---

    fn load(&mut self, proc: usize) {
        let fails =
            self.store_fault.is_some() || self.stormy() && self.rng.chance(self.weather.store);
        let (delay, loaded) = if fails {
            (500, Err("the store is away".to_owned()))
        } else {
            (10, Ok(self.kept.load()))
        };
        self.input_in(proc, delay, Input::Loaded(loaded));
    }

    fn swap(&mut self, proc: usize, request: SwapRequest) {
        let delay = self.rng.range(2, 60);
        let request = Box::new(request);
        let unknown = || Some(Swap::Unknown("time-out".to_owned()));
        let drawn = if self.stormy() && self.rng.chance(self.weather.store) {
            self.rng.range(0, 5)
        } else {
            match self.store_fault {
                Some("hung") => 2,
                Some("lost") => 1,
                Some("landed") => 0,
                Some("stale") => 4,
                Some(_) | None => 9,
            }
        };
        match drawn {
            0 => {
                self.cover("store unknown");
                self.push(delay, Ev::Swap { proc, request, answer: unknown(), delay: 100 });
            }
            1 => {
                self.cover("store unknown");
                let why = "disk full".to_owned();
                self.input_in(proc, delay, Input::Swapped(Swap::Unknown(why)));
            }
            2 => {
                self.cover("store hung");
                let why = "the store did not answer".to_owned();
                self.input_in(proc, 2_000, Input::Swapped(Swap::Unknown(why)));
            }
            3 => {
                // Hangs past its deadline and lands all the same, before the next load can look.
                self.cover("store hung");
                self.push(1_990, Ev::Swap { proc, request, answer: unknown(), delay: 10 });
            }
            4 => {
                self.cover("store stale");
                self.kept.edit();
                self.push(delay, Ev::Swap { proc, request, answer: None, delay: 5 });
            }
            _ => self.push(delay, Ev::Swap { proc, request, answer: None, delay: 5 }),
        }
    }

    fn swap_now(&mut self, proc: usize, request: &SwapRequest) -> Swap {
        let last = self.kept.journal.last_key_value().map_or(0, |(id, _)| *id);
        let (answer, before) = self.kept.swap(request);
        self.log(|| format!("STORE {proc} v{} {answer:?}", request.version));
        if answer == Swap::Won {
            self.check_record(before.as_ref(), request, last);
            let first = before.is_some_and(|before| before.attempt == 0);
            if first && self.kept.record.as_ref().is_some_and(|record| record.attempt > 0) {
                self.name_no_more();
            }
        }
        answer
    }

    // --- the end, and on the way ---

    /// Whether things go wrong by chance now.
    #[must_use]
    pub fn stormy(&self) -> bool {
        !self.at_peace && self.now < self.peace_at
    }

    pub(super) fn calm(&mut self) {
        self.at_peace = true;
    }

    /// Writes a line of the history.
    pub fn log(&mut self, line: impl FnOnce() -> String) {
        if self.tracing {
            let at = self.now;
            self.trace.push(format!("{:>8}.{:03} {}", at / 1_000, at % 1_000, line()));
        }
    }

    /// Something promised was broken.
    pub fn break_claim(&mut self, what: String) {
        self.log(|| format!("BROKEN {what}"));
        self.violation.get_or_insert(what);
    }

    /// Returns what was broken.
    #[must_use]
    pub fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// Returns the history so far.
    #[must_use]
    pub fn trace(&self) -> &[String] {
        &self.trace
    }

    /// Returns the journal as it is kept.
    pub fn journal(&self) -> impl Iterator<Item = &haldane_model::JournalEntry> {
        self.kept.journal.values()
    }

    /// Returns the record as it is kept.
    #[must_use]
    pub fn kept_record(&self) -> Option<&haldane_model::Record> {
        self.kept.record.as_ref()
    }

    /// Counts a fault where it meets the rollout.
    pub(super) fn cover(&mut self, fault: &'static str) {
        let Some(core) = self.core() else { return };
        let Some(record) = core.record() else { return };
        let state = record.state();
        let verdict = core.seen().checks.values().next().map(|seen| seen.verdict);
        self.cover.note(state, fault, verdict);
    }

    /// Ends the history.
    #[must_use]
    pub fn end(mut self) -> Ended {
        let end = match (&self.violation, self.place()) {
            (Some(_), _) => "broken".to_owned(),
            (None, None) => "gone".to_owned(),
            (None, Some(place)) => format!("{:?}", place.state()),
        };
        *self.cover.ends.entry(end).or_default() += 1;
        let Self { violation, trace, cover, inputs, .. } = self;
        Ended { violation, trace, cover, inputs }
    }
}

/// Shortens a debug print: plans and settings say nothing new.
fn brief(mut text: String) -> String {
    if let Some(at) = text.find("plan: Plan") {
        text.truncate(at);
    }
    if let Some(at) = text.find("bytes: [") {
        let end = text[at..].find(']').map_or(text.len(), |end| at + end);
        text.replace_range(at..end, "bytes: [..");
    }
    text.chars().take(700).collect()
}
