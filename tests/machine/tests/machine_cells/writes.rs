//! Rows B: what comes of our own writes.

use haldane_machine::Effect;
use haldane_machine_tests::world::{Column, EDGE, KNOWN, Told, World, percent, ready, secs};
use haldane_model::{
    Cause, Ground, Health, HoldKind, LeaseSeen, Mark, Place, Reason, SpecSeen, State, Verdict,
    Weight,
};

#[test]
fn b1_a_step_bakes_only_once_every_entry_reads_its_weight_settled() {
    let arrived = World::at(Column::Shifting).read(50);
    let turn = arrived.turn();
    assert!(matches!(turn.record.place, Place::Baking { step: 1, baked, .. } if baked.is_zero()));
    assert!(turn.says(Reason::StepConfirmed));
    let unsettled = arrived.clone().but(|world| world.reading().settled = false);
    assert_eq!(unsettled.turn().state(), State::Shifting);
    let apart = arrived.but(|world| world.reading().lowest = percent(10));
    assert_eq!(apart.turn().state(), State::Shifting);
    assert_eq!(World::at(Column::Shifting).read(49).turn().state(), State::Shifting);
}

#[test]
fn b1_the_bake_begins_with_the_confirmation_and_not_with_the_write() {
    let mut world = World::at(Column::Shifting).read(10);
    for _ in 0..4 {
        world = world.later(30).verdict(Verdict::Pass).won();
    }
    let confirmed = world.read(50).won();
    let Place::Baking { baked, from, .. } = &confirmed.record.place else { panic!("no bake") };
    assert_eq!((*baked, from.wall), (secs(0), confirmed.now.wall));
}

#[test]
fn b1_is_a_fact_under_every_hold() {
    for hold in [HoldKind::Person, HoldKind::Conflict { undone: None }] {
        let turn = World::at(Column::Shifting).held(hold).read(50).turn();
        assert!(matches!(turn.record.place, Place::Baking { .. }), "{hold:?}");
    }
}

#[test]
fn b2_a_raise_that_failed_is_told_once_and_asked_for_again() {
    let failed = World::at(Column::Shifting).write_failed(false);
    let turn = failed.turn();
    assert!(turn.says(Reason::WriteFailed));
    assert_eq!(turn.raises(), Some(percent(50)));
    assert!(!failed.won().turn().says(Reason::WriteFailed), "told once while it lasts");
    let waits = World::at(Column::Shifting).but(|world| {
        world.seen.writes.entry(EDGE.into()).or_default().backing_off = true;
    });
    assert_eq!(waits.turn().raises(), None);
}

#[test]
fn b2_a_raise_asks_for_everything() {
    let may = |world: World| world.turn().raises();
    let calm = || World::at(Column::Shifting);
    assert_eq!(may(calm()), Some(percent(50)));
    let without: Vec<(&str, World)> = vec![
        ("lease unsure", calm().lease(LeaseSeen::Unsure)),
        ("no lease seen", calm().but(|world| world.seen.lease = None)),
        ("a hold", calm().held(HoldKind::Person)),
        ("unread", calm().but(|world| world.seen.entries.clear())),
        ("no guard answers", calm().silent()),
        ("source broken", calm().verdict(Verdict::SourceError)),
        ("nothing to judge", calm().verdict(Verdict::NoData)),
        ("test not seen", calm().but(|world| world.seen.sides.clear())),
        ("test down", calm().read(0).health("green", Health::Down)),
        ("test revision unknown", calm().shows_nothing("green")),
        ("home changed", calm().shows("blue", &["v9"])),
        ("home dead", calm().health("blue", Health::Down)),
    ];
    for (what, world) in without {
        assert_eq!(may(world), None, "{what}");
    }
}

#[test]
fn b2_a_raise_never_goes_out_without_its_record() {
    // What is not `Decided` is performed without asking the store: a lost swap would raise.
    for world in [
        World::at(Column::Shifting),
        World::at(Column::Shifting).won(),
        World::at(Column::Waiting),
        World::at(Column::Pending),
        World::at(Column::Baking).baked(),
    ] {
        let turn = world.turn();
        assert!(turn.raises().is_some());
        assert_eq!(turn.change, haldane_machine::Change::Decided);
    }
}

#[test]
fn b2_a_raise_to_all_needs_something_to_judge_it_by() {
    let last = |guarded: bool| {
        World::at(Column::Baking).baked().planned(|plan| {
            plan.steps.remove(2);
            plan.steps.push(haldane_model::Step { weight: Weight::FULL, ..plan.steps[1].clone() });
            plan.guards_at_full = guarded;
        })
    };
    assert_eq!(last(true).turn().raises(), Some(Weight::FULL));
    let rates = last(false);
    assert_eq!(rates.turn().raises(), Some(Weight::FULL), "by the rates of this attempt");
    assert!(!rates.turn().record.frozen.is_empty(), "which are frozen");
    let nothing = rates.but(|world| {
        for check in world.checks() {
            check.evidence = haldane_model::Evidence::default();
        }
    });
    assert_eq!(nothing.turn().raises(), None);
}

#[test]
fn b3_what_the_provider_refuses_asks_for_a_person() {
    for column in [Column::Shifting, Column::Promoting, Column::Watching] {
        let turn = World::at(column).write_failed(true).turn();
        assert_eq!(turn.state(), State::Paused, "{column:?}");
        assert!(turn.says(Reason::ProviderRefused), "{column:?}");
        assert_eq!(turn.raises(), None, "{column:?}");
    }
}

#[test]
fn b4_a_lowering_that_fails_is_told_and_repeated_for_ever() {
    let mut world = World::at(Column::RollingBack).read(50).write_failed(false);
    assert!(world.turn().says(Reason::LowerFailing));
    for _ in 0..50 {
        world = world.later(10).won();
        assert!(world.turn().rolls_back());
    }
    let refused = world.write_failed(true).turn();
    assert!(refused.rolls_back(), "even where the provider says that it is useless");
}

#[test]
fn b5_a_rollback_is_over_once_zero_was_read_for_longer_than_any_write() {
    let rolling = World::at(Column::RollingBack);
    let early = rolling.clone().reads(Weight::ZERO, Some(Mark::rollback(KNOWN)), 9_995);
    assert!(early.turn().rolls_back(), "a raise of ours may still be on its way");
    let over = rolling.clone().reads(Weight::ZERO, Some(Mark::rollback(KNOWN)), 9_990).turn();
    assert_eq!(over.state(), State::Degraded);
    assert!(over.says(Reason::RolledBack));
    assert_eq!(over.record.failed, Some("v2".into()));
    let restarted = rolling.but(|world| world.now.boot = 2);
    assert_eq!(restarted.turn().state(), State::RollingBack, "a new boot knows no old readings");
}

#[test]
fn b5_needs_every_part() {
    let silent = World::at(Column::RollingBack).but(|world| {
        let part = haldane_model::Part { name: "b".to_owned(), share: Err("timeout".to_owned()) };
        world.reading().parts.push(part);
    });
    assert!(silent.turn().rolls_back());
}

#[test]
fn b6_the_flip_comes_with_the_last_clean_up_in_one_record() {
    let cleaning = World::at(Column::Promoting);
    assert_eq!(cleaning.turn().effects, [Effect::Finish]);
    let done = cleaning.clone().but(|world| {
        world.seen.finished.insert(EDGE.into(), Ok(()));
    });
    let turn = done.turn();
    assert!(matches!(turn.record.place, Place::Watching { .. }), "{:?}", turn.record.place);
    assert!(turn.says(Reason::Promoted));
    assert_eq!(turn.record.serving, Some("green".into()));
    assert_eq!(turn.record.stood, Some("v1".into()));
    assert_eq!((turn.record.failed.clone(), turn.record.header.test.as_str()), (None, "green"));
    let failed = cleaning.but(|world| {
        world.seen.finished.insert(EDGE.into(), Err("409".to_owned()));
    });
    assert!(failed.turn().says(Reason::WriteFailed));
    assert_eq!(failed.turn().effects, [Effect::Finish], "tried again");
}

#[test]
fn b6_without_a_watch_the_roles_turn_at_once() {
    let done = World::at(Column::Promoting).planned(|plan| plan.watch = secs(0)).but(|world| {
        world.seen.finished.insert(EDGE.into(), Ok(()));
    });
    let turn = done.turn();
    assert_eq!(
        (turn.record.place.clone(), turn.record.header.home.as_str()),
        (Place::Healthy, "green")
    );
}

#[test]
fn b6_a_clean_up_under_a_hold_does_not_flip() {
    let held = World::at(Column::Promoting).held(HoldKind::Person).but(|world| {
        world.seen.finished.insert(EDGE.into(), Ok(()));
    });
    assert!(matches!(held.turn().record.place, Place::Promoting { ref left } if left.is_empty()));
}

#[test]
fn n17_a_rollback_to_a_dead_side_waits_and_goes_out_with_its_first_endpoint() {
    let dead = World::at(Column::Baking).health("blue", Health::Down);
    let breach = dead.verdict(Verdict::Fail { breach: true });
    let turn = breach.turn();
    assert_eq!((turn.state(), turn.effects.len()), (State::RollingBack, 0));
    assert!(turn.says(Reason::RollbackBlocked));
    let one = breach.won().health("blue", Health::Ready { ready: 1, wanted: 10 });
    assert!(one.turn().rolls_back(), "one of ten is alive");
    let unknown = breach.won().health("blue", Health::Untold);
    assert!(unknown.turn().rolls_back(), "unknown is alive");
    let nothing = breach.won().but(|world| {
        world.seen.sides.clear();
        world.seen.entries.clear();
        world.seen.lease = Some(LeaseSeen::Unsure);
        world.seen.spec = Some(SpecSeen::Invalid { message: "?".to_owned() });
    });
    assert!(nothing.turn().rolls_back(), "no other condition");
}

#[test]
fn n6_the_end_of_a_rollback_depends_on_its_cause() {
    let end = |cause: Cause, out_of: Ground| {
        World::at(Column::RollingBack).reads(Weight::ZERO, Some(Mark::rollback(KNOWN)), 9_000).but(
            |world| {
                let since = world.now.wall;
                world.record.place = Place::RollingBack { cause, since, out_of };
            },
        )
    };
    for cause in Cause::ALL {
        let turn = end(*cause, Ground::Flight).turn();
        match cause {
            Cause::Deleted => assert!(turn.gone),
            Cause::RevisionChanged => {
                assert!(matches!(turn.record.place, Place::Pending { .. }));
            }
            Cause::Undone => {
                assert_eq!(turn.record.place, Place::Healthy);
                assert_eq!(turn.record.failed, Some("v2".into()));
                assert_eq!((turn.record.previous, turn.record.revision), (None, Some("v1".into())));
            }
            _ => assert_eq!(turn.record.place, Place::Degraded { cause: *cause }),
        }
    }
    let deleted = end(Cause::Breach, Ground::Flight).spec(SpecSeen::Deleted).turn();
    assert!(deleted.gone && deleted.effects == [Effect::Release], "noted since");
}

#[test]
fn n6_persons_and_conflicts_outlive_a_rollback_and_other_holds_do_not() {
    let stays = |kind: HoldKind| {
        let world = World::at(Column::RollingBack)
            .reads(Weight::ZERO, Some(Mark::rollback(KNOWN)), 9_000)
            .held(kind);
        world.turn().record.hold(kind).is_some()
    };
    assert!(stays(HoldKind::Person) && stays(HoldKind::Conflict { undone: None }));
    assert!(!stays(HoldKind::Block) && !stays(HoldKind::AlertPause));
    assert!(!stays(HoldKind::NeedsPerson(Reason::NoData)));
}

#[test]
fn n8_the_home_side_back_to_life_ends_the_block() {
    let world = World::at(Column::RollingBack).read(50).health("blue", Health::Down);
    assert_eq!(world.turn().lowers(), None);
    assert_eq!(world.health("blue", ready()).turn().lowers(), Some(Weight::ZERO));
}
