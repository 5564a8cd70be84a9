//! A check of the error budget: how fast it burns over windows of several lengths, and what of it an
//! attempt has spent.
//!
//! Absolute: it needs no serving side, so that it judges 100 % and the watch as it judges a step. Where
//! there are too few requests for a rate, a bet decides, which says on twenty requests what twenty
//! requests say.

use haldane_model::{CheckName, CountWindow, Counts, Evidence, Finding, Sample, Verdict};
use jiff::Timestamp;

use super::{
    Action, Line, REQUESTS_MIN, Tally,
    book::{self, Book},
    rule::BurnRule,
};
use crate::{
    Folded, Stage,
    betting::Sums,
    compare, counted,
    words::{count, odds, plain, rate, span},
};

/// The period of a budget: 30 days, in seconds.
const PERIOD_SECS: f64 = 30.0 * 86_400.0;
/// How long the traffic must have been seen before it is known what a period's budget is.
const TRAFFIC_SECS_MIN: f64 = 60.0;
const INCONCLUSIVE: Verdict = Verdict::Inconclusive { over_limit: false };

/// How fast the budget burns by one line.
struct Burning<'a> {
    line: &'a Line,
    long: f64,
    short: f64,
    serving: Option<f64>,
    fires: bool,
}

/// Judges one look and adds it to the evidence of the attempt.
pub(crate) fn fold(
    rule: &BurnRule,
    stage: &Stage,
    evidence: &Evidence,
    check: &CheckName,
    sample: &Sample,
) -> Folded {
    let (mut book, damage) = Book::read(evidence);
    let counted::Ruled { verdict, message, learned } = counted::ruled(sample, damage, |counts| {
        readable(counts)?;
        Ok(judge(rule, stage, &mut book, counts, sample))
    });
    let worst = worst(rule, &book);
    let finding = Finding {
        check: check.clone(),
        verdict,
        value: worst.as_ref().map(|burning| burning.long),
        limit: worst.as_ref().map(|burning| format!("max {}", plain(burning.line.threshold))),
        unit: String::new(),
        samples: (book.all.test_total > 0.0).then_some(book.all.test_total),
        window: sample.window,
        message: Some(message + &counted::remarks(book.late, sample)),
        compared: None,
    };
    // What changes nothing leaves the time before the attempt to be asked for again.
    let evidence = if learned && book.folded_to.is_some() { book.keep() } else { evidence.clone() };
    Folded { evidence, verdict, finding }
}

/// Returns up to where windows were folded.
pub(crate) fn folded_to(evidence: &Evidence) -> Option<Timestamp> {
    book::folded_to(evidence)
}

fn readable(counts: &Counts) -> Result<(), String> {
    if !counts.bounds.is_empty() {
        return Err("the source counted by bounds, where errors were asked for".to_owned());
    }
    counts.before.iter().chain(&counts.windows).try_for_each(|window| compare::check(window, 1))
}

fn judge(
    rule: &BurnRule,
    stage: &Stage,
    book: &mut Book,
    counts: &Counts,
    sample: &Sample,
) -> (Verdict, String) {
    let mut loss = None;
    if book.folded_to.is_none() {
        book.before = before(&counts.before);
    }
    // Asked again after a crash: the last window tells again whether a side is lost.
    if let Some(last) = counts.windows.iter().find(|one| Some(one.window.end) == book.folded_to) {
        loss = counted::watch(&mut book.silence, last, &compare::sums(last, 0), sample);
    }
    let mut news = 0_u32;
    for window in counted::fresh(&counts.windows, book.folded_to) {
        let sums = compare::sums(window, 0);
        book.learn(rule, window, sums);
        loss = counted::watch(&mut book.silence, window, &sums, sample);
        news += 1;
    }
    if news > 0 {
        book.late = book.late.saturating_add(counts.late);
    }
    let Some(folded_to) = book.folded_to else {
        return (INCONCLUSIVE, "no window has closed yet".to_owned());
    };
    let at = at_after(stage, book);
    if let Some(found) = breach(rule, book) {
        return (Verdict::Fail { breach: true }, format!("{at}: {found}"));
    }
    if let Some(loss) = loss {
        return (Verdict::CanaryLost, loss);
    }
    if let Some(why) = counted::overdue(folded_to, sample).filter(|_| news == 0) {
        return (Verdict::NoData, why);
    }
    if let Some(found) = held(rule, book) {
        return (INCONCLUSIVE, format!("holding {at}: {found}"));
    }
    calm(rule, stage, book)
}

/// The serving side's requests before the attempt, and in how many seconds.
fn before(windows: &[CountWindow]) -> (f64, f64) {
    let secs = |one: &CountWindow| one.window.end.duration_since(one.window.begin).as_secs_f64();
    windows.iter().fold((0.0, 0.0), |(requests, time), one| {
        (requests + compare::sums(one, 0).serving_total, time + secs(one))
    })
}

// === what burns ===

/// What sends the traffic back: a line, the budget, or a bet where there are few requests.
fn breach(rule: &BurnRule, book: &Book) -> Option<String> {
    let rolls_back = |burning: &Burning<'_>| {
        let action = super::action(burning.line, burning.long, burning.serving);
        burning.fires && action == Action::RollBack
    };
    if let Some(burning) = lines(rule, book).find(rolls_back) {
        return Some(burning.words(book));
    }
    if let Some(spent) = spent(rule, book).filter(|spent| *spent > rule.budget) {
        return Some(format!(
            "{} failed requests are {} of the error budget of 30 days (limit {})",
            count(book.all.test_bad),
            rate(spent),
            rate(rule.budget)
        ));
    }
    let threshold = rule.lowest()?;
    let few = book.last(rule.shortest()).test_total < REQUESTS_MIN;
    (few && book.bet.ln_e() >= rule.needed()).then(|| {
        format!(
            "few requests, but {}/{} of them failed: evidence {} that the error budget burns more \
             than {} times as fast as it lasts (needed {}:1)",
            count(book.all.test_bad),
            count(book.all.test_total),
            odds(book.bet.ln_e().exp()),
            plain(threshold),
            plain(1.0 / rule.alpha)
        )
    })
}

/// What lets no step end: a slower line, or an incident that both sides share.
fn held(rule: &BurnRule, book: &Book) -> Option<String> {
    let burning = lines(rule, book).find(|burning| burning.fires)?;
    let words = burning.words(book);
    Some(match super::action(burning.line, burning.long, burning.serving) {
        Action::Pause => format!("both sides burn, and going back would not help: {words}"),
        Action::Hold | Action::RollBack => words,
    })
}

/// Nothing burns: good news where there are requests enough to tell.
fn calm(rule: &BurnRule, stage: &Stage, book: &Book) -> (Verdict, String) {
    let requests = book.last(rule.longest()).test_total;
    // Before the first share, and on the way to one, nobody waits for requests.
    let awaited = stage.windows_from < Timestamp::MAX;
    if requests <= 0.0 && awaited {
        return (Verdict::NoData, "the side under test had no request".to_owned());
    }
    let Some(worst) = worst(rule, book) else {
        let text = format!(
            "{} requests of the side under test in {}, {} needed; evidence that the budget burns \
             too fast {}",
            count(requests),
            span(f64::from(rule.longest()).min(book.secs)),
            count(REQUESTS_MIN),
            odds(book.bet.ln_e().exp())
        );
        return (if awaited { INCONCLUSIVE } else { Verdict::Pass }, text);
    };
    let spent = spent(rule, book).map(|spent| {
        format!("; {} of the error budget of 30 days is spent ({})", rate(spent), rate(rule.budget))
    });
    let words = worst.words(book);
    (Verdict::Pass, format!("{words}{}", spent.unwrap_or_default()))
}

fn lines<'a>(rule: &'a BurnRule, book: &'a Book) -> impl Iterator<Item = Burning<'a>> {
    rule.lines.iter().filter_map(move |line| {
        let short = book.last_with(REQUESTS_MIN, line.short_secs, line.long_secs);
        let long = book.last(line.long_secs);
        let objective = rule.objective();
        let burn = super::gate(test(&short), test(&long), objective, line.threshold)?;
        let serving = super::rate(serving(&long), objective);
        let super::Burn { short, long, fires } = burn;
        Some(Burning { line, long, short, serving, fires })
    })
}

/// The line that is nearest to its limit.
fn worst<'a>(rule: &'a BurnRule, book: &'a Book) -> Option<Burning<'a>> {
    let near = |burning: &Burning<'_>| burning.long.min(burning.short) / burning.line.threshold;
    lines(rule, book).max_by(|one, other| near(one).total_cmp(&near(other)))
}

/// What part of a period's budget the attempt has spent; `None` before the traffic is known.
fn spent(rule: &BurnRule, book: &Book) -> Option<f64> {
    let (requests, secs) = book.before;
    let (requests, secs) =
        (requests + book.all.test_total + book.all.serving_total, secs + book.secs);
    if secs < TRAFFIC_SECS_MIN {
        return None;
    }
    super::budget_spent(book.all.test_bad, rule.objective(), requests / secs * PERIOD_SECS)
}

fn test(sums: &Sums) -> Tally {
    Tally { errors: sums.test_bad, requests: sums.test_total }
}

fn serving(sums: &Sums) -> Tally {
    Tally { errors: sums.serving_bad, requests: sums.serving_total }
}

fn at_after(stage: &Stage, book: &Book) -> String {
    format!("at {} after {}", stage.weight, span(book.secs))
}

// === impl Burning ===

impl Burning<'_> {
    fn words(&self, book: &Book) -> String {
        let Line { long_secs, threshold, .. } = self.line;
        let sums = book.last(*long_secs);
        let serving = match self.serving {
            Some(serving) => format!(", of the serving side {} times", plain(serving)),
            None => String::new(),
        };
        format!(
            "the error budget burns {} times as fast as it lasts over {} ({}/{} failed) and {} times \
             now, limit {}{serving}",
            plain(self.long),
            span(f64::from(*long_secs).min(book.secs)),
            count(sums.test_bad),
            count(sums.test_total),
            plain(self.short),
            plain(*threshold)
        )
    }
}
