//! What a turn sees, put as the questions that the transitions ask.
//!
//! An absent answer is never good news: each question says what it makes of one.

use haldane_model::{
    Check, CheckName, CheckSeen, EntryName, EntrySeen, Finding, Gap, GapPolicy, Health, HoldKind,
    Mark, Place, Plan, Reading, Revision, SideName, SpecSeen, Verdict, Weight,
};

use crate::turn::Turn;

/// Which revision a side shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown<'a> {
    /// Nothing tells, or nothing answered.
    Unknown,
    /// This one.
    One(&'a Revision),
    /// Several at once: it is being replaced.
    Several(&'a [Revision]),
}

/// The lowest and the highest share of the side under test over all entries that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) lowest: Weight,
    pub(crate) highest: Weight,
    /// Whether every entry, and every part of it, answered.
    pub(crate) complete: bool,
}

// === impl Turn: the split ===

impl<'a> Turn<'a> {
    /// Returns the names of the entries that count here.
    pub(crate) fn entry_names(&self) -> Box<dyn Iterator<Item = &EntryName> + '_> {
        if let Place::Pending { .. } = self.record.place
            && let Some(plan) = self.written_plan()
        {
            return Box::new(plan.entries.iter().map(|entry| &entry.name));
        }
        Box::new(self.record.header.entries.iter().map(|entry| &entry.name))
    }

    /// Returns what is seen of the entries that count here and answered.
    pub(crate) fn seen_entries(&self) -> impl Iterator<Item = (&EntryName, &'a EntrySeen)> {
        let seen = self.seen;
        self.entry_names()
            .filter_map(move |name| seen.entries.get(name).map(|entry| (name, entry.as_ref())))
    }

    /// Returns the readings of the entries that count here and could be read.
    pub(crate) fn readings(&self) -> impl Iterator<Item = (&EntryName, &'a Reading)> {
        self.seen_entries().filter_map(|(name, entry)| Some((name, entry.reading.as_ref().ok()?)))
    }

    /// Returns the range of the shares that were read; `None` where nothing was.
    pub(crate) fn range(&self) -> Option<Range> {
        let test = &self.record.header.test;
        let mut range: Option<Range> = None;
        let (mut wanted, mut complete) = (0, 0);
        for name in self.entry_names() {
            wanted += 1;
            let Some(Ok(reading)) = self.seen.entries.get(name).map(|entry| &entry.reading) else {
                continue;
            };
            complete += usize::from(reading.silent_parts().next().is_none());
            let (lowest, highest) = reading.range_of(test);
            range = Some(range.map_or(Range { lowest, highest, complete: false }, |other| Range {
                lowest: other.lowest.min(lowest),
                highest: other.highest.max(highest),
                complete: false,
            }));
        }
        range.map(|range| Range { complete: wanted == complete, ..range })
    }

    /// Returns whether every entry, with every part, reads this share.
    pub(crate) fn reads_exactly(&self, share: Weight) -> bool {
        self.range()
            .is_some_and(|range| range.complete && range.lowest == share && range.highest == share)
    }

    /// Returns whether every entry reads this share, acknowledged and settled.
    pub(crate) fn is_confirmed(&self, share: Weight) -> bool {
        self.reads_exactly(share) && self.readings().all(|(_, reading)| reading.settled)
    }

    /// Returns whether users can reach the side under test; where nothing was read, whether they
    /// might.
    pub(crate) fn is_exposed(&self) -> bool {
        match self.range() {
            Some(range) => range.highest > Weight::ZERO,
            None => self.record.exposed.could.is_some() && self.record.asserted() > Weight::ZERO,
        }
    }

    /// Returns the mark of a write that the record does not know, where there is one: a newer one,
    /// or a rollback that another engine numbered as this one numbered its raise.
    pub(crate) fn unknown_mark(&self, name: &EntryName, reading: &Reading) -> Option<Mark> {
        let mark = reading.mark?;
        let Some(known) = self.record.marks.get(name) else { return Some(mark) };
        (mark.number > known.number || mark.number == known.number && mark.kind > known.kind)
            .then_some(mark)
    }

    /// Returns whether a write of this entry is under way.
    pub(crate) fn is_writing(&self) -> bool {
        self.entry_names().any(|name| {
            self.seen
                .writes
                .get(name)
                .is_some_and(|write| write.in_flight.is_some() || write.backing_off)
        })
    }

    // --- sides ---

    /// Returns a side's health; `None` where nothing answered.
    pub(crate) fn health(&self, side: &SideName) -> Option<Health> {
        let told = self.seen.sides.get(side).and_then(|seen| seen.health);
        self.readings()
            .map(|(_, reading)| reading.health_of(side))
            .fold(told, |known, health| Some(known.map_or(health, |known| known.and(health))))
    }

    /// Says that nothing of a side is ready, as well as whoever knows its pods can say it.
    pub(crate) fn down_words(&self, side: &SideName) -> String {
        let seen = self.seen.sides.get(side).filter(|seen| seen.health == Some(Health::Down));
        match seen.and_then(|seen| seen.why.as_deref()) {
            Some(why) => format!("{side}: {why}"),
            None => format!("no endpoint of {side} is up"),
        }
    }

    /// Returns what its workload says of a side that is not as it should be.
    pub(crate) fn why(&self, side: &SideName) -> Option<&str> {
        self.seen.sides.get(side)?.why.as_deref()
    }

    /// Returns whether the side that a rollback sends everything to is known dead.
    pub(crate) fn is_home_dead(&self) -> bool {
        self.health(&self.record.header.home) == Some(Health::Down)
    }

    /// Returns whether the side under test is down while users may be sent to it.
    pub(crate) fn is_test_lost(&self) -> bool {
        self.health(&self.record.header.test) == Some(Health::Down) && self.is_exposed()
    }

    /// Returns which revision a side shows. Where nothing outside tells, the idle side shows what
    /// is written, and the serving side what was last promoted there.
    pub(crate) fn shown(&self, side: &SideName) -> Shown<'_> {
        let told = self.seen.sides.get(side).and_then(|seen| seen.revisions.as_deref());
        match told {
            Some([]) => return Shown::Unknown,
            Some([one]) => return Shown::One(one),
            Some(several) => return Shown::Several(several),
            None => {}
        }
        if self.revisions_are_told() {
            return Shown::Unknown;
        }
        let promoted = |side: &SideName| self.record.promoted.get(side);
        let known = if self.record.serving.as_ref() == Some(side) {
            promoted(side)
        } else {
            let serving = self.record.serving.as_ref().and_then(promoted);
            let in_flight = self.record.place.is_in_flight();
            match self.written_revision() {
                // Set back to what serves: whoever writes that in flight wants to return to it.
                Some(written) if in_flight || Some(written) != serving => Some(written),
                Some(_) => promoted(side),
                None if in_flight => self.record.revision.as_ref(),
                None => promoted(side),
            }
        };
        known.map_or(Shown::Unknown, Shown::One)
    }

    fn revisions_are_told(&self) -> bool {
        let plan =
            if self.is_pending() { self.written_plan() } else { self.record.plan.as_deref() };
        plan.is_some_and(Plan::revisions_are_told)
    }

    /// Returns whether the home side may take everything back: it is not known to show anything but
    /// the previous revision, and not known dead.
    pub(crate) fn is_home_intact(&self) -> bool {
        !self.is_home_dead() && !self.has_home_changed()
    }

    /// Returns whether the home side is known to show anything but the previous revision.
    pub(crate) fn has_home_changed(&self) -> bool {
        let Some(previous) = &self.record.previous else { return true };
        match self.shown(&self.record.header.home) {
            Shown::Unknown => false,
            Shown::One(shown) => shown != previous,
            Shown::Several(shown) => shown.iter().any(|shown| shown != previous),
        }
    }

    /// Returns whether the side under test is known to show anything but the revision on trial.
    pub(crate) fn has_test_changed(&self) -> bool {
        let Some(revision) = &self.record.revision else { return false };
        match self.shown(&self.record.header.test) {
            Shown::Unknown => false,
            Shown::One(shown) => shown != revision,
            Shown::Several(shown) => shown.iter().any(|shown| shown != revision),
        }
    }

    // --- what is written ---

    /// Returns whether an attempt has not begun.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.record.place, Place::Pending { .. })
    }

    /// Returns the plan as it is written now.
    pub(crate) fn written_plan(&self) -> Option<&'a Plan> {
        match &self.seen.spec {
            Some(SpecSeen::Valid { plan, .. }) => Some(plan),
            Some(SpecSeen::Invalid { .. } | SpecSeen::Deleted | SpecSeen::NamespaceDeleted)
            | None => None,
        }
    }

    /// Returns the revision as it is written now.
    pub(crate) fn written_revision(&self) -> Option<&'a Revision> {
        match &self.seen.spec {
            Some(SpecSeen::Valid { revision, .. }) => revision.as_ref(),
            Some(SpecSeen::Invalid { .. } | SpecSeen::Deleted | SpecSeen::NamespaceDeleted)
            | None => None,
        }
    }

    /// Returns the plan that binds here: the pinned one, or at rest before an attempt the written.
    pub(crate) fn plan(&self) -> Option<&Plan> {
        if self.is_pending() { self.written_plan() } else { self.record.plan.as_deref() }
    }

    // --- checks ---

    /// Returns the latest verdict of a check, if it is about this revision and attempt.
    pub(crate) fn verdict(&self, name: &CheckName) -> Option<&'a CheckSeen> {
        self.seen.checks.get(name).map(AsRef::as_ref).filter(|check| self.is_current(name, check))
    }

    /// Returns whether a verdict is about this revision, this attempt and this phase of it.
    pub(crate) fn is_current(&self, name: &CheckName, check: &CheckSeen) -> bool {
        check.attempt == self.record.attempt
            && check.revision == self.record.revision
            && check.at_rest == self.is_pending()
            && self.is_of_phase(name, check)
    }

    /// Returns whether a verdict is current and judges what was not judged before.
    pub(crate) fn is_new(&self, name: &CheckName, check: &CheckSeen) -> bool {
        let judged = self.before.judged_to.get(name);
        self.is_current(name, check) && judged.is_none_or(|judged| check.judged_to > *judged)
    }

    /// Returns what is to be done about a missing answer.
    pub(crate) fn policy(&self, gap: Gap) -> GapPolicy {
        let Some(plan) = self.plan() else { return GapPolicy::Hold };
        match gap {
            Gap::NoData => plan.policies.no_data,
            Gap::SourceError => plan.policies.source_error,
            Gap::CanaryLost => plan.policies.canary_lost,
        }
    }

    /// Returns whether a check is left out of this look by its policy.
    pub(crate) fn is_left_out(&self, verdict: Verdict) -> bool {
        gap_of(verdict).is_some_and(|gap| self.policy(gap) == GapPolicy::Ignore)
    }

    /// Returns whether a verdict tells something about the side under test. At share 0 its silence
    /// does; a source that is broken never tells anything, whatever its policy.
    pub(crate) fn is_answer(&self, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Pass | Verdict::Fail { .. } | Verdict::Inconclusive { .. } => true,
            Verdict::NoData | Verdict::CanaryLost => {
                !self.is_exposed() || self.is_left_out(verdict)
            }
            Verdict::SourceError => false,
        }
    }

    /// Returns whether every guard answers or is left out by its policy, and none fails.
    pub(crate) fn is_no_guard_failing(&self) -> bool {
        let Some(plan) = self.plan() else { return false };
        plan.gating().filter(|check| self.record.is_in_force(check)).all(|check| {
            self.verdict(&check.name).is_some_and(|seen| {
                let told = self.is_answer(seen.verdict) || self.is_left_out(seen.verdict);
                told && !matches!(seen.verdict, Verdict::Fail { .. })
            })
        })
    }

    /// Returns the gating checks that are in force, with their latest verdicts where there are any.
    pub(crate) fn guards(&self) -> Vec<(&Check, Option<&'a CheckSeen>)> {
        let checks = self.plan().into_iter().flat_map(Plan::gating);
        checks
            .filter(|check| self.record.is_in_force(check))
            .map(|check| (check, self.verdict(&check.name)))
            .collect()
    }

    /// Returns whether any check at all says what `wanted` picks. Most turns end with this: nothing is
    /// looked up for it.
    pub(crate) fn any_verdict(&self, wanted: impl Fn(Verdict) -> bool) -> bool {
        self.seen.checks.values().any(|check| wanted(check.verdict))
    }

    /// Returns the first guard with a new verdict that `wanted` picks.
    pub(crate) fn new_verdict(&self, wanted: impl Fn(Verdict) -> bool) -> Option<Finding> {
        if !self.any_verdict(&wanted) {
            return None;
        }
        self.guards().into_iter().find_map(|(check, seen)| {
            let seen = seen?;
            let picked = wanted(seen.verdict) && self.is_new(&check.name, seen);
            picked.then(|| (*seen.finding).clone())
        })
    }

    /// Returns whether a person, or the file, holds the rollout.
    pub(crate) fn is_held_by_person(&self) -> bool {
        self.record.holds.iter().any(|hold| match hold.kind {
            HoldKind::Person | HoldKind::Spec => true,
            HoldKind::Conflict { .. }
            | HoldKind::AlertPause
            | HoldKind::NeedsPerson(_)
            | HoldKind::Block => false,
        })
    }
}

/// Returns which kind of missing answer a verdict stands for.
pub(crate) fn gap_of(verdict: Verdict) -> Option<Gap> {
    match verdict {
        Verdict::NoData => Some(Gap::NoData),
        Verdict::SourceError => Some(Gap::SourceError),
        Verdict::CanaryLost => Some(Gap::CanaryLost),
        Verdict::Pass | Verdict::Fail { .. } | Verdict::Inconclusive { .. } => None,
    }
}
