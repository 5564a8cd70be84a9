//! What waits for its record, and for how long.

use std::{sync::Arc, time::Duration};

use haldane_model::{
    Actor, Cause, Check, JournalEntry, Limits, Mark, Now, OnDeadline, OnInconclusive, Plan,
    Policies, Reason, Side, State, Weight,
};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn plan(interval: Duration) -> Plan {
    let side = |name: &str| Side {
        name: name.into(),
        labels: std::collections::BTreeMap::new(),
        revision_query: None,
        workload: None,
    };
    Plan {
        hash: "1:a".into(),
        sides: [side("blue"), side("green")],
        entries: Vec::new(),
        steps: Vec::new(),
        watch: SECOND,
        progress_deadline: SECOND,
        on_deadline: OnDeadline::Pause,
        sources: Vec::new(),
        checks: vec![Check {
            name: "errors".into(),
            source: "main".into(),
            kind: "errors".into(),
            question: "{}".into(),
            rule: "{}".into(),
            interval,
            window: None,
            initial_delay: Duration::ZERO,
            limits: Limits::default(),
            dry_run: false,
            during: haldane_model::During::Background,
        }],
        policies: Policies {
            no_data: haldane_model::GapPolicy::Hold,
            source_error: haldane_model::GapPolicy::Hold,
            canary_lost: haldane_model::GapPolicy::Hold,
            inconclusive: OnInconclusive::Pause,
        },
        alerts: Vec::new(),
        guards_at_full: true,
        unanalysed: false,
    }
}

fn record(plan: Option<Plan>) -> Record {
    let now = Now { wall: jiff::Timestamp::UNIX_EPOCH, mono: Duration::ZERO, boot: 1 };
    let mut record = Record::new("green".into(), "blue".into(), 3, now);
    record.plan = plan.map(Arc::new);
    record
}

fn entry(id: u64) -> JournalEntry {
    JournalEntry {
        id,
        at: jiff::Timestamp::UNIX_EPOCH,
        attempt: 1,
        revision: None,
        step: None,
        weight: Weight::ZERO,
        before: State::Pending,
        after: State::Pending,
        reason: Reason::Resumed,
        cause: None,
        actor: Actor::Engine,
        finding: None,
        detail: None,
    }
}

fn here(plan: Option<Plan>) -> Recording {
    let mut recording = Recording::new(Duration::ZERO);
    recording.loaded(Ok(None), Duration::ZERO);
    recording.make(record(plan));
    recording
}

/// Whether a raise leaves whose record is won, and the split read again, after this long.
fn leaves(plan: Option<Plan>, after: Duration) -> bool {
    let mut recording = here(plan.clone());
    let raise = Effect::Raise { to: Weight::FULL, mark: Mark::raise(1) };
    recording.decided(record(plan), Vec::new(), Vec::new(), vec![raise], Change::Decided, SECOND);
    assert!(recording.due(SECOND, Some(3)).is_some());
    assert!(!recording.has_won_raise());
    recording.swapped(Swap::Won, SECOND);
    assert!(recording.has_won_raise());
    let raise = recording.take_won_raise(SECOND + after);
    assert!(!recording.holds_raise(), "it leaves once");
    raise.is_some()
}

#[test]
fn a_raise_older_than_one_guard_interval_is_decided_anew() {
    for interval in [20, 60].map(Duration::from_secs) {
        assert!(leaves(Some(plan(interval)), interval), "{interval:?}");
        let late = interval + Duration::from_millis(1);
        assert!(!leaves(Some(plan(interval)), late), "{interval:?}");
    }
}

#[test]
fn fast_guards_leave_a_slow_store_and_a_slow_provider_the_time_that_they_may_take() {
    let oldest = STORE_DEADLINE + CALL_MAX;
    for plan in [Some(plan(SECOND)), None] {
        assert!(leaves(plan.clone(), oldest));
        assert!(!leaves(plan, oldest + Duration::from_millis(1)));
    }
}

#[test]
fn what_is_decided_after_a_raise_was_won_voids_it() {
    let mut recording = here(None);
    let raise = Effect::Raise { to: Weight::FULL, mark: Mark::raise(1) };
    recording.decided(record(None), Vec::new(), Vec::new(), vec![raise], Change::Decided, SECOND);
    assert!(recording.due(SECOND, Some(3)).is_some());
    recording.swapped(Swap::Won, SECOND);
    recording.decided(record(None), Vec::new(), Vec::new(), Vec::new(), Change::Progress, SECOND);
    assert!(recording.has_won_raise(), "time that passes is no decision");
    recording.decided(record(None), Vec::new(), Vec::new(), Vec::new(), Change::Decided, SECOND);
    assert!(!recording.holds_raise());
}

#[test]
fn a_store_that_hangs_in_a_write_costs_no_more_memory_than_one_that_refuses() {
    let mut recording = here(None);
    let mut id = 0;
    let mut took = |recording: &mut Recording, change| {
        id += 1;
        let entries = vec![entry(id)];
        let trace = vec![Traced::Gap(1)];
        recording.decided(record(None), entries, trace, Vec::new(), change, SECOND);
    };
    took(&mut recording, Change::Decided);
    assert!(recording.due(SECOND, Some(3)).is_some());
    for _ in 0..3 * TRACE_MAX {
        took(&mut recording, Change::Progress);
    }
    assert!(recording.trace.len() <= TRACE_MAX + 1, "{}", recording.trace.len());
    assert_eq!(recording.entries.len(), 1 + WAITING_MAX);
    assert_eq!(recording.entries[0].id, 1, "what the write carries may be in");
    recording.swapped(Swap::Won, SECOND);
    assert_eq!(recording.take_tellable().len(), 1);
    let newest = recording.entries.last().map(|entry| entry.id);
    assert_eq!(newest, Some(1 + 3 * TRACE_MAX as u64), "the newest are kept");
    let left: u64 = recording
        .trace
        .iter()
        .map(|item| match **item {
            Traced::Gap(dropped) => dropped,
            Traced::Look(_) | Traced::Turn(_) => panic!("only gaps were taken in"),
        })
        .sum();
    assert_eq!(left, 3 * TRACE_MAX as u64, "what the write carried is stored, the rest is told");
}

#[test]
fn a_header_that_cannot_be_put_into_a_newer_record_is_told() {
    let mut recording = here(None);
    let header = record(None).header;
    recording.phase = Phase::Newer(header.clone(), b"damaged".to_vec());
    recording.dirty = Change::Nothing;
    assert!(recording.set_header(header.clone()), "it is there already");
    assert!(!recording.set_header(Header { lowered: Some(Cause::AbortedByPerson), ..header }));
    assert!(recording.is_settled(), "nothing is written");
}

/// A record as an engine of the next format would leave it.
fn newer() -> Vec<u8> {
    let text = String::from_utf8(codec::encode(&record(None))).expect("JSON is text");
    text.replacen("\"format\":1", "\"format\":2", 1).replace("attempt", "tries").into_bytes()
}

#[test]
fn an_abort_is_written_into_a_newer_record_and_found_there_again() {
    let mut recording = Recording::new(Duration::ZERO);
    recording.loaded(Ok(Some(Stored { version: 8, bytes: newer() })), Duration::ZERO);
    assert_eq!(recording.due(SECOND, Some(5)), None, "a calm one is never written");
    let (header, _) = recording.newer().expect("it is newer");
    let lowered = Header { lowered: Some(Cause::AbortedByPerson), ..header.clone() };
    recording.set_header(lowered.clone());
    assert!(!recording.is_settled());
    let swap = recording.due(SECOND, Some(5)).expect("it is written now");
    assert_eq!((swap.expect, swap.version, swap.term), (8, 9, 5));
    assert!(swap.entries.is_empty());
    let (before, after) = (newer(), swap.bytes.clone());
    let tail = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).expect("JSON is text");
        text.split_once("\"record\":").map(|(_, tail)| tail.to_owned())
    };
    assert_eq!(tail(&before), tail(&after), "the rest as it was");

    // The store does not answer: it is asked what it has, whichever that is.
    recording.swapped(Swap::Unknown("the disk hangs".to_owned()), SECOND);
    assert!(!recording.is_settled());
    assert!(recording.retry(SECOND + RETRY.0));
    recording.loaded(Ok(Some(Stored { version: 8, bytes: before })), 2 * SECOND);
    assert_eq!(recording.newer().map(|(header, _)| header.lowered), Some(None));
    recording.set_header(lowered.clone());
    assert!(recording.due(2 * SECOND, Some(5)).is_some(), "it was not in: once more");
    recording.swapped(Swap::Unknown("the disk hangs".to_owned()), 2 * SECOND);
    assert!(recording.retry(3 * SECOND));
    recording.loaded(Ok(Some(Stored { version: 9, bytes: after })), 3 * SECOND);
    assert!(recording.is_settled(), "it was in");
    assert_eq!(recording.newer().map(|(header, _)| header), Some(&lowered));
    recording.set_header(lowered);
    assert_eq!(recording.due(4 * SECOND, Some(5)), None, "nothing is written twice");
}

#[test]
fn a_store_that_fails_again_and_again_is_asked_ever_later_and_at_once_after_a_win() {
    let mut recording = here(None);
    let mut now = SECOND;
    let stored = |version| Ok(Some(Stored { version, bytes: codec::encode(&record(None)) }));
    let mut waits = Vec::new();
    for answer in [Swap::Stale, Swap::Stale, Swap::Unknown("it hangs".to_owned()), Swap::Stale] {
        recording.dirty = Change::Decided;
        let swap = recording.due(now, Some(3)).expect("it is written");
        recording.swapped(answer, now);
        waits.push(recording.retry_at.map_or(Duration::ZERO, |at| at - now));
        assert_eq!(recording.retry(now), waits == [Duration::ZERO], "not before its time");
        now += RETRY.1;
        assert!(recording.loading || recording.retry(now));
        assert_eq!(recording.wake_at(true), None, "nothing wakes it while it is asked");
        recording.loaded(stored(swap.expect), now);
    }
    let millis = Duration::from_millis;
    assert_eq!(waits, [Duration::ZERO, millis(1_000), millis(2_000), millis(4_000)]);
    recording.dirty = Change::Decided;
    assert!(recording.due(now, Some(3)).is_some());
    recording.swapped(Swap::Won, now);
    recording.dirty = Change::Decided;
    assert!(recording.due(now, Some(3)).is_some());
    recording.swapped(Swap::Stale, now);
    assert_eq!(recording.retry_at, None, "a single edit of somebody is read at once");
}

#[test]
fn what_the_store_does_not_take_for_long_is_dropped_and_named() {
    let mut recording = here(None);
    let mut taken = 0;
    for _ in 0..3 {
        let trace = (0..TRACE_MAX / 2).map(|_| Traced::Gap(1)).collect();
        taken += TRACE_MAX as u64 / 2;
        recording.decided(record(None), Vec::new(), trace, Vec::new(), Change::Progress, SECOND);
    }
    let swap = recording.due(SECOND * 60, Some(3)).expect("it is written");
    assert!(swap.trace.len() <= TRACE_MAX, "{}", swap.trace.len());
    let told: u64 = swap
        .trace
        .iter()
        .map(|item| match **item {
            Traced::Gap(lost) => lost,
            Traced::Look(_) | Traced::Turn(_) => 0,
        })
        .sum();
    assert_eq!(told, taken, "each is there, or counted among the lost");
    assert!(matches!(*swap.trace[0], Traced::Gap(lost) if lost > 1));
}

#[test]
fn a_look_that_the_record_lost_says_itself_what_it_goes_on_from() {
    let before = haldane_model::Evidence::from(&b"{}"[..]);
    let look = TracedLook { from: None, before: before.clone(), ..crate::trace::tests::look() };
    let mut recording = here(None);
    let trace = vec![Traced::Look(Box::new(look))];
    recording.decided(record(None), Vec::new(), trace, Vec::new(), Change::Decided, SECOND);
    let swap = recording.due(SECOND, Some(3)).expect("it is written");
    let Traced::Look(sent) = &*swap.trace[0] else { panic!("a look") };
    assert_eq!(sent.from, None, "what stands before it tells");
    recording.swapped(Swap::Stale, SECOND);
    assert!(recording.retry(SECOND));
    let stored = Stored { version: 9, bytes: codec::encode(&record(None)) };
    recording.loaded(Ok(Some(stored)), SECOND);
    let lost = recording.take_lost();
    assert_eq!(lost.iter().map(|look| &look.from).collect::<Vec<_>>(), [&Some(before)]);
}
