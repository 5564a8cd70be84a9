//! `haldane operator`: the engine of a cluster. Rollouts are custom resources; of several engines one leads.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};

use haldane_api::{Ops, serve_ops};
use haldane_kubernetes::{Operator, Options};
use haldane_outside::{ClusterConfig, Reach};
use tokio::signal::unix;
use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// Runs the engine of a Kubernetes cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Look at rollouts of this namespace alone; may be given several times. Without it: of all.
    #[arg(long = "namespace", value_name = "NAMESPACE", env = "HALDANE_NAMESPACES", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// The namespace that the Lease lies in.
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE", default_value = "haldane")]
    lease_namespace: String,
    /// What the Lease is called; engines that share it are one, and one of them leads.
    #[arg(long, value_name = "NAME", env = "HALDANE_LEASE_NAME", default_value = "haldane")]
    lease_name: String,
    /// Who holds the Lease; another one for each process. Without it: the host's name and the process.
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    identity: Option<String>,
    /// Serve /live, /ready and /metrics on this address.
    #[arg(long, value_name = "ADDRESS:PORT", env = "HALDANE_LISTEN", default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// Take `requestedBy` of requests for who asks, because a policy of the cluster sees to it.
    #[arg(long, env = "HALDANE_VERIFIED_REQUESTERS")]
    verified_requesters: bool,
    /// The cluster's kubeconfig; without it KUBECONFIG, else the ServiceAccount of the pod.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig.
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    context: Option<String>,
}

struct Shown(tokio::sync::watch::Receiver<Option<Arc<Operator>>>);

impl Ops for Shown {
    fn unready(&self) -> Option<String> {
        match &*self.0.borrow() {
            Some(operator) => operator.unready(),
            None => Some("the API server has not answered yet".to_owned()),
        }
    }

    fn metrics(&self) -> String {
        self.0.borrow().as_ref().map_or_else(|| "# EOF\n".to_owned(), |operator| operator.metrics())
    }
}

/// Runs the command.
pub(crate) async fn run(args: Args, _: &Context) -> miette::Result<ExitCode> {
    let token = CancellationToken::new();
    let (show, shown) = tokio::sync::watch::channel(None);
    let served = serve_ops(args.listen, Arc::new(Shown(shown)), token.clone()).await;
    let (address, ops) = served
        .map_err(|error| miette::miette!("cannot listen on {}: {error}", args.listen))?;
    tracing::info!(%address, "serving /live, /ready and /metrics");
    tokio::spawn(end_on_signal(token.clone()));
    let started = Operator::start(args.options(), &token).await;
    if let Some(operator) = started {
        let operator = Arc::new(operator);
        show.send_replace(Some(operator.clone()));
        token.cancelled().await;
        tracing::info!("stopping: weights stay where they are, and another engine guards them");
        operator.stop().await;
    }
    let _ = ops.await;
    Ok(ExitCode::SUCCESS)
}

async fn end_on_signal(token: CancellationToken) {
    let mut terminate = unix::signal(unix::SignalKind::terminate()).expect("signals are free");
    let mut interrupt = unix::signal(unix::SignalKind::interrupt()).expect("signals are free");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    token.cancel();
}

// === impl Args ===

impl Args {
    fn options(self) -> Options {
        let cluster = match self.kubeconfig {
            Some(path) => ClusterConfig::Kubeconfig { path, context: self.context },
            None => ClusterConfig::Inferred,
        };
        let reach = match self.namespaces.as_slice() {
            [] => Reach::Cluster,
            namespaces => {
                Reach::Namespaces(namespaces.iter().map(|name| name.as_str().into()).collect())
            }
        };
        let identity = self.identity.unwrap_or_else(|| {
            let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
            format!("{}-{}", host.trim(), std::process::id())
        });
        Options {
            cluster,
            reach,
            lease_namespace: self.lease_namespace,
            lease_name: self.lease_name,
            identity,
            verified_requesters: self.verified_requesters,
        }
    }
}
