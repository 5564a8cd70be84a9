//! The simulated source: requests in proportion to the true share, errors by the hidden truth about
//! each revision.

use std::time::Duration;

use haldane_model::{Answer, Sample, SideName, Weight};
use haldane_runtime::{Input, LookKey};
use haldane_sources::{Look, SourceFacts};
use jiff::{SignedDuration, Timestamp};

use super::{Ev, World};

/// The scrape interval that the source tells.
const SCRAPE: Duration = Duration::from_secs(5);

/// How many requests come in a second.
const RATE: f64 = 40.0;

/// How the source behaves for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Answers.
    Good,
    /// Answers that there is nothing, on either side.
    Empty,
    /// Answers with an error.
    Broken,
    /// Never answers.
    Hung,
    /// Has nothing of the side under test, which is alive.
    Lost,
}

// === impl World ===

impl World {
    pub(super) fn look(&mut self, proc: usize, key: LookKey, look: Look) {
        let slow = self.stormy() && self.rng.chance(60);
        let delay = if slow { self.rng.range(500, 9_000) } else { self.rng.range(5, 200) };
        if self.mood == Mood::Hung {
            self.cover("source broken");
            return;
        }
        self.push(delay, Ev::LookNow { proc, key: Box::new(key), look: Box::new(look) });
    }

    pub(super) fn look_now(&mut self, proc: usize, key: LookKey, look: &Look) {
        let sample = self.sample(look);
        self.input_in(proc, 1, Input::Looked { key, sample });
    }

    fn sample(&mut self, look: &Look) -> Sample {
        let window = look.window;
        let mut sample = Sample {
            window,
            scrape: SCRAPE,
            share: None,
            answer: Answer::Nothing("no series".to_owned()),
            count: None,
            serving_count: None,
            targets_down: false,
        };
        let (test, errors) = self.requests(&look.sides.test, window.begin, window.end);
        let (serving, _) = self.requests(&look.sides.serving, window.begin, window.end);
        match self.mood {
            Mood::Empty => {
                self.cover("source silent");
                return sample;
            }
            Mood::Broken => {
                self.cover("source broken");
                sample.answer = Answer::Error { message: "502".to_owned(), retryable: true };
                return sample;
            }
            Mood::Lost => self.cover("source silent"),
            Mood::Good | Mood::Hung => {}
        }
        sample.serving_count = (serving > 0.5).then_some(serving);
        let gone = self.mood == Mood::Lost || test < 0.5;
        if !gone {
            sample.count = Some(test);
            sample.answer =
                Answer::Ratio { part: (errors > 0.0).then_some(errors), total: Some(test) };
        }
        sample
    }

    /// Returns the requests that a side had in a window of wall time, and how many failed.
    fn requests(&self, side: &SideName, begin: Timestamp, end: Timestamp) -> (f64, f64) {
        let (begin, end) = (self.true_time(begin), self.true_time(end).min(self.now));
        let (mut all, mut bad) = (0.0, 0.0);
        for (index, (at, share)) in self.shares.iter().enumerate() {
            let until = self.shares.get(index + 1).map_or(self.now, |next| next.0);
            let (from, to) = ((*at).max(begin), until.min(end));
            if to <= from {
                continue;
            }
            let green = share.fraction();
            let part = if side.as_str() == "green" { green } else { 1.0 - green };
            let count = RATE * part * (to - from) as f64 / 1_000.0;
            all += count;
            if self.is_bad(side, to) {
                bad += count * 0.3;
            }
        }
        (all, bad)
    }

    fn is_bad(&self, side: &SideName, at: u64) -> bool {
        let runs = &self.runs[usize::from(side.as_str() == "green")];
        self.bad.get(runs).is_some_and(|from| at >= *from)
    }

    /// Notes what users see from now on.
    pub(super) fn note_shares(&mut self) {
        // Users come through every part alike.
        let parts = || self.lanes.iter().flat_map(|lane| lane.parts.iter());
        let sum: u32 = parts().map(|part| u32::from(part.0.basis_points())).sum();
        let mean = sum / u32::try_from(parts().count()).unwrap_or(1).max(1);
        let share = Weight::from_basis_points(mean).expect("a mean of shares is one");
        if self.shares.last().is_none_or(|last| last.1 != share) {
            self.shares.push((self.now, share));
        }
    }

    pub(super) fn facts(&mut self, proc: usize, source: haldane_model::SourceName) {
        let facts = match self.mood {
            Mood::Hung => return,
            Mood::Broken => Err("502".to_owned()),
            Mood::Good | Mood::Empty | Mood::Lost => Ok(SourceFacts {
                clock_ahead: SignedDuration::from_millis(-self.wall_off),
                scrape: Some(SCRAPE),
            }),
        };
        self.input_in(proc, 20, Input::Facts { source, facts });
    }

    /// Sets when a revision turns bad.
    pub fn turns_bad(&mut self, revision: &str, at: u64) {
        self.bad.insert(revision.to_owned(), at);
    }
}
