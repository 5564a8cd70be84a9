//! What the record implies, and when a call is due.

use haldane_model::{Cause, Ground, PendingCause, Place, Stamp};

use super::*;

fn record(place: Place) -> Record {
    let now = Now { wall: jiff::Timestamp::UNIX_EPOCH, mono: Duration::ZERO, boot: 1 };
    let mut record = Record::new("green".into(), "blue".into(), 3, now);
    let mut plan = crate::core::recording::plan_of_tests();
    let step = |weight: u32, mirror: Option<u32>| haldane_model::Step {
        weight: Weight::from_percent(weight).unwrap(),
        bake: Duration::from_secs(60),
        max_bake: None,
        gates: Vec::new(),
        mirror: mirror.map(|share| Weight::from_percent(share).unwrap()),
    };
    plan.steps = vec![step(0, Some(20)), step(10, None), step(100, None)];
    record.plan = Some(std::sync::Arc::new(plan));
    record.serving = Some("blue".into());
    record.place = place;
    record
}

#[track_caller]
fn check(place: Place, testers: &str, mirror: Option<u32>) {
    let share = |share: u32| Weight::from_percent(share).unwrap();
    let mirror = mirror.map(|percent| Mirror { to: "green".into(), share: share(percent) });
    let wished = Company { testers: testers.into(), mirror };
    assert_eq!(of(&record(place.clone())), Some(wished), "{place:?}");
}

fn baking(step: usize) -> Place {
    let from = Stamp { wall: jiff::Timestamp::UNIX_EPOCH, sources: Default::default() };
    Place::Baking { step, baked: Duration::ZERO, from, done_at: None }
}

#[test]
fn a_step_is_accompanied_and_nothing_else() {
    let since = jiff::Timestamp::UNIX_EPOCH;
    let shifting = |step| Place::Shifting { step, from: Weight::ZERO, restore: None };
    check(shifting(0), "green", Some(20));
    check(baking(0), "green", Some(20));
    check(shifting(1), "green", None);
    check(baking(2), "green", None);
    check(Place::Waiting { step: 1, since }, "green", Some(20));
    check(Place::Waiting { step: 0, since }, "blue", None);
    check(Place::Promoting { left: Vec::new() }, "green", None);
    check(Place::Pending { cause: PendingCause::Revision }, "blue", None);
    check(Place::Watching { watched: Duration::ZERO, restore: None }, "blue", None);
    check(Place::Healthy, "blue", None);
    let cause = Cause::AbortedByPerson;
    let out_of = Ground::Flight;
    check(Place::RollingBack { cause, since, out_of }, "blue", None);
    check(Place::Degraded { cause }, "blue", None);
}

#[test]
fn nothing_is_asked_for_before_it_is_known_who_serves() {
    let mut record = record(Place::Pending { cause: PendingCause::First });
    record.serving = None;
    assert_eq!(of(&record), None);
}

fn company(testers: &str) -> Company {
    Company { testers: testers.into(), mirror: None }
}

#[test]
fn what_others_put_back_is_asked_for_ever_more_seldom() {
    let mut escort = Escort::default();
    let mut calls = Vec::new();
    for ms in (0..60_000).step_by(100) {
        let now = Duration::from_millis(ms);
        if escort.is_due(&company("green"), false, now) {
            calls.push(ms);
            escort.called(ms, now);
            assert_eq!(escort.answered(ms, Ok(())), None);
        }
    }
    assert_eq!(calls, [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500]);
}

#[test]
fn another_wish_waits_for_nothing() {
    let mut escort = Escort::default();
    let now = Duration::from_secs(1);
    assert!(escort.is_due(&company("green"), false, now));
    escort.called(1, now);
    assert!(!escort.is_due(&company("green"), false, now), "one call at a time");
    escort.answered(1, Err(Error::Unavailable("busy".to_owned())));
    assert!(!escort.is_due(&company("green"), false, now), "it waits");
    assert!(escort.is_due(&company("blue"), false, now));
    assert!(!escort.is_due(&company("blue"), true, now), "what is so is not asked for");
}

#[test]
fn what_a_person_must_put_right_is_told_once() {
    let mut escort = Escort::default();
    let mut tell = |id: u64, error: Error| {
        escort.called(id, Duration::ZERO);
        escort.answered(id, Err(error))
    };
    let theirs = || Error::Invalid("primary: it has a mirror of its own".to_owned());
    assert!(tell(1, theirs()).is_some_and(|why| why.contains("mirror of its own")));
    assert_eq!(tell(2, theirs()), None);
    let mut busy = Escort::default();
    let told: Vec<bool> = (1..=4)
        .map(|id| {
            busy.called(id, Duration::ZERO);
            busy.answered(id, Err(Error::Unavailable("busy".to_owned()))).is_some()
        })
        .collect();
    assert_eq!(told, [false, false, true, false], "what may pass is told when it does not");
}

#[test]
fn only_a_read_that_began_later_says_what_a_write_left() {
    let mut escort = Escort::default();
    escort.outdate(7);
    assert!(!escort.is_told_by(7) && escort.is_told_by(8));
    assert_eq!(escort.answered(3, Err(Error::Invalid("x".to_owned()))), None, "of no call of ours");
}

#[test]
fn a_known_rollback_is_no_obstacle_and_a_newer_one_is() {
    let mut record = record(baking(0));
    record.version = 8;
    record.marks.insert("edge".into(), Mark::rollback(20));
    let mark = next_mark(&record);
    assert!(!mark.yields_to(&Mark::rollback(20)), "after a retry its mark is still there");
    assert!(mark.yields_to(&Mark::rollback(21)), "whoever takes over signs no lower");
    record.version = 30;
    assert!(next_mark(&record).yields_to(&Mark::rollback(31)));
}

#[test]
fn a_time_that_has_come_wakes_once_though_nothing_may_be_asked_then() {
    let (mut escort, patience) = (Escort::default(), Duration::from_secs(6));
    assert!(escort.is_due(&company("green"), false, Duration::ZERO));
    escort.called(1, Duration::ZERO);
    assert_eq!(escort.wake_at(patience), Some(patience), "an answer that is lost");
    escort.give_up(patience, patience);
    assert_eq!(escort.wake_at(patience), None);
    escort.called(2, patience);
    escort.answered(2, Ok(()));
    assert!(!escort.is_due(&company("green"), false, patience), "it waits");
    let at = escort.wake_at(patience).unwrap();
    assert!(at > patience);
    escort.give_up(patience, at);
    assert_eq!(escort.wake_at(patience), None);
}
