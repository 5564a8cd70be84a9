//! A check of a gauge: memory, a queue, the load of a processor, of both sides.
//!
//! Two tests share its chance of a false alarm. The ranks of a step's blocks are looked at once per
//! step: what is not surely worse passes. The signs of all blocks of the attempt may be looked at any
//! time, and find what begins late. Neither depends on the gauge's unit.
//!
//! It judges steps that have both sides, and nothing at 100 %: a side without traffic is no measure of
//! one with all of it. What is worse holds; only a critical gauge sends the traffic back.

mod book;
mod rule;
#[cfg(test)]
mod tests;

use haldane_model::{CheckName, Counts, Evidence, Finding, Sample, Verdict, Weight};
use jiff::Timestamp;

use self::book::{Book, Outcome, Ruled};
pub(crate) use self::rule::GaugeRule;
use crate::{
    Folded, Stage, compare, counted,
    ranks::Worse,
    words::{odds, plain, rate},
};

const INCONCLUSIVE: Verdict = Verdict::Inconclusive { over_limit: false };

/// Judges one look and adds it to the evidence of the attempt.
pub(crate) fn fold(
    rule: &GaugeRule,
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
    let ruled = book.step.ruled;
    let finding = Finding {
        check: check.clone(),
        verdict,
        value: ruled.map(|ruled| ruled.test),
        limit: ruled.map(|ruled| limit(rule, &ruled)),
        unit: String::new(),
        samples: ruled.map(|ruled| ruled.blocks as f64),
        window: sample.window,
        message: Some(message + &counted::remarks(book.late, sample)),
        compared: None,
    };
    let evidence = if learned && book.folded_to.is_some() { book.keep() } else { evidence.clone() };
    Folded { evidence, verdict, finding }
}

/// Returns up to where windows were folded.
pub(crate) fn folded_to(evidence: &Evidence) -> Option<Timestamp> {
    book::folded_to(evidence)
}

fn readable(counts: &Counts) -> Result<(), String> {
    if !counts.bounds.is_empty() {
        return Err("the source counted by bounds, where a gauge was asked for".to_owned());
    }
    for count in counts
        .before
        .iter()
        .chain(&counts.windows)
        .flat_map(|window| window.test.iter().chain(&window.serving))
    {
        let odd = !count.total.is_finite() || count.total < 0.0;
        if odd || count.bad.len() != 1 || !count.bad.iter().all(|sum| sum.is_finite()) {
            return Err(format!("{} gave samples that are no numbers", count.process));
        }
    }
    Ok(())
}

fn judge(
    rule: &GaugeRule,
    stage: &Stage,
    book: &mut Book,
    counts: &Counts,
    sample: &Sample,
) -> (Verdict, String) {
    if book.folded_to.is_none() {
        book.begin(&counts.before);
    }
    let (mut loss, mut news, mut both) = (None, 0_u32, false);
    if let Some(last) = counts.windows.iter().find(|one| Some(one.window.end) == book.folded_to) {
        loss = counted::watch(&mut book.silence, last, &compare::sums(last, 0), sample);
    }
    for window in counted::fresh(&counts.windows, book.folded_to) {
        book.learn(rule, stage, window);
        loss = counted::watch(&mut book.silence, window, &compare::sums(window, 0), sample);
        both |= !window.test.is_empty() && !window.serving.is_empty();
        news += 1;
    }
    if news > 0 {
        book.late = book.late.saturating_add(counts.late);
    }
    let Some(folded_to) = book.folded_to else {
        return (INCONCLUSIVE, "no window has closed yet".to_owned());
    };
    if let Some(words) = worse(rule, book) {
        let verdict = if rule.critical { Verdict::Fail { breach: true } } else { INCONCLUSIVE };
        return (verdict, words);
    }
    if let Some(loss) = loss {
        return (Verdict::CanaryLost, loss);
    }
    if let Some(why) = counted::overdue(folded_to, sample).filter(|_| news == 0) {
        return (Verdict::NoData, why);
    }
    if stage.weight == Weight::FULL {
        let words = "at 100 % there is no serving side to compare with: nothing was found before";
        return (Verdict::Pass, words.to_owned());
    }
    if !stage.gates {
        return (Verdict::Pass, format!("nothing found so far, {}", signs(book)));
    }
    if news > 0 && !both {
        return (Verdict::NoData, "one side had no sample".to_owned());
    }
    match book.step.ruled {
        Some(ruled) => match ruled.outcome {
            Outcome::NotWorse | Outcome::Worse => {
                (Verdict::Pass, format!("{}, {}", medians(&ruled), signs(book)))
            }
            Outcome::TooSlow => {
                let words = "it looks worse, but changes too slowly to be sure";
                (INCONCLUSIVE, format!("{}: {words}, {}", medians(&ruled), signs(book)))
            }
        },
        None => {
            let needed = rule.settings.block * rule.settings.blocks_min;
            let windows = book.windows();
            let words = if windows < needed {
                format!("{windows} of {needed} windows of the step with samples of both sides")
            } else {
                format!("{windows} windows, and it looks worse: longer blocks are gathered")
            };
            (INCONCLUSIVE, format!("{words}, {}", signs(book)))
        }
    }
}

/// Why it is worse, if it is.
fn worse(rule: &GaugeRule, book: &Book) -> Option<String> {
    let then = if rule.critical { "" } else { "; it holds, as the check is not critical" };
    if let Some(ruled) = book.step.ruled.filter(|ruled| ruled.outcome == Outcome::Worse) {
        let word = word(rule);
        return Some(format!(
            "{}: {word} in {} of all pairs of blocks, and surely beyond {}{then}",
            medians(&ruled),
            rate(ruled.pairs),
            limit(rule, &ruled)
        ));
    }
    (book.top >= rule.needed()).then(|| {
        format!(
            "block after block it is {} than the serving side by more than {}: evidence {} (needed \
             {}:1){then}",
            word(rule),
            rate(rule.settings.tolerance),
            odds(book.top.exp()),
            plain(rule.needed().exp())
        )
    })
}

fn word(rule: &GaugeRule) -> &'static str {
    match rule.settings.worse {
        Worse::Higher => "higher",
        Worse::Lower => "lower",
    }
}

fn limit(rule: &GaugeRule, ruled: &Ruled) -> String {
    let tolerated = rule.settings.tolerance * ruled.serving.abs();
    match rule.settings.worse {
        Worse::Higher => format!("max {}", plain(ruled.serving + tolerated)),
        Worse::Lower => format!("min {}", plain(ruled.serving - tolerated)),
    }
}

fn medians(ruled: &Ruled) -> String {
    format!(
        "the median of {} blocks is {} vs {} of the serving side",
        ruled.blocks,
        plain(ruled.test),
        plain(ruled.serving)
    )
}

fn signs(book: &Book) -> String {
    format!("evidence against it {}", odds(book.ln_e().exp()))
}
