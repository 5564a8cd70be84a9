//! `haldane resume`: lifts what a person may lift: a pause, an ended alert's pause, a conflict, a policy's.

use std::process::ExitCode;

use haldane_api::Ask;

pub(crate) use crate::ask::Request as Args;
use crate::context::Context;

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> miette::Result<ExitCode> {
    args.send(context, Ask::new("resume")).await
}
