//! What a check of a gauge remembers: the windows of the step, and the signs of the attempt.
//!
//! JSON with the format number 4. How long blocks must be was fixed before the first window.

use haldane_model::{Count, CountWindow, Evidence, Thought};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::rule::GaugeRule;
use crate::{
    Stage,
    evidence::Ledger,
    ranks::{
        Doubt, GaugeOutcome, GaugeSettings, GaugeVerdict, SIGN_BETS, Worse, autocorrelation,
        block_length, gauge, sign_of,
    },
};

/// The format that is written here.
const FORMAT: u32 = 4;
/// From how many windows before the attempt it is measured how slowly a gauge forgets.
const WINDOWS_BEFORE: usize = 24;
/// The longest block that is waited for, in windows.
const BLOCK_MAX: usize = 60;

/// All that is remembered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Book {
    format: u32,
    /// Up to where windows were folded.
    pub(super) folded_to: Option<Timestamp>,
    /// Whether earlier evidence of this attempt was lost.
    pub(super) anew: bool,
    /// The autocorrelation of the serving side before the attempt.
    pub(super) rho: Option<f64>,
    /// The step under way.
    pub(super) step: Step,
    /// The logarithm of each stake on the signs of the attempt.
    pub(super) stakes: [f64; SIGN_BETS.len()],
    /// The block of the signs that is being filled: both sides' sums, and of how many windows.
    pub(super) filling: (f64, f64, usize),
    /// The highest evidence of the signs: what was shown stays shown.
    pub(super) top: f64,
    /// The silence of the side under test.
    pub(super) silence: Ledger,
    /// How many samples came too late.
    pub(super) late: u64,
}

/// How far a step is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Step {
    number: Option<u32>,
    /// The means of both sides in each window; emptied once the step is ruled on.
    test: Vec<f64>,
    serving: Vec<f64>,
    /// What the one look of the step found.
    pub(super) ruled: Option<Ruled>,
}

/// What the one look of a step found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ruled {
    pub(super) outcome: Outcome,
    pub(super) test: f64,
    pub(super) serving: f64,
    /// In which part of all pairs of blocks the side under test is the worse one.
    pub(super) pairs: f64,
    /// How many blocks a side there were.
    pub(super) blocks: usize,
}

/// The decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Outcome {
    Worse,
    NotWorse,
    /// It looks worse, but it forgets too slowly to be sure.
    TooSlow,
}

/// What every format has in common.
#[derive(Deserialize)]
struct Envelope {
    format: u32,
}

// === impl Book ===

impl Book {
    /// Reads evidence; what cannot be read counts as none, and the sentence says so.
    pub(super) fn read(evidence: &Evidence) -> (Self, Option<String>) {
        if evidence.is_empty() {
            return (Self::default(), None);
        }
        if let Some(book) = current(evidence).filter(|book| book.is_sound()) {
            let note = "earlier evidence was lost: it is gathered anew";
            return (book.clone(), book.anew.then(|| note.to_owned()));
        }
        let why = match serde_json::from_slice::<Envelope>(evidence.bytes()) {
            Ok(Envelope { format }) if format > FORMAT => {
                format!("has format {format} of a newer engine and cannot be read")
            }
            Ok(_) | Err(_) => "is damaged".to_owned(),
        };
        let note = format!("the earlier evidence {why}: it is gathered anew");
        (Self { anew: true, ..Self::default() }, Some(note))
    }

    fn is_sound(&self) -> bool {
        let numbers = self.step.test.iter().chain(&self.step.serving).chain(&self.stakes);
        self.step.test.len() == self.step.serving.len() && numbers.copied().all(f64::is_finite)
    }

    /// Keeps it, in the current format.
    pub(super) fn keep(mut self) -> Evidence {
        self.format = FORMAT;
        Evidence::of(self)
    }

    /// Fixes how slowly the gauge forgets, by the time before the attempt.
    pub(super) fn begin(&mut self, before: &[CountWindow]) {
        let means: Vec<f64> = before.iter().filter_map(|one| mean(&one.serving)).collect();
        self.rho = autocorrelation(&means).filter(|_| means.len() >= WINDOWS_BEFORE);
    }

    /// Learns one window that was not folded yet.
    pub(super) fn learn(&mut self, rule: &GaugeRule, stage: &Stage, window: &CountWindow) {
        self.folded_to = Some(window.window.end);
        let in_step = window.window.begin >= stage.windows_from;
        if in_step && self.step.number != Some(stage.step) {
            self.step = Step { number: Some(stage.step), ..Step::default() };
        }
        let (Some(test), Some(serving)) = (mean(&window.test), mean(&window.serving)) else {
            return;
        };
        if stage.weight == haldane_model::Weight::FULL {
            return;
        }
        self.sign(rule, test, serving);
        if in_step && self.step.ruled.is_none() {
            self.step.test.push(test);
            self.step.serving.push(serving);
            self.rule_on_step(rule, stage.step);
        }
    }

    /// Fills a block, and bets on its sign once it is full.
    fn sign(&mut self, rule: &GaugeRule, test: f64, serving: f64) {
        let (tests, servings, windows) = &mut self.filling;
        (*tests, *servings, *windows) = (*tests + test, *servings + serving, *windows + 1);
        let block = needed(self.rho.unwrap_or(0.0)).max(rule.settings.block);
        if *windows < block {
            return;
        }
        let size = *windows as f64;
        let (test, serving) = (*tests / size, *servings / size);
        self.filling = (0.0, 0.0, 0);
        let tolerated = rule.settings.tolerance * serving.abs();
        let sign = match rule.settings.worse {
            Worse::Higher => sign_of(test, serving + tolerated, 1.0),
            Worse::Lower => -sign_of(test, serving - tolerated, 1.0),
        };
        for (stake, bet) in self.stakes.iter_mut().zip(SIGN_BETS) {
            *stake += (bet * f64::from(sign)).ln_1p();
        }
        self.top = self.top.max(self.ln_e());
    }

    /// The one look of a step: with short blocks it can clear, with long ones it can condemn as well.
    fn rule_on_step(&mut self, rule: &GaugeRule, step: u32) {
        let windows = self.step.test.len();
        let rho = self.rho.or_else(|| autocorrelation(&self.step.serving)).unwrap_or(1.0);
        let (least, blocks) = (rule.settings.block, rule.settings.blocks_min);
        let long = needed(rho).max(least);
        let block = if windows == least * blocks {
            least
        } else if windows >= long * blocks {
            long
        } else {
            return;
        };
        let settings = GaugeSettings {
            block,
            autocorrelation: rho,
            alpha: rule.alpha_of_step(step),
            ..rule.settings
        };
        let seen = gauge(&self.step.serving, &self.step.test, &settings);
        let outcome = match seen.outcome {
            GaugeOutcome::Degraded => Outcome::Worse,
            GaugeOutcome::NotDegraded => Outcome::NotWorse,
            GaugeOutcome::Inconclusive(Doubt::ShortBlocks) if block < long => return,
            GaugeOutcome::Inconclusive(
                Doubt::ShortBlocks | Doubt::FewBlocks | Doubt::NotFinite,
            ) => Outcome::TooSlow,
        };
        self.step.ruled = Some(ruled(outcome, &seen));
        (self.step.test, self.step.serving) = (Vec::new(), Vec::new());
    }

    /// Returns the logarithm of the evidence of the signs: the mean over the stakes.
    pub(super) fn ln_e(&self) -> f64 {
        let top = self.stakes.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = self.stakes.iter().map(|stake| (stake - top).exp()).sum();
        top + (sum / self.stakes.len() as f64).ln()
    }

    /// Returns how many windows of the step there are.
    pub(super) fn windows(&self) -> usize {
        self.step.test.len()
    }
}

fn ruled(outcome: Outcome, seen: &GaugeVerdict) -> Ruled {
    Ruled {
        outcome,
        test: seen.test_median.unwrap_or(0.0),
        serving: seen.serving_median.unwrap_or(0.0),
        pairs: seen.pairs.unwrap_or(0.5),
        blocks: seen.test_blocks.min(seen.serving_blocks),
    }
}

/// How many windows a block needs for a gauge that forgets so slowly.
fn needed(rho: f64) -> usize {
    block_length(rho).min(BLOCK_MAX)
}

/// The mean of a side's processes, each with the mean of its samples.
fn mean(processes: &[Count]) -> Option<f64> {
    let sampled = processes.iter().filter(|count| count.total > 0.0);
    let means = sampled.filter_map(|count| count.bad.first().map(|sum| sum / count.total));
    let (sum, number) = means.fold((0.0, 0.0), |(sum, number), mean| (sum + mean, number + 1.0));
    (number > 0.0).then(|| sum / number)
}

/// Returns up to where windows were folded.
pub(super) fn folded_to(evidence: &Evidence) -> Option<Timestamp> {
    current(evidence)?.folded_to
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
