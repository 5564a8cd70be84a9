//! From the book to a verdict.
//!
//! A breach first: what was shown stays shown. Then lost and silent sides, then what holds a step
//! without rolling back, and only then what lets one pass.

use haldane_model::{Needed, Sample, Verdict, Weight};

use super::{
    Ruling,
    book::{Book, Line},
    counts::Answered,
    learn::{self, News},
    rule::{Compare, Kind},
    words,
};
use crate::{
    Stage, counted,
    plan::{self, Supposed},
};

const INCONCLUSIVE: Verdict = Verdict::Inconclusive { over_limit: false };

/// How many requests a side without any must have been due, for that to be silence.
const DUE: f64 = 20.0;
/// Which rate of errors on both sides is an incident, where no objective says, …
const INCIDENT: f64 = 0.05;
/// … and over how many requests of each side.
const INCIDENT_SAMPLES: f64 = 20.0;

pub(super) fn judge(
    rule: &Compare,
    stage: &Stage,
    book: &Book,
    answered: &Answered<'_>,
    news: &News,
    sample: &Sample,
) -> Ruling {
    let at_full = stage.weight == Weight::FULL;
    let found = breach(rule, stage, book)
        .or_else(|| news.loss.as_ref().map(|loss| ruling(Verdict::CanaryLost, loss.clone())))
        .or_else(|| silent(stage, book, answered, news, sample))
        .or_else(|| held(rule, stage, book))
        .or_else(|| shared_incident(rule, stage, book, news));
    match found {
        Some(ruling) => ruling,
        None if at_full => at_limit(rule, book),
        None => cleared(rule, stage, book),
    }
}

/// No verdict, and no step either: what holds it does not pass with time.
fn holding(message: String) -> Ruling {
    Ruling { holds: true, ..ruling(INCONCLUSIVE, message) }
}

pub(super) fn ruling(verdict: Verdict, message: String) -> Ruling {
    Ruling { verdict, message, holds: false, needed: None }
}

/// Evidence enough that it is worse: a breach, unless one process makes all the errors.
fn breach(rule: &Compare, stage: &Stage, book: &Book) -> Option<Ruling> {
    if book.top < rule.needed() {
        return None;
    }
    if let Some((name, bad, all)) = book.one_bad_process() {
        let text = words::one_bad_process(book, name, bad, all);
        return Some(holding(text));
    }
    Some(ruling(Verdict::Fail { breach: true }, words::breach(rule, stage, book)))
}

/// Nothing to judge: no window closed, or a side that counted nothing.
fn silent(
    stage: &Stage,
    book: &Book,
    answered: &Answered<'_>,
    news: &News,
    sample: &Sample,
) -> Option<Ruling> {
    if let Some(reason) = answered.nothing {
        return Some(ruling(Verdict::NoData, reason.to_owned()));
    }
    if news.windows == 0 {
        return waiting(book, answered, sample);
    }
    let (test, serving) = (news.sums.test_total, news.sums.serving_total);
    if test <= 0.0 && serving <= 0.0 {
        return Some(ruling(Verdict::NoData, "neither side had a request".to_owned()));
    }
    let at_full = stage.weight == Weight::FULL;
    let due = stage.weight.fraction() * (test + serving);
    if test <= 0.0 && news.in_step && (at_full || !news.shows_test || due >= DUE) {
        let text = words::no_requests(news.shows_test, due, serving);
        return Some(ruling(Verdict::NoData, text));
    }
    (serving <= 0.0 && !at_full && !news.shows_serving)
        .then(|| ruling(INCONCLUSIVE, words::nothing_to_compare_with(test)))
}

/// Without a new window the book stands as it is, for a while.
fn waiting(book: &Book, answered: &Answered<'_>, sample: &Sample) -> Option<Ruling> {
    let Some(to) = book.folded_to else {
        let text = "no window has closed yet".to_owned();
        return Some(ruling(INCONCLUSIVE, text));
    };
    let overdue = counted::overdue(to, sample).filter(|_| answered.windows.is_empty());
    overdue.map(|why| ruling(Verdict::NoData, why))
}

/// What holds a step, though nothing is shown yet.
fn held(rule: &Compare, stage: &Stage, book: &Book) -> Option<Ruling> {
    if book.ln_e() >= rule.hold() {
        return Some(holding(words::hold(rule, stage, book)));
    }
    let starved = book.step.starvation.starved();
    starved.map(|part| holding(words::starved(part, stage.weight)))
}

/// At 100 %: as long as nothing is found against the limit, it passes.
fn at_limit(rule: &Compare, book: &Book) -> Ruling {
    let limits = book.lines.iter().filter_map(|line| line.frozen);
    if limits.clone().any(|frozen| frozen.limit().is_some()) {
        return ruling(Verdict::Pass, words::within_limit(rule, book));
    }
    // Before the first window at 100 % nothing is frozen yet.
    let text = if limits.count() == 0 && book.step.windows == 0 {
        "no window at 100 % has closed yet".to_owned()
    } else {
        words::nothing_guards(rule)
    };
    ruling(INCONCLUSIVE, text)
}

/// Below 100 %: a step is cleared by evidence that it is not worse than accepted.
fn cleared(rule: &Compare, stage: &Stage, book: &Book) -> Ruling {
    let Some(line) = book.laggard() else {
        return ruling(INCONCLUSIVE, words::gathering(book));
    };
    if !stage.gates {
        return ruling(Verdict::Pass, words::nothing_found(rule, book));
    }
    let shown = line.clearance.ln_e() >= rule.cleared();
    if shown && stage.next == Some(Weight::FULL) && !would_guard(rule, book) {
        return ruling(INCONCLUSIVE, words::nothing_would_guard(rule));
    }
    if shown && book.step.windows >= rule.windows_min && book.step.secs >= rule.step_secs_min {
        return ruling(Verdict::Pass, words::cleared(rule, stage, book, line));
    }
    if shown {
        return ruling(INCONCLUSIVE, words::too_early(rule, book));
    }
    let needed = needed(rule, stage, book, line);
    let more = needed.map(|(requests, secs)| Needed { requests, secs });
    Ruling {
        needed: more,
        ..ruling(INCONCLUSIVE, words::not_enough(rule, stage, book, line, needed))
    }
}

/// Whether 100 %, where there is no serving side, could be judged by what is known now.
fn would_guard(rule: &Compare, book: &Book) -> bool {
    let known =
        |line: &Line| line.pooled.is_some() || line.in_step.serving_total >= rule.samples_min;
    rule.slo.is_some() || book.lines.iter().any(known)
}

/// Both sides fail in this look: no fault of the side under test, and no time to send it more users,
/// however alike they are.
fn shared_incident(rule: &Compare, stage: &Stage, book: &Book, news: &News) -> Option<Ruling> {
    let enough = |total: f64| total >= INCIDENT_SAMPLES;
    let (test, serving) = (news.sums.test_rate()?, news.sums.serving_rate()?);
    let much = rule.slo.unwrap_or(INCIDENT);
    let fails = rule.kind == Kind::Errors
        && stage.gates
        && test > much
        && serving > much
        && enough(news.sums.test_total)
        && enough(news.sums.serving_total);
    fails.then(|| holding(words::shared_incident(book, test, serving)))
}

/// How many more requests, and seconds, it takes to clear the step if both sides are alike.
fn needed(rule: &Compare, stage: &Stage, book: &Book, line: &Line) -> Option<(f64, Option<f64>)> {
    let sums = &line.in_step;
    // What was served so far, and one half event more: no errors yet is not no errors ever.
    let rate = (sums.serving_bad + 0.5) / (sums.serving_total + 1.0);
    let all = sums.test_total + sums.serving_total;
    let seen = if all > 0.0 { sums.test_total / all } else { stage.weight.fraction() };
    let share = if seen > 0.0 && seen < 1.0 { seen } else { stage.weight.fraction() };
    if share <= 0.0 || share >= 1.0 {
        return None;
    }
    let phi = book.premise.as_ref().map_or(1.0, |premise| premise.phi);
    let supposed = Supposed { test: rate, serving: rate, share, phi };
    let margin = rule.margin(learn::next(stage));
    let requests = plan::to_clear(&supposed, &margin, rule.beta, line.clearance.ln_e())?;
    let secs = (book.step.secs > 0.0).then(|| all / book.step.secs);
    Some((requests, secs.and_then(|rate| plan::secs(requests, rate, share))))
}
