//! How long each step of a plan will need: what is counted now, and as if the side on trial did as well.

use std::time::Duration;

use futures::future::join_all;
use haldane_judge::Forecast;
use haldane_model::{Answer, CheckName, Counts, Plan, Step, Weight, Window};
use haldane_sources::LookSides;
use jiff::Timestamp;

use super::{Asking, Trial, compared, signed, sources, split::is_asked_at};

/// What is ahead of a rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct Ahead {
    /// The requests of both sides, a second; `None` where no comparing check counted any.
    pub per_second: Option<f64>,
    /// The steps, in the order of the plan.
    pub steps: Vec<StepAhead>,
    /// How long the rollout may take.
    pub progress_deadline: Duration,
}

/// What is ahead at one step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepAhead {
    /// The step.
    pub step: Step,
    /// What each comparing check needs that decides there.
    pub asks: Vec<Asks>,
    /// How long the step takes: its bake, and longer where the evidence needs it.
    pub takes: Takes,
}

/// How long a step takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Takes {
    /// So long.
    About(Duration),
    /// Longer than `maxBake`: about so long.
    TooLong(Duration),
    /// At these rates the margin cannot be shown: waiting does not help.
    Never,
    /// Not known, and why.
    Unknown(String),
}

/// What one check needs at one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Asks {
    /// The check.
    pub check: CheckName,
    /// What it needs, or why that is not known.
    pub needs: Result<Forecast, String>,
}

/// Asks what both sides counted lately, and tells how long each step will need.
pub async fn forecast(plan: &Plan, sides: &LookSides, past: Duration) -> Result<Ahead, String> {
    let sources = sources(plan, false)?;
    let end = Timestamp::now();
    let begin = end.checked_sub(signed(past)).unwrap_or(end);
    let trial = Trial { window: Window { begin, end }, sides: sides.clone(), share: None };
    let deciding = plan.checks.iter().filter(|check| !check.dry_run);
    let askings = deciding.map(|check| Asking::new(plan, check, &trial, &sources));
    let askings: Vec<_> = askings.collect::<Result<_, _>>()?;
    let askings: Vec<_> = askings.into_iter().filter(|one| one.rule.compares()).collect();
    let counted = join_all(askings.iter().map(count)).await;
    let ahead = plan.steps.iter().enumerate().map(|(at, step)| {
        let next = plan.steps.get(at + 1).map(|next| next.weight);
        let compares = Weight::ZERO < step.weight && step.weight < Weight::FULL;
        let all = askings.iter().zip(&counted);
        let asked =
            all.filter(|(asking, _)| compares && is_asked_at(plan, asking.check, step.weight));
        let asks = asked.map(|(asking, counts)| {
            let forecast = |counts: &Counts| {
                let found = haldane_judge::forecast(&asking.rule, step.weight, next, counts);
                found.expect("it compares")
            };
            let needs = counts.as_ref().map_err(Clone::clone).and_then(forecast);
            Asks { check: asking.check.name.clone(), needs }
        });
        let asks: Vec<Asks> = asks.collect();
        StepAhead { takes: takes(step, &asks), step: step.clone(), asks }
    });
    let steps: Vec<StepAhead> = ahead.collect();
    let known =
        steps.iter().flat_map(|step| &step.asks).filter_map(|asks| asks.needs.as_ref().ok());
    let per_second = known.map(|needs| needs.per_second).max_by(f64::total_cmp);
    Ok(Ahead { per_second, steps, progress_deadline: plan.progress_deadline })
}

/// What both sides counted in the interval. The newest bounds are those that will be watched.
async fn count(asking: &Asking<'_>) -> Result<Counts, String> {
    let why = |answer: Answer| match answer {
        Answer::Nothing(why) | Answer::Error { message: why, .. } => why,
        Answer::Counted(_) | Answer::Value(_) | Answer::Ratio { .. } => "no counts".to_owned(),
    };
    let pace = asking.pace().await.map_err(|sample| why(sample.answer))?;
    let samples = compared::pieces(asking, &pace).await.map_err(|sample| why(sample.answer))?;
    match samples.into_iter().next_back().map(|sample| sample.answer) {
        Some(Answer::Counted(counts)) => Ok(counts),
        Some(other) => Err(why(other)),
        None => Err("nothing was counted".to_owned()),
    }
}

fn takes(step: &Step, asks: &[Asks]) -> Takes {
    let mut needed = step.bake;
    let mut never = false;
    for asks in asks {
        match &asks.needs {
            Ok(needs) => match needs.secs.and_then(|secs| Duration::try_from_secs_f64(secs).ok()) {
                Some(secs) => needed = needed.max(secs),
                None => never = true,
            },
            Err(why) => return Takes::Unknown(format!("{}: {why}", asks.check)),
        }
    }
    match step.max_bake {
        _ if never => Takes::Never,
        Some(longest) if needed > longest => Takes::TooLong(needed),
        Some(_) | None => Takes::About(needed),
    }
}

// === impl Ahead ===

impl Ahead {
    /// Returns how long all steps take together; `None` where one is not known, or never ends.
    #[must_use]
    pub fn takes(&self) -> Option<Duration> {
        self.steps.iter().map(|step| step.takes.about()).sum()
    }

    /// Returns whether the rollout will take longer than it may.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.takes().is_some_and(|takes| takes > self.progress_deadline)
    }
}

// === impl Takes ===

impl Takes {
    /// Returns the time, where it is known.
    #[must_use]
    pub fn about(&self) -> Option<Duration> {
        match self {
            Self::About(time) | Self::TooLong(time) => Some(*time),
            Self::Never | Self::Unknown(_) => None,
        }
    }
}
