//! The judge's promises about errors of its own, on simulated traffic with fixed seeds.
//!
//! A short form of `make analysis-sim`, whose page (`analysis/judge/VALIDATION.md`) has all of it.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::{num::NonZeroUsize, thread};

use haldane_analysis_tests::sim::{
    chapters::{clumps, false_rollbacks, late, latency, not_worse, race, situations},
    dice::Dice,
    ours::{Guard, NOTHING, Ours, RECOMMENDED, TOLERANCE},
    pods::Arrivals,
    rules::Rule,
    run::Plan,
    slow::Slower,
    table::{Rate, Times},
    traffic::{Curve, Scene},
};
use haldane_judge::betting::Margin;

fn plan() -> Plan {
    Plan { rollouts: 0, threads: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN) }
}

/// Fails where something happens more often than promised, by more than chance explains.
#[track_caller]
fn at_most(what: &str, rate: Rate, promised: f64) {
    let deviation = (promised * (1.0 - promised) / rate.of as f64).sqrt();
    assert!(rate.part() <= promised + 3.0 * deviation, "{what}: {rate}, promised {promised}");
}

/// Fails where the median of what was found lies further from the expected one than a part of it.
#[track_caller]
fn median_near(what: &str, times: Vec<Option<f64>>, expected: f64) {
    let median = Times::of(times).quantile(0.5).unwrap_or(f64::INFINITY);
    let room = 0.2 * expected;
    assert!((median - expected).abs() <= room, "{what}: {median} s, expected {expected} s");
}

fn first(rollouts: usize, seed: u64, scene: &Scene, ours: Ours) -> Vec<Option<f64>> {
    race(&plan(), rollouts, seed, scene, &[("", Rule::Ours(ours))]).remove(0)
}

fn found(times: &[Option<f64>]) -> Rate {
    Rate::count(times.iter().map(Option::is_some))
}

#[test]
fn the_same_version_is_rolled_back_no_more_often_than_promised() {
    let settings = [
        ("recommended", RECOMMENDED),
        ("nothing tolerated", Ours { margin: NOTHING, ..RECOMMENDED }),
        (
            "nothing tolerated, no guard",
            Ours { margin: NOTHING, guard: Guard::None, ..RECOMMENDED },
        ),
    ];
    for (at, (name, scene)) in false_rollbacks::scenes().into_iter().enumerate() {
        for (what, ours) in settings {
            let rolled_back = found(&first(1500, 100 + at as u64, &scene, ours));
            at_most(&format!("{name}, {what}"), rolled_back, ours.alpha);
        }
    }
}

#[test]
fn a_version_exactly_on_the_limit_is_rolled_back_no_more_often_than_promised() {
    let limit = Curve::Flat(TOLERANCE.ratio * 0.005 + TOLERANCE.absolute);
    let scene = Scene { test: limit, ..Scene::usual(50.0, 0.005) };
    for alpha in [0.01, 0.05] {
        let ours = Ours { alpha, guard: Guard::None, ..RECOMMENDED };
        at_most("on the limit", found(&first(4000, 200, &scene, ours)), alpha);
    }
}

#[test]
fn twice_the_promise_would_be_seen() {
    // Beyond the limit the promise no longer holds, and this suite must notice.
    let beyond = Scene::usual(50.0, 0.005).worse(2.0);
    let rolled_back = found(&first(500, 300, &beyond, RECOMMENDED));
    assert!(rolled_back.part() > 0.5, "{rolled_back}");
}

#[test]
fn an_incident_that_both_versions_share_rolls_nothing_back() {
    let rolled_back = found(&first(2000, 400, &situations::shared_incident(), RECOMMENDED));
    assert!(rolled_back.part() <= 0.005, "{rolled_back}");
}

#[test]
fn a_share_that_rises_while_errors_drift_is_no_regression() {
    let strict = Ours { margin: NOTHING, guard: Guard::None, ..RECOMMENDED };
    let rolled_back = found(&first(1000, 401, &situations::ramp_in_drift(), strict));
    at_most("ramp in drift", rolled_back, strict.alpha);
}

#[test]
fn errors_in_clusters_count_as_one_once_their_size_is_measured() {
    let strict = Ours { margin: NOTHING, ..RECOMMENDED };
    let rolled_back = plan().run(500, 402, |dice| {
        let played = clumps::play(Arrivals::Clusters(3.0), 1.0, dice);
        let with = |ours: Ours| ours.first(&played.windows, clumps::WINDOW_SECS).is_some();
        [with(played.measured(strict)), with(Ours { guard: Guard::None, ..strict })]
    });
    let rate = |at: usize| Rate::count(rolled_back.iter().map(|found| found[at]));
    at_most("clusters, measured", rate(0), strict.alpha);
    assert!(rate(1).part() > 0.5, "unmeasured and unguarded, clusters deceive: {}", rate(1));
}

#[test]
fn a_regression_that_begins_late_is_found_almost_as_fast() {
    let times = first(500, 510, &late::scene(5.0), RECOMMENDED);
    let delays = times.into_iter().map(|time| time.map(|time| time - late::ONSET_SECS)).collect();
    median_near("five times the errors after half an hour", delays, 160.0);
}

#[test]
fn what_is_worse_is_found_as_fast_as_it_was() {
    let usual = Scene::usual(50.0, 0.005);
    for (factor, expected) in [(2.0, 975.0), (5.0, 80.0), (20.0, 15.0), (200.0, 10.0)] {
        let times = first(800, 500 + factor as u64, &usual.worse(factor), RECOMMENDED);
        median_near(&format!("{factor} times the errors"), times, expected);
    }
}

#[test]
fn five_times_the_errors_are_found_in_a_minute_and_a_half() {
    let times = first(800, 520, &Scene::usual(50.0, 0.005).worse(5.0), RECOMMENDED);
    let median = Times::of(times).quantile(0.5).unwrap();
    assert!(median <= 90.0, "{median} s");
}

#[test]
fn half_as_slow_again_is_found_within_half_a_minute() {
    let times = latency::found(&plan(), 300, 600, Slower { factor: 1.5, stalled: 0.0 });
    assert!(Times::of(times).quantile(0.5).unwrap() <= 30.0);
    let alike = latency::found(&plan(), 500, 601, Slower { factor: 1.0, stalled: 0.0 });
    at_most("latency, alike", found(&alike), latency::OURS.alpha);
}

#[test]
fn what_lies_on_the_margin_is_called_not_worse_no_more_often_than_promised() {
    let margins = [(1.5, 0.002), (1.5, 0.005), (1.25, 0.002)];
    for (at, (ratio, absolute)) in margins.into_iter().enumerate() {
        let margin = Margin { ratio, absolute };
        let scene = not_worse::on_the_margin(Scene::usual(50.0, 0.005), 0.005, margin);
        let shown = not_worse::shown(&plan(), 2000, 700 + at as u64, &scene, margin);
        at_most("on the margin", found(&shown), not_worse::BETA);
    }
}

#[test]
fn the_number_of_threads_changes_no_number() {
    let scene = Scene::usual(50.0, 0.005).worse(5.0);
    let rules = [("", Rule::Ours(RECOMMENDED)), ("", Rule::Kayenta)];
    let by = |threads: usize| {
        let plan = Plan { rollouts: 0, threads: NonZeroUsize::new(threads).unwrap() };
        race(&plan, 50, 800, &scene, &rules)
    };
    assert_eq!(by(1), by(3));
}

/// The dice's own proof: means and variances, on both sides of the change of method.
#[test]
fn dice_fall_as_their_distributions_say() {
    const ROLLS: usize = 40_000;
    #[track_caller]
    fn check(what: &str, mean: f64, variance: f64, mut roll: impl FnMut(&mut Dice) -> f64) {
        let mut dice = Dice::new(900, 0);
        let rolls: Vec<f64> = (0..ROLLS).map(|_| roll(&mut dice)).collect();
        let seen = rolls.iter().sum::<f64>() / ROLLS as f64;
        let spread = rolls.iter().map(|roll| (roll - seen).powi(2)).sum::<f64>() / ROLLS as f64;
        let room = 5.0 * (variance / ROLLS as f64).sqrt();
        assert!((seen - mean).abs() <= room, "{what}: mean {seen}, not {mean}");
        assert!(
            (spread / variance - 1.0).abs() < 0.08,
            "{what}: variance {spread}, not {variance}"
        );
    }
    check("normal", 0.0, 1.0, Dice::normal);
    check("geometric", 3.0, 6.0, |dice| dice.geometric(3.0));
    for mean in [0.3, 11.9, 12.1, 225.0, 9000.0] {
        check(&format!("poisson {mean}"), mean, mean, |dice| dice.poisson(mean));
    }
    for (n, p) in [(25.0, 0.005), (200.0, 0.3), (9000.0, 0.005), (50.0, 0.8), (1000.0, 0.5)] {
        let what = format!("binomial {n} {p}");
        check(&what, n * p, n * p * (1.0 - p), |dice| dice.binomial(n, p));
    }
}
