//! The subcommands, one file each.

mod run;
mod serve;

use std::process::ExitCode;

use crate::context::Context;

/// What can be done.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Run one rollout in the foreground.
    Run(run::Args),
    /// Serve every rollout file of a directory.
    Serve(serve::Args),
}

/// Does it.
pub(crate) async fn run(command: Command, context: &Context) -> miette::Result<ExitCode> {
    match command {
        Command::Run(args) => run::run(args, context).await,
        Command::Serve(args) => serve::run(args, context).await,
    }
}
