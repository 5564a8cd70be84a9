//! What is kept, and what it says later.

use super::*;

const SECOND: i64 = 1000;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn up(instance: &str) -> Labels {
    labels(&[("__name__", "up"), ("side", "green"), ("instance", instance)])
}

fn counter(code: &str) -> Labels {
    labels(&[("__name__", "x_total"), ("side", "green"), ("instance", "a:1"), ("code", code)])
}

fn selector() -> Arc<Selector> {
    Arc::new(Selector::read("x_total").unwrap())
}

fn samples(counts: &[(&str, f64)], process: &str) -> Taken {
    let mut series: Vec<_> = counts.iter().map(|(code, count)| (counter(code), *count)).collect();
    series.push((up("a:1"), 1.0));
    Taken::Samples { series, process: Some(process.to_owned()) }
}

fn ring() -> Ring {
    let mut ring = Ring::new(vec![vec![up("a:1")]]);
    ring.watch(&[selector()], Instant::now());
    ring
}

fn keep(ring: &mut Ring, at: i64, taken: Taken) {
    let wanted = ring.wanted(Instant::now());
    ring.keep(0, Instant::now(), at, &wanted, taken);
}

fn numbers(series: &Series) -> &[(i64, f64)] {
    let Samples::Numbers(numbers) = &series.samples else { panic!("{series:?}") };
    numbers
}

#[test]
fn a_look_gets_one_sample_more_than_its_window() {
    let mut ring = ring();
    for at in 1..=10 {
        keep(&mut ring, at * SECOND, samples(&[("200", at as f64)], "1"));
    }
    let found = ring.series(&[selector()], 6_500, 8_000);
    let kept: Vec<i64> = numbers(&found[0]).iter().map(|(at, _)| *at).collect();
    assert_eq!(kept, [6_000, 7_000, 8_000]);
}

#[test]
fn what_is_no_number_is_no_beginning() {
    let mut ring = ring();
    for (at, value) in [(1, 5.0), (2, f64::NAN), (3, -1.0), (4, 9.0)] {
        keep(&mut ring, at * SECOND, samples(&[("200", value)], "1"));
    }
    let found = ring.series(&[selector()], 3_500, 4_000);
    assert_eq!(numbers(&found[0])[0], (1_000, 5.0));
}

#[test]
fn what_was_not_asked_for_before_did_not_begin_from_zero() {
    let mut ring = Ring::new(vec![vec![up("a:1")]]);
    // The target is read for somebody else's sake.
    keep(&mut ring, SECOND, samples(&[], "1"));
    assert!(ring.witnesses(&[selector()], SECOND).is_empty());
    ring.watch(&[selector()], Instant::now());
    keep(&mut ring, 2 * SECOND, samples(&[("200", 1e6)], "1"));
    keep(&mut ring, 3 * SECOND, samples(&[("200", 1e6)], "1"));
    let witnesses = ring.witnesses(&[selector()], 3 * SECOND);
    assert_eq!(numbers(&witnesses[0])[0].0, 2_000, "no earlier than the counter itself");
}

#[test]
fn another_process_begins_from_zero_though_it_has_more_by_now() {
    let mut ring = ring();
    keep(&mut ring, SECOND, samples(&[("200", 5.0)], "915 1"));
    keep(&mut ring, 2 * SECOND, samples(&[("200", 8.0)], "916 2"));
    let found = ring.series(&[selector()], 0, 2 * SECOND);
    assert_eq!(numbers(&found[0]), [(1_000, 5.0), (1_999, 0.0), (2_000, 8.0)]);
}

#[test]
fn down_is_known_only_where_every_try_said_so() {
    let side = labels(&[("side", "green")]);
    let mut ring = ring();
    assert!(!ring.is_down(&side, 0, SECOND), "nobody knows");
    keep(&mut ring, SECOND, Taken::Silent("refused".to_owned()));
    assert!(ring.is_down(&side, 0, SECOND));
    assert!(!ring.is_down(&labels(&[("side", "blue")]), 0, SECOND), "another side");
    assert!(!ring.is_down(&Labels::new(), 0, SECOND), "nobody in particular");
    keep(&mut ring, 2 * SECOND, samples(&[], "1"));
    assert!(!ring.is_down(&side, 0, 2 * SECOND));
    let odd = Fault::person("this is no page of metrics");
    keep(&mut ring, 3 * SECOND, Taken::Refused(odd.clone()));
    assert!(!ring.is_down(&side, 2 * SECOND, 3 * SECOND), "an odd answer is an answer");
    assert_eq!(ring.fault(&side, 3 * SECOND), Some(&odd));
    assert_eq!(ring.fault(&side, SECOND), None, "it was read not long ago");
}

#[test]
fn what_is_gone_from_the_last_page_is_not_present() {
    let mut ring = ring();
    keep(&mut ring, SECOND, samples(&[("200", 1.0), ("500", 1.0)], "1"));
    assert_eq!(ring.present(&selector()).len(), 2);
    keep(&mut ring, 2 * SECOND, samples(&[("200", 1.0)], "1"));
    assert_eq!(ring.present(&selector()), [&counter("200")]);
    keep(&mut ring, 3 * SECOND, Taken::Silent("refused".to_owned()));
    assert!(ring.present(&selector()).is_empty());
}

#[test]
fn a_clock_that_is_set_back_begins_anew_and_one_that_jitters_does_not() {
    let mut ring = ring();
    keep(&mut ring, 100 * SECOND, samples(&[("200", 1.0)], "1"));
    keep(&mut ring, 99 * SECOND, samples(&[("200", 2.0)], "1"));
    let found = ring.series(&[selector()], 0, 200 * SECOND);
    assert_eq!(numbers(&found[0]), [(100_000, 1.0), (100_002, 2.0)]);
    keep(&mut ring, 10 * SECOND, samples(&[("200", 3.0)], "1"));
    let found = ring.series(&[selector()], 0, 200 * SECOND);
    assert_eq!(numbers(&found[0]), [(10_000, 3.0)]);
    assert_eq!(numbers(&ring.witnesses(&[selector()], 200 * SECOND)[0]), [(10_000, 1.0)]);
}

#[test]
fn what_is_kept_is_bounded() {
    let mut ring = ring();
    for at in 0..4_000 {
        keep(&mut ring, at * SECOND, samples(&[("200", at as f64)], "1"));
    }
    let found = ring.series(&[selector()], 0, i64::MAX);
    assert!(numbers(&found[0]).len() <= 1_802, "half an hour, and one before");
    let many: Vec<(String, f64)> = (0..=SERIES_MAX).map(|n| (n.to_string(), 1.0)).collect();
    let many: Vec<(&str, f64)> = many.iter().map(|(code, count)| (code.as_str(), *count)).collect();
    keep(&mut ring, 5_000 * SECOND, samples(&many, "1"));
    let fault = ring.fault(&Labels::new(), i64::MAX).unwrap();
    assert!(fault.message.contains("more than 10000"), "{fault:?}");
    for n in 0..1_000 {
        let one = Arc::new(Selector::read(&format!("m{n}")).unwrap());
        ring.watch(&[one], Instant::now());
    }
    assert!(ring.wanted(Instant::now()).0.len() <= SELECTORS_MAX);
}

#[test]
fn a_budget_shortens_the_time_and_not_the_series() {
    let mut kept = Kept::default();
    let wanted = Wanted(vec![selector()]);
    for at in 0..500 {
        let codes: Vec<String> = (0..10).map(|code| code.to_string()).collect();
        let counts: Vec<(&str, f64)> = codes.iter().map(|code| (code.as_str(), 1.0)).collect();
        kept.keep(at * SECOND, &wanted, samples(&counts, "1"));
        kept.prune(at * SECOND, 1_000);
    }
    assert_eq!(kept.series.len(), 11);
    let values: usize = kept.series.values().map(VecDeque::len).sum();
    assert!(values <= 1_100, "{values}");
}
