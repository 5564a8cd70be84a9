//! `haldane get`: every rollout in a line, one in full for programs, or its plan with defaults; and
//! `haldane get analysisruns`: the analysis of each attempt. One rollout of a cluster is a tree.

use std::{io::IsTerminal as _, process::ExitCode};

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
    cluster::{self, Seat, tree},
    commands::history,
    context::{Context, Output},
    faults,
    live::Live,
    print,
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
    /// The rollout's namespace; without it `default`, or the one of the cluster's context.
    #[arg(short, long)]
    namespace: Option<String>,
    /// In a cluster: those of all namespaces.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Go on showing what changes, until interrupted.
    #[arg(short, long, conflicts_with = "effective")]
    watch: bool,
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
    let book = match args.watch {
        true => Book::open_live(context).await?,
        false => Book::open(context).await?,
    };
    if args.name.as_deref().is_some_and(|name| RUNS.contains(&name)) {
        if args.watch {
            return Err(miette!(
                help = "watch the rollout: it shows its analyses",
                "analyses cannot be watched"
            ));
        }
        return match &book {
            Book::Cluster(seat) => runs_of_cluster(&args, seat, context).await,
            Book::Engine(_) | Book::Left(_) => runs(args, &book, context).await,
        };
    }
    if let Some(of) = args.of {
        return Err(miette!(help = "ask for one rollout, or for all", "`{of}` is one name too many"));
    }
    let namespace = args.namespace.clone().unwrap_or_else(|| book.namespace().to_owned());
    let namespace = (!args.all_namespaces).then_some(namespace);
    let target = Target { name: args.name, namespace: args.namespace };
    let id = match target.name {
        Some(_) => Some(target.resolve(&book).await?),
        None => None,
    };
    let mut shown = Shown::new(context, args.watch);
    loop {
        match (&id, &book) {
            (None, _) => {
                let all = book.list(namespace.as_deref()).await;
                shown.show(all, |all| table(all))?;
            }
            (Some(id), Book::Cluster(seat)) => {
                let colours = context.colours();
                shown.show(seat.tree(id).await, |one| tree::draw(one, colours))?;
            }
            (Some(id), Book::Engine(_) | Book::Left(_)) => {
                let one = book.get(id).await;
                shown.show(one, |one| table(std::slice::from_ref(one)))?;
            }
        }
        if !args.watch {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(cluster::PACE).await;
    }
}

/// What is shown once, or again whenever it is another.
struct Shown {
    output: Output,
    is_watching: bool,
    live: Option<Live>,
    last: Option<String>,
}

// === impl Shown ===

impl Shown {
    fn new(context: &Context, is_watching: bool) -> Self {
        let on_terminal = context.output == Output::Table && std::io::stdout().is_terminal();
        let live = (is_watching && on_terminal).then(|| Live::new(context.colours()));
        Self { output: context.output, is_watching, live, last: None }
    }

    /// Shows it. What cannot be read for once ends nobody's watch that has seen something.
    fn show<T: serde::Serialize>(
        &mut self,
        found: miette::Result<T>,
        draw: impl FnOnce(&T) -> String,
    ) -> miette::Result<()> {
        let found = match found {
            Ok(found) => found,
            Err(why) if self.is_watching && self.last.is_some() => {
                if self.last.replace(why.to_string()) != Some(why.to_string()) {
                    print::aside(&why.to_string());
                }
                return Ok(());
            }
            Err(why) => return Err(why),
        };
        if !self.is_watching {
            return print::value(self.output, &found, || draw(&found));
        }
        let text = match self.output {
            Output::Table => draw(&found),
            // One document a line, so that a program can read them as they come.
            Output::Json | Output::Yaml => serde_json::to_string(&found)
                .map(|json| format!("{json}\n"))
                .map_err(|error| miette!("the answer is no JSON: {error}"))?,
        };
        if self.last.as_ref() != Some(&text) {
            match &mut self.live {
                Some(live) => live.draw_text(&text),
                None => print::text(&text),
            }
            self.last = Some(text);
        }
        Ok(())
    }
}

/// A plan is YAML for people too. Only an engine that runs has it; that of a cluster's rollout is made here.
async fn effective(args: Args, context: &Context) -> miette::Result<ExitCode> {
    let book = Book::open_live(context).await?;
    let target = Target { name: args.name, namespace: args.namespace };
    let id = target.resolve(&book).await?;
    let plan = match &book {
        Book::Engine(client) => client.plan(&id).await.map_err(faults::of_client)?,
        Book::Cluster(seat) => {
            print::aside("compiled here from what is written now; an attempt under way has the plan it began with");
            seat.effective(&id).await?
        }
        Book::Left(_) => return Err(miette!("no engine is running")),
    };
    let output = match context.output {
        Output::Table | Output::Yaml => Output::Yaml,
        Output::Json => Output::Json,
    };
    print::value(output, &plan, String::new)?;
    Ok(ExitCode::SUCCESS)
}

// === analysis runs ===

/// A cluster's analyses are objects, and are shown as they are.
async fn runs_of_cluster(args: &Args, seat: &Seat, context: &Context) -> miette::Result<ExitCode> {
    let own = args.namespace.as_deref().unwrap_or_else(|| seat.namespace());
    let own = (!args.all_namespaces).then_some(own);
    let (namespace, name) = match args.of.as_deref().and_then(|of| of.split_once('/')) {
        Some((namespace, name)) => (Some(namespace), Some(name)),
        None => (own, args.of.as_deref()),
    };
    let found = seat.asked_runs(namespace, name).await?;
    print::value(context.output, &found, || cluster::runs::table(&found))?;
    Ok(ExitCode::SUCCESS)
}

async fn runs(args: Args, book: &Book, context: &Context) -> miette::Result<ExitCode> {
    let all = book.list(None).await?;
    let known: Vec<RolloutId> = all.iter().map(ask::id_of).collect();
    let asked = args.of.map(|of| match of.split_once('/') {
        Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
        None => (args.namespace.clone().unwrap_or_else(|| "default".to_owned()), of),
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
