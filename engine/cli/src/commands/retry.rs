//! `haldane retry`: the revision that was rolled back, once more from the first step.

use std::process::ExitCode;

use haldane_api::Ask;

use crate::{ask::Request, context::Context};

/// Arguments of `retry`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    request: Request,
    /// Go on without this traffic entry, which does not confirm.
    #[arg(long, value_name = "ENTRY")]
    without: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> miette::Result<ExitCode> {
    args.request.send(context, Ask { without: args.without, ..Ask::new("retry") }).await
}
