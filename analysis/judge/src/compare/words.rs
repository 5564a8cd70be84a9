//! The sentences of comparing checks: both rates with their counts, the limit, the odds and what
//! they must reach, the time, and what follows.
//!
//! Never a p-value. Odds below 1 are "no evidence".

use haldane_model::Weight;

use super::{
    book::{Book, Frozen, Line},
    learn,
    rule::{Compare, Kind},
};
use crate::{
    Stage,
    betting::Sums,
    words::{self, count, plain, rate, rounded, span},
};

/// Above which clumping it is told.
const PHI_TOLD: f64 = 2.0;

/// What a finding shows in fields of their own.
pub(super) struct Shown {
    pub(super) test: Option<f64>,
    pub(super) serving: Option<f64>,
    pub(super) limit: Option<f64>,
    pub(super) samples: Option<f64>,
}

/// Returns the numbers of the line with the most evidence.
pub(super) fn shown(rule: &Compare, stage: &Stage, book: &Book) -> Shown {
    let Some(line) = book.leader() else {
        return Shown { test: None, serving: None, limit: None, samples: None };
    };
    let sums = sums(stage, line);
    Shown {
        test: sums.test_rate(),
        serving: serving(line),
        limit: limit(rule, line),
        samples: Some(sums.test_total),
    }
}

/// At 100 % the step's counts, below it the attempt's.
fn sums<'a>(stage: &Stage, line: &'a Line) -> &'a Sums {
    if stage.weight == Weight::FULL && line.frozen.is_some() { &line.in_step } else { &line.sums }
}

fn serving(line: &Line) -> Option<f64> {
    match line.frozen {
        Some(Frozen::Rate { rate, .. }) => Some(rate),
        Some(Frozen::Objective { .. } | Frozen::Nothing) => None,
        None => line.sums.serving_rate(),
    }
}

fn limit(rule: &Compare, line: &Line) -> Option<f64> {
    match line.frozen {
        Some(frozen) => frozen.limit(),
        None => {
            let rate = line.sums.serving_rate()?;
            Some((rate * rule.tolerance.ratio + rule.tolerance.absolute).min(1.0))
        }
    }
}

// === the sentences ===

/// It is worse: the traffic must go back.
pub(super) fn breach(rule: &Compare, stage: &Stage, book: &Book) -> String {
    let Some(line) = book.leader() else { return "worse than tolerated".to_owned() };
    let (when, rates) = (at_after(stage, book), rates(rule, stage, line));
    let odds = odds(book.top);
    let needed = odds_needed(rule.needed());
    let least = line.at_least.as_ref().and_then(crate::betting::Bound::at_least);
    let least = least
        .map(|factor| format!("; the side under test is at least {} times as bad", plain(factor)))
        .unwrap_or_default();
    format!(
        "{when}: {rates}; evidence {odds} that it is worse (needed {needed}){least}{}",
        clumps(book)
    )
}

/// Half shown: no step is taken.
pub(super) fn hold(rule: &Compare, stage: &Stage, book: &Book) -> String {
    let rates = book.leader().map(|line| rates(rule, stage, line)).unwrap_or_default();
    format!(
        "holding {}: {rates}; evidence of regression {} (rollback at {}); no promotion above {}{}",
        at_after(stage, book),
        odds(book.ln_e()),
        odds_needed(rule.needed()),
        odds_needed(rule.hold()),
        clumps(book)
    )
}

/// The step may be left.
pub(super) fn cleared(rule: &Compare, stage: &Stage, book: &Book, line: &Line) -> String {
    let margin = rule.margin(learn::next(stage));
    let rate = line.in_step.serving_rate().unwrap_or(0.0);
    let below = (rate * margin.ratio + margin.absolute).min(1.0);
    format!(
        "{}; {} evidence that its rate is below {} ({} times plus {}; needed {})",
        in_step(rule, book, line),
        odds(line.clearance.ln_e()),
        self::rate(below),
        plain(margin.ratio),
        self::rate(margin.absolute),
        odds_needed(rule.cleared())
    )
}

/// Shown, but the step is too young.
pub(super) fn too_early(rule: &Compare, book: &Book) -> String {
    format!(
        "nothing against it so far, after {} and {} windows: a step needs {} and {} windows",
        span(book.step.secs),
        book.step.windows,
        span(rule.step_secs_min),
        rule.windows_min
    )
}

/// Not enough traffic, and how much more there must be.
pub(super) fn not_enough(
    rule: &Compare,
    stage: &Stage,
    book: &Book,
    line: &Line,
    needed: Option<(f64, Option<f64>)>,
) -> String {
    let more = match needed {
        Some((requests, Some(secs))) => format!(
            "about {} more requests of the side under test ({} at this share) needed",
            about(requests),
            span(secs)
        ),
        Some((requests, None)) => {
            format!("about {} more requests of the side under test needed", about(requests))
        }
        None => "at these rates the margin cannot be shown: widen margin or raise the share".into(),
    };
    let odds = odds(line.clearance.ln_e());
    let needed = odds_needed(rule.cleared());
    format!(
        "{} at {}; {odds} evidence that it is not worse than accepted (needed {needed}); {more}{}",
        in_step(rule, book, line),
        stage.weight,
        clumps(book)
    )
}

/// The traffic that was asked for does not arrive.
pub(super) fn starved(part: f64, share: Weight) -> String {
    format!(
        "holding: the side under test received {} of requests, {share} expected; is it ready and \
         routed?",
        rate(part)
    )
}

/// Both fail alike.
pub(super) fn shared_incident(book: &Book, test: f64, serving: f64) -> String {
    format!(
        "both versions fail (side under test {}, serving side {}): no evidence against the side \
         under test ({}), and no time for a step",
        rate(test),
        rate(serving),
        ratio(book.ln_e())
    )
}

/// The step before 100 % has too little of the serving side.
pub(super) fn nothing_would_guard(rule: &Compare) -> String {
    format!(
        "nothing would judge 100 %: the serving side had fewer than {} requests in a step, and there \
         is no objective",
        count(rule.samples_min)
    )
}

/// A bad machine, not a bad release.
pub(super) fn one_bad_process(book: &Book, name: &str, bad: f64, all: f64) -> String {
    format!(
        "{} of {} errors of the side under test come from {name} ({} processes): holding, not \
         rolling back; restart that one",
        count(bad),
        count(all),
        book.processes.len()
    )
}

/// 100 %, and all is well.
pub(super) fn within_limit(rule: &Compare, book: &Book) -> String {
    let Some(line) = book.leader() else { return String::new() };
    let Sums { test_bad, test_total, .. } = line.in_step;
    let of = match line.frozen {
        Some(Frozen::Rate { rate, .. }) => {
            format!("the serving side had {} when it was last compared", self::rate(rate))
        }
        Some(Frozen::Objective { .. } | Frozen::Nothing) | None => "by the objective".to_owned(),
    };
    let limit = limit(rule, line).map(rate).unwrap_or_default();
    let side = side(rule, line, test_bad, test_total);
    format!("{side}, limit {limit} ({of}); {}", against(book))
}

/// 100 %, and there is nothing to judge it by.
pub(super) fn nothing_guards(rule: &Compare) -> String {
    format!(
        "nothing guards 100 %: no step had {} requests of the serving side, and there is no \
         objective; set slo, or a step with more traffic",
        count(rule.samples_min)
    )
}

/// Nothing to promote, nothing found.
pub(super) fn nothing_found(rule: &Compare, book: &Book) -> String {
    let Some(line) = book.leader() else { return String::new() };
    format!("{}; {}", rates_of(rule, line, &line.sums), against(book))
}

/// The bounds are not chosen yet.
pub(super) fn gathering(book: &Book) -> String {
    let gathered = book.premise.as_ref().and_then(|premise| premise.gathering.as_ref());
    match gathered {
        Some((_, total)) => format!(
            "the serving side's first 1 000 requests choose the bounds to watch, {} so far",
            count(*total)
        ),
        None => "no bound of the histogram lies where requests end: widen its buckets".to_owned(),
    }
}

/// One side had none.
pub(super) fn no_requests(shows: bool, due: f64, serving: f64) -> String {
    let series = if shows { "no requests" } else { "no series" };
    format!(
        "{series} of the side under test, {} expected beside {} of the serving side",
        count(due),
        count(serving)
    )
}

/// The serving side is not there.
pub(super) fn nothing_to_compare_with(test: f64) -> String {
    format!(
        "the serving side has no series: nothing to compare {} requests of the side under test with",
        count(test)
    )
}

// === the parts ===

/// `at 10 % after 2m00s`.
fn at_after(stage: &Stage, book: &Book) -> String {
    let elapsed = book
        .began
        .zip(book.folded_to)
        .map_or(0.0, |(began, to)| to.duration_since(began).as_secs_f64());
    format!("at {} after {}", stage.weight, span(elapsed))
}

fn rates(rule: &Compare, stage: &Stage, line: &Line) -> String {
    let sums = sums(stage, line);
    let limit = limit(rule, line).map(|limit| format!(", limit {}", rate(limit)));
    let limit = limit.unwrap_or_default();
    if line.frozen.is_some() && stage.weight == Weight::FULL {
        return format!("{}{limit}", side(rule, line, sums.test_bad, sums.test_total));
    }
    format!("{}{limit}", rates_of(rule, line, sums))
}

fn rates_of(rule: &Compare, line: &Line, sums: &Sums) -> String {
    let serving = sums.serving_rate().map_or_else(|| "nothing".to_owned(), rate);
    format!(
        "{} vs {serving} ({}/{}) of the serving side",
        side(rule, line, sums.test_bad, sums.test_total),
        count(sums.serving_bad),
        count(sums.serving_total)
    )
}

/// `2.56 % errors (15/585)`, `64 % of requests slower than 100 ms (…)`.
fn side(rule: &Compare, line: &Line, bad: f64, total: f64) -> String {
    let part = if total > 0.0 { rate(bad / total) } else { "no requests".to_owned() };
    let what = match (rule.kind, line.bound) {
        (Kind::Latency, Some(bound)) => {
            format!("of {} than {}", rule.noun(), rounded(bound, "s", 3))
        }
        (Kind::Latency | Kind::Errors, _) => rule.noun().to_owned(),
    };
    format!("{part} {what} ({}/{})", count(bad), count(total))
}

/// The step's own numbers and time.
fn in_step(rule: &Compare, book: &Book, line: &Line) -> String {
    format!("after {}: {}", span(book.step.secs), rates_of(rule, line, &line.in_step))
}

fn against(book: &Book) -> String {
    let ln_e = book.ln_e();
    if ln_e < 0.0 {
        format!("no evidence against it ({})", ratio(ln_e))
    } else {
        format!("evidence against it {}", ratio(ln_e))
    }
}

fn clumps(book: &Book) -> String {
    let phi = book.premise.as_ref().map_or(1.0, |premise| premise.phi);
    if phi <= PHI_TOLD {
        return String::new();
    }
    format!("; errors arrive in bursts, counted at 1/{}", plain(phi))
}

/// Odds that are reached: rounded down, so that they never look met where they are not.
fn odds(ln_e: f64) -> String {
    if ln_e < 0.0 { format!("no ({})", ratio(ln_e)) } else { ratio(ln_e) }
}

fn ratio(ln_e: f64) -> String {
    words::odds(ln_e.exp())
}

/// Odds that are needed: rounded to three digits.
fn odds_needed(ln_e: f64) -> String {
    format!("{}:1", plain(ln_e.exp()))
}

/// About so many: two digits.
fn about(number: f64) -> String {
    rounded(number.ceil(), "", 2)
}
