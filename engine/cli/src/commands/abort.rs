//! `haldane abort`: puts the traffic back. Never stale, and never refused while something is in flight.

use std::process::ExitCode;

use haldane_api::Ask;

use crate::{
    ask::{Made, Target, send},
    context::Context,
};

/// Arguments of `abort`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    made: Made,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> miette::Result<ExitCode> {
    send(context, &args.target, args.made, Ask::new("abort")).await
}
