//! What a check of the error budget remembers: the windows of the last hour, and what was spent.
//!
//! JSON with the format number 3. What is older than some minutes is kept by the minute, on the
//! grid of time, so that it does not matter how the looks were cut.

use std::collections::VecDeque;

use haldane_model::{CountWindow, Evidence, Thought};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::rule::BurnRule;
use crate::{
    betting::{Game, Grid, Process, Sums, cap},
    evidence::Ledger,
};

/// The format that is written here.
const FORMAT: u32 = 3;
/// For how long windows are kept apart; those before are added up by the minute.
const APART: SignedDuration = SignedDuration::from_secs(360);
const MINUTE_MILLIS: i64 = 60_000;

/// All that is remembered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Book {
    format: u32,
    /// Up to where windows were folded.
    pub(super) folded_to: Option<Timestamp>,
    /// Where the first folded window began.
    pub(super) began: Option<Timestamp>,
    /// Whether earlier evidence of this attempt was lost.
    pub(super) anew: bool,
    /// The last windows, oldest first.
    pub(super) recent: VecDeque<Block>,
    /// All windows of the attempt.
    pub(super) all: Sums,
    /// What time they cover, in seconds.
    pub(super) secs: f64,
    /// The serving side's requests before the attempt, and in how many seconds.
    pub(super) before: (f64, f64),
    /// The bet that the budget burns faster than the lowest line.
    pub(super) bet: Process,
    /// The silence of the side under test.
    pub(super) silence: Ledger,
    /// How many samples came too late to be counted.
    pub(super) late: u64,
}

/// What both sides counted in one window, or in a minute of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Block {
    /// Where it ends.
    pub(super) end: Timestamp,
    /// What was counted.
    #[serde(flatten)]
    pub(super) sums: Sums,
}

/// What every format has in common.
#[derive(Deserialize)]
struct Envelope {
    format: u32,
}

// === impl Book ===

impl Default for Book {
    fn default() -> Self {
        Self {
            format: FORMAT,
            folded_to: None,
            began: None,
            anew: false,
            recent: VecDeque::new(),
            all: Sums::default(),
            secs: 0.0,
            before: (0.0, 0.0),
            bet: Process::new(Grid::errors()),
            silence: Ledger::default(),
            late: 0,
        }
    }
}

impl Book {
    /// Reads evidence; what cannot be read counts as none, and the sentence says so.
    pub(super) fn read(evidence: &Evidence) -> (Self, Option<String>) {
        if evidence.is_empty() {
            return (Self::default(), None);
        }
        if let Some(book) = current(evidence).filter(|book| book.bet.fits(Grid::errors())) {
            let note = "earlier evidence was lost: what was spent before does not count";
            return (book.clone(), book.anew.then(|| note.to_owned()));
        }
        let why = match serde_json::from_slice::<Envelope>(evidence.bytes()) {
            Ok(Envelope { format }) if format > FORMAT => {
                format!("has format {format} of a newer engine and cannot be read")
            }
            Ok(_) | Err(_) => "is damaged".to_owned(),
        };
        let note = format!("the earlier evidence {why}: what was spent before does not count");
        (Self { anew: true, ..Self::default() }, Some(note))
    }

    /// Keeps it, in the current format.
    pub(super) fn keep(self) -> Evidence {
        Evidence::of(self)
    }

    /// Learns one window that was not folded yet.
    pub(super) fn learn(&mut self, rule: &BurnRule, window: &CountWindow, sums: Sums) {
        let secs = window.window.end.duration_since(window.window.begin).as_secs_f64();
        let end = window.window.end;
        self.recent.push_back(Block { end, sums });
        self.all = self.all.plus(&sums);
        self.secs += secs;
        self.began = self.began.or(Some(window.window.begin));
        self.folded_to = Some(end);
        self.shorten(end, rule.longest());
        let Some(threshold) = rule.lowest() else { return };
        let game = Game {
            grid: Grid::errors(),
            margin: super::margin(rule.objective(), threshold),
            phi: 1.0,
            cap: cap(rule.alpha, 1.0, false),
        };
        self.bet.play(&game, &sums, 0.0, Process::renewal(secs));
    }

    /// Drops what no line looks at any more, and adds up what is old by the minute.
    fn shorten(&mut self, now: Timestamp, longest: u32) {
        let ago = |span: SignedDuration| now.checked_sub(span).unwrap_or(Timestamp::MIN);
        let gone = ago(SignedDuration::from_secs(i64::from(longest)));
        while self.recent.front().is_some_and(|block| block.end <= gone) {
            self.recent.pop_front();
        }
        let apart = ago(APART);
        let old = self.recent.partition_point(|block| block.end <= apart);
        // Those before were added up when they became old; the last two may be of one minute.
        for at in (1..old).rev() {
            let (one, next) = (self.recent[at - 1], self.recent[at]);
            if minute(one.end) != minute(next.end) {
                continue;
            }
            self.recent[at - 1] = Block { end: next.end, sums: one.sums.plus(&next.sums) };
            self.recent.remove(at);
        }
    }

    /// Returns what both sides counted in the last seconds.
    pub(super) fn last(&self, secs: u32) -> Sums {
        let Some(now) = self.folded_to else { return Sums::default() };
        let from = now.checked_sub(SignedDuration::from_secs(i64::from(secs)));
        let from = from.unwrap_or(Timestamp::MIN);
        let blocks = self.recent.iter().rev().take_while(|block| block.end > from);
        blocks.fold(Sums::default(), |sum, block| sum.plus(&block.sums))
    }

    /// Returns what both sides counted in the last seconds, or as far back as it takes until the side
    /// under test had so many requests, but for no longer than `most` seconds.
    pub(super) fn last_with(&self, requests: f64, secs: u32, most: u32) -> Sums {
        let Some(now) = self.folded_to else { return Sums::default() };
        let ago = |secs: u32| {
            now.checked_sub(SignedDuration::from_secs(i64::from(secs))).unwrap_or(Timestamp::MIN)
        };
        let (from, oldest) = (ago(secs), ago(most));
        let mut sum = Sums::default();
        for block in self.recent.iter().rev() {
            let enough = block.end <= from && sum.test_total >= requests;
            if enough || block.end <= oldest {
                break;
            }
            sum = sum.plus(&block.sums);
        }
        sum
    }
}

/// Which minute a window that ends here lies in.
fn minute(end: Timestamp) -> i64 {
    (end.as_millisecond() - 1).div_euclid(MINUTE_MILLIS)
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
