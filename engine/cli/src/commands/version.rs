//! `haldane version`: which version this is, and which API and record format it speaks.

use std::process::ExitCode;

use haldane_api::Version;

use crate::{context::Context, print};

/// Arguments of `version`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the command.
pub(crate) async fn run(_: Args, context: &Context) -> miette::Result<ExitCode> {
    let own = Version::own();
    print::value(context.output, &own, || {
        format!("haldane {} (api {}, record format {})\n", own.version, own.api, own.format)
    })?;
    Ok(ExitCode::SUCCESS)
}
