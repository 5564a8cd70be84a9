//! `haldane pause`: holds the rollout where it is. Guards go on, and a breach still rolls back.

use std::process::ExitCode;

use haldane_api::Ask;

use crate::{
    ask::{Made, Target, send},
    context::Context,
};

/// Arguments of `pause`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    made: Made,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> miette::Result<ExitCode> {
    send(context, &args.target, args.made, Ask::new("pause")).await
}
