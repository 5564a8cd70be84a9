//! Raising asks for everything: one missing answer, and the share stays where it is.

use std::time::Duration;

use haldane_model::{
    Block, Check, LeaseSeen, Mark, Now, Place, Record, Seen, SourceName, Stamp, Verdict,
    WaiverKind, Weight,
};

use crate::{turn::Turn, view::Shown};

/// Returns whether a write that raises the share to `to` may be recorded in this turn. What is in
/// its way is noted as a block.
///
/// `from` is the share that every entry must be at, or on the way from; `restore` is the moment
/// after which the guards must have had a look, where a lowered share is restored.
pub(crate) fn may_raise(
    turn: &mut Turn<'_>,
    from: Weight,
    to: Weight,
    restore: Option<&Stamp>,
) -> bool {
    // Every question is asked, so that all that is in the way is told at once.
    let answers = [
        holds_lease(turn),
        turn.record.holds.is_empty(),
        reads_between(turn, from, to),
        guards_answer(turn, restore),
        can_guard_at(turn, to),
        is_test_ready(turn, to),
        is_home_as_it_was(turn),
    ];
    answers.iter().all(|yes| *yes)
}

/// Returns whether a raise that was decided and recorded may leave, now that the split was read again:
/// a person may have put everything back by hand meanwhile, or a side may have died.
#[must_use]
pub fn may_still_raise(record: &Record, seen: &Seen, now: Now) -> bool {
    let mut turn = Turn::new(record, seen, now);
    let (from, to, restore) = match &record.place {
        Place::Shifting { step, from, restore } => {
            let Some(plan) = &record.plan else { return false };
            (*from, plan.weight(*step), restore.as_ref())
        }
        Place::Watching { restore: Some(moment), .. } => {
            let from = turn.range().map_or(Weight::ZERO, |range| range.lowest);
            (from, Weight::FULL, Some(moment))
        }
        Place::Watching { restore: None, .. }
        | Place::Pending { .. }
        | Place::Waiting { .. }
        | Place::Baking { .. }
        | Place::Promoting { .. }
        | Place::Healthy
        | Place::RollingBack { .. }
        | Place::Degraded { .. } => return false,
    };
    // The guards answered before the attempt; in it they are asked once users may see it.
    let first = restore.is_none() && record.exposed.confirmed.is_none();
    let guarded = if first { !turn.was_breached() } else { guards_answer(&mut turn, restore) };
    guarded
        && holds_lease(&mut turn)
        && turn.record.holds.is_empty()
        && reads_between(&turn, from, to)
        && can_guard_at(&mut turn, to)
        && is_test_ready(&mut turn, to)
        && is_home_as_it_was(&mut turn)
}

fn holds_lease(turn: &mut Turn<'_>) -> bool {
    match turn.seen.lease {
        Some(LeaseSeen::Held { term }) => term == turn.record.term,
        Some(LeaseSeen::Unsure) => {
            turn.block(Block::LeaseUnsure, "whether this engine may raise is not sure");
            false
        }
        Some(LeaseSeen::Other { .. }) | None => false,
    }
}

fn reads_between(turn: &Turn<'_>, from: Weight, to: Weight) -> bool {
    turn.range().is_some_and(|range| {
        range.complete && range.lowest >= from.min(to) && range.highest <= to.max(from)
    })
}

/// Every source answered freshly, and none with a breach. Sources waived by name may be silent; a
/// policy that leaves a broken source out of looks does not raise without it.
fn guards_answer(turn: &mut Turn<'_>, restore: Option<&Stamp>) -> bool {
    if turn.plan().is_none() {
        return false;
    }
    let waived = waived_sources(turn);
    let mut all = true;
    let mut failing = None;
    let mut broken = None;
    for (check, seen) in turn.guards() {
        let Some(seen) = seen else {
            all &= waived.contains(&check.source) || waits_for_exposure(turn, check);
            continue;
        };
        if seen.verdict.is_breach() {
            failing = Some(seen.finding.clone());
        } else if !turn.is_answer(seen.verdict) {
            if !waived.contains(&check.source) {
                broken = Some(seen);
            }
        } else if let Some(moment) = restore {
            let after = seen.window.end > turn.moment(moment, &check.source);
            all &= after || waived.contains(&check.source);
        }
    }
    if let Some(finding) = failing {
        let words = format!("{} fails before anything is raised", finding.check);
        turn.block_with(Block::GuardFails, words, Some(&finding));
        return false;
    }
    if let Some(seen) = broken {
        let words = seen.finding.message.clone().unwrap_or_default();
        let block =
            if seen.verdict == Verdict::SourceError { Block::SourceError } else { Block::NoData };
        turn.block_with(block, format!("{}: {words}", seen.finding.check), Some(&seen.finding));
        return false;
    }
    all
}

/// Whether a check with an initial delay is not asked before an exposure is confirmed that is under
/// way already: to wait for its answer would be to wait for ever. It answered before the attempt.
fn waits_for_exposure(turn: &Turn<'_>, check: &Check) -> bool {
    let exposed = &turn.record.exposed;
    let shifting = matches!(turn.record.place, Place::Shifting { restore: None, .. });
    shifting
        && !check.initial_delay.is_zero()
        && exposed.could.is_some()
        && exposed.confirmed.is_none()
}

fn waived_sources(turn: &Turn<'_>) -> Vec<SourceName> {
    let mut names = Vec::new();
    for waiver in &turn.record.waivers {
        match &waiver.kind {
            WaiverKind::Open { without, .. } | WaiverKind::Promote { without, .. } => {
                names.extend(without.iter().cloned());
            }
            WaiverKind::Skip | WaiverKind::Policy => {}
        }
    }
    names
}

/// At 100 % there is no baseline: something absolute must be left to judge by, be it the rates that
/// this attempt found while there was one.
fn can_guard_at(turn: &mut Turn<'_>, to: Weight) -> bool {
    let rates = turn.record.evidence.values().chain(turn.record.frozen.values());
    let frozen = !turn.is_pending() && rates.into_iter().any(|rate| !rate.is_empty());
    let can = to < Weight::FULL
        || turn.plan().is_some_and(|plan| frozen || plan.guards_at_full || plan.unanalysed);
    if !can && turn.plan().is_some() {
        let words = "nothing is there to judge 100 % by: no rate, no objective, no threshold";
        turn.block(Block::AwaitingPass, words);
    }
    can
}

/// Ready for a share is a side of which that share is: three pods take 25 % where one is ready, and 50 % where two are.
fn is_test_ready(turn: &mut Turn<'_>, to: Weight) -> bool {
    use haldane_model::Health;
    let test = turn.record.header.test.clone();
    let ready = match turn.health(&test) {
        Some(Health::Untold) => true,
        Some(Health::Ready { ready, wanted }) => {
            let needed = u64::from(wanted) * u64::from(to.basis_points());
            let has = u64::from(ready) * u64::from(Weight::FULL.basis_points());
            if has < needed {
                let words = match turn.why(&test) {
                    Some(why) => format!("too few for {to}: {test}: {why}"),
                    None => format!("too few for {to}: {ready} of {wanted} of {test} are ready"),
                };
                turn.block(Block::NotReady, words);
            }
            has >= needed
        }
        Some(Health::Down) => {
            let words = turn.down_words(&test);
            turn.block(Block::NotReady, words);
            false
        }
        None => false,
    };
    // Before an attempt the revision is pinned from what is shown; in it, it must be what was pinned.
    let expected = if turn.is_pending() { None } else { turn.record.revision.clone() };
    let known = match turn.shown(&test) {
        Shown::One(shown) => expected.is_none_or(|expected| *shown == expected),
        Shown::Several(_) | Shown::Unknown => false,
    };
    if !known {
        let why = turn.why(&test).map_or(String::new(), |why| format!(": {why}"));
        let words = format!("{test} does not show the revision alone{why}");
        turn.block(Block::RevisionUnknown, words);
    }
    ready && known
}

fn is_home_as_it_was(turn: &mut Turn<'_>) -> bool {
    if turn.is_home_dead() {
        let words = turn.down_words(&turn.record.header.home);
        turn.block(Block::HomeDead, words);
        return false;
    }
    if turn.is_pending() {
        return true;
    }
    // In the watch and in flight: what a rollback would return to must still be there.
    !turn.has_home_changed() || matches!(turn.record.place, Place::Watching { .. })
}

/// Records the way to a step's weight and, if it is upwards, asks for the write.
pub(crate) fn begin_step(turn: &mut Turn<'_>, step: usize, from: Weight) {
    let to = turn.record.plan.as_ref().map_or(Weight::ZERO, |plan| plan.weight(step));
    turn.go(Place::Shifting { step, from, restore: None });
    let mark = Mark::raise(turn.next_number());
    turn.sign(mark);
    if to > Weight::ZERO && turn.record.exposed.could.is_none() {
        turn.record.exposed.could = Some(turn.stamp());
    }
    if to == Weight::FULL {
        turn.record.frozen = turn.record.evidence.clone();
    }
    if to > from {
        turn.raise(to);
    }
    turn.wake(Duration::from_millis(100));
}

/// Raises where that may be done, and says whether it was.
pub(crate) fn raise_again(turn: &mut Turn<'_>, from: Weight, to: Weight, restore: Option<&Stamp>) {
    tell_failing(turn);
    if turn.is_writing() || turn.reads_exactly(to) {
        return;
    }
    if may_raise(turn, from, to, restore) {
        turn.raise(to);
    }
}

/// Tells that the last write failed, or that one waits because of it.
fn tell_failing(turn: &mut Turn<'_>) {
    let failing = turn.entry_names().find_map(|name| {
        let write = turn.seen.writes.get(name)?;
        let (why, _) = write.failed.as_ref()?;
        Some(format!("{name}: {why}"))
    });
    let waits = turn
        .entry_names()
        .any(|name| turn.seen.writes.get(name).is_some_and(|write| write.backing_off));
    if let Some(why) = failing {
        turn.block(Block::WriteFailing, why);
    } else if waits {
        turn.block(Block::WriteFailing, "a write failed and is tried again");
    }
}

/// Returns the step to begin: the next one, or the last where a person promoted fully.
pub(crate) fn target(turn: &Turn<'_>, next: usize) -> usize {
    let full = turn.record.waivers.iter().any(|waiver| match waiver.kind {
        WaiverKind::Open { full, .. } | WaiverKind::Promote { full, .. } => full,
        WaiverKind::Skip | WaiverKind::Policy => false,
    });
    let last = turn.record.plan.as_ref().map_or(next, |plan| plan.last_step());
    if full { last.max(next) } else { next }
}

// === impl Turn ===

impl Turn<'_> {
    /// Returns whether a guard's last answer is a breach, be it one from before the attempt.
    fn was_breached(&self) -> bool {
        let breaches = |name| {
            let seen = self.seen.checks.get(name);
            seen.is_some_and(|seen| seen.verdict.is_breach())
        };
        self.guards().into_iter().any(|(check, _)| breaches(&check.name))
    }
}
