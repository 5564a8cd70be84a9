//! How long a step will need, before it begins: from what is counted now, as if the side under test did
//! what the serving side does. For people; it decides nothing.

use haldane_model::{Counts, Weight};

use super::{
    book::Book,
    counts::{self, Answered},
    learn,
    rule::Compare,
};
use crate::{
    Stage,
    plan::{self, Supposed},
};

/// What a step will need of a comparing check.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// The serving side's rate of bad requests; of several bounds, at the one that takes longest.
    pub rate: f64,
    /// The requests of both sides, a second.
    pub per_second: f64,
    /// How many requests of the side under test it takes; `None`: never, at such rates.
    pub requests: Option<f64>,
    /// How long they take, and never less than the check asks of a step, in seconds; `None`: never.
    pub secs: Option<f64>,
}

/// Returns what clearing a step takes. The error says what is missing.
pub(crate) fn forecast(
    rule: &Compare,
    share: Weight,
    next: Option<Weight>,
    past: &Counts,
) -> Result<Forecast, String> {
    let mut book = Book::default();
    let answered = counts::read(rule, &book, past)?;
    let before = Answered { before: answered.windows, windows: &[], ..answered };
    learn::begin(rule, &mut book, &before);
    let secs: f64 = past.windows.iter().map(|window| learn::secs(&window.window)).sum();
    let all = past.windows.iter().map(|window| {
        let sums = counts::sums(window, 0);
        sums.test_total + sums.serving_total
    });
    let (all, (bad, total)) = (all.sum::<f64>(), serving(past));
    if secs <= 0.0 || total <= 0.0 {
        return Err("the serving side had no requests".to_owned());
    }
    if book.lines.is_empty() {
        let told = "the serving side had too few requests to choose the bounds to watch";
        return Err(format!("{told}: {total:.0}, 1 000 are needed"));
    }
    let stage = Stage { next, ..Stage::default() };
    let margin = rule.margin(learn::next(&stage));
    let phi = book.premise.as_ref().map_or(1.0, |premise| premise.phi);
    let per_second = all / secs;
    // However fast the evidence comes, a step has a shortest time, and a least number of windows.
    let window = secs / past.windows.len() as f64;
    let least = rule.step_secs_min.max(f64::from(rule.windows_min) * window);
    let each = book.lines.iter().map(|line| {
        let place = line.bound.and_then(|bound| past.bounds.iter().position(|one| *one == bound));
        let bad = bad.get(place.unwrap_or(0)).copied().unwrap_or_default();
        // No errors yet is not no errors ever.
        let rate = (bad + 0.5) / (total + 1.0);
        let share = share.fraction();
        let supposed = Supposed { test: rate, serving: rate, share, phi };
        let requests = plan::to_clear(&supposed, &margin, rule.beta, 0.0);
        let needed = requests.and_then(|requests| plan::secs(requests, per_second, share));
        let secs = needed.map(|secs| secs.max(least));
        Forecast { rate, per_second, requests, secs }
    });
    let longest = |one: &Forecast| one.secs.unwrap_or(f64::INFINITY);
    let worst = each.max_by(|one, other| longest(one).total_cmp(&longest(other)));
    Ok(worst.expect("there is a line at least"))
}

/// What the serving side counted: the bad ones for each bound, and all.
fn serving(past: &Counts) -> (Vec<f64>, f64) {
    let lines = past.bounds.len().max(1);
    let mut bad = vec![0.0; lines];
    let mut total = 0.0;
    for window in &past.windows {
        for (at, bad) in bad.iter_mut().enumerate() {
            *bad += counts::sums(window, at).serving_bad;
        }
        total += counts::sums(window, 0).serving_total;
    }
    (bad, total)
}

#[cfg(test)]
mod tests {
    use haldane_model::{Count, CountWindow, Window};
    use jiff::Timestamp;

    use super::*;

    const ERRORS: &str = r#"{"compare": {"kind": "errors"}}"#;

    fn percent(share: u32) -> Weight {
        Weight::from_percent(share).unwrap()
    }

    fn window(at: i64, total: f64, bad: Vec<f64>) -> CountWindow {
        let moment = |at| Timestamp::from_second(1_000_000 + at * 5).unwrap();
        let serving = vec![Count { process: "one".into(), total, bad }];
        let window = Window { begin: moment(at), end: moment(at + 1) };
        CountWindow { window, test: Vec::new(), serving }
    }

    /// Ten minutes of so many requests a second, of which so many are bad at each bound.
    fn past(per_second: f64, bounds: &[f64], rates: &[f64]) -> Counts {
        let total = 5.0 * per_second;
        let bad = || rates.iter().map(|rate| total * rate).collect();
        let windows = (0..120).map(|at| window(at, total, bad())).collect();
        Counts { bounds: bounds.to_vec(), windows, ..Counts::default() }
    }

    fn of(rule: &str, share: u32, next: u32, past: &Counts) -> Result<Forecast, String> {
        forecast(&Compare::parse(rule).unwrap(), percent(share), Some(percent(next)), past)
    }

    #[test]
    fn the_table_for_users_is_what_is_forecast() {
        // docs/analysis.md, "How long a step needs", in minutes.
        let rows = [
            (5.0, [36.0, 36.0, 50.0]),
            (20.0, [9.0, 9.0, 13.0]),
            (50.0, [4.0, 4.0, 5.0]),
            (100.0, [2.0, 2.0, 3.0]),
            (500.0, [1.0, 1.0, 1.0]),
        ];
        for (per_second, minutes) in rows {
            let past = past(per_second, &[], &[0.005]);
            for ((share, next), minutes) in [(10, 25), (25, 50), (50, 100)].into_iter().zip(minutes)
            {
                let found = of(ERRORS, share, next, &past).unwrap();
                let told = found.secs.unwrap() / 60.0;
                let near = (told - minutes).abs() <= (0.15 * minutes).max(0.6);
                assert!(
                    near,
                    "{per_second}/s, {share} to {next} %: {told} minutes, {minutes} told"
                );
                assert!((found.per_second - per_second).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn a_step_is_never_shorter_than_the_check_asks_for() {
        let found = of(ERRORS, 10, 25, &past(100_000.0, &[], &[0.005])).unwrap();
        assert_eq!(found.secs, Some(60.0));
        let rule = r#"{"compare": {"kind": "errors", "minStepSeconds": 0, "minWindows": 9}}"#;
        let found = of(rule, 10, 25, &past(100_000.0, &[], &[0.005])).unwrap();
        assert_eq!(found.secs, Some(45.0), "nine windows of five seconds");
    }

    #[test]
    fn what_can_never_be_shown_has_no_time() {
        let rule = r#"{"compare": {"kind": "errors", "tolerance": {"relative": 0.0, "absolute": 0.0},
            "margin": {"relative": 0.0, "harm": 1e-9}}}"#;
        let found = of(rule, 50, 100, &past(50.0, &[], &[0.3])).unwrap();
        assert_eq!((found.requests, found.secs), (None, None));
    }

    #[test]
    fn latency_is_as_slow_as_its_slowest_bound() {
        let rule = r#"{"compare": {"kind": "latency"}}"#;
        let bounds = [0.1, 0.25, 0.5];
        let found = of(rule, 10, 25, &past(50.0, &bounds, &[0.5, 0.1, 0.01])).unwrap();
        let alone = |at: usize, rate: f64| {
            of(rule, 10, 25, &past(50.0, &bounds[at..=at], &[rate])).unwrap().secs
        };
        let each = [alone(0, 0.5), alone(1, 0.1), alone(2, 0.01)];
        let longest = each.into_iter().flatten().max_by(f64::total_cmp);
        assert_eq!(found.secs, longest, "{each:?}");
        assert!(each.iter().any(|secs| *secs < longest), "{each:?}");
    }

    #[test]
    fn without_traffic_it_says_what_is_missing() {
        let told = |past: &Counts| of(ERRORS, 10, 25, past).unwrap_err();
        assert!(told(&Counts::default()).contains("no requests"));
        assert!(told(&past(0.0, &[], &[0.0])).contains("no requests"));
        let few = past(1.0, &[0.1], &[0.5]);
        let rule = r#"{"compare": {"kind": "latency"}}"#;
        let told = of(rule, 10, 25, &few).unwrap_err();
        assert!(told.contains("too few") && told.contains("600"), "{told}");
        let odd = past(50.0, &[0.1], &[0.5]);
        assert!(of(ERRORS, 10, 25, &odd).is_err(), "counted by bounds");
    }
}
