//! The simulated source: requests in proportion to the true share, errors by the hidden truth about
//! each revision.

use std::time::Duration;

use haldane_model::{Answer, Count, CountWindow, Counts, Record, Sample, SideName, Weight, Window};
use haldane_runtime::{Input, LookKey};
use haldane_sources::{Look, LookSides, SourceFacts};
use jiff::{SignedDuration, Timestamp};

use super::{Compared, Ev, Rng, World, world::EPOCH};

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
    /// Has nothing of the side under test, and says that none of its targets is up.
    Down,
    /// Has a few requests only, too few to tell.
    Thin,
}

/// How the source's clock goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct SourceClock {
    /// How far it was ahead of the true time in the beginning, in milliseconds.
    pub ahead: i64,
    /// How much it gains, in millionths.
    pub gains: i64,
}

// === impl SourceClock ===

impl SourceClock {
    /// Draws one: mostly right, else an hour behind, a little off, or drifting.
    pub fn draw(rng: &mut Rng) -> Self {
        let ahead = rng.pick(&[0, 0, 0, -3_600_000, -7_000, 120_000]);
        Self { ahead, gains: rng.pick(&[0, 0, -2_000, 2_000]) }
    }

    fn at(self, now: u64) -> i64 {
        let now = i64::try_from(now).unwrap_or(0);
        now + self.ahead + now * self.gains / 1_000_000
    }

    fn true_time(self, there: i64) -> u64 {
        u64::try_from((there - self.ahead) * 1_000_000 / (1_000_000 + self.gains)).unwrap_or(0)
    }
}

// === impl World ===

impl World {
    pub(super) fn look(&mut self, proc: usize, key: LookKey, look: Look) {
        let patience = u64::try_from(look.deadline.as_millis() * 2).unwrap_or(u64::MAX);
        self.waits.insert((proc, key.check.clone()), (key.clone(), self.now + patience));
        let slow = self.stormy() && self.rng.chance(60);
        let delay = if slow { self.rng.range(500, 9_000) } else { self.rng.range(5, 200) };
        if self.mood_of(key.check == "errors-aside".into()) == Mood::Hung {
            self.cover_call(proc, "source broken");
            return;
        }
        self.push(delay, Ev::LookNow { proc, key: Box::new(key), look: Box::new(look) });
    }

    pub(super) fn look_now(&mut self, proc: usize, key: LookKey, look: &Look) {
        let mood = self.mood_of(key.check == "errors-aside".into());
        let sample = match (self.shape.compared, look.grid) {
            (Some(compared), Some(grid)) => self.counted(proc, look, mood, compared, grid),
            (Some(_) | None, Some(_) | None) => self.sample(proc, look, mood),
        };
        self.input_in(proc, 1, Input::Looked { key, sample });
    }

    /// How a source behaves now: the one aside always answers.
    fn mood_of(&self, aside: bool) -> Mood {
        if aside { Mood::Good } else { self.mood }
    }

    fn sample(&mut self, proc: usize, look: &Look, mood: Mood) -> Sample {
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
        match mood {
            Mood::Empty => {
                self.cover_call(proc, "source silent");
                return sample;
            }
            Mood::Broken => {
                self.cover_call(proc, "source broken");
                sample.answer = Answer::Error { message: "502".to_owned(), retryable: true };
                return sample;
            }
            Mood::Lost | Mood::Down => self.cover_call(proc, "source silent"),
            Mood::Good | Mood::Thin | Mood::Hung => {}
        }
        let few = |count: f64| if mood == Mood::Thin { count.min(2.0) } else { count };
        let (test, errors, serving) = (few(test), few(errors), few(serving));
        sample.serving_count = (serving > 0.5).then_some(serving);
        sample.targets_down = mood == Mood::Down;
        let gone = matches!(mood, Mood::Lost | Mood::Down) || test < 0.5;
        if !gone {
            sample.count = Some(test);
            sample.answer =
                Answer::Ratio { part: (errors > 0.0).then_some(errors), total: Some(test) };
        }
        sample
    }

    /// What both sides counted, window by window. A window is the same however often, and by whomever,
    /// it is asked for.
    fn counted(
        &mut self,
        proc: usize,
        look: &Look,
        mood: Mood,
        compared: Compared,
        grid: Duration,
    ) -> Sample {
        let mut sample = self.sample(proc, look, mood);
        if matches!(mood, Mood::Empty | Mood::Broken | Mood::Hung) {
            return sample;
        }
        let grid = i64::try_from(grid.as_millis()).unwrap_or(i64::MAX);
        let mut at = look.window.begin.as_millisecond();
        let mut windows = Vec::new();
        // What has not happened yet on its clock, nobody can count.
        let there = EPOCH + self.source_clock.at(self.now);
        while at + grid <= look.window.end.as_millisecond().min(there) {
            let moment = |at| Timestamp::from_millisecond(at).expect("a moment of this history");
            let window = Window { begin: moment(at), end: moment(at + grid) };
            windows.push(self.count_window(look, window, mood, compared));
            at += grid;
        }
        let counts =
            Counts { bounds: Vec::new(), windows, before: Vec::new(), late: 0, skew: None };
        sample.answer = Answer::Counted(counts);
        sample
    }

    /// What a comparison would be told of these windows in one look, the world being good.
    #[must_use]
    pub fn sample_of(&mut self, record: &Record, begin: Timestamp, end: Timestamp) -> Sample {
        let sides =
            LookSides { test: record.header.test.clone(), serving: record.header.home.clone() };
        let window = Window { begin, end };
        let grid = Some(SCRAPE);
        let look = Look { window, sides, deadline: SCRAPE, grid, before: None, about: None };
        let compared = self.shape.compared.expect("this rollout has a comparison");
        let sample = self.counted(0, &look, Mood::Good, compared, SCRAPE);
        Sample { share: Some(record.asserted()), ..sample }
    }

    fn count_window(
        &self,
        look: &Look,
        window: Window,
        mood: Mood,
        compared: Compared,
    ) -> CountWindow {
        let side = |side: &SideName| {
            let (total, bad) = self.requests(side, window.begin, window.end);
            let total = if mood == Mood::Thin { total.min(2.0) } else { total }.round();
            let rate = if bad > 0.0 { compared.bad } else { compared.rate };
            let green = u64::from(side.as_str() == "green");
            let window = window.end.as_millisecond().unsigned_abs();
            let mut dice = Rng::new(compared.seed ^ window.rotate_left(17) ^ green);
            let millionths = (rate * 1e6) as u64;
            let fails = (0..total as u64).filter(|_| dice.range(0, 1_000_000) < millionths).count();
            vec![Count { process: side.as_str().into(), total, bad: vec![fails as f64] }]
        };
        let gone = matches!(mood, Mood::Lost | Mood::Down);
        let test = if gone { Vec::new() } else { side(&look.sides.test) };
        CountWindow { window, test, serving: side(&look.sides.serving) }
    }

    /// Returns the requests that a side had in a window of wall time, and how many failed.
    fn requests(&self, side: &SideName, begin: Timestamp, end: Timestamp) -> (f64, f64) {
        let there = |at: Timestamp| self.source_clock.true_time(at.as_millisecond() - EPOCH);
        let (begin, end) = (there(begin), there(end).min(self.now));
        let (mut all, mut bad) = (0.0, 0.0);
        for (index, (at, share)) in self.shares.iter().enumerate() {
            let until = self.shares.get(index + 1).map_or(self.now, |next| next.0);
            let (from, to) = ((*at).max(begin), until.min(end));
            if to <= from {
                continue;
            }
            let green = share.fraction();
            let part = if side.as_str() == "green" { green } else { 1.0 - green };
            let testers = if side.as_str() == "green" { self.testers } else { 0.0 };
            let count = (RATE * part + testers) * (to - from) as f64 / 1_000.0;
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
        let facts = match self.mood_of(source == "aside".into()) {
            Mood::Hung => return,
            Mood::Broken => Err("502".to_owned()),
            Mood::Good | Mood::Empty | Mood::Lost | Mood::Down | Mood::Thin => Ok(SourceFacts {
                clock_ahead: SignedDuration::from_millis(self.source_ahead()),
                scrape: Some(SCRAPE),
                delay: Duration::ZERO,
            }),
        };
        self.input_in(proc, 20, Input::Facts { source, facts });
    }

    /// How far the source's clock is ahead of the engine's wall clock.
    fn source_ahead(&self) -> i64 {
        self.source_clock.at(self.now) - i64::try_from(self.now).unwrap_or(0) - self.wall_off
    }

    /// Sets when a revision turns bad.
    pub fn turns_bad(&mut self, revision: &str, at: u64) {
        self.bad.insert(revision.to_owned(), at);
    }
}
