//! The environment of the model check: the data plane, the sides, the sources, people and faults.
//!
//! A state is small and relative: the moment is always the same one, and time that passes moves
//! everything that is remembered into the past instead, up to a horizon. Numbers of versions and
//! marks are replaced by their rank. So the space is finite.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use haldane_machine_tests::world::{BLUE, Column, EDGE, ERRORS, GREEN, World, ada, moment, ready};
use haldane_model::{
    AlertAction, GateAnswer, Health, HoldKind, LeaseSeen, Mark, Now, Place, Plan, Record, Request,
    Seen, SpecSeen, Stamp, Verb, Verdict, Weight, Window,
};
use jiff::{SignedDuration, Timestamp};

/// One tick: longer than a write, as long as a bake, and a fifth of the memory of foreign writes.
pub(crate) const TICK: Duration = Duration::from_secs(60);
/// Nothing is remembered as older than this; foreign writes are forgotten before.
const HORIZON: i64 = 60 * 6;
/// Where nothing asks for more than whether it was in this bake, or before the last look.
const NEAR: i64 = 60 * 3;

/// How many faults of each kind the environment may still commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// The process dies, or the machine restarts.
    pub(crate) crash: u8,
    /// A swap is not simply won.
    pub(crate) swap: u8,
    /// A write is lost, lands twice, or lands late.
    pub(crate) write: u8,
    /// Somebody else writes to the split.
    pub(crate) foreign: u8,
    /// A person asks.
    pub(crate) request: u8,
    /// A verdict other than a current Pass.
    pub(crate) verdict: u8,
    /// A side dies, comes back, or shows another revision.
    pub(crate) side: u8,
    /// The file is edited, broken, paused or deleted.
    pub(crate) spec: u8,
    /// The lease becomes unsure, or sure again.
    pub(crate) lease: u8,
    /// A clock is stepped.
    pub(crate) clock: u8,
    /// An alert fires, or is resolved.
    pub(crate) alert: u8,
}

/// A write of ours that has not been answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Flying {
    /// The share of green that it asks for.
    pub(crate) green: Weight,
    pub(crate) mark: Mark,
    pub(crate) attempt: u32,
}

/// What a source last said.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Said {
    pub(crate) verdict: Verdict,
    /// In ticks.
    pub(crate) age: u8,
    pub(crate) attempt: u32,
    pub(crate) revision: Option<haldane_model::Revision>,
    pub(crate) at_rest: bool,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Written {
    Valid,
    Edited,
    Paused,
    Invalid,
    Deleted,
}

/// The world outside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Env {
    /// The share of green.
    pub(crate) green: Weight,
    pub(crate) mark: Option<Mark>,
    /// Since how many ticks this share and mark are read; 2: long.
    pub(crate) read_for: u8,
    /// Every newly read write is its own, though it shows the same numbers.
    pub(crate) flying: Vec<Flying>,
    /// A clean-up was asked for, and its answer, for one turn.
    pub(crate) finishing: bool,
    pub(crate) finished: Option<bool>,
    pub(crate) blue_up: bool,
    pub(crate) green_up: bool,
    pub(crate) blue_shows: u8,
    pub(crate) green_shows: u8,
    pub(crate) said: Option<Said>,
    pub(crate) written: Written,
    pub(crate) lease_sure: bool,
    pub(crate) newer_term: bool,
    pub(crate) gate_open: bool,
    pub(crate) requests: Vec<Request>,
    /// Whether it fires, and since how many ticks.
    pub(crate) alert: Option<(AlertAction, u8)>,
    /// A rollback of ours is on the data plane for this attempt, and nothing of ours came after it.
    pub(crate) rolled: Option<u32>,
    pub(crate) signed: bool,
}

/// One state of the whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// What survives a crash.
    pub(crate) stored: Record,
    /// What the engine has in memory.
    pub(crate) memory: Record,
    pub(crate) env: Env,
    pub(crate) budget: Budget,
    pub(crate) gone: bool,
}

/// The moment of every turn.
pub(crate) fn now() -> Now {
    moment(100_000)
}

/// Where every exploration begins: blue serves v1, green shows v2, the split was read.
pub(crate) fn begin(plan: &Plan, budget: Budget) -> State {
    let world = World::with(Column::Pending, plan.clone());
    let mut record = world.record;
    let signed = plan.entries[0].signed;
    if !signed {
        record.marks.clear();
    }
    record.ticked.now = now();
    let env = Env {
        green: Weight::ZERO,
        mark: record.marks.get(&EDGE.into()).copied(),
        read_for: 2,
        flying: Vec::new(),
        finishing: false,
        finished: None,
        blue_up: true,
        green_up: true,
        blue_shows: 1,
        green_shows: 2,
        said: None,
        written: Written::Valid,
        lease_sure: true,
        newer_term: false,
        gate_open: false,
        requests: Vec::new(),
        alert: None,
        rolled: None,
        signed,
    };
    State { stored: record.clone(), memory: record, env, budget, gone: false }
}

// === impl Env ===

impl Env {
    /// The share of the side under test.
    pub(crate) fn share(&self, record: &Record) -> Weight {
        if record.header.test == GREEN.into() { self.green } else { self.green.complement() }
    }

    /// A write of ours lands.
    pub(crate) fn land(&mut self, write: &Flying) {
        let mark = self.signed.then_some(write.mark);
        if write.green != self.green || mark != self.mark {
            self.read_for = 0;
        }
        self.green = write.green;
        self.mark = mark;
        let rollback = mark.is_some_and(|mark| mark == Mark::rollback(mark.number));
        self.rolled = rollback.then_some(write.attempt);
    }

    /// A write of ours is sent; it lands when it likes.
    pub(crate) fn send(&mut self, record: &Record, to: Weight, mark: Mark) {
        let green = if record.header.test == GREEN.into() { to } else { to.complement() };
        let write = Flying { green, mark, attempt: record.attempt };
        if !self.flying.contains(&write) {
            self.flying.push(write);
        }
        let surplus = self.flying.len().saturating_sub(3);
        self.flying.drain(..surplus);
    }

    /// Puts a share, by somebody else, who leaves our signature alone.
    pub(crate) fn foreign(&mut self, green: Weight) {
        self.green = green;
        self.read_for = 0;
    }

    fn spec(&self, plan: &Arc<Plan>) -> SpecSeen {
        let valid = |plan: Arc<Plan>, paused| SpecSeen::Valid {
            plan,
            paused,
            revision: None,
            named: false,
            adopt: false,
        };
        match self.written {
            Written::Valid => valid(plan.clone(), false),
            Written::Paused => valid(plan.clone(), true),
            Written::Edited => {
                let mut edited = (**plan).clone();
                edited.hash = "1:edited".into();
                edited.steps[0].bake = TICK * 2;
                valid(Arc::new(edited), false)
            }
            Written::Invalid => SpecSeen::Invalid { message: "steps".to_owned() },
            Written::Deleted => SpecSeen::Deleted,
        }
    }

    /// What an engine with this record sees.
    pub(crate) fn seen(&self, record: &Record, plan: &Arc<Plan>) -> Seen {
        let world = World { record: record.clone(), seen: Seen::default(), now: now() };
        let age = u32::from(self.read_for) * 60;
        let mut world = world.reads(self.share(record), self.mark, 100_000 - age);
        for (side, up, shows) in
            [(BLUE, self.blue_up, self.blue_shows), (GREEN, self.green_up, self.green_shows)]
        {
            let revision = format!("v{shows}");
            world = world.shows(side, &[&revision]);
            world = world.health(side, if up { ready() } else { Health::Down });
        }
        world.seen.spec = Some(self.spec(plan));
        let term = record.term + u64::from(self.newer_term);
        world.seen.lease =
            Some(if self.lease_sure { LeaseSeen::Held { term } } else { LeaseSeen::Unsure });
        if let Some(said) = &self.said {
            world = world.verdict_on(said.verdict, said.window());
            // Where a check has a phase of its own, it alone is odd: the other one passes all along.
            if plan.checks.len() > 1 {
                let pass = world.clone().verdict_on(Verdict::Pass, said.window());
                world.seen.checks.insert(ERRORS.into(), pass.seen.checks[&ERRORS.into()].clone());
            }
            for check in world.checks() {
                check.attempt = said.attempt;
                check.revision = said.revision.clone();
                check.at_rest = said.at_rest;
            }
        }
        if let Some((action, age)) = self.alert {
            world = world.fires(action, i64::from(age) * 60);
        }
        if self.gate_open {
            world = world.gate("qa", GateAnswer::Open);
        }
        if let Some(done) = self.finished {
            let answer = if done { Ok(()) } else { Err("409".to_owned()) };
            world.seen.finished.insert(EDGE.into(), answer);
        }
        world.seen.requests = self.requests.clone();
        world.seen
    }

    /// A source answers now, about what this record is about.
    pub(crate) fn say(&mut self, record: &Record, verdict: Verdict) {
        self.said = Some(Said {
            verdict,
            age: 0,
            attempt: record.attempt,
            revision: record.revision.clone(),
            at_rest: matches!(record.place, Place::Pending { .. }),
        });
    }

    /// A person asks now.
    pub(crate) fn ask(&mut self, record: &Record, verb: Verb, attempt: u32) {
        let id = format!("{}-{attempt}", verb.word());
        self.requests.push(Request {
            id: id.into(),
            verb,
            revision: record.revision.clone(),
            attempt: Some(attempt),
            step: record.step(),
            reason: None,
            actor: ada(),
            at: now().wall,
        });
    }
}

impl Said {
    pub(crate) fn window(&self) -> Window {
        let end = past(now().wall, i64::from(self.age) * 60);
        Window { begin: past(end, 60), end }
    }
}

fn past(at: Timestamp, secs: i64) -> Timestamp {
    at.checked_sub(SignedDuration::from_secs(secs)).expect("within the calendar")
}

// === time, and the canonical form ===

/// Moves all that is remembered into the past, up to the horizon; `mono` alike unless the wall
/// alone was stepped.
pub(crate) fn age(record: &mut Record, secs: i64, mono: bool) {
    let within = |at: Timestamp, oldest: i64| {
        past(at, secs).clamp(past(now().wall, oldest), past(now().wall, -HORIZON))
    };
    let shift = |at: &mut Timestamp| *at = within(*at, NEAR);
    let stamp = |at: &mut Stamp| at.wall = within(at.wall, NEAR);
    shift(&mut record.ticked.now.wall);
    if mono {
        let elapsed = Duration::from_secs(secs.unsigned_abs());
        let floor = now().mono - Duration::from_secs(NEAR.unsigned_abs());
        let then = record.ticked.now.mono.saturating_sub(elapsed);
        record.ticked.now.mono = then.max(floor);
    }
    record.foreign.iter_mut().for_each(|at| *at = within(*at, HORIZON));
    record.judged_to.values_mut().for_each(shift);
    record.alerts.iter_mut().for_each(|alert| shift(&mut alert.starts_at));
    for hold in &mut record.holds {
        if let HoldKind::Conflict { undone: Some(at) } = &mut hold.kind {
            shift(at);
        }
    }
    record.exposed.could.iter_mut().for_each(stamp);
    record.exposed.confirmed.iter_mut().for_each(stamp);
    record.in_force.values_mut().for_each(stamp);
    match &mut record.place {
        // No gate expires here, and nobody asks how long a rollback took.
        Place::Waiting { .. } | Place::RollingBack { .. } => {}
        Place::Shifting { restore, .. } | Place::Watching { restore, .. } => {
            restore.iter_mut().for_each(stamp);
        }
        Place::Baking { from, done_at, .. } => {
            stamp(from);
            done_at.iter_mut().for_each(stamp);
        }
        Place::Pending { .. }
        | Place::Promoting { .. }
        | Place::Healthy
        | Place::Degraded { .. } => {}
    }
}

// === impl State ===

impl State {
    /// Replaces what grows without meaning: ids, versions and marks by their ranks, spans by their
    /// limits.
    pub(crate) fn canonical(mut self, plan: &Plan) -> Self {
        let mut numbers: BTreeSet<u64> = BTreeSet::new();
        for record in [&self.stored, &self.memory] {
            numbers.insert(record.version);
            numbers.extend(record.marks.values().map(|mark| mark.number));
        }
        numbers.extend(self.env.mark.iter().map(|mark| mark.number));
        numbers.extend(self.env.flying.iter().map(|write| write.mark.number));
        let ranks: Vec<u64> = numbers.into_iter().collect();
        let rank = |number: &mut u64| {
            *number = ranks.binary_search(number).map_or(0, |rank| rank as u64 + 1);
        };
        let newer = self.memory.term.max(self.stored.term);
        for record in [&mut self.stored, &mut self.memory] {
            rank(&mut record.version);
            record.marks.values_mut().for_each(|mark| rank(&mut mark.number));
            record.term -= newer - 1;
            record.next_entry = 1;
            // Only a short deadline is worth telling apart how much of it has passed.
            let late = plan.progress_deadline + plan.watch;
            record.progressed =
                if late > TICK * 20 { Duration::ZERO } else { record.progressed.min(late) };
            for hold in &mut record.holds {
                hold.since = now().wall;
            }
            if let Place::Waiting { since, .. } | Place::RollingBack { since, .. } =
                &mut record.place
            {
                *since = now().wall;
            }
            match &mut record.place {
                Place::Baking { baked, .. } => *baked = (*baked).min(TICK * 2),
                Place::Watching { watched, .. } => *watched = (*watched).min(plan.watch),
                Place::Pending { .. }
                | Place::Waiting { .. }
                | Place::Shifting { .. }
                | Place::Promoting { .. }
                | Place::Healthy
                | Place::RollingBack { .. }
                | Place::Degraded { .. } => {}
            }
        }
        self.env.mark.iter_mut().for_each(|mark| rank(&mut mark.number));
        self.env.flying.iter_mut().for_each(|write| rank(&mut write.mark.number));
        // A request that the store knows the answer to is not asked again; others keep theirs.
        let stored = self.stored.requests.clone();
        self.env.requests.retain(|request| !stored.iter().any(|(id, _)| *id == request.id));
        let open: Vec<_> = self.env.requests.iter().map(|request| request.id.clone()).collect();
        for record in [&mut self.stored, &mut self.memory] {
            record.requests.retain(|(id, _)| open.contains(id));
        }
        self
    }

    /// One tick passes: what does not land in time is lost, answers grow old.
    pub(crate) fn tick(&mut self) {
        age(&mut self.stored, 60, true);
        age(&mut self.memory, 60, true);
        self.env.read_for = (self.env.read_for + 1).min(2);
        if let Some(said) = &mut self.env.said {
            said.age += 1;
            if said.age > 1 {
                self.env.said = None;
            }
        }
        if let Some((_, age)) = &mut self.env.alert {
            *age = (*age + 1).min(3);
        }
    }
}
