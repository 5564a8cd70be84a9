//! `haldane resume`: lifts what a person may lift: a pause, an ended alert's pause, a conflict, a policy's.

use std::process::ExitCode;

use haldane_api::Ask;

use crate::{
    ask::{Made, Target, send},
    context::Context,
};

/// Arguments of `resume`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    made: Made,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> miette::Result<ExitCode> {
    send(context, &args.target, args.made, Ask::new("resume")).await
}
