//! `haldane promote`: this step is done, now. The journal names who said so.

use std::process::ExitCode;

use haldane_api::Ask;

use crate::{ask::Request, context::Context};

/// Arguments of `promote`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    request: Request,
    /// Go to the last step at once.
    #[arg(long)]
    full: bool,
    /// Raise although a source is silent; needs --reason. A breach still rolls back.
    #[arg(long, requires = "reason")]
    without_guards: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> miette::Result<ExitCode> {
    let ask =
        Ask { full: args.full, without_guards: args.without_guards, ..Ask::new("promote") };
    args.request.send(context, ask).await
}
