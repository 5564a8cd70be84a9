//! Histories written by hand, one claim each, in the same world as the seeds.

use haldane_model::{Health, Place, Reason, State, Weight};
use haldane_tests::sim::{Ev, Mood, Rng, Shape, World};

fn world() -> World {
    let mut world = World::new(Rng::new(7), Shape::default(), true);
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
