//! The walk: every event, then a turn, then every answer of the store and every crash around it.

use std::{
    collections::{HashMap, VecDeque, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::Arc,
    time::Instant,
};

use haldane_machine::{Change, Decision, Effect, decide};
use haldane_machine_tests::world::percent;
use haldane_model::{AlertAction, Plan, Seen, Verb, Verdict, Weight};

use crate::{
    env::{Budget, State, Written, age, begin, now},
    invariants,
    liveness::Liveness,
};

/// What happened: an event, and how its turn went.
pub(crate) type Label = (&'static str, &'static str);

/// A finite space is not walked further than this.
const STATES_MAX: usize = 400_000;

/// The variable that ends each walk after so many states, breadth first: what a mutant is shown.
const WALK: &str = "HALDANE_WALK";

/// How far a walk may go before it ends unfinished; unset, it goes everywhere.
fn states_wanted() -> usize {
    std::env::var(WALK).map_or(usize::MAX, |text| {
        text.parse().unwrap_or_else(|_| panic!("{WALK} must be a number of states, got {text}"))
    })
}

/// Walks everything that is reachable under this budget of faults, and prints how much that is.
pub(crate) fn explore(name: &str, plan: &Plan, budget: Budget) {
    let (begun, wanted) = (Instant::now(), states_wanted());
    let plan = Arc::new(plan.clone());
    let first = begin(&plan, budget).canonical(&plan);
    let mut walk = Walk { plan: plan.clone(), seen: HashMap::new(), queue: VecDeque::new() };
    let mut liveness = Liveness::default();
    walk.add(None, ("begin", ""), first);
    let mut turns = 0_usize;
    while let Some((id, state)) = walk.queue.pop_front() {
        if let Err(why) = liveness.check(&state, &plan) {
            walk.fail(name, id, ("faults end", ""), &why, &state);
        }
        for (event, next) in events(&state, &plan) {
            for (answer, after, verdict) in turn(&next, &plan) {
                turns += 1;
                if let Err(why) = verdict {
                    walk.fail(name, id, (event, answer), &why, &next);
                }
                walk.add(Some(id), (event, answer), after.canonical(&plan));
            }
        }
        assert!(walk.seen.len() < STATES_MAX, "{name}: more than {STATES_MAX} states");
        if walk.seen.len() >= wanted {
            eprintln!("{name}: unfinished, {WALK} ends it after {wanted} states");
            return;
        }
    }
    let (states, took) = (walk.seen.len(), begun.elapsed());
    assert!(states > 20, "{name}: {states} states are no proof");
    // The size of the proof is part of it.
    eprintln!("{name}: {states} states, {turns} turns, {} ms", took.as_millis());
}

struct Walk {
    plan: Arc<Plan>,
    seen: HashMap<u64, (Option<u64>, Label)>,
    queue: VecDeque<(u64, State)>,
}

impl Walk {
    fn add(&mut self, parent: Option<u64>, label: Label, state: State) {
        let id = fingerprint(&state);
        if self.seen.contains_key(&id) {
            return;
        }
        self.seen.insert(id, (parent, label));
        if !state.gone {
            self.queue.push_back((id, state));
        }
    }

    fn fail(&self, name: &str, id: u64, last: Label, why: &str, state: &State) -> ! {
        let mut path = vec![last];
        let mut at = Some(id);
        while let Some(here) = at {
            let (parent, label) = self.seen[&here];
            path.push(label);
            at = parent;
        }
        path.reverse();
        let steps: Vec<String> =
            path.iter().map(|(event, how)| format!("{event} [{how}]")).collect();
        let record = &state.memory;
        panic!(
            "{name}: {why}\n  {}\nplace {:?} holds {:?}\nmarks {:?} marks read {:?}\nenv {:?}\nplan {}",
            steps.join("\n  "),
            record.place,
            record.holds,
            record.marks,
            state.env.mark,
            state.env,
            self.plan.steps.len(),
        );
    }
}

pub(crate) fn fingerprint(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

// === events ===

type Events = Vec<(&'static str, State)>;

fn events(state: &State, plan: &Plan) -> Events {
    let mut events: Events = vec![("nothing", state.clone())];
    time(state, &mut events);
    writes(state, &mut events);
    verdicts(state, &mut events);
    people(state, &mut events);
    outside(state, plan, &mut events);
    events
}

fn push(events: &mut Events, label: &'static str, state: &State, change: impl FnOnce(&mut State)) {
    let mut next = state.clone();
    change(&mut next);
    events.push((label, next));
}

fn time(state: &State, events: &mut Events) {
    let budget = state.budget;
    push(events, "tick", state, |next| {
        next.env.flying.clear();
        next.tick();
    });
    if budget.write > 0 && !state.env.flying.is_empty() {
        push(events, "tick, writes still under way", state, |next| {
            next.budget.write -= 1;
            next.tick();
        });
    }
    if budget.crash > 0 {
        for (label, newer) in [("crash", false), ("crash, another engine takes over", true)] {
            push(events, label, state, |next| {
                next.budget.crash -= 1;
                next.memory = next.stored.clone();
                next.env.newer_term |= newer;
                next.env.finishing = false;
            });
        }
    }
    if budget.clock > 0 {
        for (label, secs) in [("clock set forward", 3_600), ("clock set back", -3_600)] {
            push(events, label, state, |next| {
                next.budget.clock -= 1;
                age(&mut next.stored, secs, false);
                age(&mut next.memory, secs, false);
            });
        }
        push(events, "reboot", state, |next| {
            next.budget.clock -= 1;
            next.memory = next.stored.clone();
            next.memory.ticked.now.boot = 0;
            next.env.read_for = 0;
        });
    }
}

fn writes(state: &State, events: &mut Events) {
    let budget = state.budget;
    for index in 0..state.env.flying.len() {
        push(events, "a write lands", state, |next| {
            let write = next.env.flying.remove(index);
            next.env.land(&write);
        });
        if budget.write > 0 {
            push(events, "a write lands, and will again", state, |next| {
                next.budget.write -= 1;
                let write = next.env.flying[index].clone();
                next.env.land(&write);
            });
        }
    }
    if state.env.finishing {
        push(events, "clean-up done", state, |next| {
            next.env.finishing = false;
            next.env.finished = Some(true);
        });
        if budget.write > 0 {
            push(events, "clean-up failed", state, |next| {
                next.budget.write -= 1;
                next.env.finishing = false;
                next.env.finished = Some(false);
            });
        }
    }
    if budget.foreign > 0 {
        for (label, share) in [("foreign 0", 0), ("foreign 50", 50), ("foreign 100", 100)] {
            if state.env.green != percent(share) {
                push(events, label, state, |next| {
                    next.budget.foreign -= 1;
                    next.env.foreign(percent(share));
                });
            }
        }
    }
}

fn verdicts(state: &State, events: &mut Events) {
    push(events, "Pass", state, |next| next.env.say(&state.memory, Verdict::Pass));
    if state.budget.verdict == 0 {
        return;
    }
    let odd = [
        ("Fail", Verdict::Fail { breach: false }),
        ("breach", Verdict::Fail { breach: true }),
        ("Inconclusive", Verdict::Inconclusive { over_limit: false }),
        ("Inconclusive over limit", Verdict::Inconclusive { over_limit: true }),
        ("NoData", Verdict::NoData),
        ("SourceError", Verdict::SourceError),
        ("CanaryLost", Verdict::CanaryLost),
    ];
    for (label, verdict) in odd {
        push(events, label, state, |next| {
            next.budget.verdict -= 1;
            next.env.say(&state.memory, verdict);
        });
    }
    for (label, verdict) in [("stale breach", odd[1].1), ("stale Pass", Verdict::Pass)] {
        push(events, label, state, |next| {
            next.budget.verdict -= 1;
            next.env.say(&state.memory, verdict);
            if let Some(said) = &mut next.env.said {
                said.attempt += 1;
            }
        });
    }
}

fn people(state: &State, events: &mut Events) {
    if state.budget.request > 0 {
        let verbs = [
            ("promote", Verb::Promote { full: false, without_guards: false }),
            ("promote full", Verb::Promote { full: true, without_guards: false }),
            ("promote without guards", Verb::Promote { full: false, without_guards: true }),
            ("skip", Verb::Skip),
            ("abort", Verb::Abort),
            ("pause", Verb::Pause),
            ("resume", Verb::Resume),
            ("retry", Verb::Retry { without: None }),
            ("undo", Verb::Undo),
        ];
        for (label, verb) in verbs {
            push(events, label, state, |next| {
                next.budget.request -= 1;
                next.env.ask(&state.memory, verb, state.memory.attempt);
            });
        }
        push(events, "stale promote", state, |next| {
            next.budget.request -= 1;
            let verb = Verb::Promote { full: true, without_guards: true };
            next.env.ask(&state.memory, verb, state.memory.attempt + 7);
        });
    }
    if state.budget.alert > 0 {
        let actions = [
            ("alert aborts", AlertAction::Abort),
            ("alert pauses", AlertAction::Pause),
            ("alert blocks", AlertAction::Block),
        ];
        for (label, action) in actions {
            push(events, label, state, |next| {
                next.budget.alert -= 1;
                next.env.alert = Some((action, 0));
            });
        }
        if state.env.alert.is_some() {
            push(events, "alert resolved", state, |next| {
                next.budget.alert -= 1;
                next.env.alert = None;
            });
        }
    }
}

fn outside(state: &State, plan: &Plan, events: &mut Events) {
    let budget = state.budget;
    if budget.side > 0 {
        let mut side = |label, change: fn(&mut State)| {
            push(events, label, state, |next| {
                next.budget.side -= 1;
                change(next);
            });
        };
        side("blue dies or lives", |next| next.env.blue_up = !next.env.blue_up);
        side("green dies or lives", |next| next.env.green_up = !next.env.green_up);
        side("blue shows another", |next| next.env.blue_shows = 9);
        side("green shows another", |next| next.env.green_shows = 3);
        side("green is set back", |next| next.env.green_shows = next.env.blue_shows);
    }
    if budget.spec > 0 {
        let all = [
            ("spec valid", Written::Valid),
            ("spec edited", Written::Edited),
            ("spec paused", Written::Paused),
            ("spec invalid", Written::Invalid),
            ("deleted", Written::Deleted),
        ];
        for (label, written) in all {
            if written != state.env.written && state.env.written != Written::Deleted {
                push(events, label, state, |next| {
                    next.budget.spec -= 1;
                    next.env.written = written;
                });
            }
        }
        if state.env.gate_open {
            push(events, "gate closes", state, |next| {
                next.budget.spec -= 1;
                next.env.gate_open = false;
            });
        }
    }
    if plan.steps.iter().any(|step| !step.gates.is_empty()) && !state.env.gate_open {
        push(events, "gate opens", state, |next| next.env.gate_open = true);
    }
    if budget.lease > 0 {
        push(events, "lease unsure or sure", state, |next| {
            next.budget.lease -= 1;
            next.env.lease_sure = !next.env.lease_sure;
        });
    }
}

// === a turn ===

type Turned = (&'static str, State, Result<(), String>);

/// Decides, checks the decision, and lets the store and the process do what they may.
fn turn(state: &State, plan: &Arc<Plan>) -> Vec<Turned> {
    let seen = state.env.seen(&state.memory, plan);
    let decision = decide(&state.memory, &seen, now());
    let checked = invariants::check(state, &seen, &decision);
    let mut answers: Vec<Turned> = Vec::new();
    let mut answer = |label, next: State| answers.push((label, next, checked.clone()));
    if decision.change != Change::Decided {
        answer("kept", kept(state, &decision));
        return answers;
    }
    answer("won", won(state, &decision, true));
    if state.budget.swap > 0 {
        let spent = |mut next: State| {
            next.budget.swap -= 1;
            next
        };
        answer("unknown, landed", spent(won(state, &decision, false)));
        answer("unknown, lost", spent(lost(state, &decision)));
        let mut stale = lost(state, &decision);
        stale.stored.version += 1;
        stale.memory.version += 1;
        answer("stale", spent(stale));
        let mut superseded = lost(state, &decision);
        superseded.env.newer_term = true;
        answer("superseded", spent(superseded));
    }
    if state.budget.crash > 0 {
        let spent = |mut next: State| {
            next.budget.crash -= 1;
            next
        };
        let mut before = lost(state, &decision);
        before.env.flying = state.env.flying.clone();
        answer("crash before anything", spent(before));
        answer("crash after the lowering", spent(lost(state, &decision)));
        let mut after = won(state, &decision, false);
        after.env.flying = state.env.flying.clone();
        answer("crash after the record", spent(after));
    }
    answers
}

fn kept(state: &State, decision: &Decision) -> State {
    let mut next = state.clone();
    next.memory = decision.record.clone();
    if state.budget.crash == 0 && state.budget.swap == 0 {
        next.stored = next.memory.clone();
    }
    next.env.finished = None;
    perform(&mut next, decision, true);
    next
}

fn won(state: &State, decision: &Decision, all: bool) -> State {
    let mut next = state.clone();
    next.memory = decision.record.clone();
    next.memory.version += 1;
    next.stored = next.memory.clone();
    next.env.finished = None;
    next.env.newer_term = false;
    next.gone = decision.gone;
    perform(&mut next, decision, all);
    next
}

fn lost(state: &State, decision: &Decision) -> State {
    let mut next = state.clone();
    next.env.finished = None;
    perform(&mut next, decision, false);
    next.memory = next.stored.clone();
    next
}

/// Sends the effects; without a won record the lowering alone.
fn perform(next: &mut State, decision: &Decision, all: bool) {
    for effect in &decision.effects {
        match *effect {
            Effect::Raise { to, mark } if all => next.env.send(&decision.record, to, mark),
            Effect::Lower { to, mark } => {
                // A lowering cancels what is under way; with a fault left it may land all the same.
                if next.budget.write == 0 {
                    next.env.flying.clear();
                }
                next.env.send(&decision.record, to, mark);
            }
            Effect::Finish if all => next.env.finishing = true,
            Effect::Raise { .. } | Effect::Finish | Effect::Release => {}
        }
    }
}

/// One turn without any fault: won, and performed.
pub(crate) fn fair_turn(state: &State, plan: &Arc<Plan>) -> (State, Decision, Seen) {
    let seen = state.env.seen(&state.memory, plan);
    let decision = decide(&state.memory, &seen, now());
    let next = won(state, &decision, true);
    (next, decision, seen)
}

/// The share that a record stands for, of green.
pub(crate) fn green_of(state: &State) -> Weight {
    let asserted = state.memory.asserted();
    if state.memory.header.test == haldane_machine_tests::world::GREEN.into() {
        asserted
    } else {
        asserted.complement()
    }
}
