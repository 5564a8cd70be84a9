//! The bets, the processes and what stands around them, against reference values.

use std::time::Duration;

use haldane_analysis_tests::reference::{self, Case};
use haldane_judge::{
    Rule, Stage,
    betting::{self, Expected, Game, Grid, Margin, Process, Sums, Tails, log_bet, weighted_mean},
    burn::{self, Tally},
    dispersion, fold,
};
use haldane_model::{Answer, Count, CountWindow, Evidence, Limits, Sample, Verdict, Window};
use jiff::Timestamp;
use serde_json::Value;

/// The kinds that a test here covers.
pub const COVERED: &[&str] = &[
    "log_bet",
    "grid",
    "e_process",
    "exact_null_expectation",
    "latency_e_process",
    "merge",
    "ratio_bound",
    "phi_hat",
    "burn_rate",
    "burn_budget",
    "threshold",
];

fn number(input: &Value, key: &str) -> f64 {
    input[key].as_f64().unwrap_or_else(|| panic!("{key} is a number, got {}", input[key]))
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn margin(input: &Value) -> Margin {
    Margin { ratio: number(input, "r"), absolute: number(input, "delta") }
}

fn sums(window: &Value) -> Sums {
    let [test_bad, test_total, serving_bad, serving_total] = numbers(window).try_into().unwrap();
    Sums { test_bad, test_total, serving_bad, serving_total }
}

fn windows(input: &Value) -> Vec<Sums> {
    input["windows"].as_array().unwrap().iter().map(sums).collect()
}

fn cap(input: &Value) -> f64 {
    input["cap"].as_f64().unwrap_or(f64::INFINITY)
}

fn grid(input: &Value) -> Grid {
    match input["grid"].as_str().unwrap() {
        "regression" => Grid::errors().clone(),
        "latency" => Grid::latency().clone(),
        "noninferiority" => Grid::non_inferiority().clone(),
        other => panic!("no grid is called {other}"),
    }
}

/// Checks a row of evidence against what is expected of it: the row and where it crosses.
fn check_row(case: &Case, row: &[f64], key: &str) {
    let expected = numbers(&case.expect[key]);
    assert_eq!(row.len(), expected.len(), "{}", case.id);
    for (at, (got, expected)) in row.iter().zip(expected).enumerate() {
        case.near(&format!("ln E after window {at}"), *got, expected);
    }
    let goal = (1.0 / number(&case.input, "alpha")).ln();
    let crossing = row.iter().position(|ln_e| *ln_e >= goal);
    let expected = case.expect["first_crossing"].as_u64().map(|at| at as usize);
    assert_eq!(crossing, expected, "{}: the first crossing", case.id);
    let crossed = matches!(case.expect["verdict"].as_str(), Some("rollback" | "non_inferior"));
    assert_eq!(crossing.is_some(), crossed, "{}: the verdict", case.id);
}

#[test]
fn one_bet_on_one_window() {
    for case in reference::cases("log_bet") {
        let input = &case.input;
        let key = |key| number(input, key);
        let sums = Sums {
            test_bad: key("kc"),
            test_total: key("nc"),
            serving_bad: key("kb"),
            serving_total: key("nb"),
        };
        let got = log_bet(&sums, &margin(input), key("eta"), key("mb"), key("phi"));
        let expected = case.expect["log_e"].as_f64().unwrap_or(f64::NEG_INFINITY);
        case.near("ln e", got, expected);
    }
}

#[test]
fn the_grids_and_their_priors() {
    for case in reference::cases("grid") {
        let key = |key| number(&case.input, key);
        let number = case.input["n"].as_u64().unwrap() as usize;
        let grid = Grid::log_spaced(key("lo"), key("hi"), number, key("cash"), key("decay"));
        let pairs = [(grid.etas(), "eta"), (grid.priors(), "prior")];
        for (got, what) in pairs {
            let expected = numbers(&case.expect[what]);
            assert_eq!(got.len(), expected.len(), "{}", case.id);
            for (got, expected) in got.iter().zip(expected) {
                case.near(what, *got, expected);
            }
        }
        let known = match case.id.as_str() {
            "grid_regression" => Some(Grid::errors()),
            "grid_latency" => Some(Grid::latency()),
            _ => None,
        };
        assert!(known.is_none_or(|known| *known == grid), "{} is the one that is used", case.id);
    }
}

#[test]
fn a_process_over_many_windows() {
    for case in reference::cases("e_process") {
        let input = &case.input;
        let grid = grid(input);
        if let Some(etas) = input.get("eta") {
            assert_eq!(grid.etas(), numbers(etas), "{}", case.id);
            assert_eq!(grid.priors(), numbers(&input["prior"]), "{}", case.id);
        }
        let game =
            Game { grid: &grid, margin: margin(input), phi: number(input, "phi"), cap: cap(input) };
        let mut process = Process::new(&grid);
        let play = |sums: &Sums| {
            process.play(&game, sums, 0.0, number(input, "eps"));
            process.ln_e()
        };
        let row: Vec<f64> = windows(input).iter().map(play).collect();
        check_row(&case, &row, "log_e");
        let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if let Some(expected) = case.expect.get("log_e_max").and_then(Value::as_f64) {
            case.near("the highest ln E", top, expected);
        }
        if let Some(expected) = case.expect.get("anytime_p").and_then(Value::as_f64) {
            case.near("1 / the highest E", (-top).exp().min(1.0), expected);
        }
    }
}

#[test]
fn under_the_null_no_bet_gains_on_average() {
    for case in reference::cases("exact_null_expectation") {
        let input = &case.input;
        let key = |key| number(input, key);
        let count = |key: &str| input[key].as_u64().unwrap() as usize;
        let (tests, servings) = (count("nc"), count("nb"));
        let (test, serving) = (binomial(tests, key("p_c")), binomial(servings, key("p_b")));
        let mut mean = 0.0;
        for (test_bad, p) in test.iter().enumerate() {
            for (serving_bad, q) in serving.iter().enumerate() {
                let sums = Sums {
                    test_bad: test_bad as f64,
                    test_total: tests as f64,
                    serving_bad: serving_bad as f64,
                    serving_total: servings as f64,
                };
                mean += p * q * log_bet(&sums, &margin(input), key("eta"), key("mb"), 1.0).exp();
            }
        }
        case.near("E[e]", mean, number(&case.expect, "expected_e_value"));
        assert!(mean <= number(&case.expect, "must_be_le") + 1e-12, "{}: E[e] is {mean}", case.id);
    }
}

/// How probable each number of bad requests is among so many.
fn binomial(number: usize, p: f64) -> Vec<f64> {
    let mut row = vec![1.0];
    for _ in 0..number {
        let stay = row.iter().map(|one| one * (1.0 - p)).chain([0.0]);
        let grow = [0.0].into_iter().chain(row.iter().map(|one| one * p));
        row = stay.zip(grow).map(|(stay, grow)| stay + grow).collect();
    }
    row
}

#[test]
fn latency_at_several_bounds() {
    for case in reference::cases("latency_e_process") {
        let input = &case.input;
        let key = |key| number(input, key);
        let (bounds, at) = (numbers(&input["le"]), numbers(&input["thresholds"]));
        let places: Vec<usize> = at
            .iter()
            .map(|threshold| bounds.iter().position(|bound| bound == threshold).unwrap())
            .collect();
        assert_eq!(key("prior_weight"), betting::EXPECTED_WEIGHT, "{}", case.id);
        let grid = grid(input);
        let game = Game { grid: &grid, margin: margin(input), phi: 1.0, cap: cap(input) };
        let mut tails = Tails::new(&grid, &numbers(&input["m0"]));
        let mut row = Vec::new();
        for window in input["windows_cumulative_canary_baseline"].as_array().unwrap() {
            let (test, serving) = (numbers(&window[0]), numbers(&window[1]));
            let (test_total, serving_total) = (test[bounds.len()], serving[bounds.len()]);
            for (threshold, place) in places.iter().enumerate() {
                let (test_bad, serving_bad) =
                    (test_total - test[*place], serving_total - serving[*place]);
                let sums = Sums { test_bad, test_total, serving_bad, serving_total };
                tails.play(threshold, &game, &sums, key("eps"));
            }
            row.push(tails.mean().ln_e);
        }
        check_row(&case, &row, "log_e_mean");
        let finals = numbers(&case.expect["log_e_per_threshold_final"]);
        for (got, expected) in tails.ln_es().zip(finals) {
            case.near("ln E at a threshold", got, expected);
        }
        assert_eq!(key("discount"), forgetting(), "{}", case.id);
    }
}

/// How much a guess keeps of its past, per window without requests of the serving side.
fn forgetting() -> f64 {
    let mut expected = Expected::new(1.0);
    expected.learn(&Sums::default());
    expected.learn(&Sums { serving_total: 0.99 * 0.99 * 50.0, ..Sums::default() });
    // 50·f² bad of 50·f² + 50·0.99² requests: a half where f is 0.99.
    if (expected.rate() - 0.5).abs() < 1e-12 { 0.99 } else { f64::NAN }
}

#[test]
fn the_weighted_mean_of_evidence() {
    for case in reference::cases("merge") {
        let (ln_es, weights) = (numbers(&case.input["log_e"]), numbers(&case.input["weights"]));
        let merged = weighted_mean(ln_es.into_iter().zip(weights));
        case.near("ln E", merged.ln_e, number(&case.expect, "log_e"));
        let verdict = if merged.ln_e >= 100f64.ln() { "rollback" } else { "continue" };
        assert_eq!(case.expect["verdict_at_alpha_0_01"], verdict, "{}", case.id);
    }
}

#[test]
fn how_much_worse_at_least() {
    for case in reference::cases("ratio_bound") {
        let input = &case.input;
        assert!(input["cap"].is_null() && number(input, "eps") == 0.0, "{}", case.id);
        let factors = numbers(&input["r_grid"]);
        let (tops, bound) = betting::ratio_bound(&windows(input), &factors, number(input, "alpha"));
        let expected: Vec<f64> = case.expect["max_log_e_by_r"]
            .as_object()
            .unwrap()
            .values()
            .map(|top| top.as_f64().unwrap())
            .collect();
        assert_eq!(tops.len(), expected.len(), "{}", case.id);
        for (got, expected) in tops.into_iter().zip(expected) {
            case.near("the highest ln E", got, expected);
        }
        assert_eq!(bound, case.expect["lower_bound"].as_f64(), "{}", case.id);
    }
}

#[test]
fn how_many_errors_come_at_once() {
    for case in reference::cases("phi_hat") {
        let rows = |key: &str| -> Vec<Vec<f64>> {
            case.input[key].as_array().unwrap().iter().map(numbers).collect()
        };
        let (errors, requests) = (rows("errors_by_window_pod"), rows("requests_by_window_pod"));
        let before: Vec<CountWindow> = errors
            .iter()
            .zip(&requests)
            .map(|(errors, requests)| CountWindow {
                window: Window { begin: Timestamp::UNIX_EPOCH, end: Timestamp::UNIX_EPOCH },
                test: Vec::new(),
                serving: errors.iter().zip(requests).enumerate().map(process).collect(),
            })
            .collect();
        let block = case.input["block"].as_u64().unwrap() as usize;
        let got = dispersion::phi_of_blocks(&before, 0, block).unwrap();
        case.near("phi", got, number(&case.expect, "phi"));
    }
}

fn process((at, (errors, requests)): (usize, (&f64, &f64))) -> Count {
    Count { process: at.to_string().into(), total: *requests, bad: vec![*errors] }
}

#[test]
fn how_fast_the_budget_burns() {
    for case in reference::cases("burn_rate") {
        let input = &case.input;
        let tally = |key: &str| Tally {
            errors: number(&input[key], "errors"),
            requests: number(&input[key], "requests"),
        };
        let (slo, threshold) = (number(input, "slo"), number(input, "threshold"));
        let burn = burn::gate(tally("short"), tally("long"), slo, threshold).unwrap();
        case.near("the short burn rate", burn.short, number(&case.expect, "burn_short"));
        case.near("the long burn rate", burn.long, number(&case.expect, "burn_long"));
        assert_eq!(Some(burn.fires), case.expect["fires"].as_bool(), "{}", case.id);
    }
}

#[test]
fn how_much_of_the_budget_is_spent() {
    for case in reference::cases("burn_budget") {
        let key = |key| number(&case.input, key);
        let got = burn::budget_spent(key("canary_errors"), key("slo"), key("requests_per_period"));
        case.near("the part", got.unwrap(), number(&case.expect, "budget_fraction"));
    }
}

/// The reference breaks at a run of `consecutive_failure_limit`; ours breaks above its limit.
#[test]
fn a_threshold_breaks_where_the_reference_does() {
    for case in reference::cases("threshold") {
        let input = &case.input;
        let count = |key: &str| u32::try_from(input[key].as_u64().unwrap()).unwrap();
        let limits = Limits {
            failures: count("failure_limit"),
            consecutive_failures: Some(count("consecutive_failure_limit") - 1),
            inconclusive: None,
        };
        let rule = Rule::parse(&format!(r#"{{"max": {}}}"#, number(input, "max"))).unwrap();
        let values = input["values"].as_array().unwrap();
        let mut evidence = Evidence::default();
        let mut verdicts = Vec::new();
        for (at, value) in values.iter().enumerate() {
            let sample = threshold_look(at, value.as_f64());
            let folded =
                fold(&rule, &limits, &Stage::default(), &evidence, &"check".into(), &sample);
            evidence = folded.evidence;
            verdicts.push(folded.verdict);
        }
        let expected = case.expect["failed_at_index"].as_u64().map(|at| at as usize);
        assert_eq!(
            verdicts.iter().position(|verdict| verdict.is_breach()),
            expected,
            "{}",
            case.id
        );
        let number_of =
            |wanted: fn(&Verdict) -> bool| verdicts.iter().filter(|one| wanted(one)).count();
        if let Some(failures) = case.expect["failures"].as_u64() {
            let failed = number_of(|verdict| matches!(verdict, Verdict::Fail { .. }));
            assert_eq!(failed as u64, failures, "{}", case.id);
        }
        if let Some(silent) = case.expect["inconclusive"].as_u64() {
            let silences = number_of(|verdict| matches!(verdict, Verdict::NoData));
            assert_eq!(silences as u64, silent, "{}", case.id);
        }
    }
}

fn threshold_look(at: usize, value: Option<f64>) -> Sample {
    let moment = |at: usize| Timestamp::from_second(60 * at as i64).unwrap();
    let nothing = || Answer::Nothing("empty".to_owned());
    Sample {
        window: Window { begin: moment(at), end: moment(at + 1) },
        scrape: Duration::from_secs(15),
        share: None,
        answer: value.map_or_else(nothing, Answer::Value),
        count: None,
        serving_count: None,
        targets_down: false,
    }
}
