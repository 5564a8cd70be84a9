//! Pending: before an attempt. The split is read first; then something must be there to roll out.

use haldane_model::{
    Actor, Block, Header, HeaderEntry, PendingCause, Place, Plan, Reason, Revision, SideName,
    SpecSeen, Weight,
};

use crate::{raise, turn::Turn, view::Shown};

/// How a split that is read for the first time is taken over.
enum Found {
    /// Everything goes to this side.
    All(SideName),
    /// This side has the larger share.
    Most(SideName),
    /// Nothing is known yet.
    Unread,
}

/// Reads the split for the first time, or anew after the sides were renamed.
pub(crate) fn keep(turn: &mut Turn<'_>) {
    let Some(plan) = turn.written_plan() else { return };
    let names = [plan.sides[0].name.clone(), plan.sides[1].name.clone()];
    let header = &turn.record.header;
    if !names.contains(&header.test) || !names.contains(&header.home) {
        turn.record.serving = None;
        turn.record.promoted.clear();
        let [home, test] = names.clone();
        turn.record.header.home = home;
        turn.record.header.test = test;
    }
    if turn.record.serving.is_none() {
        first_read(turn, plan, &names);
    } else if let Some(range) = turn.range()
        && range.highest > turn.record.asserted()
        && !turn.drives_what_is_written()
    {
        // An edit at rest brought an entry whose split is not the asserted one.
        turn.block(Block::SplitRefused, "a new traffic entry does not carry the split in force");
    }
}

fn first_read(turn: &mut Turn<'_>, plan: &Plan, names: &[SideName; 2]) {
    // What stands on a side must have been told once: else it would be taken for new afterwards.
    let is_told = |side: &SideName| turn.seen.sides.contains_key(side);
    if plan.sides.iter().any(|side| side.workload.is_some() && !is_told(&side.name)) {
        return;
    }
    let adopt = matches!(turn.seen.spec, Some(SpecSeen::Valid { adopt: true, .. }));
    let serving = match find(turn, names) {
        Found::Unread => return,
        Found::All(side) => side,
        Found::Most(side) if adopt => side,
        Found::Most(_) => {
            let words = "the split lies between 0 and 100 %; set it to either, or start with --adopt \
                         to take the larger share as serving and send the other's to it";
            turn.block(Block::SplitRefused, words);
            return;
        }
    };
    let idle = plan.other(&serving).clone();
    turn.record.header = Header {
        test: idle.clone(),
        home: serving.clone(),
        sides: names.clone(),
        entries: header_entries(plan),
        lowered: None,
    };
    turn.record.serving = Some(serving.clone());
    turn.record.marks =
        turn.readings().filter_map(|(name, read)| Some((name.clone(), read.mark?))).collect();
    let shown = known(turn, &serving);
    let initial = shown.unwrap_or_else(|| Revision::from("initial"));
    turn.record.promoted.insert(serving.clone(), initial);
    let named = match &turn.seen.spec {
        Some(SpecSeen::Valid { revision, named, .. }) => revision.is_some() || *named,
        Some(SpecSeen::Invalid { .. } | SpecSeen::Deleted | SpecSeen::NamespaceDeleted) | None => {
            false
        }
    };
    turn.record.stood = if named { None } else { known(turn, &idle) };
    let detail = format!("{serving} serves");
    turn.tell(Reason::Adopted, Actor::Engine, None, Some(detail));
}

fn header_entries(plan: &Plan) -> Vec<HeaderEntry> {
    let entries = plan.entries.iter().map(|entry| HeaderEntry {
        name: entry.name.clone(),
        kind: entry.kind.clone(),
        settings: entry.settings.clone(),
    });
    entries.collect()
}

fn known(turn: &Turn<'_>, side: &SideName) -> Option<Revision> {
    match turn.shown(side) {
        Shown::One(revision) => Some(revision.clone()),
        Shown::Unknown | Shown::Several(_) => None,
    }
}

/// Returns what the entries read, all together.
fn find(turn: &Turn<'_>, [first, second]: &[SideName; 2]) -> Found {
    let (mut lowest, mut highest, mut read) = (Weight::FULL, Weight::ZERO, 0);
    let wanted = turn.entry_names().count();
    for (_, reading) in turn.readings() {
        let (low, high) = reading.range_of(second);
        (lowest, highest) = (lowest.min(low), highest.max(high));
        read += usize::from(reading.silent_parts().next().is_none());
    }
    if read < wanted || wanted == 0 {
        Found::Unread
    } else if highest == Weight::ZERO {
        Found::All(first.clone())
    } else if lowest == Weight::FULL {
        Found::All(second.clone())
    } else if highest.basis_points() > Weight::FULL.basis_points() / 2 {
        Found::Most(second.clone())
    } else {
        Found::Most(first.clone())
    }
}

/// Starts an attempt, or finds that there is nothing to roll out.
pub(crate) fn advance(turn: &mut Turn<'_>) {
    let Place::Pending { cause } = turn.record.place else { return };
    if turn.record.serving.is_none() || turn.blocks.contains(&Block::SplitRefused) {
        return;
    }
    let idle = turn.record.header.test.clone();
    let Some(revision) = known(turn, &idle) else {
        let words = match turn.why(&idle) {
            Some(why) => format!("what {idle} runs is not known: {why}"),
            None => format!(
                "what {idle} runs is not known; name it with `revision` or ask for it \
                 with `revisionQuery`"
            ),
        };
        turn.block(Block::RevisionUnknown, words);
        return;
    };
    if turn.is_reverted() {
        turn.settle();
    } else if turn.is_startable(&revision, cause == PendingCause::Retry) {
        start(turn, &revision);
    } else {
        turn.settle();
    }
}

/// Pins the plan and begins: nothing of an earlier attempt is carried over.
fn start(turn: &mut Turn<'_>, revision: &Revision) {
    let Some(SpecSeen::Valid { plan, .. }) = &turn.seen.spec else { return };
    let plan = plan.clone();
    let first = plan.weight(0);
    if !turn.reads_exactly(Weight::ZERO) || !raise::may_raise(turn, Weight::ZERO, first, None) {
        return;
    }
    let home = turn.record.header.home.clone();
    let previous = known(turn, &home).or_else(|| turn.record.promoted.get(&home).cloned());
    if let Some(previous) = &previous {
        turn.record.promoted.insert(home, previous.clone());
    }
    turn.forget();
    turn.record.header.sides = [plan.sides[0].name.clone(), plan.sides[1].name.clone()];
    turn.record.header.entries = header_entries(&plan);
    turn.record.revision = Some(revision.clone());
    turn.record.previous = previous;
    turn.record.attempt += 1;
    turn.record.progressed = std::time::Duration::ZERO;
    turn.record.frozen.clear();
    let gated = plan.steps.first().is_some_and(|step| !step.gates.is_empty());
    turn.record.plan = Some(plan);
    if gated {
        turn.go(Place::Waiting { step: 0, since: turn.now.wall });
    } else {
        raise::begin_step(turn, 0, Weight::ZERO);
    }
    let detail = turn.record.previous.as_ref().map(|previous| format!("from {previous}"));
    turn.tell(Reason::Started, Actor::Engine, None, detail);
    if gated {
        turn.tell(Reason::GateAsked, Actor::Engine, None, None);
    }
}

// === impl Turn ===

impl Turn<'_> {
    /// Returns whether the entries that count here are those of the record, settings and all.
    pub(crate) fn drives_what_is_written(&self) -> bool {
        let written = if self.is_pending() { self.written_plan() } else { None };
        written.is_none_or(|plan| header_entries(plan) == self.record.header.entries)
    }

    /// Returns whether the idle side's revision may be rolled out: it is none of home's, of what
    /// failed last, and of what stood there when the traffic left it.
    pub(crate) fn is_startable(&self, revision: &Revision, retry: bool) -> bool {
        let home = &self.record.header.home;
        let at_home = match self.shown(home) {
            Shown::One(shown) => shown == revision,
            Shown::Several(shown) => shown.contains(revision),
            Shown::Unknown => false,
        };
        let failed = self.record.failed.as_ref() == Some(revision) && !retry;
        let stood = self.record.stood.as_ref() == Some(revision);
        !at_home && !failed && !stood
    }

    /// Returns whether the idle side was set back to what serves, or to what served before.
    pub(crate) fn is_reverted(&self) -> bool {
        let header = &self.record.header;
        let serving = self.record.promoted.get(&header.home);
        if serving.is_some() && self.written_revision() == serving {
            return true;
        }
        match (self.shown(&header.test), self.shown(&header.home)) {
            (Shown::One(idle), Shown::One(home)) => idle == home,
            (Shown::One(_) | Shown::Unknown | Shown::Several(_), _) => false,
        }
    }

    /// Goes to rest: there is nothing to roll out.
    pub(crate) fn settle(&mut self) {
        self.go(Place::Healthy);
        let home = self.record.header.home.clone();
        self.record.revision = self.record.promoted.get(&home).cloned();
        let detail = "nothing to roll out".to_owned();
        self.tell(Reason::Reverted, Actor::Engine, None, Some(detail));
    }
}
