//! Where the rows D and E begin and end: alerts that do not fire, and requests beside their place.

use haldane_machine_tests::world::{
    Column, Told, World, ada, at, external, manual, percent, stamp,
};
use haldane_model::{
    Alert, AlertAction, GateAnswer, HoldKind, OnInconclusive, Outcome, Place, Reason, State, Verb,
    Verdict, Waiver, WaiverKind, Weight,
};

const PROMOTE: Verb = Verb::Promote { full: false, without_guards: false };
const FULL: Verb = Verb::Promote { full: true, without_guards: false };
const UNGUARDED: Verb = Verb::Promote { full: false, without_guards: true };

/// The alerts that were made to fire are resolved, and still listed.
fn resolved(world: World) -> World {
    world.but(|world| world.seen.alerts.iter_mut().for_each(|alert| alert.firing = false))
}

// === D: alerts ===

#[test]
fn d5_an_alert_that_is_resolved_does_nothing() {
    for column in Column::GUARDED {
        for action in [AlertAction::Abort, AlertAction::Pause, AlertAction::Block] {
            let turn = resolved(World::at(column).fires(action, 60)).turn();
            assert_ne!(turn.state(), State::RollingBack, "{column:?} {action:?}");
            assert_eq!(turn.record.holds, [], "{column:?} {action:?}");
        }
    }
}

#[test]
fn d7_an_alerts_pause_is_lifted_though_another_alert_blocks_or_its_own_is_listed_still() {
    let paused = || World::at(Column::Baking).held(HoldKind::AlertPause).asks(Verb::Resume);
    let lifted = |world: World| world.turn().record.hold(HoldKind::AlertPause).is_none();
    assert!(lifted(paused()));
    assert!(lifted(paused().fires(AlertAction::Block, 5)));
    assert!(lifted(resolved(paused().fires(AlertAction::Pause, 5))));
    assert!(!lifted(paused().fires(AlertAction::Pause, 5)));
}

#[test]
fn d6_a_block_ends_though_another_alert_pauses_or_its_own_is_listed_still() {
    let ends = |world: World| world.turn().record.hold(HoldKind::Block).is_none();
    let blocked = || World::at(Column::Baking).held(HoldKind::Block);
    assert!(ends(blocked()));
    assert!(ends(blocked().fires(AlertAction::Pause, 5)));
    assert!(ends(resolved(blocked().fires(AlertAction::Block, 5))));
    assert!(!ends(blocked().fires(AlertAction::Abort, 9_000)));
}

#[test]
fn d6_an_alert_that_fires_still_blocks_the_next_attempt_and_its_pause_is_not_repeated() {
    let known = |action| {
        World::at(Column::Pending).fires(action, 60).but(|world| {
            let alert = &world.seen.alerts[0];
            let (fingerprint, starts_at) = (alert.fingerprint.clone(), alert.starts_at);
            world.record.alerts.push(Alert { fingerprint, starts_at, action });
        })
    };
    assert!(known(AlertAction::Block).turn().record.hold(HoldKind::Block).is_some());
    assert_eq!(known(AlertAction::Pause).turn().record.holds, []);
}

#[test]
fn d6_an_alert_is_another_one_when_it_fires_anew_or_carries_other_labels() {
    let noted = World::at(Column::Healthy).fires(AlertAction::Block, 10).won();
    let anew = noted.clone().but(|world| world.seen.alerts[0].starts_at = at(9_999));
    assert!(anew.turn().says(Reason::AlertBlock));
    let other = noted.but(|world| world.seen.alerts[0].fingerprint = "other".to_owned());
    assert!(other.turn().says(Reason::AlertBlock));
}

// === D: gates ===

#[test]
fn d3_a_manual_gate_waits_for_a_person_and_says_what_to_do() {
    let waits = World::at(Column::Waiting).planned(|plan| {
        plan.steps[1].gates = vec![external("qa"), manual("go")];
    });
    let words = |world: &World| {
        let turn = world.turn();
        assert_eq!((turn.raises(), turn.state()), (None, State::Waiting));
        let told = turn.entries.iter().find(|entry| entry.reason == Reason::GateClosed);
        told.and_then(|entry| entry.detail.clone()).expect("what is waited for is told")
    };
    assert_eq!(words(&waits), "gate qa has not answered");
    let red = waits.clone().gate("qa", GateAnswer::Closed("red".to_owned()));
    assert_eq!(words(&red), "gate qa is closed: red");
    let open = waits.gate("qa", GateAnswer::Open);
    assert_eq!(words(&open), "gate go waits for a person to promote");
    assert_eq!(open.asks(PROMOTE).turn().raises(), Some(percent(50)));
}

// === E: requests ===

#[test]
fn e2_an_abort_before_the_split_is_known_is_answered_and_changes_nothing() {
    let fresh = World::at(Column::Pending).but(|world| world.record.serving = None);
    let turn = fresh.unreadable().asks(Verb::Abort).turn();
    assert!(matches!(turn.record.place, Place::Pending { .. }));
    assert_eq!(turn.record.requests[0].1, Outcome::Accepted);
}

#[test]
fn e6_a_full_promotion_asks_for_the_gates_ahead_and_not_for_those_that_were_passed() {
    let gated = |step: usize| {
        World::at(Column::Baking).planned(|plan| plan.steps[step].gates = vec![external("qa")])
    };
    assert_eq!(gated(1).asks(FULL).turn().raises(), Some(Weight::FULL));
    let ahead = gated(2).asks(FULL).turn();
    assert_eq!((ahead.refusal(), ahead.raises()), (Some("gate qa is closed"), None));
    let open = gated(2).gate("qa", GateAnswer::Open).asks(FULL).turn();
    assert_eq!(open.raises(), Some(Weight::FULL));
    let by_hand =
        World::at(Column::Baking).planned(|plan| plan.steps[2].gates = vec![manual("go")]);
    assert_eq!(by_hand.asks(FULL).turn().raises(), Some(Weight::FULL));
}

#[test]
fn e5_the_last_word_about_a_step_counts() {
    let skipped = World::at(Column::Baking).asks(Verb::Skip).won();
    assert_eq!(skipped.turn().raises(), None);
    let promoted = skipped.asks(PROMOTE).turn();
    assert_eq!(promoted.raises(), Some(Weight::FULL));
    assert_eq!(promoted.record.waivers.len(), 1);
}

#[test]
fn e5_a_step_that_is_promoted_already_is_confirmed_first_and_ended_in_the_next_turn() {
    let arrived = World::at(Column::Shifting).asks(PROMOTE).won().read(50);
    let turn = arrived.turn();
    assert!(matches!(turn.record.place, Place::Baking { step: 1, .. }), "one change of place");
    assert_eq!((turn.effects.len(), turn.wake_in), (0, Some(std::time::Duration::ZERO)));
    assert_eq!(arrived.won().turn().raises(), Some(Weight::FULL));
}

#[test]
fn e5_a_raise_without_guards_stays_so_though_the_next_step_is_waived_meanwhile() {
    let raised = World::at(Column::Baking).verdict(Verdict::SourceError).asks(UNGUARDED).won();
    assert!(matches!(raised.record.place, Place::Shifting { step: 2, .. }));
    let skipped = raised.read(50).asks(Verb::Skip).turn();
    assert_eq!(skipped.raises(), Some(Weight::FULL));
    let steps: Vec<usize> = skipped.record.waivers.iter().map(|waiver| waiver.step).collect();
    assert_eq!(steps, [1, 2]);
}

#[test]
fn e7_a_policy_promotes_once() {
    let over = World::at(Column::Baking)
        .planned(|plan| plan.policies.inconclusive = OnInconclusive::Promote)
        .fires(AlertAction::Block, 5)
        .verdict(Verdict::Inconclusive { over_limit: true });
    assert!(over.turn().says(Reason::Inconclusive));
    let next = over.won().later(15).verdict(Verdict::Inconclusive { over_limit: true });
    assert!(!next.turn().says(Reason::Inconclusive));
    assert_eq!(next.turn().record.waivers.len(), 1);
    let waived = World::at(Column::Baking)
        .planned(|plan| plan.policies.inconclusive = OnInconclusive::Promote)
        .but(|world| {
            let kind = WaiverKind::Skip;
            world.record.waivers = vec![Waiver { step: 0, kind, actor: ada(), request: None }];
        });
    let turn = waived.verdict(Verdict::Inconclusive { over_limit: true }).turn();
    assert!(turn.says(Reason::Inconclusive), "another step's waiver is none of this one");
}

#[test]
fn e9_an_undo_that_is_refused_leaves_the_roles_as_they_are() {
    for column in [Column::Watching, Column::Healthy] {
        let gone = World::at(column).shows("blue", &["v0"]).asks(Verb::Undo);
        assert_eq!(gone.turn().record.header.sides, gone.record.header.sides);
        let roles = |record: &haldane_model::Record| {
            (record.header.test.clone(), record.header.home.clone())
        };
        let cut = gone.held(HoldKind::Person);
        assert_eq!(roles(&cut.turn().record), roles(&cut.record), "{column:?}");
    }
}

#[test]
fn e9_without_a_previous_revision_there_is_nothing_to_undo() {
    for column in [Column::Watching, Column::Healthy] {
        let first = World::at(column).but(|world| world.record.previous = None);
        let turn = first.asks(Verb::Undo).turn();
        assert!(turn.refusal().unwrap().contains("no previous revision"), "{column:?}");
    }
}

#[test]
fn e4_a_resume_grants_a_longest_bake_its_time_again() {
    let held = World::at(Column::Baking).held(HoldKind::Person).but(|world| {
        world.record.place = Place::Baking {
            step: 1,
            baked: std::time::Duration::from_secs(500),
            from: stamp(at(9_000)),
            done_at: Some(stamp(at(9_100))),
        };
    });
    let turn = held.verdict(Verdict::Inconclusive { over_limit: false }).asks(Verb::Resume).turn();
    assert!(matches!(turn.record.place, Place::Baking { baked, .. } if baked.as_secs() == 60));
    assert_eq!(turn.record.asserted(), percent(50));
}
