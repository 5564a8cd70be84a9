//! `haldane get`: every rollout in a line, one in full for programs, or its plan with defaults; and
//! `haldane get analysisruns`: the analysis of each attempt.

use std::process::ExitCode;

use haldane_model::RolloutId;
use haldane_runtime::{
    analysis_run::{AnalysisRun, analysis_runs},
    status::Status,
};
use jiff::Timestamp;
use miette::miette;

use crate::{
    ask::{self, Target},
    book::Book,
    commands::history,
    context::{Context, Output},
    faults, print,
};

/// What the analyses are asked for by.
const RUNS: [&str; 3] = ["analysisruns", "analysisrun", "har"];

/// And the rollouts; a rollout that is called as one of these words is got by `get rollouts NAME`.
const ROLLOUTS: [&str; 3] = ["rollouts", "rollout", "hro"];

/// Arguments of `get`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The rollout, as NAME or NAMESPACE/NAME, all of them where it is left out; or `rollouts`, or `analysisruns`.
    name: Option<String>,
    /// After `rollouts`: which one. After `analysisruns`: of which rollout, or which one, such as checkout-3.
    of: Option<String>,
    /// The rollout's namespace.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Show the plan that is written, with its defaults.
    #[arg(long)]
    effective: bool,
}

/// Runs the command.
pub(crate) async fn run(mut args: Args, context: &Context) -> miette::Result<ExitCode> {
    if args.name.as_deref().is_some_and(|name| ROLLOUTS.contains(&name)) {
        args.name = args.of.take();
    }
    if args.effective {
        return effective(args, context).await;
    }
    let book = Book::open(context).await?;
    if args.name.as_deref().is_some_and(|name| RUNS.contains(&name)) {
        return runs(args, &book, context).await;
    }
    if let Some(of) = args.of {
        return Err(miette!(help = "ask for one rollout, or for all", "`{of}` is one name too many"));
    }
    if args.name.is_none() {
        let all = book.list().await?;
        print::value(context.output, &all, || table(&all))?;
        return Ok(ExitCode::SUCCESS);
    }
    let target = Target { name: args.name, namespace: args.namespace };
    let id = target.resolve(&book).await?;
    let status = book.get(&id).await?;
    print::value(context.output, &status, || table(std::slice::from_ref(&status)))?;
    Ok(ExitCode::SUCCESS)
}

/// A plan is YAML for people too. Only an engine that runs has it.
async fn effective(args: Args, context: &Context) -> miette::Result<ExitCode> {
    let client = context.client()?;
    let target = Target { name: args.name, namespace: args.namespace };
    let id = target.resolve(&Book::Engine(client.clone())).await?;
    let plan = client.plan(&id).await.map_err(faults::of_client)?;
    let output = match context.output {
        Output::Table | Output::Yaml => Output::Yaml,
        Output::Json => Output::Json,
    };
    print::value(output, &plan, String::new)?;
    Ok(ExitCode::SUCCESS)
}

// === analysis runs ===

async fn runs(args: Args, book: &Book, context: &Context) -> miette::Result<ExitCode> {
    let all = book.list().await?;
    let known: Vec<RolloutId> = all.iter().map(ask::id_of).collect();
    let asked = args.of.map(|of| match of.split_once('/') {
        Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
        None => (args.namespace.clone(), of),
    });
    // A rollout's own name wins over an attempt's.
    let one = |(namespace, name): &(String, String)| {
        let id = RolloutId::new(namespace, name);
        if known.contains(&id) {
            return Some((id, None));
        }
        let (name, attempt) = name.rsplit_once('-')?;
        let (id, attempt) = (RolloutId::new(namespace, name), attempt.parse::<u32>().ok()?);
        known.contains(&id).then_some((id, Some(attempt)))
    };
    let wanted = match &asked {
        None => known.iter().map(|id| (id.clone(), None)).collect(),
        Some(asked) => vec![one(asked).ok_or_else(|| {
            let (namespace, name) = asked;
            miette!(
                help = "name a rollout, or a rollout and an attempt: checkout-3",
                "there is no rollout and no analysis {namespace}/{name}"
            )
        })?],
    };
    let mut found = Vec::new();
    for (id, attempt) in wanted {
        let journal = history::all(book, &id).await?.entries;
        let journal: Vec<_> = journal.into_iter().map(|told| told.entry).collect();
        let runs = analysis_runs(&id, &journal, &book.trace(&id).await?);
        let meant = |run: &AnalysisRun| attempt.is_none_or(|attempt| run.spec.attempt == attempt);
        found.extend(runs.into_iter().filter(meant));
    }
    if found.is_empty() && asked.is_some() {
        return Err(miette!("no analysis is kept of it"));
    }
    print::value(context.output, &found, || runs_table(&found))?;
    Ok(ExitCode::SUCCESS)
}

fn runs_table(runs: &[AnalysisRun]) -> String {
    let dash = || "-".to_owned();
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|run| {
            let status = &run.status;
            let looks: u64 = status.checks.iter().flat_map(|check| check.looks.values()).sum();
            let at = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
            vec![
                format!("{}/{}", run.metadata.namespace, run.metadata.name),
                run.spec.revision.as_ref().map_or_else(dash, ToString::to_string),
                format!("{:?}", status.phase),
                status.checks.len().to_string(),
                looks.to_string(),
                status.started_at.map_or_else(dash, at),
                status.message.clone().unwrap_or_else(dash),
            ]
        })
        .collect();
    print::table(&["ANALYSIS", "REVISION", "PHASE", "CHECKS", "LOOKS", "BEGAN", "WHY"], &rows)
}

// === rollouts ===

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
