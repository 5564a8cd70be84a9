//! What every subcommand shares: where the state is, how to print, and how diagnostics look.

use std::{
    io::IsTerminal,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use haldane_api::{Listener, Server};
use haldane_plan::Diagnostic;
use haldane_runtime::ports::Desk;
use haldane_standalone::{Written, store::default_state_dir};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::diagnostics::Report;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// For both.
    Yaml,
}

/// What every subcommand shares.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// How results are printed.
    pub(crate) output: Output,
    /// The state directory that was named.
    pub(crate) state: Option<PathBuf>,
}

// === impl Context ===

impl Context {
    /// Returns the state directory: the named one, or the system's.
    pub(crate) fn state_dir(&self) -> miette::Result<PathBuf> {
        self.state.clone().or_else(default_state_dir).ok_or_else(|| {
            miette::miette!(help = "name one with --state DIR", "there is no state directory")
        })
    }

    /// Returns the socket of the engine that has the state directory.
    pub(crate) fn socket(&self) -> miette::Result<PathBuf> {
        Ok(self.state_dir()?.join("haldane.sock"))
    }

    /// Returns whether colours may be used: on a terminal, unless NO_COLOR is set.
    pub(crate) fn colours(&self) -> bool {
        std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
    }

    /// Reads a rollout file; what is wrong with it is shown with its lines.
    pub(crate) async fn read(&self, file: &Path) -> miette::Result<Vec<Written>> {
        let text = haldane_standalone::text(file).map_err(|why| miette::miette!("{why}"))?;
        match haldane_standalone::compile(&text).await {
            Ok(written) => {
                for warning in written.iter().flat_map(|one| &one.warnings) {
                    tracing::warn!(file = %file.display(), "{}", warning.message);
                }
                Ok(written)
            }
            Err(diagnostics) => Err(self.refusal(file, text, diagnostics)),
        }
    }

    /// Makes one report of all that is wrong with a file.
    pub(crate) fn refusal(
        &self,
        file: &Path,
        text: String,
        diagnostics: Vec<Diagnostic>,
    ) -> miette::Report {
        Report::new(file, text, diagnostics).into()
    }

    /// Serves the API on the state directory's socket.
    pub(crate) async fn serve_socket(
        &self,
        state: &Path,
        desk: Arc<dyn Desk>,
        token: CancellationToken,
    ) -> miette::Result<JoinHandle<()>> {
        serve(Listener::Unix(state.join("haldane.sock")), desk, token).await
    }

    /// Serves the API on a loopback address, with a token.
    pub(crate) async fn serve_tcp(
        &self,
        addr: SocketAddr,
        token_file: PathBuf,
        desk: Arc<dyn Desk>,
        token: CancellationToken,
    ) -> miette::Result<JoinHandle<()>> {
        serve(Listener::Tcp { addr, token_file, anywhere: false }, desk, token).await
    }
}

async fn serve(
    listener: Listener,
    desk: Arc<dyn Desk>,
    token: CancellationToken,
) -> miette::Result<JoinHandle<()>> {
    let server = Server::bind(listener).await.map_err(|error| miette::miette!("{error}"))?;
    Ok(tokio::spawn(server.serve(desk, token)))
}

/// Returns who runs this program.
pub(crate) fn user() -> String {
    std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "root".into())
}
