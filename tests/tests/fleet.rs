//! What many rollouts in one process cost, in counts: turns in simulated time, never seconds of a clock.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use haldane_host::{Intent, Written};
use haldane_model::{EntryName, LeaseSeen, Now, Place};
use haldane_providers::Error;
use haldane_runtime::{Command, Core, Input, ports::Swap};
use haldane_sources::SourceFacts;
use haldane_tests::bench::fleet::{self, Kind, Seed};
use jiff::{SignedDuration, Timestamp};

const MINUTE: Duration = Duration::from_secs(60);

fn turns(count: usize, kind: Kind, interval_secs: u64, span: Duration) -> u64 {
    fleet::run(count, kind, interval_secs, span).turns
}

#[test]
fn at_rest_a_rollout_takes_two_turns_a_read_and_no_more() {
    // It reads every 30 s: a turn asks, a turn hears.
    assert_eq!(turns(1, Kind::Rest, 60, MINUTE * 10), 40);
    assert_eq!(turns(20, Kind::Rest, 60, MINUTE * 10), 20 * 40);
}

#[test]
fn a_slow_guard_costs_a_part_of_what_a_quick_one_does() {
    let [quick, slow] = [10, 60].map(|interval| turns(1, Kind::Baking, interval, MINUTE * 10));
    assert!(slow * 4 <= quick, "{slow} turns at 60 s, {quick} at 10 s");
}

#[test]
fn a_rollout_among_a_thousand_takes_as_many_turns_as_alone() {
    let alone = turns(1, Kind::Baking, 60, MINUTE * 5);
    let among = turns(1_000, Kind::Baking, 60, MINUTE * 5);
    // They began at different moments, so that some have a turn more at an end of the span.
    assert!(among.abs_diff(1_000 * alone) <= 1_000 * 5, "{among} and 1000 times {alone}");
}

// === one loop, by hand ===

/// One rollout that bakes, with guards every second.
struct One {
    core: Core,
    seed: Seed,
    written: Written,
    now: Now,
    has_targets: bool,
    /// The reads that were asked for, and whether they are left without an answer.
    reads: Vec<(EntryName, u64)>,
    mute: bool,
}

impl One {
    fn start() -> Self {
        Self::with_guards_every(1)
    }

    fn with_guards_every(seconds: u64) -> Self {
        let seed = fleet::seed(Kind::Baking, seconds);
        let written = fleet::compile("app", Kind::Baking, seconds);
        // In the middle between two points of the 15 s grid.
        let wall = Timestamp::from_second(1_770_000_007).unwrap();
        let now = Now { wall, mono: Duration::from_secs(5_000), boot: 7 };
        let (core, _) = Core::new(written.id.clone(), now);
        let mut one =
            Self { core, seed, written, now, has_targets: false, reads: Vec::new(), mute: false };
        one.feed(Input::Lease(LeaseSeen::Held { term: 1 }));
        one.feed(Input::Spec(one.written.seen(Intent::default())));
        one.feed(Input::Loaded(Ok(Some(one.seed.stored(&one.written)))));
        one
    }

    /// Gives it an input, and then the answers: a source that has no targets yet does not tell its
    /// scrape interval, and looks are told 15 s; later both say one second. Returns how many looks
    /// were asked for.
    fn feed(&mut self, input: Input) -> usize {
        let second = Some(Duration::from_secs(1)).filter(|_| self.has_targets);
        let (mut inputs, mut looks) = (VecDeque::from([input]), 0);
        while let Some(input) = inputs.pop_front() {
            for command in self.core.handle(input, self.now) {
                inputs.extend(match command {
                    Command::Read { entry, id } => {
                        self.reads.push((entry.clone(), id));
                        (!self.mute).then_some(Input::Read {
                            entry,
                            id,
                            result: Ok(self.seed.traffic.reading()),
                        })
                    }
                    Command::Facts { source, .. } => {
                        let facts = SourceFacts {
                            clock_ahead: SignedDuration::ZERO,
                            scrape: second,
                            delay: Duration::ZERO,
                        };
                        Some(Input::Facts { source, facts: Ok(facts) })
                    }
                    Command::Look { key, question, look, .. } => {
                        looks += 1;
                        let mut sample = fleet::sample(&question, look.window);
                        sample.scrape = second.unwrap_or(sample.scrape);
                        Some(Input::Looked { key, sample })
                    }
                    Command::Swap(_) => Some(Input::Swapped(Swap::Won)),
                    _ => None,
                });
            }
        }
        looks
    }

    /// Lets time pass, in tenths of a second.
    fn pass(&mut self, span: Duration) {
        for _ in 0..span.as_millis() / 100 {
            self.now = self.now.after(Duration::from_millis(100));
            if self.core.wake_at().is_some_and(|at| at <= self.now.mono) {
                self.feed(Input::Tick);
            }
        }
    }

    fn baked(&self) -> Duration {
        match self.core.record().map(|record| &record.place) {
            Some(Place::Baking { baked, .. }) => *baked,
            place => panic!("{place:?}"),
        }
    }
}

#[test]
fn a_read_that_is_never_answered_is_fresh_no_longer_however_often_it_is_asked_again() {
    let mut one = One::with_guards_every(15);
    one.has_targets = true;
    one.pass(Duration::from_secs(60));
    one.mute = true;
    let (before, asked) = (one.baked(), one.reads.len());
    one.pass(Duration::from_secs(300));
    assert!(one.core.seen().entries.is_empty(), "what was read minutes ago is not what is");
    let baked = one.baked() - before;
    assert!(baked <= Duration::from_secs(2 * 15 + 5), "{baked:?} of bake without a read");
    assert!(one.reads.len() >= asked + 300 / 6, "it is asked again all the while");
    one.mute = false;
    one.pass(Duration::from_secs(60));
    assert!(one.baked() >= before + baked + Duration::from_secs(30), "it goes on");
}

#[test]
fn a_record_that_turns_newer_under_a_running_loop_is_looked_at_and_does_not_spin() {
    let mut one = One::start();
    one.has_targets = true;
    one.pass(Duration::from_secs(2));
    let mut stored = one.seed.stored(&one.written);
    let text = String::from_utf8(stored.bytes.clone()).unwrap();
    stored.bytes = text.replacen("\"format\":1", "\"format\":2", 1).into_bytes();
    stored.version += 7;
    one.feed(Input::Loaded(Ok(Some(stored))));
    assert!(one.core.record().is_none() && one.core.header().is_some());
    let reads = one.reads.len();
    one.now = one.now.after(Duration::from_secs(20));
    let mut turns = 0;
    while one.core.wake_at().is_some_and(|at| at <= one.now.mono) && turns < 100 {
        turns += 1;
        one.feed(Input::Tick);
    }
    assert!(turns <= 2, "{turns} turns in one instant");
    assert!(one.reads.len() > reads, "the split is still read");
}

#[test]
fn the_late_answer_of_a_lost_read_is_not_taken_for_the_one_that_was_asked_since() {
    let mut one = One::with_guards_every(15);
    one.has_targets = true;
    one.pass(Duration::from_secs(30));
    one.mute = true;
    one.pass(Duration::from_secs(15));
    let [.., (entry, older), (_, newer)] = &one.reads[..] else { panic!("{:?}", one.reads) };
    let (entry, older, newer) = (entry.clone(), *older, *newer);
    let seen = one.core.seen().entries[&entry].reading.clone();
    let broken = || Err(Error::Unavailable("no answer in time".to_owned()));
    one.feed(Input::Read {
        entry: entry.clone(),
        id: newer,
        result: Ok(one.seed.traffic.reading()),
    });
    one.feed(Input::Read { entry: entry.clone(), id: older, result: broken() });
    assert_eq!(one.core.seen().entries[&entry].reading, seen, "an older one says nothing new");
}

#[test]
fn a_record_that_was_loaded_shares_the_plan_that_is_written() {
    let one = One::start();
    let pinned = one.core.record().unwrap().plan.clone().unwrap();
    assert!(Arc::ptr_eq(&pinned, &one.written.plan));
}

#[test]
fn a_source_that_just_started_does_not_slow_the_guards_down() {
    let mut one = One::start();
    one.has_targets = true;
    let mut looks = 0;
    for _ in 0..70 {
        one.now = one.now.after(Duration::from_millis(100));
        if one.core.wake_at().is_some_and(|at| at <= one.now.mono) {
            looks += one.feed(Input::Tick);
        }
    }
    assert!(looks >= 2 * 4, "{looks} looks of two checks within seven seconds");
}
