//! `haldane explain`: where a rollout is and why, in sentences, from its picture and its journal.

use std::{path::PathBuf, process::ExitCode};

use haldane_api::Entry;
use haldane_model::{JournalEntry, Reason, State, Verdict};
use haldane_runtime::{Notice, explain, status::Status};
use miette::miette;
use serde::Serialize;

use crate::{
    ask::{self, Target},
    book::Book,
    commands::history,
    context::{Context, Output},
    live, plot, print,
};

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Say of every attempt how it ended.
    #[arg(long)]
    all: bool,
    /// Draw what a check saw in the terminal: both sides, the limit, the evidence, the steps.
    #[arg(long)]
    plot: bool,
    /// Write the same picture into a file, as SVG.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Draw this check; without it, the one that breached, or that compares both sides.
    #[arg(long, value_name = "NAME")]
    check: Option<String>,
    /// Draw this attempt; without it, the last one.
    #[arg(long, value_name = "NUMBER")]
    attempt: Option<u32>,
}

/// What there is to say.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    rollout: String,
    phase: String,
    /// Where it is and why, a sentence each.
    now: Vec<String>,
    /// Why the last attempt was rolled back, where it was.
    rolled_back: Option<String>,
    /// How every attempt ended, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<Vec<Attempt>>,
}

/// How one attempt ended.
#[derive(Debug, Serialize)]
struct Attempt {
    attempt: u32,
    sentence: String,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> miette::Result<ExitCode> {
    let book = Book::open(context).await?;
    let id = args.target.resolve(&book).await?;
    let status = book.get(&id).await?;
    let journal = history::all(&book, &id).await?.entries;
    let explanation = Explanation {
        rollout: status.rollout.clone(),
        phase: status.phase.clone(),
        now: now(&status, &journal),
        rolled_back: rolled_back(&status, &journal),
        attempts: args.all.then(|| attempts(&status, &journal)),
    };
    print::value(context.output, &explanation, || text(&explanation))?;
    if args.plot || args.svg.is_some() {
        let attempt = args.attempt.unwrap_or(status.attempt);
        draw(&args, context, &book, &status, attempt, journal).await?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn draw(
    args: &Args,
    context: &Context,
    book: &Book,
    status: &Status,
    attempt: u32,
    journal: Vec<Entry>,
) -> miette::Result<()> {
    let journal: Vec<JournalEntry> = journal.into_iter().map(|told| told.entry).collect();
    let (id, check) = (&ask::id_of(status), args.check.as_deref());
    let plot = match book {
        Book::Cluster(seat) => {
            let run = seat.run_of(id, attempt).await?;
            run.and_then(|run| plot::plot_of_run(&run, &journal, |name| unit(name, status, &journal), check))
        }
        Book::Engine(_) | Book::Left(_) => {
            plot::plot(&journal, &book.trace(id).await?, attempt, check)
        }
    };
    let plot = plot.ok_or_else(|| {
        let of = args.check.as_ref().map(|check| format!(" of check {check}")).unwrap_or_default();
        miette!(
            help = "`haldane get analysisruns` lists what is recorded",
            "nothing{of} is recorded of attempt {attempt} of {id}"
        )
    })?;
    if let Some(file) = &args.svg {
        let picture = plot::svg(&plot).map_err(|why| miette!("{why}"))?;
        std::fs::write(file, picture)
            .map_err(|error| miette!("{} cannot be written: {error}", file.display()))?;
        print::aside(&format!("the picture is in {}", file.display()));
    }
    if args.plot && context.output == Output::Table {
        print::text(&plot::terminal(&plot, live::terminal_width(), context.colours()));
    }
    Ok(())
}

/// The unit of a check, as it was last told.
fn unit(check: &str, status: &Status, journal: &[JournalEntry]) -> String {
    let shown = status.checks.iter().find(|one| one.name == check).map(|one| one.unit.clone());
    let findings = journal.iter().rev().filter_map(|entry| entry.finding.as_ref());
    let told = || findings.filter(|one| one.check.as_str() == check).map(|one| one.unit.clone());
    shown.into_iter().chain(told()).find(|unit| !unit.is_empty()).unwrap_or_default()
}

fn text(explanation: &Explanation) -> String {
    let mut lines: Vec<String> = explanation.rolled_back.iter().cloned().collect();
    lines.extend(explanation.now.iter().cloned());
    for attempt in explanation.attempts.iter().flatten() {
        lines.push(format!("attempt {}: {}", attempt.attempt, attempt.sentence));
    }
    lines.push(String::new());
    lines.join("\n")
}

// === now ===

fn now(status: &Status, journal: &[Entry]) -> Vec<String> {
    let mut said = vec![format!("{} {}", status.rollout, place(status))];
    for hold in &status.holds {
        let since = hold.since.strftime("%Y-%m-%d %H:%M:%S");
        let (kind, actor) = (&hold.kind, &hold.actor);
        said.push(format!("it is held since {since}Z by {actor} ({kind}): {}", remedy(kind)));
    }
    for code in &status.held_by {
        let told = journal.iter().rev().find(|told| told.entry.reason.code() == code);
        let newer = code == Reason::NewerFormat.code();
        let why = match told {
            Some(told) => told.sentence.clone(),
            None if newer => crate::told::words(&Notice::NewerFormat),
            None => code.clone(),
        };
        said.push(format!("it does not go on by itself now: {why}"));
    }
    for entry in &status.traffic {
        if let Some(message) = &entry.message {
            said.push(format!("traffic entry {}: {message}", entry.name));
        }
    }
    for check in &status.checks {
        match check.verdict {
            None | Some(Verdict::Pass) => {}
            Some(verdict) => {
                let message = check.message.as_ref().map(|message| format!(" ({message})"));
                let message = message.unwrap_or_default();
                said.push(format!("check {} says {}{message}", check.name, verdict.word()));
            }
        }
    }
    if let Some(why) = &status.store_trouble {
        said.push(format!("nothing is raised, the record cannot be written: {why}"));
    }
    if let Some(why) = &status.spec_error {
        said.push(format!("the file cannot be used, the pinned plan goes on: {why}"));
    }
    if let Some(last) = &status.last_decision {
        let at = last.time.strftime("%Y-%m-%d %H:%M:%S");
        said.push(format!("the last decision, at {at}Z: {}", last.message));
    } else if let Some(last) = journal.last() {
        let at = last.entry.at.strftime("%Y-%m-%d %H:%M:%S");
        said.push(format!("the last decision, at {at}Z: {}", last.sentence));
    }
    said
}

fn place(status: &Status) -> String {
    let revision = status.revision.as_ref().map_or("the revision", |revision| revision.as_str());
    let serving = status.serving.as_ref().map_or("a side", |side| side.as_str());
    let attempt = status.attempt;
    let step = status.step.as_ref().map_or_else(String::new, |step| {
        let (baked, bake) = (step.baked.round(), step.bake.round());
        let (number, count) = (step.index + 1, step.count);
        let words = status.step_in_words().unwrap_or_default();
        format!(" step {number} of {count} ({words}, {baked} of {bake} s baked)")
    });
    let of = format!("{revision}, attempt {attempt}");
    match status.phase.as_str() {
        "Loading" => "is being loaded: no engine has told anything of it yet".to_owned(),
        "Pending" => format!("waits for something to roll out; {serving} serves"),
        "Waiting" => format!("waits for the gates before{step} of {of}"),
        "Shifting" => format!("moves to{step} of {of}"),
        "Baking" => format!("bakes{step} of {of}"),
        "Paused" => format!("is paused in{step} of {of}"),
        "Conflicted" => format!("is in conflict with others who write the split, in{step} of {of}"),
        "Promoting" => format!("cleans up after{step} of {of}"),
        "Healthy" if status.watching => format!("gives {revision} all traffic, and is watched"),
        "Healthy" => format!("is at rest; {serving} serves"),
        "Held" => match (&status.lowered, &status.serving) {
            (Some(cause), Some(home)) => format!("was put back: {}; {home} serves", cause.code()),
            (Some(cause), None) => format!("puts the traffic back: {}", cause.code()),
            (None, _) => "is held as a newer engine left it".to_owned(),
        },
        "RollingBack" => format!("puts the traffic back from {of}"),
        "Degraded" => format!("is at rest after a rollback; {serving} serves"),
        phase => format!("is {phase}"),
    }
}

/// What lifts a hold.
fn remedy(kind: &str) -> &'static str {
    match kind {
        "Spec" => "set `paused: false` in the file",
        "Block" => "it ends when the alert is resolved",
        "AlertPause" => "`haldane resume` once the alert no longer fires",
        "Conflict" => "see who writes the split, then `haldane resume`",
        "Person" => "`haldane resume` goes on",
        _ => "`haldane resume` goes on, `haldane abort` puts the traffic back",
    }
}

// === rollbacks ===

/// Why the last attempt was rolled back; `None` where it was not.
fn rolled_back(status: &Status, journal: &[Entry]) -> Option<String> {
    let of_this = journal.iter().rev().take_while(|told| told.entry.attempt == status.attempt);
    let began = of_this.map(|told| &told.entry).find(|entry| begins_rollback(entry))?;
    Some(explain::why_rolled_back(began))
}

/// Whether the traffic began to go back here, or a revision was given up before it had any.
fn begins_rollback(entry: &JournalEntry) -> bool {
    let goes_back = entry.after == State::RollingBack && entry.before != State::RollingBack;
    let given_up = entry.reason == Reason::AbortedByPerson && entry.after == State::Degraded;
    goes_back || given_up
}

fn attempts(status: &Status, journal: &[Entry]) -> Vec<Attempt> {
    let mut numbers: Vec<u32> = journal.iter().map(|told| told.entry.attempt).collect();
    numbers.retain(|number| *number > 0);
    numbers.dedup();
    numbers.sort_unstable();
    numbers.dedup();
    let sentence = |attempt: u32| {
        let of = || journal.iter().filter(move |told| told.entry.attempt == attempt);
        if let Some(began) = of().rfind(|told| begins_rollback(&told.entry)) {
            return explain::why_rolled_back(&began.entry);
        }
        let end = of().rfind(|told| told.entry.reason == Reason::Promoted);
        match (end, of().next_back()) {
            (Some(end), _) => {
                format!("{} at {}Z", end.sentence, end.entry.at.strftime("%H:%M:%S"))
            }
            (None, Some(last)) if attempt == status.attempt => {
                format!("under way; {}", last.sentence)
            }
            (None, Some(last)) => last.sentence.clone(),
            (None, None) => "nothing is kept of it".to_owned(),
        }
    };
    numbers.iter().map(|&attempt| Attempt { attempt, sentence: sentence(attempt) }).collect()
}
