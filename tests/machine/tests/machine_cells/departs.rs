//! Whether a raise that was decided and recorded may still leave: asked of a read that began after the
//! decision, with every question that the decision was asked.

use haldane_machine::may_still_raise;
use haldane_machine_tests::world::{BLUE, Column, GREEN, Told, World, at, percent, secs, stamp};
use haldane_model::{Health, HoldKind, LeaseSeen, Place, Reason, Verdict, Weight};

fn leaves(world: &World) -> bool {
    may_still_raise(&world.record, &world.seen, world.now)
}

/// A raise from 10 to 50 % is recorded; the split reads 10 still.
fn decided() -> World {
    World::at(Column::Shifting)
}

/// The first raise of an attempt: no user can have seen the new revision.
fn first() -> World {
    decided().but(|world| {
        world.record.place = Place::Shifting { step: 0, from: Weight::ZERO, restore: None };
        world.record.exposed.confirmed = None;
    })
}

/// In the watch, others lowered the share to 60 %, and it is restored.
fn restored() -> World {
    World::at(Column::Watching).read(60).but(|world| {
        let restore = Some(stamp(at(9_990)));
        world.record.place = Place::Watching { watched: secs(300), restore };
    })
}

#[test]
fn a_recorded_raise_leaves_where_everything_is_as_it_was_decided() {
    assert!(leaves(&decided()));
    assert!(leaves(&first().read(0)));
    assert!(leaves(&restored()));
}

#[test]
fn a_recorded_raise_stays_where_one_answer_is_missing_or_changed() {
    type Change = fn(World) -> World;
    let changes: [(&str, Change); 10] = [
        ("a breach", |world| world.verdict(Verdict::Fail { breach: true })),
        ("no lease", |world| world.but(|world| world.seen.lease = None)),
        ("an unsure lease", |world| world.lease(LeaseSeen::Unsure)),
        ("another's lease", |world| world.lease(LeaseSeen::Other { term: 9 })),
        ("a lease of another term", |world| world.lease(LeaseSeen::Held { term: 9 })),
        ("a person's hold", |world| world.held(HoldKind::Person)),
        ("a split that cannot be read", World::unreadable),
        ("a dead test side", |world| world.health(GREEN, Health::Down)),
        ("a dead serving side", |world| world.health(BLUE, Health::Down)),
        ("another revision", |world| world.shows(GREEN, &["v3"])),
    ];
    for (what, change) in changes {
        assert!(!leaves(&change(decided())), "{what}");
        assert!(!leaves(&change(restored())), "{what}, in the watch");
    }
}

#[test]
fn a_recorded_raise_stays_where_the_split_is_outside_its_way() {
    assert!(leaves(&decided().read(50)));
    assert!(!leaves(&decided().read(51)));
    assert!(!leaves(&decided().read(0)), "somebody put everything back by hand");
}

#[test]
fn the_first_raise_waits_for_no_new_answer_of_the_guards_and_obeys_the_last_one() {
    assert!(leaves(&first().read(0).silent()), "they answered before the attempt");
    assert!(!leaves(&first().read(0).verdict(Verdict::Fail { breach: true })));
    assert!(!leaves(&decided().silent()), "users see it: the guards are asked");
    let unseen = restored().silent().but(|world| world.record.exposed.confirmed = None);
    assert!(!leaves(&unseen), "a restoration is no first raise");
}

#[test]
fn a_recorded_raise_to_everything_stays_where_nothing_could_judge_it() {
    let last = |guards: bool| {
        decided().planned(|plan| plan.guards_at_full = guards).read(50).but(|world| {
            let from = percent(50);
            world.record.place = Place::Shifting { step: 2, from, restore: None };
            world.record.evidence.clear();
        })
    };
    assert!(leaves(&last(true)));
    assert!(!leaves(&last(false)));
}

#[test]
fn where_nothing_is_under_way_no_raise_leaves() {
    for column in [
        Column::Pending,
        Column::Waiting,
        Column::Baking,
        Column::Promoting,
        Column::Watching,
        Column::Healthy,
        Column::RollingBack,
        Column::Degraded,
    ] {
        assert!(!leaves(&World::at(column)), "{column:?}");
    }
    assert!(!leaves(&decided().but(|world| world.record.plan = None)));
}

#[test]
fn a_check_with_an_initial_delay_keeps_only_the_first_exposure_from_waiting_for_it() {
    let asked = |delay: u64| {
        let world = first().planned(|plan| plan.checks[0].initial_delay = secs(delay));
        world.read(0).silent()
    };
    assert_eq!(asked(60).turn().raises(), Some(percent(10)), "asked once users see it");
    assert_eq!(asked(0).turn().raises(), None, "asked at once, and it has not answered");
    let stamped = Some(stamp(at(9_000)));
    let exposed = asked(60).but(|world| world.record.exposed.confirmed = stamped.clone());
    assert_eq!(exposed.turn().raises(), None, "users see it: its time will come");
    let unexposed = asked(60).but(|world| world.record.exposed.could = None);
    assert_eq!(unexposed.turn().raises(), None, "no exposure is under way");
    let restore = stamped;
    let lowered = asked(60).but(|world| {
        world.record.place = Place::Shifting { step: 0, from: Weight::ZERO, restore };
    });
    assert_eq!(lowered.turn().raises(), None, "a restoration waits for the guards");
}

#[test]
fn failures_within_their_limit_are_told_where_guards_are_on_and_nowhere_else() {
    let within = |column| World::at(column).verdict(Verdict::Fail { breach: false }).turn();
    assert!(within(Column::Baking).says(Reason::CheckFailed));
    for column in Column::AT_REST {
        assert!(!within(column).says(Reason::CheckFailed), "{column:?}");
    }
}
