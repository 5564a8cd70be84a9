//! `haldane completion`: a script that completes arguments in a shell.

use std::process::ExitCode;

use crate::{context::Context, print};

/// Arguments of `completion`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell.
    shell: clap_complete::Shell,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> miette::Result<ExitCode> {
    let mut script = Vec::new();
    let name = if context.is_plugin() { "kubectl-haldane" } else { "haldane" };
    let mut command = crate::command(false);
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    print::text(&String::from_utf8_lossy(&script));
    Ok(ExitCode::SUCCESS)
}
