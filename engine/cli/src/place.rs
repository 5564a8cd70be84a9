//! Where rollouts are: in an engine of this machine, in what one left here, or in a cluster.
//!
//! The rule, first match: 1. `--context` or `--kubeconfig` mean the cluster. 2. `--state` or `--server`, or their
//! variables, mean that engine. 3. As `kubectl haldane` the cluster is meant. 4. An engine of this user, or what it
//! left. 5. The cluster that kubectl would ask. Nothing is asked of a cluster before it is known to be meant.

use std::{env, path::PathBuf};

use haldane_api::{Client, ClientError};
use haldane_outside::ClusterConfig;
use haldane_standalone::Offline;
use miette::miette;

use crate::{cluster::Seat, context::Context, faults};

/// Where rollouts are.
pub(crate) enum Place {
    /// An engine that runs.
    Engine(Client),
    /// What an engine left, and why none answers.
    Left(Box<Offline>, ClientError),
    /// A cluster.
    Cluster(Seat),
}

// === impl Place ===

impl Place {
    /// Finds out where rollouts are meant to be.
    pub(crate) async fn find(context: &Context) -> miette::Result<Self> {
        if let Some(config) = context.named_cluster()? {
            return Seat::open(&config).await.map(Self::Cluster);
        }
        if context.is_plugin() && !context.names_an_engine() {
            let config = inferred().ok_or_else(no_kubeconfig)?;
            return Seat::open(&config).await.map(Self::Cluster);
        }
        let client = context.client()?;
        let error = match client.version().await {
            Ok(_) => return Ok(Self::Engine(client)),
            Err(error @ ClientError::NoEngine { .. }) if !context.is_remote() => error,
            Err(error) => return Err(faults::of_client(error)),
        };
        if let Ok(left) = Offline::open(&context.state_dir()?) {
            return Ok(Self::Left(Box::new(left), error));
        }
        if context.names_an_engine() {
            return Err(faults::of_client(error));
        }
        match inferred() {
            Some(config) => Seat::open(&config).await.map(Self::Cluster),
            None => Err(nowhere(&error)),
        }
    }
}

/// Takes a seat in the cluster that is meant, where nothing but a cluster can be.
pub(crate) async fn cluster(context: &Context) -> miette::Result<Seat> {
    let config = match context.named_cluster()? {
        Some(config) => config,
        None => inferred().ok_or_else(no_kubeconfig)?,
    };
    Seat::open(&config).await
}

/// Returns the cluster that kubectl would ask, where there is one.
pub(crate) fn inferred() -> Option<ClusterConfig> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    let home = || set("HOME").map(|home| PathBuf::from(home).join(".kube/config"));
    if set("KUBECONFIG").is_some() || home().is_some_and(|file| file.exists()) {
        return Some(ClusterConfig::Personal(None));
    }
    set("KUBERNETES_SERVICE_HOST").map(|_| ClusterConfig::InCluster)
}

fn no_kubeconfig() -> miette::Report {
    miette!(
        help = "name one with --kubeconfig, or set KUBECONFIG",
        "no cluster is known: there is no kubeconfig"
    )
}

fn nowhere(error: &ClientError) -> miette::Report {
    miette!(
        help = "start `haldane run` or `haldane serve`, or name the engine's state with --state; for the \
                rollouts of a cluster, name it with --kubeconfig or KUBECONFIG, and --context",
        "{error}, and no cluster is known: there is no kubeconfig"
    )
}
