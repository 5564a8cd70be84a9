//! `make cluster`: the API server of the tests, for a person.
//!
//! Starts etcd, kube-apiserver and the controllers on loopback, installs the CRDs of Istio and of the
//! Gateway API, and Haldane's own where `deploy/crds` has them. Prints the line that points kubectl at it;
//! stops and removes everything on Ctrl-C. There are no nodes: pods stay Pending. `cluster bare` starts
//! the API server alone.

#![allow(clippy::print_stdout, reason = "it speaks to people")]

use std::{path::Path, process::ExitCode, time::Duration};

use haldane_tests::cluster::{self, Cluster, Foreign, Options};
use tokio::signal::unix::{SignalKind, signal};

/// Our own, as they are generated.
const OURS: &str = "deploy/crds";

/// How often it looks whether its servers are still there.
const PACE: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut interrupts = signal(SignalKind::interrupt()).expect("signals can be watched");
    let mut terminations = signal(SignalKind::terminate()).expect("signals can be watched");
    let bare = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("bare") => true,
        Some(_) => {
            println!("usage: cluster, or cluster bare");
            return ExitCode::from(64);
        }
    };
    println!("starting etcd and kube-apiserver {}", cluster::version());
    let cluster = Cluster::start(Options { controllers: !bare, audit: false });
    if !bare {
        install(&cluster);
    }
    println!("\nready; in another terminal:\n");
    println!("export KUBECONFIG={}", cluster.admin().path().display());
    println!("alias kubectl={}\n", cluster::program("kubectl").display());
    println!("Ctrl-C stops and removes it");
    loop {
        tokio::select! {
            _ = interrupts.recv() => break,
            _ = terminations.recv() => break,
            () = tokio::time::sleep(PACE) => {
                if cluster.has_ended() {
                    println!("a server has ended by itself: everything is stopped");
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    println!("stopped");
    ExitCode::SUCCESS
}

fn install(cluster: &Cluster) {
    println!("installing the CRDs of Istio and of the Gateway API");
    cluster.install(Foreign::Istio);
    cluster.install(Foreign::GatewayApi);
    if Path::new(OURS).is_dir() {
        println!("installing {OURS}");
        cluster.install_crds(Path::new(OURS));
    }
}
