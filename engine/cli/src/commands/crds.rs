//! `haldane crds`: the CustomResourceDefinitions, to be applied to a cluster.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::{
    context::{Context, Output},
    print,
};

/// Arguments of `crds`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the command. Definitions are YAML for people too, a document each; JSON is one list of them.
pub(crate) async fn run(_: Args, context: &Context) -> miette::Result<ExitCode> {
    let all = haldane_plan::custom_resources(&haldane_plan::registries());
    match context.output {
        Output::Table | Output::Yaml => {
            for one in &all {
                print::line("---");
                print::value(Output::Yaml, &one.definition, String::new)?;
            }
        }
        Output::Json => {
            let items: Vec<&Value> = all.iter().map(|one| &one.definition).collect();
            let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
            print::value(Output::Json, &list, String::new)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
