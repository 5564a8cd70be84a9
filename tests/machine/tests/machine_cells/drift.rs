//! Rows A: the split that is read, against the one that is asserted.

use haldane_machine::Effect;
use haldane_machine_tests::world::{Column, KNOWN, Told, World, at, moment, percent, plan};
use haldane_model::{
    Cause, HoldKind, LeaseSeen, Mark, MarkKind, Place, Reason, SpecSeen, State, Verdict, Weight,
};

#[test]
fn a1_a_calm_turn_tells_nothing_and_writes_nothing() {
    for column in Column::ALL {
        let world = World::at(column).settled().settled();
        let turn = world.turn();
        assert_eq!(turn.reasons(), [], "{column:?}");
        assert_eq!(turn.record.place.state(), world.record.place.state(), "{column:?}");
    }
}

#[test]
fn a2_the_side_that_has_everything_serves() {
    for (share, serving) in [(0, "blue"), (100, "green")] {
        let fresh = World::at(Column::Pending).but(|world| {
            world.record.serving = None;
            world.record.promoted.clear();
            world.record.header.entries.clear();
        });
        let turn = fresh.read(share).turn();
        assert_eq!(turn.record.serving, Some(serving.into()), "{share} %");
        assert!(turn.says(Reason::Adopted));
        assert_eq!(turn.record.header.home, serving.into());
        assert!(turn.effects.is_empty() || turn.raises().is_some(), "{:?}", turn.effects);
    }
}

#[test]
fn a2_a_split_in_between_is_refused_and_left_alone() {
    let fresh = World::at(Column::Pending).but(|world| {
        world.record.serving = None;
        world.record.header.entries.clear();
    });
    let turn = fresh.read(40).turn();
    assert!(turn.says(Reason::SplitRefused));
    assert_eq!((turn.record.serving.clone(), turn.effects.len()), (None, 0));
}

#[test]
fn a2_an_adopted_split_gives_the_rest_to_the_larger_side() {
    let adopt = World::at(Column::Pending).read(40).but(|world| {
        world.record.serving = None;
        world.record.header.entries.clear();
        if let Some(SpecSeen::Valid { adopt, .. }) = &mut world.seen.spec {
            *adopt = true;
        }
    });
    let first = adopt.won();
    assert_eq!(first.record.serving, Some("blue".into()));
    assert_eq!(first.turn().lowers(), Some(Weight::ZERO));
}

#[test]
fn a2_an_edit_may_not_bring_an_entry_with_another_split() {
    let world = World::at(Column::Pending).edited(|plan| plan.entries[0].settings = "{1}".into());
    let turn = world.read(40).turn();
    assert!(turn.says(Reason::SplitRefused), "{:?}", turn.reasons());
    assert!(turn.effects.is_empty(), "it is not ours to lower: {:?}", turn.effects);
}

#[test]
fn a3_a_foreign_raise_is_undone_at_once() {
    for column in
        [Column::Pending, Column::Waiting, Column::Shifting, Column::Baking, Column::Degraded]
    {
        let world = World::at(column).read(80).lease(LeaseSeen::Unsure);
        let asserted = world.record.asserted();
        let turn = world.turn();
        assert_eq!(turn.lowers(), Some(asserted), "{column:?}");
        assert!(turn.says(Reason::RaiseUndone), "{column:?}: {:?}", turn.reasons());
    }
    let healthy = World::at(Column::Healthy).read(80).turn();
    assert_eq!(healthy.lowers(), Some(Weight::ZERO));
}

#[test]
fn a3_what_lies_on_the_way_up_is_ours() {
    for share in [10, 30, 50] {
        assert_eq!(World::at(Column::Shifting).read(share).turn().lowers(), None, "{share} %");
    }
    assert_eq!(World::at(Column::Shifting).read(51).turn().lowers(), Some(percent(10)));
}

#[test]
fn a3_a_late_write_of_ours_after_degraded_is_taken_back_and_is_nobodys_conflict() {
    let late = World::at(Column::Degraded).ours(50, Mark::raise(KNOWN - 1));
    let turn = late.turn();
    assert_eq!(turn.lowers(), Some(Weight::ZERO));
    assert_eq!(turn.record.foreign, []);
    assert_eq!(turn.state(), State::Degraded);
}

#[test]
fn a4_a_rollback_of_ours_that_the_record_does_not_know_is_finished() {
    for column in Column::GUARDED {
        let found = World::at(column).ours(0, Mark::rollback(KNOWN + 1)).turn();
        assert!(found.rolls_back(), "{column:?}: {:?}", found.effects);
        assert!(found.says(Reason::OwnLoweringFound), "{column:?}");
    }
}

#[test]
fn a4_drift_repair_never_restores_what_a_lost_rollback_lowered() {
    for column in Column::GUARDED {
        // Another engine numbered its rollback as this one its raise, or older.
        for number in [KNOWN, KNOWN - 1] {
            let world = World::at(column).ours(0, Mark::rollback(number));
            let turn = world.turn();
            assert_eq!(turn.raises(), None, "{column:?} {number}");
            assert!(turn.rolls_back(), "{column:?} {number}: {:?}", turn.record.place);
        }
    }
}

#[test]
fn a4_our_own_lost_lowering_is_not_mistaken_for_a_raise_under_way() {
    // In Shifting every share between `from` and `to` may be our raise on its way; a rollback's is not.
    let from_zero = World::at(Column::Shifting).but(|world| {
        world.record.place = Place::Shifting { step: 0, from: Weight::ZERO, restore: None };
    });
    let turn = from_zero.ours(0, Mark::rollback(KNOWN + 1)).turn();
    assert!(turn.rolls_back(), "{:?}", turn.effects);
    let between = World::at(Column::Shifting).ours(20, Mark::rollback(KNOWN + 1)).turn();
    assert!(between.rolls_back());
}

#[test]
fn a4_an_old_rollback_of_the_attempt_before_is_no_cause() {
    let world = World::at(Column::Shifting).but(|world| {
        world.record.place = Place::Shifting { step: 0, from: Weight::ZERO, restore: None };
    });
    let turn = world.ours(0, Mark::rollback(KNOWN - 1)).turn();
    assert_eq!(turn.state(), State::Shifting);
    assert_eq!(turn.raises(), Some(percent(10)));
}

#[test]
fn a4_in_the_watch_it_is_finished_even_where_home_was_changed() {
    let world = World::at(Column::Watching).shows("blue", &["v3"]);
    assert!(world.ours(0, Mark::rollback(KNOWN + 1)).turn().rolls_back());
}

#[test]
fn a4_after_the_watch_a_lost_undo_is_finished() {
    let turn = World::at(Column::Healthy).ours(100, Mark::rollback(KNOWN + 1)).turn();
    assert!(turn.rolls_back(), "{:?}", turn.effects);
    assert_eq!(turn.record.header.home, "blue".into());
    assert!(matches!(turn.record.place, Place::RollingBack { cause: Cause::Undone, .. }));
}

#[test]
fn a5_what_others_lowered_is_restored_only_after_a_look_of_the_guards() {
    for (column, step) in [(Column::Waiting, 0), (Column::Baking, 1), (Column::Promoting, 2)] {
        let lowered = World::at(column).read(5);
        let turn = lowered.turn();
        assert!(turn.says(Reason::LoweredByOther), "{column:?}: {:?}", turn.reasons());
        assert_eq!(turn.raises(), None, "{column:?}: not before the guards looked");
        let Place::Shifting { step: found, from, restore: Some(_) } = turn.record.place else {
            panic!("{column:?}: {:?}", turn.record.place)
        };
        assert_eq!((found, from), (step, percent(5)), "{column:?}");
        // The old verdict is no look after the lowering.
        let next = lowered.won();
        assert_eq!(next.turn().raises(), None, "{column:?}");
        let looked = next.later(20).verdict(Verdict::Pass);
        assert_eq!(looked.turn().raises(), Some(plan().weight(step)), "{column:?}");
    }
}

#[test]
fn a5_while_shifting_the_way_back_leads_to_the_step_that_was_confirmed() {
    let turn = World::at(Column::Shifting).read(5).turn();
    assert!(matches!(turn.record.place, Place::Shifting { step: 0, restore: Some(_), .. }));
    // A person went from the first step to the last one: the second was never held.
    let full = World::at(Column::Shifting).but(|world| {
        world.record.place = Place::Shifting { step: 2, from: percent(10), restore: None };
    });
    let turn = full.read(5).turn();
    assert!(
        matches!(turn.record.place, Place::Shifting { step: 0, .. }),
        "{:?}",
        turn.record.place
    );
}

#[test]
fn a5_in_the_watch_the_place_stays_and_the_watch_begins_again() {
    let lowered = World::at(Column::Watching).read(60);
    let next = lowered.won();
    assert!(
        matches!(next.record.place, Place::Watching { watched, restore: Some(_) } if watched.is_zero())
    );
    assert_eq!(next.turn().raises(), None);
    let looked = next.later(20).verdict(Verdict::Pass);
    assert_eq!(looked.turn().raises(), Some(Weight::FULL));
}

#[test]
fn a5_a_share_lowered_under_a_hold_waits_for_the_holds_end() {
    for hold in [HoldKind::Person, HoldKind::Block, HoldKind::NeedsPerson(Reason::Inconclusive)] {
        let next = World::at(Column::Baking).held(hold).but(|world| {
            if hold == HoldKind::Block {
                *world = world.clone().fires(haldane_model::AlertAction::Block, 5);
            }
        });
        let next = next.read(20).won().later(20).verdict(Verdict::Pass);
        assert_eq!(next.record.asserted(), percent(20), "{hold:?}");
        assert_eq!(next.turn().raises(), None, "{hold:?}");
    }
}

#[test]
fn a6_the_third_foreign_write_in_five_minutes_is_a_conflict() {
    for column in Column::ALL {
        if matches!(column, Column::RollingBack | Column::Promoting | Column::Watching) {
            continue;
        }
        let third = World::at(column).read(80).but(|world| {
            world.record.foreign = vec![at(9_800), at(9_900)];
        });
        let turn = third.turn();
        assert!(turn.record.is_conflicted(), "{column:?}");
        assert!(turn.says(Reason::Conflicted), "{column:?}");
        let long_ago = World::at(column).read(80).but(|world| {
            world.record.foreign = vec![at(9_600), at(9_900)];
        });
        assert!(!long_ago.turn().record.is_conflicted(), "{column:?}: more than five minutes");
    }
}

#[test]
fn a6_one_write_read_twice_counts_once() {
    let mut world = World::at(Column::Baking).read(80);
    for _ in 0..5 {
        world = world.won().later(1);
    }
    assert_eq!(world.record.foreign.len(), 1);
}

#[test]
fn a6_under_a_conflict_a_raise_is_undone_once_in_a_guard_interval() {
    let world = World::at(Column::Baking).held(HoldKind::Conflict { undone: None }).read(80);
    assert_eq!(world.turn().lowers(), Some(percent(50)));
    let soon = world.won().later(5);
    assert_eq!(soon.turn().lowers(), None);
    assert_eq!(soon.later(15).turn().lowers(), Some(percent(50)));
}

#[test]
fn a6_under_a_conflict_nothing_is_restored() {
    let world = World::at(Column::Baking).held(HoldKind::Conflict { undone: None }).read(5);
    let turn = world.later(30).verdict(Verdict::Pass).turn();
    assert_eq!((turn.raises(), turn.state()), (None, State::Conflicted));
}

#[test]
fn a6_what_was_resumed_over_counts_no_more() {
    // Two raises and a lowering by hand: a conflict. It is resumed over while the last one stands.
    for (stands, lowers) in [(80, true), (20, false)] {
        let conflict = World::at(Column::Baking).read(stands).but(|world| {
            world.record.foreign = vec![at(9_800), at(9_900)];
        });
        let conflict = conflict.won();
        assert!(conflict.record.is_conflicted(), "{stands} %");
        let resumed = conflict.later(1).asks(haldane_model::Verb::Resume).won();
        assert_eq!(resumed.record.foreign, [], "{stands} %: the list is dropped");
        let still = resumed.later(1).won();
        assert_eq!(still.record.foreign, [], "{stands} %: what stands still is no other write");
        assert_eq!(still.turn().lowers().is_some(), lowers, "{stands} %: it is put right");
        // One raise and one lowering soon after are two.
        let share = still.record.asserted();
        let calm = still.clone().reads(share, still.known_mark(), 10_003).later(2).won();
        let raised = calm.read(90).later(2).won();
        assert_eq!(raised.record.foreign.len(), 1, "{stands} %");
        let calm = raised.clone().reads(share, raised.known_mark(), 10_007).later(2).won();
        let below = if share > percent(10) { 10 } else { 5 };
        let lowered = calm.read(below).later(2).won();
        assert!(!lowered.record.is_conflicted(), "{stands} %: {:?}", lowered.record.foreign);
    }
}

#[test]
fn a6_a_write_that_stands_counts_once_over_a_restart_and_a_read_that_failed() {
    let raised = World::at(Column::Baking).read(80).won();
    assert_eq!(raised.record.foreign.len(), 1);
    let known = raised.known_mark();
    let silent = raised.clone().unreadable().later(1).won();
    let back = silent.reads(percent(80), known, 10_002).later(2).won();
    assert_eq!(back.record.foreign.len(), 1, "the same write, after a silence");
    let other = back.reads(percent(70), known, 10_004).later(2).won();
    assert_eq!(other.record.foreign.len(), 2, "another share is another write");
}

#[test]
fn a9_a_persons_rollback_by_hand_is_not_fought() {
    for column in Column::GUARDED {
        let world = World::at(column).read(0);
        let turn = world.turn();
        assert_eq!(turn.state(), State::Conflicted, "{column:?}");
        assert!(turn.effects.is_empty() || turn.effects == [Effect::Finish], "{column:?}");
        let later = world.won().later(60).verdict(Verdict::Pass).turn();
        assert_eq!((later.raises(), later.lowers()), (None, None), "{column:?}");
    }
}

#[test]
fn a9_after_the_watch_an_undo_by_hand_is_not_fought_until_resume() {
    let world = World::at(Column::Healthy).read(100);
    let turn = world.turn();
    assert_eq!((turn.state(), turn.lowers()), (State::Conflicted, None));
    let resumed = world.won().asks(haldane_model::Verb::Resume);
    assert_eq!(resumed.turn().lowers(), Some(Weight::ZERO), "resume asserts what is ours");
    let next = resumed.won().later(1);
    assert_eq!(next.turn().lowers(), Some(Weight::ZERO), "the write takes a moment");
    assert!(!next.turn().record.is_conflicted(), "the same write is no second conflict");
}

#[test]
fn a9_an_unsigned_zero_is_a_conflict_and_never_restored() {
    for column in Column::GUARDED {
        let unsigned = World::at(column).but(|world| world.record.marks.clear());
        let turn = unsigned.reads(Weight::ZERO, None, 10_000).turn();
        assert_eq!((turn.state(), turn.raises()), (State::Conflicted, None), "{column:?}");
    }
}

#[test]
fn a7_an_unreadable_split_holds_everything_and_stops_the_bake() {
    for column in Column::GUARDED {
        let world = World::at(column).baked().unreadable();
        let turn = world.turn();
        assert!(turn.says(Reason::ProviderUnreadable), "{column:?}");
        assert_eq!((turn.raises(), turn.lowers()), (None, None), "{column:?}");
        assert!(!turn.record.ticked.counting, "{column:?}");
    }
    for column in Column::AT_REST {
        assert!(World::at(column).unreadable().turn().says(Reason::ProviderUnreadable));
    }
}

#[test]
fn a7_a_rollback_is_asked_for_though_nothing_can_be_read() {
    assert!(World::at(Column::RollingBack).unreadable().turn().rolls_back());
}

#[test]
fn a8_a_measured_share_far_from_the_asked_one_stops_the_bake() {
    let off = |measured: u32| {
        World::at(Column::Baking).but(|world| world.reading().measured = Some(percent(measured)))
    };
    assert!(off(30).turn().says(Reason::ShareOff));
    assert!(!off(30).turn().record.ticked.counting);
    assert!(off(48).turn().record.ticked.counting);
}

#[test]
fn foreign_writes_are_forgotten_after_five_minutes() {
    let world = World::at(Column::Baking).but(|world| world.record.foreign = vec![at(9_000)]);
    assert_eq!(world.turn().record.foreign, []);
    assert_eq!(moment(10_000).wall, at(10_000));
}

#[test]
fn every_rollback_is_signed_above_every_number_known_or_read() {
    let world =
        World::at(Column::Baking).ours(50, Mark::raise(40)).verdict(Verdict::Fail { breach: true });
    let turn = world.turn();
    let Some(Effect::Lower { mark, .. }) = turn.effects.first() else { panic!("no write") };
    assert_eq!((mark.kind, mark.number > 40), (MarkKind::Rollback, true));
}
