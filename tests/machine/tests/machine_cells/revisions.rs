//! Rows F: what the sides show, and how an attempt begins.

use haldane_machine_tests::world::{Column, Told, World, percent, ready};
use haldane_model::{
    Health, HoldKind, PendingCause, Place, Reason, SpecSeen, State, Verb, Verdict, Weight,
};

#[test]
fn f1_another_revision_in_flight_goes_back_to_zero() {
    for column in Column::IN_FLIGHT {
        let turn = World::at(column).shows("green", &["v3"]).turn();
        assert!(turn.rolls_back(), "{column:?}");
        assert!(turn.says(Reason::RevisionChanged), "{column:?}");
        let both = World::at(column).shows("green", &["v2", "v3"]);
        assert!(both.turn().rolls_back(), "{column:?}: any other one");
        let unknown = World::at(column).shows_nothing("green");
        assert_ne!(unknown.turn().state(), State::RollingBack, "{column:?}");
    }
}

#[test]
fn f1_in_the_watch_it_is_reported_and_the_watch_begins_again() {
    let turn = World::at(Column::Watching).shows("green", &["v3"]).turn();
    assert!(turn.says(Reason::RevisionChanged));
    assert_eq!(turn.effects, []);
    assert!(matches!(turn.record.place, Place::Watching { watched, .. } if watched.is_zero()));
    assert_eq!(turn.record.revision, Some("v3".into()));
}

#[test]
fn f1_at_rest_a_new_revision_begins_an_attempt() {
    let healthy = World::at(Column::Healthy).shows("blue", &["v3"]).turn();
    assert!(matches!(healthy.record.place, Place::Pending { cause: PendingCause::Revision }));
    let degraded = World::at(Column::Degraded).shows("green", &["v3"]).turn();
    assert!(matches!(degraded.record.place, Place::Pending { .. }));
    let held = World::at(Column::Healthy).shows("blue", &["v3"]).held(HoldKind::Person);
    assert_eq!(held.turn().record.place, Place::Healthy);
}

#[test]
fn f1_the_old_side_is_not_rolled_out_again_after_a_flip() {
    let healthy = World::at(Column::Healthy);
    assert_eq!(healthy.record.stood, Some("v1".into()));
    let turn = healthy.clone().later(60).turn();
    assert_eq!((turn.record.place.clone(), turn.reasons()), (Place::Healthy, vec![]));
    // A command that names whatever stands there means the first start alone.
    let named = healthy.but(|world| {
        if let Some(SpecSeen::Valid { named, .. }) = &mut world.seen.spec {
            *named = true;
        }
    });
    assert_eq!(named.turn().record.place, Place::Healthy);
}

#[test]
fn f1_the_flip_remembers_what_stood_on_the_side_that_it_left() {
    let done = World::at(Column::Promoting).but(|world| {
        world.seen.finished.insert("edge".into(), Ok(()));
        world.record.stood = None;
    });
    let watched = done.won().but(|world| {
        world.record.place =
            Place::Watching { watched: haldane_machine_tests::world::secs(600), restore: None };
    });
    let healthy = watched.won();
    assert_eq!(healthy.record.place, Place::Healthy);
    assert_eq!(healthy.turn().record.place, Place::Healthy, "the old side stands there, untouched");
}

#[test]
fn f1_what_failed_last_is_not_begun_again() {
    let turn = World::at(Column::Degraded).turn();
    assert_eq!((turn.state(), turn.reasons()), (State::Degraded, vec![]));
}

#[test]
fn f2_a_changed_home_side_in_flight_holds() {
    for column in Column::IN_FLIGHT {
        let turn = World::at(column).baked().shows("blue", &["v9"]).turn();
        assert!(turn.says(Reason::HomeChanged), "{column:?}");
        assert_eq!((turn.raises(), turn.lowers()), (None, None), "{column:?}");
    }
}

#[test]
fn f2_in_the_watch_it_is_told_and_the_watch_goes_on() {
    let held = World::at(Column::Watching).held(HoldKind::NeedsPerson(Reason::NoData));
    let turn = held.shows("blue", &["v9"]).turn();
    assert!(turn.says(Reason::HomeChanged));
    let counting = World::at(Column::Watching).shows("blue", &["v9", "v8"]).turn();
    assert!(counting.record.ticked.counting, "it stops no watch");
}

#[test]
fn f2_in_the_watch_a_startable_revision_on_the_other_side_ends_it() {
    let turn = World::at(Column::Watching).shows("blue", &["v3"]).turn();
    assert!(turn.says(Reason::WatchCut));
    assert!(matches!(turn.record.place, Place::Pending { cause: PendingCause::Revision }));
    assert_eq!(turn.record.header.home, "green".into(), "the roles turned");
    let breach = World::at(Column::Watching).shows("blue", &["v3"]);
    let breach = breach.verdict(Verdict::Fail { breach: true }).turn();
    assert!(!breach.says(Reason::WatchCut));
}

#[test]
fn f3_an_idle_side_that_was_set_back_leaves_nothing_to_do() {
    for column in [Column::Pending, Column::Degraded] {
        let turn = World::at(column).shows("green", &["v1"]).turn();
        assert_eq!(turn.record.place, Place::Healthy, "{column:?}");
        assert!(turn.says(Reason::Reverted), "{column:?}");
    }
    for column in Column::IN_FLIGHT {
        assert!(World::at(column).shows("green", &["v1"]).turn().rolls_back(), "{column:?}");
    }
}

#[test]
fn f4_a_test_side_that_is_not_ready_is_not_raised() {
    let unknown = World::at(Column::Waiting).shows_nothing("green").turn();
    assert!(unknown.says(Reason::RevisionUnknown));
    assert_eq!(unknown.raises(), None);
    let pending = World::at(Column::Pending).shows_nothing("green").turn();
    assert!(pending.says(Reason::RevisionUnknown));
    let ready = |ready, wanted| {
        World::at(Column::Waiting).health("green", Health::Ready { ready, wanted }).turn()
    };
    for (has, wanted) in [(1, 3), (4, 9), (0, 1)] {
        assert_eq!(ready(has, wanted).raises(), None, "{has} of {wanted} are too few for half");
        assert!(ready(has, wanted).says(Reason::NotReady));
    }
    for (has, wanted) in [(2, 3), (1, 2), (5, 3), (3, 0)] {
        assert_eq!(ready(has, wanted).raises(), Some(percent(50)), "{has} of {wanted} suffice");
    }
}

#[test]
fn f5_a_dead_home_side_holds_every_raise() {
    for column in Column::IN_FLIGHT.into_iter().chain([Column::Pending]) {
        let turn = World::at(column).baked().health("blue", Health::Down).turn();
        assert!(turn.says(Reason::HomeDead), "{column:?}: {:?}", turn.reasons());
        assert_eq!(turn.raises(), None, "{column:?}");
    }
}

#[test]
fn f6_an_attempt_pins_everything_and_inherits_nothing() {
    let world = World::at(Column::Degraded).shows("green", &["v3"]);
    let pending = world.won().verdict(Verdict::Pass).edited(|plan| {
        plan.steps[0].weight = percent(20);
    });
    let turn = pending.turn();
    assert_eq!(turn.raises(), Some(percent(20)), "the written plan is pinned now");
    assert_eq!((turn.record.attempt, turn.record.revision.clone()), (2, Some("v3".into())));
    assert_eq!(turn.record.previous, Some("v1".into()));
    assert!(turn.record.exposed.could.is_some() && turn.record.exposed.confirmed.is_none());
    assert!(turn.says(Reason::Started));
}

#[test]
fn f6_nothing_startable_settles() {
    let stood = World::at(Column::Pending).but(|world| world.record.stood = Some("v2".into()));
    assert_eq!(stood.turn().record.place, Place::Healthy);
}

#[test]
fn f6_a_start_asks_for_everything_that_a_raise_asks_for() {
    let calm = || World::at(Column::Pending);
    assert_eq!(calm().turn().raises(), Some(percent(10)));
    let without: Vec<(&str, World)> = vec![
        ("lease", calm().lease(haldane_model::LeaseSeen::Unsure)),
        ("guards", calm().silent()),
        ("source", calm().verdict(Verdict::SourceError)),
        ("spec", calm().spec(SpecSeen::Invalid { message: "?".to_owned() })),
        ("read", calm().but(|world| world.seen.entries.clear())),
        ("health", calm().but(|world| world.seen.sides.clear())),
        ("breach", calm().verdict(Verdict::Fail { breach: true })),
    ];
    for (what, world) in without {
        let turn = world.turn();
        assert_eq!((turn.raises(), turn.record.attempt), (None, 0), "{what}");
    }
    let nothing_seen = calm().verdict(Verdict::NoData).turn();
    assert_eq!(nothing_seen.raises(), Some(percent(10)), "silence at share 0 is an answer");
}

#[test]
fn f6_a_first_step_of_all_needs_something_to_judge_it_by() {
    let only = |guarded: bool| {
        World::at(Column::Pending).planned(|plan| {
            plan.steps =
                vec![haldane_model::Step { weight: Weight::FULL, ..plan.steps[0].clone() }];
            plan.guards_at_full = guarded;
        })
    };
    assert_eq!(only(true).turn().raises(), Some(Weight::FULL));
    let rates = only(false).but(|world| {
        let old = haldane_model::Evidence::from(&b"old"[..]);
        world.record.frozen.insert("errors".into(), old);
    });
    assert_eq!(rates.turn().raises(), None, "the rates of another attempt are no limit");
}

#[test]
fn where_nothing_tells_the_file_names_the_revision() {
    let told_by_file = |column, revision: Option<&str>| {
        let world = World::at(column).planned(|plan| {
            plan.sides.iter_mut().for_each(|side| side.revision_query = None);
        });
        let world = world.shows_nothing("blue").shows_nothing("green").health("green", ready());
        world.but(|world| {
            if let Some(SpecSeen::Valid { revision: written, .. }) = &mut world.seen.spec {
                *written = revision.map(Into::into);
            }
        })
    };
    assert_eq!(told_by_file(Column::Pending, Some("v2")).turn().raises(), Some(percent(10)));
    assert_eq!(told_by_file(Column::Baking, Some("v2")).turn().state(), State::Baking);
    assert!(told_by_file(Column::Baking, Some("v3")).turn().rolls_back());
    assert_eq!(told_by_file(Column::Healthy, Some("v2")).turn().record.place, Place::Healthy);
    let next = told_by_file(Column::Healthy, Some("v3")).turn();
    assert!(matches!(next.record.place, Place::Pending { .. }));
}

#[test]
fn f3_a_file_that_names_what_serves_says_nothing_of_the_idle_side() {
    let unasked = World::at(Column::Healthy)
        .planned(|plan| plan.sides.iter_mut().for_each(|side| side.revision_query = None))
        .shows_nothing("blue")
        .shows_nothing("green");
    let told = unasked.but(|world| {
        if let Some(SpecSeen::Valid { revision, .. }) = &mut world.seen.spec {
            *revision = Some("v2".into());
        }
    });
    let undone = told.asks(Verb::Undo).turn();
    assert_eq!(undone.refusal(), None, "the previous revision still stands there");
    assert!(undone.rolls_back());
}
