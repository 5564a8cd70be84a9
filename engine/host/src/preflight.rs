//! Whether what a rollout would drive is there and as it must be: its providers' preflight.
//!
//! Asked at rest alone, and off everybody's way: what is in flight is taken up at once, and a rollback
//! never waits for it. What a person must put right is shown as a specification that cannot be used;
//! it is asked again until it can.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use haldane_model::{Header, LeaseSeen, Plan, RolloutId, SpecSeen, Weight};
use haldane_outside::Outside;
use haldane_providers::{Error, Sides, Snapshot, TrafficProvider};
use haldane_runtime::{codec::Decoded, drive::Factory as _};

use crate::{
    compile::Written,
    engine::{Engine, Intent},
    factory::Registered,
};

/// How long one provider may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// How long to wait before it is asked again, at first and at most: doubling in between.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// How many rollouts are asked about at once: a thousand files at the start are no reason to flood
/// one socket.
pub(crate) const ASKED_MAX: usize = 16;

/// Whether what a rollout would drive is there and as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preflight {
    /// It is.
    Ready,
    /// Something does not answer; that may pass by itself.
    Waits(String),
    /// A person must put something right: what, and how.
    Refused(String),
}

/// Asks every provider of a plan; the worst answer counts.
async fn ask(id: &RolloutId, plan: &Plan, outside: &Outside) -> Preflight {
    let [first, second] = plan.sides.each_ref().map(|side| side.name.clone());
    let sides = Sides { first, second };
    let asked = plan.entries.iter().map(async |entry| {
        let built = Registered.provider(&entry.kind, &entry.settings, &sides, outside);
        let found = match built {
            Ok(provider) => match tokio::time::timeout(DEADLINE, prove(&*provider, plan)).await {
                Ok(found) => found,
                Err(_) => Err(Error::Unavailable(format!("no answer within {DEADLINE:?}"))),
            },
            Err(error) => Err(error),
        };
        let name = &entry.name;
        match found {
            Ok(snapshot) => {
                for warning in snapshot.warnings {
                    tracing::info!(rollout = %id, entry = %name, "{warning}");
                }
                Preflight::Ready
            }
            Err(Error::Invalid(why)) => Preflight::Refused(format!("traffic entry {name}: {why}")),
            Err(error) => Preflight::Waits(format!("traffic entry {name}: {error}")),
        }
    });
    let answers = join_all(asked).await;
    let refused = |found: &&Preflight| matches!(found, Preflight::Refused(_));
    let waits = |found: &&Preflight| matches!(found, Preflight::Waits(_));
    let worst = answers.iter().find(refused).or_else(|| answers.iter().find(waits));
    worst.cloned().unwrap_or(Preflight::Ready)
}

/// What the provider needs is in place, and every mirror of the steps could be made.
async fn prove(provider: &dyn TrafficProvider, plan: &Plan) -> Result<Snapshot, Error> {
    let snapshot = provider.preflight().await?;
    let mut shares: Vec<Weight> = plan.steps.iter().filter_map(|step| step.mirror).collect();
    shares.sort();
    shares.dedup();
    for share in shares {
        provider.rehearse_mirror(share).await?;
    }
    Ok(snapshot)
}

// === impl Engine ===

impl Engine {
    /// Returns whether users may see a rollout's side under test, or whether that cannot be told.
    pub async fn may_be_in_flight(&self, id: &RolloutId) -> bool {
        self.in_flight(id).await.map_or(true, |header| header.is_some())
    }

    /// Returns what a rollout drives by its record, where it may be in flight.
    pub(crate) async fn in_flight(&self, id: &RolloutId) -> Result<Option<Header>, String> {
        let Some(stored) = self.ports().store.load(id).await? else { return Ok(None) };
        Ok(match haldane_runtime::codec::decode(&stored.bytes)? {
            Decoded::Known(record) => (!record.place.is_at_rest()).then_some(record.header),
            Decoded::Newer { header, .. } => Some(header),
        })
    }

    /// Asks until everything is as it must be, another version of the file, or its end, overtakes this
    /// one, or another engine leads; tells the loop what is written as far as it can be used.
    pub(crate) async fn run_preflight(
        self: Arc<Self>,
        written: Written,
        intent: Intent,
        preflight: u64,
    ) {
        let (mut before, mut wait) = (None, AGAIN.0);
        loop {
            // Whoever leads now asks for itself.
            if matches!(self.ports().lease.borrow().seen, LeaseSeen::Other { .. }) {
                return;
            }
            let found = tokio::select! {
                () = self.ended() => return,
                found = self.ask_in_turn(&written) => found,
            };
            if !self.note_preflight(&written, preflight, &found) {
                return;
            }
            if before.as_ref() != Some(&found) {
                match &found {
                    Preflight::Ready => {}
                    Preflight::Waits(why) => tracing::warn!(rollout = %written.id, "waits: {why}"),
                    Preflight::Refused(why) => {
                        tracing::error!(rollout = %written.id, "refused: {why}");
                    }
                }
                let seen = match &found {
                    // What cannot be used at rest stays usable once it is in flight.
                    Preflight::Refused(_) if self.may_be_in_flight(&written.id).await => {
                        written.seen(intent)
                    }
                    Preflight::Refused(message) => SpecSeen::Invalid { message: message.clone() },
                    Preflight::Ready | Preflight::Waits(_) => written.seen(intent),
                };
                self.tell(&written.id, preflight, seen).await;
            }
            if found == Preflight::Ready {
                return;
            }
            before = Some(found);
            tokio::select! {
                () = self.ended() => return,
                () = tokio::time::sleep(wait) => {}
            }
            wait = (wait * 2).min(AGAIN.1);
            // What was told may have begun meanwhile: only reading and writing tell of it now.
            if self.may_be_in_flight(&written.id).await {
                return self.end_preflight(&written.id, preflight);
            }
        }
    }

    async fn ask_in_turn(&self, written: &Written) -> Preflight {
        let _turn = self.asking().acquire().await;
        ask(&written.id, &written.plan, &self.ports().outside.within(&written.id.namespace)).await
    }
}
