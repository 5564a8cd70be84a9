//! When a check runs: in its phase it guards and gates, outside of it there is no such check.

use std::sync::Arc;

use haldane_machine_tests::world::{
    Column, ERRORS, GREEN, Told, World, at, check, percent, plan, secs, stamp,
};
use haldane_model::{
    Block, Check, CheckName, Compared, During, Evidence, Gap, GapPolicy, Health, HoldKind, Needed,
    OnInconclusive, Place, Plan, Reason, State, Verb, Verdict, WaiverKind, Weight, Window,
};

const BREACH: Verdict = Verdict::Fail { breach: true };
const SMOKE: &str = "smoke";

/// A plan of 0, 10, 50 and 100 %, with a check beside the usual one.
fn with(during: During) -> Plan {
    let mut plan = plan();
    let first = plan.steps[0].clone();
    plan.steps.insert(0, haldane_model::Step { weight: Weight::ZERO, ..first });
    plan.checks.push(Check { during, ..check(SMOKE) });
    plan
}

/// A rollout in a place, with the check in force since the begin of its step where it is.
fn phased(place: Place, during: During) -> World {
    let mut world = World::with(Column::Baking, with(during));
    world.record.place = place;
    let share = world.record.asserted();
    if share == Weight::ZERO {
        world.record.exposed = haldane_model::Exposure::default();
    }
    if matches!(world.record.place, Place::Watching { .. }) {
        world.record.serving = Some(GREEN.into());
    }
    let plan = world.record.plan.clone().expect("a plan is pinned");
    if world.record.is_in_force(&plan.checks[1]) {
        world.record.in_force.insert(SMOKE.into(), stamp(at(9_900)));
    }
    let mark = world.known_mark();
    world.reads(share, mark, 9_000)
}

fn baking(step: usize) -> Place {
    Place::Baking { step, baked: secs(30), from: stamp(at(9_900)), done_at: None }
}

/// The bake is over, and every look lies within it and ends after it.
fn baked(step: usize, during: During) -> World {
    phased(baking(step), during).baked()
}

fn shifting(step: usize, from: Weight) -> Place {
    Place::Shifting { step, from, restore: None }
}

fn watching() -> Place {
    Place::Watching { watched: secs(300), restore: None }
}

fn promoting() -> Place {
    Place::Promoting { left: vec!["edge".into()] }
}

/// Places, and what is in force in them.
fn table() -> Vec<(Place, &'static [&'static str])> {
    let since = at(9_000);
    vec![
        (Place::Waiting { step: 0, since }, &[]),
        (shifting(0, Weight::ZERO), &[]),
        (baking(0), &["before"]),
        (Place::Waiting { step: 1, since }, &["before"]),
        (shifting(1, Weight::ZERO), &["before"]),
        (baking(1), &["second"]),
        (Place::Waiting { step: 2, since }, &["second"]),
        (shifting(2, percent(10)), &["second"]),
        (shifting(3, percent(10)), &["second"]),
        (baking(2), &[]),
        (shifting(3, percent(50)), &[]),
        (baking(3), &["after", "last"]),
        (promoting(), &["after", "last"]),
        (watching(), &["after"]),
    ]
}

fn kinds() -> [(&'static str, During); 4] {
    [
        ("before", During::BeforeTraffic),
        ("second", During::Steps(vec![1])),
        ("last", During::Steps(vec![3])),
        ("after", During::AfterPromotion),
    ]
}

// === one check's answer ===

trait Says {
    fn smoke(self, verdict: Verdict) -> World;
    fn smoke_on(self, verdict: Verdict, window: Window) -> World;
    fn no_smoke(self) -> World;
}

impl Says for World {
    /// The phased check says this; the other one passes.
    fn smoke(self, verdict: Verdict) -> World {
        let window = Window { begin: at(9_940), end: self.now.wall };
        self.smoke_on(verdict, window)
    }

    fn smoke_on(self, verdict: Verdict, window: Window) -> World {
        let odd = self.clone().verdict_on(verdict, window);
        let mut world = self.verdict(Verdict::Pass);
        let name = CheckName::from(SMOKE);
        world.seen.checks.insert(name.clone(), odd.seen.checks[&name].clone());
        world
    }

    fn no_smoke(self) -> World {
        let mut world = self.verdict(Verdict::Pass);
        world.seen.checks.remove(&CheckName::from(SMOKE));
        world
    }
}

fn smoke_in(world: &World) -> bool {
    let plan = world.record.plan.as_ref().expect("a plan is pinned");
    world.record.is_in_force(&plan.checks[1])
}

// === the phases ===

#[test]
fn a_check_is_in_force_from_the_confirmation_of_its_step_to_that_of_the_next() {
    for (place, names) in table() {
        for (name, during) in kinds() {
            let world = phased(place.clone(), during);
            assert_eq!(smoke_in(&world), names.contains(&name), "{name} in {place:?}");
        }
        assert!(smoke_in(&phased(place, During::Background)));
    }
    for column in [Column::Pending, Column::Healthy, Column::RollingBack, Column::Degraded] {
        for (name, during) in kinds() {
            let world = World::with(column, with(during));
            let plan = world.record.plan.as_ref();
            let asked = plan.is_some_and(|plan| world.record.is_in_force(&plan.checks[1]));
            assert!(!asked, "{name} in {column:?}");
        }
    }
}

#[test]
fn a_step_that_is_restored_is_the_step_that_was_confirmed() {
    let restore = Some(stamp(at(9_990)));
    let place = Place::Shifting { step: 1, from: percent(2), restore };
    assert!(smoke_in(&phased(place.clone(), During::Steps(vec![1]))));
    assert!(!smoke_in(&phased(place, During::BeforeTraffic)));
}

#[test]
fn in_its_phase_a_breach_rolls_back_and_outside_there_is_no_such_check() {
    for (place, names) in table() {
        for (name, during) in kinds() {
            let world = phased(place.clone(), during.clone());
            let turn = world.clone().smoke(BREACH).turn();
            let inside = names.contains(&name);
            assert_eq!(turn.rolls_back(), inside, "{name} in {place:?}");
            if !inside {
                let silent = world.no_smoke().turn();
                assert_eq!(turn.effects, silent.effects, "{name} in {place:?}");
                assert_eq!(turn.record, silent.record, "{name} in {place:?}: nothing is learned");
            }
        }
    }
}

#[test]
fn outside_its_phase_no_silence_of_a_check_holds() {
    for (place, names) in table() {
        for (name, during) in kinds().into_iter().filter(|(name, _)| !names.contains(name)) {
            for verdict in [Verdict::NoData, Verdict::SourceError, Verdict::CanaryLost] {
                let turn = phased(place.clone(), during.clone()).smoke(verdict).turn();
                let told = &turn.record.told;
                let gap = told.contains(&Block::NoData) || told.contains(&Block::SourceError);
                assert!(!gap, "{name} in {place:?}: {told:?}");
            }
            for policy in [GapPolicy::Abort, GapPolicy::Pause] {
                let world = phased(place.clone(), during.clone()).policy(Gap::NoData, policy);
                let state = world.smoke(Verdict::NoData).turn().state();
                let fine = !matches!(state, State::RollingBack | State::Paused);
                assert!(fine, "{name} in {place:?} under {policy:?}: {state:?}");
            }
        }
    }
}

#[test]
fn in_its_step_the_silence_of_a_check_holds_and_stops_the_bake() {
    let world = phased(baking(1), During::Steps(vec![1])).smoke(Verdict::NoData);
    let turn = world.turn();
    assert!(turn.record.told.contains(&Block::NoData));
    assert!(!turn.record.ticked.counting);
}

#[test]
fn a_step_ends_once_its_own_check_passed_too() {
    let own = |verdict| baked(1, During::Steps(vec![1])).smoke(verdict).turn();
    assert_eq!(own(Verdict::Pass).raises(), Some(percent(50)));
    assert!(own(Verdict::Pass).says(Reason::StepPassed));
    let unclear = Verdict::Inconclusive { over_limit: false };
    for verdict in [unclear, Verdict::NoData, Verdict::SourceError, BREACH] {
        assert_eq!(own(verdict).raises(), None, "{verdict:?}");
    }
    assert_eq!(baked(1, During::Steps(vec![1])).no_smoke().turn().raises(), None);
    for elsewhere in [During::Steps(vec![2]), During::BeforeTraffic, During::AfterPromotion] {
        let raises = |world: World| world.turn().raises();
        assert_eq!(raises(baked(1, elsewhere.clone()).no_smoke()), Some(percent(50)));
        assert_eq!(raises(baked(1, elsewhere).smoke(unclear)), Some(percent(50)));
    }
}

#[test]
fn the_passes_of_a_steps_own_checks_do_not_stand_in_for_the_guards() {
    let world = baked(1, During::Steps(vec![1])).smoke(Verdict::Pass).but(|world| {
        world.seen.checks.remove(&CheckName::from(ERRORS));
    });
    assert_eq!(world.turn().raises(), None);
}

// === before traffic ===

#[test]
fn a_step_without_traffic_ends_by_time_unless_a_check_is_asked_there_for_its_sake() {
    let alone = |during| baked(0, during).no_smoke().turn();
    for during in [During::Steps(vec![1]), During::AfterPromotion] {
        assert_eq!(alone(during).raises(), Some(percent(10)), "time is enough");
    }
    for during in [During::BeforeTraffic, During::Steps(vec![0])] {
        assert_eq!(alone(during.clone()).raises(), None, "{during:?}: it has not answered");
        let said = |verdict| baked(0, during.clone()).smoke(verdict).turn();
        let unclear = Verdict::Inconclusive { over_limit: false };
        for verdict in [unclear, Verdict::NoData, Verdict::CanaryLost, Verdict::SourceError] {
            assert_eq!(said(verdict).raises(), None, "{during:?}: {verdict:?} is no Pass");
        }
        let passed = said(Verdict::Pass);
        assert_eq!(passed.raises(), Some(percent(10)), "{during:?}");
        let entry = passed.entries.iter().find(|entry| entry.reason == Reason::StepPassed);
        let detail = entry.and_then(|entry| entry.detail.as_deref());
        assert_eq!(detail, Some("every check passed on this bake"), "{during:?}");
    }
}

#[test]
fn before_traffic_a_pass_on_a_window_that_ends_before_the_bake_did_is_none() {
    let window = Window { begin: at(9_940), end: at(9_980) };
    let early = baked(0, During::BeforeTraffic).smoke_on(Verdict::Pass, window);
    assert_eq!(early.turn().raises(), None);
}

#[test]
fn before_traffic_the_other_checks_need_no_pass_and_must_not_fail() {
    let others = |verdict| {
        let world = baked(0, During::BeforeTraffic).verdict(verdict);
        let pass =
            world.clone().verdict(Verdict::Pass).seen.checks[&CheckName::from(SMOKE)].clone();
        world.but(|world| drop(world.seen.checks.insert(SMOKE.into(), pass))).turn()
    };
    assert_eq!(
        others(Verdict::NoData).raises(),
        Some(percent(10)),
        "nobody is there to be counted"
    );
    assert_eq!(others(Verdict::Fail { breach: false }).raises(), None);
    assert!(others(BREACH).rolls_back());
}

#[test]
fn a_check_that_fails_before_traffic_ends_the_attempt_before_any_user_saw_it() {
    let turn = phased(baking(0), During::BeforeTraffic).smoke(BREACH).turn();
    assert!(turn.rolls_back() && turn.says(Reason::Breach));
    assert!(turn.record.exposed.could.is_none(), "no raise was recorded");
}

#[test]
fn before_traffic_a_check_left_out_by_its_policy_passes_nothing() {
    let world = baked(0, During::BeforeTraffic).policy(Gap::NoData, GapPolicy::Ignore);
    assert_eq!(world.smoke(Verdict::NoData).turn().raises(), None);
}

#[test]
fn before_traffic_the_longest_bake_and_a_person_end_the_wait() {
    let waits = || {
        baked(0, During::BeforeTraffic)
            .planned(|plan| plan.steps[0].max_bake = Some(secs(60)))
            .smoke(Verdict::NoData)
    };
    assert!(waits().turn().says(Reason::MaxBakeReached));
    let skipped = baked(0, During::BeforeTraffic).smoke(Verdict::NoData).asks(Verb::Skip);
    assert_eq!(skipped.settled().turn().record.step(), Some(1));
}

#[test]
fn a_raise_into_traffic_asks_the_check_before_it_again() {
    let raise = |verdict| phased(shifting(1, Weight::ZERO), During::BeforeTraffic).smoke(verdict);
    assert_eq!(raise(Verdict::Pass).turn().raises(), Some(percent(10)));
    assert_eq!(raise(Verdict::SourceError).turn().raises(), None);
    let silent = phased(shifting(1, Weight::ZERO), During::BeforeTraffic).no_smoke();
    assert_eq!(silent.turn().raises(), None);
}

// === after the promotion ===

#[test]
fn at_full_and_in_the_watch_a_check_of_its_own_guards_and_time_ends() {
    let done = baked(3, During::AfterPromotion);
    let unclear = Verdict::Inconclusive { over_limit: false };
    for verdict in [Verdict::Pass, unclear] {
        assert_eq!(done.clone().smoke(verdict).turn().state(), State::Promoting, "{verdict:?}");
    }
    for verdict in [Verdict::NoData, Verdict::Fail { breach: false }] {
        assert_eq!(done.clone().smoke(verdict).turn().state(), State::Baking, "{verdict:?}");
    }
    assert_eq!(done.no_smoke().turn().state(), State::Baking, "it has not answered");
    let watch = phased(watching(), During::AfterPromotion);
    assert!(watch.clone().smoke(BREACH).turn().rolls_back());
    assert!(watch.smoke(Verdict::NoData).turn().record.told.contains(&Block::NoData));
}

#[test]
fn a_check_of_the_last_step_does_not_guard_the_watch() {
    let turn = phased(watching(), During::Steps(vec![3])).smoke(BREACH).turn();
    assert_eq!(turn.state(), State::Healthy);
}

// === phases begin with nothing ===

#[test]
fn a_phase_begins_with_the_confirmation_and_what_was_found_before_is_nothing_to_it() {
    let shifting = phased(shifting(1, Weight::ZERO), During::Steps(vec![1]));
    let begun = shifting.read(10).no_smoke().won();
    let Place::Baking { from, .. } = &begun.record.place else { panic!("the bake began") };
    assert_eq!(begun.record.in_force.get(&SMOKE.into()), Some(from));
    let before = Window { begin: at(9_940), end: from.wall };
    let stale = begun.clone().later(5).smoke_on(BREACH, before);
    assert_eq!(stale.turn().state(), State::Baking, "its window ended before the phase began");
    let after = Window { end: at(10_004), ..before };
    assert!(begun.later(5).smoke_on(BREACH, after).turn().rolls_back());
}

#[test]
fn what_a_check_found_in_one_phase_is_forgotten_with_its_end() {
    let both = During::Steps(vec![1, 3]);
    let learned = phased(baking(1), both).smoke(Verdict::Fail { breach: false }).won();
    assert!(learned.record.evidence.contains_key(&SMOKE.into()));
    let place = shifting(2, percent(10));
    let mut left = learned.but(|world| world.record.place = place);
    assert!(left.won().record.evidence.contains_key(&SMOKE.into()), "its share stands still");
    left = left.read(50).won();
    assert_eq!(left.record.step(), Some(2));
    assert!(!left.record.evidence.contains_key(&SMOKE.into()), "failures do not carry over");
    assert!(!left.record.in_force.contains_key(&SMOKE.into()));
    assert!(left.record.evidence.contains_key(&ERRORS.into()), "what is asked all along stays");
    assert!(left.record.judged_to.contains_key(&SMOKE.into()), "no look counts twice");
}

#[test]
fn a_phase_that_goes_on_keeps_its_begin_and_its_evidence() {
    let next = phased(shifting(2, percent(10)), During::Steps(vec![1, 2])).read(50);
    let next = next.smoke(Verdict::Pass).won();
    assert_eq!(next.record.step(), Some(2));
    assert_eq!(next.record.in_force.get(&SMOKE.into()), Some(&stamp(at(9_900))));
    assert!(next.record.evidence.contains_key(&SMOKE.into()));
    let flipped = phased(promoting(), During::AfterPromotion).but(|world| {
        world.seen.finished.insert("edge".into(), Ok(()));
    });
    let flipped = flipped.smoke(Verdict::Pass).settled();
    assert!(matches!(flipped.record.place, Place::Watching { .. }));
    assert_eq!(flipped.record.in_force.get(&SMOKE.into()), Some(&stamp(at(9_900))));
}

#[test]
fn after_a_rollback_what_was_found_stays_and_a_new_attempt_has_none_of_it() {
    let back = phased(baking(1), During::Steps(vec![1])).smoke(BREACH).won();
    assert_eq!(back.record.state(), State::RollingBack);
    assert!(back.record.evidence.contains_key(&SMOKE.into()));
    let mut again = World::with(Column::Pending, with(During::Steps(vec![0])));
    again.record.in_force.insert(SMOKE.into(), stamp(at(9_000)));
    let started = again.verdict(Verdict::Pass).won();
    assert_eq!(started.record.attempt, 1);
    assert!(started.record.in_force.is_empty());
}

#[test]
fn a_rollout_begins_without_the_answers_of_checks_that_are_asked_later() {
    for (name, during) in kinds() {
        let world = World::with(Column::Pending, with(during)).no_smoke();
        assert_eq!(world.turn().state(), State::Shifting, "{name}");
    }
}

#[test]
fn a_phase_that_begins_in_the_future_begins_now() {
    let world = phased(baking(1), During::Steps(vec![1])).but(|world| {
        world.record.in_force.insert(SMOKE.into(), stamp(at(90_000)));
    });
    let turn = world.turn();
    assert_eq!(turn.record.in_force.get(&SMOKE.into()).map(|since| since.wall), Some(at(10_000)));
}

#[test]
fn the_begin_of_a_phase_is_told_on_its_sources_clock() {
    let world = phased(baking(1), During::Steps(vec![1])).but(|world| {
        let ahead = jiff::SignedDuration::from_hours(-1);
        world.seen.clocks.insert("main".into(), ahead);
    });
    let behind = |end| Window { begin: at(6_000), end: at(end) };
    assert!(world.clone().smoke_on(BREACH, behind(6_301)).turn().rolls_back());
    assert!(!world.smoke_on(BREACH, behind(6_300)).turn().rolls_back());
}

#[test]
fn a_dry_run_in_its_phase_decides_nothing() {
    for (place, _) in table() {
        for (name, during) in kinds() {
            let world = phased(place.clone(), during).planned(|plan| plan.checks[1].dry_run = true);
            let turn = world.clone().smoke(BREACH).turn();
            assert!(!turn.rolls_back(), "{name} in {place:?}");
            assert_eq!(turn.effects, world.no_smoke().turn().effects, "{name} in {place:?}");
        }
    }
}

// === dry runs, and the hold zone ===

#[test]
fn a_dry_run_that_fails_keeps_no_first_raise_from_leaving() {
    let first = World::at(Column::Shifting).planned(|plan| {
        plan.checks.push(Check { dry_run: true, ..check(SMOKE) });
    });
    let first = first.read(0).but(|world| {
        world.record.place = shifting(0, Weight::ZERO);
        world.record.exposed.confirmed = None;
    });
    let leaves =
        |world: &World| haldane_machine::may_still_raise(&world.record, &world.seen, world.now);
    assert!(leaves(&first.clone().smoke(BREACH)));
    assert!(!leaves(&first.clone().verdict(BREACH)), "a guard that fails does");
    let before = first.verdict(BREACH).but(|world| {
        world.checks().for_each(|check| check.at_rest = true);
    });
    assert!(!leaves(&before), "also where it answered before the attempt");
}

fn compared() -> Compared {
    Compared { serving: Some(0.2), odds: 1.0, odds_needed: 100.0, holds: false, needed: None }
}

/// A check says that the step is held: both sides fail, or much speaks against the side under test.
fn holding(world: World) -> World {
    let verdict = Verdict::Inconclusive { over_limit: false };
    world.verdict(verdict).but(|world| {
        for check in world.checks() {
            Arc::make_mut(&mut check.finding).compared =
                Some(Compared { holds: true, ..compared() });
        }
    })
}

fn promoting_by_policy() -> World {
    World::at(Column::Baking).baked().planned(|plan| {
        plan.policies.inconclusive = OnInconclusive::Promote;
        plan.steps[1].max_bake = Some(secs(60));
    })
}

#[test]
fn c10_promote_by_policy_passes_no_step_that_is_held() {
    let unclear = Verdict::Inconclusive { over_limit: false };
    let passed = promoting_by_policy().verdict(unclear);
    assert!(passed.turn().says(Reason::MaxBakeReached), "evidence is missing, and nothing else");
    let held = holding(promoting_by_policy());
    let turn = held.turn();
    assert_eq!((turn.raises(), turn.reasons()), (None, vec![Reason::AwaitingPass]));
    assert!(turn.record.waivers.is_empty());
    assert!(turn.entries[0].finding.is_some(), "it says what holds");
    assert!(held.won().turn().entries.is_empty(), "told once");
    let recovered = held.won().later(15).verdict(unclear);
    assert!(recovered.turn().says(Reason::MaxBakeReached), "it goes on by itself");
}

#[test]
fn c10_a_step_that_policy_passed_waits_where_a_check_begins_to_hold_it() {
    let unclear = Verdict::Inconclusive { over_limit: false };
    let waived = promoting_by_policy().health(GREEN, Health::Untold).held(HoldKind::Block);
    let waived = waived.fires(haldane_model::AlertAction::Block, 60).verdict(unclear).won();
    assert_eq!(waived.record.waivers[0].kind, WaiverKind::Policy);
    let open = waived.later(15).but(|world| {
        world.seen.alerts.clear();
        world.record.holds.clear();
    });
    assert_eq!(holding(open.clone()).turn().raises(), None);
    assert_eq!(open.verdict(unclear).turn().raises(), Some(Weight::FULL));
}

#[test]
fn c7_a_limit_on_unclear_looks_promotes_no_step_that_is_held() {
    let over = |world: World| {
        world.but(|world| {
            for check in world.checks() {
                check.verdict = Verdict::Inconclusive { over_limit: true };
            }
        })
    };
    let base = || promoting_by_policy().planned(|plan| plan.steps[1].max_bake = None);
    let unclear = Verdict::Inconclusive { over_limit: false };
    assert!(over(base().verdict(unclear)).turn().says(Reason::Inconclusive));
    assert!(!over(holding(base())).turn().says(Reason::Inconclusive));
}

#[test]
fn a_dry_run_holds_no_step() {
    let held = holding(promoting_by_policy().planned(|plan| {
        plan.checks.push(Check { dry_run: true, ..check(SMOKE) });
    }));
    let unclear = Verdict::Inconclusive { over_limit: false };
    let pass = held.clone().verdict(unclear).seen.checks[&CheckName::from(ERRORS)].clone();
    let held = held.but(|world| drop(world.seen.checks.insert(ERRORS.into(), pass)));
    assert!(held.turn().says(Reason::MaxBakeReached));
}

#[test]
fn evidence_of_a_check_out_of_its_phase_is_not_taken_in() {
    let world = phased(baking(2), During::Steps(vec![1])).smoke(Verdict::Pass);
    let learned = world.turn().record;
    assert_eq!(learned.evidence.get(&ERRORS.into()), Some(&Evidence::from(&b"rates"[..])));
    assert!(!learned.evidence.contains_key(&SMOKE.into()));
}

// === what was needed beside the estimate ===

/// A comparison had so many requests of the side under test, and needs so many more.
fn needing(world: World, samples: f64, needed: Option<(f64, Option<f64>)>) -> World {
    let needed = needed.map(|(requests, secs)| Needed { requests, secs });
    world.but(|world| {
        for check in world.checks() {
            let finding = Arc::make_mut(&mut check.finding);
            finding.samples = Some(samples);
            finding.compared = Some(Compared { needed, ..compared() });
        }
    })
}

/// The step baked for half a minute when its check told for the first time what it needs.
fn estimated(secs: Option<f64>) -> World {
    let unclear = Verdict::Inconclusive { over_limit: false };
    needing(World::at(Column::Baking).verdict(unclear), 40.0, Some((609.5, secs))).won()
}

#[test]
fn the_first_estimate_of_a_step_is_kept_and_told_with_its_pass_beside_what_it_took() {
    let first = estimated(Some(2_164.0));
    let expected = first.record.expected.clone().expect("it is noted");
    assert_eq!((expected.requests, expected.samples), (610, 40));
    assert_eq!(expected.time, Some(secs(2_164)));
    let later = needing(first, 90.0, Some((500.0, None))).later(15).won();
    assert_eq!(later.record.expected.as_ref(), Some(&expected), "the first counts");
    let passed = later.but(|world| {
        let done_at = Some(stamp(at(9_990)));
        world.record.place =
            Place::Baking { step: 1, baked: secs(1_720), from: stamp(at(9_900)), done_at };
    });
    let turn = needing(passed.verdict(Verdict::Pass), 520.0, None).turn();
    let entry = turn.entries.iter().find(|entry| entry.reason == Reason::StepPassed);
    let detail = entry.and_then(|entry| entry.detail.clone()).expect("the step passed");
    let told = "every check passed on this bake; errors took 480 requests in 28m10s, about 610 in 36m04s \
                were expected";
    assert_eq!(detail, told);
}

#[test]
fn an_estimate_without_a_time_is_told_without_one_and_a_step_without_any_says_nothing_of_it() {
    let passed = |world: World| {
        let turn = needing(world.baked().verdict(Verdict::Pass), 520.0, None).turn();
        turn.entries.iter().find_map(|entry| entry.detail.clone()).expect("the step passed")
    };
    assert!(passed(estimated(None)).ends_with("in 30s, about 610 were expected"));
    assert_eq!(passed(World::at(Column::Baking)), "every check passed on this bake");
}

#[test]
fn each_step_has_an_estimate_of_its_own_and_each_attempt() {
    let left = estimated(None).but(|world| world.record.place = shifting(2, percent(50)));
    let next = left.read(100).won();
    assert_eq!((next.record.step(), &next.record.expected), (Some(2), &None));
    let mut again = World::at(Column::Pending);
    again.record.expected = estimated(None).record.expected;
    assert_eq!(again.won().record.expected, None);
    let elsewhere = needing(World::at(Column::Shifting), 40.0, Some((610.0, None)));
    assert_eq!(elsewhere.turn().record.expected, None, "no step bakes");
}

#[test]
fn of_several_checks_the_one_that_needs_most_is_noted_and_a_dry_run_is_not_asked() {
    let unclear = Verdict::Inconclusive { over_limit: false };
    let world = World::at(Column::Baking).planned(|plan| {
        plan.checks.push(check("latency"));
        plan.checks.push(Check { dry_run: true, ..check("strict") });
    });
    let world = needing(world.verdict(unclear), 40.0, Some((100.0, None))).but(|world| {
        for (name, more) in [("latency", 300.0), ("strict", 900.0)] {
            let check = world.seen.checks.get_mut(&CheckName::from(name)).expect("it is seen");
            let finding = Arc::make_mut(&mut Arc::make_mut(check).finding);
            let needed = Some(Needed { requests: more, secs: None });
            finding.compared = Some(Compared { needed, ..compared() });
        }
    });
    let expected = world.turn().record.expected.expect("it is noted");
    assert_eq!((expected.check.as_str(), expected.requests), ("latency", 300));
}

#[test]
fn times_are_told_in_the_units_that_fit() {
    for (secs, text) in [(59.0, "59s"), (61.0, "1m01s"), (3_600.0, "1h00m"), (7_380.0, "2h03m")] {
        let turn =
            needing(estimated(Some(secs)).baked().verdict(Verdict::Pass), 520.0, None).turn();
        let detail = turn.entries.iter().find_map(|entry| entry.detail.clone()).unwrap_or_default();
        assert!(detail.contains(&format!("about 610 in {text} were expected")), "{detail}");
    }
}
