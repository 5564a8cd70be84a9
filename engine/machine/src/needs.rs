//! What is worth asking in a place: the runtime asks nothing else.

use std::{sync::Arc, time::Duration};

use haldane_model::{Gate, GateKind, Place, Plan, Record, SpecSeen};

/// How often the split is read at rest.
const AT_REST: Duration = Duration::from_secs(30);

/// How often the split is read before an attempt and during a clean-up. A held share is read at a part
/// of the guards' pace, and never more often than this.
const UNDER_WAY: Duration = Duration::from_secs(1);

/// The longest pause between two reads of a held share.
const HELD_MAX: Duration = Duration::from_secs(10);

/// How many reads fall to one look of the guards.
const READS_A_LOOK: u32 = 10;

/// How often the split is read while it is expected to change.
const CHANGING: Duration = Duration::from_millis(200);

/// What is worth asking.
#[derive(Clone, Debug, PartialEq)]
pub struct Needs {
    /// The plan whose entries, checks and sides are asked; `None` where nothing can be asked.
    pub plan: Option<Arc<Plan>>,
    /// How often the split is read.
    pub read_every: Duration,
    /// Whether the checks are asked.
    pub checks: bool,
    /// The gates that are asked.
    pub gates: Vec<Gate>,
}

/// Returns what is worth asking in this place.
#[must_use]
pub fn needs(record: &Record, spec: Option<&SpecSeen>) -> Needs {
    let written = match spec {
        Some(SpecSeen::Valid { plan, .. }) => Some(plan),
        Some(SpecSeen::Invalid { .. } | SpecSeen::Deleted | SpecSeen::NamespaceDeleted) | None => {
            None
        }
    };
    let plan = match record.place {
        Place::Pending { .. } => written.or(record.plan.as_ref()),
        Place::Healthy | Place::Degraded { .. } => record.plan.as_ref().or(written),
        Place::Waiting { .. }
        | Place::Shifting { .. }
        | Place::Baking { .. }
        | Place::Promoting { .. }
        | Place::Watching { .. }
        | Place::RollingBack { .. } => record.plan.as_ref(),
    };
    let read_every = match record.place {
        Place::Healthy | Place::Degraded { .. } => AT_REST,
        Place::Waiting { .. } | Place::Baking { .. } | Place::Watching { restore: None, .. } => {
            record.plan.as_deref().map_or(UNDER_WAY, held)
        }
        Place::Pending { .. }
        | Place::Promoting { .. }
        | Place::Watching { restore: Some(_), .. } => UNDER_WAY,
        Place::Shifting { .. } | Place::RollingBack { .. } => CHANGING,
    };
    let pending = matches!(record.place, Place::Pending { .. }) && record.serving.is_some();
    Needs {
        plan: plan.cloned(),
        read_every,
        checks: record.place.is_guarded() || pending,
        gates: gates(record),
    }
}

/// How often a share that nobody is about to change is read: often enough that a foreign write is seen
/// before the next look, and that each window and each bake holds several reads.
fn held(plan: &Plan) -> Duration {
    let windows = plan.gating().filter_map(|check| check.window);
    let bakes = plan.steps.iter().map(|step| step.bake).filter(|bake| !bake.is_zero());
    let shortest = windows.chain(bakes).fold(plan.guard_interval(), Duration::min);
    (shortest / READS_A_LOOK).clamp(UNDER_WAY, HELD_MAX)
}

fn gates(record: &Record) -> Vec<Gate> {
    let Some(plan) = &record.plan else { return Vec::new() };
    let first = match record.place {
        // A raise that was recorded and not sent waits for the step's own gates still.
        Place::Waiting { step, .. } | Place::Shifting { step, .. } => step,
        Place::Baking { step, .. } => step + 1,
        Place::Pending { .. }
        | Place::Promoting { .. }
        | Place::Watching { .. }
        | Place::Healthy
        | Place::RollingBack { .. }
        | Place::Degraded { .. } => return Vec::new(),
    };
    let ahead = plan.steps.iter().skip(first).flat_map(|step| &step.gates);
    ahead.filter(|gate| matches!(gate.kind, GateKind::External(_))).cloned().collect()
}
