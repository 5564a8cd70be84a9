//! `haldane replay`: the recorded decisions of a rollout, made again from what they rested on; and what
//! other checks would have made of the recorded answers. It asks nobody and moves nothing.
//!
//! Exit codes: 0 all the same (with `--with`: no breach); 15 something was not the same; with `--with`
//! also 10 the traffic would have gone back, and 14 no recorded answer fits; 1 the file cannot be used;
//! 64 usage.

use std::{path::PathBuf, process::ExitCode};

use haldane_judge::sentence;
use haldane_model::RolloutId;
use haldane_runtime::{
    explain,
    replay::{Alternative, Replay, alternative, looks, replay},
    trace::Batch,
};
use miette::miette;
use serde::Serialize;

use crate::{
    USAGE,
    ask::Target,
    book::Book,
    context::{self, Context},
    print,
    templates::More,
};

/// The traffic would have gone back, as `haldane run` ends when it did.
const WOULD_ROLL_BACK: u8 = 10;
/// No recorded answer fits.
const NOT_ENOUGH: u8 = 14;
/// What was done again is not the same.
const DIFFERS: u8 = 15;

/// Arguments of `replay`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Judge the recorded answers by the checks of this file as well.
    #[arg(long = "with", value_name = "FILE")]
    other: Option<PathBuf>,
    /// Of which attempt; without it, the last one. Only with --with.
    #[arg(long, value_name = "NUMBER", requires = "other")]
    attempt: Option<u32>,
    #[command(flatten)]
    more: More,
}

/// What there is to say.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    rollout: String,
    #[serde(flatten)]
    replay: Replay,
    #[serde(skip_serializing_if = "Option::is_none")]
    with: Option<ShownOther>,
}

/// What other checks would have found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownOther {
    attempt: u32,
    #[serde(flatten)]
    found: Alternative,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> miette::Result<ExitCode> {
    let book = Book::open(context).await?;
    let id = args.target.resolve(&book).await?;
    let batches = book.trace(&id).await?;
    if batches.is_empty() {
        return Err(miette!(
            help = "rollouts of earlier versions kept their journal alone: see `haldane history`",
            "nothing is recorded of {id} that could be done again"
        ));
    }
    let with = match &args.other {
        None => None,
        Some(_) => match other(&args, context, &id, &batches).await? {
            Ok(other) => Some(other),
            Err(code) => return Ok(code),
        },
    };
    let shown = Shown { rollout: id.to_string(), replay: replay(&batches), with };
    print::value(context.output, &shown, || text(&shown))?;
    Ok(ExitCode::from(code(&shown)))
}

/// Judges one attempt by another file. The code is that of a usage error.
async fn other(
    args: &Args,
    context: &Context,
    id: &RolloutId,
    batches: &[Batch],
) -> miette::Result<Result<ShownOther, ExitCode>> {
    let Some(file) = &args.other else { return Ok(Err(ExitCode::from(USAGE))) };
    let written = context.read(file, &args.more.shelf()?).await?.map_err(|(_, report)| report)?;
    let wanted = id.to_string();
    let several = written.len() > 1;
    let ids = written.iter().map(|one| one.id.clone()).collect();
    let meant = context::pick_one(file, several.then_some(wanted.as_str()), ids)?;
    let plan = written.into_iter().find(|one| one.id == meant).map(|one| one.plan);
    let plan = plan.ok_or_else(|| miette!("{} holds no rollout {meant}", file.display()))?;
    let last = looks(batches).map(|look| look.attempt).max().unwrap_or(0);
    let attempt = args.attempt.unwrap_or(last);
    if !looks(batches).any(|look| look.attempt == attempt) {
        print::aside(&format!("no answers of attempt {attempt} are recorded; the last is {last}"));
        return Ok(Err(ExitCode::from(USAGE)));
    }
    Ok(Ok(ShownOther { attempt, found: alternative(batches, attempt, &plan) }))
}

fn code(shown: &Shown) -> u8 {
    if !shown.replay.differences.is_empty() {
        return DIFFERS;
    }
    match &shown.with {
        None => 0,
        Some(with) if with.found.breach.is_some() => WOULD_ROLL_BACK,
        Some(with) if with.found.checks.iter().all(|check| check.looks == 0) => NOT_ENOUGH,
        Some(_) => 0,
    }
}

fn text(shown: &Shown) -> String {
    let replay = &shown.replay;
    let mut out = String::new();
    for decision in &replay.decisions {
        let same = if decision.same { "same     " } else { "DIFFERENT" };
        out.push_str(&format!("{same}  {}\n", explain::line(&decision.entry)));
    }
    for difference in &replay.differences {
        out.push_str(&format!("not the same: {difference}\n"));
    }
    let how = match replay.differences.len() {
        0 => "all the same".to_owned(),
        1 => "1 is not the same".to_owned(),
        several => format!("{several} are not the same"),
    };
    let (decisions, looks) = (replay.decisions.len(), replay.looks);
    out.push_str(&format!("{decisions} decisions and {looks} looks done again: {how}\n"));
    if replay.dropped > 0 {
        let dropped = replay.dropped;
        out.push_str(&format!("{dropped} looks were never stored and could not be done again\n"));
    }
    if let Some(with) = &shown.with {
        out.push_str(&other_text(with));
    }
    out
}

fn other_text(with: &ShownOther) -> String {
    let ShownOther { attempt, found } = with;
    let mut out = format!("\nattempt {attempt}, judged by the other file:\n");
    for check in &found.checks {
        let name = &check.check;
        let said = match (&check.not_replayed, &check.breach, &check.last) {
            (Some(why), _, _) => format!("{name} is not judged: {why}"),
            (None, Some(breach), _) => format!("a breach, {}", sentence(breach)),
            (None, None, Some(last)) => {
                format!("no breach in {} looks; at last {}", check.looks, sentence(last))
            }
            (None, None, None) => format!("{name} is not judged"),
        };
        out.push_str(&format!("  {said}\n"));
    }
    out.push_str(&match &found.breach {
        Some(breach) => {
            let at = breach.window.end.strftime("%Y-%m-%d %H:%M:%S");
            format!("the traffic would have gone back at {at}Z, because of {}\n", breach.check)
        }
        None => "nothing in it would have put the traffic back\n".to_owned(),
    });
    out
}
