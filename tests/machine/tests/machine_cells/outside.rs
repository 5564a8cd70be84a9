//! Rows G: the file, the lease and other engines. And the record that a newer engine wrote.

use haldane_machine::{Effect, newer};
use haldane_machine_tests::world::{Column, Told, World, percent};
use haldane_model::{
    Cause, Health, LeaseSeen, Mark, Outcome, Reason, SpecSeen, State, Verb, Verdict, Weight,
};

#[test]
fn g1_a_plan_edited_in_flight_is_told_and_applies_to_the_next_attempt() {
    for column in Column::GUARDED {
        let edited = World::at(column).edited(|plan| plan.steps[1].weight = percent(90));
        let turn = edited.turn();
        assert!(turn.says(Reason::PlanChanged), "{column:?}");
        assert_eq!(turn.record.plan, edited.record.plan, "{column:?}: swapped in flight");
        assert!(!edited.won().turn().says(Reason::PlanChanged), "{column:?}: told once");
    }
    let raise = World::at(Column::Waiting).edited(|plan| plan.steps[1].weight = percent(90)).turn();
    assert_eq!(raise.raises(), Some(percent(50)), "the pinned weight");
    let policy = World::at(Column::Baking).edited(|plan| plan.checks.clear());
    assert!(policy.verdict(Verdict::Fail { breach: true }).turn().rolls_back(), "pinned guards");
}

#[test]
fn g2_an_invalid_file_changes_nothing_in_flight() {
    for column in Column::ALL {
        let world = World::at(column).spec(SpecSeen::Invalid { message: "steps".to_owned() });
        let turn = world.turn();
        if column != Column::RollingBack {
            assert!(turn.says(Reason::SpecInvalid), "{column:?}");
        }
        assert_eq!(turn.record.plan, world.record.plan, "{column:?}");
    }
    let invalid = SpecSeen::Invalid { message: "steps".to_owned() };
    assert_eq!(World::at(Column::Waiting).spec(invalid.clone()).turn().raises(), Some(percent(50)));
    let breach = World::at(Column::Baking).spec(invalid).verdict(Verdict::Fail { breach: true });
    assert!(breach.turn().rolls_back());
}

#[test]
fn g3_a_deleted_rollout_goes_back_first_and_at_rest_it_just_goes() {
    for column in Column::IN_FLIGHT {
        let turn = World::at(column).spec(SpecSeen::Deleted).turn();
        assert!(turn.rolls_back() && !turn.gone, "{column:?}");
    }
    for column in [Column::Pending, Column::Watching, Column::Healthy, Column::Degraded] {
        let turn = World::at(column).spec(SpecSeen::Deleted).turn();
        assert!(turn.gone, "{column:?}");
        assert_eq!(turn.effects, [Effect::Release], "{column:?}: weights stay");
    }
}

#[test]
fn g3_a_namespaces_deletion_gets_one_lowering_write_and_waits_for_nothing() {
    for column in Column::IN_FLIGHT.into_iter().chain([Column::RollingBack]) {
        let turn = World::at(column).read(50).spec(SpecSeen::NamespaceDeleted).turn();
        assert!(turn.gone, "{column:?}");
        assert_eq!(turn.lowers(), Some(Weight::ZERO), "{column:?}");
        assert!(matches!(turn.effects[0], Effect::Lower { .. }), "{column:?}");
    }
    let watching = World::at(Column::Watching).spec(SpecSeen::NamespaceDeleted).turn();
    assert_eq!(watching.effects, [Effect::Release]);
}

#[test]
fn g4_an_unsure_lease_raises_nothing_and_lowers_everything() {
    for column in Column::ALL {
        let unsure = World::at(column).baked().lease(LeaseSeen::Unsure);
        assert_eq!(unsure.turn().raises(), None, "{column:?}");
        if column != Column::RollingBack {
            assert!(unsure.turn().says(Reason::LeaseUnsure), "{column:?}");
        }
    }
    for column in Column::GUARDED {
        let unsure = World::at(column).lease(LeaseSeen::Unsure);
        assert!(unsure.clone().verdict(Verdict::Fail { breach: true }).turn().rolls_back());
        assert!(unsure.asks(Verb::Abort).turn().rolls_back());
    }
}

#[test]
fn g5_another_holder_stops_everything() {
    for column in Column::ALL {
        for term in [1, 2] {
            let other = World::at(column).lease(LeaseSeen::Other { term }).asks(Verb::Abort);
            let turn = other.verdict(Verdict::Fail { breach: true }).turn();
            assert!(turn.superseded, "{column:?} {term}");
            assert_eq!((turn.effects.len(), turn.entries.len()), (0, 0), "{column:?}");
        }
        let old = World::at(column).but(|world| world.record.term = 5);
        assert!(old.turn().superseded, "{column:?}: our own term is over");
    }
}

#[test]
fn g6_a_newer_term_of_ours_takes_over() {
    for column in Column::ALL {
        let turn = World::at(column).lease(LeaseSeen::Held { term: 2 }).turn();
        assert_eq!(turn.record.term, 2, "{column:?}");
        assert!(turn.says(Reason::TookOver), "{column:?}");
    }
}

#[test]
fn n20_a_newer_record_raises_nothing_and_can_be_aborted() {
    let world = World::at(Column::Baking);
    let calm = newer(&world.record.header, &world.seen);
    assert_eq!((calm.effects.len(), calm.header), (0, world.record.header.clone()));
    let abort = world.asks(Verb::Abort);
    let turn = newer(&abort.record.header, &abort.seen);
    assert_eq!(turn.header.lowered, Some(Cause::AbortedByPerson));
    let Some(Effect::Lower { to, mark }) = turn.effects.first() else { panic!("no write") };
    assert_eq!((*to, mark.kind), (Weight::ZERO, Mark::rollback(0).kind));
    assert!(mark.number > 7, "signed above what was read, so that the newer engine finds it");
    let later = abort.but(|world| world.seen.requests.clear());
    assert_eq!(newer(&turn.header, &later.seen).effects.len(), 1, "while it is set");
    assert_eq!(newer(&turn.header, &later.clone().unreadable().seen).effects.len(), 1);
    assert_eq!(newer(&turn.header, &later.read(0).seen).effects.len(), 0);
}

#[test]
fn n20_a_rollback_of_a_newer_record_keeps_the_signature_that_is_read() {
    let aborted = World::at(Column::Baking).asks(Verb::Abort);
    let marked = |mark| newer(&aborted.record.header, &aborted.clone().ours(25, mark).seen);
    let sent = |mark| match marked(mark).effects.first() {
        Some(Effect::Lower { mark, .. }) => *mark,
        other => panic!("no write, but {other:?}"),
    };
    assert_eq!(sent(Mark::rollback(9)), Mark::rollback(9));
    assert_eq!(sent(Mark::raise(9)), Mark::rollback(10));
}

#[test]
fn n20_a_newer_record_obeys_no_other_request_and_no_verdict() {
    let world = World::at(Column::Baking).verdict(Verdict::Fail { breach: true });
    let asked = world.asks(Verb::Skip).asks(Verb::Resume).asks(Verb::Undo).asks(Verb::Abort);
    let turn = newer(&asked.record.header, &asked.seen);
    let refused: Vec<bool> =
        turn.answers.iter().map(|(_, outcome)| matches!(outcome, Outcome::Refused(_))).collect();
    assert_eq!(refused, [true, true, true, false]);
    let unasked = World::at(Column::Baking).verdict(Verdict::Fail { breach: true });
    let turn = newer(&unasked.record.header, &unasked.seen);
    assert_eq!((turn.effects.len(), turn.header.lowered), (0, None));
    let taken = asked.lease(LeaseSeen::Other { term: 9 });
    let other = newer(&taken.record.header, &taken.seen);
    assert!(other.superseded && other.effects.is_empty() && other.header.lowered.is_none());
}

#[test]
fn n20_a_newer_records_write_waits_for_a_living_home_and_for_every_entry() {
    let lowered = World::at(Column::Baking).but(|world| {
        world.record.header.lowered = Some(Cause::AbortedByPerson);
        world.reading().health = (Health::Untold, Health::Down);
    });
    let dead = lowered.clone().but(|world| {
        let home = world.record.header.home.clone();
        assert_eq!(world.reading().health_of(&home), Health::Down);
    });
    assert_eq!(newer(&dead.record.header, &dead.seen).effects.len(), 0, "known dead");
    // One entry at 0, one that does not answer: it goes on.
    let silent = World::at(Column::Baking).read(0).but(|world| {
        world.record.header.lowered = Some(Cause::AbortedByPerson);
        let mut second = world.record.header.entries[0].clone();
        second.name = "second".into();
        world.record.header.entries.push(second);
    });
    assert_eq!(newer(&silent.record.header, &silent.seen).effects.len(), 1);
}

#[test]
fn n20_the_newer_engine_finds_the_word_of_the_older_one_and_finishes_the_rollback() {
    for column in Column::GUARDED {
        let found = World::at(column).but(|world| {
            world.record.header.lowered = Some(Cause::AbortedByPerson);
        });
        let turn = found.turn();
        assert!(turn.rolls_back() && turn.says(Reason::OwnLoweringFound), "{column:?}");
        assert_eq!(turn.record.header.lowered, None, "{column:?}: it is taken over");
        // Nobody knows whether it was read: a share that is 0 already is confirmed as ever.
        assert!(found.read(0).turn().rolls_back(), "{column:?}");
    }
    for column in Column::AT_REST {
        let turn = World::at(column)
            .but(|world| world.record.header.lowered = Some(Cause::AbortedByPerson))
            .turn();
        assert_eq!((turn.record.header.lowered, turn.lowers()), (None, None), "{column:?}");
    }
}

#[test]
fn a_released_rollout_wakes_nobody() {
    let turn = World::at(Column::Healthy).spec(SpecSeen::Deleted).turn();
    assert_eq!(turn.wake_in, None);
    assert_ne!(turn.state(), State::RollingBack);
}
