//! Rows D: gates and alerts.

use haldane_machine_tests::world::{Column, Told, World, external, manual, percent, secs};
use haldane_model::{
    AlertAction, Exposure, GateAnswer, HoldKind, Place, Reason, State, Verb, Weight,
};

fn gated(column: Column) -> World {
    World::at(column).planned(|plan| plan.steps[1].gates = vec![external("qa")])
}

#[test]
fn d1_a_step_with_a_gate_is_waited_for() {
    let pending =
        World::at(Column::Pending).planned(|plan| plan.steps[0].gates = vec![manual("go")]);
    let turn = pending.turn();
    assert!(matches!(turn.record.place, Place::Waiting { step: 0, .. }));
    assert!(turn.says(Reason::Started) && turn.says(Reason::GateAsked));
    assert_eq!(turn.effects, []);
    let baked = World::at(Column::Baking).baked().planned(|plan| {
        plan.steps[2].gates = vec![manual("go")];
    });
    assert!(matches!(baked.turn().record.place, Place::Waiting { step: 2, .. }));
}

#[test]
fn d2_an_open_gate_begins_the_step() {
    let turn = gated(Column::Waiting).gate("qa", GateAnswer::Open).turn();
    assert_eq!(turn.raises(), Some(percent(50)));
    assert!(turn.says(Reason::GateOpened));
}

#[test]
fn d3_a_closed_or_silent_gate_holds() {
    for world in [
        gated(Column::Waiting),
        gated(Column::Waiting).gate("qa", GateAnswer::Closed("red".to_owned())),
    ] {
        let turn = world.turn();
        assert_eq!((turn.raises(), turn.state()), (None, State::Waiting));
        assert!(turn.says(Reason::GateClosed));
    }
}

#[test]
fn d3_a_raise_that_was_not_sent_waits_for_its_gate_still() {
    let shifting = gated(Column::Shifting);
    assert_eq!(shifting.turn().raises(), None);
    assert_eq!(shifting.clone().gate("qa", GateAnswer::Open).turn().raises(), Some(percent(50)));
    assert_eq!(shifting.read(30).turn().raises(), Some(percent(50)), "it was sent");
}

#[test]
fn d4_a_gate_that_expires_asks_for_a_person() {
    let expired = gated(Column::Waiting).planned(|plan| {
        plan.steps[1].gates[0].expires = Some(secs(1_000));
    });
    let turn = expired.turn();
    assert_eq!(turn.state(), State::Paused);
    assert!(turn.says(Reason::GateExpired));
    assert_eq!(turn.raises(), None);
    let resumed = expired.won().asks(Verb::Resume).won();
    assert_eq!(resumed.record.state(), State::Waiting, "resume grants the time once more");
    assert_eq!(resumed.turn().record.state(), State::Waiting);
}

#[test]
fn d4_a_promotion_ends_the_hold_of_an_expired_gate_for_good() {
    let expired = World::at(Column::Waiting).planned(|plan| {
        plan.steps[1].gates = vec![manual("go")];
        plan.steps[1].gates[0].expires = Some(secs(1_000));
    });
    // Guards are silent for a moment: the waiver waits, and is not held again.
    let waits = expired.won().silent().asks(Verb::Promote { full: false, without_guards: false });
    let next = waits.won();
    assert_eq!(next.turn().state(), State::Waiting);
    let answered = next.verdict(haldane_model::Verdict::Pass).turn();
    assert_eq!(answered.raises(), Some(percent(50)));
}

#[test]
fn d5_an_alert_that_began_after_the_exposure_rolls_back() {
    for column in Column::GUARDED {
        let turn = World::at(column).fires(AlertAction::Abort, 60).turn();
        assert!(turn.rolls_back(), "{column:?}");
        assert!(turn.says(Reason::AlertAbort), "{column:?}");
    }
    let changed = World::at(Column::Watching).shows("blue", &["v3"]).fires(AlertAction::Abort, 60);
    assert!(changed.turn().says(Reason::RollbackImpossible));
    for column in [Column::Healthy, Column::Degraded] {
        let turn = World::at(column).fires(AlertAction::Abort, 60).turn();
        assert!(turn.says(Reason::AlertBlock), "{column:?}: noted");
        assert_eq!(turn.record.holds, [], "{column:?}");
    }
}

#[test]
fn d6_an_alert_that_began_earlier_blocks_until_it_is_resolved() {
    for column in Column::IN_FLIGHT.into_iter().chain([Column::Pending]) {
        for (action, since) in [(AlertAction::Block, 10), (AlertAction::Abort, 5_000)] {
            let firing = World::at(column).fires(action, since);
            let turn = firing.turn();
            assert!(turn.record.hold(HoldKind::Block).is_some(), "{column:?} {action:?}");
            assert!(turn.says(Reason::AlertBlock), "{column:?}");
            assert_eq!(turn.raises(), None, "{column:?}");
            let resolved = firing.won().but(|world| world.seen.alerts.clear()).turn();
            assert!(resolved.says(Reason::AlertResolved), "{column:?}");
            assert!(resolved.record.holds.is_empty(), "{column:?}");
        }
    }
}

#[test]
fn d6_in_the_watch_a_blocking_alert_is_noted_and_holds_nothing() {
    let turn = World::at(Column::Watching).fires(AlertAction::Block, 10).turn();
    assert!(turn.says(Reason::AlertBlock));
    assert_eq!(turn.record.holds, []);
}

#[test]
fn d6_one_alert_is_told_once_however_often_it_is_repeated() {
    let noted = World::at(Column::Healthy).fires(AlertAction::Block, 10).won();
    assert_eq!(noted.turn().reasons(), []);
}

#[test]
fn d6_before_anything_was_exposed_no_alert_aborts() {
    let fresh = World::at(Column::Waiting).but(|world| {
        world.record.place = Place::Waiting { step: 0, since: world.now.wall };
        world.record.exposed = Exposure::default();
    });
    let turn = fresh.read(0).fires(AlertAction::Abort, 10).turn();
    assert!(turn.record.hold(HoldKind::Block).is_some());
}

#[test]
fn d7_an_alert_pauses_and_a_person_resumes_once_it_no_longer_fires() {
    for column in Column::GUARDED.into_iter().chain([Column::Pending]) {
        let firing = World::at(column).fires(AlertAction::Pause, 10);
        assert_eq!(firing.turn().state(), State::Paused, "{column:?}");
        let resume = firing.won().asks(Verb::Resume);
        assert!(resume.turn().refusal().is_some(), "{column:?}: it fires still");
        let over = firing.won().but(|world| world.seen.alerts.clear());
        assert_eq!(over.turn().state(), State::Paused, "{column:?}: a person resumes");
        assert!(over.asks(Verb::Resume).turn().record.holds.is_empty(), "{column:?}");
    }
    let rest = World::at(Column::Degraded).fires(AlertAction::Pause, 10).turn();
    assert_eq!((rest.says(Reason::AlertPause), rest.record.holds.len()), (true, 0));
}

#[test]
fn a_full_promotion_passes_manual_gates_and_no_others() {
    let full = Verb::Promote { full: true, without_guards: false };
    let manual = World::at(Column::Waiting).planned(|plan| {
        plan.steps[1].gates = vec![manual("a")];
        plan.steps[2].gates = vec![manual("b")];
    });
    assert_eq!(manual.asks(full.clone()).turn().raises(), Some(Weight::FULL));
    let external = World::at(Column::Waiting).planned(|plan| {
        plan.steps[2].gates = vec![external("qa")];
    });
    let turn = external.asks(full).turn();
    assert_eq!(turn.refusal(), Some("gate qa is closed"));
}

#[test]
fn a_gate_that_closes_after_a_full_promotion_was_noted_holds_it() {
    let noted = World::at(Column::Shifting)
        .planned(|plan| plan.steps[2].gates = vec![external("qa")])
        .gate("qa", GateAnswer::Open)
        .asks(Verb::Promote { full: true, without_guards: false })
        .won()
        .read(50)
        .won();
    assert_eq!(noted.turn().raises(), Some(Weight::FULL));
    let closed = noted.gate("qa", GateAnswer::Closed("red".to_owned()));
    assert_eq!(closed.turn().raises(), None);
    assert!(closed.turn().says(Reason::GateClosed));
}
