//! What every subcommand shares: where the engine is, and how answers are shown.

use std::{
    io::IsTerminal,
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use haldane_api::{Client, Listener, Server};
use haldane_host::{Uncompiled, Written};
use haldane_model::RolloutId;
use haldane_runtime::ports::Desk;
use haldane_standalone::Shelf;
use miette::miette;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::faults;

/// The socket's name in the state directory.
const SOCKET: &str = "haldane.sock";

/// Arguments of every subcommand.
#[derive(Debug, clap::Args)]
pub(crate) struct Globals {
    /// The engine's state directory; its socket is in it.
    #[arg(long, value_name = "DIR", env = "HALDANE_STATE", global = true)]
    state: Option<PathBuf>,
    /// Speak to an engine over TCP, such as http://127.0.0.1:9440.
    #[arg(
        long,
        value_name = "URL",
        env = "HALDANE_SERVER",
        global = true,
        requires = "server_token_file"
    )]
    server: Option<String>,
    /// The file that holds the token, for --server.
    #[arg(long, value_name = "FILE", env = "HALDANE_SERVER_TOKEN_FILE", global = true)]
    server_token_file: Option<PathBuf>,
    /// How answers are shown.
    #[arg(short, long, value_enum, default_value_t = Output::Table, global = true)]
    output: Output,
}

/// How answers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For both.
    Yaml,
}

/// What every subcommand shares.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// How answers are shown.
    pub(crate) output: Output,
    state: Option<PathBuf>,
    server: Option<(String, PathBuf)>,
}

impl From<Globals> for Context {
    fn from(globals: Globals) -> Self {
        Self {
            output: globals.output,
            state: globals.state,
            server: globals.server.zip(globals.server_token_file),
        }
    }
}

// === impl Context ===

impl Context {
    /// Returns the state directory: as given, or the user's own.
    pub(crate) fn state_dir(&self) -> miette::Result<PathBuf> {
        let given = self.state.clone().or_else(haldane_standalone::store::default_state_dir);
        given.ok_or_else(|| {
            miette!(
                help = "name one with --state, or set HALDANE_STATE",
                "there is no home to keep state in"
            )
        })
    }

    /// Returns a client of the engine.
    pub(crate) fn client(&self) -> miette::Result<Client> {
        match &self.server {
            Some((url, token_file)) => Client::tcp(url, token_file).map_err(faults::of_client),
            None => Ok(Client::unix(self.state_dir()?.join(SOCKET))),
        }
    }

    /// Returns whether the engine is spoken to over TCP, so that its state may be elsewhere.
    pub(crate) fn is_remote(&self) -> bool {
        self.server.is_some()
    }

    /// Returns whether answers on standard output are coloured.
    pub(crate) fn colours(&self) -> bool {
        self.output == Output::Table && std::io::stdout().is_terminal() && are_colours_wanted()
    }

    /// Serves the API on the socket of a state directory.
    pub(crate) async fn serve_socket(
        &self,
        state: &Path,
        desk: Arc<dyn Desk>,
        token: CancellationToken,
    ) -> miette::Result<JoinHandle<()>> {
        serve(Listener::Unix(state.join(SOCKET)), desk, token).await
    }

    /// Serves the API on a loopback address, for those who know the token.
    pub(crate) async fn serve_tcp(
        &self,
        addr: SocketAddr,
        token_file: PathBuf,
        desk: Arc<dyn Desk>,
        token: CancellationToken,
    ) -> miette::Result<JoinHandle<()>> {
        serve(Listener::Tcp { addr, token_file, anywhere: false }, desk, token).await
    }

    /// Reads the rollouts of a file, with the templates that they may use. What the file leaves to the
    /// sources is asked there. A text that gives none is returned with what can be told of it, and as it
    /// is shown.
    pub(crate) async fn read(
        &self,
        path: &Path,
        shelf: &Shelf,
    ) -> miette::Result<Result<Vec<Written>, (Uncompiled, miette::Report)>> {
        let text = haldane_host::text(path).map_err(|why| miette!("{why}"))?;
        let written = match haldane_host::compile_with(&text, &shelf.beside(path)).await {
            Ok(written) => written,
            Err(wrong) => {
                let report = faults::of_file(path, &text, wrong.diagnostics.clone());
                return Ok(Err((wrong, report)));
            }
        };
        for warning in written.iter().flat_map(|one| &one.warnings) {
            tracing::warn!(file = %path.display(), "{warning}");
        }
        Ok(Ok(written))
    }
}

async fn serve(
    listener: Listener,
    desk: Arc<dyn Desk>,
    token: CancellationToken,
) -> miette::Result<JoinHandle<()>> {
    let server = Server::bind(listener)
        .await
        .map_err(|error| miette!(help = error.remedy(), "the API cannot be served: {error}"))?;
    Ok(tokio::spawn(server.serve(desk, token)))
}

/// Picks the one rollout of a file that is meant: the one that is named, or the only one.
pub(crate) fn pick_one(
    file: &Path,
    wanted: Option<&str>,
    ids: Vec<RolloutId>,
) -> miette::Result<RolloutId> {
    let names = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut wanted = ids.into_iter().filter(|id| match wanted {
        None => true,
        Some(name) => *name == *id.name || *name == id.to_string(),
    });
    match (wanted.next(), wanted.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(miette!("{} holds no such rollout: {names}", file.display())),
        (Some(_), Some(_)) => Err(miette!(
            help = "name one with --rollout",
            "{} holds several rollouts: {names}",
            file.display()
        )),
    }
}

/// `NO_COLOR` counts when it is not empty, whatever it says; a dumb terminal shows none.
pub(crate) fn are_colours_wanted() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
}

/// Returns who runs this, as the journal names them: the owner of our own entry in /proc.
pub(crate) fn user() -> String {
    match std::fs::metadata("/proc/self").map(|entry| entry.uid()) {
        Ok(0) => "root".to_owned(),
        Ok(uid) => format!("uid {uid}"),
        Err(_) => "an unknown user".to_owned(),
    }
}
