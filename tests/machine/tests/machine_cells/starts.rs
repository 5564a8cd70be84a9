//! Where the rows F begin and end: the first read, a rename, what is rolled out, and what is asked.

use haldane_machine::{Effect, needs, newer};
use haldane_machine_tests::world::{Column, EDGE, Told, World, external, manual, percent, ready};
use haldane_model::{
    Cause, Health, HoldKind, PendingCause, Place, Reason, SpecSeen, State, Verb, Weight,
};

/// A rollout that has not been looked at.
fn fresh() -> World {
    World::at(Column::Pending).but(|world| {
        world.record.serving = None;
        world.record.promoted.clear();
        world.record.header.entries.clear();
    })
}

fn written(change: impl Fn(&mut bool, &mut bool, &mut Option<haldane_model::Revision>)) -> World {
    fresh().but(|world| {
        if let Some(SpecSeen::Valid { adopt, named, revision, .. }) = &mut world.seen.spec {
            change(adopt, named, revision);
        }
    })
}

// === the first read ===

#[test]
fn a2_the_larger_share_is_adopted_and_at_a_tie_the_first_side_serves() {
    let serving = |share| {
        written(|adopt, _, _| *adopt = true).read(share).turn().record.serving.unwrap().to_string()
    };
    assert_eq!(
        (serving(49), serving(50), serving(51)),
        ("blue".into(), "blue".into(), "green".into())
    );
}

#[test]
fn a2_what_cannot_be_read_is_no_split() {
    assert_eq!(fresh().unreadable().turn().record.serving, None);
    let part = haldane_model::Part { name: "b".to_owned(), share: Err("timeout".to_owned()) };
    let silent = fresh().read(0).but(|world| world.reading().parts = vec![part]);
    assert_eq!(silent.turn().record.serving, None, "a part may have another share");
}

#[test]
fn a2_what_stands_on_the_idle_side_is_rolled_out_only_where_it_is_named() {
    let stood = |world: World| world.read(0).turn().record.stood;
    assert_eq!(stood(fresh()), Some("v2".into()));
    assert_eq!(stood(written(|_, named, _| *named = true)), None);
    assert_eq!(stood(written(|_, _, revision| *revision = Some("v2".into()))), None);
}

#[test]
fn a2_nothing_is_taken_over_before_what_runs_the_sides_was_told_once() {
    let unheard =
        fresh().read(0).edited(|plan| plan.sides[1].workload = Some("{}".into())).but(|world| {
            world.seen.sides.remove(&"green".into());
        });
    assert_eq!(unheard.turn().record.serving, None, "what stands there would be taken for new");
    let heard = unheard.shows("green", &["v2"]).turn();
    assert_eq!((heard.record.stood, heard.record.serving.is_some()), (Some("v2".into()), true));
}

#[test]
fn a2_an_entry_that_an_edit_brought_is_taken_over_at_the_asserted_share() {
    let world = World::at(Column::Pending).edited(|plan| plan.entries[0].settings = "{1}".into());
    assert!(!world.turn().says(Reason::SplitRefused));
    assert_eq!(world.turn().raises(), Some(percent(10)));
    let other = world.read(40).shows("green", &["v1"]).turn();
    assert!(other.says(Reason::SplitRefused));
    assert!(matches!(other.record.place, Place::Pending { .. }), "and nothing else is decided");
}

#[test]
fn a2_renamed_sides_are_read_anew() {
    for (first, second) in [("blue", "teal"), ("teal", "green"), ("teal", "lime")] {
        let renamed = World::at(Column::Pending).edited(|plan| {
            plan.sides[0].name = first.into();
            plan.sides[1].name = second.into();
        });
        let turn = renamed.unreadable().turn();
        assert_eq!(turn.record.serving, None, "{first} {second}");
        let header = &turn.record.header;
        assert_eq!((header.home.as_str(), header.test.as_str()), (first, second));
    }
}

// === what is rolled out ===

#[test]
fn f1_at_rest_nothing_begins_on_a_file_that_cannot_be_used() {
    for (column, side) in [(Column::Healthy, "blue"), (Column::Degraded, "green")] {
        let world = World::at(column).shows(side, &["v3"]);
        let invalid = world.spec(SpecSeen::Invalid { message: "?".to_owned() });
        assert_eq!(invalid.turn().record.place, invalid.record.place, "{column:?}");
    }
}

#[test]
fn f1_at_rest_nothing_begins_nor_settles_while_an_alert_blocks() {
    let blocked = |column, side, revision| {
        let world = World::at(column).shows(side, &[revision]).held(HoldKind::Block);
        world.fires(haldane_model::AlertAction::Block, 5)
    };
    for (column, side, revision) in [
        (Column::Healthy, "blue", "v3"),
        (Column::Degraded, "green", "v3"),
        (Column::Degraded, "green", "v1"),
    ] {
        let held = blocked(column, side, revision);
        assert_eq!(held.turn().record.place, held.record.place, "{column:?} {revision}");
    }
}

#[test]
fn f2_the_watch_is_not_cut_by_what_serves_already_nor_under_a_hold() {
    let same = World::at(Column::Watching).shows("blue", &["v2"]);
    assert!(!same.turn().says(Reason::WatchCut));
    assert_eq!(same.turn().record.header.home, "blue".into(), "the roles stay");
    let held = World::at(Column::Watching).shows("blue", &["v3"]).held(HoldKind::Block);
    let held = held.fires(haldane_model::AlertAction::Block, 5);
    assert!(!held.turn().says(Reason::WatchCut));
}

#[test]
fn f2_a_first_revision_has_no_home_to_change() {
    let first = World::at(Column::Watching).but(|world| world.record.previous = None);
    assert!(!first.turn().says(Reason::HomeChanged));
    let flight = World::at(Column::Baking).but(|world| world.record.previous = None);
    assert!(flight.turn().says(Reason::HomeChanged), "in flight one must be known");
}

#[test]
fn f3_a_side_that_is_being_replaced_at_home_shows_all_that_it_runs() {
    let replaced = World::at(Column::Degraded).shows("green", &["v3"]).shows("blue", &["v1", "v3"]);
    assert!(matches!(replaced.turn().record.place, Place::Degraded { .. }), "v3 runs at home");
    let other = World::at(Column::Degraded).shows("green", &["v3"]).shows("blue", &["v1", "v4"]);
    assert!(matches!(other.turn().record.place, Place::Pending { .. }));
    let back = World::at(Column::Baking).shows("blue", &["v1", "v1"]).turn();
    assert!(!back.says(Reason::HomeChanged), "all of them are the previous one");
    let test = World::at(Column::Baking).shows("green", &["v2", "v2"]).turn();
    assert_eq!(test.state(), State::Baking);
}

/// Nothing outside tells revisions; the file names this one.
fn told_by_file(column: Column, revision: Option<&str>) -> World {
    let world = World::at(column)
        .planned(|plan| plan.sides.iter_mut().for_each(|side| side.revision_query = None));
    let world = world.shows_nothing("blue").shows_nothing("green").health("green", ready());
    world.but(|world| {
        if let Some(SpecSeen::Valid { revision: written, .. }) = &mut world.seen.spec {
            *written = revision.map(Into::into);
        }
    })
}

#[test]
fn where_the_file_no_longer_names_a_revision_the_attempt_goes_on_with_its_own() {
    assert_eq!(told_by_file(Column::Waiting, None).turn().raises(), Some(percent(50)));
    let pending = told_by_file(Column::Pending, None).but(|world| {
        world.record.attempt = 1;
        world.record.revision = Some("v2".into());
    });
    let turn = pending.verdict(haldane_model::Verdict::Pass).turn();
    assert!(turn.says(Reason::RevisionUnknown), "{:?}", turn.record.place);
    assert_eq!(turn.raises(), None);
}

#[test]
fn a_file_that_is_set_back_to_what_serves_rolls_back_in_flight_and_settles_at_rest() {
    for column in Column::IN_FLIGHT {
        let turn = told_by_file(column, Some("v1")).turn();
        assert!(turn.says(Reason::RevisionChanged), "{column:?}");
        assert_eq!((turn.lowers(), turn.state()), (Some(Weight::ZERO), State::RollingBack));
    }
    let rest = told_by_file(Column::Degraded, Some("v1")).turn();
    assert_eq!(rest.record.place, Place::Healthy, "at rest there is nothing to roll out");
}

#[test]
fn a_rollback_for_a_changed_revision_begins_the_next_attempt() {
    let back = World::at(Column::RollingBack).but(|world| {
        let since = world.now.wall;
        let out_of = haldane_model::Ground::Flight;
        world.record.place = Place::RollingBack { cause: Cause::RevisionChanged, since, out_of };
        world.record.attempt = 4;
    });
    let mark = back.known_mark();
    let ended = back.reads(Weight::ZERO, mark, 9_000).shows("green", &["v3"]).won();
    assert!(matches!(ended.record.place, Place::Pending { cause: PendingCause::Revision }));
    let started = ended.verdict(haldane_model::Verdict::Pass).turn();
    assert_eq!((started.raises(), started.record.attempt), (Some(percent(10)), 5));
}

// === what is asked ===

#[test]
fn a_place_asks_for_what_it_can_use() {
    let ask = |column| {
        let world = World::at(column);
        needs(&world.record, world.seen.spec.as_ref())
    };
    for column in Column::ALL {
        let checks = Column::GUARDED.contains(&column) || column == Column::Pending;
        assert_eq!(ask(column).checks, checks, "{column:?}");
        assert!(ask(column).plan.is_some(), "{column:?}");
    }
    let world = fresh();
    assert!(!needs(&world.record, world.seen.spec.as_ref()).checks, "the split is not known");
}

#[test]
fn the_gates_ahead_are_asked_and_a_person_is_not() {
    let gated = |column| {
        let world = World::at(column).planned(|plan| {
            for (step, name) in plan.steps.iter_mut().zip(["a", "b", "c"]) {
                step.gates = vec![external(name), manual("go")];
            }
        });
        let gates = needs(&world.record, world.seen.spec.as_ref()).gates;
        gates.iter().map(|gate| gate.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(gated(Column::Waiting), ["b", "c"]);
    assert_eq!(gated(Column::Shifting), ["b", "c"], "a raise that was not sent waits for its own");
    assert_eq!(gated(Column::Baking), ["c"]);
    for column in [Column::Pending, Column::Promoting, Column::Watching, Column::Healthy] {
        assert_eq!(gated(column), [""; 0], "{column:?}");
    }
}

// === a newer engine's record ===

#[test]
fn n20_a_newer_record_is_lowered_though_nothing_is_seen_and_by_an_abort_alone() {
    let mut world = World::at(Column::Baking).asks(Verb::Pause);
    assert_eq!(newer(&world.record.header, &world.seen).header.lowered, None);
    world.record.header.lowered = Some(Cause::AbortedByPerson);
    world.seen.entries.clear();
    let turn = newer(&world.record.header, &world.seen);
    let [Effect::Lower { to, mark }] = turn.effects[..] else { panic!("{:?}", turn.effects) };
    assert_eq!((to, mark.number), (Weight::ZERO, 1));
    assert!(!world.seen.entries.contains_key(&EDGE.into()));
    let dead = World::at(Column::Pending).health("blue", Health::Down);
    assert_eq!(newer(&dead.record.header, &dead.seen).effects, []);
}
