//! Gates outside: they open, shut and fall silent, and what they said is remembered.

use haldane_model::{Gate, GateAnswer, Place, Reason, Record};
use haldane_runtime::Input;

use super::World;

/// How long an answer of a gate may be used: its freshness, and the swap that carries the raise.
const USED: u64 = 30_000;

/// How gates outside answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answers {
    /// What they say; `None`: nothing.
    pub say: Option<bool>,
    /// When one last said that it is open.
    open_at: Option<u64>,
}

// === impl World ===

impl World {
    pub(super) fn ask_gate(&mut self, proc: usize, gate: &Gate) {
        let delay = self.rng.range(5, 300);
        let Some(open) = self.gates.say else { return };
        let answer = if open {
            self.gates.open_at = Some(self.now + delay);
            GateAnswer::Open
        } else {
            GateAnswer::Closed("no ticket".to_owned())
        };
        self.input_in(proc, delay, Input::Gate { gate: gate.name.clone(), answer });
    }

    /// No step begins before every gate on the way was open: a person's by a promotion in this
    /// attempt, one outside by its own word.
    pub(super) fn check_gates(&mut self, before: &Record, record: &Record) {
        let Place::Shifting { step, restore: None, .. } = record.place else { return };
        let begins = match before.place {
            _ if before.attempt != record.attempt => 0,
            Place::Waiting { step, .. } => step,
            Place::Baking { step, .. } | Place::Shifting { step, .. } => step + 1,
            Place::Pending { .. }
            | Place::Promoting { .. }
            | Place::Watching { .. }
            | Place::Healthy
            | Place::RollingBack { .. }
            | Place::Degraded { .. } => 0,
        };
        let Some(plan) = record.plan.clone() else { return };
        if step < begins {
            return;
        }
        let opened = self.kept.journal.values().any(|entry| {
            entry.reason == Reason::PromotedByPerson && entry.attempt == record.attempt
        });
        let told = self.gates.open_at.is_some_and(|at| self.now <= at + USED);
        for gate in plan.steps[begins..=step].iter().flat_map(|step| &step.gates) {
            let manual = gate.kind == haldane_model::GateKind::Manual;
            if !(if manual { opened } else { told }) {
                self.break_claim(format!("step {step} begins, and gate {} is shut", gate.name));
            }
        }
    }
}
