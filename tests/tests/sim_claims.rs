//! Histories written by hand, one claim each, in the same world as the seeds.

use std::collections::BTreeMap;

use haldane_model::{
    Cause, During, Evidence, Health, HoldKind, LeaseSeen, Outcome, Place, Reason, Record, SpecSeen,
    Stamp, State, Verb, Weight,
};
use haldane_runtime::Input;
use haldane_tests::sim::{
    COMPARED, Change, Compared, Ev, Mood, Pace, Rng, Shape, SourceClock, Wait, World,
};
use jiff::Timestamp;

fn world() -> World {
    world_of(Shape::default())
}

fn world_of(shape: Shape) -> World {
    let mut world = World::new(Rng::new(7), shape, true);
    world.peace_at = 0;
    world.start_process();
    world
}

fn percent(share: u32) -> Weight {
    Weight::from_percent(share).unwrap()
}

#[track_caller]
fn bakes_at(world: &mut World, share: u32) {
    let share = percent(share);
    let there = world.run_until(900_000, |world| {
        matches!(world.place(), Some(Place::Baking { .. })) && world.true_share() == (share, share)
    });
    assert!(there, "{}", world.trace().join("\n"));
}

#[track_caller]
fn ends(world: &mut World, state: State) {
    let until = world.now + 900_000;
    let there = world.run_until(until, |world| {
        let record = world.core().and_then(|core| core.record());
        record.is_some_and(|record| record.state() == state && record.place.is_at_rest())
    });
    assert!(there, "{:?}\n{}", world.violation(), world.trace().join("\n"));
}

fn told(world: &World, reason: Reason) -> usize {
    world.journal().filter(|entry| entry.reason == reason).count()
}

fn raises_since(world: &World, at: u64) -> usize {
    world.sent.iter().filter(|(when, what)| *when >= at && what.starts_with("Raise")).count()
}

#[test]
fn a_good_rollout_ends_healthy() {
    let mut world = world();
    ends(&mut world, State::Healthy);
    assert_eq!(world.true_share(), (Weight::FULL, Weight::FULL));
}

#[test]
fn a_kill_before_and_after_every_command_ends_the_same() {
    let mut good = world();
    ends(&mut good, State::Healthy);
    assert!(good.commands > 200, "{}", good.commands);
    for at in 1..=good.commands {
        for after in [false, true] {
            let mut world = World::new(Rng::new(7), Shape::default(), false);
            world.peace_at = 0;
            world.kill_at = Some((at, after));
            world.start_process();
            let until = world.now + 900_000;
            let ended = world.run_until(until, |world| world.place() == Some(&Place::Healthy));
            assert!(ended, "killed at {at}, after: {after}: {:?}", world.violation());
            assert_eq!(world.true_share(), (Weight::FULL, Weight::FULL), "killed at {at}");
        }
    }
}

#[test]
fn a_lost_swap_never_raises() {
    let mut world = world();
    bakes_at(&mut world, 10);
    world.store_fault = Some("lost");
    let at = world.now;
    world.run_to(at + 120_000);
    assert_eq!((raises_since(&world, at), world.true_share().1), (0, percent(10)));
    world.store_fault = None;
    ends(&mut world, State::Healthy);
}

#[test]
fn a_stale_swap_is_decided_anew() {
    let mut world = world();
    bakes_at(&mut world, 10);
    world.store_fault = Some("stale");
    let at = world.now;
    world.run_to(at + 60_000);
    assert_eq!(raises_since(&world, at), 0);
    world.store_fault = None;
    ends(&mut world, State::Healthy);
}

#[test]
fn a_rollback_whose_record_is_lost_is_found_and_not_repaired() {
    let mut world = world();
    bakes_at(&mut world, 25);
    world.store_fault = Some("lost");
    let now = world.now;
    world.turns_bad("r1", now);
    assert!(world.run_until(now + 60_000, |world| world.true_share().1 == Weight::ZERO));
    let (at, proc) = (world.now, world.leader().unwrap());
    world.kill(proc, true);
    world.store_fault = None;
    world.start_process();
    ends(&mut world, State::Degraded);
    assert_eq!((raises_since(&world, at), told(&world, Reason::OwnLoweringFound)), (0, 1));
}

#[test]
fn a_hung_store_delays_no_rollback() {
    let mut world = world();
    bakes_at(&mut world, 25);
    world.store_fault = Some("hung");
    let now = world.now;
    world.run_to(now + 40_000);
    assert!(world.core().unwrap().store_trouble().is_some());
    let now = world.now;
    world.turns_bad("r1", now);
    assert!(world.run_until(now + 15_000, |world| world.true_share().1 == Weight::ZERO));
    world.store_fault = None;
    ends(&mut world, State::Degraded);
}

#[test]
fn a_late_write_after_degraded_is_undone() {
    let mut world = world();
    bakes_at(&mut world, 25);
    let now = world.now;
    world.turns_bad("r1", now);
    let mark = world.lanes[0].parts[0].1;
    ends(&mut world, State::Degraded);
    world.land(0, 0, percent(50), mark);
    let now = world.now;
    assert!(world.run_until(now + 40_000, |world| world.true_share().1 == Weight::ZERO));
}

#[test]
fn an_outage_of_the_metrics_holds_is_told_once_and_goes_on() {
    let mut world = world();
    bakes_at(&mut world, 25);
    world.mood = Mood::Broken;
    let at = world.now;
    world.run_to(at + 300_000);
    assert_eq!(world.true_share(), (percent(25), percent(25)));
    assert_eq!((raises_since(&world, at), told(&world, Reason::SourceError)), (0, 1));
    world.mood = Mood::Good;
    ends(&mut world, State::Healthy);
}

#[test]
fn a_source_that_never_answers_holds_and_is_told() {
    let mut world = world();
    bakes_at(&mut world, 25);
    world.mood = Mood::Hung;
    let at = world.now;
    world.run_to(at + 120_000);
    assert_eq!((raises_since(&world, at), told(&world, Reason::SourceError)), (0, 1));
    world.mood = Mood::Good;
    ends(&mut world, State::Healthy);
}

#[test]
fn silence_of_the_canary_alone_puts_the_traffic_back() {
    let mut world = world();
    bakes_at(&mut world, 50);
    let now = world.now;
    world.run_to(now + 15_000);
    world.mood = Mood::Lost;
    ends(&mut world, State::Degraded);
    assert_eq!(told(&world, Reason::CanaryLost), 1);
}

#[test]
fn a_share_set_to_nothing_by_hand_is_a_conflict_and_no_lost_canary() {
    let mut world = world();
    bakes_at(&mut world, 50);
    world.foreign(0, Weight::ZERO);
    let at = world.now;
    world.run_to(at + 120_000);
    assert_eq!((told(&world, Reason::Conflicted), told(&world, Reason::CanaryLost)), (1, 0));
    assert_eq!(raises_since(&world, at), 0);
}

#[test]
fn a_kill_loses_at_most_fifteen_seconds_of_bake_and_counts_none_twice() {
    let mut world = world();
    bakes_at(&mut world, 10);
    let now = world.now;
    world.run_to(now + 24_000);
    let baked = |world: &World| match world.place() {
        Some(Place::Baking { baked, .. }) => baked.as_secs_f64(),
        place => panic!("{place:?}"),
    };
    let before = baked(&world);
    let proc = world.leader().unwrap();
    world.kill(proc, true);
    world.push(60_000, Ev::Start);
    let now = world.now;
    world.run_to(now + 60_200);
    let after = baked(&world);
    assert!(after <= before && before - after <= 20.0, "{before} s, then {after} s");
    ends(&mut world, State::Healthy);
}

#[test]
fn a_dead_home_keeps_the_traffic_until_it_lives() {
    let mut world = world();
    bakes_at(&mut world, 25);
    world.health[0] = Health::Down;
    let now = world.now;
    world.run_to(now + 3_000);
    world.turns_bad("r1", now);
    world.run_to(now + 60_000);
    assert_eq!(world.true_share(), (percent(25), percent(25)));
    assert_eq!(told(&world, Reason::RollbackBlocked), 1);
    world.health[0] = Health::Ready { ready: 1, wanted: 10 };
    let now = world.now;
    assert!(world.run_until(now + 2_000, |world| world.true_share().1 == Weight::ZERO));
}

// === restarts ===

/// Where the process is killed, a rollout of which one look of one scrape is bad; two are a breach.
fn with_one_bad_scrape(interval: u64, kill_at: Option<(u64, bool)>) -> World {
    let shape = Shape { failures: 1, interval, ..Shape::default() };
    let mut world = World::new(Rng::new(7), shape, false);
    world.peace_at = 0;
    world.kill_at = kill_at;
    world.start_process();
    world.run_to(60_000);
    world.turns_bad("r1", 60_000);
    world.run_to(64_000);
    world.turns_bad("r1", u64::MAX);
    world
}

#[track_caller]
fn counts_it_once_however_it_is_killed(interval: u64, kills: u64) {
    let mut whole = with_one_bad_scrape(interval, None);
    let begun = whole.commands;
    ends(&mut whole, State::Healthy);
    assert!(told(&whole, Reason::CheckFailed) > 0, "{}", whole.trace().join("\n"));
    for at in begun..begun + kills {
        for after in [false, true] {
            let mut world = with_one_bad_scrape(interval, Some((at, after)));
            ends(&mut world, State::Healthy);
            let mut looks = BTreeMap::new();
            for entry in world.journal().filter(|entry| entry.reason == Reason::CheckFailed) {
                let window = entry.finding.as_ref().map(|finding| finding.window.end);
                *looks.entry(window).or_insert(0) += 1;
            }
            assert!(looks.values().all(|times| *times == 1), "killed at {at}: {looks:?}");
        }
    }
}

#[test]
fn one_sample_is_never_counted_twice_over_a_restart() {
    counts_it_once_however_it_is_killed(5, 120);
}

#[test]
fn one_sample_is_never_counted_twice_where_looks_are_closer_than_scrapes() {
    counts_it_once_however_it_is_killed(1, 60);
}

#[test]
fn a_threshold_may_look_five_times_a_scrape_and_what_compares_once() {
    let compared = Compared { seed: 7, alone: false, rate: 0.0, bad: 0.3 };
    let mut world = world_of(Shape { interval: 1, compared: Some(compared), ..Shape::default() });
    bakes_at(&mut world, 25);
    let begin = world.now;
    world.run_to(begin + 20_000);
    let looks = |check: &str| {
        let prefix = format!("Look {check} ");
        world.sent.iter().filter(|(at, what)| *at > begin && what.starts_with(&prefix)).count()
    };
    let (errors, compared) = (looks("errors"), looks(COMPARED));
    assert!((19..=21).contains(&errors), "{errors} looks in 20 s");
    assert!((3..=5).contains(&compared), "{compared} looks in 20 s");
}

#[test]
fn time_in_which_no_process_lived_counts_for_nothing_even_where_the_clock_goes_on() {
    for seed in 0..8 {
        let mut world = World::new(Rng::new(seed), Shape::default(), true);
        world.peace_at = 0;
        world.start_process();
        bakes_at(&mut world, 10);
        let proc = world.leader().unwrap();
        let now = world.now;
        world.run_to(now + 10_000);
        let before = world.kept_record().unwrap().progressed;
        world.kill(proc, true);
        world.push(120_000, Ev::Start);
        let now = world.now;
        world.run_to(now + 140_000);
        let after = world.core().unwrap().record().unwrap().progressed;
        assert!(after.as_secs() <= before.as_secs() + 21, "{before:?}, then {after:?}");
    }
}

#[test]
fn who_asked_hears_nothing_that_a_lost_record_can_take_back() {
    let mut world = world();
    bakes_at(&mut world, 10);
    world.store_fault = Some("lost");
    world.ask(Verb::Pause, false);
    let now = world.now;
    world.run_to(now + 20_000);
    assert!(world.answers.is_empty(), "{:?}", world.answers);
    world.store_fault = None;
    let now = world.now;
    world.run_to(now + 5_000);
    assert_eq!(world.answers.values().collect::<Vec<_>>(), [&Outcome::Accepted]);
}

// === slow and silent ===

#[test]
fn a_slow_source_delays_no_other_question() {
    let mut world = world_of(Shape { aside: true, ..Shape::default() });
    bakes_at(&mut world, 25);
    world.mood = Mood::Hung;
    let now = world.now;
    world.run_to(now + 30_000);
    let looks =
        world.sent.iter().filter(|(at, what)| *at > now && what.starts_with("Look")).count();
    let reads =
        world.sent.iter().filter(|(at, what)| *at > now && what.starts_with("Read")).count();
    assert!(looks >= 6 && reads >= 28, "{looks} looks and {reads} reads in half a minute");
    let now = world.now;
    world.turns_bad("r1", now);
    assert!(world.run_until(now + 11_000, |world| world.true_share().1 == Weight::ZERO));
    // The lowering does not wait for the record.
    let now = world.now;
    world.run_to(now + 200);
    assert_eq!(told(&world, Reason::Breach), 1);
}

#[test]
fn a_check_is_asked_in_its_phase_alone_and_looks_no_further_back() {
    let during = During::Steps(vec![1]);
    let mut world = world_of(Shape { aside: true, during, ..Shape::default() });
    bakes_at(&mut world, 25);
    let record = world.core().and_then(|core| core.record()).unwrap().clone();
    let since = record.in_force.get(&"errors-aside".into()).expect("its phase began").wall;
    let begin = world.now;
    bakes_at(&mut world, 50);
    let end = world.now;
    ends(&mut world, State::Healthy);
    let looks = world.sent.iter().filter_map(|(at, what)| {
        Some((*at, what.strip_prefix("Look errors-aside ")?.parse::<jiff::Timestamp>().unwrap()))
    });
    let looks: Vec<_> = looks.collect();
    assert!(looks.len() >= 5, "{looks:?}");
    assert!(looks.iter().all(|(at, _)| (begin..=end).contains(at)), "{begin} {end} {looks:?}");
    // One scrape more, so that the first rate has a sample before it.
    let oldest = since.checked_sub(jiff::SignedDuration::from_secs(5)).unwrap();
    assert!(looks.iter().all(|(_, from)| *from >= oldest), "{since} {looks:?}");
}

#[test]
fn a_slow_provider_is_sent_each_raise_once() {
    let mut world = world();
    world.pace = Pace { reads: Some(2_500), ..Pace::default() };
    ends(&mut world, State::Healthy);
    assert_eq!(raises_since(&world, 0), 4, "{}", world.trace().join("\n"));
}

#[test]
fn a_rollback_is_confirmed_by_a_provider_that_reads_slower_than_it_is_written_to() {
    let mut world = world();
    world.pace = Pace { reads: Some(1_500), ..Pace::default() };
    bakes_at(&mut world, 25);
    let now = world.now;
    world.turns_bad("r1", now);
    let there = world.run_until(now + 60_000, |world| {
        matches!(world.place(), Some(Place::Degraded { cause: Cause::Breach }))
    });
    assert!(there, "{:?}", world.place());
}

#[test]
fn a_rollback_right_after_a_raise_is_not_found_done_in_what_was_read_before_the_raise() {
    let mut world = world();
    world.pace = Pace { reads: Some(1_500), ..Pace::default() };
    assert!(world.run_until(900_000, |world| world.true_share().0 > Weight::ZERO));
    world.pace = Pace { reads: Some(1_500), writes: Some(2_900), ..Pace::default() };
    world.ask(Verb::Abort, false);
    ends(&mut world, State::Degraded);
    assert_eq!(world.true_share().1, Weight::ZERO, "{}", world.trace().join("\n"));
}

#[test]
fn a_check_that_is_asked_late_keeps_no_second_entry_waiting() {
    let mut world = world_of(Shape { delay: 40, parts: vec![1, 1], ..Shape::default() });
    world.pace = Pace { settles: 30_000, ..Pace::default() };
    bakes_at(&mut world, 10);
    ends(&mut world, State::Healthy);
}

// === the read before a raise ===

/// A rollout that bakes, at a moment just after a read was answered; the next one is most of a second
/// away.
fn just_read() -> World {
    let mut world = world();
    bakes_at(&mut world, 25);
    let now = world.now;
    world.run_to(now + 15_000);
    let reads = |world: &World| world.sent.iter().filter(|(_, w)| w.starts_with("Read")).count();
    let before = reads(&world);
    assert!(world.run_until(now + 20_000, |world| reads(world) > before));
    let now = world.now;
    world.run_to(now + 100);
    world
}

#[test]
fn a_rollback_by_hand_just_before_a_raise_is_read_first_and_is_a_conflict() {
    let mut world = just_read();
    let at = world.now;
    world.foreign(0, Weight::ZERO);
    world.ask(Verb::Promote { full: false, without_guards: false }, false);
    world.run_to(at + 120_000);
    assert_eq!(told(&world, Reason::StepPassed), 2, "the promotion itself was decided");
    assert_eq!((raises_since(&world, at), told(&world, Reason::Conflicted)), (0, 1));
    assert_eq!(world.true_share().1, Weight::ZERO);
}

#[test]
fn a_home_side_that_dies_just_before_a_raise_is_read_first() {
    let mut world = just_read();
    let at = world.now;
    world.health[0] = Health::Down;
    world.ask(Verb::Promote { full: false, without_guards: false }, false);
    world.run_to(at + 60_000);
    assert_eq!((raises_since(&world, at), told(&world, Reason::StepPassed)), (0, 2));
    assert_eq!(world.true_share().1, percent(25));
    world.health[0] = Health::Ready { ready: 2, wanted: 2 };
    ends(&mut world, State::Healthy);
}

#[test]
fn a_store_and_a_provider_that_take_as_long_as_they_may_keep_nothing_from_rising() {
    let mut world = world();
    world.pace = Pace { reads: Some(6_000), ..Pace::default() };
    world.store_fault = Some("slow");
    ends(&mut world, State::Healthy);
    assert_eq!(raises_since(&world, 0), 4, "{}", world.trace().join("\n"));
}

#[test]
fn a_lowering_waits_for_no_read() {
    let mut world = world();
    bakes_at(&mut world, 25);
    world.pace = Pace { reads: Some(60_000), ..Pace::default() };
    let now = world.now;
    world.run_to(now + 1_000);
    world.ask(Verb::Abort, false);
    let now = world.now;
    assert!(world.run_until(now + 200, |world| world.true_share().1 == Weight::ZERO));
}

// === sources ===

#[test]
fn a_source_an_hour_behind_that_was_silent_at_first_still_tells_a_pass() {
    let mut world = World::new(Rng::new(7), Shape::default(), true);
    world.peace_at = 0;
    world.source_clock = SourceClock { ahead: -3_600_000, gains: 0 };
    world.start_process();
    assert!(world.run_until(30_000, |world| world.true_share().0 == percent(10)));
    assert!(matches!(world.place(), Some(Place::Shifting { .. })), "{:?}", world.place());
    // A new process confirms the first share before the source has told its time.
    let proc = world.leader().unwrap();
    world.mood = Mood::Hung;
    world.kill(proc, false);
    world.start_process();
    bakes_at(&mut world, 10);
    world.mood = Mood::Good;
    ends(&mut world, State::Healthy);
}

#[test]
fn targets_that_are_down_put_the_traffic_back_at_the_first_look() {
    let mut world = world();
    bakes_at(&mut world, 50);
    let now = world.now;
    world.run_to(now + 15_000);
    world.mood = Mood::Down;
    let now = world.now;
    assert!(world.run_until(now + 7_000, |world| world.true_share().1 == Weight::ZERO));
    ends(&mut world, State::Degraded);
    assert_eq!(told(&world, Reason::CanaryLost), 1);
}

// === gates ===

#[test]
fn a_manual_gate_that_expires_asks_for_a_person_who_may_open_it_all_the_same() {
    let mut world = world_of(Shape { gate: Wait::PersonFor(20), ..Shape::default() });
    let expired = HoldKind::NeedsPerson(Reason::GateExpired);
    let held = world.run_until(200_000, |world| {
        world.core().and_then(|core| core.record()).is_some_and(|r| r.hold(expired).is_some())
    });
    assert!(held, "{:?}", world.place());
    assert_eq!(world.true_share(), (percent(10), percent(10)));
    world.ask(Verb::Promote { full: false, without_guards: false }, false);
    ends(&mut world, State::Healthy);
}

#[test]
fn a_gate_outside_that_says_nothing_is_no_open_gate() {
    let mut world = world_of(Shape { gate: Wait::Outside, ..Shape::default() });
    bakes_at(&mut world, 10);
    let now = world.now;
    world.run_to(now + 120_000);
    assert!(matches!(world.place(), Some(Place::Waiting { step: 1, .. })), "{:?}", world.place());
    world.gates.say = Some(false);
    let now = world.now;
    world.run_to(now + 60_000);
    assert_eq!(world.true_share(), (percent(10), percent(10)));
    world.gates.say = Some(true);
    ends(&mut world, State::Healthy);
}

// === a newer engine ===

#[test]
fn a_record_of_a_newer_format_is_lowered_on_request_and_never_fought_over() {
    let mut world = world_of(Shape { parts: vec![1, 2], ..Shape::default() });
    bakes_at(&mut world, 25);
    world.peace_at = u64::MAX;
    world.change(Change::Newer);
    let now = world.now;
    world.run_to(now + 9_000);
    let reads =
        world.sent.iter().filter(|(at, what)| *at > now && what.starts_with("Read")).count();
    assert!(reads <= 8, "a record that cannot be read is looked at {reads} times in nine seconds");
    assert_eq!((raises_since(&world, now), world.true_share()), (0, (percent(25), percent(25))));
    let told_of = world.sent.iter().filter(|(_, what)| what == "NewerFormat").count();
    assert_eq!(told_of, 1, "who runs the engine hears why nothing goes on");
    world.ask(Verb::Abort, false);
    let now = world.now;
    assert!(world.run_until(now + 1_000, |world| world.true_share().1 == Weight::ZERO));
    world.change(Change::Older);
    world.peace_at = 0;
    ends(&mut world, State::Degraded);
    assert_eq!(raises_since(&world, now), 0);
    assert_eq!(told(&world, Reason::OwnLoweringFound) + told(&world, Reason::AbortedByPerson), 1);
}

// === deletion ===

fn deleted(spec: SpecSeen) -> World {
    let mut world = world();
    bakes_at(&mut world, 25);
    world.spec = spec;
    world.publish();
    let now = world.now;
    assert!(world.run_until(now + 30_000, |world| world.truth.gone), "{:?}", world.violation());
    let now = world.now;
    world.run_to(now + 1_000);
    world
}

#[test]
fn a_deleted_rollout_goes_back_before_it_is_let_go() {
    let world = deleted(SpecSeen::Deleted);
    assert_eq!((world.true_share().1, world.kept_record()), (Weight::ZERO, None));
}

#[test]
fn a_deleted_namespace_gets_one_lowering_write_and_is_not_waited_for() {
    let world = deleted(SpecSeen::NamespaceDeleted);
    let lowered = world.sent.iter().filter(|(_, what)| what.starts_with("Lower")).count();
    assert_eq!((world.true_share().1, lowered), (Weight::ZERO, 1));
}

#[test]
fn a_rollout_that_is_deleted_before_anything_was_recorded_ends() {
    let mut world = World::new(Rng::new(7), Shape::default(), true);
    world.peace_at = 0;
    world.spec = SpecSeen::Deleted;
    world.start_process();
    assert!(world.run_until(10_000, |world| world.truth.gone), "{}", world.trace().join("\n"));
    assert!(world.core().is_none(), "no loop stays");
}

// === many ===

/// How long it takes in one of so many rollouts, which live side by side, until a revision that turns
/// bad has no traffic; and how many inputs that rollout handled meanwhile.
fn breach_among(count: usize) -> (u64, u64) {
    let mut fleet: Vec<World> = (0..count)
        .map(|_| {
            let mut world = World::new(Rng::new(7), Shape::default(), false);
            world.peace_at = 0;
            world.start_process();
            world
        })
        .collect();
    let bad = count / 2;
    let (mut now, mut turned, mut handled) = (1_000, None, 0);
    loop {
        now += 50;
        for (index, world) in fleet.iter_mut().enumerate() {
            world.run_to(now);
            assert_eq!(world.violation(), None);
            if index != bad {
                continue;
            }
            if turned.is_none() && now >= 90_000 {
                turned = Some(now);
                handled = world.inputs();
                world.turns_bad("r1", now);
            }
            if let Some(turned) = turned
                && world.true_share().1 == Weight::ZERO
            {
                return (now - turned, world.inputs() - handled);
            }
        }
    }
}

#[test]
fn a_breach_among_a_thousand_rollouts_takes_as_long_as_a_breach_alone() {
    let (alone, among) = (breach_among(1), breach_among(1_000));
    assert_eq!(alone, among);
    assert!(among.0 <= 10_000, "{among:?}");
}

// === comparisons ===

/// A rollout that nothing but a comparison judges.
fn comparing(bake: u64, seed: u64, (rate, bad): (f64, f64)) -> World {
    let compared = Some(Compared { seed, alone: true, rate, bad });
    let mut world = World::new(Rng::new(7), Shape { compared, bake, ..Shape::default() }, false);
    world.peace_at = 0;
    world.start_process();
    world
}

#[test]
fn a_healthy_side_is_compared_and_rolled_back_no_more_often_than_alpha_says() {
    let mut ended = BTreeMap::new();
    for seed in 0..300 {
        let mut world = comparing(30, seed, (0.01, 0.01));
        let rests =
            |world: &World| matches!(world.place(), Some(Place::Healthy | Place::Degraded { .. }));
        assert!(world.run_until(3_600_000, rests), "seed {seed}: {:?}", world.violation());
        let healthy = world.place() == Some(&Place::Healthy);
        *ended.entry(healthy).or_insert(0) += 1;
        let wanted = if healthy { Weight::FULL } else { Weight::ZERO };
        assert_eq!(world.true_share(), (wanted, wanted), "seed {seed}");
    }
    let wrong = ended.get(&false).copied().unwrap_or(0);
    // One in a hundred is allowed; three standard deviations above that of 300 are eight.
    assert!(wrong <= 8, "{wrong} of 300 healthy releases were rolled back");
}

#[test]
fn a_side_that_is_much_worse_is_always_rolled_back_by_a_comparison() {
    for seed in 0..60 {
        let mut world = comparing(120, seed, (0.01, 0.2));
        // In a bake, and at 100 %, where only the rate of before is left to compare with.
        bakes_at(&mut world, [10, 25, 50, 100][usize::try_from(seed % 4).unwrap()]);
        let now = world.now;
        world.turns_bad("r1", now);
        ends(&mut world, State::Degraded);
        assert_eq!(world.true_share(), (Weight::ZERO, Weight::ZERO), "seed {seed}");
        let breach = world.journal().any(|entry| entry.cause == Some(Cause::Breach));
        assert!(breach, "seed {seed}");
    }
}

#[test]
fn a_step_that_began_before_the_source_told_its_time_is_cleared_by_a_comparison() {
    for ahead in [-3_600_000, 120_000] {
        let compared = Some(Compared { seed: 5, alone: true, rate: 0.01, bad: 0.01 });
        let shape = Shape { compared, ..Shape::default() };
        let mut world = World::new(Rng::new(7), shape, false);
        world.peace_at = 0;
        world.source_clock = SourceClock { ahead, gains: 2_000 };
        world.start_process();
        assert!(world.run_until(30_000, |world| world.true_share().0 == percent(10)));
        let proc = world.leader().unwrap();
        world.mood = Mood::Hung;
        world.kill(proc, false);
        world.start_process();
        bakes_at(&mut world, 10);
        world.mood = Mood::Good;
        ends(&mut world, State::Healthy);
    }
}

#[test]
fn no_window_is_folded_twice_however_often_the_process_dies() {
    let mut world = comparing(600, 11, (0.02, 0.02));
    bakes_at(&mut world, 10);
    for kill in 0..40 {
        let next = world.now + 700 + kill * 1_117 % 9_000;
        world.run_to(next);
        let Some(proc) = world.leader() else { continue };
        world.kill(proc, kill % 3 == 0);
        let next = world.now + kill * 311 % 4_000;
        world.run_to(next);
        if world.leader().is_none() {
            world.start_process();
        }
    }
    let next = world.now + 30_000;
    world.run_to(next);
    let record = world.core().and_then(|core| core.record()).unwrap().clone();
    let Place::Baking { step, from, .. } = &record.place else { panic!("{:?}", record.place) };
    let kept = &record.evidence[&COMPARED.into()];
    let (check, stage) = (&record.plan.as_ref().unwrap().checks[0], stage(&record, *step, from));
    let begin = began(kept);
    let end = haldane_judge::folded_to(kept).unwrap();
    let sample = world.sample_of(&record, begin, end);
    let rule = haldane_judge::Rule::parse(&check.rule).unwrap();
    let none = Evidence::default();
    let whole = haldane_judge::fold(&rule, &check.limits, &stage, &none, &check.name, &sample);
    let text = |evidence: &Evidence| String::from_utf8_lossy(evidence.bytes()).into_owned();
    assert_eq!(text(kept), text(&whole.evidence));
    let windows = (end.as_second() - begin.as_second()) / 5;
    assert!(windows > 30, "{windows} windows were judged");
}

fn stage(record: &Record, step: usize, from: &Stamp) -> haldane_judge::Stage {
    let plan = record.plan.as_ref().unwrap();
    haldane_judge::Stage {
        step: u32::try_from(step).unwrap(),
        weight: plan.weight(step),
        next: Some(plan.weight(step + 1)),
        windows_from: from.of(&plan.checks[0].source),
        gates: true,
    }
}

/// Where the first folded window began.
fn began(kept: &Evidence) -> Timestamp {
    let book: serde_json::Value = serde_json::from_slice(kept.bytes()).unwrap();
    book["began"].as_str().unwrap().parse().unwrap()
}

// === what accompanies a split ===

fn accompanied_world() -> World {
    world_of(Shape { company: true, weights: vec![0, 20, 100], ..Shape::default() })
}

/// Whom testers get, and how much is copied.
fn company(world: &World) -> (String, Option<Weight>) {
    let company = &world.lanes[0].company;
    (company.testers.to_string(), company.mirror.as_ref().map(|mirror| mirror.share))
}

fn calls(world: &World) -> usize {
    world.sent.iter().filter(|(_, what)| what.starts_with("Accompany")).count()
}

#[test]
fn a_step_without_users_mirrors_and_testers_are_there_until_the_end() {
    let mut world = accompanied_world();
    bakes_at(&mut world, 0);
    let at = world.now;
    world.run_to(at + 5_000);
    assert_eq!(company(&world), ("green".to_owned(), Some(percent(1))));
    bakes_at(&mut world, 20);
    let at = world.now;
    world.run_to(at + 5_000);
    assert_eq!(company(&world), ("green".to_owned(), Some(percent(21))));
    ends(&mut world, State::Healthy);
    assert_eq!(company(&world), ("green".to_owned(), None), "where everybody is");
    assert!(calls(&world) < 6, "{} calls", calls(&world));
    assert_eq!(world.violation(), None);
}

#[test]
fn a_breach_takes_the_company_off_with_its_write() {
    let mut world = accompanied_world();
    bakes_at(&mut world, 20);
    let at = world.now;
    world.run_to(at + 5_000);
    let (now, before) = (world.now, calls(&world));
    world.turns_bad("r1", now);
    assert!(world.run_until(now + 60_000, |world| world.true_share().1 == Weight::ZERO));
    // One write in five finds it changed: then what is left is taken off after it.
    let at = world.now;
    let there = world.run_until(at + 5_000, |world| company(world) == ("blue".to_owned(), None));
    assert!(there && calls(&world) <= before + 1, "{}", world.trace().join("\n"));
    ends(&mut world, State::Degraded);
}

#[test]
fn a_company_that_others_change_is_restored_and_no_conflict() {
    let mut world = accompanied_world();
    bakes_at(&mut world, 0);
    for _ in 0..6 {
        let at = world.now;
        world.run_to(at + 2_000);
        world.lanes[0].company.testers = "blue".into();
        world.lanes[0].company.mirror = None;
    }
    let at = world.now;
    let there = world.run_until(at + 60_000, |world| company(world).0 == "green");
    assert!(there, "{}", world.trace().join("\n"));
    assert_eq!((told(&world, Reason::Conflicted), world.violation()), (0, None));
    ends(&mut world, State::Healthy);
}

#[test]
fn a_kill_leaves_nothing_on() {
    for after in [0, 300, 2_000, 9_000] {
        let mut world = accompanied_world();
        bakes_at(&mut world, 20);
        let at = world.now;
        world.run_to(at + after);
        let proc = world.leader().unwrap();
        world.kill(proc, true);
        let now = world.now;
        world.turns_bad("r1", now);
        world.run_to(now + 20_000);
        world.start_process();
        ends(&mut world, State::Degraded);
        let at = world.now;
        let off = |world: &World| company(world) == ("blue".to_owned(), None);
        assert!(world.run_until(at + 60_000, off), "{after}: {:?}", company(&world));
        assert_eq!(world.violation(), None);
    }
}

#[test]
fn nothing_accompanies_a_step_without_the_lease() {
    let mut world = accompanied_world();
    bakes_at(&mut world, 0);
    let at = world.now;
    world.run_to(at + 5_000);
    world.tell_all(|| Input::Lease(LeaseSeen::Unsure));
    world.lanes[0].company.testers = "blue".into();
    let before = calls(&world);
    let at = world.now;
    world.run_to(at + 20_000);
    assert_eq!(calls(&world), before, "it is seen, and left");
}

#[test]
fn nothing_accompanies_a_step_whose_record_is_not_won() {
    let mut world = accompanied_world();
    world.store_fault = None;
    let pending = |world: &World| matches!(world.place(), Some(Place::Pending { .. }));
    assert!(world.run_until(60_000, pending));
    let before = calls(&world);
    world.store_fault = Some("hung");
    let at = world.now;
    world.run_to(at + 60_000);
    assert_eq!((calls(&world), company(&world)), (before, ("blue".to_owned(), None)));
}

#[test]
fn a_conflict_freezes_what_accompanies_a_step() {
    let mut world = accompanied_world();
    bakes_at(&mut world, 20);
    world.foreign(0, Weight::ZERO);
    let at = world.now;
    assert!(world.run_until(at + 60_000, |world| told(world, Reason::Conflicted) == 1));
    world.lanes[0].company.testers = "blue".into();
    let before = calls(&world);
    let at = world.now;
    world.run_to(at + 60_000);
    assert_eq!(calls(&world), before, "who put it back by hand is not fought");
}
