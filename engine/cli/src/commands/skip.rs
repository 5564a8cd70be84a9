//! `haldane skip`: this step needs no Pass; its bake stays, and so do its guards.

use std::process::ExitCode;

use haldane_api::Ask;

pub(crate) use crate::ask::Request as Args;
use crate::context::Context;

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> miette::Result<ExitCode> {
    args.send(context, Ask::new("skip")).await
}
