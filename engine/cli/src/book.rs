//! What there is to read of rollouts: from the engine, or from what it left while none runs.

use haldane_api::{Client, ClientError, Entry, JournalPage};
use haldane_model::RolloutId;
use haldane_runtime::{
    codec::Decoded,
    explain,
    status::Status,
    trace::{Batch, Packed},
};
use haldane_standalone::Offline;
use miette::miette;

use crate::{context::Context, faults, print};

/// How many batches of a trace are read at once.
const BATCHES: usize = 20;

/// Where rollouts are read.
pub(crate) enum Book {
    /// From the engine that runs.
    Engine(Client),
    /// From the state directory.
    Left(Offline),
}

// === impl Book ===

impl Book {
    /// Opens the engine's book, or the one it left.
    pub(crate) async fn open(context: &Context) -> miette::Result<Self> {
        let client = context.client()?;
        match client.version().await {
            Ok(_) => Ok(Self::Engine(client)),
            Err(error @ ClientError::NoEngine { .. }) if !context.is_remote() => {
                let Ok(left) = Offline::open(&context.state_dir()?) else {
                    return Err(faults::of_client(error));
                };
                print::aside("no engine is running; this is what was recorded last");
                Ok(Self::Left(left))
            }
            Err(error) => Err(faults::of_client(error)),
        }
    }

    /// Lists every rollout.
    pub(crate) async fn list(&self) -> miette::Result<Vec<Status>> {
        match self {
            Self::Engine(client) => client.list().await.map_err(faults::of_client),
            Self::Left(left) => {
                let ids = left.rollouts().map_err(|why| miette!("{why}"))?;
                ids.iter().map(|id| recorded(left, id)).collect()
            }
        }
    }

    /// Shows one rollout.
    pub(crate) async fn get(&self, id: &RolloutId) -> miette::Result<Status> {
        match self {
            Self::Engine(client) => client.get(id).await.map_err(faults::of_client),
            Self::Left(left) => recorded(left, id),
        }
    }

    /// Reads a stretch of a journal.
    pub(crate) async fn journal(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> miette::Result<JournalPage> {
        match self {
            Self::Engine(client) => {
                client.journal(id, after, limit).await.map_err(faults::of_client)
            }
            Self::Left(left) => {
                let journal = left.journal(id, after, limit).map_err(|why| miette!("{why}"))?;
                let entries = journal.entries.into_iter().map(|entry| {
                    let sentence = explain::sentence(&entry);
                    Entry { entry, sentence }
                });
                Ok(JournalPage {
                    entries: entries.collect(),
                    complete_since: journal.complete_since,
                })
            }
        }
    }

    /// Reads everything that a rollout took in and that is kept, oldest first.
    pub(crate) async fn trace(&self, id: &RolloutId) -> miette::Result<Vec<Batch>> {
        let mut all: Vec<Batch> = Vec::new();
        loop {
            let after = all.last().map_or(0, |batch| batch.version);
            let page = match self {
                Self::Engine(client) => {
                    client.trace(id, after, BATCHES).await.map_err(faults::of_client)?
                }
                Self::Left(left) => {
                    left.trace(id, after, BATCHES).map_err(|why| miette!("{why}"))?
                }
            };
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page.iter().map(Packed::unpack));
        }
    }
}

/// The picture of a record that nobody drives.
fn recorded(left: &Offline, id: &RolloutId) -> miette::Result<Status> {
    let record = left.record(id).map_err(|why| miette!("{id}: {why}"))?;
    let record = record.ok_or_else(|| miette!("there is no rollout {id} in this state"))?;
    Ok(match record {
        Decoded::Known(record) => Status::remembered(id, &record),
        Decoded::Newer { header, .. } => Status::of_newer(id, &header),
    })
}
