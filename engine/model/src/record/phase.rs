//! Which checks are asked and decide where a rollout is.

use super::{Place, Record};
use crate::{Check, During, Weight};

// === impl Record ===

impl Record {
    /// Returns whether a check is asked, guards and gates here.
    ///
    /// Where the share is on its way, the step that was confirmed last still holds.
    #[must_use]
    pub fn is_in_force(&self, check: &Check) -> bool {
        if check.during.is_background() {
            return true;
        }
        let (Some(step), Some(plan)) = (self.held_step(), &self.plan) else { return false };
        let watching = matches!(self.place, Place::Watching { .. });
        match &check.during {
            During::Background => true,
            During::BeforeTraffic => plan.weight(step) == Weight::ZERO,
            During::Steps(steps) => !watching && steps.contains(&step),
            During::AfterPromotion => plan.weight(step) == Weight::FULL,
        }
    }

    /// Returns the step whose share was confirmed last; in the watch the last one. `None` before the
    /// first, and where nothing is under way.
    #[must_use]
    pub fn held_step(&self) -> Option<usize> {
        let plan = self.plan.as_ref()?;
        match self.place {
            Place::Baking { step, .. } | Place::Shifting { step, restore: Some(_), .. } => {
                Some(step)
            }
            // A person may have skipped steps: the share tells which one is left.
            Place::Waiting { step, .. } | Place::Shifting { step, restore: None, .. } => {
                let share = self.asserted();
                plan.steps.iter().take(step).position(|step| step.weight == share)
            }
            Place::Promoting { .. } | Place::Watching { .. } => Some(plan.last_step()),
            Place::Pending { .. }
            | Place::Healthy
            | Place::RollingBack { .. }
            | Place::Degraded { .. } => None,
        }
    }
}
