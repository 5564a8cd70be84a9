//! `haldane serve DIR`: every rollout file of a directory, watched, with the local HTTP API.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use haldane_model::{JournalEntry, RolloutId, Severity};
use haldane_runtime::{Notice, drive::Sink, explain};
use haldane_host::Intent;
use haldane_standalone::{Watcher, open};
use tokio::signal::unix;
use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// Serves every rollout file of a directory.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory; files that end in .yaml, .yml or .json are read.
    dir: PathBuf,
    /// Serve the API on this loopback address as well; needs --token-file.
    #[arg(long, value_name = "ADDRESS:PORT", requires = "token_file")]
    listen: Option<std::net::SocketAddr>,
    /// The file that holds the API's token, for --listen.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Writes every decision to the log.
#[derive(Debug)]
struct Log;

impl Sink for Log {
    fn told(&self, rollout: &RolloutId, entry: &JournalEntry) {
        let (reason, message) = (entry.reason.code(), explain::sentence(entry));
        match entry.reason.severity() {
            Severity::Normal => tracing::info!(%rollout, id = entry.id, reason, "{message}"),
            Severity::Warning => tracing::warn!(%rollout, id = entry.id, reason, "{message}"),
            Severity::Page => tracing::error!(%rollout, id = entry.id, reason, "{message}"),
        }
    }

    fn noticed(&self, rollout: &RolloutId, notice: &Notice) {
        tracing::warn!(%rollout, "{}", crate::told::words(notice));
    }
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> miette::Result<ExitCode> {
    if !args.dir.is_dir() {
        return Err(miette::miette!("{} is no directory", args.dir.display()));
    }
    let state = context.state_dir()?;
    let engine =
        open(&state, Arc::new(Log)).map_err(|error| miette::miette!("{error}"))?;
    let token = CancellationToken::new();
    let api = context.serve_socket(&state, engine.clone(), token.clone()).await?;
    let tcp = match (args.listen, args.token_file) {
        (Some(address), Some(file)) => {
            Some(context.serve_tcp(address, file, engine.clone(), token.clone()).await?)
        }
        (Some(_) | None, _) => None,
    };
    tracing::info!(dir = %args.dir.display(), state = %state.display(), "serving");
    let watcher = Watcher::directory(args.dir, Intent::default());
    let watching = tokio::spawn(watcher.run(engine.clone(), token.clone()));
    let mut terminate = unix::signal(unix::SignalKind::terminate()).expect("signals are free");
    let mut interrupt = unix::signal(unix::SignalKind::interrupt()).expect("signals are free");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: weights stay where they are, unguarded until the next start");
    token.cancel();
    engine.stop().await;
    let _ = watching.await;
    let _ = api.await;
    if let Some(tcp) = tcp {
        let _ = tcp.await;
    }
    Ok(ExitCode::SUCCESS)
}
