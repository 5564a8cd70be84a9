//! The simulated provider: parts that each hold a share and a signature, and writes that land late,
//! twice, partly or never.

use haldane_model::{
    Accompanied, Acknowledged, Company, Direction, EntryName, Health, LeaseSeen, Mark, MarkKind,
    Part, Place, Reading, Split, Weight,
};
use haldane_providers::Error;

use super::{Ev, Rng, World};
use haldane_runtime::{Core, Input};

/// One traffic entry.
#[derive(Clone, Debug)]
pub struct Lane {
    /// The share of green and the signature, part by part.
    pub parts: Vec<(Weight, Option<Mark>)>,
    /// When it last changed.
    pub changed_at: u64,
    /// What accompanies the split.
    pub company: Company,
}

/// How long the data plane takes, where nothing goes wrong, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Until a share that was taken over counts as settled.
    pub settles: u64,
    /// Until a write lands and is answered; `None`: a few.
    pub writes: Option<u64>,
    /// Until a read is answered; `None`: a few.
    pub reads: Option<u64>,
    /// Until a clean-up is done.
    pub finishes: u64,
}

// === impl Pace ===

impl Default for Pace {
    fn default() -> Self {
        Self { settles: 300, writes: None, reads: None, finishes: 50 }
    }
}

impl Pace {
    /// Draws one: mostly quick.
    pub fn draw(rng: &mut Rng) -> Self {
        Self {
            settles: rng.pick(&[300, 300, 300, 2_000, 12_000]),
            writes: rng.pick(&[None, None, None, None, Some(1_500)]),
            reads: rng.pick(&[None, None, None, None, Some(1_200)]),
            finishes: rng.pick(&[50, 50, 50, 4_000]),
        }
    }
}

// === impl Lane ===

impl Lane {
    /// Makes one of several parts, as a person left it.
    pub(super) fn new(parts: usize) -> Self {
        let company = Company { testers: "blue".into(), mirror: None };
        Self { parts: vec![(Weight::ZERO, None); parts], changed_at: 0, company }
    }

    fn company(&self) -> Vec<Accompanied> {
        let mirror = self.company.mirror.clone().map(Accompanied::Mirror);
        let testers = Accompanied::Testers(Some(self.company.testers.clone()));
        std::iter::once(testers).chain(mirror).collect()
    }
}

// === impl World ===

impl World {
    /// Returns the lowest and highest share of green that users see.
    #[must_use]
    pub fn true_share(&self) -> (Weight, Weight) {
        let shares = || self.lanes.iter().flat_map(|lane| lane.parts.iter().map(|part| part.0));
        (shares().min().unwrap_or_default(), shares().max().unwrap_or_default())
    }

    fn lane(&self, entry: &EntryName) -> usize {
        entry.as_str().trim_start_matches("entry").parse().unwrap_or(0)
    }

    pub(super) fn read(&mut self, proc: usize, entry: EntryName, id: u64) {
        let delay = self.pace.reads.unwrap_or_else(|| self.rng.range(2, 60));
        let steered = self.strikes(proc, "read fails");
        if steered || self.stormy() && self.rng.chance(self.weather.provider) {
            self.cover_call(proc, "read fails");
            if self.rng.chance(500) {
                let result = Err(Error::Unavailable("connection refused".to_owned()));
                self.input_in(proc, delay, Input::Read { entry, id, result });
            }
            return;
        }
        self.push(delay, Ev::ReadNow { proc, entry, id });
    }

    pub(super) fn read_now(&mut self, proc: usize, entry: EntryName, id: u64) {
        let lane = self.lane(&entry);
        let silent = self.silent_part.filter(|_| self.lanes[lane].parts.len() > 1);
        let lane = &self.lanes[lane];
        let shares: Vec<Weight> = lane.parts.iter().map(|part| part.0).collect();
        let parts = shares.iter().enumerate().map(|(index, share)| Part {
            name: format!("part{index}"),
            share: if silent == Some(index) { Err("silent".to_owned()) } else { Ok(*share) },
        });
        let parts: Vec<Part> = parts.collect();
        let told = || parts.iter().filter_map(|part| part.share.as_ref().ok().copied());
        let reading = Reading {
            side: "green".into(),
            lowest: told().min().unwrap_or_default(),
            highest: told().max().unwrap_or_default(),
            acknowledged: Acknowledged::Programmed,
            settled: self.now >= lane.changed_at + self.pace.settles,
            measured: None,
            mark: lane.parts.iter().filter_map(|part| part.1).max_by_key(|mark| mark.number),
            writer: None,
            health: (self.health[1], self.health[0]),
            company: if self.shape.company { lane.company() } else { Vec::new() },
            parts,
        };
        self.input_in(proc, 2, Input::Read { entry, id, result: Ok(reading) });
    }

    pub(super) fn write(
        &mut self,
        proc: usize,
        entry: EntryName,
        id: u64,
        split: &Split,
        direction: Direction,
        mark: Mark,
    ) {
        let lane = self.lane(&entry);
        let share = split.share_of(&"green".into());
        let parts = self.lanes[lane].parts.len();
        let (fast, slow) = (self.rng.range(5, 80), self.rng.range(200, 2_900));
        let fast = self.pace.writes.unwrap_or(fast);
        let faulty = self.stormy() && self.rng.chance(self.weather.provider);
        let which = if self.strikes(proc, "write fails") {
            self.rng.range(0, 6)
        } else if self.strikes(proc, "write hangs") {
            self.rng.range(6, 8)
        } else if faulty {
            self.rng.range(0, 8)
        } else {
            99
        };
        let mut landing: Vec<(usize, u64)> = (0..parts).map(|part| (part, fast)).collect();
        let unavailable = || Err(Error::Unavailable("time-out".to_owned()));
        let answer: Option<Result<(), Error>> = match which {
            0 => Some(unavailable()),
            1 | 2 => {
                landing.clear();
                Some(unavailable())
            }
            3 => {
                landing.clear();
                Some(Err(Error::Conflict("changed meanwhile".to_owned())))
            }
            4 if direction == Direction::Lower => Some(unavailable()),
            4 => {
                landing.clear();
                Some(Err(Error::Invalid("no such backend".to_owned())))
            }
            5 => {
                landing.truncate(1);
                Some(Err(Error::Partial { done: 1, of: parts, message: "x".to_owned() }))
            }
            6 => {
                // Lands late, perhaps after a later write.
                landing.iter_mut().for_each(|part| part.1 = slow);
                None
            }
            7 => {
                landing.clear();
                None
            }
            _ => Some(Ok(())),
        };
        if which < 99 {
            self.cover_call(proc, if answer.is_some() { "write fails" } else { "write hangs" });
        }
        for (part, delay) in landing {
            self.push(delay, Ev::Land { proc, lane, part, share, mark: Some(mark), direction });
        }
        if let Some(result) = answer {
            self.input_in(proc, fast + 3, Input::Written { entry, id, result });
        }
    }

    /// What accompanies a split is made, fails, or is lost; unlike a write it never lands late: it tests what
    /// it rests on.
    pub(super) fn accompany(
        &mut self,
        proc: usize,
        entry: EntryName,
        id: u64,
        company: Company,
        mark: Mark,
    ) {
        self.check_company(proc, &company, mark);
        let lane = self.lane(&entry);
        // Its dice are its own, so that all other histories stay as they are.
        let mut dice = Rng::new(self.now ^ id);
        let fails = self.stormy() && dice.chance(self.weather.provider * 3);
        let held = self.lanes[lane].parts.iter().filter_map(|(_, mark)| *mark);
        let overruled = held.into_iter().any(|held| mark.yields_to(&held));
        let result = match (fails, overruled) {
            (false, false) => {
                self.lanes[lane].company = company;
                self.lanes[lane].changed_at = self.now;
                Ok(())
            }
            (true, _) => Err(Error::Unavailable("time-out".to_owned())),
            (false, true) => Err(Error::Conflict("a newer rollback".to_owned())),
        };
        if !(fails && dice.chance(300)) {
            self.input_in(proc, 15, Input::Accompanied { entry, id, result });
        }
    }

    /// A clean-up gives testers what everybody has.
    pub(super) fn clean_up(&mut self, proc: usize, entry: &EntryName) {
        let core = self.procs[proc].core.as_ref();
        let Some(header) = core.and_then(Core::header) else { return };
        let testers = header.test.clone();
        let lane = self.lane(entry);
        self.lanes[lane].company = Company { testers, mirror: None };
    }

    /// Nothing is turned on but under the lease, by a record that was won.
    fn check_company(&mut self, proc: usize, company: &Company, mark: Mark) {
        if mark.kind == MarkKind::Rollback {
            let off = company.mirror.is_none();
            if !off {
                self.break_claim(format!("process {proc} mirrors under {mark}"));
            }
            return;
        }
        let allows = |record: &super::store::Signed| {
            let step =
                |step: usize| record.plan.as_ref().and_then(|plan| plan.steps.get(step)?.mirror);
            let mirror = company.mirror.as_ref().map(|mirror| mirror.share);
            let is_step = match record.place {
                Place::Shifting { step: at, .. } | Place::Baking { step: at, .. } => {
                    mirror == step(at)
                }
                Place::Waiting { step: at, .. } => at > 0 && mirror == step(at - 1),
                Place::Promoting { .. } => mirror.is_none(),
                Place::Pending { .. }
                | Place::Watching { .. }
                | Place::Healthy
                | Place::RollingBack { .. }
                | Place::Degraded { .. } => false,
            };
            is_step && company.testers == record.test
        };
        let said = self.kept.marks.values().flatten().any(allows);
        let seen = self.procs[proc].core.as_ref().and_then(|core| core.seen().lease);
        if !said || !matches!(seen, Some(LeaseSeen::Held { .. })) {
            self.break_claim(format!(
                "process {proc} asks for {company:?} under {mark} with the lease {seen:?}, and no won record says so"
            ));
        }
    }

    /// Whether a write lands that its own process does not wait for any more.
    pub(super) fn is_late(&self, proc: usize, direction: Direction) -> bool {
        let record = self.procs[proc].core.as_ref().and_then(Core::record);
        let waits = record.is_some_and(|record| {
            matches!(record.place, Place::Shifting { .. } | Place::Watching { .. })
        });
        direction == Direction::Raise && !waits
    }

    /// A part takes a share over.
    pub fn land(&mut self, lane: usize, part: usize, share: Weight, mark: Option<Mark>) {
        self.lanes[lane].parts[part] = (share, mark);
        // A rollback takes off what accompanies the split with the same write, unless it has changed.
        let is_rollback = mark.is_some_and(|mark| mark.kind == MarkKind::Rollback);
        let home = match share {
            Weight::ZERO => Some("blue"),
            Weight::FULL => Some("green"),
            _ => None,
        };
        if let Some(home) = home.filter(|_| is_rollback && !self.now.is_multiple_of(5)) {
            self.lanes[lane].company = Company { testers: home.into(), mirror: None };
        }
        self.lanes[lane].changed_at = self.now;
        self.note_shares();
    }

    /// Somebody else writes to every part of an entry.
    pub fn foreign(&mut self, lane: usize, share: Weight) {
        self.truth.unseen += 12_000;
        self.log(|| format!("FOREIGN entry{lane} {share}"));
        for part in 0..self.lanes[lane].parts.len() {
            self.land(lane, part, share, None);
        }
    }

    /// Returns whether a side is dead.
    #[must_use]
    pub fn is_down(&self, side: &str) -> bool {
        self.health[usize::from(side == "green")] == Health::Down
    }
}
