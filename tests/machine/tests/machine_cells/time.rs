//! Time: what runs against the deadline, when a check is due, and when a turn wants the next look.

use std::time::Duration;

use haldane_machine_tests::world::{
    Column, Told, World, at, counting, external, manual, percent, secs, stamp,
};
use haldane_model::{
    AlertAction, GateAnswer, HoldKind, OnInconclusive, Place, Reason, Verb, Verdict, Window,
};

const PROMOTE: Verb = Verb::Promote { full: false, without_guards: false };
const UNCLEAR: Verdict = Verdict::Inconclusive { over_limit: false };

/// At the second step, this much of its minute baked, and counting.
fn baking(baked: u64) -> World {
    World::at(Column::Baking).but(|world| {
        world.record.place =
            Place::Baking { step: 1, baked: secs(baked), from: stamp(at(9_900)), done_at: None };
        world.record.ticked = counting(world.now);
    })
}

fn wake(world: &World) -> Duration {
    world.turn().wake_in.expect("the rollout is not over")
}

// === the deadline ===

#[test]
fn a_manual_gate_that_nobody_opened_does_not_run_against_the_deadline() {
    let progressed = |world: World| world.later(100).turn().record.progressed;
    let gated = |column, gate: &haldane_model::Gate| {
        World::at(column).planned(|plan| plan.steps[1].gates = vec![gate.clone()])
    };
    assert_eq!(progressed(gated(Column::Waiting, &manual("go"))), secs(0));
    assert_eq!(progressed(gated(Column::Waiting, &external("qa"))), secs(100));
    assert_eq!(progressed(gated(Column::Baking, &manual("go"))), secs(100), "it was opened");
    let opened = gated(Column::Waiting, &manual("go")).silent().asks(PROMOTE).won();
    assert_eq!(progressed(opened), secs(100), "opened, and waiting for the guards");
    for column in [Column::Pending, Column::Watching] {
        assert_eq!(progressed(World::at(column).silent()), secs(100), "{column:?}");
    }
    for column in [Column::Healthy, Column::Degraded] {
        assert_eq!(progressed(World::at(column)), secs(0), "{column:?}: nothing is under way");
    }
}

#[test]
fn a_deadline_that_just_passed_is_looked_at_at_once_and_not_again() {
    let closed = World::at(Column::Waiting)
        .planned(|plan| plan.steps[1].gates = vec![external("qa")])
        .but(|world| world.record.progressed = secs(3_590));
    assert_eq!(wake(&closed.clone().later(9)), secs(30), "not yet");
    let passed = closed.later(10);
    assert_eq!(wake(&passed), secs(0));
    assert!(!passed.turn().says(Reason::DeadlineReached));
    let next = passed.won();
    assert!(next.turn().says(Reason::DeadlineReached));
    assert_eq!(wake(&next), secs(30));
}

// === what is due ===

#[test]
fn a_check_may_be_silent_until_it_is_due() {
    let silent = |age: u64| {
        let world = World::at(Column::Baking).silent().planned(|plan| {
            plan.checks[0].initial_delay = secs(10);
            plan.checks[0].interval = secs(20);
        });
        world.but(|world| {
            let from = stamp(world.now.after(Duration::ZERO).wall - secs(age));
            world.record.place = Place::Baking { step: 1, baked: secs(0), from, done_at: None };
        })
    };
    let counts = |world: World| world.turn().record.ticked.counting;
    // Ten seconds of delay, an interval of twenty, and fifteen for the first answer.
    assert!(counts(silent(44)), "not asked yet");
    assert!(!counts(silent(45)), "asked, and silent");
    assert!(!counts(World::at(Column::Watching).silent()), "in the watch all were asked long ago");
}

// === the next look ===

#[test]
fn a_bake_is_looked_at_again_when_it_is_over_and_not_before() {
    assert_eq!(wake(&baking(50)), secs(10));
    assert_eq!(wake(&baking(50).verdict(Verdict::NoData)), secs(30), "what does not count");
    let over = baking(60).verdict(UNCLEAR).won();
    assert_eq!(wake(&over), secs(30), "over: nothing to wait for but answers");
}

#[test]
fn a_longest_bake_that_just_ran_out_is_looked_at_at_once_and_not_again() {
    let longest = |baked| {
        let world = baking(baked).verdict(UNCLEAR).planned(|plan| {
            plan.steps[1].max_bake = Some(secs(90));
            plan.policies.inconclusive = OnInconclusive::Pause;
        });
        world.but(|world| {
            if let Place::Baking { done_at, .. } = &mut world.record.place {
                *done_at = Some(stamp(at(9_990)));
            }
        })
    };
    assert_eq!(wake(&longest(80).later(9)), secs(30), "not yet");
    assert_eq!(wake(&longest(80).later(10)), secs(0));
    assert!(longest(80).later(10).won().turn().says(Reason::MaxBakeReached));
    let stopped = longest(80).later(10).but(|world| world.record.ticked.counting = false);
    assert_eq!(wake(&stopped), secs(30), "nothing counted");
    // An alert blocks: the bake goes on, past its longest, and nobody spins.
    let blocked = longest(95).held(HoldKind::Block).fires(AlertAction::Block, 5).later(10);
    let blocked = blocked.verdict(Verdict::Pass).won();
    assert_eq!(wake(&blocked.later(1)), secs(30));
}

// === the end of a bake ===

#[test]
fn a_bake_is_over_when_its_time_is_and_not_before() {
    let done = |world: World| match world.turn().record.place {
        Place::Baking { done_at, .. } => done_at,
        other => panic!("moved to {other:?}"),
    };
    assert_eq!(done(baking(30).verdict(UNCLEAR).later(29)), None);
    let over = baking(30).verdict(UNCLEAR).later(30);
    assert_eq!(done(over.clone()), Some(stamp(over.now.wall)));
    assert_eq!(done(over.won().later(5)), Some(stamp(over.now.wall)), "it was over then");
}

#[test]
fn a_bake_awaits_its_pass_only_once_every_check_was_asked_after_it() {
    let looked = |end| {
        let window = Window { begin: at(9_930), end: at(end) };
        World::at(Column::Baking).baked().verdict_on(UNCLEAR, window).turn()
    };
    assert!(!looked(9_989).says(Reason::AwaitingPass));
    assert!(looked(9_990).says(Reason::AwaitingPass));
}

#[test]
fn an_open_gate_and_a_lowered_share_are_looked_at_soon() {
    let open = World::at(Column::Waiting)
        .planned(|plan| plan.steps[1].gates = vec![external("qa")])
        .gate("qa", GateAnswer::Open);
    assert_eq!(wake(&open), secs(0), "a new place");
    assert_eq!(wake(&World::at(Column::Shifting)), Duration::from_millis(500), "a write");
    assert_eq!(wake(&World::at(Column::Baking).read(80)), Duration::from_millis(500));
    assert_eq!(open.turn().raises(), Some(percent(50)));
}
