//! `haldane shadow FILE`: a rollout's analysis, live, on the traffic as it is. It reads the split and asks
//! the checks; it moves nothing, writes nothing and needs no engine.
//!
//! It ends after `--for`, or with Ctrl-C. Exit codes as of `analyze`: 0 nothing was found, and there was
//! enough to find it in; 10 the traffic would have gone back; 14 not enough data to tell; 1 a source or
//! the split cannot be read, or the file cannot be used; 64 usage.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use haldane_model::Weight;
use haldane_sources::LookSides;
use haldane_host::Written;
use haldane_standalone::{Analysis, Change, Conclusion, Splits, follow};
use jiff::Timestamp;
use miette::miette;
use serde::Serialize;
use tokio::signal::unix;

use super::analyze::{ShownCheck, code, concluded, pick, refused, sides, time};
use crate::{
    context::{Context, Output},
    print,
    templates::More,
};

/// Arguments of `shadow`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The rollout's file.
    file: PathBuf,
    /// How long it is followed, such as 10m; without it, until Ctrl-C.
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    length: Option<Duration>,
    /// The side on trial; without it, the one with less traffic.
    #[arg(long, value_name = "SIDE")]
    test: Option<String>,
    /// Which rollout of the file, as NAME or NAMESPACE/NAME; needed where it holds several.
    #[arg(long)]
    rollout: Option<String>,
    #[command(flatten)]
    more: More,
}

/// One line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    time: Timestamp,
    /// The share of the side on trial, in basis points.
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<Weight>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    check: Option<ShownCheck>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// What it came to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ended {
    rollout: String,
    test: String,
    serving: String,
    conclusion: Conclusion,
    sentence: String,
    checks: Vec<ShownCheck>,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> miette::Result<ExitCode> {
    let written = match context.read(&args.file, &args.more.shelf()?).await? {
        Ok(all) => pick(&args.file, args.rollout.as_deref(), all)?,
        Err((_, report)) => return Err(report),
    };
    let plan = &written.plan;
    let sides = match args.test.as_deref().map(|test| sides(plan, test)) {
        Some(Ok(sides)) => sides,
        Some(Err(report)) => return Ok(refused(&report)),
        None => roles(&written).await?,
    };
    if context.output == Output::Table {
        let LookSides { test, serving } = &sides;
        print::aside(&format!("{}: {test} against {serving}; nothing is moved", written.id));
    }
    let end = end(args.length);
    let found = follow(plan, &sides, end, |change| tell(context.output, change)).await;
    let found = found.map_err(|why| miette!(help = UNREAD, "{why}"))?;
    conclude(context.output, &written, &sides, &found)?;
    Ok(code(found.conclusion))
}

/// What to do about a split that cannot be read.
const UNREAD: &str = "the split is read as a rollout reads it; see spec.traffic";

async fn roles(written: &Written) -> miette::Result<LookSides> {
    let told = |why: String| miette!(help = UNREAD, "{why}");
    let splits = Splits::of(&written.plan).map_err(told)?;
    splits.roles(&written.plan).await.map_err(told)
}

/// Ends with the time, or with a person.
async fn end(length: Option<Duration>) {
    let over = async {
        match length {
            Some(length) => tokio::time::sleep(length).await,
            None => std::future::pending().await,
        }
    };
    let mut terminate = unix::signal(unix::SignalKind::terminate()).expect("signals are free");
    let mut interrupt = unix::signal(unix::SignalKind::interrupt()).expect("signals are free");
    tokio::select! {
        () = over => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

// === what is told ===

fn tell(output: Output, change: Change) {
    let line = Line::of(change);
    match output {
        Output::Table => print::line(&line.text()),
        Output::Json => print::line(&serde_json::to_string(&line).unwrap_or_default()),
        Output::Yaml => {
            print::text("---\n");
            print::text(&serde_saphyr::to_string(&line).unwrap_or_default());
        }
    }
}

fn conclude(
    output: Output,
    written: &Written,
    sides: &LookSides,
    found: &Analysis,
) -> miette::Result<()> {
    let ended = Ended {
        rollout: written.id.to_string(),
        test: sides.test.to_string(),
        serving: sides.serving.to_string(),
        conclusion: found.conclusion,
        sentence: concluded(found, &sides.test),
        checks: found.checks.iter().map(ShownCheck::from).collect(),
    };
    match output {
        Output::Table => print::line(&ended.sentence),
        Output::Json => {
            let json = serde_json::to_string(&ended);
            print::line(&json.map_err(|error| miette!("the answer is no JSON: {error}"))?);
        }
        Output::Yaml => {
            print::text("---\n");
            return print::value(output, &ended, String::new);
        }
    }
    Ok(())
}

// === impl Line ===

impl Line {
    fn of(change: Change) -> Self {
        let time = Timestamp::now();
        let (share, check, message) = match change {
            Change::Share(share) => (Some(share), None, None),
            Change::Unread(why) => (None, None, Some(format!("the split cannot be read: {why}"))),
            Change::Judged(share, judged) => (Some(share), Some(ShownCheck::from(&*judged)), None),
            Change::Together(share, shown) => {
                (Some(share), None, Some(format!("together the checks show a regression, {shown}")))
            }
        };
        Self { time, share, check, message }
    }

    fn text(&self) -> String {
        let share = self.share.map_or_else(|| "-".to_owned(), |share| share.to_string());
        let said = match (&self.check, &self.message) {
            (Some(check), _) => check.sentence.as_str(),
            (None, Some(message)) => message.as_str(),
            (None, None) => "the split as it is",
        };
        format!("{}  {share:>5}  {said}", time(self.time))
    }
}
