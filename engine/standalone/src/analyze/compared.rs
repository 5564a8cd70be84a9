//! What is compared: asked for in pieces, folded window by window, and judged as a whole.

use std::time::Duration;

use haldane_judge::{Folded, Rule, Stage, Together, fold, together};
use haldane_model::{Answer, Check, CountWindow, Counts, Evidence, Sample, Weight, Window};
use jiff::Timestamp;

use super::{Asking, Judged, Pace, on_grid, signed};

/// How much is asked for at once.
const PIECE: Duration = Duration::from_secs(300);

/// How long before the interval the serving side is looked at, to know how its errors clump.
pub(super) const BEFORE: Duration = Duration::from_secs(3_600);

/// What both sides counted in the interval.
pub(super) struct Counted<'a> {
    check: &'a Check,
    rule: Rule,
    stage: Stage,
    /// Whole answers, in the order of time; several where a histogram's bounds changed.
    samples: Vec<Sample>,
}

/// One window of one check.
struct Turn {
    end: Timestamp,
    check: usize,
    sample: Sample,
}

/// Asks for the whole interval; what went wrong is an answer too, and then the only one.
pub(super) async fn ask<'a>(asking: &Asking<'a>, pace: &Pace) -> Counted<'a> {
    let samples = match pieces(asking, pace).await {
        Ok(samples) => samples,
        Err(sample) => vec![*sample],
    };
    let share = asking.trial.share.unwrap_or_else(|| counted_share(&samples));
    let samples = samples.into_iter().map(|sample| Sample { share: Some(share), ..sample });
    let stage =
        Stage { step: 0, weight: share, next: None, windows_from: Timestamp::MIN, gates: true };
    let (check, rule) = (asking.check, asking.rule.clone());
    Counted { check, rule, stage, samples: samples.collect() }
}

pub(super) async fn pieces(asking: &Asking<'_>, pace: &Pace) -> Result<Vec<Sample>, Box<Sample>> {
    let Window { begin, end } = asking.trial.window;
    let slot = pace.slot;
    // A window is whole one scrape after its end.
    let there = pace.there.checked_sub(signed(pace.scrape)).unwrap_or(pace.there);
    let (mut begin, end) = (on_grid(begin, slot).0, on_grid(end.min(there), slot).1);
    let times = (PIECE.as_millis() / slot.as_millis().max(1)).max(1);
    let piece = signed(slot * u32::try_from(times).unwrap_or(1));
    let (mut samples, mut nothing) = (Vec::new(), "no whole window lies in it".to_owned());
    while begin < end {
        let to = begin.checked_add(piece).unwrap_or(end).min(end);
        let before = samples.is_empty().then_some(BEFORE);
        let mut sample = asking.look(Window { begin, end: to }, Some(slot), before).await;
        match std::mem::replace(&mut sample.answer, Answer::Value(0.0)) {
            Answer::Counted(counts) => add(&mut samples, sample, counts),
            Answer::Nothing(why) => nothing = why,
            answer @ (Answer::Value(_) | Answer::Ratio { .. } | Answer::Error { .. }) => {
                return Err(Box::new(Sample { answer, ..sample }));
            }
        }
        begin = to;
    }
    if samples.is_empty() {
        return Err(Box::new(asking.answered(Answer::Nothing(nothing))));
    }
    Ok(samples)
}

/// Adds what was counted to what was counted before it, where the bounds are the same.
fn add(samples: &mut Vec<Sample>, sample: Sample, counts: Counts) {
    if let Some(last) = samples.last_mut()
        && let Answer::Counted(before) = &mut last.answer
        && before.bounds == counts.bounds
    {
        before.windows.extend(counts.windows);
        before.late = before.late.saturating_add(counts.late);
        before.skew = before.skew.max(counts.skew);
        last.window.end = sample.window.end;
        last.targets_down = sample.targets_down;
        return;
    }
    samples.push(Sample { answer: Answer::Counted(counts), ..sample });
}

/// The part of the requests that the side on trial had; half at most, as nobody promised it more.
fn counted_share(samples: &[Sample]) -> Weight {
    let (mut test, mut serving) = (0.0, 0.0);
    for window in samples.iter().flat_map(windows) {
        test += window.test.iter().map(|count| count.total).sum::<f64>();
        serving += window.serving.iter().map(|count| count.total).sum::<f64>();
    }
    let percent = (100.0 * test / (test + serving)).round();
    let percent = if percent >= 1.0 { percent.min(50.0) as u32 } else { 50 };
    Weight::from_percent(percent).expect("a percentage up to 50 is a share")
}

fn windows(sample: &Sample) -> &[CountWindow] {
    match &sample.answer {
        Answer::Counted(counts) => &counts.windows,
        Answer::Value(_) | Answer::Ratio { .. } | Answer::Nothing(_) | Answer::Error { .. } => &[],
    }
}

/// Judges all comparing checks: each over the whole interval, and all together window by window, as
/// they share one chance of a false alarm.
pub(super) fn judge(counted: &[Counted<'_>]) -> (Vec<Judged>, Option<(Timestamp, Together)>) {
    let mut evidence = vec![Evidence::default(); counted.len()];
    let mut crossed: Vec<Option<(Timestamp, Folded)>> = vec![None; counted.len()];
    let mut shown = None;
    for Turn { end, check, sample } in turns(counted) {
        let folded = counted[check].fold(&evidence[check], &sample);
        evidence[check] = folded.evidence.clone();
        if folded.verdict.is_breach() && crossed[check].is_none() {
            crossed[check] = Some((end, folded));
        }
        if shown.is_none() && !counted[check].check.dry_run {
            shown = show(counted, &evidence).map(|shown| (end, shown));
        }
    }
    let judged = counted.iter().zip(crossed).map(|(one, crossed)| one.judged(crossed));
    let judged: Vec<Judged> = judged.collect();
    let alone = judged.iter().any(|one| one.crossed.is_some() && !one.dry_run);
    (judged, shown.filter(|_| !alone))
}

fn show(counted: &[Counted<'_>], evidence: &[Evidence]) -> Option<Together> {
    let parts = counted.iter().zip(evidence).filter(|(one, _)| !one.check.dry_run);
    let parts: Vec<_> =
        parts.map(|(one, evidence)| (&one.check.name, &one.rule, evidence)).collect();
    together(&parts)
}

/// Every window of every check, in the order of time.
fn turns(counted: &[Counted<'_>]) -> Vec<Turn> {
    let mut turns = Vec::new();
    for (check, one) in counted.iter().enumerate() {
        for sample in &one.samples {
            turns.extend(of_sample(check, sample));
        }
    }
    turns.sort_by_key(|turn| turn.end);
    turns
}

fn of_sample(check: usize, sample: &Sample) -> Vec<Turn> {
    let Answer::Counted(counts) = &sample.answer else { return Vec::new() };
    let turn = |(at, window): (usize, &CountWindow)| {
        let first = (counts.before.clone(), counts.late);
        let (before, late) = if at == 0 { first } else { (Vec::new(), 0) };
        let (bounds, skew) = (counts.bounds.clone(), counts.skew);
        let counts = Counts { bounds, windows: vec![window.clone()], before, late, skew };
        let answer = Answer::Counted(counts);
        let sample = Sample { window: window.window, answer, ..like(sample) };
        Turn { end: window.window.end, check, sample }
    };
    counts.windows.iter().enumerate().map(turn).collect()
}

/// A sample like another, without its answer.
fn like(sample: &Sample) -> Sample {
    let Sample { window, scrape, share, count, serving_count, targets_down, answer: _ } = sample;
    Sample {
        window: *window,
        scrape: *scrape,
        share: *share,
        answer: Answer::Nothing(String::new()),
        count: *count,
        serving_count: *serving_count,
        targets_down: *targets_down,
    }
}

// === impl Counted ===

impl Counted<'_> {
    fn fold(&self, evidence: &Evidence, sample: &Sample) -> Folded {
        let Check { name, limits, .. } = self.check;
        fold(&self.rule, limits, &self.stage, evidence, name, sample)
    }

    /// What the whole interval comes to. What was once enough stays so, though it may be explained
    /// away later.
    fn judged(&self, crossed: Option<(Timestamp, Folded)>) -> Judged {
        let (mut evidence, mut whole) = (Evidence::default(), None);
        for sample in &self.samples {
            let folded = self.fold(&evidence, sample);
            evidence = folded.evidence.clone();
            whole = Some(folded);
        }
        let whole = whole.expect("asking gives a sample at least");
        let end = crossed.as_ref().map(|(end, _)| *end);
        let finding = match crossed {
            Some((_, first)) if !whole.verdict.is_breach() => first.finding,
            Some(_) | None => whole.finding,
        };
        Judged { finding, dry_run: self.check.dry_run, crossed: end, looks: None }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
