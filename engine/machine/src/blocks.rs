//! What keeps a rollout from going on without anybody having decided so: computed anew in each
//! turn from what is seen, told once while it lasts.

use haldane_model::{Block, Gap, GapPolicy, LeaseSeen, Place, SpecSeen, Verdict, Weight};

use crate::{turn::Turn, view::gap_of};

/// A measured share further from the asked one than this, in basis points, is off.
const SHARE_TOLERANCE: u16 = 500;

/// Computes the blocks that do not depend on what would be done next; `raise.rs` adds its own.
pub(crate) fn compute(turn: &mut Turn<'_>) {
    written(turn);
    unreadable(turn);
    if turn.seen.lease == Some(LeaseSeen::Unsure) {
        turn.block(Block::LeaseUnsure, "whether this engine may raise is not sure");
    }
    let in_flight = turn.record.place.is_in_flight();
    if !turn.record.place.is_guarded() {
        return;
    }
    share_off(turn);
    missing_answers(turn);
    if turn.is_home_dead() {
        let words = turn.down_words(&turn.record.header.home);
        turn.block(Block::HomeDead, words);
    }
    if turn.has_home_changed() && (in_flight || turn.record.previous.is_some()) {
        home_changed(turn);
    }
}

fn written(turn: &mut Turn<'_>) {
    match &turn.seen.spec {
        Some(SpecSeen::Invalid { message }) => turn.block(Block::SpecInvalid, message.clone()),
        Some(SpecSeen::Valid { plan, .. }) => {
            let pinned = turn.record.plan.as_ref().map(|pinned| pinned.hash.clone());
            let differs = pinned.is_some_and(|pinned| pinned != plan.hash);
            if differs && turn.record.place.is_guarded() {
                turn.block(Block::PlanChanged, "the next attempt takes what is written now");
            }
        }
        Some(SpecSeen::Deleted | SpecSeen::NamespaceDeleted) | None => {}
    }
}

fn unreadable(turn: &mut Turn<'_>) {
    let unread = turn.seen_entries().find_map(|(name, seen)| match &seen.reading {
        Err(unreadable) => Some(format!("{name}: {}", unreadable.message)),
        Ok(reading) => reading.parts.iter().find_map(|part| {
            let why = part.share.as_ref().err()?;
            Some(format!("{name}: {}: {why}", part.name))
        }),
    });
    if let Some(words) = unread {
        turn.block(Block::Unreadable, words);
    }
}

fn share_off(turn: &mut Turn<'_>) {
    if matches!(turn.record.place, Place::Shifting { .. }) {
        return;
    }
    let asserted = turn.record.asserted();
    let test = turn.record.header.test.clone();
    let off = turn.readings().find_map(|(name, reading)| {
        let measured = reading.settled.then(|| reading.measured_of(&test))??;
        let off = measured.distance(asserted).basis_points() > SHARE_TOLERANCE;
        off.then(|| format!("{name}: {measured} was measured, {asserted} was asked"))
    });
    if let Some(words) = off {
        turn.block(Block::ShareOff, words);
    }
}

/// Missing answers whose policy is to hold. At share 0 silence holds nothing; a broken source does.
fn missing_answers(turn: &mut Turn<'_>) {
    let exposed = turn.is_exposed();
    if turn.is_test_lost() && turn.policy(Gap::CanaryLost) == GapPolicy::Hold {
        let words = turn.down_words(&turn.record.header.test);
        turn.block(Block::NoData, words);
    }
    if !turn.any_verdict(|verdict| gap_of(verdict).is_some()) {
        return;
    }
    let holding: Vec<_> = turn
        .guards()
        .into_iter()
        .filter_map(|(_, seen)| {
            let seen = seen?;
            let gap = gap_of(seen.verdict)?;
            let holds = turn.policy(gap) == GapPolicy::Hold;
            let counts = exposed || gap == Gap::SourceError;
            (holds && counts).then_some((gap, seen))
        })
        .collect();
    for (gap, seen) in holding {
        let words = seen.finding.message.clone().unwrap_or_default();
        let words = format!("{}: {words}", seen.finding.check);
        let block = match gap {
            Gap::NoData | Gap::CanaryLost => Block::NoData,
            Gap::SourceError => Block::SourceError,
        };
        turn.block_with(block, words, Some(&seen.finding));
    }
}

/// The home side was changed in flight: what was baked was compared with something else.
fn home_changed(turn: &mut Turn<'_>) {
    let words = format!("{} shows another revision", turn.record.header.home);
    turn.block(Block::HomeChanged, words);
    if turn.record.told.contains(&Block::HomeChanged) {
        return;
    }
    if let Place::Baking { baked, done_at, .. } = &mut turn.record.place {
        *baked = std::time::Duration::ZERO;
        *done_at = None;
    }
}

// === impl Turn ===

impl Turn<'_> {
    /// Returns whether something, held or seen, keeps bake from counting.
    pub(crate) fn is_bake_stopped(&self) -> bool {
        // Once flipped, the other side is only where one could return to: the watch goes on.
        let watching = matches!(self.record.place, Place::Watching { .. });
        let stops =
            |block: &Block| block.stops_bake() && !(watching && *block == Block::HomeChanged);
        self.record.stops_bake() || self.blocks.iter().any(stops)
    }

    /// Returns whether a check's last answer counts as one while this share is held.
    pub(crate) fn counts_as_answer(&self, verdict: Verdict, share: Weight) -> bool {
        match verdict {
            Verdict::Pass | Verdict::Fail { .. } | Verdict::Inconclusive { .. } => true,
            Verdict::NoData | Verdict::CanaryLost => {
                share == Weight::ZERO || self.is_left_out(verdict)
            }
            Verdict::SourceError => self.is_left_out(verdict),
        }
    }
}
