//! What goes wrong, and when; and how peace is made.

use haldane_model::{
    AlertAction, AlertSeen, Health, HoldKind, LeaseSeen, Place, Request, SpecSeen, Verb, Weight,
};
use haldane_runtime::Input;

use super::{Ev, Rng, World, plan, source::Mood};

/// How often calls go wrong, in a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Calls to the store.
    pub store: u64,
    /// Calls to the provider.
    pub provider: u64,
    /// How many changes come on top.
    pub changes: u64,
}

/// How long a rollout may take once nothing goes wrong any more, in milliseconds.
const BOUND: u64 = 2_400_000;

// === impl Weather ===

impl Weather {
    /// Draws one.
    pub fn draw(rng: &mut Rng) -> Self {
        Self {
            store: rng.pick(&[0, 0, 20, 150]),
            provider: rng.pick(&[0, 0, 20, 150]),
            changes: rng.range(0, 14),
        }
    }
}

// === impl World ===

impl World {
    /// Plans the changes of a history.
    pub fn schedule_faults(&mut self) {
        self.peace_at = self.rng.pick(&[120_000, 240_000, 400_000]);
        if self.rng.chance(350) {
            let at = self.rng.range(0, 300_000);
            self.turns_bad("r1", at);
        }
        for _ in 0..self.weather.changes {
            let at = self.rng.range(500, self.peace_at);
            let which = u32::try_from(self.rng.range(0, 24)).unwrap_or(0);
            self.push(at, Ev::Change(which));
        }
    }

    pub(super) fn change(&mut self, which: u32) {
        if !self.stormy() {
            return;
        }
        self.log(|| format!("CHANGE {which}"));
        match which {
            0..=3 => self.crash(),
            4 | 5 => self.take_over(),
            6..=8 => self.interfere(),
            9 => self.toggle_health(),
            10 => self.step_clock(),
            11..=13 => {
                let moods = [Mood::Good, Mood::Empty, Mood::Broken, Mood::Hung, Mood::Lost];
                self.mood = self.rng.pick(&moods);
                let until = self.rng.range(5_000, 90_000);
                self.push(until, Ev::Change(14));
            }
            14 => self.mood = Mood::Good,
            15 => self.toggle_alert(),
            16 => self.edit(),
            17 => self.new_revision(),
            18 => {
                let lease = match self.rng.chance(500) {
                    true => LeaseSeen::Unsure,
                    false => LeaseSeen::Held { term: self.kept.newest_term },
                };
                if let Some(proc) = self.leader() {
                    self.handle(proc, Input::Lease(lease));
                }
            }
            19 => self.silent_part = self.rng.pick(&[None, Some(0), Some(1)]),
            _ => self.ask_something(),
        }
    }

    fn crash(&mut self) {
        let Some(proc) = self.leader() else { return };
        self.cover("crash");
        let loses = self.rng.chance(500);
        self.kill(proc, loses);
        let delay = self.rng.range(100, 15_000);
        self.push(delay, Ev::Start);
    }

    fn take_over(&mut self) {
        if self.leader().is_some() {
            self.cover("takeover");
            self.start_process();
        }
    }

    fn interfere(&mut self) {
        let lane = usize::try_from(self.rng.range(0, self.lanes.len() as u64)).unwrap_or(0);
        let is = self.lanes[lane].parts[0].0;
        let share = Weight::from_percent(self.rng.pick(&[0, 0, 3, 7, 30, 70, 100]));
        let share = share.expect("at most 100");
        if share == is {
            return;
        }
        self.cover(if share > is { "foreign raise" } else { "foreign lowering" });
        self.foreign(lane, share);
    }

    fn toggle_health(&mut self) {
        self.cover("health");
        let side = usize::from(self.rng.chance(500));
        let states = [Health::Down, Health::Untold, Health::Ready { ready: 1, wanted: 10 }];
        self.health[side] = match self.health[side] {
            Health::Down => Health::Ready { ready: 1, wanted: 2 },
            Health::Untold | Health::Ready { .. } => self.rng.pick(&states),
        };
    }

    fn step_clock(&mut self) {
        self.cover("clock");
        let by = self.rng.pick(&[-3_600_000, -20_000, 20_000, 3_600_000]);
        self.wall_off += by;
        self.truth.clock_stepped = true;
    }

    fn toggle_alert(&mut self) {
        if self.alerts.is_empty() {
            let Some(proc) = self.leader() else { return };
            let action =
                self.rng.pick(&[AlertAction::Block, AlertAction::Pause, AlertAction::Abort]);
            self.alerts.push(AlertSeen {
                fingerprint: format!("f{}", self.now),
                starts_at: self.clock(proc).wall,
                rule: "page".into(),
                action,
                firing: true,
            });
            self.push(30_000, Ev::Change(15));
        } else {
            self.alerts.clear();
        }
        let alerts = self.alerts.clone();
        self.tell_all(|| Input::Alerts(alerts.clone()));
    }

    fn edit(&mut self) {
        self.shape.edit += 1;
        let plan = plan(&self.shape);
        self.spec = match self.rng.range(0, 7) {
            0 => SpecSeen::Invalid { message: "steps: empty".to_owned() },
            1 | 2 => self.valid(&plan, true),
            3 if self.rng.chance(300) => SpecSeen::Deleted,
            _ => self.valid(&plan, false),
        };
        self.publish();
    }

    pub(super) fn name_no_more(&mut self) {
        if let SpecSeen::Valid { named, .. } = &mut self.spec {
            *named = false;
            self.publish();
        }
    }

    fn publish(&mut self) {
        let spec = self.spec.clone();
        self.tell_all(|| Input::Spec(spec.clone()));
    }

    /// A new revision is put on the side that does not serve.
    pub fn new_revision(&mut self) {
        let revision = format!("r{}", self.now);
        let test = self.core().and_then(|core| Some(core.record()?.header.test.clone()));
        let green = test.is_none_or(|test| test.as_str() == "green");
        self.runs[usize::from(green)].clone_from(&revision);
        self.written = Some(revision);
        if matches!(self.spec, SpecSeen::Valid { .. }) {
            self.spec = self.valid(&plan(&self.shape), false);
            self.publish();
        }
    }

    fn ask_something(&mut self) {
        let verb = match self.rng.range(0, 10) {
            0 | 1 => {
                Verb::Promote { full: self.rng.chance(300), without_guards: self.rng.chance(300) }
            }
            2 => Verb::Skip,
            3 => Verb::Abort,
            4 | 5 => Verb::Pause,
            6 | 7 => Verb::Resume,
            8 => Verb::Retry { without: None },
            _ => Verb::Undo,
        };
        let stale = self.rng.chance(150);
        self.ask(verb, stale);
    }

    /// A person asks for something, now.
    pub fn ask(&mut self, verb: Verb, stale: bool) {
        let Some(proc) = self.leader() else { return };
        let Some(core) = self.procs[proc].core.as_ref() else { return };
        let Some(record) = core.record() else { return };
        let request = Request {
            id: format!("q{}", self.truth.asked).as_str().into(),
            verb,
            revision: record.revision.clone(),
            attempt: Some(record.attempt + u32::from(stale)),
            step: record.step(),
            reason: None,
            actor: haldane_model::Actor::Person("ann".to_owned()),
            at: self.clock(proc).wall,
        };
        self.truth.asked += 1;
        self.requests.insert(request.id.clone(), request.clone());
        if self.stormy() && self.rng.chance(200) {
            self.input_in(proc, 40, Input::Request(request.clone()));
        }
        self.handle(proc, Input::Request(request));
    }

    // --- peace ---

    /// Nothing goes wrong any more, and the truth settles.
    pub fn make_peace(&mut self) {
        self.log(|| "PEACE".to_owned());
        self.calm();
        self.mood = Mood::Good;
        self.silent_part = None;
        self.store_fault = None;
        self.health = [Health::Ready { ready: 2, wanted: 2 }; 2];
        self.alerts.clear();
        self.tell_all(|| Input::Alerts(Vec::new()));
        if self.spec != SpecSeen::Deleted {
            self.spec = self.valid(&plan(&self.shape), false);
        }
        self.publish();
        for from in self.bad.values_mut() {
            if *from > self.now {
                *from = u64::MAX;
            }
        }
        if self.leader().is_none() && !self.truth.gone {
            self.start_process();
        }
        if let Some(proc) = self.leader() {
            let term = self.procs[proc].term;
            self.input_in(proc, 5, Input::Lease(LeaseSeen::Held { term }));
            for request in self.requests.values().cloned().collect::<Vec<_>>() {
                self.input_in(proc, 6, Input::Request(request));
            }
        }
    }

    /// Lives until the rollout rests; a person resumes what only a person can resume.
    pub fn run_to_the_end(&mut self) {
        let until = self.now + BOUND;
        let mut at_rest = 0;
        while self.now < until && self.violation().is_none() && at_rest < 3 {
            let next = self.now + 20_000;
            self.run_to(next);
            if self.truth.gone {
                return;
            }
            if self.leader().is_none() {
                self.start_process();
                continue;
            }
            at_rest = if self.is_at_rest() { at_rest + 1 } else { 0 };
            self.help();
        }
        if at_rest < 3 && self.violation().is_none() {
            let place = self.place().cloned();
            let holds = self.core().and_then(|core| core.record()).map(|r| r.holds.clone());
            let told = self.core().and_then(|core| core.record()).map(|r| r.told.clone());
            self.break_claim(format!(
                "the rollout does not end: {place:?} under {holds:?}, told {told:?}"
            ));
        }
        self.check_end();
    }

    fn is_at_rest(&self) -> bool {
        let rests = matches!(self.place(), Some(Place::Healthy | Place::Degraded { .. }));
        rests && self.core().is_some_and(|core| !core.is_busy())
    }

    /// What a person does who wants the rollout to end.
    fn help(&mut self) {
        let Some(record) = self.core().and_then(|core| core.record()) else { return };
        let held = record.holds.iter().any(|hold| match hold.kind {
            HoldKind::Spec | HoldKind::Block => false,
            HoldKind::Person
            | HoldKind::Conflict { .. }
            | HoldKind::AlertPause
            | HoldKind::NeedsPerson(_) => true,
        });
        let waits = matches!(record.place, Place::Waiting { .. });
        if held {
            self.ask(Verb::Resume, false);
        } else if waits {
            self.ask(Verb::Promote { full: false, without_guards: false }, false);
        }
    }
}
