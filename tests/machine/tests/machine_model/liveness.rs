//! From every state, once the faults end: the rollout comes to rest, at the share it stands for.

use std::{collections::HashSet, sync::Arc};

use haldane_model::{Block, HoldKind, Place, Plan, State as Shown, Verdict};

use crate::{
    env::{Budget, State, Written},
    explore::{fair_turn, fingerprint, green_of},
};

/// A fair rollout ends within so many turns.
const TURNS_MAX: usize = 120;

/// States from which an end is known to be reached.
#[derive(Default)]
pub(crate) struct Liveness {
    good: [HashSet<u64>; 2],
}

impl Liveness {
    /// Ends the faults and lets the sources say Pass, or breach, for ever.
    pub(crate) fn check(&mut self, state: &State, plan: &Arc<Plan>) -> Result<(), String> {
        self.run(state, plan, Verdict::Pass, 0)?;
        self.run(state, plan, Verdict::Fail { breach: true }, 1)
    }

    fn run(
        &mut self,
        state: &State,
        plan: &Arc<Plan>,
        verdict: Verdict,
        which: usize,
    ) -> Result<(), String> {
        let mut state = calm(state);
        let mut path = Vec::new();
        let mut trace = Vec::new();
        for _ in 0..TURNS_MAX {
            state = state.canonical(plan);
            let id = fingerprint(&state);
            if state.gone || self.good[which].contains(&id) || is_over(&state) {
                self.good[which].extend(path);
                return Ok(());
            }
            path.push(id);
            trace.push(format!("{:?} {:?}", state.memory.place, state.env.flying));
            state = step(&state, plan, verdict);
        }
        let last = trace.split_off(trace.len() - 6).join("\n  ");
        Err(format!(
            "no end within {TURNS_MAX} turns of {verdict:?}: {:?} {:?} told {:?}\n  {last}",
            state.memory.place, state.memory.holds, state.memory.told
        ))
    }
}

/// No fault is left; what is broken is mended.
fn calm(state: &State) -> State {
    let mut state = state.clone();
    state.budget = Budget::default();
    state.env.lease_sure = true;
    state.env.gate_open = true;
    state.env.blue_up = true;
    state.env.green_up = true;
    state.env.alert = None;
    if state.memory.place.is_in_flight() {
        // Home shows again what it showed; other waiting for it ends by the deadline alone.
        let previous = state.memory.previous.as_ref().map(|revision| revision.as_str());
        let number = previous.and_then(|text| text.strip_prefix('v')?.parse().ok());
        let blue = state.memory.header.home == haldane_machine_tests::world::BLUE.into();
        let shows = if blue { &mut state.env.blue_shows } else { &mut state.env.green_shows };
        *shows = number.unwrap_or(*shows);
    }
    if state.env.written != Written::Deleted {
        state.env.written = Written::Valid;
    }
    state
}

/// A turn, with everything that it asked for landing; then a tick with a fresh verdict.
fn step(state: &State, plan: &Arc<Plan>, verdict: Verdict) -> State {
    let (mut next, decision, _) = fair_turn(state, plan);
    while let Some(write) = next.env.flying.first().cloned() {
        next.env.flying.remove(0);
        next.env.land(&write);
    }
    if next.env.finishing {
        next.env.finishing = false;
        next.env.finished = Some(true);
    }
    if decision.record.place == state.memory.place {
        next.tick();
    }
    let record = next.memory.clone();
    next.env.say(&record, verdict);
    next
}

/// Whether nothing but a person, or a new revision, can move it any more.
fn is_over(state: &State) -> bool {
    let record = &state.memory;
    let by_person = record.holds.iter().any(|hold| match hold.kind {
        HoldKind::Conflict { .. }
        | HoldKind::Person
        | HoldKind::AlertPause
        | HoldKind::NeedsPerson(_) => true,
        HoldKind::Spec | HoldKind::Block => false,
    });
    let rests = match &record.place {
        Place::Healthy => record.holds.is_empty() && state.env.green == green_of(state),
        Place::Degraded { .. } => state.env.green == green_of(state),
        Place::Waiting { .. } => record.plan.as_ref().is_some_and(|plan| {
            let step = record.step().unwrap_or_default();
            let gates = &plan.steps[step].gates;
            gates.iter().any(|gate| gate.kind == haldane_model::GateKind::Manual)
        }),
        // What serves fails already: nothing begins, and it is told.
        Place::Pending { .. } => record.told.contains(&Block::GuardFails),
        Place::Shifting { .. }
        | Place::Baking { .. }
        | Place::Promoting { .. }
        | Place::Watching { .. }
        | Place::RollingBack { .. } => false,
    };
    let held = by_person && record.state() != Shown::RollingBack;
    // At rest with another revision to begin, the rollout goes on.
    let startable =
        matches!(record.place, Place::Healthy | Place::Degraded { .. }) && state.env.read_for < 2;
    held || rests && !startable
}
