//! `haldane analyze FILE`: a past interval, judged by the checks of a rollout file. It moves nothing
//! and needs no engine.
//!
//! Exit codes: 0 nothing was found, and there was enough to find it in; 10 the traffic would have gone
//! back; 14 not enough data to tell; 1 a source gave no answer that can be used, or the file cannot be
//! used; 64 usage.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use haldane_judge::sentence;
use haldane_model::{Finding, Plan, SideName, Weight, Window};
use haldane_sources::LookSides;
use haldane_host::Written;
use haldane_standalone::{Analysis, Conclusion, Judged, Looks, Trial, analyze};
use jiff::{SignedDuration, Timestamp};
use miette::{Report, miette};
use serde::Serialize;

use crate::{
    USAGE,
    context::{self, Context},
    faults, print,
    templates::More,
};

/// The traffic would have gone back, as `haldane run` ends when it did.
const WOULD_ROLL_BACK: u8 = 10;
/// There is too little to tell.
const NOT_ENOUGH: u8 = 14;

/// The longest interval.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);

/// Arguments of `analyze`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The rollout's file.
    file: PathBuf,
    /// Where the interval begins: a time such as 2026-05-01T14:00:00Z, or how long ago, such as 30m.
    #[arg(long, value_name = "T", value_parser = moment)]
    since: Moment,
    /// Where it ends, in the same way; without it, now.
    #[arg(long, value_name = "T", value_parser = moment, default_value = "0s")]
    until: Moment,
    /// The side on trial; without it, the second of the file.
    #[arg(long, value_name = "SIDE")]
    test: Option<String>,
    /// The share that it had, in percent. It matters where the side on trial had less traffic than
    /// that, or none. Without it: what was counted, and 50 at most.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=99))]
    share: Option<u32>,
    /// Which rollout of the file, as NAME or NAMESPACE/NAME; needed where it holds several.
    #[arg(long)]
    rollout: Option<String>,
    #[command(flatten)]
    more: More,
}

/// A moment, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    At(Timestamp),
    Ago(Duration),
}

/// What was found, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    rollout: String,
    test: String,
    serving: String,
    since: Timestamp,
    until: Timestamp,
    conclusion: Conclusion,
    sentence: String,
    checks: Vec<ShownCheck>,
}

/// What one check found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownCheck {
    check: String,
    verdict: &'static str,
    dry_run: bool,
    /// The value of the side on trial: a fraction where the unit is `%`.
    value: Option<f64>,
    /// The serving side's, where two are compared.
    serving: Option<f64>,
    limit: Option<String>,
    unit: String,
    /// The odds that the side on trial is worse than tolerated, and those that a rollback needs.
    odds: Option<f64>,
    odds_needed: Option<f64>,
    samples: Option<f64>,
    /// The end of the window in which it was first enough for a rollback.
    crossed: Option<Timestamp>,
    looks: Option<Looks>,
    pub(super) sentence: String,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> miette::Result<ExitCode> {
    let window = match interval(&args, Timestamp::now()) {
        Ok(window) => window,
        Err(report) => return Ok(refused(&report)),
    };
    let written = match context.read(&args.file, &args.more.shelf()?).await? {
        Ok(all) => pick(&args.file, args.rollout.as_deref(), all)?,
        Err((_, report)) => return Err(report),
    };
    let trial = match trial(&args, &written.plan, window) {
        Ok(trial) => trial,
        Err(report) => return Ok(refused(&report)),
    };
    let found = analyze(&written.plan, &trial).await.map_err(|why| miette!("{why}"))?;
    let shown = Shown::new(&written, &trial, &found);
    print::value(context.output, &shown, || shown.table())?;
    Ok(code(found.conclusion))
}

pub(super) fn refused(report: &Report) -> ExitCode {
    faults::show(report);
    ExitCode::from(USAGE)
}

pub(super) fn code(conclusion: Conclusion) -> ExitCode {
    match conclusion {
        Conclusion::NothingFound => ExitCode::SUCCESS,
        Conclusion::WouldRollBack => ExitCode::from(WOULD_ROLL_BACK),
        Conclusion::NotEnoughData => ExitCode::from(NOT_ENOUGH),
        Conclusion::SourceError => ExitCode::FAILURE,
    }
}

/// Picks the rollout that is meant; one without checks is refused.
pub(super) fn pick(
    file: &Path,
    rollout: Option<&str>,
    all: Vec<Written>,
) -> miette::Result<Written> {
    let ids = all.iter().map(|one| one.id.clone()).collect();
    let id = context::pick_one(file, rollout, ids)?;
    let written = all.into_iter().find(|one| one.id == id);
    let written = written.ok_or_else(|| miette!("{id} is not written"))?;
    if written.plan.checks.is_empty() {
        let help = "write checks in spec.analysis";
        return Err(miette!(help = help, "{} has no checks to judge by", written.id));
    }
    Ok(written)
}

// === what is asked ===

/// Reads a moment.
fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(at) = text.parse() {
        return Ok(Moment::At(at));
    }
    humantime::parse_duration(text).map(Moment::Ago).map_err(|_| {
        format!("{text} is neither a time such as 2026-05-01T14:00:00Z nor a duration such as 30m")
    })
}

/// The interval, if it is one that can be looked at.
fn interval(args: &Args, now: Timestamp) -> miette::Result<Window> {
    let (begin, end) = (args.since.at(now)?, args.until.at(now)?);
    if end > now {
        let help = "name a time that is past with --until, or leave it out, for now";
        return Err(miette!(help = help, "--until {end} lies in the future"));
    }
    if begin == end {
        let help = "let --since lie before --until";
        return Err(miette!(help = help, "the interval is empty: it begins and ends at {end}"));
    }
    if begin > end {
        let help = "exchange --since and --until";
        return Err(miette!(help = help, "--since {begin} lies after --until {end}"));
    }
    let length = end.duration_since(begin);
    if length > LONGEST {
        let help = "take a shorter interval, or several one after another";
        let hours = length.as_hours();
        return Err(miette!(help = help, "the interval has {hours} hours, more than 24"));
    }
    Ok(Window { begin, end })
}

fn trial(args: &Args, plan: &Plan, window: Window) -> miette::Result<Trial> {
    let [_, second] = &plan.sides;
    let sides = sides(plan, args.test.as_deref().unwrap_or(second.name.as_str()))?;
    let share = args.share.and_then(|percent| Weight::from_percent(percent).ok());
    Ok(Trial { window, sides, share })
}

/// The two sides of a plan, this one on trial.
pub(super) fn sides(plan: &Plan, test: &str) -> miette::Result<LookSides> {
    let [first, second] = plan.sides.each_ref().map(|side| side.name.clone());
    if test == second.as_str() {
        Ok(LookSides { test: second, serving: first })
    } else if test == first.as_str() {
        Ok(LookSides { test: first, serving: second })
    } else {
        let help = format!("write --test {first} or --test {second}");
        Err(miette!(help = help, "the file has no side {test}"))
    }
}

// === impl Moment ===

impl Moment {
    fn at(self, now: Timestamp) -> miette::Result<Timestamp> {
        match self {
            Self::At(at) => Ok(at),
            Self::Ago(ago) => now.checked_sub(ago).map_err(|_| {
                miette!(help = "24 h is the longest interval", "there is no time so long ago")
            }),
        }
    }
}

// === impl Shown ===

impl Shown {
    fn new(written: &Written, trial: &Trial, found: &Analysis) -> Self {
        let Window { begin, end } = trial.window;
        Self {
            rollout: written.id.to_string(),
            test: trial.sides.test.to_string(),
            serving: trial.sides.serving.to_string(),
            since: begin,
            until: end,
            conclusion: found.conclusion,
            sentence: concluded(found, &trial.sides.test),
            checks: found.checks.iter().map(ShownCheck::from).collect(),
        }
    }

    fn table(&self) -> String {
        let length = self.until.duration_since(self.since);
        let length = Duration::from_secs(length.as_secs().unsigned_abs());
        let mut out = format!(
            "# {}: {} against {}, {} to {} ({})\n",
            self.rollout,
            self.test,
            self.serving,
            time(self.since),
            time(self.until),
            humantime::format_duration(length)
        );
        let head = ["CHECK", "VERDICT", "VALUE", "SERVING", "LIMIT", "EVIDENCE", "SAMPLES"];
        let rows: Vec<_> = self.checks.iter().map(ShownCheck::row).collect();
        out.push_str(&print::table(&head, &rows));
        out.push('\n');
        for check in &self.checks {
            out.push_str(&check.sentence);
            out.push('\n');
        }
        out.push('\n');
        out.push_str(&self.sentence);
        out.push('\n');
        out
    }
}

/// The one line of conclusion.
pub(super) fn concluded(found: &Analysis, test: &SideName) -> String {
    let deciding = || found.checks.iter().filter(|check| !check.dry_run);
    let first = deciding().filter_map(|one| one.crossed.map(|at| (at, &one.finding.check)));
    match (found.conclusion, first.min_by_key(|(at, _)| *at), &found.together) {
        (Conclusion::WouldRollBack, Some((at, check)), _) => {
            format!("would roll back: {check} shows it in the window that ended {}", time(at))
        }
        (Conclusion::WouldRollBack, None, Some((at, shown))) => format!(
            "would roll back: together the checks show it in the window that ended {}, {shown}",
            time(*at)
        ),
        (Conclusion::WouldRollBack, None, None) => {
            let policy = found.by_policy().map(|(check, policy)| format!(": {check}, by {policy}"));
            format!("would roll back{}", policy.unwrap_or_default())
        }
        (Conclusion::NothingFound, _, _) => format!("nothing found against {test}"),
        (Conclusion::NotEnoughData, _, _) => "not enough data to tell".to_owned(),
        (Conclusion::SourceError, _, _) => "no verdict: a source gave no answer that can be used".to_owned(),
    }
}

// === impl ShownCheck ===

impl From<&Judged> for ShownCheck {
    fn from(judged: &Judged) -> Self {
        let finding = &judged.finding;
        Self {
            check: finding.check.to_string(),
            verdict: finding.verdict.word(),
            dry_run: judged.dry_run,
            value: finding.value,
            serving: finding.compared.and_then(|compared| compared.serving),
            limit: finding.limit.clone(),
            unit: finding.unit.clone(),
            odds: finding.compared.map(|compared| compared.odds),
            odds_needed: finding.compared.map(|compared| compared.odds_needed),
            samples: finding.samples,
            crossed: judged.crossed,
            looks: judged.looks,
            sentence: told(judged),
        }
    }
}

impl ShownCheck {
    fn row(&self) -> Vec<String> {
        let number = |value: Option<f64>| value.map_or_else(|| "-".into(), |v| self.number(v));
        let odds = self.odds.map_or_else(|| "-".into(), haldane_judge::odds);
        let samples = self.samples.map_or_else(|| "-".into(), whole);
        let limit = self.limit.clone().unwrap_or_else(|| "-".to_owned());
        let verdict = if self.dry_run { " (dry run)" } else { "" };
        vec![
            self.check.clone(),
            format!("{}{verdict}", self.verdict),
            number(self.value),
            number(self.serving),
            limit,
            odds,
            samples,
        ]
    }

    fn number(&self, value: f64) -> String {
        match self.unit.as_str() {
            "%" => format!("{} %", digits(value * 100.0)),
            "s" => format!("{} s", digits(value)),
            _ => digits(value),
        }
    }
}

/// A whole number, in groups of three as the sentences write it.
pub(super) fn whole(number: f64) -> String {
    let digits = format!("{number:.0}");
    let lead = digits.len() % 3;
    let groups = digits.as_bytes()[lead..].chunks(3).map(String::from_utf8_lossy);
    let lead = (lead > 0).then(|| digits[..lead].into());
    lead.into_iter().chain(groups).collect::<Vec<std::borrow::Cow<'_, str>>>().join(" ")
}

/// Three digits that count.
pub(super) fn digits(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.abs().to_string();
    }
    let before = value.abs().log10().floor() as i32;
    let after = usize::try_from(2 - before).unwrap_or(0).min(9);
    let text = format!("{value:.after$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// The judge's sentence, and what the interval adds to it.
fn told(judged: &Judged) -> String {
    let Finding { window, .. } = &judged.finding;
    let looks = judged.looks.map(|Looks { taken, passed, failed }| {
        let last = time(window.end);
        format!("; looks: {taken} to {last}, {passed} passed, {failed} failed")
    });
    let crossed = judged.crossed.filter(|_| judged.looks.is_none());
    let crossed = crossed.map(|at| format!("; first shown by {}", time(at)));
    let more = looks.into_iter().chain(crossed).collect::<String>();
    format!("{}{more}", sentence(&judged.finding))
}

pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        assert_eq!(moment("90s"), Ok(Moment::Ago(Duration::from_secs(90))));
        let at = "2026-05-01T14:00:00Z".parse().unwrap();
        assert_eq!(moment("2026-05-01T16:00:00+02:00"), Ok(Moment::At(at)));
        for wrong in ["yesterday", "30", "-5m", "2026-05-01"] {
            let told = moment(wrong).unwrap_err();
            assert!(told.starts_with(wrong) && told.contains("such as 30m"), "{told}");
        }
    }

    #[test]
    fn samples_are_grouped_as_in_the_sentences() {
        let told = [7.0, 999.0, 1_000.0, 2_080.4, 1_234_567.0].map(whole);
        assert_eq!(told, ["7", "999", "1 000", "2 080", "1 234 567"]);
    }

    #[test]
    fn numbers_keep_three_digits() {
        let check = |value: f64, text: &str| assert_eq!(digits(value), text);
        check(5.033, "5.03");
        check(0.0, "0");
        check(0.001_234, "0.00123");
        check(1_234.5, "1234");
        check(100.0, "100");
    }
}
