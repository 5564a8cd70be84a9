//! Rows E: what people ask for.

use haldane_machine_tests::world::{Column, Told, World, external, manual, percent};
use haldane_model::{
    AlertAction, Cause, GateAnswer, Ground, HoldKind, Outcome, Place, Reason, State, Verb, Verdict,
    WaiverKind, Weight,
};

const PROMOTE: Verb = Verb::Promote { full: false, without_guards: false };
const FULL: Verb = Verb::Promote { full: true, without_guards: false };
const UNGUARDED: Verb = Verb::Promote { full: false, without_guards: true };
const RETRY: Verb = Verb::Retry { without: None };

fn outcome(world: &World) -> Option<Outcome> {
    world.turn().record.requests.last().map(|(_, outcome)| outcome.clone())
}

#[test]
fn e1_a_stale_request_is_refused_in_every_place() {
    for column in Column::ALL {
        for verb in [PROMOTE, Verb::Skip, Verb::Pause, Verb::Resume, RETRY, Verb::Undo] {
            let stale = World::at(column).asks(verb.clone());
            let stale = stale.but(|world| world.seen.requests[0].attempt = Some(99));
            let turn = stale.turn();
            assert!(turn.refusal().is_some(), "{column:?} {verb:?}");
            assert!(turn.says(Reason::RequestRefused), "{column:?} {verb:?}");
            assert_eq!(turn.record.holds, [], "{column:?} {verb:?}");
        }
    }
    let step = World::at(Column::Baking).baked().asks(PROMOTE);
    let step = step.but(|world| world.seen.requests[0].step = Some(0));
    assert!(step.turn().refusal().unwrap().contains("made for step 1, current is 2"));
    let revision = World::at(Column::Baking).asks(Verb::Pause);
    let revision = revision.but(|world| world.seen.requests[0].revision = Some("v1".into()));
    assert!(revision.turn().refusal().unwrap().contains("revision v1"));
}

#[test]
fn e1_an_abort_is_never_stale() {
    let stale = World::at(Column::Baking).asks(Verb::Abort).but(|world| {
        world.seen.requests[0].attempt = Some(99);
        world.seen.requests[0].revision = None;
    });
    assert!(stale.turn().rolls_back());
}

#[test]
fn e2_an_abort_rolls_back_and_is_answered() {
    for column in Column::GUARDED {
        let world = World::at(column).asks(Verb::Abort);
        assert!(world.turn().rolls_back(), "{column:?}");
        assert_eq!(outcome(&world), Some(Outcome::Accepted), "{column:?}");
    }
    let pending = World::at(Column::Pending).asks(Verb::Abort).turn();
    assert_eq!(pending.state(), State::Degraded);
    assert_eq!(pending.record.failed, Some("v2".into()));
    let healthy = World::at(Column::Healthy).asks(Verb::Abort).turn();
    assert!(healthy.refusal().unwrap().contains("haldane undo"));
    let changed = World::at(Column::Watching).shows("blue", &["v3"]).asks(Verb::Abort).turn();
    assert!(changed.says(Reason::RollbackImpossible));
    for column in [Column::RollingBack, Column::Degraded] {
        let world = World::at(column).asks(Verb::Abort);
        assert_eq!(outcome(&world), Some(Outcome::Accepted));
        assert_eq!(world.turn().record.place.state(), world.record.place.state());
    }
}

#[test]
fn e3_a_pause_holds_wherever_one_is() {
    for column in Column::ALL {
        for world in [World::at(column).asks(Verb::Pause), World::at(column).paused(true)] {
            let turn = world.turn();
            assert!(turn.record.is_paused(), "{column:?}");
            assert!(turn.says(Reason::PausedByPerson), "{column:?}");
            let state = match column {
                Column::RollingBack => State::RollingBack,
                Column::Degraded => State::Degraded,
                _ => State::Paused,
            };
            assert_eq!((turn.state(), turn.raises()), (state, None), "{column:?}");
        }
    }
}

#[test]
fn e4_resume_lifts_a_persons_pause_and_the_file_lifts_its_own() {
    for column in Column::ALL {
        let held = World::at(column).held(HoldKind::Person).asks(Verb::Resume);
        let still = column == Column::RollingBack;
        assert_eq!(held.turn().record.is_paused(), still, "{column:?}");
        let file = World::at(column).held(HoldKind::Spec).turn();
        assert_eq!(file.record.is_paused(), still, "{column:?}");
    }
    let other = World::at(Column::Baking).held(HoldKind::Spec).paused(true).asks(Verb::Resume);
    assert!(other.turn().refusal().unwrap().contains("Spec"));
    let none = World::at(Column::Baking).asks(Verb::Resume);
    assert_eq!(outcome(&none), Some(Outcome::Accepted));
}

#[test]
fn e4_together_with_a_pause_the_pause_wins() {
    for world in [
        World::at(Column::Baking).asks(Verb::Pause).asks(Verb::Resume),
        World::at(Column::Baking).held(HoldKind::Person).asks(Verb::Resume).asks(Verb::Pause),
    ] {
        assert_eq!(world.turn().state(), State::Paused);
    }
}

#[test]
fn e4_resume_after_a_conflict_asserts_what_is_ours() {
    let conflict = || World::at(Column::Baking).held(HoldKind::Conflict { undone: None });
    let above = conflict().read(80).asks(Verb::Resume).turn();
    assert_eq!((above.lowers(), above.state()), (Some(percent(50)), State::Baking));
    let below = conflict().read(0).asks(Verb::Resume);
    let turn = below.turn();
    assert!(matches!(turn.record.place, Place::Shifting { step: 1, restore: Some(_), .. }));
    assert_eq!(turn.raises(), None);
    let looked = below.won().later(20).verdict(Verdict::Pass).turn();
    assert_eq!(looked.raises(), Some(percent(50)));
}

#[test]
fn e5_promote_ends_the_step_that_bakes() {
    let turn = World::at(Column::Baking).asks(PROMOTE).turn();
    assert_eq!(turn.raises(), Some(Weight::FULL));
    assert!(turn.says(Reason::PromotedByPerson));
    assert!(turn.entries.iter().any(|entry| entry.actor.to_string() == "ada"), "who is named");
    let gated = World::at(Column::Baking).planned(|plan| plan.steps[2].gates = vec![manual("go")]);
    let waits = gated.asks(PROMOTE).turn();
    assert!(matches!(waits.record.place, Place::Waiting { step: 2, .. }));
}

#[test]
fn e5_promote_opens_manual_gates_alone() {
    let waiting =
        |gate| World::at(Column::Waiting).planned(move |plan| plan.steps[1].gates = vec![gate]);
    assert_eq!(waiting(manual("go")).asks(PROMOTE).turn().raises(), Some(percent(50)));
    let shut = waiting(external("qa")).asks(PROMOTE).turn();
    assert_eq!((shut.refusal(), shut.raises()), (Some("gate qa is closed"), None));
    let open = waiting(external("qa")).gate("qa", GateAnswer::Open).asks(PROMOTE).turn();
    assert_eq!(open.raises(), Some(percent(50)));
}

#[test]
fn e5_a_promote_while_shifting_is_noted_for_the_step() {
    let noted = World::at(Column::Shifting).asks(PROMOTE);
    assert_eq!(outcome(&noted), Some(Outcome::Accepted));
    let confirmed = noted.won().read(50).won();
    assert_eq!(confirmed.turn().raises(), Some(Weight::FULL));
}

#[test]
fn e5_promote_and_skip_are_refused_where_no_step_is_under_way() {
    use Column::{Degraded, Healthy, Pending, Promoting, RollingBack, Watching};
    for column in [Pending, Promoting, Watching, Healthy, RollingBack, Degraded] {
        for verb in [PROMOTE, FULL, Verb::Skip] {
            let turn = World::at(column).asks(verb.clone()).turn();
            assert!(turn.refusal().is_some(), "{column:?} {verb:?}");
        }
    }
    assert!(World::at(Column::Waiting).asks(Verb::Skip).turn().refusal().is_some());
}

#[test]
fn e5_promote_is_refused_under_a_hold_and_names_it() {
    for hold in [
        HoldKind::Person,
        HoldKind::AlertPause,
        HoldKind::Conflict { undone: None },
        HoldKind::Block,
    ] {
        let world = World::at(Column::Baking).held(hold).fires(AlertAction::Block, 5).asks(PROMOTE);
        let turn = world.turn();
        assert!(turn.refusal().unwrap().contains(hold.word()), "{hold:?}");
        assert_eq!(turn.raises(), None, "{hold:?}");
    }
    let asked = World::at(Column::Baking).held(HoldKind::NeedsPerson(Reason::Inconclusive));
    assert_eq!(asked.asks(PROMOTE).turn().raises(), Some(Weight::FULL), "a person was asked for");
}

#[test]
fn e5_promote_waits_for_guards_that_do_not_answer_unless_without_them() {
    let silent = World::at(Column::Baking).verdict(Verdict::SourceError);
    assert_eq!(silent.clone().asks(PROMOTE).turn().raises(), None);
    let raised = silent.asks(UNGUARDED).turn();
    assert_eq!(raised.raises(), Some(Weight::FULL));
    let named = raised.record.waivers.iter().any(|waiver| match &waiver.kind {
        WaiverKind::Promote { without, .. } => *without == ["main".into()],
        WaiverKind::Open { .. } | WaiverKind::Skip | WaiverKind::Policy => false,
    });
    assert!(named, "the silent sources are named");
    let breach = World::at(Column::Baking).verdict(Verdict::Fail { breach: true }).asks(UNGUARDED);
    assert!(breach.turn().rolls_back(), "a breach still rolls back");
}

#[test]
fn e6_a_full_promotion_goes_to_the_last_step() {
    let first = World::at(Column::Baking).but(|world| {
        world.record.place = Place::Baking {
            step: 0,
            baked: std::time::Duration::ZERO,
            from: haldane_machine_tests::world::stamp(world.now.wall),
            done_at: None,
        };
    });
    let turn = first.read(10).asks(FULL).but(|world| world.seen.requests[0].step = Some(0)).turn();
    assert_eq!(turn.raises(), Some(Weight::FULL));
    assert!(
        matches!(turn.record.place, Place::Shifting { step: 2, from, .. } if from == percent(10))
    );
}

#[test]
fn e7_a_skip_needs_no_pass_but_its_bake() {
    let skip = World::at(Column::Baking).verdict(Verdict::Inconclusive { over_limit: false });
    let early = skip.clone().asks(Verb::Skip);
    assert_eq!(early.turn().raises(), None);
    assert!(early.turn().says(Reason::EvidenceWaived));
    assert_eq!(skip.baked().asks(Verb::Skip).turn().raises(), Some(Weight::FULL));
    let breach = World::at(Column::Baking).asks(Verb::Skip).won();
    assert!(breach.later(5).verdict(Verdict::Fail { breach: true }).turn().rolls_back());
}

#[test]
fn e7_a_skipped_step_is_not_held_for_inconclusive_looks() {
    let skipped = World::at(Column::Baking).asks(Verb::Skip).won().later(15);
    let over = skipped.verdict(Verdict::Inconclusive { over_limit: true });
    assert_eq!(over.turn().record.holds, []);
}

#[test]
fn e8_retry_is_for_after_a_rollback() {
    for column in Column::ALL {
        let turn = World::at(column).asks(RETRY).turn();
        if column == Column::Degraded {
            assert!(matches!(turn.record.place, Place::Pending { .. }));
            assert!(turn.says(Reason::Retried));
        } else {
            assert!(turn.refusal().is_some(), "{column:?}");
        }
    }
    let held = World::at(Column::Degraded).held(HoldKind::Person).asks(RETRY).turn();
    assert!(held.refusal().unwrap().contains("resume first"));
}

#[test]
fn e8_the_failed_revision_begins_again_after_retry_alone() {
    let degraded = World::at(Column::Degraded);
    assert_eq!(degraded.settled().record.place.state(), State::Degraded);
    let retried = degraded.asks(RETRY).won().verdict(Verdict::Pass).turn();
    assert_eq!(retried.raises(), Some(percent(10)));
}

#[test]
fn e9_undo_is_one_write_under_a_rollbacks_rules() {
    let watch = World::at(Column::Watching).asks(Verb::Undo).turn();
    assert!(watch.rolls_back());
    assert_eq!(watch.record.header.home, "blue".into());
    let healthy = World::at(Column::Healthy).asks(Verb::Undo).turn();
    assert!(healthy.rolls_back(), "{:?}", healthy.refusal());
    assert_eq!(healthy.record.header.home, "blue".into(), "the roles swap first");
    assert!(matches!(
        healthy.record.place,
        Place::RollingBack { cause: Cause::Undone, out_of: Ground::Rest, .. }
    ));
    for column in [Column::Pending, Column::Waiting, Column::Baking, Column::Degraded] {
        assert!(World::at(column).asks(Verb::Undo).turn().refusal().is_some(), "{column:?}");
    }
}

#[test]
fn e9_undo_needs_the_previous_revision_intact() {
    for column in [Column::Watching, Column::Healthy] {
        let gone = World::at(column).shows("blue", &["v0"]).asks(Verb::Undo);
        assert!(gone.turn().refusal().is_some(), "{column:?}");
        assert_eq!(gone.turn().lowers(), None, "{column:?}");
        let dead = World::at(column).health("blue", haldane_model::Health::Down).asks(Verb::Undo);
        assert!(dead.turn().refusal().is_some(), "{column:?}");
    }
}

#[test]
fn e9_undo_never_leaves_what_serves_for_the_same_revision() {
    // A failed attempt whose idle side was set back: the revision before is the one that serves.
    let reverted = World::at(Column::Degraded).shows("green", &["v1"]).settled();
    assert_eq!(reverted.record.place, Place::Healthy);
    let turn = reverted.asks(Verb::Undo).turn();
    assert!(turn.refusal().unwrap().contains("no previous revision"));
    assert_eq!(turn.effects, []);
}

#[test]
fn every_request_gets_one_answer_however_often_it_is_repeated() {
    for column in Column::ALL {
        for verb in
            [PROMOTE, FULL, Verb::Skip, Verb::Abort, Verb::Pause, Verb::Resume, RETRY, Verb::Undo]
        {
            let asked = World::at(column).asks(verb.clone());
            let once = asked.won();
            let id = &asked.seen.requests[0].id;
            assert!(once.record.outcome(id).is_some(), "{column:?} {verb:?}");
            let twice = once.won().won();
            let count = twice.record.requests.iter().filter(|(known, _)| known == id).count();
            assert_eq!(count, 1, "{column:?} {verb:?}");
            assert_eq!(twice.record.outcome(id), once.record.outcome(id));
        }
    }
}
