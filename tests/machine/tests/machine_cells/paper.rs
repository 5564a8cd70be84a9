//! The paper of a turn: what is numbered, what is remembered, and how urgently it is recorded.

use haldane_machine::{Change, Effect};
use haldane_machine_tests::world::{Column, KNOWN, Told, World, at, manual, stamp};
use haldane_model::{HoldKind, LeaseSeen, Mark, Place, Reason, SourceName, Verb, Verdict};

#[test]
fn entries_are_numbered_without_a_gap() {
    let world = World::at(Column::Pending)
        .planned(|plan| plan.steps[0].gates = vec![manual("go")])
        .but(|world| world.record.next_entry = 41);
    let turn = world.turn();
    let ids: Vec<u64> = turn.entries.iter().map(|entry| entry.id).collect();
    assert_eq!((ids, turn.record.next_entry), (vec![41, 42], 43));
}

#[test]
fn a_step_is_signed_above_every_number_known_and_its_raise_carries_that() {
    for world in [World::at(Column::Pending), World::at(Column::Waiting)] {
        let turn = world.turn();
        let [Effect::Raise { mark, .. }] = turn.effects[..] else { panic!("{:?}", turn.effects) };
        assert_eq!(mark, Mark::raise(KNOWN + 1));
        assert!(turn.record.marks.values().all(|known| *known == mark));
    }
}

#[test]
fn what_is_told_is_recorded_at_once() {
    for column in Column::ALL {
        for world in [
            World::at(column).lease(LeaseSeen::Held { term: 2 }),
            World::at(column).unreadable(),
            World::at(column).held(HoldKind::Person).asks(Verb::Resume),
            World::at(column).asks(Verb::Skip),
        ] {
            let turn = world.turn();
            if !turn.entries.is_empty() {
                assert_eq!(turn.change, Change::Decided, "{column:?}: {:?}", turn.reasons());
            }
        }
    }
}

#[test]
fn at_rest_nothing_is_recorded_and_under_way_progress_is() {
    for column in Column::ALL {
        let calm = World::at(column).settled().settled();
        let rests = matches!(calm.record.place, Place::Healthy | Place::Degraded { .. });
        let change = calm.later(1).turn().change;
        assert!(change != Change::Nothing || rests, "{column:?}");
        assert!(change == Change::Nothing || !rests, "{column:?}: {change:?}");
    }
    let pending = World::at(Column::Pending).unreadable().won();
    assert_eq!(pending.turn().change, Change::Progress, "before an attempt time counts");
}

#[test]
fn the_end_of_a_block_is_recorded_at_once_and_told_to_nobody() {
    for column in [Column::Healthy, Column::Baking] {
        let blocked = World::at(column).unreadable().won();
        let share = blocked.record.asserted();
        let mark = blocked.known_mark();
        let turn = blocked.reads(share, mark, 9_000).turn();
        assert_eq!((turn.change, turn.reasons()), (Change::Decided, vec![]), "{column:?}");
    }
}

#[test]
fn a_hold_that_ends_is_recorded_at_once() {
    let held = World::at(Column::Baking).held(HoldKind::Spec).verdict(Verdict::Pass);
    assert_eq!(held.turn().change, Change::Decided);
}

#[test]
fn a_moment_that_lies_ahead_is_now_and_no_other_is_touched() {
    let main = || SourceName::from("main");
    let begun = |second: i64| {
        let mut from = stamp(at(second));
        from.sources.insert(main(), at(1));
        let world = World::at(Column::Baking).but(|world| {
            world.record.place =
                Place::Baking { step: 1, baked: std::time::Duration::ZERO, from, done_at: None };
        });
        match world.turn().record.place {
            Place::Baking { from, .. } => from,
            other => panic!("moved to {other:?}"),
        }
    };
    assert_eq!(begun(10_001), stamp(at(10_000)));
    for second in [9_999, 10_000] {
        let from = begun(second);
        assert_eq!((from.wall, from.of(&main())), (at(second), at(1)), "{second}");
    }
    let waits = World::at(Column::Waiting).but(|world| {
        world.record.place = Place::Waiting { step: 1, since: at(99_999) };
    });
    let waits = waits.silent().turn();
    assert!(matches!(waits.record.place, Place::Waiting { since, .. } if since == at(10_000)));
    let exposed = World::at(Column::Baking).but(|world| {
        world.record.exposed.could = Some(stamp(at(99_999)));
        world.record.exposed.confirmed = Some(stamp(at(9_000)));
    });
    let exposed = exposed.turn().record.exposed;
    assert_eq!(
        (exposed.could, exposed.confirmed),
        (Some(stamp(at(10_000))), Some(stamp(at(9_000))))
    );
}

#[test]
fn a_term_of_ours_that_goes_on_is_no_news() {
    let turn = World::at(Column::Baking).lease(LeaseSeen::Held { term: 1 }).turn();
    assert!(!turn.says(Reason::TookOver) && !turn.superseded);
}
