//! The split as it is, read from the providers of a plan. Nothing here can write.

use std::{sync::Arc, time::Duration};

use haldane_model::{Check, During, EntryName, Plan, SideName, Weight};
use haldane_outside::Outside;
use haldane_providers::{Sides, TrafficProvider};
use haldane_runtime::drive::Factory as _;
use haldane_sources::LookSides;

use haldane_host::Registered;

/// How long one read may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// What reads the split of a plan.
pub struct Splits {
    entries: Vec<(EntryName, Arc<dyn TrafficProvider>)>,
}

// === impl Splits ===

impl Splits {
    /// Builds the providers of a plan; nothing is asked yet.
    pub fn of(plan: &Plan) -> Result<Self, String> {
        let [first, second] = plan.sides.each_ref().map(|side| side.name.clone());
        let (sides, outside) = (Sides { first, second }, Outside::default());
        let build = |entry: &haldane_model::Entry| {
            let built = Registered.provider(&entry.kind, &entry.settings, &sides, &outside);
            built.map(|built| (entry.name.clone(), built)).map_err(|why| told(&entry.name, &why))
        };
        Ok(Self { entries: plan.entries.iter().map(build).collect::<Result<_, _>>()? })
    }

    /// Reads the share of a side: the highest of all entries, as users see it.
    pub async fn share(&self, side: &SideName) -> Result<Weight, String> {
        let mut highest = Weight::ZERO;
        for (name, provider) in &self.entries {
            let read = tokio::time::timeout(DEADLINE, provider.read()).await;
            let read = read.map_err(|_| format!("{name}: no answer within {DEADLINE:?}"))?;
            let reading = read.map_err(|why| told(name, &why))?;
            if let Some(silent) = reading.silent_parts().next() {
                return Err(format!("{name}: no answer from {silent}"));
            }
            highest = highest.max(reading.range_of(side).1);
        }
        Ok(highest)
    }

    /// Reads who is on trial: the side with less traffic, of two with as much the second of the file.
    pub async fn roles(&self, plan: &Plan) -> Result<LookSides, String> {
        let [first, second] = plan.sides.each_ref().map(|side| side.name.clone());
        let share = self.share(&second).await?;
        Ok(if share > share.complement() {
            LookSides { test: first, serving: second }
        } else {
            LookSides { test: second, serving: first }
        })
    }
}

fn told(name: &EntryName, why: &haldane_providers::Error) -> String {
    format!("{name}: {why}")
}

/// Whether a check is asked while the side on trial has this share.
pub(super) fn is_asked_at(plan: &Plan, check: &Check, share: Weight) -> bool {
    match &check.during {
        During::Background => true,
        During::BeforeTraffic => share == Weight::ZERO,
        During::AfterPromotion => share == Weight::FULL,
        During::Steps(steps) => steps.iter().any(|step| plan.weight(*step) == share),
    }
}
