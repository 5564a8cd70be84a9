//! What the simulation measured is what the judge does: the same traffic through the judge's own fold
//! ends in the same window.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::time::Duration;

use haldane_analysis_tests::sim::{
    dice::Dice,
    ours::{Guard, NotWorse, Ours, RECOMMENDED, SLOWER},
    slow::{BOUNDS, Buckets, Latencies, Slower, tails},
    traffic::Scene,
};
use haldane_judge::{
    Rule, Stage,
    betting::{Margin, Sums},
    fold,
};
use haldane_model::{
    Answer, Count, CountWindow, Counts, Evidence, Limits, Sample, Verdict, Weight, Window,
};
use jiff::Timestamp;

const WINDOW_SECS: i64 = 5;
/// Where nothing was measured before, three windows must agree.
const UNMEASURED: Ours = Ours { guard: Guard::Three, ..RECOMMENDED };

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn side(process: &str, total: f64, bad: Vec<f64>) -> Vec<Count> {
    vec![Count { process: process.into(), total, bad }]
}

fn window(number: usize, test: Vec<Count>, serving: Vec<Count>) -> CountWindow {
    let begin = number as i64 * WINDOW_SECS;
    CountWindow { window: Window { begin: at(begin), end: at(begin + WINDOW_SECS) }, test, serving }
}

/// What the judge said first, in seconds: to roll back, and to go on.
#[derive(Debug, PartialEq)]
struct Said {
    breach: Option<f64>,
    pass: Option<f64>,
}

/// Lets the judge look after every window, until it rolls back.
fn judged(rule: &str, bounds: &[f64], windows: &[CountWindow], before: &[CountWindow]) -> Said {
    let rule = Rule::parse(rule).unwrap();
    let percent = |percent| Weight::from_percent(percent).unwrap();
    let stage = Stage {
        step: 0,
        weight: percent(10),
        next: Some(percent(40)),
        windows_from: at(0),
        gates: true,
    };
    let mut evidence = Evidence::default();
    let mut said = Said { breach: None, pass: None };
    for (number, window) in windows.iter().enumerate() {
        let counts = Counts {
            bounds: bounds.to_vec(),
            windows: vec![window.clone()],
            before: if number == 0 { before.to_vec() } else { Vec::new() },
            late: 0,
            skew: None,
        };
        let sample = Sample {
            window: window.window,
            scrape: Duration::from_secs(5),
            share: Some(percent(10)),
            answer: Answer::Counted(counts),
            count: None,
            serving_count: None,
            targets_down: false,
        };
        let check = "check".into();
        let folded = fold(&rule, &Limits::default(), &stage, &evidence, &check, &sample);
        evidence = folded.evidence;
        let secs = ((number + 1) as i64 * WINDOW_SECS) as f64;
        match folded.verdict {
            Verdict::Fail { .. } => {
                said.breach = Some(secs);
                return said;
            }
            Verdict::Pass => said.pass = said.pass.or(Some(secs)),
            _ => {}
        }
    }
    said
}

fn errors(sums: &[Sums]) -> Vec<CountWindow> {
    let counted = |(number, sums): (usize, &Sums)| {
        let test = side("test", sums.test_total, vec![sums.test_bad]);
        window(number, test, side("serving", sums.serving_total, vec![sums.serving_bad]))
    };
    sums.iter().enumerate().map(counted).collect()
}

#[test]
fn the_judge_rolls_back_in_the_window_that_the_simulation_measured() {
    let rule = r#"{"compare": {"kind": "errors"}}"#;
    let mut found = 0;
    for (factor, rollouts) in [(1.0, 4), (2.0, 12), (5.0, 24), (20.0, 12), (200.0, 4)] {
        for rollout in 0..rollouts {
            let scene = Scene { secs: 600.0, ..Scene::usual(50.0, 0.005).worse(factor) };
            let sums = scene.play(&mut Dice::new(1000 + factor as u64, rollout));
            let expected = UNMEASURED.first(&sums, WINDOW_SECS as f64);
            let said = judged(rule, &[], &errors(&sums), &[]);
            assert_eq!(said.breach, expected, "{factor} times the errors, rollout {rollout}");
            found += usize::from(expected.is_some());
        }
    }
    assert!(found >= 40, "only {found} rolled back");
}

#[test]
fn the_judge_clears_a_step_in_the_window_that_the_simulation_measured() {
    let rule = r#"{"compare": {"kind": "errors"}}"#;
    let margin = Margin { ratio: 1.5, absolute: 0.002 / 0.4 };
    let mut cleared = 0;
    for rollout in 0..24 {
        let scene = Scene { secs: 600.0, ..Scene::usual(50.0, 0.005) };
        let sums = scene.play(&mut Dice::new(1100, rollout));
        let shown = NotWorse { beta: 0.05, margin }.first(&sums, WINDOW_SECS as f64);
        let said = judged(rule, &[], &errors(&sums), &[]);
        // A step lasts a minute at least; the evidence may have fallen again by then.
        if let Some(shown) = shown.filter(|shown| *shown > 60.0) {
            assert_eq!(said.pass, Some(shown), "rollout {rollout}");
            cleared += 1;
        } else if shown.is_none() {
            assert_eq!(said.pass, None, "rollout {rollout}");
        }
    }
    assert!(cleared >= 12, "only {cleared} cleared");
}

#[test]
fn the_judge_finds_slow_requests_in_the_window_that_the_simulation_measured() {
    let rule = r#"{"compare": {"kind": "latency"}}"#;
    let ours = Ours { margin: SLOWER, ..UNMEASURED };
    let changes = [(1.0, 0.0), (1.2, 0.0), (1.5, 0.0), (3.0, 0.0), (1.0, 0.02), (1.0, 0.1)];
    for (number, (factor, stalled)) in changes.into_iter().enumerate() {
        for rollout in 0..4 {
            let mut dice = Dice::new(1200 + number as u64, rollout);
            let slower = Slower { factor, stalled };
            let latencies = Latencies::play(50.0, 120, slower, &mut dice);
            let counted = |(number, buckets): (usize, &Buckets)| {
                let of = |name, side_of: &[f64; 12]| {
                    side(name, side_of.iter().sum(), tails(side_of).to_vec())
                };
                window(number, of("test", &buckets.test), of("serving", &buckets.serving))
            };
            let windows: Vec<_> = latencies.windows.iter().enumerate().map(counted).collect();
            let before = window(0, Vec::new(), side("serving", 1000.0, latencies.before.to_vec()));
            let expected = ours.first_slow(&latencies.sums(), &latencies.usual, WINDOW_SECS as f64);
            let said = judged(rule, &BOUNDS, &windows, &[before]);
            assert_eq!(said.breach, expected, "{slower:?}, rollout {rollout}");
        }
    }
}
