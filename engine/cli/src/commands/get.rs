//! `haldane get`: every rollout in a line, one in full for programs, or its plan with defaults.

use std::process::ExitCode;

use haldane_runtime::status::Status;

use crate::{
    ask::Target,
    context::{Context, Output},
    faults, print,
};

/// Arguments of `get`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The rollout, as NAME or NAMESPACE/NAME; all of them where it is left out.
    name: Option<String>,
    /// The rollout's namespace.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Show the plan that is written, with its defaults.
    #[arg(long)]
    effective: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> miette::Result<ExitCode> {
    let client = context.client()?;
    if args.name.is_none() && !args.effective {
        let all = client.list().await.map_err(faults::of_client)?;
        print::value(context.output, &all, || table(&all))?;
        return Ok(ExitCode::SUCCESS);
    }
    let target = Target { name: args.name, namespace: args.namespace };
    let id = target.resolve(&client).await?;
    if args.effective {
        let plan = client.plan(&id).await.map_err(faults::of_client)?;
        let output = match context.output {
            Output::Table | Output::Yaml => Output::Yaml,
            Output::Json => Output::Json,
        };
        print::value(output, &plan, String::new)?;
    } else {
        let status = client.get(&id).await.map_err(faults::of_client)?;
        print::value(context.output, &status, || table(std::slice::from_ref(&status)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(all: &[Status]) -> String {
    let head = ["ROLLOUT", "PHASE", "REVISION", "ATTEMPT", "STEP", "SHARE", "HELD BY"];
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    print::table(&head, &rows)
}

fn row(status: &Status) -> Vec<String> {
    let dash = || "-".to_owned();
    let step = status.step.as_ref();
    // The entry that gives the side under test the most is what users may meet.
    let share = status.traffic.iter().filter_map(|entry| entry.observed).max();
    let mut held: Vec<String> = status.holds.iter().map(|hold| hold.kind.clone()).collect();
    held.extend(status.held_by.iter().cloned());
    let watched = if status.watching { " (watched)" } else { "" };
    vec![
        status.rollout.clone(),
        format!("{}{watched}", status.phase),
        status.revision.as_ref().map_or_else(dash, ToString::to_string),
        status.attempt.to_string(),
        step.map_or_else(dash, |step| format!("{}/{}", step.index + 1, step.count)),
        share.map_or_else(dash, |share| share.to_string()),
        if held.is_empty() { dash() } else { held.join(", ") },
    ]
}
