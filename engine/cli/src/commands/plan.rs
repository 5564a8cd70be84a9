//! `haldane plan FILE`: how many requests and how long each step will need at the traffic as it is, if the
//! new version is as good as the one that serves. It asks the sources, reads the split and moves nothing.
//!
//! Exit codes: 0 every step can be cleared in time; 14 one cannot, or that is not known; 1 the file cannot
//! be used, or a source has no settings to be asked by; 64 usage.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use haldane_model::Weight;
use haldane_sources::LookSides;
use haldane_host::Written;
use haldane_standalone::{Ahead, Splits, StepAhead, Takes, forecast};
use miette::miette;
use serde::Serialize;

use super::analyze::{digits, pick, refused, sides, whole};
use crate::{context::Context, print, templates::More};

/// Some step will not be cleared in time.
const NOT_ENOUGH: u8 = 14;

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The rollout's file.
    file: PathBuf,
    /// Over how long the traffic is counted, up to now.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = past)]
    over: Duration,
    /// The side on trial; without it, the one with less traffic, or the second of the file.
    #[arg(long, value_name = "SIDE")]
    test: Option<String>,
    /// Which rollout of the file, as NAME or NAMESPACE/NAME; needed where it holds several.
    #[arg(long)]
    rollout: Option<String>,
    #[command(flatten)]
    more: More,
}

/// What is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    rollout: String,
    test: String,
    serving: String,
    /// The requests of both sides, a second.
    requests_per_second: Option<f64>,
    steps: Vec<ShownStep>,
    /// How long all steps take, in seconds.
    takes: Option<f64>,
    progress_deadline: f64,
    warnings: Vec<String>,
}

/// One step; times are in seconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownStep {
    /// In basis points.
    weight: Weight,
    bake: f64,
    max_bake: Option<f64>,
    /// How long it will take; nothing where that is not known, or it never ends.
    takes: Option<f64>,
    /// How many requests of the side on trial the slowest check needs.
    requests: Option<f64>,
    /// That check.
    check: Option<String>,
}

/// Reads a span that can be looked back over.
fn past(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let longest = Duration::from_secs(24 * 60 * 60);
    if span.is_zero() || span > longest {
        return Err(format!("{text} must lie above 0s and up to 24h"));
    }
    Ok(span)
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> miette::Result<ExitCode> {
    let written = match context.read(&args.file, &args.more.shelf()?).await? {
        Ok(all) => pick(&args.file, args.rollout.as_deref(), all)?,
        Err((_, report)) => return Err(report),
    };
    let (sides, unread) = match args.test.as_deref().map(|test| sides(&written.plan, test)) {
        Some(Ok(sides)) => (sides, None),
        Some(Err(report)) => return Ok(refused(&report)),
        None => roles(&written).await?,
    };
    let ahead = forecast(&written.plan, &sides, args.over).await.map_err(|why| miette!("{why}"))?;
    let mut shown = Shown::new(&written, &sides, &ahead);
    shown.warnings.extend(unread);
    let enough = ahead.steps.iter().all(|step| matches!(step.takes, Takes::About(_)));
    print::value(context.output, &shown, || shown.table(&ahead))?;
    Ok(if enough && !ahead.is_late() { ExitCode::SUCCESS } else { ExitCode::from(NOT_ENOUGH) })
}

/// Who is on trial, by the split; where it cannot be read, by the order of the file, and that is told.
async fn roles(written: &Written) -> miette::Result<(LookSides, Option<String>)> {
    let read = async { Splits::of(&written.plan)?.roles(&written.plan).await };
    match read.await {
        Ok(sides) => Ok((sides, None)),
        Err(why) => {
            let [_, second] = &written.plan.sides;
            let told = format!("the split cannot be read ({why}): {} is taken as on trial", second.name);
            Ok((sides(&written.plan, second.name.as_str())?, Some(told)))
        }
    }
}

// === impl Shown ===

impl Shown {
    fn new(written: &Written, sides: &LookSides, ahead: &Ahead) -> Self {
        Self {
            rollout: written.id.to_string(),
            test: sides.test.to_string(),
            serving: sides.serving.to_string(),
            requests_per_second: ahead.per_second,
            steps: ahead.steps.iter().map(ShownStep::from).collect(),
            takes: ahead.takes().map(|takes| takes.as_secs_f64()),
            progress_deadline: ahead.progress_deadline.as_secs_f64(),
            warnings: warnings(ahead),
        }
    }

    fn table(&self, ahead: &Ahead) -> String {
        let traffic = match self.requests_per_second {
            Some(rate) => format!("{} requests a second", digits(rate)),
            None => "no traffic was counted".to_owned(),
        };
        let mut out = format!(
            "# {}: {} against {}, {traffic}, both versions alike\n",
            self.rollout, self.test, self.serving
        );
        let head = ["SHARE", "BAKE", "TAKES", "MAX BAKE", "REQUESTS", "FOR"];
        let rows: Vec<_> =
            ahead.steps.iter().zip(&self.steps).map(|(step, shown)| shown.row(step)).collect();
        out.push_str(&print::table(&head, &rows));
        if let Some(takes) = ahead.takes() {
            out.push_str(&format!("\nall steps: about {}\n", span(takes)));
        }
        for warning in &self.warnings {
            out.push_str(&format!("\n{warning}\n"));
        }
        out
    }
}

/// What will keep the rollout from ending, and what helps.
fn warnings(ahead: &Ahead) -> Vec<String> {
    let of = |step: &StepAhead| {
        let weight = step.step.weight;
        match &step.takes {
            Takes::About(_) => None,
            Takes::TooLong(time) => Some(format!(
                "{weight}: about {} are needed, more than its maxBake; raise maxBake, widen margin or \
                 take a larger share",
                span(*time)
            )),
            Takes::Never => Some(format!(
                "{weight}: at these rates the margin cannot be shown; widen margin or take a larger share"
            )),
            Takes::Unknown(why) => Some(format!("{weight}: not known, {why}")),
        }
    };
    let late = ahead.takes().filter(|_| ahead.is_late()).map(|takes| {
        let deadline = span(ahead.progress_deadline);
        format!("all steps take about {}, more than progressDeadline, {deadline}", span(takes))
    });
    ahead.steps.iter().filter_map(of).chain(late).collect()
}

// === impl ShownStep ===

impl From<&StepAhead> for ShownStep {
    fn from(step: &StepAhead) -> Self {
        let known = step.asks.iter().filter_map(|asks| {
            let needs = asks.needs.as_ref().ok()?;
            Some((&asks.check, needs.requests?))
        });
        let most = known.max_by(|(_, one), (_, other)| one.total_cmp(other));
        Self {
            weight: step.step.weight,
            bake: step.step.bake.as_secs_f64(),
            max_bake: step.step.max_bake.map(|longest| longest.as_secs_f64()),
            takes: step.takes.about().map(|time| time.as_secs_f64()),
            requests: most.map(|(_, requests)| requests.ceil()),
            check: most.map(|(check, _)| check.to_string()),
        }
    }
}

impl ShownStep {
    fn row(&self, step: &StepAhead) -> Vec<String> {
        let takes = match &step.takes {
            Takes::About(time) | Takes::TooLong(time) => span(*time),
            Takes::Never => "for ever".to_owned(),
            Takes::Unknown(_) => "?".to_owned(),
        };
        let or = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        vec![
            self.weight.to_string(),
            span(step.step.bake),
            takes,
            or(step.step.max_bake.map(span)),
            or(self.requests.map(whole)),
            or(self.check.clone()),
        ]
    }
}

/// Whole seconds, as people write them.
fn span(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs_f64().ceil() as u64)).to_string()
}
