//! What there is to read of rollouts: from the engine, from what it left while none runs, or from a cluster.

use std::time::Duration;

use haldane_api::{Client, Entry, JournalPage, Picture};
use haldane_model::RolloutId;
use haldane_runtime::{
    codec::Decoded,
    explain,
    status::Status,
    trace::{Batch, Packed},
};
use haldane_standalone::Offline;
use miette::miette;

use crate::{
    cluster::{Seat, picture},
    context::Context,
    faults,
    place::Place,
    print,
};

/// How many batches of a trace are read at once.
const BATCHES: usize = 20;

/// Where rollouts are read.
pub(crate) enum Book {
    /// From the engine that runs.
    Engine(Client),
    /// From the state directory.
    Left(Box<Offline>),
    /// From a cluster.
    Cluster(Seat),
}

// === impl Book ===

impl Book {
    /// Opens the engine's book, or the one it left.
    pub(crate) async fn open(context: &Context) -> miette::Result<Self> {
        Ok(match Place::find(context).await? {
            Place::Engine(client) => Self::Engine(client),
            Place::Left(left, _) => {
                print::aside("no engine is running; this is what was recorded last");
                Self::Left(left)
            }
            Place::Cluster(seat) => Self::Cluster(seat),
        })
    }

    /// Opens a book that is being written: the engine's or a cluster's.
    pub(crate) async fn open_live(context: &Context) -> miette::Result<Self> {
        match Place::find(context).await? {
            Place::Engine(client) => Ok(Self::Engine(client)),
            Place::Left(_, error) => Err(faults::of_client(error)),
            Place::Cluster(seat) => Ok(Self::Cluster(seat)),
        }
    }

    /// Returns the namespace that is meant where none is named.
    pub(crate) fn namespace(&self) -> &str {
        match self {
            Self::Engine(_) | Self::Left(_) => "default",
            Self::Cluster(seat) => seat.namespace(),
        }
    }

    /// Lists every rollout; in a cluster those of one namespace, or of all.
    pub(crate) async fn list(&self, namespace: Option<&str>) -> miette::Result<Vec<Status>> {
        match self {
            Self::Cluster(seat) => seat.rollouts(namespace).await,
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
            Self::Cluster(seat) => Ok(picture(&seat.rollout(id).await?)),
        }
    }

    /// Waits until a rollout shows something else than what was seen. What was left never changes.
    pub(crate) async fn wait(
        &self,
        id: &RolloutId,
        seen: Option<&str>,
        patience: Duration,
    ) -> miette::Result<Picture> {
        match self {
            Self::Engine(client) => {
                client.wait(id, seen, patience).await.map_err(faults::of_client)
            }
            Self::Left(left) => {
                let status = recorded(left, id)?;
                Ok(Picture { version: status.engine.version.to_string(), status })
            }
            Self::Cluster(seat) => seat.wait(id, seen, patience).await,
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
            Self::Cluster(seat) => seat.journal(id, after, limit).await,
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
                Self::Cluster(_) => return Err(untraced(id)),
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

/// In a cluster every answer that was judged is kept nowhere.
fn untraced(id: &RolloutId) -> miette::Report {
    miette!(
        help = format!(
            "`haldane explain --plot` draws, and `haldane get analysisruns {} -o yaml` shows the newest measurements of each attempt",
            id.name
        ),
        "of {id} the cluster keeps its decisions and the newest measurements, not all that was taken in"
    )
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
