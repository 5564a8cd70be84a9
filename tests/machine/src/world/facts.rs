//! The facts of the small world: each method changes one, and nothing else.

use std::sync::Arc;

use haldane_model::{
    Acknowledged, AlertAction, AlertSeen, CheckName, CheckSeen, EntryName, EntrySeen, Evidence,
    Gap, GapPolicy, GateAnswer, Health, Hold, HoldKind, LeaseSeen, Mark, Place, Reading, Request,
    Revision, SideName, SideSeen, SpecSeen, Unreadable, Verb, Verdict, Weight, Window, WriteSeen,
};
use jiff::SignedDuration;

use super::{BLUE, EDGE, GREEN, World, ada, at, finding, moment, percent, secs, stamp};

// === impl World ===

impl World {
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
            company: Vec::new(),
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
                evidence: Evidence::from(&b"rates"[..]),
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
