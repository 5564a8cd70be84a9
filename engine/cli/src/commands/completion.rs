//! `haldane completion`: a script that completes arguments in a shell.

use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::{context::Context, print};

/// Arguments of `completion`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell.
    shell: clap_complete::Shell,
}

/// Runs the command.
pub(crate) async fn run(args: Args, _: &Context) -> miette::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::Cli::command(), "haldane", &mut script);
    print::text(&String::from_utf8_lossy(&script));
    Ok(ExitCode::SUCCESS)
}
