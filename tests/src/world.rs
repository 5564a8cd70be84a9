//! A small world for the state machine: one record, one look and one moment, in any place.
//!
//! [`World::at`] builds a rollout that is calmly where one wants it; every method changes one fact.
//! Nothing here decides: [`World::turn`] asks the machine. It never reads a clock.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use haldane_machine::{Decision, Effect, decide};
use haldane_model::{
    Acknowledged, Actor, AlertAction, AlertSeen, Cause, Check, CheckName, CheckSeen, Entry,
    EntryName, EntrySeen, Evidence, Exposure, Finding, Follow, Gap, GapPolicy, Gate, GateAnswer,
    GateKind, Ground, Header, HeaderEntry, Health, Hold, HoldKind, LeaseSeen, Limits, Mark, Now,
    OnDeadline, OnExpired, OnInconclusive, Outcome, PendingCause, Place, Plan, Policies, Reading,
    Reason, Record, Request, Revision, Seen, Side, SideName, SideSeen, Source, SpecSeen, Stamp,
    State, Step, Tick, Unreadable, Verb, Verdict, Weight, Window, WriteSeen,
};
use jiff::{SignedDuration, Timestamp};

/// The columns of the machine's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Column {
    /// Before an attempt; the split is known.
    Pending,
    /// Before the second step, at the first one's weight.
    Waiting,
    /// From the first step's weight to the second's; the raise was sent, and is not read yet.
    Shifting,
    /// At the second step's weight, the bake not over.
    Baking,
    /// At 100 %, the clean-up not done.
    Promoting,
    /// Flipped, half of the watch over.
    Watching,
    /// Done; the roles have turned.
    Healthy,
    /// Out of the second step's bake.
    RollingBack,
    /// After a breach.
    Degraded,
}

impl Column {
    /// Every column.
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::Waiting,
        Self::Shifting,
        Self::Baking,
        Self::Promoting,
        Self::Watching,
        Self::Healthy,
        Self::RollingBack,
        Self::Degraded,
    ];
    /// The columns in which an attempt is under way and home serves.
    pub const IN_FLIGHT: [Self; 4] = [Self::Waiting, Self::Shifting, Self::Baking, Self::Promoting];
    /// The columns whose guards roll back.
    pub const GUARDED: [Self; 5] =
        [Self::Waiting, Self::Shifting, Self::Baking, Self::Promoting, Self::Watching];
    /// The columns at rest.
    pub const AT_REST: [Self; 3] = [Self::Pending, Self::Healthy, Self::Degraded];
}

/// A record, a look and a moment.
#[derive(Clone, Debug)]
pub struct World {
    /// What is remembered.
    pub record: Record,
    /// What is seen.
    pub seen: Seen,
    /// When.
    pub now: Now,
}

/// The side that serves before the rollout.
pub const BLUE: &str = "blue";
/// The side under test.
pub const GREEN: &str = "green";
/// The one traffic entry.
pub const EDGE: &str = "edge";
/// The one check.
pub const ERRORS: &str = "errors";
/// The one source.
pub const MAIN: &str = "main";
/// The number of the last decision that the record knows.
pub const KNOWN: u64 = 7;

/// A share in percent.
#[must_use]
pub fn percent(share: u32) -> Weight {
    Weight::from_percent(share).expect("tests ask for shares up to 100")
}

/// A span in seconds.
#[must_use]
pub fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A moment, this many seconds after the tests' beginning of time.
#[must_use]
pub fn at(count: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + count).expect("tests stay within the calendar")
}

/// This many seconds after the beginning, on both clocks.
#[must_use]
pub fn moment(count: u32) -> Now {
    Now { wall: at(i64::from(count)), mono: secs(u64::from(count)), boot: 1 }
}

/// A plan of three steps, 10, 50 and 100 %, each held for a minute, watched for ten, with one check
/// asked every 15 s. Held on silence, rolled back on a lost test side.
#[must_use]
pub fn plan() -> Plan {
    let side = |name: &str| Side {
        name: name.into(),
        labels: BTreeMap::new(),
        revision_query: Some("{}".into()),
    };
    let step = |share: u32| Step {
        weight: percent(share),
        bake: secs(60),
        max_bake: None,
        gates: Vec::new(),
    };
    Plan {
        hash: "1:a".into(),
        sides: [side(BLUE), side(GREEN)],
        entries: vec![entry()],
        steps: vec![step(10), step(50), step(100)],
        watch: secs(600),
        progress_deadline: secs(3_600),
        on_deadline: OnDeadline::Pause,
        sources: vec![Source {
            name: MAIN.into(),
            kind: "prometheus".into(),
            settings: "{}".into(),
        }],
        checks: vec![check(ERRORS)],
        policies: Policies {
            no_data: GapPolicy::Hold,
            source_error: GapPolicy::Hold,
            canary_lost: GapPolicy::Abort,
            inconclusive: OnInconclusive::Pause,
        },
        alerts: Vec::new(),
        guards_at_full: true,
        unanalysed: false,
    }
}

fn entry() -> Entry {
    Entry {
        name: EDGE.into(),
        kind: "memory".into(),
        settings: "{}".into(),
        follow: Follow::Steps,
        signed: true,
        write_deadline: secs(10),
    }
}

/// A check that gates, asked every 15 s.
#[must_use]
pub fn check(name: &str) -> Check {
    Check {
        name: name.into(),
        source: MAIN.into(),
        kind: "errors".into(),
        question: "{}".into(),
        rule: "{}".into(),
        interval: secs(15),
        window: None,
        initial_delay: Duration::ZERO,
        limits: Limits::default(),
        dry_run: false,
    }
}

/// A gate that something outside opens.
#[must_use]
pub fn external(name: &str) -> Gate {
    Gate {
        name: name.into(),
        kind: GateKind::External("{}".into()),
        expires: None,
        on_expired: OnExpired::Pause,
    }
}

/// A gate that a person opens.
#[must_use]
pub fn manual(name: &str) -> Gate {
    Gate { kind: GateKind::Manual, ..external(name) }
}

/// A person.
#[must_use]
pub fn ada() -> Actor {
    Actor::Person("ada".to_owned())
}

/// A moment on all clocks.
#[must_use]
pub fn stamp(wall: Timestamp) -> Stamp {
    Stamp { wall, sources: BTreeMap::new() }
}

// === impl World ===

impl World {
    /// Builds a rollout that is calmly in this place: read as asserted, healthy, every check passing.
    #[must_use]
    pub fn at(column: Column) -> Self {
        Self::with(column, plan())
    }

    /// Like [`Self::at`], with another plan; its first two weights are those of Waiting, Shifting
    /// and Baking.
    #[must_use]
    pub fn with(column: Column, plan: Plan) -> Self {
        let now = moment(10_000);
        let plan = Arc::new(plan);
        let record = record(column, &plan, now);
        let mut world = Self { record, seen: Seen::default(), now };
        world.seen.lease = Some(LeaseSeen::Held { term: 1 });
        world.seen.spec = Some(SpecSeen::Valid {
            plan,
            paused: false,
            revision: None,
            named: false,
            adopt: false,
        });
        let share = world.record.asserted();
        let mark = world.record.marks.get(&EntryName::from(EDGE)).copied();
        // A rollback that read 0 for long is over: this one read it just now.
        let first = if column == Column::RollingBack { 9_999 } else { 9_000 };
        let world = world.reads(share, mark, first);
        let world = world.shows(BLUE, &["v1"]).shows(GREEN, &["v2"]);
        let world = world.health(BLUE, ready()).health(GREEN, ready());
        world.verdict(Verdict::Pass)
    }

    /// Decides.
    #[must_use]
    pub fn turn(&self) -> Decision {
        decide(&self.record, &self.seen, self.now)
    }

    /// Decides, and takes the record as won.
    #[must_use]
    pub fn won(&self) -> Self {
        let mut next = self.clone();
        next.record = self.turn().record;
        next.record.version += 1;
        next
    }

    /// Lets the record answer until nothing changes any more: the end of this look.
    #[must_use]
    pub fn settled(&self) -> Self {
        let mut world = self.clone();
        for _ in 0..8 {
            let next = world.won();
            if next.record.place == world.record.place {
                return next;
            }
            world = next;
        }
        panic!("eight turns on one look, and it moves still: {:?}", world.record.place)
    }

    /// Lets time pass on both clocks.
    #[must_use]
    pub fn later(mut self, count: u64) -> Self {
        self.now = self.now.after(secs(count));
        self
    }

    /// Changes anything.
    #[must_use]
    pub fn but(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Changes the pinned plan, and the written one alike.
    #[must_use]
    pub fn planned(mut self, change: impl FnOnce(&mut Plan)) -> Self {
        let pinned = self.record.plan.clone().or_else(|| self.written());
        let mut plan = (*pinned.expect("a plan is pinned or written")).clone();
        change(&mut plan);
        let plan = Arc::new(plan);
        if self.record.plan.is_some() {
            self.record.plan = Some(plan.clone());
        }
        if let Some(SpecSeen::Valid { plan: written, .. }) = &mut self.seen.spec {
            *written = plan;
        }
        self
    }

    /// Changes the written plan alone, as an edit does.
    #[must_use]
    pub fn edited(mut self, change: impl FnOnce(&mut Plan)) -> Self {
        if let Some(SpecSeen::Valid { plan, .. }) = &mut self.seen.spec {
            let mut edited = (**plan).clone();
            change(&mut edited);
            edited.hash = "1:b".into();
            *plan = Arc::new(edited);
        }
        self
    }

    fn written(&self) -> Option<Arc<Plan>> {
        match &self.seen.spec {
            Some(SpecSeen::Valid { plan, .. }) => Some(plan.clone()),
            Some(SpecSeen::Invalid { .. } | SpecSeen::Deleted | SpecSeen::NamespaceDeleted)
            | None => None,
        }
    }

    // --- the split ---

    /// The entry reads this share of the side under test, with this mark, since `first`.
    #[must_use]
    pub fn reads(mut self, share: Weight, mark: Option<Mark>, first: u32) -> Self {
        let reading = Reading {
            side: self.record.header.test.clone(),
            lowest: share,
            highest: share,
            parts: Vec::new(),
            acknowledged: Acknowledged::Programmed,
            settled: true,
            measured: None,
            mark,
            writer: None,
            health: (Health::Untold, Health::Untold),
        };
        let seen = EntrySeen { reading: Ok(reading), first: moment(first) };
        self.seen.entries.insert(EDGE.into(), Arc::new(seen));
        self
    }

    /// The entry reads this share, under the mark that the record knows: nobody else wrote, or
    /// somebody did and left our mark.
    #[must_use]
    pub fn read(self, share: u32) -> Self {
        let mark = self.known_mark();
        let first = 10_000;
        self.reads(percent(share), mark, first)
    }

    /// The entry reads this share, written by us under a mark that the record does not know.
    #[must_use]
    pub fn ours(self, share: u32, mark: Mark) -> Self {
        self.reads(percent(share), Some(mark), 10_000)
    }

    /// The mark that the record knows.
    #[must_use]
    pub fn known_mark(&self) -> Option<Mark> {
        self.record.marks.get(&EntryName::from(EDGE)).copied()
    }

    /// The entry's reading, to be changed.
    pub fn reading(&mut self) -> &mut Reading {
        let seen = self.seen.entries.get_mut(&EntryName::from(EDGE)).expect("the entry is read");
        Arc::make_mut(seen).reading.as_mut().expect("the entry can be read")
    }

    /// The entry cannot be read.
    #[must_use]
    pub fn unreadable(mut self) -> Self {
        let reading = Err(Unreadable { message: "connection refused".to_owned() });
        let seen = EntrySeen { reading, first: self.now };
        self.seen.entries.insert(EDGE.into(), Arc::new(seen));
        self
    }

    /// The last write failed, in this turn.
    #[must_use]
    pub fn write_failed(mut self, useless: bool) -> Self {
        let failed = Some(("503".to_owned(), useless));
        let write = WriteSeen { in_flight: None, backing_off: false, failed };
        self.seen.writes.insert(EDGE.into(), write);
        self
    }

    // --- sides ---

    /// A side shows these revisions.
    #[must_use]
    pub fn shows(mut self, side: &str, revisions: &[&str]) -> Self {
        let revisions = revisions.iter().map(|name| Revision::from(*name)).collect();
        self.seen.sides.entry(side.into()).or_default().revisions = Some(revisions);
        self
    }

    /// A side's revision is not known.
    #[must_use]
    pub fn shows_nothing(mut self, side: &str) -> Self {
        self.seen.sides.entry(side.into()).or_default().revisions = None;
        self
    }

    /// A side's endpoints are so.
    #[must_use]
    pub fn health(mut self, side: &str, health: Health) -> Self {
        let seen: &mut SideSeen = self.seen.sides.entry(side.into()).or_default();
        seen.health = Some(health);
        self
    }

    /// The side that a rollback sends everything to.
    #[must_use]
    pub fn home(&self) -> &'static str {
        if self.record.header.home == SideName::from(BLUE) { BLUE } else { GREEN }
    }

    /// The side under test; at rest the idle one.
    #[must_use]
    pub fn test(&self) -> &'static str {
        if self.record.header.test == SideName::from(BLUE) { BLUE } else { GREEN }
    }

    // --- checks, alerts, requests ---

    /// Every check says this, of the last minute, for this revision and attempt.
    #[must_use]
    pub fn verdict(self, verdict: Verdict) -> Self {
        let end = self.now.wall;
        let begin = end.checked_sub(SignedDuration::from_secs(60)).expect("within the calendar");
        self.verdict_on(verdict, Window { begin, end })
    }

    /// Every check says this of that window.
    #[must_use]
    pub fn verdict_on(mut self, verdict: Verdict, window: Window) -> Self {
        let plan = self.record.plan.clone().or_else(|| self.written());
        let names: Vec<CheckName> =
            plan.iter().flat_map(|plan| &plan.checks).map(|check| check.name.clone()).collect();
        for name in names {
            let seen = CheckSeen {
                verdict,
                evidence: Evidence(Arc::from(&b"rates"[..])),
                judged_to: window.end,
                window,
                finding: Arc::new(finding(&name, verdict, window)),
                revision: self.record.revision.clone(),
                attempt: self.record.attempt,
                at_rest: matches!(self.record.place, Place::Pending { .. }),
            };
            self.seen.checks.insert(name, Arc::new(seen));
        }
        self
    }

    /// What the checks say, to be changed.
    pub fn checks(&mut self) -> impl Iterator<Item = &mut CheckSeen> {
        self.seen.checks.values_mut().map(Arc::make_mut)
    }

    /// No check answers.
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.seen.checks.clear();
        self
    }

    /// A person asks, of this revision, attempt and step.
    #[must_use]
    pub fn asks(mut self, verb: Verb) -> Self {
        let id = format!("{}-{}", verb.word(), self.seen.requests.len());
        let request = Request {
            id: id.into(),
            verb,
            revision: self.record.revision.clone(),
            attempt: Some(self.record.attempt),
            step: self.record.step(),
            reason: None,
            actor: ada(),
            at: self.now.wall,
        };
        self.seen.requests.push(request);
        self
    }

    /// An alert fires since so many seconds.
    #[must_use]
    pub fn fires(mut self, action: AlertAction, since: i64) -> Self {
        let starts_at = self.now.wall.checked_sub(SignedDuration::from_secs(since));
        self.seen.alerts.push(AlertSeen {
            fingerprint: format!("{action:?}"),
            starts_at: starts_at.expect("within the calendar"),
            rule: "burn".into(),
            action,
            firing: true,
        });
        self
    }

    /// A gate answers.
    #[must_use]
    pub fn gate(mut self, name: &str, answer: GateAnswer) -> Self {
        self.seen.gates.insert(name.into(), answer);
        self
    }

    /// A hold is on since a minute.
    #[must_use]
    pub fn held(mut self, kind: HoldKind) -> Self {
        self.record.holds.push(Hold { kind, since: at(9_940), actor: ada() });
        self
    }

    /// The file says this about a pause.
    #[must_use]
    pub fn paused(mut self, says: bool) -> Self {
        if let Some(SpecSeen::Valid { paused, .. }) = &mut self.seen.spec {
            *paused = says;
        }
        self
    }

    /// The spec is so.
    #[must_use]
    pub fn spec(mut self, spec: SpecSeen) -> Self {
        self.seen.spec = Some(spec);
        self
    }

    /// The lease is so.
    #[must_use]
    pub fn lease(mut self, lease: LeaseSeen) -> Self {
        self.seen.lease = Some(lease);
        self
    }

    /// The gap is followed by this.
    #[must_use]
    pub fn policy(self, gap: Gap, policy: GapPolicy) -> Self {
        self.planned(|plan| match gap {
            Gap::NoData => plan.policies.no_data = policy,
            Gap::SourceError => plan.policies.source_error = policy,
            Gap::CanaryLost => plan.policies.canary_lost = policy,
        })
    }

    /// The bake of the step under way is over, and the last verdict lies within and after it.
    #[must_use]
    pub fn baked(mut self) -> Self {
        if let Place::Baking { baked, from, done_at, .. } = &mut self.record.place {
            *baked = secs(60);
            *from = stamp(at(9_900));
            *done_at = Some(stamp(at(9_990)));
        }
        self
    }
}

/// All endpoints are ready.
#[must_use]
pub fn ready() -> Health {
    Health::Ready { ready: 3, wanted: 3 }
}

/// What a check found.
#[must_use]
pub fn finding(check: &CheckName, verdict: Verdict, window: Window) -> Finding {
    Finding {
        check: check.clone(),
        verdict,
        value: None,
        limit: None,
        unit: String::new(),
        samples: None,
        window,
        message: None,
    }
}

fn record(column: Column, plan: &Arc<Plan>, now: Now) -> Record {
    let mut record = Record::new(GREEN.into(), BLUE.into(), 1, now);
    record.version = KNOWN;
    record.serving = Some(BLUE.into());
    record.promoted.insert(BLUE.into(), "v1".into());
    let entries = plan.entries.iter().map(|entry| HeaderEntry {
        name: entry.name.clone(),
        kind: entry.kind.clone(),
        settings: entry.settings.clone(),
    });
    record.header = Header {
        test: GREEN.into(),
        home: BLUE.into(),
        sides: [BLUE.into(), GREEN.into()],
        entries: entries.collect(),
        lowered: None,
    };
    for entry in &plan.entries {
        record.marks.insert(entry.name.clone(), Mark::raise(KNOWN));
    }
    record.place = place(column, plan, now);
    let exposed = Some(stamp(at(9_000)));
    if column == Column::Pending {
        return record;
    }
    record.attempt = 1;
    record.revision = Some("v2".into());
    record.previous = Some("v1".into());
    record.plan = Some(plan.clone());
    record.exposed = Exposure { could: exposed.clone(), confirmed: exposed };
    match column {
        Column::Watching => flip(&mut record),
        Column::Healthy => {
            flip(&mut record);
            std::mem::swap(&mut record.header.test, &mut record.header.home);
            record.exposed = Exposure::default();
        }
        Column::Degraded => record.failed = Some("v2".into()),
        Column::Pending
        | Column::Waiting
        | Column::Shifting
        | Column::Baking
        | Column::Promoting
        | Column::RollingBack => {}
    }
    if matches!(column, Column::RollingBack | Column::Degraded) {
        record.marks.values_mut().for_each(|mark| *mark = Mark::rollback(KNOWN));
    }
    record
}

fn flip(record: &mut Record) {
    record.serving = Some(GREEN.into());
    record.promoted.insert(GREEN.into(), "v2".into());
    record.stood = Some("v1".into());
}

fn place(column: Column, plan: &Plan, now: Now) -> Place {
    let since = at(9_000);
    match column {
        Column::Pending => Place::Pending { cause: PendingCause::First },
        Column::Waiting => Place::Waiting { step: 1, since },
        Column::Shifting => Place::Shifting { step: 1, from: plan.weight(0), restore: None },
        Column::Baking => {
            Place::Baking { step: 1, baked: secs(30), from: stamp(at(9_970)), done_at: None }
        }
        Column::Promoting => {
            let left = plan.entries.iter().map(|entry| entry.name.clone()).collect();
            Place::Promoting { left }
        }
        Column::Watching => Place::Watching { watched: secs(300), restore: None },
        Column::Healthy => Place::Healthy,
        Column::RollingBack => {
            Place::RollingBack { cause: Cause::Breach, since: now.wall, out_of: Ground::Flight }
        }
        Column::Degraded => Place::Degraded { cause: Cause::Breach },
    }
}

// === what a decision says ===

/// Questions that tests ask of a decision.
pub trait Told {
    /// The reasons in its journal, in order.
    fn reasons(&self) -> Vec<Reason>;
    /// Whether it says this.
    fn says(&self, reason: Reason) -> bool;
    /// The state that it leads to.
    fn state(&self) -> State;
    /// The share that it raises to.
    fn raises(&self) -> Option<Weight>;
    /// The share that it lowers to.
    fn lowers(&self) -> Option<Weight>;
    /// Whether it begins or continues a rollback as it must: `Lower(0)` comes first.
    fn rolls_back(&self) -> bool;
    /// Why the last request was refused.
    fn refusal(&self) -> Option<&str>;
}

impl Told for Decision {
    fn reasons(&self) -> Vec<Reason> {
        self.entries.iter().map(|entry| entry.reason).collect()
    }

    fn says(&self, reason: Reason) -> bool {
        self.reasons().contains(&reason)
    }

    fn state(&self) -> State {
        self.record.state()
    }

    fn raises(&self) -> Option<Weight> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Raise { to, .. } => Some(*to),
            Effect::Lower { .. } | Effect::Finish | Effect::Release => None,
        })
    }

    fn lowers(&self) -> Option<Weight> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Lower { to, .. } => Some(*to),
            Effect::Raise { .. } | Effect::Finish | Effect::Release => None,
        })
    }

    fn rolls_back(&self) -> bool {
        let first = self.effects.first();
        self.state() == State::RollingBack
            && matches!(first, Some(Effect::Lower { to: Weight::ZERO, .. }))
    }

    fn refusal(&self) -> Option<&str> {
        self.record.requests.iter().rev().find_map(|(_, outcome)| match outcome {
            Outcome::Refused(why) => Some(why.as_str()),
            Outcome::Accepted => None,
        })
    }
}

/// A tick at this moment whose interval counts.
#[must_use]
pub fn counting(now: Now) -> Tick {
    Tick { now, counting: true }
}
