//! `haldane abort`: puts the traffic back. Never stale, and never refused while something is in flight.

use std::process::ExitCode;

use haldane_api::Ask;

pub(crate) use crate::ask::Request as Args;
use crate::context::Context;

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> miette::Result<ExitCode> {
    args.send(context, Ask::new("abort")).await
}
