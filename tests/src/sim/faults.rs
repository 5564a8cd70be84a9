//! What goes wrong, and when.

use haldane_model::{AlertAction, AlertSeen, Health, LeaseSeen, Request, SpecSeen, Verb, Weight};
use haldane_runtime::{Core, Input};

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

/// What changes around a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A process dies, and another starts.
    Crash,
    /// Another process starts beside one that lives.
    TakeOver,
    /// Somebody else writes to the split.
    Foreign,
    /// A side dies, or lives again.
    Health,
    /// The wall clock is stepped.
    Clock,
    /// The source behaves otherwise.
    Mood,
    /// The source answers again.
    Mend,
    /// An alert fires, or is resolved.
    Alert,
    /// The file is edited.
    Edit,
    /// The file, or the namespace around it, is deleted.
    Delete,
    /// A new revision stands on the side that does not serve.
    Revision,
    /// The lease is not sure, or sure again.
    Lease,
    /// A part of a traffic entry falls silent, or answers again.
    Part,
    /// Gates outside answer otherwise.
    Gate,
    /// A newer engine writes the record.
    Newer,
    /// This engine may read it again.
    Older,
    /// A person asks for something.
    Person,
}

/// What changes by chance: as often as it stands here.
const CHANGES: [Change; 28] = [
    Change::Crash,
    Change::Crash,
    Change::Crash,
    Change::Crash,
    Change::TakeOver,
    Change::TakeOver,
    Change::Foreign,
    Change::Foreign,
    Change::Foreign,
    Change::Health,
    Change::Clock,
    Change::Mood,
    Change::Mood,
    Change::Mood,
    Change::Mend,
    Change::Alert,
    Change::Edit,
    Change::Edit,
    Change::Delete,
    Change::Revision,
    Change::Lease,
    Change::Part,
    Change::Gate,
    Change::Newer,
    Change::Person,
    Change::Person,
    Change::Person,
    Change::Person,
];

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
        self.gates.say = self.rng.pick(&[None, Some(false), Some(true)]);
        for _ in 0..self.weather.changes {
            let at = self.rng.range(500, self.peace_at);
            let which = self.rng.pick(&CHANGES);
            self.push(at, Ev::Change(which));
        }
    }

    /// Something changes around the rollout; nothing once peace was made.
    pub fn change(&mut self, which: Change) {
        if !self.stormy() {
            return;
        }
        self.log(|| format!("CHANGE {which:?}"));
        match which {
            Change::Crash => self.crash(),
            Change::TakeOver => self.take_over(),
            Change::Foreign => self.interfere(),
            Change::Health => self.toggle_health(),
            Change::Clock => self.step_clock(),
            Change::Mood => {
                let moods = [
                    Mood::Good,
                    Mood::Empty,
                    Mood::Broken,
                    Mood::Hung,
                    Mood::Lost,
                    Mood::Down,
                    Mood::Thin,
                ];
                let mood = self.rng.pick(&moods);
                self.set_mood(mood);
                let until = self.rng.range(5_000, 90_000);
                self.push(until, Ev::Change(Change::Mend));
            }
            Change::Mend => self.mood = Mood::Good,
            Change::Alert => self.toggle_alert(),
            Change::Edit => self.edit(),
            Change::Delete => self.delete(),
            Change::Revision => self.new_revision(),
            Change::Lease => {
                let lease = match self.rng.chance(500) {
                    true => LeaseSeen::Unsure,
                    false => LeaseSeen::Held { term: self.kept.newest_term },
                };
                if let Some(proc) = self.leader() {
                    self.handle(proc, Input::Lease(lease));
                }
            }
            Change::Part => self.silent_part = self.rng.pick(&[None, Some(0), Some(1)]),
            Change::Gate => self.gates.say = self.rng.pick(&[None, Some(false), Some(true)]),
            Change::Newer => self.upgrade(),
            Change::Older => self.downgrade(),
            Change::Person => self.ask_something(),
        }
    }

    /// Sets how the source behaves; falling silent and breaking are faults where they meet the rollout.
    pub(super) fn set_mood(&mut self, mood: Mood) {
        self.mood = mood;
        match mood {
            Mood::Empty | Mood::Lost | Mood::Down => self.cover("source silent"),
            Mood::Broken | Mood::Hung => self.cover("source broken"),
            Mood::Good | Mood::Thin => {}
        }
    }

    /// A newer engine runs for a moment, writes the record in its own format, and dies.
    pub(super) fn upgrade(&mut self) {
        if self.kept.version == 0 || self.kept.newer || self.leader().is_none() {
            return;
        }
        self.cover("newer format");
        self.kill_all();
        self.kept.write_format(true);
        let (start, back) = (self.rng.range(100, 5_000), self.rng.range(10_000, 60_000));
        self.push(start, Ev::Start);
        self.push(back, Ev::Change(Change::Older));
    }

    /// The newer engine is back, and gives way to this one again.
    pub(super) fn downgrade(&mut self) {
        if self.kept.newer {
            self.kill_all();
            self.kept.write_format(false);
            self.push(50, Ev::Start);
        }
    }

    fn kill_all(&mut self) {
        for proc in 0..self.procs.len() {
            let loses = self.rng.chance(500);
            self.kill(proc, loses);
        }
    }

    pub(super) fn crash(&mut self) {
        let Some(proc) = self.leader() else { return };
        self.cover("crash");
        let loses = self.rng.chance(500);
        self.kill(proc, loses);
        let delay = self.rng.range(100, 15_000);
        self.push(delay, Ev::Start);
    }

    pub(super) fn take_over(&mut self) {
        if self.leader().is_some() {
            self.cover("takeover");
            self.start_process();
        }
    }

    pub(super) fn interfere(&mut self) {
        let lane = usize::try_from(self.rng.range(0, self.lanes.len() as u64)).unwrap_or(0);
        let share = Weight::from_percent(self.rng.pick(&[0, 0, 3, 7, 30, 70, 100]));
        self.write_by_hand(lane, share.expect("at most 100"));
    }

    /// Somebody else gives green this share: a raise or a lowering of the side under test.
    pub(super) fn write_by_hand(&mut self, lane: usize, share: Weight) {
        let is = self.lanes[lane].parts[0].0;
        if share == is {
            return;
        }
        let record = self.core().and_then(Core::record);
        let green = record.is_none_or(|record| record.header.test.as_str() == "green");
        self.cover(if (share > is) == green { "foreign raise" } else { "foreign lowering" });
        self.foreign(lane, share);
    }

    pub(super) fn toggle_health(&mut self) {
        self.cover("health");
        let side = usize::from(self.rng.chance(500));
        let states = [Health::Down, Health::Untold, Health::Ready { ready: 1, wanted: 10 }];
        self.health[side] = match self.health[side] {
            Health::Down => Health::Ready { ready: 1, wanted: 2 },
            Health::Untold | Health::Ready { .. } => self.rng.pick(&states),
        };
    }

    pub(super) fn step_clock(&mut self) {
        self.cover("clock");
        let by = self.rng.pick(&[-3_600_000, -20_000, 20_000, 3_600_000]);
        self.wall_off += by;
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
            self.push(30_000, Ev::Change(Change::Alert));
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
            _ => self.valid(&plan, false),
        };
        self.publish();
    }

    /// The file goes, or everything around it.
    fn delete(&mut self) {
        if self.rng.chance(400) {
            self.spec = self.rng.pick_ref(&[SpecSeen::Deleted, SpecSeen::NamespaceDeleted]).clone();
            self.publish();
        }
    }

    pub(super) fn name_no_more(&mut self) {
        if let SpecSeen::Valid { named, .. } = &mut self.spec {
            *named = false;
            self.publish();
        }
    }

    /// Tells every living process what is written.
    pub fn publish(&mut self) {
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
        let here = self.procs[proc].core.as_ref().and_then(Core::record);
        // Where the record cannot be read, people know what the newer engine told them.
        let Some(record) = here.or(self.kept.record.as_ref()) else { return };
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
}
