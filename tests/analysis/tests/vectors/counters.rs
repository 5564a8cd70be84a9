//! Counters and histograms against reference values.

use std::{collections::BTreeMap, time::Duration};

use haldane_analysis_tests::reference;
use haldane_model::Window;
use haldane_sources::counters::{
    Labels, Measure, Native, Observed, Samples, Series, SideSeries, Span, count,
};
use jiff::Timestamp;
use serde_json::Value;

/// The kinds that a test here covers.
pub const COVERED: &[&str] = &["counter_delta", "native_hist"];

/// Samples a second apart, from the first second on; null where there was none.
fn samples(input: &Value) -> Vec<(i64, f64)> {
    let values = input["samples"].as_array().unwrap().iter().enumerate();
    values.filter_map(|(at, value)| Some((at as i64 * 1000 + 1000, value.as_f64()?))).collect()
}

/// What is counted second by second, where something is.
fn counted(name: &str, samples: Vec<(i64, f64)>, others: &[Series]) -> Vec<f64> {
    let series = Series { labels: labels(name), samples: Samples::Numbers(samples) };
    let test = SideSeries { all: vec![&series], bad: Vec::new() };
    let observed = Observed { test, others: others.iter().collect(), ..Observed::default() };
    let at = |secs| Timestamp::from_second(secs).unwrap();
    let span = Span::new(Window { begin: at(0), end: at(60) }, Duration::from_secs(1));
    let measure = Measure::Classes { bad: Vec::new() };
    let counts = count(&measure, span, Duration::ZERO, &observed, None).unwrap();
    counts.windows.iter().map(|window| window.test[0].total).collect()
}

fn labels(name: &str) -> Labels {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Labels::from([pair("__name__", name), pair("instance", "a")])
}

#[test]
fn increases_of_counters() {
    for case in reference::cases("counter_delta") {
        let expected = &case.expect["deltas"];
        let expected: Vec<f64> =
            expected.as_array().unwrap().iter().filter_map(Value::as_f64).collect();
        assert_eq!(counted("a_total", samples(&case.input), &[]), expected, "{}", case.id);
        let total: f64 = expected.iter().sum();
        assert_eq!(Some(total), case.expect["total"].as_f64(), "{}", case.id);
        // A process that is known to have had no requests begins from zero.
        let Some(from_zero) = case.expect["total_if_pod_started_after_rollout"].as_f64() else {
            continue;
        };
        let up = Series { labels: labels("up"), samples: Samples::Numbers(vec![(2000, 1.0)]) };
        let all: f64 = counted("a_total", samples(&case.input), &[up]).iter().sum();
        assert_eq!(all, from_zero, "{}", case.id);
    }
}

#[test]
fn native_histograms_at_a_lower_schema() {
    for case in reference::cases("native_hist") {
        let schema = |name: &str| i32::try_from(case.input[name].as_i64().unwrap()).unwrap();
        let numbers = |value: &Value| -> BTreeMap<i32, f64> {
            let pairs = value.as_object().unwrap().iter();
            pairs.map(|(index, count)| (index.parse().unwrap(), count.as_f64().unwrap())).collect()
        };
        let indexes = numbers(&case.input["positive_index_counts"]);
        let native = Native::from_indexes(schema("schema_from"), indexes);
        let to = schema("schema_to");
        let merged = native.merged(to);
        assert_eq!(merged, numbers(&case.expect["merged"]), "{}", case.id);
        for (index, bound) in numbers(&case.expect["upper_bounds_schema1"]) {
            case.near("an upper bound", Native::upper_bound(to, index), bound);
        }
        let above = |(index, _): &(&i32, &f64)| Native::upper_bound(to, **index) > 2.0;
        let tail: f64 = merged.iter().filter(above).map(|(_, count)| count).sum();
        assert_eq!(Some(tail), case.expect["tail_count_above_2_0"].as_f64(), "{}", case.id);
    }
}
