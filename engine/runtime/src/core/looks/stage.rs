//! Where a rollout stands while a check looks that compares two sides.

use haldane_judge::Stage;
use haldane_model::{CheckName, Place, Record};
use jiff::{SignedDuration, Timestamp};

use super::window::moment;

/// Where the rollout stands, for checks that compare. On the way to a share no window belongs to a
/// step; at 100 % after the last bake every window does. `ahead` is how far the source's clock is ahead,
/// for a share that was confirmed before it told.
pub(super) fn stage(record: &Record, check: &CheckName, ahead: SignedDuration) -> Stage {
    let plan = record.plan.as_deref();
    let source = plan.and_then(|plan| plan.checks.iter().find(|one| one.name == *check));
    let number = |step: usize| u32::try_from(step).unwrap_or(u32::MAX);
    let weight_at = |step: usize| plan?.steps.get(step).map(|step| step.weight);
    let weight = record.asserted();
    let between = |step: usize| Stage {
        step: number(step),
        weight,
        next: weight_at(step + 1),
        windows_from: Timestamp::MAX,
        gates: false,
    };
    match &record.place {
        Place::Baking { step, from, .. } => Stage {
            windows_from: source.map_or(from.wall, |check| moment(from, check, ahead)),
            gates: source.is_some_and(|check| !check.dry_run),
            ..between(*step)
        },
        Place::Promoting { .. } | Place::Watching { .. } => Stage {
            windows_from: Timestamp::MIN,
            ..between(plan.map_or(0, |plan| plan.last_step()))
        },
        Place::Waiting { step, .. } => between(step.saturating_sub(1)),
        Place::Shifting { step, .. } => between(*step),
        Place::Pending { .. }
        | Place::Healthy
        | Place::RollingBack { .. }
        | Place::Degraded { .. } => between(0),
    }
}
