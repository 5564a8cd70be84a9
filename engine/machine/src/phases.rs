//! The phases of checks that are not asked all along: each begins with nothing behind it.

use haldane_model::{CheckName, CheckSeen, Stamp};

use crate::turn::Turn;

/// Notes which phases begin in this turn, and forgets what checks found whose phase ended: neither
/// their failures nor their evidence is there when they are asked again.
///
/// After a rollback what was found stays, for people.
pub(crate) fn turn_over(turn: &mut Turn<'_>) {
    let Some(plan) = turn.record.plan.clone() else { return };
    if !turn.record.place.is_guarded() {
        return;
    }
    for check in plan.checks.iter().filter(|check| !check.during.is_background()) {
        if !turn.record.is_in_force(check) {
            if turn.record.in_force.remove(&check.name).is_some() {
                turn.record.evidence.remove(&check.name);
            }
        } else if !turn.record.in_force.contains_key(&check.name) {
            let now = turn.stamp();
            turn.record.in_force.insert(check.name.clone(), now);
        }
    }
}

// === impl Turn ===

impl Turn<'_> {
    /// Returns whether a verdict tells of the phase that the check is in. One that is asked all along
    /// is in one phase only.
    pub(crate) fn is_of_phase(&self, name: &CheckName, seen: &CheckSeen) -> bool {
        let check = self.plan().and_then(|plan| plan.checks.iter().find(|one| one.name == *name));
        let Some(check) = check.filter(|check| !check.during.is_background()) else { return true };
        let after = |since: &Stamp| seen.window.end > self.moment(since, &check.source);
        self.record.is_in_force(check) && self.record.in_force.get(name).is_some_and(after)
    }
}
