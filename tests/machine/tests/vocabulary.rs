//! The vocabulary: what the nouns of `engine/model` say of themselves.

use std::time::Duration;

use haldane_machine_tests::world::{Column, World, at, check, moment, percent, plan, secs, stamp};
use haldane_model::{
    Actor, Block, Evidence, Health, HoldKind, Mark, Now, Part, Place, Reading, Reason, RolloutId,
    Thought, Verb, Verdict, Weight, WeightError,
};
use jiff::Timestamp;

// === names and words ===

#[test]
fn a_rollout_is_named_with_its_namespace() {
    assert_eq!(RolloutId::new("shop", "checkout").to_string(), "shop/checkout");
}

#[test]
fn everything_has_the_word_that_people_know_it_by() {
    let verbs = [
        (Verb::Promote { full: true, without_guards: false }, "promote"),
        (Verb::Skip, "skip"),
        (Verb::Abort, "abort"),
        (Verb::Pause, "pause"),
        (Verb::Resume, "resume"),
        (Verb::Retry { without: None }, "retry"),
        (Verb::Undo, "undo"),
    ];
    for (verb, word) in verbs {
        assert_eq!(verb.word(), word);
    }
    let verdicts = [
        (Verdict::Pass, "Pass"),
        (Verdict::Fail { breach: true }, "Fail"),
        (Verdict::Inconclusive { over_limit: false }, "Inconclusive"),
        (Verdict::NoData, "NoData"),
        (Verdict::SourceError, "SourceError"),
        (Verdict::CanaryLost, "CanaryLost"),
    ];
    for (verdict, word) in verdicts {
        assert_eq!(verdict.word(), word);
    }
    let holds = [
        (HoldKind::Conflict { undone: None }, "Conflict"),
        (HoldKind::Person, "Person"),
        (HoldKind::Spec, "Spec"),
        (HoldKind::AlertPause, "AlertPause"),
        (HoldKind::NeedsPerson(Reason::GateExpired), "GateExpired"),
        (HoldKind::Block, "Block"),
    ];
    for (hold, word) in holds {
        assert_eq!(hold.word(), word);
    }
    let actors = [
        (Actor::Person("ada".to_owned()), "ada"),
        (Actor::Alert("burn".to_owned()), "alert burn"),
        (Actor::Policy("onDeadline".to_owned()), "policy onDeadline"),
        (Actor::Engine, "haldane"),
    ];
    for (actor, word) in actors {
        assert_eq!(actor.to_string(), word);
    }
}

#[test]
fn a_breach_alone_sends_traffic_back_by_itself() {
    assert!(Verdict::Fail { breach: true }.is_breach());
    for verdict in [Verdict::Fail { breach: false }, Verdict::Pass, Verdict::CanaryLost] {
        assert!(!verdict.is_breach(), "{verdict:?}");
    }
}

// === holds and blocks ===

#[test]
fn an_alert_that_blocks_is_the_one_hold_under_which_bake_counts() {
    let kinds = [
        (HoldKind::Conflict { undone: None }, false, true),
        (HoldKind::Person, true, true),
        (HoldKind::Spec, true, true),
        (HoldKind::AlertPause, true, true),
        (HoldKind::NeedsPerson(Reason::NoData), true, true),
        (HoldKind::Block, false, false),
    ];
    for (kind, pauses, stops) in kinds {
        assert_eq!((kind.pauses(), kind.stops_bake()), (pauses, stops), "{kind:?}");
        let held = World::at(Column::Baking).held(kind).record;
        assert_eq!((held.is_paused(), held.stops_bake()), (pauses, stops), "{kind:?}");
        assert_eq!(held.is_conflicted(), kind.word() == "Conflict", "{kind:?}");
    }
}

#[test]
fn a_hold_is_found_by_its_kind_whatever_its_data_and_for_its_own_reason() {
    let conflict = HoldKind::Conflict { undone: None };
    let asked = HoldKind::NeedsPerson(Reason::NoData);
    let held = World::at(Column::Baking).held(conflict).held(asked).record;
    assert!(held.hold(HoldKind::Conflict { undone: Some(at(0)) }).is_some());
    assert!(held.hold(asked).is_some());
    assert!(held.hold(HoldKind::NeedsPerson(Reason::GateExpired)).is_none());
    assert!(held.hold(HoldKind::Person).is_none());
}

#[test]
fn blocks_that_leave_the_measurement_in_doubt_stop_the_bake() {
    let doubts = [
        Block::NoData,
        Block::SourceError,
        Block::Unreadable,
        Block::ShareOff,
        Block::HomeChanged,
        Block::LeaseUnsure,
    ];
    for block in Block::ALL {
        assert_eq!(block.stops_bake(), doubts.contains(block), "{block:?}");
    }
}

// === the plan and the record ===

#[test]
fn a_plan_answers_past_its_end_and_with_nothing_in_it() {
    let full = plan();
    assert_eq!((full.last_step(), full.weight(1), full.weight(9)), (2, percent(50), Weight::FULL));
    assert_eq!(full.write_deadline(), secs(10));
    assert_eq!(
        (full.other(&"blue".into()).as_str(), full.other(&"green".into()).as_str()),
        ("green", "blue")
    );
    let mut odd = plan();
    odd.checks = vec![
        haldane_model::Check { interval: secs(40), ..check("slow") },
        haldane_model::Check { interval: secs(20), ..check("quick") },
        haldane_model::Check { interval: secs(1), dry_run: true, ..check("dry") },
    ];
    assert_eq!(odd.guard_interval(), secs(20), "a dry run guards nothing");
    let names: Vec<_> = odd.gating().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["slow", "quick"]);
    odd.checks.clear();
    assert_eq!(odd.guard_interval(), secs(15));
    assert!(odd.revisions_are_told());
    odd.sides.iter_mut().for_each(|side| side.revision_query = None);
    assert!(!odd.revisions_are_told());
}

#[test]
fn a_place_says_which_step_it_stands_for_and_at_which_share() {
    let full = Weight::FULL;
    let places = [
        (Column::Pending, None, percent(0)),
        (Column::Waiting, Some(1), percent(10)),
        (Column::Shifting, Some(1), percent(10)),
        (Column::Baking, Some(1), percent(50)),
        (Column::Promoting, Some(2), full),
        (Column::Watching, None, full),
        (Column::Healthy, None, percent(0)),
        (Column::RollingBack, None, percent(0)),
        (Column::Degraded, None, percent(0)),
    ];
    for (column, step, share) in places {
        let record = World::at(column).record;
        assert_eq!((record.step(), record.asserted()), (step, share), "{column:?}");
        let place = &record.place;
        assert_eq!(place.is_in_flight(), Column::IN_FLIGHT.contains(&column), "{column:?}");
        assert_eq!(place.is_guarded(), Column::GUARDED.contains(&column), "{column:?}");
        assert_eq!(place.is_at_rest(), Column::AT_REST.contains(&column), "{column:?}");
    }
    let last = World::at(Column::Waiting).but(|world| {
        world.record.place = Place::Waiting { step: 2, since: at(0) };
    });
    assert_eq!(last.record.asserted(), percent(50), "the share of the step before");
}

#[test]
fn a_moment_is_told_on_the_clock_of_a_source_that_differs() {
    let mut moment = stamp(at(100));
    moment.sources.insert("behind".into(), at(40));
    assert_eq!((moment.of(&"behind".into()), moment.of(&"main".into())), (at(40), at(100)));
}

#[test]
fn a_while_later_is_later_on_both_clocks_and_never_past_the_end_of_time() {
    let later = moment(100).after(secs(7));
    assert_eq!((later.wall, later.mono, later.boot), (at(107), secs(107), 1));
    let end = Now { wall: Timestamp::MAX, mono: Duration::ZERO, boot: 1 };
    assert_eq!(end.after(secs(1)).wall, Timestamp::MAX);
}

// === shares and readings ===

#[test]
fn a_share_is_a_fraction_a_number_and_a_distance() {
    let quarter = percent(25);
    assert!((quarter.fraction() - 0.25).abs() < 1e-9);
    assert_eq!((u32::from(quarter), Weight::try_from(2_500)), (2_500, Ok(quarter)));
    assert_eq!(Weight::try_from(10_001), Err(WeightError(10_001)));
    assert_eq!(
        (quarter.distance(percent(40)), percent(40).distance(quarter)),
        (percent(15), percent(15))
    );
    let words = "a share must lie between 0 and 10000 basis points, got 10001";
    assert_eq!(WeightError(10_001).to_string(), words);
    let odd = Weight::from_basis_points(1_234).unwrap();
    assert_eq!(
        (odd.to_string(), percent(100).to_string()),
        ("12.34 %".to_owned(), "100 %".to_owned())
    );
}

fn reading() -> Reading {
    let mut world = World::at(Column::Baking);
    let down = Health::Down;
    let reading = world.reading();
    (reading.lowest, reading.highest) = (percent(10), percent(30));
    reading.measured = Some(percent(20));
    reading.health = (Health::Ready { ready: 1, wanted: 2 }, down);
    reading.clone()
}

#[test]
fn a_reading_tells_both_sides() {
    let (green, blue) = ("green".into(), "blue".into());
    assert_eq!(reading().range_of(&green), (percent(10), percent(30)));
    assert_eq!(reading().range_of(&blue), (percent(70), percent(90)));
    assert_eq!(reading().measured_of(&green), Some(percent(20)));
    assert_eq!(reading().measured_of(&blue), Some(percent(80)));
    assert_eq!(reading().health_of(&green), Health::Ready { ready: 1, wanted: 2 });
    assert_eq!(reading().health_of(&blue), Health::Down);
}

#[test]
fn a_reading_names_the_parts_that_did_not_answer() {
    let mut reading = reading();
    let part = |name: &str, share| Part { name: name.to_owned(), share };
    reading.parts = vec![part("a", Ok(percent(10))), part("b", Err("timeout".to_owned()))];
    assert_eq!(reading.silent_parts().collect::<Vec<_>>(), ["b"]);
    reading.parts.pop();
    assert_eq!(reading.silent_parts().count(), 0);
}

#[test]
fn known_death_wins_and_whoever_tells_wins_over_who_does_not() {
    let ready = Health::Ready { ready: 1, wanted: 2 };
    for (one, other, both) in [
        (Health::Down, ready, Health::Down),
        (ready, Health::Down, Health::Down),
        (Health::Untold, ready, ready),
        (ready, Health::Untold, ready),
        (Health::Untold, Health::Down, Health::Down),
    ] {
        assert_eq!(one.and(other), both, "{one:?} {other:?}");
    }
}

#[test]
fn a_raise_never_goes_over_a_rollback_that_it_does_not_know() {
    let raise = Mark::raise(7);
    assert!(raise.yields_to(&Mark::rollback(7)) && raise.yields_to(&Mark::rollback(8)));
    assert!(!raise.yields_to(&Mark::rollback(6)), "one that was known when it was decided");
    assert!(!raise.yields_to(&Mark::raise(8)), "raises follow one another");
    assert!(!Mark::rollback(7).yields_to(&Mark::rollback(8)), "a rollback goes over everything");
    assert!(!Mark::rollback(7).yields_to(&Mark::raise(8)));
}

#[test]
fn evidence_is_written_as_text_where_it_is_one_and_read_in_both_forms() {
    let text = Evidence::from(&b"{\"format\":2}"[..]);
    let written = serde_json::to_string(&text).unwrap();
    assert_eq!(written, r#""{\"format\":2}""#);
    let odd = Evidence::from(&[0, 255][..]);
    for evidence in [text, odd, Evidence::default()] {
        let written = serde_json::to_string(&evidence).unwrap();
        assert_eq!(serde_json::from_str::<Evidence>(&written).unwrap(), evidence);
    }
    let older: Evidence = serde_json::from_str("[123, 125]").unwrap();
    assert_eq!(older.bytes(), b"{}");
    assert!(serde_json::from_str::<Evidence>("[256]").is_err());
}

/// What a judge might think in: it counts how often it was written down and read.
#[derive(Debug, PartialEq)]
struct Number(u32);

/// Another kind.
struct Other;

static WRITTEN: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

impl Thought for Number {
    fn write(&self) -> Vec<u8> {
        WRITTEN.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.0.to_string().into_bytes()
    }
}

impl Thought for Other {
    fn write(&self) -> Vec<u8> {
        Vec::new()
    }
}

#[test]
fn a_thought_is_written_down_once_somebody_reads_it_and_bytes_are_read_once() {
    let written = || WRITTEN.load(std::sync::atomic::Ordering::SeqCst);
    let parse = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse().ok().map(Number);
    let thought = Evidence::of(Number(7));
    let same = thought.clone();
    assert_eq!(thought.thought(|_| None), Some(&Number(7)), "nothing is read");
    assert!(!thought.is_empty());
    assert_eq!(thought, same);
    assert_eq!(written(), 0, "nobody asked for bytes, not even to compare it with itself");
    assert_eq!((thought.bytes(), same.bytes(), written()), (b"7".as_slice(), b"7".as_slice(), 1));

    let stored = Evidence::from(&b"7"[..]);
    assert_eq!(stored, thought);
    assert_ne!(stored, Evidence::of(Number(8)));
    assert_eq!(stored.thought(parse), Some(&Number(7)));
    assert_eq!(stored.thought(|_| panic!("it is read once")), Some(&Number(7)));
    assert!(stored.thought::<Other>(|_| Some(Other)).is_none(), "another kind is not taken for it");
    let hash = |evidence: &Evidence| {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        evidence.hash(&mut hasher);
        hasher.finish()
    };
    assert_eq!(hash(&stored), hash(&thought));
    assert_ne!(hash(&stored), hash(&Evidence::default()));
    assert_eq!(format!("{thought:?}"), "Evidence(7)");

    let none = Evidence::default();
    assert!(none.is_empty() && none.bytes().is_empty() && none.thought(parse).is_none());
    assert!(Evidence::from(Vec::new()).is_empty());
}
