//! Where the rows A, B and C begin and end: the split at its limits, and what a raise asks for.

use haldane_machine_tests::world::{
    Column, EDGE, KNOWN, Told, World, at, check, percent, secs, stamp,
};
use haldane_model::{
    Direction, Entry, Evidence, Exposure, Gap, GapPolicy, Health, HoldKind, Mark, OnDeadline,
    OnInconclusive, Part, Place, Reason, SpecSeen, State, Step, Verb, Verdict, Waiver, WaiverKind,
    Weight, Window, WriteSeen,
};

const CONFLICT: HoldKind = HoldKind::Conflict { undone: None };

fn waiver(step: usize, kind: WaiverKind) -> Waiver {
    let actor = haldane_machine_tests::world::ada();
    Waiver { step, kind, actor, request: None }
}

fn shifting(step: usize, from: u32) -> World {
    World::at(Column::Shifting).but(|world| {
        world.record.place = Place::Shifting { step, from: percent(from), restore: None };
    })
}

// === A: drift ===

#[test]
fn a_share_that_is_asserted_is_nobodys_write() {
    for column in Column::ALL {
        assert_eq!(World::at(column).turn().record.foreign, [], "{column:?}");
    }
}

#[test]
fn before_the_sides_are_known_nothing_is_corrected() {
    let fresh = World::at(Column::Pending).but(|world| world.record.serving = None);
    let turn = fresh.read(40).turn();
    assert_eq!((turn.lowers(), turn.record.foreign.len()), (None, 0));
}

#[test]
fn a6_under_a_conflict_only_an_undo_by_hand_after_the_watch_is_left_alone() {
    let lowers = |column, share| World::at(column).held(CONFLICT).read(share).turn().lowers();
    assert_eq!(lowers(Column::Healthy, 60), Some(percent(0)));
    assert_eq!(lowers(Column::Healthy, 100), None);
    assert_eq!(lowers(Column::Baking, 100), Some(percent(50)));
    assert_eq!(lowers(Column::Baking, 50), None);
}

#[test]
fn a5_the_way_back_leads_to_the_highest_step_that_was_held() {
    let turn = shifting(2, 50).read(5).turn();
    assert!(matches!(turn.record.place, Place::Shifting { step: 1, restore: Some(_), .. }));
    let turn = shifting(1, 10).read(5).turn();
    assert!(matches!(turn.record.place, Place::Shifting { step: 0, restore: Some(_), .. }));
}

#[test]
fn a5_a_step_that_is_held_anew_is_not_waived_again() {
    let lowered = World::at(Column::Baking).but(|world| {
        world.record.waivers = vec![waiver(1, WaiverKind::Skip)];
    });
    assert_eq!(lowered.read(20).turn().record.waivers, []);
    let ahead = shifting(1, 10).but(|world| {
        world.record.waivers = vec![waiver(0, WaiverKind::Skip), waiver(1, WaiverKind::Skip)];
    });
    let kept = ahead.read(5).turn().record.waivers;
    assert_eq!(kept, [waiver(1, WaiverKind::Skip)], "the step ahead keeps its own");
}

#[test]
fn e4_resume_after_a_conflict_leaves_a_share_alone_that_is_as_asserted() {
    let turn = World::at(Column::Baking).held(CONFLICT).asks(Verb::Resume).turn();
    assert_eq!((turn.effects.len(), turn.state()), (0, State::Baking));
}

#[test]
fn a8_a_measured_share_may_be_five_points_off_and_no_more() {
    let off = |points: u32| {
        let measured = Weight::from_basis_points(points).unwrap();
        World::at(Column::Baking).but(|world| world.reading().measured = Some(measured)).turn()
    };
    assert!(!off(4_500).says(Reason::ShareOff) && !off(5_500).says(Reason::ShareOff));
    assert!(off(4_499).says(Reason::ShareOff) && off(5_501).says(Reason::ShareOff));
}

#[test]
fn a4_a_newer_raise_of_ours_is_a_lost_rollback_only_below_what_is_asserted() {
    let found = |share| World::at(Column::Baking).ours(share, Mark::raise(KNOWN + 1)).turn();
    assert!(found(49).rolls_back());
    assert_eq!(found(50).state(), State::Baking);
    let late = World::at(Column::Baking).ours(80, Mark::raise(KNOWN - 1)).turn();
    assert_eq!((late.state(), late.lowers()), (State::Baking, Some(percent(50))), "a late one");
}

#[test]
fn a4_a_rollback_numbered_as_our_raise_is_found_before_anything_rose() {
    let world = shifting(0, 0).ours(0, Mark::rollback(KNOWN));
    assert!(world.turn().rolls_back(), "the raise that the record knows must not follow it");
}

#[test]
fn a4_after_the_watch_only_a_signed_undo_that_reads_all_is_finished() {
    for (share, mark) in [(0, Mark::rollback(KNOWN + 1)), (100, Mark::raise(KNOWN + 1))] {
        let turn = World::at(Column::Healthy).ours(share, mark).turn();
        assert_ne!(turn.state(), State::RollingBack, "{share} % {mark}");
    }
}

// === B: writes ===

fn two_entries(column: Column) -> World {
    World::at(column).planned(|plan| {
        plan.entries.push(Entry { name: "inner".into(), ..plan.entries[0].clone() });
    })
}

#[test]
fn b2_every_entry_and_every_part_must_be_read_before_anything_rises() {
    assert_eq!(two_entries(Column::Pending).turn().raises(), None);
    let both = two_entries(Column::Pending).but(|world| {
        let edge = world.seen.entries[&EDGE.into()].clone();
        world.seen.entries.insert("inner".into(), edge);
    });
    assert_eq!(both.turn().raises(), Some(percent(10)));
    let part = |share| Part { name: "b".to_owned(), share };
    let silent = World::at(Column::Waiting)
        .but(|world| world.reading().parts = vec![part(Err("timeout".to_owned()))]);
    assert_eq!(silent.turn().raises(), None);
    let answered =
        World::at(Column::Waiting).but(|world| world.reading().parts = vec![part(Ok(percent(10)))]);
    assert_eq!(answered.turn().raises(), Some(percent(50)));
}

#[test]
fn b2_nothing_rises_from_a_share_that_others_raised() {
    for (column, share) in [(Column::Waiting, 80), (Column::Pending, 5)] {
        let turn = World::at(column).read(share).turn();
        assert!(turn.lowers().is_some(), "{column:?}");
        assert_eq!(turn.raises(), None, "{column:?}");
    }
}

#[test]
fn b2_a_look_that_ends_with_the_lowering_is_no_look_after_it() {
    let look = |end| {
        let lowered = World::at(Column::Baking).read(5).won().later(20);
        lowered.verdict_on(Verdict::Pass, Window { begin: at(9_950), end: at(end) }).turn()
    };
    assert_eq!(look(10_000).raises(), None);
    assert_eq!(look(10_001).raises(), Some(percent(50)));
}

#[test]
fn b2_below_all_no_limit_is_needed_and_at_all_none_where_nothing_is_analysed() {
    let bare = |column| {
        World::at(column).planned(|plan| plan.guards_at_full = false).but(|world| {
            for check in world.checks() {
                check.evidence = Evidence::default();
            }
        })
    };
    let turn = bare(Column::Waiting).turn();
    assert_eq!(turn.raises(), Some(percent(50)));
    assert!(!turn.says(Reason::AwaitingPass));
    let refused = bare(Column::Baking).baked().turn();
    assert_eq!(refused.raises(), None);
    assert!(refused.says(Reason::AwaitingPass), "and what is missing is told");
    let unanalysed = bare(Column::Baking).baked().planned(|plan| {
        plan.unanalysed = true;
        plan.checks.clear();
    });
    assert_eq!(unanalysed.turn().raises(), Some(Weight::FULL));
    assert!(!unanalysed.turn().says(Reason::AwaitingPass));
}

#[test]
fn b2_a_source_that_is_broken_before_the_start_is_told_as_broken() {
    let turn = World::at(Column::Pending).verdict(Verdict::SourceError).turn();
    assert!(turn.says(Reason::SourceError) && !turn.says(Reason::NoData));
}

#[test]
fn b2_the_first_exposure_is_noted_once_and_never_for_a_step_at_zero() {
    let turn = World::at(Column::Baking).baked().turn();
    assert_eq!(turn.record.exposed.could, Some(stamp(at(9_000))));
    let zero = World::at(Column::Pending).planned(|plan| plan.steps[0].weight = Weight::ZERO);
    let begun = zero.turn();
    assert_eq!((begun.record.exposed.could.clone(), begun.effects.len()), (None, 0));
    let confirmed = zero.won().turn();
    assert!(matches!(confirmed.record.place, Place::Baking { step: 0, .. }));
    assert_eq!(confirmed.record.exposed, Exposure::default());
    let later = World::at(Column::Shifting).read(50).turn();
    assert_eq!(later.record.exposed.confirmed, Some(stamp(at(9_000))));
    let first = shifting(0, 0).read(10).but(|world| world.record.exposed = Exposure::default());
    assert!(first.turn().record.exposed.confirmed.is_some());
}

#[test]
fn b1_a_confirmation_ends_the_waivers_of_earlier_steps_and_of_gates() {
    let open = WaiverKind::Open { full: false, without: Vec::new() };
    let promote = WaiverKind::Promote { full: false, without: Vec::new() };
    let arrived = World::at(Column::Shifting).read(50).but(|world| {
        world.record.waivers =
            vec![waiver(0, WaiverKind::Skip), waiver(1, open), waiver(1, promote.clone())];
    });
    assert_eq!(arrived.turn().record.waivers, [waiver(1, promote)]);
}

#[test]
fn what_others_left_above_the_step_goes_at_once_and_what_is_equal_stays() {
    let above = shifting(0, 30).read(30).turn();
    assert_eq!(above.lowers(), Some(percent(10)));
    let equal = shifting(1, 50).read(50).but(|world| world.reading().settled = false).turn();
    assert_eq!((equal.state(), equal.effects.len()), (State::Shifting, 0));
}

#[test]
fn b3_before_an_attempt_a_refused_write_asks_for_nobody() {
    assert_eq!(World::at(Column::Pending).write_failed(true).turn().record.holds, []);
}

fn rolling(write: WriteSeen) -> World {
    World::at(Column::RollingBack).read(50).but(|world| {
        world.seen.writes.insert(EDGE.into(), write);
    })
}

#[test]
fn b4_a_lowering_that_waits_is_failing_and_one_behind_a_raise_is_not() {
    let waits = WriteSeen { backing_off: true, ..WriteSeen::default() };
    assert!(rolling(waits.clone()).turn().says(Reason::LowerFailing));
    let behind = WriteSeen { in_flight: Some(Direction::Raise), ..waits };
    assert!(!rolling(behind).turn().says(Reason::LowerFailing));
    let under_way = WriteSeen { in_flight: Some(Direction::Lower), ..WriteSeen::default() };
    assert!(!rolling(under_way).turn().says(Reason::LowerFailing));
}

#[test]
fn n17_a_rollback_that_reads_zero_waits_for_nobody() {
    let dead = |share| World::at(Column::RollingBack).read(share).health("blue", Health::Down);
    assert!(dead(50).turn().says(Reason::RollbackBlocked));
    assert!(!dead(0).turn().says(Reason::RollbackBlocked));
}

#[test]
fn b6_a_clean_up_is_not_asked_for_while_one_is_under_way() {
    let writing = World::at(Column::Promoting).but(|world| {
        let write = WriteSeen { in_flight: Some(Direction::Raise), ..WriteSeen::default() };
        world.seen.writes.insert(EDGE.into(), write);
    });
    assert_eq!(writing.turn().effects, []);
}

// === C: verdicts ===

#[test]
fn c5_a_policy_that_rolls_back_is_named_as_the_actor() {
    let actor = |world: World| {
        let turn = world.turn();
        assert!(turn.rolls_back());
        turn.entries[0].actor.to_string()
    };
    let baking = || World::at(Column::Baking);
    let gap = |gap, verdict| actor(baking().policy(gap, GapPolicy::Abort).verdict(verdict));
    assert_eq!(gap(Gap::NoData, Verdict::NoData), "policy onNoData");
    assert_eq!(gap(Gap::SourceError, Verdict::SourceError), "policy onSourceError");
    let unclear = baking().planned(|plan| {
        plan.policies.inconclusive = OnInconclusive::Abort;
        plan.steps[1].max_bake = Some(secs(60));
    });
    let over = unclear.clone().verdict(Verdict::Inconclusive { over_limit: true });
    assert_eq!(actor(over), "policy onInconclusive");
    let longest = unclear.verdict(Verdict::Inconclusive { over_limit: false }).baked();
    assert_eq!(actor(longest), "policy onInconclusive");
    let late = baking().planned(|plan| plan.on_deadline = OnDeadline::Abort);
    assert_eq!(actor(late.but(|world| world.record.progressed = secs(3_600))), "policy onDeadline");
}

#[test]
fn c5_where_nothing_is_read_users_are_exposed_if_they_may_be() {
    let blind = |world: World| {
        let world = world.policy(Gap::NoData, GapPolicy::Abort).verdict(Verdict::NoData);
        world.but(|world| world.seen.entries.clear()).turn()
    };
    assert!(blind(World::at(Column::Baking)).rolls_back());
    let unsent = World::at(Column::Baking).but(|world| world.record.exposed = Exposure::default());
    assert_eq!(blind(unsent).state(), State::Baking, "no raise was ever recorded");
    let zero = shifting(0, 0);
    assert_eq!(blind(zero).state(), State::Shifting, "0 is asserted");
}

#[test]
fn c5_at_share_zero_a_broken_source_holds_and_silence_does_not() {
    let zero = |verdict| {
        let world = World::at(Column::Baking).planned(|plan| plan.steps[1].weight = Weight::ZERO);
        world.read(0).verdict(verdict).turn()
    };
    assert!(zero(Verdict::SourceError).says(Reason::SourceError));
    assert!(!zero(Verdict::NoData).says(Reason::NoData));
}

#[test]
fn c3_a_policy_that_pauses_on_a_lost_side_pauses_on_nothing_else() {
    for column in Column::GUARDED {
        let calm = World::at(column).policy(Gap::CanaryLost, GapPolicy::Pause);
        assert_eq!(calm.turn().record.holds, [], "{column:?}");
    }
    let rest = World::at(Column::Healthy).policy(Gap::CanaryLost, GapPolicy::Pause);
    assert_eq!(rest.health("blue", Health::Down).read(30).turn().record.holds, []);
}

#[test]
fn c7_before_an_attempt_unclear_looks_ask_for_nobody() {
    let pending = World::at(Column::Pending).verdict(Verdict::Inconclusive { over_limit: true });
    assert_eq!(pending.turn().record.holds, []);
}

#[test]
fn c10_a_step_whose_evidence_is_waived_is_not_held_by_its_longest_bake() {
    let skipped = World::at(Column::Baking).planned(|plan| plan.steps[1].max_bake = Some(secs(20)));
    assert!(skipped.turn().says(Reason::MaxBakeReached));
    let skipped = skipped.but(|world| world.record.waivers = vec![waiver(1, WaiverKind::Skip)]);
    assert!(!skipped.turn().says(Reason::MaxBakeReached));
}

#[test]
fn c10_a_policy_adds_no_waiver_to_one_that_stands() {
    let skipped = World::at(Column::Baking)
        .planned(|plan| plan.policies.inconclusive = OnInconclusive::Promote)
        .but(|world| world.record.waivers = vec![waiver(1, WaiverKind::Skip)]);
    let turn = skipped.verdict(Verdict::Inconclusive { over_limit: true }).turn();
    assert_eq!(turn.record.waivers, [waiver(1, WaiverKind::Skip)]);
}

#[test]
fn c13_the_watch_has_a_deadline_of_its_own_and_before_an_attempt_nothing_is_aborted() {
    let watching = World::at(Column::Watching).but(|world| world.record.progressed = secs(3_700));
    assert_eq!(watching.turn().record.holds, []);
    let pending = World::at(Column::Pending)
        .planned(|plan| plan.on_deadline = OnDeadline::Abort)
        .but(|world| world.record.progressed = secs(3_600));
    assert!(pending.turn().record.is_paused());
}

#[test]
fn c1_in_the_watch_a_rollback_that_cannot_be_answers_its_abort() {
    let changed = World::at(Column::Watching).shows("blue", &["v3"]);
    let turn = changed.asks(Verb::Abort).asks(Verb::Skip).turn();
    let outcomes: Vec<_> = turn.record.requests.iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(*outcomes[0], haldane_model::Outcome::Accepted);
    assert!(matches!(outcomes[1], haldane_model::Outcome::Refused(_)));
}

#[test]
fn c8_verdicts_are_compared_in_the_time_of_their_source() {
    let main = || haldane_model::SourceName::from("main");
    // The source is an hour behind, and told so: before the bake began, or only now.
    let behind = |noted: bool| {
        World::at(Column::Baking).baked().but(|world| {
            world.seen.clocks.insert(main(), jiff::SignedDuration::from_secs(-3_600));
            if let (true, Place::Baking { from, done_at: Some(done), .. }) =
                (noted, &mut world.record.place)
            {
                from.sources.insert(main(), at(6_300));
                done.sources.insert(main(), at(6_390));
            }
        })
    };
    for noted in [true, false] {
        let look = |end| {
            let window = Window { begin: at(6_330), end: at(end) };
            behind(noted).verdict_on(Verdict::Pass, window).turn()
        };
        assert_eq!(look(6_390).raises(), Some(Weight::FULL), "noted: {noted}");
        assert_eq!(look(6_389).raises(), None, "noted: {noted}");
    }
    let begun = World::at(Column::Shifting).read(50).but(|world| {
        world.seen.clocks.insert(main(), jiff::SignedDuration::from_secs(-3_600));
    });
    let Place::Baking { from, .. } = begun.turn().record.place else { panic!("no bake") };
    assert_eq!((from.wall, from.of(&main())), (at(10_000), at(6_400)));
}

#[test]
fn a_plan_of_one_step_and_no_checks_is_never_passed_by_nobody() {
    let none = World::at(Column::Baking).baked().planned(|plan| {
        plan.checks = vec![haldane_model::Check { dry_run: true, ..check("dry") }];
        plan.steps = vec![plan.steps[0].clone(), plan.steps[1].clone()];
        plan.steps.push(Step { weight: Weight::FULL, ..plan.steps[1].clone() });
    });
    assert_eq!(none.turn().raises(), None, "every over an empty list is no Pass");
    let spec = SpecSeen::Invalid { message: "?".to_owned() };
    assert_eq!(none.spec(spec).turn().raises(), None);
}
