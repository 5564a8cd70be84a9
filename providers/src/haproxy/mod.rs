//! HAProxy: the share of a route, set over the admin socket of each process.
//!
//! A write counts for the next request, within a millisecond; nothing lags but an old process after
//! a reload, which keeps its share until it ends. Several processes are one target with a part each.
//! The configuration is never written and nothing is ever reloaded: the pasted lines stay as they
//! are ([`snippet()`]).

mod client;
mod config;
mod file;
mod map;
mod processes;
mod share;
mod snippet;
mod solve;
mod stat;
#[cfg(test)]
mod tests;
mod weights;

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream, stream::BoxStream};
use haldane_model::{Acknowledged, Direction, Mark, Reading, Split};
use haldane_outside::Outside;
use serde_json::Value;

pub use self::snippet::{Snippet, snippet};
use self::{
    config::{Settings, Way, Written},
    file::MapFile,
    share::Share,
    weights::ServerWeights,
};
use crate::{
    Built, Capabilities, Error, ProviderEntry, Roles, Scope, SettingsError, Sides, Snapshot,
    TrafficProvider,
};

/// How long a read may take.
const READ_DEADLINE: Duration = Duration::from_secs(1);
/// How long a write may take, as a whole.
const WRITE_DEADLINE: Duration = Duration::from_secs(2);
/// How long the file may take, and how long the processes may.
const WRITE_STEP_DEADLINE: Duration = Duration::from_millis(900);

/// The row of the registry.
pub(crate) const ENTRY: ProviderEntry = ProviderEntry {
    kind: "haproxy",
    schema: || schemars::schema_for!(Written),
    check,
    targets,
    capabilities,
    build,
};

/// One traffic entry that HAProxy serves.
enum Haproxy {
    Share(Share),
    ServerWeights(ServerWeights),
}

fn check(settings: &Value, scope: Scope<'_>) -> Result<Value, Vec<SettingsError>> {
    Settings::parse(settings, scope.sides)?;
    let written = Written::read(settings).map_err(|error| vec![error])?;
    Ok(serde_json::to_value(written).expect("plain settings are JSON"))
}

fn targets(settings: &Value) -> Vec<String> {
    let Ok(written) = Written::read(settings) else { return Vec::new() };
    if let Some(share) = &written.share {
        return vec![format!("haproxy:{}:{}", share.map, share.key)];
    }
    let Some(backend) = written.destinations.values().next().map(|one| &one.backend) else {
        return Vec::new();
    };
    written.sockets.iter().map(|socket| format!("haproxy:{socket}:{backend}")).collect()
}

fn capabilities(settings: &Value) -> Capabilities {
    let mode = Written::read(settings).map(|written| written.mode).unwrap_or_default();
    let share = mode == config::Mode::Share;
    Capabilities {
        granularity: if share { 1 } else { 100 },
        acknowledged: Acknowledged::Programmed,
        settling: Duration::ZERO,
        write_deadline: WRITE_DEADLINE,
        signed: share,
        layer7: true,
        sticky: false,
        mirroring: false,
    }
}

fn build(settings: &Value, sides: &Sides, _outside: &Outside) -> Built {
    let settings = Settings::parse(settings, sides).map_err(|errors| {
        Error::Invalid(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    })?;
    let (sockets, sides) = (settings.sockets, sides.clone());
    Ok(Arc::new(match settings.way {
        Way::Share { map, key, backends } => {
            let file = MapFile::new(map.clone());
            let filed = Arc::default();
            Haproxy::Share(Share { sockets, map, key, backends, sides, file, filed })
        }
        Way::ServerWeights { backend, servers } => {
            Haproxy::ServerWeights(ServerWeights { sockets, backend, servers, sides })
        }
    }))
}

// === impl Haproxy ===

impl TrafficProvider for Haproxy {
    fn capabilities(&self) -> Capabilities {
        let mode = match self {
            Self::Share(_) => "Share",
            Self::ServerWeights(_) => "ServerWeights",
        };
        capabilities(&serde_json::json!({"mode": mode, "destinations": {}}))
    }

    fn preflight(&self) -> BoxFuture<'_, Result<Snapshot, Error>> {
        match self {
            Self::Share(share) => share.preflight().boxed(),
            Self::ServerWeights(weights) => weights.preflight().boxed(),
        }
    }

    fn representable(&self, split: &Split) -> Split {
        match self {
            Self::Share(_) => split.clone(),
            Self::ServerWeights(weights) => weights.representable(split),
        }
    }

    fn read(&self) -> BoxFuture<'_, Result<Reading, Error>> {
        match self {
            Self::Share(share) => share.read().boxed(),
            Self::ServerWeights(weights) => weights.read().boxed(),
        }
    }

    fn write(
        &self,
        split: Split,
        direction: Direction,
        mark: Mark,
    ) -> BoxFuture<'_, Result<(), Error>> {
        match self {
            Self::Share(share) => async move { share.write(&split, direction, mark).await }.boxed(),
            Self::ServerWeights(weights) => async move { weights.write(&split).await }.boxed(),
        }
    }

    fn finish(&self, _roles: Roles) -> BoxFuture<'_, Result<(), Error>> {
        futures::future::ready(Ok(())).boxed()
    }

    fn release(&self, _snapshot: Snapshot) -> BoxFuture<'_, Result<(), Error>> {
        match self {
            Self::Share(share) => share.release().boxed(),
            Self::ServerWeights(_) => futures::future::ready(Ok(())).boxed(),
        }
    }

    /// HAProxy tells nobody of its changes: they are found by reading.
    fn changes(&self) -> BoxStream<'static, ()> {
        stream::pending().boxed()
    }
}
