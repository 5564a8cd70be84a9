//! The engine's processes: they start, live, are told things, and are killed between any two commands.

use haldane_model::{LeaseSeen, Place, RolloutId};
use haldane_runtime::{Command, Core, Input};

use super::{Ev, World, history::brief, source::Mood, world::Proc};

/// How long news of what is written, and of alerts, takes, in milliseconds: for all the same, so that
/// what was written before never comes after.
const TOLD_IN: u64 = 5;

// === impl World ===

impl World {
    /// Starts a process in a new term; older ones that live are not told.
    pub fn start_process(&mut self) {
        self.kept.newest_term += 1;
        let term = self.kept.newest_term;
        // On the same machine its monotonic clock goes on, and only the boot id tells one process's
        // time from another's; elsewhere it begins anew.
        let since = if self.rng.chance(500) { 0 } else { self.now.saturating_sub(1_000) };
        let boot = (self.procs.len() as u64 + 1, since);
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
        self.input_in(proc, TOLD_IN, Input::Spec(spec));
        self.input_in(proc, TOLD_IN, Input::Alerts(alerts));
        self.input_in(proc, 8, Input::Lease(LeaseSeen::Held { term }));
        for request in self.requests.values().cloned().collect::<Vec<_>>() {
            self.input_in(proc, 30, Input::Request(request));
        }
    }

    /// Kills a process. What it sent may still arrive, or not.
    pub fn kill(&mut self, proc: usize, loses_writes: bool) {
        let leads = self.leader() == Some(proc);
        let Some(core) = self.procs[proc].core.take() else { return };
        self.log(|| format!("KILL process {proc}, writes lost: {loses_writes}"));
        if leads {
            self.check_loss(&core);
        }
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
                self.input_in(proc, TOLD_IN, input());
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
        let expectation = self.expect(proc, &core, &input);
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

    /// Remembers a question for the claims, which alone look at it.
    fn note_sent(&mut self, what: impl Fn() -> String) {
        if self.tracing {
            self.sent.push((self.now, what()));
        }
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
                self.check_gone(proc);
                self.kept.forget();
                // A rollout that is written again counts its attempts from the first.
                self.truth.rolled_back.clear();
                self.truth.gone = true;
            }
            Command::Read { entry, id } => {
                self.note_sent(|| format!("Read {entry}"));
                self.read(proc, entry, id);
            }
            Command::Write { entry, id, split, direction, mark } => {
                self.sent.push((self.now, format!("{direction:?} {}", split.share)));
                self.check_write(proc, &split, direction, mark);
                self.write(proc, entry, id, &split, direction, mark);
            }
            Command::Accompany { entry, id, company, mark } => {
                self.note_sent(|| format!("Accompany {entry} {company:?}"));
                self.accompany(proc, entry, id, company, mark);
            }
            Command::Finish { entry } => {
                let delay = self.pace.finishes;
                let failed = self.stormy() && self.rng.chance(self.weather.provider);
                let error = || haldane_providers::Error::Unavailable("busy".to_owned());
                let result = if failed { Err(error()) } else { Ok(()) };
                if result.is_ok() {
                    self.clean_up(proc, &entry);
                }
                self.input_in(proc, delay, Input::Finished { entry, result });
            }
            Command::Look { key, look, .. } => {
                self.note_sent(|| format!("Look {} {}", key.check, key.window.begin));
                self.look(proc, key, look);
            }
            Command::Facts { source, .. } => self.facts(proc, source),
            Command::Revisions { side, .. } => {
                let runs = self.runs[usize::from(side.as_str() == "green")].clone();
                let revisions = match self.mood {
                    Mood::Hung => return,
                    Mood::Broken => Err("502".to_owned()),
                    Mood::Good | Mood::Empty | Mood::Lost | Mood::Down | Mood::Thin => {
                        Ok(vec![runs.as_str().into()])
                    }
                };
                self.input_in(proc, 20, Input::Revisions { side, revisions });
            }
            Command::Answer { id, outcome } => self.answered(proc, id, outcome),
            Command::Gate(gate) => self.ask_gate(proc, &gate),
            Command::Tell(entry) => self.check_told(&entry),
            Command::Notice(notice) => self.note_sent(|| format!("{notice:?}")),
            // Nothing was ever recorded of it.
            Command::Stop if self.kept.load().is_none() => self.truth.gone = true,
            Command::Release | Command::Stop => {}
        }
    }
}
