//! Peace: nothing goes wrong any more, and so every rollout ends.

use haldane_model::{Block, Health, HoldKind, LeaseSeen, Place, SpecSeen, Verb};
use haldane_runtime::Input;

use super::{World, plan, provider::Pace, source::Mood};

/// How long a rollout may take once nothing goes wrong any more, in milliseconds.
const BOUND: u64 = 2_400_000;

// === impl World ===

impl World {
    /// Nothing goes wrong any more, and the truth settles.
    pub fn make_peace(&mut self) {
        self.log(|| "PEACE".to_owned());
        self.calm();
        self.mood = Mood::Good;
        self.silent_part = None;
        self.store_fault = None;
        self.health = [Health::Ready { ready: 2, wanted: 2 }; 2];
        self.gates.say = Some(true);
        self.goal = None;
        self.pace = Pace::default();
        self.testers = 0.0;
        self.alerts.clear();
        self.tell_all(|| Input::Alerts(Vec::new()));
        if self.kept.newer {
            self.downgrade();
        }
        if !matches!(self.spec, SpecSeen::Deleted | SpecSeen::NamespaceDeleted) {
            self.spec = self.valid(&plan(&self.shape), false);
        }
        self.publish();
        let endless = self.shape.failures > 1;
        for from in self.bad.values_mut() {
            if *from > self.now || endless {
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
        self.check_trace();
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
        // Whoever opens a gate in time, or too late, does both in one go.
        let waits = matches!(record.place, Place::Waiting { .. });
        let changed = record.told.contains(&Block::HomeChanged) && record.place.is_in_flight();
        if held {
            self.ask(Verb::Resume, false);
        }
        if changed {
            // What was baked was compared with something else: people give this attempt up.
            self.ask(Verb::Abort, false);
        }
        if waits {
            self.ask(Verb::Promote { full: false, without_guards: false }, false);
        }
    }
}
