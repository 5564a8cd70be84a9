//! The order of one turn: whatever else arrives, a cause to go back wins; and deciding twice on one
//! look changes nothing the second time.

use haldane_machine::Effect;
use haldane_machine_tests::world::{Column, EDGE, KNOWN, Told, World, at, external, percent, secs};
use haldane_model::{
    AlertAction, Gap, GapPolicy, GateAnswer, Health, HoldKind, LeaseSeen, Mark, OnDeadline, Place,
    Reason, SpecSeen, State, Verb, Verdict, Weight,
};

type Arrives = fn(World) -> World;
type Row = (&'static str, Arrives);

const BREACH: Verdict = Verdict::Fail { breach: true };

/// Every row that rolls back, with the places in which it does.
const CAUSES: &[(Row, &[Column])] = &[
    (("C1 breach", |world| world.verdict(BREACH)), &Column::GUARDED),
    (("C3 lost", |world| world.verdict(Verdict::CanaryLost)), &Column::GUARDED),
    (("C3 down", |world| world.health("green", Health::Down)), &Column::GUARDED),
    (("E2 abort", |world| world.asks(Verb::Abort)), &Column::GUARDED),
    (("A4 own", |world| world.ours(0, Mark::rollback(KNOWN + 9))), &Column::GUARDED),
    (("D5 alert", |world| world.fires(AlertAction::Abort, 60)), &Column::GUARDED),
    (("G3 deleted", |world| world.spec(SpecSeen::Deleted)), &Column::IN_FLIGHT),
    (("F1 revision", |world| world.shows("green", &["v3"])), &Column::IN_FLIGHT),
    (
        ("C5 abort", |world| world.policy(Gap::NoData, GapPolicy::Abort).verdict(Verdict::NoData)),
        &Column::GUARDED,
    ),
    (
        ("C13 abort", |world| {
            let world = world.planned(|plan| plan.on_deadline = OnDeadline::Abort);
            world.but(|world| world.record.progressed = secs(4_000))
        }),
        &Column::IN_FLIGHT,
    ),
    (("E9 undo", |world| world.asks(Verb::Undo)), &[Column::Watching]),
];

/// Everything else that may arrive in the same turn. None touches what a cause above is seen by.
const OTHERS: &[Row] = &[
    ("nothing", |world| world),
    ("E3 pause", |world| world.asks(Verb::Pause)),
    ("E3 paused: true", |world| world.paused(true)),
    ("E4 resume", |world| world.asks(Verb::Resume)),
    ("E5 promote", |world| world.asks(Verb::Promote { full: false, without_guards: false })),
    ("E6 full", |world| world.asks(Verb::Promote { full: true, without_guards: true })),
    ("E7 skip", |world| world.asks(Verb::Skip)),
    ("E8 retry", |world| world.asks(Verb::Retry { without: None })),
    ("E1 stale", |world| {
        world.asks(Verb::Skip).but(|world| {
            if let Some(request) = world.seen.requests.last_mut() {
                request.attempt = Some(99);
            }
        })
    }),
    ("D6 block", |world| world.fires(AlertAction::Block, 5)),
    ("D6 old abort", |world| world.fires(AlertAction::Abort, 9_000)),
    ("D7 pause", |world| world.fires(AlertAction::Pause, 5)),
    ("D2 gate open", |world| world.gate("qa", GateAnswer::Open)),
    ("D3 gate closed", |world| world.planned(|plan| plan.steps[1].gates = vec![external("qa")])),
    ("C8 baked", World::baked),
    ("C10 maxBake", |world| world.baked().planned(|plan| plan.steps[1].max_bake = Some(secs(1)))),
    ("C13 deadline", |world| world.but(|world| world.record.progressed = secs(9_000))),
    ("C12 watched", |world| {
        world.but(|world| {
            if let Place::Watching { watched, .. } = &mut world.record.place {
                *watched = secs(600);
            }
        })
    }),
    ("B2 failed", |world| world.write_failed(false)),
    ("B3 invalid", |world| world.write_failed(true)),
    ("B6 finished", |world| {
        world.but(|world| {
            world.seen.finished.insert(EDGE.into(), Ok(()));
        })
    }),
    ("G1 edit", |world| world.edited(|plan| plan.steps[1].weight = percent(60))),
    ("G4 unsure", |world| world.lease(LeaseSeen::Unsure)),
    ("no lease", |world| world.but(|world| world.seen.lease = None)),
    ("G6 newer term", |world| world.lease(LeaseSeen::Held { term: 9 })),
    ("clock stepped", |world| world.but(|world| world.now.wall = at(20_000))),
    ("restarted", |world| world.but(|world| world.now.boot = 2)),
    ("a conflict is due", |world| world.but(|world| world.record.foreign = vec![at(9_999); 3])),
    ("A8 share off", |world| {
        world.but(|world| {
            if world.seen.entries.get(&EDGE.into()).is_some_and(|seen| seen.reading.is_ok()) {
                world.reading().measured = Some(percent(33));
            }
        })
    }),
];

const HOLDS: &[Option<HoldKind>] = &[
    None,
    Some(HoldKind::Person),
    Some(HoldKind::Spec),
    Some(HoldKind::AlertPause),
    Some(HoldKind::Block),
    Some(HoldKind::NeedsPerson(Reason::Inconclusive)),
    Some(HoldKind::Conflict { undone: None }),
];

#[test]
fn a_cause_to_go_back_wins_over_everything_in_every_place_and_under_every_hold() {
    let mut checked = 0;
    for ((cause, arrives), columns) in CAUSES {
        for column in *columns {
            for (other, comes) in OTHERS {
                for hold in HOLDS {
                    let world = World::at(*column);
                    let world = hold.map_or(world.clone(), |hold| world.clone().held(hold));
                    // `cause` last: both may speak of the same fact, and then it is the cause's.
                    let world = arrives(comes(world));
                    let turn = world.turn();
                    let case = format!("{cause} with {other} in {column:?} under {hold:?}");
                    assert!(turn.rolls_back(), "{case}: {:?} {:?}", turn.state(), turn.effects);
                    assert_eq!(turn.raises(), None, "{case}");
                    assert!(!turn.effects.contains(&Effect::Finish), "{case}");
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 9_000, "{checked} combinations");
}

#[test]
fn every_pair_of_causes_rolls_back() {
    for ((first, one), columns) in CAUSES {
        for ((second, other), others) in CAUSES {
            for column in columns.iter().filter(|column| others.contains(column)) {
                let turn = other(one(World::at(*column))).turn();
                assert!(turn.rolls_back(), "{first}, {second}, {column:?}: {:?}", turn.effects);
            }
        }
    }
}

#[test]
fn a_rollback_under_way_asks_for_its_write_whatever_else_arrives() {
    for (other, comes) in OTHERS {
        for hold in HOLDS {
            let world = World::at(Column::RollingBack).read(50);
            let world = hold.map_or(world.clone(), |hold| world.clone().held(hold));
            let turn = comes(world).turn();
            if *other == "C13 deadline" || turn.state() == State::RollingBack {
                assert!(turn.rolls_back(), "{other} under {hold:?}");
            }
            assert_eq!(turn.state(), State::RollingBack, "{other} under {hold:?}");
        }
    }
}

#[test]
fn no_hold_lets_anything_rise() {
    for column in Column::ALL {
        for (other, comes) in OTHERS {
            for hold in [HoldKind::Person, HoldKind::Conflict { undone: None }] {
                if matches!(*other, "E4 resume") {
                    continue;
                }
                let turn = comes(World::at(column).held(hold)).turn();
                assert_eq!(turn.raises(), None, "{other} in {column:?} under {hold:?}");
            }
        }
    }
}

#[test]
fn deciding_again_on_the_same_look_comes_to_rest_and_tells_nothing_twice() {
    let mut rows: Vec<Row> = OTHERS.to_vec();
    rows.extend(CAUSES.iter().map(|(row, _)| *row));
    for column in Column::ALL {
        for (row, comes) in &rows {
            let mut world = comes(World::at(column));
            let mut turns = 0;
            loop {
                let turn = world.turn();
                if turn.gone || turn.superseded {
                    break;
                }
                let next = world.won();
                let same = next.record.place == world.record.place
                    && next.record.holds == world.record.holds
                    && next.record.requests == world.record.requests;
                if same && turn.entries.is_empty() {
                    let after = next.won();
                    assert_eq!(unversioned(&next), unversioned(&after), "{row} in {column:?}");
                    break;
                }
                world = next;
                turns += 1;
                assert!(turns < 8, "{row} in {column:?} never rests: {:?}", world.record.place);
            }
        }
    }
}

fn unversioned(world: &World) -> haldane_model::Record {
    let mut record = world.record.clone();
    record.version = 0;
    record
}

#[test]
fn a_turn_changes_place_at_most_once_and_wakes_at_once_for_more() {
    for column in Column::ALL {
        for (row, comes) in OTHERS {
            let world = comes(World::at(column));
            let turn = world.turn();
            if turn.record.place.state() != world.record.place.state() && !turn.gone {
                let wake = turn.wake_in.expect("something is left to do");
                assert!(wake <= secs(1), "{row} in {column:?}: {wake:?}");
            }
        }
    }
}

#[test]
fn every_change_of_place_hold_or_waiver_is_told() {
    for column in Column::ALL {
        for (row, comes) in OTHERS {
            let world = comes(World::at(column));
            let turn = world.turn();
            // The kind of place: that more of a clean-up is done is no news.
            let moved = turn.record.place.state() != world.record.place.state();
            let kinds = |record: &haldane_model::Record| {
                record.holds.iter().map(|hold| hold.kind.word()).collect::<Vec<_>>()
            };
            let held = kinds(&turn.record) != kinds(&world.record);
            let waived = turn.record.waivers.len() > world.record.waivers.len();
            if moved || held || waived {
                assert!(!turn.entries.is_empty(), "{row} in {column:?}");
            }
        }
    }
}

#[test]
fn a_rollback_looks_again_within_ten_seconds() {
    for world in [
        World::at(Column::RollingBack),
        World::at(Column::RollingBack).read(50).health("blue", Health::Down),
        World::at(Column::RollingBack).unreadable().write_failed(true),
    ] {
        assert!(world.turn().wake_in.expect("not gone") <= secs(10));
    }
}

#[test]
fn a_lowering_needs_no_record_no_lease_and_no_look_at_anything_else() {
    for column in Column::GUARDED {
        let blind = World::at(column).but(|world| {
            world.seen.lease = None;
            world.seen.entries.clear();
            world.seen.sides.clear();
            world.seen.spec = None;
        });
        let turn = blind.asks(Verb::Abort).turn();
        assert!(turn.rolls_back(), "{column:?}");
        assert_eq!(turn.lowers(), Some(Weight::ZERO));
    }
}
