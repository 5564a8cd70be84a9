//! A past interval, judged by the checks of a plan: what a rollout would have found in it.
//!
//! It asks the sources and nothing else: no engine, no provider and no state is touched. What is
//! compared is folded once, window by window; what has a limit is looked at as often as a rollout would
//! have. A source that does not answer gives no verdict, neither for nor against.
//!
//! `shadow` follows the same live, `forecast` asks how long it will take; both read the split.

mod compared;
mod forecast;
mod limits;
mod shadow;
mod split;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::join_all;
use haldane_judge::{Rule, Stage, fold};
use haldane_model::{
    Answer, Check, Evidence, Finding, GapPolicy, OnInconclusive, Plan, Policies, Sample,
    SourceName, Verdict, Weight, Window,
};
use haldane_outside::Outside;
use haldane_runtime::drive::Factory as _;
use haldane_sources::{Look, LookSides, MetricSource};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

pub use self::{
    forecast::{Ahead, Asks, StepAhead, Takes, forecast},
    shadow::{Change, follow},
    split::Splits,
};
use haldane_host::Registered;

/// How long one question to a source may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// The scrape interval where a source does not tell.
const SCRAPE_DEFAULT: Duration = Duration::from_secs(15);

/// What is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// From when to when, in the sources' time.
    pub window: Window,
    /// Who is on trial, and who serves.
    pub sides: LookSides,
    /// The share that the side on trial had; it matters where it had less traffic, or none. `None`: what
    /// was counted, and half at most.
    pub share: Option<Weight>,
}

/// What an interval shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysis {
    /// All checks together.
    pub conclusion: Conclusion,
    /// Each check, in the order of the file.
    pub checks: Vec<Judged>,
    /// What the comparing checks show together where none does alone, and since when.
    pub together: Option<(Timestamp, haldane_judge::Together)>,
    /// What the plan says of missing answers.
    pub policies: Policies,
}

/// What follows for a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Conclusion {
    /// The traffic would have gone back.
    WouldRollBack,
    /// Every check passed: nothing was found, and there was enough to find it in.
    NothingFound,
    /// Some check cannot tell.
    NotEnoughData,
    /// A source did not answer: there is no verdict.
    SourceError,
}

/// What one check found in the interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The verdict, in numbers and words.
    pub finding: Finding,
    /// Whether the check decides nothing.
    pub dry_run: bool,
    /// The end of the window in which it was first enough for a rollback.
    pub crossed: Option<Timestamp>,
    /// How the looks ended, where it has a limit.
    pub looks: Option<Looks>,
}

/// How the looks of one check ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Looks {
    /// All of them.
    pub taken: u32,
    /// Those within the limit.
    pub passed: u32,
    /// Those beyond it.
    pub failed: u32,
}

/// A check, and how to ask it.
struct Asking<'a> {
    check: &'a Check,
    rule: Rule,
    trial: &'a Trial,
    source: Arc<dyn MetricSource>,
    /// The shortest bake of the plan: no look of a rollout reaches further.
    shortest: Option<Duration>,
}

/// What a source says of the pace that a check can be asked at.
struct Pace {
    scrape: Duration,
    /// How often a rollout would look: the check's interval, or what the scrapes allow.
    slot: Duration,
    /// Up to when the source can tell: now, on its clock.
    there: Timestamp,
}

/// What asking gave.
enum Asked<'a> {
    Counted(compared::Counted<'a>),
    Judged(Judged),
}

/// Judges an interval. The error is a plan that cannot be asked.
pub async fn analyze(plan: &Plan, trial: &Trial) -> Result<Analysis, String> {
    let sources = sources(plan, true)?;
    let asking = plan.checks.iter().map(|check| Asking::new(plan, check, trial, &sources));
    let asking = asking.collect::<Result<Vec<_>, _>>()?;
    let asked = join_all(asking.iter().map(Asking::ask)).await;
    let mut checks: Vec<Option<Judged>> = Vec::new();
    let (mut counted, mut places) = (Vec::new(), Vec::new());
    for (place, asked) in asked.into_iter().enumerate() {
        match asked {
            Asked::Judged(judged) => checks.push(Some(judged)),
            Asked::Counted(one) => {
                counted.push(one);
                places.push(place);
                checks.push(None);
            }
        }
    }
    let (judged, together) = compared::judge(&counted);
    for (place, judged) in places.into_iter().zip(judged) {
        checks[place] = Some(judged);
    }
    let checks: Vec<Judged> = checks.into_iter().flatten().collect();
    let exposed = trial.share != Some(Weight::ZERO);
    let conclusion = conclude(&plan.policies, &checks, together.is_some(), exposed);
    Ok(Analysis { conclusion, checks, together, policies: plan.policies })
}

// === impl Analysis ===

impl Analysis {
    /// Returns the first check whose missing answer puts the traffic back, and the policy that says so.
    #[must_use]
    pub fn by_policy(&self) -> Option<(&haldane_model::CheckName, &'static str)> {
        let deciding = self.checks.iter().filter(|one| !one.dry_run);
        let mut found =
            deciding.filter_map(|one| Some((&one.finding.check, one.aborts(&self.policies)?)));
        found.next()
    }
}

/// A rollback first: what was shown stays shown, whoever is silent.
fn conclude(policies: &Policies, checks: &[Judged], together: bool, exposed: bool) -> Conclusion {
    let deciding: Vec<&Judged> = checks.iter().filter(|one| !one.dry_run).collect();
    let back = |one: &Judged| one.crossed.is_some() || exposed && one.aborts(policies).is_some();
    if together || deciding.iter().copied().any(back) {
        return Conclusion::WouldRollBack;
    }
    if deciding.iter().any(|one| one.finding.verdict == Verdict::SourceError) {
        return Conclusion::SourceError;
    }
    // What a policy leaves out passes nothing, and keeps nothing from passing.
    let left: Vec<_> = deciding.into_iter().filter(|one| !one.is_left_out(policies)).collect();
    if !left.is_empty() && left.iter().all(|one| one.finding.verdict == Verdict::Pass) {
        Conclusion::NothingFound
    } else {
        Conclusion::NotEnoughData
    }
}

/// Builds what the checks ask; where `past` is asked about, only what remembers it will do.
fn sources(plan: &Plan, past: bool) -> Result<BTreeMap<SourceName, Arc<dyn MetricSource>>, String> {
    let build = |source: &haldane_model::Source| {
        let (name, kind) = (&source.name, &source.kind);
        let row = haldane_sources::SOURCES.iter().find(|row| row.kind == &**kind);
        if past && row.is_none_or(|row| !row.remembers) {
            return Err(format!(
                "source {name} is a {kind}, which tells nothing of the past: analyse by a Prometheus"
            ));
        }
        let built = Registered.source(&source.kind, &source.settings, &Outside::default());
        built.map(|built| (source.name.clone(), built))
    };
    let used = |source: &&haldane_model::Source| {
        plan.checks.iter().any(|check| check.source == source.name)
    };
    plan.sources.iter().filter(used).map(build).collect()
}

// === impl Judged ===

impl Judged {
    /// Which policy puts the traffic back because of it, where users see the side on trial. What a
    /// source cannot tell of the past says nothing of what it would have told then.
    fn aborts(&self, policies: &Policies) -> Option<&'static str> {
        let (field, aborts) = match self.finding.verdict {
            Verdict::NoData => ("onNoData", policies.no_data == GapPolicy::Abort),
            Verdict::CanaryLost => ("onCanaryLost", policies.canary_lost == GapPolicy::Abort),
            Verdict::Inconclusive { over_limit } => {
                let aborts = policies.inconclusive == OnInconclusive::Abort;
                ("onInconclusive", over_limit && aborts)
            }
            Verdict::Pass | Verdict::Fail { .. } | Verdict::SourceError => return None,
        };
        aborts.then_some(field)
    }

    /// Whether a policy leaves it out.
    fn is_left_out(&self, policies: &Policies) -> bool {
        match self.finding.verdict {
            Verdict::NoData => policies.no_data == GapPolicy::Ignore,
            Verdict::CanaryLost => policies.canary_lost == GapPolicy::Ignore,
            Verdict::Pass
            | Verdict::Fail { .. }
            | Verdict::Inconclusive { .. }
            | Verdict::SourceError => false,
        }
    }
}

// === impl Asking ===

impl<'a> Asking<'a> {
    fn new(
        plan: &Plan,
        check: &'a Check,
        trial: &'a Trial,
        sources: &BTreeMap<SourceName, Arc<dyn MetricSource>>,
    ) -> Result<Self, String> {
        let source = sources.get(&check.source);
        let bakes = plan.steps.iter().map(|step| step.bake).filter(|bake| !bake.is_zero());
        Ok(Self {
            check,
            trial,
            rule: Rule::parse(&check.rule).map_err(|why| format!("{}: {why}", check.name))?,
            source: source.ok_or_else(|| format!("{} has no source", check.name))?.clone(),
            shortest: bakes.min(),
        })
    }

    async fn ask(&self) -> Asked<'a> {
        let (pace, compares) = (self.pace().await, self.rule.counts());
        match pace {
            Ok(pace) if compares => Asked::Counted(compared::ask(self, &pace).await),
            Ok(pace) => Asked::Judged(limits::judge(self, &pace).await),
            Err(sample) => Asked::Judged(self.without(*sample)),
        }
    }

    /// Asks the source about itself, and for one look: how often this check's own series are scraped
    /// is told with an answer.
    async fn pace(&self) -> Result<Pace, Box<Sample>> {
        let broken = |message| Box::new(self.answered(Answer::Error { message, retryable: true }));
        let facts = self.source.facts(DEADLINE).await.map_err(broken)?;
        let interval = self.check.interval;
        let Window { begin, end } = self.trial.window;
        let minute = end.checked_sub(SignedDuration::from_mins(1)).unwrap_or(begin).max(begin);
        let sample = self.look(Window { begin: minute, end }, Some(interval), None).await;
        if matches!(sample.answer, Answer::Error { .. }) {
            return Err(Box::new(sample));
        }
        let told = facts.scrape.into_iter().chain([sample.scrape]).min();
        let scrape = told.filter(|scrape| !scrape.is_zero()).unwrap_or(SCRAPE_DEFAULT);
        let now = Timestamp::now();
        let there = now.checked_add(facts.clock_ahead).unwrap_or(now);
        Ok(Pace { scrape, slot: self.rule.pace(interval, scrape), there })
    }

    async fn look(
        &self,
        window: Window,
        grid: Option<Duration>,
        before: Option<Duration>,
    ) -> Sample {
        let grid = grid.filter(|_| self.rule.counts());
        let sides = self.trial.sides.clone();
        let look = Look { window, sides, deadline: DEADLINE, grid, before, about: None };
        self.source.look(self.check.question.clone(), look).await
    }

    /// An answer about the whole interval.
    fn answered(&self, answer: Answer) -> Sample {
        Sample {
            window: self.trial.window,
            scrape: SCRAPE_DEFAULT,
            share: self.trial.share,
            answer,
            count: None,
            serving_count: None,
            targets_down: false,
        }
    }

    /// What is said where nothing could be looked at.
    fn without(&self, sample: Sample) -> Judged {
        let Check { name, limits, dry_run, .. } = self.check;
        let none = Evidence::default();
        let sample = Sample { window: self.trial.window, ..sample };
        let folded = fold(&self.rule, limits, &Stage::default(), &none, name, &sample);
        Judged { finding: folded.finding, dry_run: *dry_run, crossed: None, looks: None }
    }
}

/// The first point of a grid that is not before a moment, and the last that is not after it.
fn on_grid(at: Timestamp, slot: Duration) -> (Timestamp, Timestamp) {
    let slot = i64::try_from(slot.as_millis()).unwrap_or(i64::MAX).max(1);
    let at = at.as_millisecond();
    let last = at - at.rem_euclid(slot);
    let first = if last == at { at } else { last.saturating_add(slot) };
    let moment = |millis| Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX);
    (moment(first), moment(last))
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
