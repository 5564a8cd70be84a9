//! Rows C: what the checks say, and what the bake makes of it.

use haldane_machine_tests::world::{
    Column, GREEN, Told, World, at, counting, percent, ready, secs,
};
use haldane_model::{
    Block, Cause, Gap, GapPolicy, Health, HoldKind, OnDeadline, OnInconclusive, Place, Reason,
    State, Verb, Verdict, WaiverKind, Weight, Window,
};

const BREACH: Verdict = Verdict::Fail { breach: true };

#[test]
fn c1_a_breach_rolls_back_wherever_users_see_the_new_revision() {
    for column in Column::GUARDED {
        let turn = World::at(column).verdict(BREACH).turn();
        assert!(turn.rolls_back(), "{column:?}");
        assert!(turn.says(Reason::Breach), "{column:?}");
        assert!(turn.entries[0].finding.is_some(), "{column:?}: the measurement is told");
    }
    for column in Column::AT_REST {
        assert_ne!(World::at(column).verdict(BREACH).turn().state(), State::RollingBack);
    }
}

#[test]
fn c1_guards_are_on_while_shifting_from_the_first_write() {
    let shifting = World::at(Column::Shifting).but(|world| {
        world.record.place = Place::Shifting { step: 0, from: Weight::ZERO, restore: None };
    });
    assert!(shifting.read(0).verdict(BREACH).turn().rolls_back());
}

#[test]
fn c1_guards_are_on_while_paused() {
    let holds = [HoldKind::Person, HoldKind::Spec, HoldKind::AlertPause];
    for (column, hold) in Column::GUARDED.iter().flat_map(|column| holds.map(|hold| (column, hold)))
    {
        let turn = World::at(*column).held(hold).paused(true).verdict(BREACH).turn();
        assert!(turn.rolls_back(), "{column:?} under {hold:?}");
    }
}

#[test]
fn c1_guards_are_on_while_conflicted() {
    for column in Column::GUARDED {
        let held = World::at(column).held(HoldKind::Conflict { undone: None });
        assert!(held.clone().verdict(BREACH).turn().rolls_back(), "{column:?}");
        assert!(held.clone().asks(Verb::Abort).turn().rolls_back(), "{column:?}");
        assert!(held.verdict(Verdict::CanaryLost).turn().rolls_back(), "{column:?}");
    }
}

#[test]
fn c1_a_verdict_of_the_previous_revision_or_attempt_is_no_input() {
    for column in Column::GUARDED {
        let stale = |change: fn(&mut haldane_model::CheckSeen)| {
            World::at(column).verdict(BREACH).but(|world| {
                world.checks().for_each(change);
            })
        };
        for world in [
            stale(|check| check.attempt = 0),
            stale(|check| check.revision = Some("v1".into())),
            stale(|check| check.at_rest = true),
        ] {
            assert_ne!(world.turn().state(), State::RollingBack, "{column:?}");
            assert!(world.turn().record.judged_to.is_empty(), "{column:?}");
        }
    }
    let pass = World::at(Column::Baking).baked().but(|world| {
        world.checks().for_each(|check| check.attempt = 0);
    });
    assert_eq!(pass.turn().raises(), None, "nor is a Pass");
}

#[test]
fn c1_one_slot_is_judged_once() {
    let told = World::at(Column::Baking).verdict(Verdict::Fail { breach: false });
    assert!(told.turn().says(Reason::CheckFailed));
    let again = told.won();
    assert!(!again.turn().says(Reason::CheckFailed), "one sample counted twice");
    let judged = again.record.judged_to.clone();
    let older = again.later(5).verdict_on(BREACH, Window { begin: at(9_900), end: at(9_999) });
    assert_eq!(older.turn().state(), State::Baking, "judged already");
    assert_eq!(older.turn().record.judged_to, judged);
}

#[test]
fn c1_in_the_watch_a_changed_home_is_not_rolled_back_to() {
    let gone = World::at(Column::Watching).shows("blue", &["v3"]).verdict(BREACH);
    let turn = gone.turn();
    assert_eq!(turn.state(), State::Paused);
    assert!(turn.says(Reason::RollbackImpossible));
    assert!(turn.effects.is_empty());
    let dead = World::at(Column::Watching).health("blue", Health::Down).verdict(BREACH);
    assert!(dead.turn().says(Reason::RollbackImpossible));
    let unknown = World::at(Column::Watching).shows_nothing("blue").verdict(BREACH);
    assert!(unknown.turn().rolls_back(), "unknown counts as intact");
}

#[test]
fn c1_rollback_impossible_is_told_though_another_reason_asks_for_a_person_already() {
    let held = World::at(Column::Watching)
        .held(HoldKind::NeedsPerson(Reason::NoData))
        .shows("blue", &["v3"])
        .verdict(BREACH);
    assert!(held.turn().says(Reason::RollbackImpossible));
}

#[test]
fn c2_a_failure_within_its_limit_is_told_and_passes_nothing() {
    let turn = World::at(Column::Baking).baked().verdict(Verdict::Fail { breach: false }).turn();
    assert!(turn.says(Reason::CheckFailed));
    assert_eq!(turn.raises(), None);
}

#[test]
fn c3_a_lost_test_side_rolls_back() {
    for column in Column::GUARDED {
        assert!(World::at(column).verdict(Verdict::CanaryLost).turn().rolls_back(), "{column:?}");
        let down = World::at(column).health("green", Health::Down);
        assert!(down.turn().rolls_back(), "{column:?}: whatever the source says");
    }
}

#[test]
fn c3_silence_at_a_share_that_others_lowered_is_no_loss() {
    let lowered = World::at(Column::Baking).read(0).verdict(Verdict::CanaryLost);
    assert_ne!(lowered.turn().state(), State::RollingBack);
    let down = World::at(Column::Baking).read(0).health("green", Health::Down);
    assert_ne!(down.turn().state(), State::RollingBack);
}

#[test]
fn c3_a_lost_test_side_follows_its_policy() {
    let down = |policy| {
        let world = World::at(Column::Baking).policy(Gap::CanaryLost, policy);
        world.health("green", Health::Down).turn()
    };
    assert!(down(GapPolicy::Abort).rolls_back());
    assert_eq!(down(GapPolicy::Pause).state(), State::Paused);
    let held = down(GapPolicy::Hold);
    assert_eq!((held.state(), held.record.ticked.counting), (State::Baking, false));
    assert_eq!(down(GapPolicy::Ignore).state(), State::Baking);
}

#[test]
fn c4_a_test_side_that_is_down_at_share_zero_is_not_started() {
    let turn = World::at(Column::Pending).health("green", Health::Down).turn();
    assert!(turn.says(Reason::NotReady));
    assert_eq!(turn.state(), State::Pending);
}

#[test]
fn c4_what_keeps_a_side_from_being_ready_is_said_where_the_side_itself_told_of_it() {
    let why = "0 of 3 pods are ready: 2 CrashLoopBackOff, 1 ImagePullBackOff";
    let with_why = |world: World| {
        world.but(|world| {
            let green = world.seen.sides.get_mut(&"green".into()).expect("it was told");
            green.why = Some(why.into());
        })
    };
    let said = |world: World, reason: Reason| {
        let entries = with_why(world).turn().entries;
        let entry = entries.into_iter().find(|entry| entry.reason == reason);
        entry.and_then(|entry| entry.detail).unwrap_or_default()
    };
    let down = |column| World::at(column).health("green", Health::Down);
    let words = format!("green: {why}");
    assert_eq!(said(down(Column::Pending), Reason::NotReady), words);
    assert_eq!(said(down(Column::Baking), Reason::CanaryLost), words);
    let paused = down(Column::Baking).policy(Gap::CanaryLost, GapPolicy::Pause);
    assert_eq!(said(paused, Reason::CanaryLost), words);
    let unknown = World::at(Column::Pending).shows_nothing("green");
    assert!(said(unknown, Reason::RevisionUnknown).ends_with(why));
    let late = World::at(Column::Baking).but(|world| {
        world.record.progressed = std::time::Duration::from_secs(1_000_000);
    });
    let late = said(late, Reason::DeadlineReached);
    assert!(late.ends_with(&format!("; {words}")), "{late}");
}

#[test]
fn c5_silence_holds_by_default_and_neither_aborts_nor_promotes() {
    for (gap, verdict) in
        [(Reason::NoData, Verdict::NoData), (Reason::SourceError, Verdict::SourceError)]
    {
        for column in Column::GUARDED {
            let turn = World::at(column).verdict(verdict).turn();
            assert!(turn.says(gap), "{column:?}");
            assert_eq!((turn.raises(), turn.lowers()), (None, None), "{column:?}");
            assert!(!turn.record.ticked.counting, "{column:?}: no bake");
        }
    }
}

#[test]
fn c5_no_data_is_never_a_pass() {
    for policy in [GapPolicy::Hold, GapPolicy::Ignore, GapPolicy::Pause] {
        for (gap, verdict) in
            [(Gap::NoData, Verdict::NoData), (Gap::SourceError, Verdict::SourceError)]
        {
            let world = World::at(Column::Baking).baked().policy(gap, policy).verdict(verdict);
            assert_eq!(world.turn().raises(), None, "{policy:?} {verdict:?}");
        }
    }
}

#[test]
fn c5_no_data_leads_to_no_gate_either() {
    for verdict in
        [Verdict::NoData, Verdict::SourceError, Verdict::Inconclusive { over_limit: false }]
    {
        let gated = World::at(Column::Baking).baked().planned(|plan| {
            plan.steps[2].gates = vec![haldane_machine_tests::world::manual("go")];
        });
        let turn = gated.verdict(verdict).turn();
        assert!(matches!(turn.record.place, Place::Baking { .. }), "{verdict:?}");
    }
}

#[test]
fn c5_policies_are_obeyed() {
    for (gap, verdict) in [(Gap::NoData, Verdict::NoData), (Gap::SourceError, Verdict::SourceError)]
    {
        for column in Column::GUARDED {
            let under = |policy| World::at(column).policy(gap, policy).verdict(verdict).turn();
            assert!(under(GapPolicy::Abort).rolls_back(), "{column:?}");
            assert_eq!(under(GapPolicy::Pause).state(), State::Paused, "{column:?}");
            assert_eq!(under(GapPolicy::Hold).record.holds, [], "{column:?}");
            let ignored = under(GapPolicy::Ignore);
            assert!(ignored.record.holds.is_empty() && !ignored.says(Reason::NoData), "{column:?}");
        }
    }
}

#[test]
fn c5_a_broken_source_is_no_answer_for_a_raise_even_where_it_is_ignored() {
    let broken = |world: World| {
        world.policy(Gap::SourceError, GapPolicy::Ignore).verdict(Verdict::SourceError)
    };
    // Its gate is open, its raise was not sent, it is to begin: it waits, and says for what.
    let gated = World::at(Column::Waiting).planned(|plan| {
        plan.steps[1].gates = vec![haldane_machine_tests::world::external("go")];
    });
    let open = gated.gate("go", haldane_model::GateAnswer::Open);
    let unsent = World::at(Column::Shifting).read(10);
    for (what, world) in
        [("open", open), ("unsent", unsent), ("begins", World::at(Column::Pending))]
    {
        assert!(world.clone().turn().raises().is_some(), "{what}: it would rise");
        let turn = broken(world.clone()).turn();
        assert_eq!(turn.raises(), None, "{what}");
        assert!(turn.says(Reason::SourceError), "{what}: {:?}", turn.reasons());
        let answered = broken(world).won().later(15).verdict(Verdict::Pass);
        assert!(answered.turn().raises().is_some(), "{what}: the source answers again");
    }
    // A person names it.
    let without = Verb::Promote { full: false, without_guards: true };
    let promoted = broken(World::at(Column::Baking)).asks(without).turn();
    assert_eq!(promoted.raises(), Some(Weight::FULL));
    // It keeps nothing else: the bake counts, and the watch ends.
    assert!(broken(World::at(Column::Baking)).turn().record.ticked.counting);
    let watched = World::at(Column::Watching).but(|world| {
        if let Place::Watching { watched, .. } = &mut world.record.place {
            *watched = secs(600);
        }
    });
    assert_eq!(broken(watched).turn().record.place, Place::Healthy);
}

#[test]
fn c5_a_later_answer_ends_a_hold_but_never_a_pause() {
    let held = World::at(Column::Baking).verdict(Verdict::NoData).won();
    let answered = held.later(15).verdict(Verdict::Pass).turn();
    assert_eq!((answered.state(), answered.record.ticked.counting), (State::Baking, true));
    let paused = World::at(Column::Baking).policy(Gap::NoData, GapPolicy::Pause);
    let paused = paused.verdict(Verdict::NoData).won().later(15).verdict(Verdict::Pass);
    assert_eq!(paused.turn().state(), State::Paused);
}

#[test]
fn c5_silence_at_share_zero_holds_nothing() {
    let world = World::at(Column::Baking).planned(|plan| plan.steps[1].weight = Weight::ZERO);
    let turn = world.read(0).verdict(Verdict::NoData).turn();
    assert_eq!(turn.reasons(), []);
    assert!(turn.record.ticked.counting, "silence at 0 is an answer");
}

#[test]
fn c6_inconclusive_is_an_answer_and_no_pass() {
    let world = World::at(Column::Baking).verdict(Verdict::Inconclusive { over_limit: false });
    assert!(world.turn().record.ticked.counting);
    assert_eq!(world.baked().turn().raises(), None);
}

#[test]
fn c6_a_pass_must_cover_this_bake_and_end_after_it() {
    let window = |begin, end| {
        World::at(Column::Baking)
            .baked()
            .verdict_on(Verdict::Pass, Window { begin: at(begin), end: at(end) })
    };
    assert_eq!(window(9_930, 9_990).turn().raises(), Some(Weight::FULL));
    assert_eq!(window(9_930, 9_989).turn().raises(), None, "ends before the bake did");
    assert_eq!(window(9_899, 9_999).turn().raises(), None, "begins before the bake did");
    let unbaked = World::at(Column::Baking);
    assert_eq!(unbaked.turn().raises(), None, "the bake is not over");
}

#[test]
fn c7_too_many_inconclusive_looks_follow_their_policy() {
    let over = Verdict::Inconclusive { over_limit: true };
    for column in Column::GUARDED {
        let under = |policy| {
            let world = World::at(column).planned(|plan| plan.policies.inconclusive = policy);
            world.verdict(over).turn()
        };
        let paused = under(OnInconclusive::Pause);
        assert_eq!(paused.state(), State::Paused, "{column:?}");
        assert!(paused.says(Reason::Inconclusive), "{column:?}");
        assert!(under(OnInconclusive::Abort).rolls_back(), "{column:?}");
    }
    let promoted = World::at(Column::Baking)
        .planned(|plan| plan.policies.inconclusive = OnInconclusive::Promote)
        .verdict(over)
        .turn();
    assert_eq!(promoted.raises(), Some(Weight::FULL));
    assert!(
        promoted.entries.iter().any(|entry| entry.actor.to_string() == "policy onInconclusive")
    );
}

#[test]
fn c8_a_step_ends_when_every_gating_check_passed() {
    let turn = World::at(Column::Baking).baked().turn();
    assert_eq!(turn.raises(), Some(Weight::FULL));
    assert!(turn.says(Reason::StepPassed));
    assert!(matches!(turn.record.place, Place::Shifting { step: 2, restore: None, .. }));
    let two = World::at(Column::Baking).baked().planned(|plan| {
        plan.checks.push(haldane_machine_tests::world::check("latency"));
    });
    assert_eq!(two.clone().turn().raises(), None, "one of two is silent");
    let dry = two.planned(|plan| plan.checks[1].dry_run = true);
    assert_eq!(dry.turn().raises(), Some(Weight::FULL), "a dry run decides nothing");
}

#[test]
fn c8_a_step_at_zero_ends_by_time_and_no_failing_guard() {
    let zero = World::at(Column::Baking).baked().planned(|plan| {
        plan.steps[1].weight = Weight::ZERO;
    });
    let zero = zero.read(0);
    assert_eq!(zero.clone().verdict(Verdict::NoData).turn().raises(), Some(Weight::FULL));
    let failing = zero.verdict(Verdict::Fail { breach: false });
    assert_eq!(failing.turn().raises(), None);
}

#[test]
fn c9_a_bake_without_a_pass_is_told_once() {
    let waits =
        World::at(Column::Baking).baked().verdict(Verdict::Inconclusive { over_limit: false });
    assert!(waits.turn().says(Reason::AwaitingPass));
    assert!(!waits.won().turn().says(Reason::AwaitingPass));
}

#[test]
fn c10_the_longest_bake_follows_its_policy() {
    let over = |policy| {
        let world = World::at(Column::Baking).baked().planned(|plan| {
            plan.policies.inconclusive = policy;
            plan.steps[1].max_bake = Some(secs(60));
        });
        world.verdict(Verdict::Inconclusive { over_limit: false }).turn()
    };
    let paused = over(OnInconclusive::Pause);
    assert_eq!(paused.state(), State::Paused);
    assert!(paused.says(Reason::MaxBakeReached));
    assert_eq!(over(OnInconclusive::Promote).raises(), Some(Weight::FULL));
    assert!(over(OnInconclusive::Abort).rolls_back());
}

#[test]
fn c11_the_last_step_ends_by_time_with_no_guard_failing() {
    let last = World::at(Column::Baking).but(|world| {
        world.record.place = Place::Baking {
            step: 2,
            baked: secs(60),
            from: haldane_machine_tests::world::stamp(at(9_900)),
            done_at: Some(haldane_machine_tests::world::stamp(at(9_990))),
        };
    });
    let last = last.read(100);
    let turn = last.turn();
    assert!(matches!(turn.record.place, Place::Promoting { .. }));
    for verdict in [Verdict::Fail { breach: false }, Verdict::NoData, Verdict::SourceError] {
        let held = last.clone().verdict(verdict).turn();
        assert!(matches!(held.record.place, Place::Baking { .. }), "{verdict:?}");
    }
}

#[test]
fn c12_the_watch_ends_by_time_with_no_guard_failing() {
    let over = World::at(Column::Watching).but(|world| {
        world.record.place = Place::Watching { watched: secs(600), restore: None };
    });
    let turn = over.turn();
    assert_eq!(turn.record.place, Place::Healthy);
    assert!(turn.says(Reason::WatchEnded));
    assert_eq!(
        (turn.record.header.test.as_str(), turn.record.header.home.as_str()),
        ("blue", "green")
    );
    assert_eq!(turn.effects, []);
    let failing = over.verdict(Verdict::Fail { breach: false }).turn();
    assert!(matches!(failing.record.place, Place::Watching { .. }));
}

#[test]
fn c13_a_rollout_that_takes_too_long_asks_for_a_person_or_aborts() {
    for column in Column::IN_FLIGHT.into_iter().chain([Column::Pending]) {
        let late = World::at(column).but(|world| world.record.progressed = secs(3_600));
        let turn = late.turn();
        assert!(turn.record.is_paused(), "{column:?}");
        assert!(turn.says(Reason::DeadlineReached), "{column:?}");
        let abort = late.planned(|plan| plan.on_deadline = OnDeadline::Abort);
        if column != Column::Pending {
            assert!(abort.turn().rolls_back(), "{column:?}");
        }
    }
    let watching = World::at(Column::Watching).verdict(Verdict::Fail { breach: false });
    let late = watching.but(|world| world.record.progressed = secs(4_200));
    assert_eq!(late.turn().record.place, Place::Healthy);
}

#[test]
fn c13_a_persons_hold_does_not_run_against_the_deadline() {
    let held = World::at(Column::Baking).held(HoldKind::Person).later(100);
    assert_eq!(held.turn().record.progressed, secs(0));
    assert_eq!(World::at(Column::Baking).later(100).turn().record.progressed, secs(100));
}

// === n1: what counts as bake ===

fn counted(world: World) -> u64 {
    let world = world.but(|world| world.record.ticked = counting(world.now));
    let before = match world.record.place {
        Place::Baking { baked, .. } => baked,
        Place::Watching { watched, .. } => watched,
        _ => panic!("nothing counts there"),
    };
    let turn = world.later(10).turn();
    match turn.record.place {
        Place::Baking { baked, .. } => (baked - before).as_secs(),
        Place::Watching { watched, .. } => (watched - before).as_secs(),
        other => panic!("moved to {other:?}"),
    }
}

#[test]
fn n1_an_interval_counts_only_where_nothing_is_wrong_at_either_end() {
    for column in [Column::Baking, Column::Watching] {
        let calm = || World::at(column);
        assert_eq!(counted(calm()), 10, "{column:?}");
        let wrong: Vec<(&str, World)> = vec![
            ("no data", calm().verdict(Verdict::NoData)),
            ("source broken", calm().verdict(Verdict::SourceError)),
            ("unread", calm().but(|world| world.seen.entries.clear())),
            ("unsettled", calm().but(|world| world.reading().settled = false)),
            ("a person's hold", calm().held(HoldKind::Person)),
            ("a conflict", calm().held(HoldKind::Conflict { undone: None })),
            ("lease unsure", calm().lease(haldane_model::LeaseSeen::Unsure)),
        ];
        for (what, world) in wrong {
            assert_eq!(counted(world), 0, "{column:?}: {what}");
        }
        let blocked = calm().held(HoldKind::Block).fires(haldane_model::AlertAction::Block, 5);
        assert_eq!(counted(blocked), 10, "{column:?}: an alert that blocks does not stop the bake");
    }
}

#[test]
fn n1_the_smaller_of_both_clocks_counts_and_a_restart_counts_nothing() {
    let base = World::at(Column::Baking).but(|world| world.record.ticked = counting(world.now));
    let baked = |world: World| match world.turn().record.place {
        Place::Baking { baked, .. } => (baked - secs(30)).as_secs(),
        other => panic!("moved to {other:?}"),
    };
    let stepped = base.clone().later(10).but(|world| world.now.wall = at(13_000));
    assert_eq!(baked(stepped), 10, "a wall clock set forward");
    let back = base.clone().later(10).but(|world| world.now.wall = at(9_000));
    assert_eq!(baked(back), 0, "a wall clock set back");
    let boot = base.clone().later(10).but(|world| world.now.boot = 2);
    assert_eq!(baked(boot), 0, "another boot");
    let first = base.later(10).but(|world| world.record.ticked.counting = false);
    assert_eq!(baked(first), 0, "not counting at the begin");
}

#[test]
fn n1_a_home_side_that_changed_begins_the_bake_again() {
    let changed = World::at(Column::Baking).shows("blue", &["v9"]);
    let turn = changed.turn();
    assert!(turn.says(Reason::HomeChanged));
    assert!(matches!(turn.record.place, Place::Baking { baked, .. } if baked.is_zero()));
}

#[test]
fn a_waiver_does_not_survive_a_new_attempt() {
    let waived = World::at(Column::Degraded).but(|world| {
        world.record.waivers.push(haldane_model::Waiver {
            step: 0,
            kind: WaiverKind::Skip,
            actor: haldane_machine_tests::world::ada(),
            request: None,
        });
        world.record.evidence.insert("errors".into(), haldane_model::Evidence::default());
    });
    let next = waived.asks(Verb::Retry { without: None }).won().silent().verdict(Verdict::Pass);
    assert!(matches!(next.record.place, Place::Pending { .. }), "{:?}", next.record.place);
    let started = next.turn();
    assert_eq!(started.raises(), Some(percent(10)));
    assert_eq!((started.record.waivers.len(), started.record.attempt), (0, 2));
    assert!(started.record.evidence.is_empty() && started.record.judged_to.is_empty());
}

#[test]
fn causes_of_policies_are_named() {
    let turn = World::at(Column::Baking)
        .policy(Gap::NoData, GapPolicy::Abort)
        .verdict(Verdict::NoData)
        .turn();
    assert!(matches!(turn.record.place, Place::RollingBack { cause: Cause::NoData, .. }));
    let recovered = World::at(Column::Baking).health("green", ready()).turn();
    assert_eq!(recovered.state(), State::Baking);
}

#[test]
fn c3_a_policy_to_hold_on_loss_holds_nothing_while_nothing_is_lost() {
    let world = World::at(Column::Baking).policy(Gap::CanaryLost, GapPolicy::Hold);
    assert!(!world.turn().record.told.contains(&Block::NoData));
    let lost = world.health(GREEN, Health::Down).turn();
    assert!(lost.record.told.contains(&Block::NoData));
    assert_ne!(lost.state(), State::RollingBack);
}
