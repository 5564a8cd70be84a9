//! A scored check: the points of a step, gathered window by window and judged once.
//!
//! As in Kayenta a point is the mean of a metric over a window. A score corrects for no repeated looks,
//! so each step is scored once, when it has its points. It judges steps that have both sides, and
//! nothing at 100 %.

use haldane_model::{
    CheckName, CountWindow, Counts, Evidence, Finding, Sample, Thought, Verdict, Weight,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Class, Metric, MetricResult, MetricRule, Score, ScoreOutcome, rule::ScoredRule, score,
};
use crate::{Folded, Stage, counted, words::plain};

/// The format that is written here.
const FORMAT: u32 = 5;
/// What a marginal score asks for: a policy or a person decides.
const MARGINAL: Verdict = Verdict::Inconclusive { over_limit: true };
const INCONCLUSIVE: Verdict = Verdict::Inconclusive { over_limit: false };

/// All that is remembered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Book {
    format: u32,
    folded_to: Option<Timestamp>,
    /// Whether earlier evidence of this attempt was lost.
    anew: bool,
    /// The step under way.
    step: Option<u32>,
    /// The points of each metric; emptied once the step is scored.
    points: Vec<Points>,
    /// The score of the step.
    scored: Option<Scored>,
}

/// The points of one metric, of both sides; a missing one is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Points {
    test: Vec<Option<f64>>,
    serving: Vec<Option<f64>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Scored {
    verdict: Verdict,
    score: f64,
    words: String,
}

#[derive(Deserialize)]
struct Envelope {
    format: u32,
}

/// Judges one look and adds it to the evidence of the attempt.
pub(crate) fn fold(
    rule: &ScoredRule,
    stage: &Stage,
    evidence: &Evidence,
    check: &CheckName,
    sample: &Sample,
) -> Folded {
    let (mut book, damage) = Book::read(evidence, rule);
    let counted::Ruled { verdict, message, learned } = counted::ruled(sample, damage, |counts| {
        readable(counts)?;
        Ok(judge(rule, stage, &mut book, counts, sample))
    });
    let finding = Finding {
        check: check.clone(),
        verdict,
        value: book.scored.as_ref().map(|scored| scored.score),
        limit: Some(format!("min {}", plain(rule.score.pass))),
        unit: String::new(),
        samples: book.scored.is_some().then_some(rule.points as f64),
        window: sample.window,
        message: Some(message),
        compared: None,
    };
    let evidence = if learned && book.folded_to.is_some() { book.keep() } else { evidence.clone() };
    Folded { evidence, verdict, finding }
}

/// Returns up to where windows were folded.
pub(crate) fn folded_to(evidence: &Evidence) -> Option<Timestamp> {
    current(evidence)?.folded_to
}

fn readable(counts: &Counts) -> Result<(), String> {
    let sides = counts.windows.iter().flat_map(|window| window.test.iter().chain(&window.serving));
    for count in sides {
        let odd = !count.total.is_finite() || count.total < 0.0;
        if odd || count.bad.len() != 1 || !count.bad.iter().all(|sum| sum.is_finite()) {
            return Err(format!("{} gave points that are no numbers", count.process));
        }
    }
    Ok(())
}

fn judge(
    rule: &ScoredRule,
    stage: &Stage,
    book: &mut Book,
    counts: &Counts,
    sample: &Sample,
) -> (Verdict, String) {
    let mut news = 0_u32;
    let already = book.scored.is_some();
    for window in counted::fresh(&counts.windows, book.folded_to) {
        book.learn(rule, stage, window);
        news += 1;
    }
    let Some(folded_to) = book.folded_to else {
        return (INCONCLUSIVE, "no window has closed yet".to_owned());
    };
    if let Some(scored) = book.scored.as_ref().filter(|scored| scored.verdict.is_breach()) {
        return (scored.verdict, scored.words.clone());
    }
    if let Some(why) = counted::overdue(folded_to, sample).filter(|_| news == 0) {
        return (Verdict::NoData, why);
    }
    match &book.scored {
        _ if stage.weight == Weight::FULL => {
            let words =
                "at 100 % there is no serving side to compare with: nothing was found before";
            (Verdict::Pass, words.to_owned())
        }
        _ if !stage.gates => (Verdict::Pass, "nothing is scored between steps".to_owned()),
        // A policy is asked once, and a person who went on is not asked again.
        Some(scored) if scored.verdict == MARGINAL && already => {
            (INCONCLUSIVE, scored.words.clone())
        }
        Some(scored) => (scored.verdict, scored.words.clone()),
        None => {
            let words = format!("{} of {} points of the step", book.windows(), rule.points);
            (INCONCLUSIVE, words)
        }
    }
}

/// The mean of one metric over a window; a metric is told by the name that its samples go under.
fn point(counts: &[haldane_model::Count], name: &str) -> Option<f64> {
    let count = counts.iter().find(|count| &*count.process == name && count.total > 0.0)?;
    count.bad.first().map(|sum| sum / count.total)
}

/// Says which metrics failed, and what each group has.
fn words(rule: &ScoredRule, judged: &Score) -> String {
    let failed = |(result, (name, metric)): (&MetricResult, &(String, MetricRule))| {
        let word = match result.class {
            Class::Pass => return None,
            Class::NoData => "has no data",
            Class::High => "is high",
            Class::Low => "is low",
            Class::NoDataFailed => "has no data, and must have some",
        };
        let critical = if metric.critical { ", and is critical" } else { "" };
        let effect = result.effect.map(|effect| format!(" (effect {})", plain(effect)));
        Some(format!("{name} {word}{}{critical}", effect.unwrap_or_default()))
    };
    let told: Vec<String> = judged.metrics.iter().zip(&rule.metrics).filter_map(failed).collect();
    let word = match judged.outcome {
        ScoreOutcome::Pass => "passes",
        ScoreOutcome::Marginal => "is marginal: a person decides",
        ScoreOutcome::Fail => "fails",
    };
    let told = if told.is_empty() { String::new() } else { format!(": {}", told.join(", ")) };
    format!(
        "score {} of 100 over {} points {word} (pass {}, marginal {}){told}",
        plain(judged.score),
        rule.points,
        plain(rule.score.pass),
        plain(rule.score.marginal)
    )
}

// === impl Book ===

impl Book {
    fn read(evidence: &Evidence, rule: &ScoredRule) -> (Self, Option<String>) {
        if evidence.is_empty() {
            return (Self::default(), None);
        }
        let fits = |book: &&Self| book.points.is_empty() || book.points.len() == rule.metrics.len();
        if let Some(book) = current(evidence).filter(fits) {
            let note = "earlier evidence was lost: points are gathered anew";
            return (book.clone(), book.anew.then(|| note.to_owned()));
        }
        let why = match serde_json::from_slice::<Envelope>(evidence.bytes()) {
            Ok(Envelope { format }) if format > FORMAT => {
                format!("has format {format} of a newer engine and cannot be read")
            }
            Ok(_) | Err(_) => "is damaged".to_owned(),
        };
        let note = format!("the earlier evidence {why}: points are gathered anew");
        (Self { anew: true, ..Self::default() }, Some(note))
    }

    fn keep(mut self) -> Evidence {
        self.format = FORMAT;
        Evidence::of(self)
    }

    fn windows(&self) -> usize {
        self.points.first().map_or(0, |points| points.test.len())
    }

    fn learn(&mut self, rule: &ScoredRule, stage: &Stage, window: &CountWindow) {
        self.folded_to = Some(window.window.end);
        let in_step = window.window.begin >= stage.windows_from;
        if !in_step || stage.weight == Weight::FULL {
            return;
        }
        if self.step != Some(stage.step) {
            (self.step, self.scored) = (Some(stage.step), None);
            self.points = vec![Points::default(); rule.metrics.len()];
        }
        if self.scored.is_some() {
            return;
        }
        for (points, (name, _)) in self.points.iter_mut().zip(&rule.metrics) {
            points.test.push(point(&window.test, name));
            points.serving.push(point(&window.serving, name));
        }
        if self.windows() >= rule.points {
            self.score(rule);
        }
    }

    fn score(&mut self, rule: &ScoredRule) {
        let points = |side: &[Option<f64>]| {
            side.iter().map(|point| point.unwrap_or(f64::NAN)).collect::<Vec<_>>()
        };
        let both = self.points.iter().zip(&rule.metrics);
        let metrics = both.map(|(Points { test, serving }, (name, rule))| Metric {
            name: name.clone(),
            test: points(test),
            serving: points(serving),
            expected: test.len(),
            rule: rule.clone(),
        });
        let metrics: Vec<Metric> = metrics.collect();
        let judged = score(&metrics, &rule.score);
        let verdict = match judged.outcome {
            ScoreOutcome::Pass => Verdict::Pass,
            ScoreOutcome::Marginal => MARGINAL,
            ScoreOutcome::Fail => Verdict::Fail { breach: true },
        };
        let words = words(rule, &judged);
        self.scored = Some(Scored { verdict, score: judged.score, words });
        self.points = Vec::new();
    }
}

fn current(evidence: &Evidence) -> Option<&Book> {
    let read = |bytes: &[u8]| serde_json::from_slice(bytes).ok();
    evidence.thought::<Book>(read).filter(|book| book.format == FORMAT)
}

impl Thought for Book {
    fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("finite numbers, times and flags are JSON")
    }
}
