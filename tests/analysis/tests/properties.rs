//! What the bets promise for any traffic: exactly where that can be enumerated, else from seeds.
//!
//! Every random claim prints its seed; `HALDANE_SEED` sets another one.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::{env, time::Duration};

use haldane_judge::{
    Folded, Rule, Stage,
    betting::{Game, Grid, Margin, Process, Sums, cap, log_bet, weighted_mean},
    fold,
};
use haldane_model::{Answer, Count, CountWindow, Counts, Evidence, Limits, Sample, Weight, Window};
use jiff::Timestamp;
use rand::{RngExt, SeedableRng, rngs::StdRng};

const ALPHA: f64 = 0.01;
const NO_TOLERANCE: Margin = Margin { ratio: 1.0, absolute: 0.0 };

fn random(claim: u64) -> StdRng {
    let seed = env::var("HALDANE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(2_026);
    println!("seed {seed}, claim {claim}");
    StdRng::seed_from_u64(seed ^ (claim << 32))
}

fn below(rng: &mut StdRng, most: u32) -> f64 {
    f64::from(rng.random_range(0..=most))
}

fn any_sums(rng: &mut StdRng) -> Sums {
    let (test_total, serving_total) = (below(rng, 400), below(rng, 4_000));
    Sums {
        test_bad: (test_total * rng.random::<f64>() * 0.2).floor(),
        test_total,
        serving_bad: (serving_total * rng.random::<f64>() * 0.2).floor(),
        serving_total,
    }
}

fn any_margin(rng: &mut StdRng) -> Margin {
    Margin { ratio: 0.5 + rng.random::<f64>() * 2.0, absolute: rng.random::<f64>() * 0.05 }
}

/// Errors of so many requests that fail rarely (Knuth, 1969).
fn poisson(rng: &mut StdRng, mean: f64) -> f64 {
    let (floor, mut product, mut count) = ((-mean).exp(), rng.random::<f64>(), 0.0);
    while product > floor {
        product *= rng.random::<f64>();
        count += 1.0;
    }
    count
}

// === 1: under the null, exactly ===

fn binomial(number: usize, p: f64) -> Vec<f64> {
    let mut row = vec![1.0];
    for _ in 0..number {
        let stay = row.iter().map(|one| one * (1.0 - p)).chain([0.0]);
        let grow = [0.0].into_iter().chain(row.iter().map(|one| one * p));
        row = stay.zip(grow).map(|(stay, grow)| stay + grow).collect();
    }
    row
}

fn expectation(
    (tests, servings): (usize, usize),
    (p_c, p_b): (f64, f64),
    margin: &Margin,
    eta: f64,
    expected: f64,
) -> f64 {
    let (test, serving) = (binomial(tests, p_c), binomial(servings, p_b));
    let mut mean = 0.0;
    for (test_bad, p) in test.iter().enumerate() {
        for (serving_bad, q) in serving.iter().enumerate() {
            let sums = Sums {
                test_bad: test_bad as f64,
                test_total: tests as f64,
                serving_bad: serving_bad as f64,
                serving_total: servings as f64,
            };
            mean += p * q * log_bet(&sums, margin, eta, expected, 1.0).exp();
        }
    }
    mean
}

#[test]
fn on_the_edge_of_the_null_no_bet_gains_on_average() {
    let (mut cases, mut top) = (0, 0.0_f64);
    for sizes in [(1, 1), (2, 12), (5, 7), (12, 3), (12, 12), (8, 1), (1, 12)] {
        for p_b in [0.0, 0.01, 0.1, 0.3, 0.6, 0.9] {
            for (ratio, absolute) in
                [(1.0, 0.0), (1.1, 0.0002), (1.5, 0.02), (0.7, 0.0), (0.0, 0.05)]
            {
                let p_c = ratio * p_b + absolute;
                if p_c > 1.0 {
                    continue;
                }
                for eta in [0.0, 0.2, 0.8, 1.5, 4.0, 64.0] {
                    for expected in [0.0, 0.02, 0.3, 0.8] {
                        let margin = Margin { ratio, absolute };
                        let mean = expectation(sizes, (p_c, p_b), &margin, eta, expected);
                        assert!(
                            mean <= 1.0 + 1e-12,
                            "{sizes:?} p_b {p_b} r {ratio} δ {absolute} η {eta} m_b {expected}: {mean}"
                        );
                        (cases, top) = (cases + 1, top.max(mean));
                    }
                }
            }
        }
    }
    assert!(cases > 3_000 && top > 0.99, "{cases} cases, at most {top}");
}

#[test]
fn inside_the_null_no_bet_gains_either() {
    for eta in [1.5, 4.0, 64.0] {
        let mean = expectation((8, 12), (0.05, 0.2), &NO_TOLERANCE, eta, 0.0);
        assert!(mean < 1.0, "{mean}");
    }
    let mean = expectation((8, 12), (0.4, 0.2), &NO_TOLERANCE, 0.2, 0.0);
    assert!(mean < 1.0, "{mean}");
    let beyond = expectation((8, 12), (0.6, 0.2), &NO_TOLERANCE, 2.0, 0.2);
    assert!(beyond > 1.0, "beyond it, it does: {beyond}");
}

// === 2: healthy rollouts, looked at after every window ===

/// How many of so many healthy rollouts cross, with errors in clumps of `clump`.
fn crossings(
    claim: u64,
    rollouts: u32,
    clump: f64,
    traffic: impl Fn(usize) -> (f64, f64, f64),
) -> f64 {
    let mut rng = random(claim);
    let game =
        Game { grid: Grid::errors(), margin: NO_TOLERANCE, phi: clump, cap: cap(ALPHA, 1.0, true) };
    let goal = (1.0 / ALPHA).ln();
    let mut crossed = 0;
    for _ in 0..rollouts {
        let mut process = Process::new(game.grid);
        for number in 0..120 {
            let (test_total, serving_total, rate) = traffic(number);
            let mut bad = |total: f64| (clump * poisson(&mut rng, total * rate / clump)).min(total);
            let (test_bad, serving_bad) = (bad(test_total), bad(serving_total));
            let sums = Sums { test_bad, test_total, serving_bad, serving_total };
            process.play(&game, &sums, 0.0, Process::renewal(15.0));
            if process.ln_e() >= goal {
                crossed += 1;
                break;
            }
        }
    }
    f64::from(crossed) / f64::from(rollouts)
}

#[track_caller]
fn rarely(part: f64, rollouts: f64) {
    let most = ALPHA + 3.0 * (ALPHA * (1.0 - ALPHA) / rollouts).sqrt();
    println!("{part} of the healthy rollouts crossed, {most} allowed");
    assert!(part <= most, "{part} > {most}");
}

#[test]
fn healthy_rollouts_rarely_cross_though_every_window_is_looked_at() {
    rarely(crossings(2, 10_000, 1.0, |_| (75.0, 675.0, 0.005)), 10_000.0);
}

#[test]
fn nor_where_the_shared_rate_drifts_and_the_weights_rise_with_it() {
    let ramp = |number: usize| {
        let (part, drift) = (0.05 + 0.45 * (number / 30) as f64 / 3.0, number as f64 / 120.0);
        (750.0 * part, 750.0 * (1.0 - part), 0.002 + 0.008 * drift)
    };
    rarely(crossings(3, 10_000, 1.0, ramp), 10_000.0);
}

#[test]
fn nor_in_an_incident_that_both_sides_share() {
    let incident =
        |number: usize| (75.0, 675.0, if (40..60).contains(&number) { 0.03 } else { 0.005 });
    rarely(crossings(4, 10_000, 1.0, incident), 10_000.0);
}

#[test]
fn nor_where_errors_come_in_clumps_that_were_measured() {
    rarely(crossings(5, 10_000, 3.0, |_| (75.0, 675.0, 0.01)), 10_000.0);
    let unpaid = {
        let mut rng = random(6);
        let game =
            Game { grid: Grid::errors(), margin: NO_TOLERANCE, phi: 1.0, cap: f64::INFINITY };
        let crossed = (0..1_000).filter(|_| {
            let mut process = Process::new(game.grid);
            (0..120).any(|_| {
                let mut bad = |total: f64| (3.0 * poisson(&mut rng, total * 0.01 / 3.0)).min(total);
                let sums = Sums {
                    test_bad: bad(75.0),
                    test_total: 75.0,
                    serving_bad: bad(675.0),
                    serving_total: 675.0,
                };
                process.play(&game, &sums, 0.0, Process::renewal(15.0));
                process.ln_e() >= 100f64.ln()
            })
        });
        crossed.count() as f64 / 1_000.0
    };
    assert!(unpaid > 0.1, "clumps that nobody pays for do harm: {unpaid}");
}

// === 3 to 6: shapes ===

#[test]
fn an_error_of_the_side_under_test_never_lowers_the_odds_and_one_beside_it_never_raises_them() {
    let mut rng = random(7);
    for _ in 0..20_000 {
        let (sums, margin) = (any_sums(&mut rng), any_margin(&mut rng));
        let eta = 1.0 + rng.random::<f64>() * 60.0;
        let expected = rng.random::<f64>() * 0.3;
        let bet = |sums: &Sums| log_bet(sums, &margin, eta, expected, 1.0);
        let more = Sums { test_bad: (sums.test_bad + 1.0).min(sums.test_total), ..sums };
        let beside = Sums { serving_bad: (sums.serving_bad + 1.0).min(sums.serving_total), ..sums };
        assert!(bet(&more) >= bet(&sums) - 1e-9, "{sums:?} {margin:?} η {eta}");
        assert!(bet(&beside) <= bet(&sums) + 1e-9, "{sums:?} {margin:?} η {eta}");
    }
}

#[test]
fn a_window_says_what_its_halves_say() {
    let mut rng = random(8);
    for _ in 0..20_000 {
        let (half, margin) = (any_sums(&mut rng), any_margin(&mut rng));
        let other = Sums {
            test_bad: (half.test_total * rng.random::<f64>()).floor(),
            serving_bad: (half.serving_total * rng.random::<f64>()).floor(),
            ..half
        };
        let eta = rng.random::<f64>() * 20.0;
        let expected = rng.random::<f64>() * 0.3;
        let bet = |sums: &Sums| log_bet(sums, &margin, eta, expected, 2.0);
        let (whole, halves) = (bet(&half.plus(&other)), bet(&half) + bet(&other));
        assert!((whole - halves).abs() <= 1e-9 * whole.abs().max(1.0), "{whole} {halves}");
    }
}

#[test]
fn without_one_side_nothing_is_bet_and_only_the_shares_are_renewed() {
    let game = Game { grid: Grid::errors(), margin: NO_TOLERANCE, phi: 1.0, cap: 2.0 };
    let mut process = Process::new(game.grid);
    process.play(
        &game,
        &Sums { test_bad: 5.0, test_total: 75.0, serving_bad: 3.0, serving_total: 675.0 },
        0.0,
        0.015,
    );
    for sums in [
        Sums { serving_bad: 3.0, serving_total: 675.0, ..Sums::default() },
        Sums { test_bad: 9.0, test_total: 75.0, ..Sums::default() },
        Sums::default(),
    ] {
        let mut after = process.clone();
        after.play(&game, &sums, 0.0, 0.0);
        assert_eq!(after, process);
        after.play(&game, &sums, 0.0, 0.015);
        assert_eq!(after.ln_e().to_bits(), process.ln_e().to_bits());
        for ((after, before), prior) in
            after.shares().iter().zip(process.shares()).zip(game.grid.priors())
        {
            assert_eq!(*after, (1.0 - 0.015) * before + 0.015 * prior);
        }
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn sample(bounds: &[f64], windows: Vec<CountWindow>, before: Vec<CountWindow>) -> Sample {
    let window = Window { begin: windows[0].window.begin, end: windows.last().unwrap().window.end };
    Sample {
        window,
        scrape: Duration::from_secs(15),
        share: Some(Weight::from_percent(10).unwrap()),
        answer: Answer::Counted(Counts {
            bounds: bounds.to_vec(),
            windows,
            before,
            late: 0,
            skew: None,
        }),
        count: None,
        serving_count: None,
        targets_down: false,
    }
}

fn judged(rule: &str, sample: &Sample) -> Folded {
    let stage = Stage {
        step: 0,
        weight: Weight::from_percent(10).unwrap(),
        next: Some(Weight::FULL),
        windows_from: at(-100_000),
        gates: true,
    };
    let rule = Rule::parse(rule).unwrap();
    fold(&rule, &Limits::default(), &stage, &Evidence::default(), &"check".into(), sample)
}

/// Windows with several processes a side, each with one count per bound.
fn traffic(rng: &mut StdRng, number: i64, bounds: usize) -> Vec<CountWindow> {
    let mut side = |processes: u32, name: &str| -> Vec<Count> {
        let one = |process: u32| {
            let total = 50.0 + below(rng, 100);
            let mut left = total;
            let mut tail = |_| {
                left = (left * rng.random::<f64>() * 0.4).floor();
                left
            };
            let bad = (0..bounds).map(&mut tail).collect();
            Count { process: format!("{name}{process}").into(), total, bad }
        };
        (0..processes).map(one).collect()
    };
    (0..number)
        .map(|at_window| CountWindow {
            window: Window { begin: at(at_window * 15), end: at(at_window * 15 + 15) },
            test: side(3, "t"),
            serving: side(6, "s"),
        })
        .collect()
}

#[test]
fn the_order_of_processes_changes_nothing() {
    let mut rng = random(9);
    for _ in 0..50 {
        let windows = traffic(&mut rng, 20, 1);
        let mut turned = windows.clone();
        for window in &mut turned {
            window.test.reverse();
            window.serving.rotate_left(2);
        }
        let rule = r#"{"compare": {"kind": "errors"}}"#;
        let one = judged(rule, &sample(&[], windows, Vec::new()));
        let other = judged(rule, &sample(&[], turned, Vec::new()));
        assert_eq!(one, other);
    }
}

// === 7: units ===

#[test]
fn milliseconds_are_judged_as_seconds_are() {
    let mut rng = random(10);
    let seconds = [0.000_1, 0.000_25, 0.000_5, 0.001];
    for _ in 0..50 {
        let (windows, before) = (traffic(&mut rng, 20, 4), traffic(&mut rng, 40, 4));
        let shift = SHIFT;
        let before: Vec<CountWindow> = before
            .into_iter()
            .map(|window| CountWindow {
                window: Window {
                    begin: window.window.begin.checked_sub(shift).unwrap(),
                    end: window.window.end.checked_sub(shift).unwrap(),
                },
                ..window
            })
            .collect();
        let rule = r#"{"compare": {"kind": "latency"}}"#;
        let one = judged(rule, &sample(&seconds, windows.clone(), before.clone()));
        let other = judged(rule, &sample(&seconds.map(|one| one * 1_000.0), windows, before));
        assert_eq!(one.verdict, other.verdict);
        assert_eq!(one.finding.compared, other.finding.compared);
        assert_eq!(one.finding.value, other.finding.value);
    }
}

const SHIFT: Duration = Duration::from_secs(3_600);

// === 8: size ===

#[test]
fn huge_and_tiny_counts_give_numbers() {
    let mut rng = random(11);
    let game =
        |grid| Game { grid, margin: any_margin(&mut random(12)), phi: 1.0, cap: f64::INFINITY };
    for grid in [Grid::errors(), Grid::latency(), Grid::non_inferiority()] {
        let game = game(grid);
        let mut process = Process::new(grid);
        for _ in 0..5_000 {
            let mut count = || 10f64.powf(rng.random::<f64>() * 12.0 - 3.0);
            let (test_total, serving_total) = (count(), count());
            let (test_bad, serving_bad) = (count().min(test_total), count().min(serving_total));
            let sums = Sums { test_bad, test_total, serving_bad, serving_total };
            process.play(&game, &sums, rng.random::<f64>(), 0.015);
            assert!(process.ln_e().is_finite(), "{sums:?}");
            let whole: f64 = process.shares().iter().sum();
            assert!((whole - 1.0).abs() < 1e-9, "{sums:?}: {whole}");
        }
    }
}

// === 9: restart ===

#[test]
fn a_process_read_back_goes_on_as_if_nothing_had_happened() {
    let mut rng = random(13);
    let game = Game { grid: Grid::errors(), margin: any_margin(&mut rng), phi: 1.3, cap: 2.4 };
    let (mut whole, mut cut) = (Process::new(game.grid), Process::new(game.grid));
    for number in 0..2_000 {
        let sums = any_sums(&mut rng);
        whole.play(&game, &sums, 0.0, 0.015);
        cut.play(&game, &sums, 0.0, 0.015);
        if number % 7 == 0 {
            cut = serde_json::from_slice(&serde_json::to_vec(&cut).unwrap()).unwrap();
        }
        assert_eq!(whole.ln_e().to_bits(), cut.ln_e().to_bits(), "window {number}");
        let bits = |process: &Process| -> Vec<u64> {
            process.shares().iter().map(|share| share.to_bits()).collect()
        };
        assert_eq!(bits(&whole), bits(&cut), "window {number}");
    }
}

// === 10: merging ===

#[test]
fn silent_checks_never_roll_back_and_the_order_of_checks_does_not_matter() {
    for number in 1..40_u32 {
        let weight = 1.0 / f64::from(number);
        let merged = weighted_mean((0..number).map(|_| (0.0, weight)));
        assert!(merged.ln_e.abs() < 1e-12);
    }
    let mut rng = random(14);
    for _ in 0..2_000 {
        let mut pairs: Vec<(f64, f64)> = (0..6)
            .map(|_| (rng.random::<f64>() * 20.0 - 10.0, rng.random::<f64>() / 6.0))
            .collect();
        let one = weighted_mean(pairs.iter().copied());
        let top = pairs[one.leader.unwrap()];
        pairs.rotate_left(3);
        pairs.swap(0, 1);
        let other = weighted_mean(pairs.iter().copied());
        assert!((one.ln_e - other.ln_e).abs() < 1e-12);
        assert_eq!(pairs[other.leader.unwrap()], top);
    }
}

// === 11: two questions at one margin ===

#[test]
fn worse_and_not_worse_are_rarely_both_shown_at_one_margin() {
    let mut rng = random(15);
    let margin = Margin { ratio: 1.2, absolute: 0.001 };
    let beta = 0.05;
    let worse = Game { grid: Grid::errors(), margin, phi: 1.0, cap: cap(ALPHA, 1.0, true) };
    let better =
        Game { grid: Grid::non_inferiority(), margin, phi: 1.0, cap: (1.0_f64 / beta).ln() / 3.0 };
    for truth in [0.95, 1.0, 1.05] {
        let limit = 1.2 * 0.01 + 0.001;
        let rollouts = 2_000;
        let both = (0..rollouts).filter(|_| {
            let (mut one, mut other) = (Process::new(worse.grid), Process::new(better.grid));
            let (mut shown, mut cleared) = (false, false);
            for _ in 0..120 {
                let sums = Sums {
                    test_bad: poisson(&mut rng, 300.0 * limit * truth),
                    test_total: 300.0,
                    serving_bad: poisson(&mut rng, 700.0 * 0.01),
                    serving_total: 700.0,
                };
                one.play(&worse, &sums, 0.0, 0.015);
                other.play(&better, &sums, 0.0, 0.0);
                shown |= one.ln_e() >= (1.0 / ALPHA).ln();
                cleared |= other.ln_e() >= (1.0 / beta).ln();
            }
            shown && cleared
        });
        let part = both.count() as f64 / f64::from(rollouts);
        let most = beta + 3.0 * (beta * (1.0 - beta) / f64::from(rollouts)).sqrt();
        println!("both at {truth} of the margin: {part}");
        assert!(part <= most, "{part} > {most}");
    }
}
