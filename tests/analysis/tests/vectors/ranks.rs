//! Rank statistics, the sign test, and the methods that ours are compared with.

use haldane_analysis_tests::{
    methods::{bands, kayenta, multinomial, proportions::Table},
    reference::{Case, cases},
};
use haldane_judge::{
    ranks::{rank_sum, shift, sign_e},
    scored::{self, Class, Direction, Metric, MetricRule},
};
use serde_json::Value;

/// The kinds that are covered here.
pub const COVERED: &[&str] =
    &["mann_whitney", "sign_e", "hr_band", "srm_multinomial", "two_proportions"];

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[track_caller]
fn meets(case: &Case, name: &str, got: f64) {
    case.near(name, got, number(&case.expect[name]));
}

/// Checks what only some cases expect.
#[track_caller]
fn meets_where_given(case: &Case, name: &str, got: Option<f64>) {
    match case.expect.get(name).and_then(Value::as_f64) {
        Some(expected) => case.near(name, got.unwrap_or(f64::NAN), expected),
        None => assert_eq!(got, None, "{}: {name} should not be there", case.id),
    }
}

fn sides(case: &Case) -> (Vec<f64>, Vec<f64>) {
    (numbers(&case.input["canary"]), numbers(&case.input["baseline"]))
}

#[test]
fn rank_statistics_are_those_of_the_reference() {
    for case in cases("mann_whitney") {
        let (test, serving) = sides(&case);
        let ranks = rank_sum(&test, &serving).unwrap();
        meets(&case, "U", ranks.u);
        meets(&case, "cles", ranks.cles());
        meets(&case, "p_greater_asymptotic", ranks.greater_normal());
        meets_where_given(&case, "p_greater_exact", ranks.greater_exact());
        let two_sided = if ranks.greater_exact().is_some() {
            "p_two_sided_exact"
        } else {
            "p_two_sided_asymptotic"
        };
        meets(&case, two_sided, ranks.two_sided());
        let shift = shift(&test, &serving, 0.98).unwrap();
        meets(&case, "hodges_lehmann", shift.estimate);
        meets(&case, "ci98_low", shift.low);
        meets(&case, "ci98_high", shift.high);
    }
}

#[test]
fn kayenta_is_reproduced_with_its_root_finder() {
    for case in cases("mann_whitney") {
        let (test, serving) = sides(&case);
        let interval = kayenta::interval(&test, &serving);
        meets(&case, "kayenta_ci_low", interval.low);
        meets(&case, "kayenta_ci_high", interval.high);
        meets(&case, "kayenta_estimate", interval.estimate);
        let said = format!("{:?}", kayenta::judge(&test, &serving));
        assert_eq!(case.expect["kayenta_verdict_increase_tol0.25_allowed1.0"], said, "{}", case.id);
    }
}

fn rise(test: Vec<f64>, serving: Vec<f64>) -> scored::MetricResult {
    let rule = MetricRule { direction: Direction::Increase, ..MetricRule::default() };
    let name = "latency".to_owned();
    scored::classify(&Metric { name, test, serving, expected: 0, rule })
}

#[test]
fn our_scored_judgement_says_what_kayenta_says() {
    for case in cases("mann_whitney") {
        let (test, serving) = sides(&case);
        let result = rise(test, serving);
        let said = format!("{:?}", result.class);
        assert_eq!(case.expect["kayenta_verdict_increase_tol0.25_allowed1.0"], said, "{}", case.id);
        meets_where_given(&case, "mean_ratio", result.effect);
    }
}

/// The one difference: seconds and milliseconds are the same latencies.
#[test]
fn a_unit_changes_kayentas_verdict_and_not_ours() {
    let case = cases("mann_whitney").into_iter().find(|case| case.id.ends_with("_in_ms")).unwrap();
    let (test, serving) = sides(&case);
    let seconds = |milliseconds: &[f64]| milliseconds.iter().map(|ms| ms / 1e3).collect::<Vec<_>>();
    assert_eq!(kayenta::judge(&test, &serving), kayenta::Said::High);
    assert_eq!(kayenta::judge(&seconds(&test), &seconds(&serving)), kayenta::Said::Pass);
    assert_eq!(rise(seconds(&test), seconds(&serving)).class, Class::High);
    assert_eq!(rise(test, serving).class, Class::High);
}

#[test]
fn the_sign_test_is_that_of_the_reference() {
    for case in cases("sign_e") {
        let signs: Vec<i8> =
            numbers(&case.input["signs"]).into_iter().map(|sign| sign as i8).collect();
        let got = sign_e(&signs, &numbers(&case.input["lambdas"]));
        for (got, expected) in got.into_iter().zip(numbers(&case.expect["log_e"])) {
            case.near("ln E", got, expected);
        }
    }
}

#[test]
fn bands_around_a_distribution_function_are_those_of_the_reference() {
    for case in cases("hr_band") {
        let width = bands::half_width(number(&case.input["n"]), number(&case.input["alpha"]));
        meets(&case, "half_width", width);
    }
}

#[test]
fn evidence_of_a_wrong_share_is_that_of_the_reference() {
    for case in cases("srm_multinomial") {
        let (counts, shares) = (numbers(&case.input["counts"]), numbers(&case.input["theta0"]));
        let ln_e = multinomial::ln_e(&counts, &shares, number(&case.input["concentration"]));
        meets(&case, "log_e", ln_e);
        meets(&case, "savvi_odds", ln_e.exp());
        meets(&case, "anytime_p", (-ln_e).exp().min(1.0));
    }
}

#[test]
fn two_proportions_are_compared_as_in_the_reference() {
    for case in cases("two_proportions") {
        let of = |name: &str| number(&case.input[name]);
        let table = Table {
            test_bad: of("kc"),
            test_total: of("nc"),
            serving_bad: of("kb"),
            serving_total: of("nb"),
        };
        meets(&case, "z", table.z());
        meets(&case, "p_one_sided", table.z_tail());
        meets(&case, "fisher_greater", table.fisher());
        meets(&case, "log_beta_binomial_bf", table.ln_bayes_factor());
        // Where the reference integrated nothing, there is nothing to meet.
        if let Some(expected) = case.expect["prob_c_gt_b_beta01"].as_f64() {
            case.near("P(higher)", table.chance_higher(), expected);
        }
    }
}
