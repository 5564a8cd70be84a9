//! `haldane schema`: the JSON schema of rollouts and analysis templates, for editors.

use std::process::ExitCode;

use crate::{
    context::{Context, Output},
    print,
};

/// Arguments of `schema`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the command. A schema is JSON for people too.
pub(crate) async fn run(_: Args, context: &Context) -> miette::Result<ExitCode> {
    let schema = haldane_plan::schema(&haldane_plan::registries());
    let output = match context.output {
        Output::Table | Output::Json => Output::Json,
        Output::Yaml => Output::Yaml,
    };
    print::value(output, &schema, String::new)?;
    Ok(ExitCode::SUCCESS)
}
