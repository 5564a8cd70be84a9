//! Steered histories: each leads to one cell of the table, a state under a verdict, and lets one
//! fault strike there.
//!
//! What leads there is what people, sources and data planes do anyway; nothing is set in an engine.

use haldane_model::{
    GapPolicy, Health, OnDeadline, OnInconclusive, Place, State, Verb, Verdict, Weight,
};
use haldane_runtime::Core;

use super::{
    Ev, Rng, Shape, World,
    cover::{self, Cell},
    faults::Change,
    plan::Wait,
    provider::Pace,
    source::Mood,
};

/// How often a steered history is looked at, in milliseconds.
const NUDGE: u64 = 250;

/// For how long what is to be struck is awaited before it is provoked, in milliseconds.
const PATIENCE: u64 = 2_000;

/// How often somebody else writes, only to provoke a write of ours.
const PROVOKED_MAX: u32 = 2;

/// Where a history is steered to.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    cell: Cell,
    /// Since when state and verdict are there.
    there: Option<u64>,
    /// Whether a new process was started, so that no verdict is known.
    restarted: bool,
    /// How often a write of ours was provoked.
    provoked: u32,
    /// When a person was last asked for something.
    asked: u64,
}

// === impl Goal ===

impl Goal {
    /// Returns the goal of a seed, if it has one: half of them do, one cell after the other.
    #[must_use]
    pub fn of(seed: u64) -> Option<Self> {
        let cells = cover::all();
        let index = usize::try_from((seed / 2) % cells.len() as u64).ok()?;
        let cell = cells[index];
        let goal = Self { cell, there: None, restarted: false, provoked: 0, asked: 0 };
        (seed % 2 == 1).then_some(goal)
    }

    /// Returns a rollout that can get there and stay there for a while.
    #[must_use]
    pub fn shape(&self, rng: &mut Rng) -> Shape {
        let (state, fault, verdict) = self.cell;
        let mut shape = Shape::draw(rng);
        shape.weights = rng.pick_ref(&[vec![25, 100], vec![20, 60, 100]]).clone();
        shape.told = false;
        shape.delay = 0;
        shape.aside = false;
        shape.max_bake = None;
        shape.on_deadline = OnDeadline::Pause;
        shape.watch = if state == State::Healthy { 120 } else { 40 };
        shape.gate = if state == State::Waiting { Wait::Person } else { Wait::Nothing };
        // In the watch a share is restored only once every guard answered, or is left out.
        let restores = state == State::Healthy && fault.starts_with("write");
        let gap = if restores { GapPolicy::Ignore } else { GapPolicy::Hold };
        let lost = if state == State::RollingBack { GapPolicy::Abort } else { gap };
        shape.policies.no_data = gap;
        shape.policies.source_error = gap;
        shape.policies.canary_lost = lost;
        shape.policies.inconclusive = OnInconclusive::Pause;
        let stays = verdict == "Fail" && state != State::RollingBack;
        shape.failures = if stays { 1_000 } else { 0 };
        shape
    }
}

/// Returns what the first check says of this attempt; what it said of the one before is no verdict.
pub(super) fn current(core: &Core) -> Option<Verdict> {
    let record = core.record()?;
    let seen = core.seen().checks.values().next()?;
    let at_rest = matches!(record.place, Place::Pending { .. });
    let current = (seen.attempt, &seen.revision, seen.at_rest);
    (current == (record.attempt, &record.revision, at_rest)).then_some(seen.verdict)
}

// === impl World ===

impl World {
    /// Sets out for a goal.
    pub fn steer(&mut self, goal: Goal) {
        let (state, fault, verdict) = goal.cell;
        self.goal = Some(goal);
        self.peace_at = 200_000;
        let quick = Pace::default();
        self.pace = match state {
            State::Shifting => {
                Pace { settles: if verdict == "CanaryLost" { 45_000 } else { 20_000 }, ..quick }
            }
            State::Promoting => Pace { finishes: 15_000, ..quick },
            State::RollingBack => Pace { writes: Some(2_300), ..quick },
            State::Pending
            | State::Waiting
            | State::Baking
            | State::Paused
            | State::Healthy
            | State::Degraded
            | State::Conflicted => match fault {
                "foreign lowering" | "foreign raise" => Pace { writes: Some(1_500), ..quick },
                _ => quick,
            },
        };
        if state == State::Pending {
            self.health[1] = Health::Down;
            self.testers = match verdict {
                "Pass" | "Fail" => 2.0,
                "Inconclusive" => 0.1,
                _ => 0.0,
            };
        }
        self.push(NUDGE, Ev::Nudge);
    }

    /// Returns the state and the verdict that the youngest living process sees.
    pub(super) fn cell(&self) -> Option<(State, &'static str)> {
        let core = self.core()?;
        Some((core.record()?.state(), current(core).map_or("none", Verdict::word)))
    }

    /// Looks whether the history is where it should be, and helps it along.
    pub(super) fn nudge(&mut self) {
        let Some(goal) = self.goal.filter(|_| self.stormy()) else { return };
        self.push(NUDGE, Ev::Nudge);
        let Some((state, verdict)) = self.cell() else { return };
        let (wanted, _, wanted_verdict) = goal.cell;
        if state == wanted && verdict == wanted_verdict {
            self.strike();
            return;
        }
        if let Some(goal) = &mut self.goal {
            goal.there = None;
        }
        if state == wanted && !matches!(wanted, State::RollingBack | State::Degraded) {
            self.tune(wanted_verdict);
        } else if state != wanted {
            self.lead(state, verdict);
        }
    }

    /// Whether this call is the one that goes wrong.
    pub(super) fn strikes(&mut self, proc: usize, fault: &str) -> bool {
        let Some(goal) = self.goal.filter(|goal| goal.cell.1 == fault) else { return false };
        let leads = self.leader() == Some(proc);
        let there = leads && self.stormy() && self.cell() == Some((goal.cell.0, goal.cell.2));
        if there {
            self.arrive();
        }
        there
    }

    /// The goal is reached: what comes now comes by chance.
    fn arrive(&mut self) {
        self.log(|| "ARRIVED".to_owned());
        self.goal = None;
        self.peace_at = self.now + self.rng.range(10_000, 60_000);
        self.push(8_000, Ev::Change(Change::Mend));
        self.pace = Pace::default();
    }

    /// State and verdict are there: lets the fault happen, or what it strikes.
    fn strike(&mut self) {
        let Some(goal) = &mut self.goal else { return };
        let since = *goal.there.get_or_insert(self.now);
        let fault = goal.cell.1;
        let late = self.now >= since + PATIENCE;
        match fault {
            "crash" => self.crash(),
            "takeover" => self.take_over(),
            "health" => self.toggle_health(),
            "clock" => self.step_clock(),
            "newer format" => self.upgrade(),
            "source silent" => {
                let mood = self.rng.pick(&[Mood::Empty, Mood::Lost, Mood::Down]);
                self.set_mood(mood);
            }
            "source broken" => {
                let mood = self.rng.pick(&[Mood::Broken, Mood::Hung]);
                self.set_mood(mood);
            }
            "foreign raise" | "foreign lowering" => {
                if !self.write_against(fault) {
                    return;
                }
            }
            _ => {
                if late {
                    self.provoke(fault);
                }
                return;
            }
        }
        self.arrive();
    }

    /// Returns the share of the side under test that is in force, and whether that side is green.
    fn test_share(&self) -> (Weight, bool) {
        let record = self.core().and_then(|core| core.record());
        let green = record.is_none_or(|record| record.header.test.as_str() == "green");
        let (low, high) = self.true_share();
        (if green { high } else { low.complement() }, green)
    }

    fn give_test(&mut self, share: Weight, green: bool) {
        self.write_by_hand(0, if green { share } else { share.complement() });
    }

    /// Somebody raises or lowers; where nothing is left to, they do the opposite first. Returns
    /// whether it was what was wanted.
    fn write_against(&mut self, fault: &str) -> bool {
        let (share, green) = self.test_share();
        let raises = fault == "foreign raise";
        if share == if raises { Weight::FULL } else { Weight::ZERO } {
            self.disturb();
            return false;
        }
        let far = if raises { Weight::FULL } else { Weight::ZERO };
        let between = u32::from(share.basis_points()) + u32::from(far.basis_points());
        let near = Weight::from_basis_points(between / 2).unwrap_or(far);
        self.give_test(near, green);
        true
    }

    /// Somebody else writes, so that we write too.
    fn disturb(&mut self) {
        let (share, green) = self.test_share();
        let Some(goal) = &mut self.goal else { return };
        if goal.provoked == PROVOKED_MAX {
            return;
        }
        goal.provoked += 1;
        goal.there = None;
        let to = if share == Weight::FULL { 70 } else { 80 };
        self.give_test(Weight::from_percent(to).expect("at most 100"), green);
    }

    /// What is to be struck does not come by itself.
    fn provoke(&mut self, fault: &str) {
        match fault {
            "store unknown" | "store stale" | "store hung" if self.may_ask() => {
                self.ask(Verb::Skip, true);
            }
            "write fails" | "write hangs" => self.disturb(),
            _ => {}
        }
    }

    /// Whether a person may be asked for something once more: not with every look.
    fn may_ask(&mut self) -> bool {
        let now = self.now;
        let Some(goal) = &mut self.goal else { return false };
        let may = now >= goal.asked + 1_500;
        if may {
            goal.asked = now;
        }
        may
    }

    /// Makes the source answer so that this verdict comes.
    fn tune(&mut self, verdict: &str) {
        let (state, fault, _) = self.goal.map(|goal| goal.cell).unwrap_or((State::Pending, "", ""));
        if state == State::Healthy {
            if verdict == "none" && fault.starts_with("write") {
                // After the watch nothing is asked, and what others raise is lowered.
                return;
            }
            if verdict == "CanaryLost" && self.test_share().0 == Weight::FULL {
                // At 100 % the other side has no samples to compare with.
                self.disturb();
            }
        }
        let mood = match verdict {
            "Inconclusive" if self.testers == 0.0 => Mood::Thin,
            "NoData" => Mood::Empty,
            "SourceError" => Mood::Broken,
            "CanaryLost" => self.rng.pick(&[Mood::Lost, Mood::Down]),
            "none" => Mood::Hung,
            _ => Mood::Good,
        };
        if self.mood != mood {
            let among = [Mood::Lost, Mood::Down];
            if !(among.contains(&mood) && among.contains(&self.mood)) {
                self.mood = mood;
            }
        }
        let test = self.core().and_then(|core| core.record()).map(|r| r.header.test.clone());
        let green = test.is_none_or(|test| test.as_str() == "green");
        let runs = self.runs[usize::from(green)].clone();
        match verdict {
            "Fail" if !self.bad.contains_key(&runs) => {
                let now = self.now;
                self.turns_bad(&runs, now);
            }
            "none" => self.restart_once(),
            _ => {}
        }
    }

    /// A new process knows no verdict, and where the source does not answer, learns none.
    fn restart_once(&mut self) {
        let Some(goal) = &mut self.goal else { return };
        if std::mem::replace(&mut goal.restarted, true) {
            return;
        }
        if let Some(proc) = self.leader() {
            self.kill(proc, false);
            self.push(50, Ev::Start);
        }
    }

    /// Does what leads from this state to the wanted one.
    fn lead(&mut self, state: State, verdict: &str) {
        let Some(goal) = self.goal else { return };
        let (wanted, _, wanted_verdict) = goal.cell;
        let flies = matches!(state, State::Shifting | State::Baking | State::Promoting);
        match wanted {
            State::Paused if flies || state == State::Waiting => {
                if self.rng.chance(100) && self.may_ask() {
                    self.ask(Verb::Pause, false);
                }
            }
            State::Conflicted if state == State::Baking || state == State::Shifting => {
                if self.rng.chance(250) {
                    let share = self.rng.pick(&[3, 5, 8, 12, 70]);
                    self.write_by_hand(0, Weight::from_percent(share).expect("at most 100"));
                }
            }
            State::RollingBack | State::Degraded if state == State::Baking => {
                let none = wanted == State::Degraded && wanted_verdict == "none";
                if none || verdict == wanted_verdict {
                    if self.may_ask() {
                        self.ask(Verb::Abort, false);
                    }
                } else {
                    self.tune(wanted_verdict);
                }
            }
            _ => self.go_on(state),
        }
    }

    /// Ends what keeps the rollout from going on.
    fn go_on(&mut self, state: State) {
        match state {
            State::Paused | State::Conflicted if self.may_ask() => self.ask(Verb::Resume, false),
            State::Waiting if self.may_ask() => {
                self.ask(Verb::Promote { full: false, without_guards: false }, false);
            }
            State::Degraded if self.may_ask() => self.ask(Verb::Retry { without: None }, false),
            _ => {}
        }
    }
}
