//! What is counted, and what is not.

use std::time::Duration;

use jiff::Timestamp;

use super::*;

/// A series scraped at whole seconds; `None`: it was not there.
fn series(labels: &[(&str, &str)], begin: i64, values: &[Option<f64>]) -> Series {
    let labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let at = |second: usize| (begin + i64::try_from(second).unwrap()) * 1000;
    let samples =
        values.iter().enumerate().filter_map(|(second, value)| Some((at(second), (*value)?)));
    Series { labels, samples: Samples::Numbers(samples.collect()) }
}

fn pod(name: &str, code: &str, values: &[Option<f64>]) -> Series {
    series(&[("instance", name), ("code", code)], 1, values)
}

fn some(values: &[f64]) -> Vec<Option<f64>> {
    values.iter().copied().map(Some).collect()
}

fn window(begin: i64, end: i64) -> Window {
    let at = |millis| Timestamp::from_millisecond(millis).unwrap();
    Window { begin: at(begin), end: at(end) }
}

fn span(begin: i64, end: i64, grid: u64) -> Span {
    Span::new(window(begin * 1000, end * 1000), Duration::from_secs(grid))
}

fn classes() -> Measure {
    Measure::Classes { bad: vec![Class::new("code", &["5.."])] }
}

fn counted(measure: &Measure, span: Span, series: &[Series]) -> Counts {
    let test = SideSeries { all: series.iter().collect(), bad: Vec::new() };
    let observed = Observed { test, ..Observed::default() };
    count(measure, span, Duration::ZERO, &observed, None).unwrap()
}

/// The totals and the bad ones of one window after the other.
fn totals(counts: &Counts) -> Vec<(f64, f64)> {
    let sum = |window: &haldane_model::CountWindow| {
        window.test.iter().fold((0.0, 0.0), |(n, k), one| (n + one.total, k + one.bad[0]))
    };
    counts.windows.iter().map(sum).collect()
}

#[track_caller]
fn check(series: &[Series], expected: &[(f64, f64)]) {
    assert_eq!(totals(&counted(&classes(), span(0, 60, 1), series)), expected);
}

#[test]
fn increases_lie_in_the_window_of_their_later_sample() {
    let good = pod("a", "200", &some(&[10.0, 14.0, 19.0, 19.0, 20.0, 26.0]));
    let counts = counted(&classes(), span(0, 60, 2), &[good]);
    // Seconds 1 | 2, | 3, 4 | 5, 6: a window holds its end and not its beginning.
    assert_eq!(totals(&counts), [(4.0, 0.0), (5.0, 0.0), (7.0, 0.0)]);
    let ends: Vec<i64> = counts.windows.iter().map(|w| w.window.end.as_second()).collect();
    assert_eq!(ends, [2, 4, 6]);
    assert_eq!(counts.windows[0].window, window(0, 2000));
}

#[test]
fn a_restart_counts_from_zero() {
    check(
        &[pod("a", "200", &some(&[10.0, 14.0, 3.0, 8.0]))],
        &[(4.0, 0.0), (3.0, 0.0), (5.0, 0.0)],
    );
}

#[test]
fn a_restart_that_one_class_shows_is_a_restart_of_all() {
    // The errors did not fall: four before the restart, five after it.
    let good = pod("a", "200", &some(&[100.0, 110.0, 7.0]));
    let bad = pod("a", "500", &some(&[4.0, 4.0, 5.0]));
    check(&[good.clone(), bad.clone()], &[(10.0, 0.0), (12.0, 5.0)]);
    // Another process, and another route, go on.
    let other = pod("b", "500", &some(&[4.0, 4.0, 5.0]));
    let route =
        series(&[("instance", "a"), ("code", "500"), ("route", "/")], 1, &some(&[4.0, 4.0, 5.0]));
    check(&[good, other, route], &[(10.0, 0.0), (9.0, 2.0)]);
}

#[test]
fn the_first_error_of_a_known_process_counts() {
    let good = pod("a", "200", &some(&[10.0, 20.0, 30.0]));
    let bad = pod("a", "500", &[None, Some(1.0), Some(3.0)]);
    check(&[good, bad], &[(11.0, 1.0), (12.0, 2.0)]);
}

#[test]
fn a_new_process_begins_with_its_first_sample() {
    let old = pod("a", "200", &some(&[0.0, 1.0, 2.0, 3.0]));
    let new = pod("b", "200", &[None, None, Some(7.0), Some(9.0)]);
    check(&[old, new], &[(1.0, 0.0), (1.0, 0.0), (3.0, 0.0)]);
}

#[test]
fn a_process_that_was_scraped_before_its_first_request_counts_from_zero() {
    let observed = |up: f64| {
        let new = pod("a", "200", &[None, None, Some(7.0), Some(9.0)]);
        let up = series(&[("__name__", "up"), ("instance", "a")], 1, &[None, Some(up), None]);
        let all = [new, up];
        let own = of_side(&all, &Labels::new());
        assert_eq!(own.len(), 1, "what shows scrapes is not counted");
        let test = SideSeries { all: own, bad: Vec::new() };
        let observed = Observed { test, others: vec![&all[1]], ..Observed::default() };
        totals(&count(&classes(), span(0, 9, 1), Duration::ZERO, &observed, None).unwrap())
    };
    assert_eq!(observed(1.0), [(7.0, 0.0), (2.0, 0.0)]);
    // A scrape that failed tells nothing: the process may be old.
    assert_eq!(observed(0.0), [(2.0, 0.0)]);
}

#[test]
fn a_process_of_both_sides_counts_what_is_born_on_either() {
    let proxy = |side: &str, values: &[Option<f64>]| {
        series(&[("instance", "lb"), ("proxy", side)], 1, values)
    };
    let (blue, green) = (proxy("blue", &some(&[5.0, 6.0])), proxy("green", &[None, Some(3.0)]));
    let sides = |all| SideSeries { all, bad: Vec::new() };
    let observed =
        Observed { test: sides(vec![&green]), serving: sides(vec![&blue]), others: Vec::new() };
    let counts = count(&classes(), span(0, 9, 1), Duration::ZERO, &observed, None).unwrap();
    let [only] = counts.windows.as_slice() else { panic!("{counts:?}") };
    assert_eq!((only.test[0].total, only.serving[0].total), (3.0, 1.0));
}

#[test]
fn a_warm_up_is_not_counted() {
    let new = pod("a", "200", &some(&[1.0, 2.0, 4.0, 8.0, 16.0]));
    let test = SideSeries { all: vec![&new], bad: Vec::new() };
    let observed = Observed { test, ..Observed::default() };
    let of = |secs| {
        let warm_up = Duration::from_secs(secs);
        totals(&count(&classes(), span(0, 9, 1), warm_up, &observed, None).unwrap())
    };
    assert_eq!(of(2), [(4.0, 0.0), (8.0, 0.0)]);
    assert_eq!(of(0).len(), 4);
}

#[test]
fn what_follows_a_gap_lies_in_the_first_window_after_it() {
    let gap = pod("a", "200", &[Some(1.0), Some(2.0), None, None, Some(9.0)]);
    let counts = counted(&classes(), span(0, 9, 1), &[gap]);
    assert_eq!(totals(&counts), [(1.0, 0.0), (7.0, 0.0)]);
    assert_eq!(counts.windows[1].window.end.as_second(), 5);
}

#[test]
fn what_is_no_count_or_not_asked_for_is_left_out() {
    let samples = vec![
        (1000, 1.0),
        (1000, 5.0),
        (2000, f64::NAN),
        (2000, 3.0),
        (1500, 2.0),
        (3000, f64::INFINITY),
        (3000, -1.0),
        (4000, 1e9 + 3.0),
        (9500, 2e9),
    ];
    let odd = Series { samples: Samples::Numbers(samples), ..pod("a", "200", &[]) };
    let counts = counted(&classes(), span(0, 9, 1), &[odd]);
    assert_eq!(totals(&counts), [(2.0, 0.0), (1e9, 0.0)]);
}

#[test]
fn bad_requests_may_have_series_of_their_own() {
    let all = pod("a", "all", &some(&[10.0, 20.0]));
    let bad = pod("a", "bad", &some(&[1.0, 3.0]));
    let test = SideSeries { all: vec![&all], bad: vec![&bad] };
    let observed = Observed { test, ..Observed::default() };
    let counts = count(&Measure::Apart, span(0, 9, 1), Duration::ZERO, &observed, None).unwrap();
    assert_eq!(totals(&counts), [(10.0, 2.0)]);
}

fn bucket(le: &str, values: &[f64]) -> Series {
    series(&[("instance", "a"), ("le", le)], 1, &some(values))
}

fn histogram() -> Measure {
    Measure::Histogram { except: vec![Class::new("code", &["5.."])] }
}

fn above(series: &[Series]) -> (Vec<f64>, Vec<(f64, Vec<f64>)>) {
    let counts = counted(&histogram(), span(0, 9, 1), series);
    let windows = counts.windows.iter().map(|w| (w.test[0].total, w.test[0].bad.clone()));
    (counts.bounds.clone(), windows.collect())
}

#[test]
fn a_histogram_counts_what_lies_above_each_bound() {
    let all = [bucket("0.1", &[5.0, 9.0]), bucket("1", &[6.0, 14.0]), bucket("+Inf", &[6.0, 17.0])];
    assert_eq!(above(&all), (vec![0.1, 1.0], vec![(11.0, vec![7.0, 3.0])]));
    let mut failed = bucket("+Inf", &[0.0, 9.0]);
    failed.labels.insert("code".into(), "503".into());
    let [one, two, three] = all;
    assert_eq!(above(&[one, two, three, failed]).1[0].0, 11.0, "failed requests are left out");
}

#[test]
fn a_histogram_begins_anew_as_a_whole() {
    // Only the total shows the restart; the fast ones rose beyond what they were.
    let all = [bucket("0.1", &[5.0, 6.0]), bucket("+Inf", &[100.0, 7.0])];
    assert_eq!(above(&all).1, [(7.0, vec![1.0])]);
    // Only one bucket shows it.
    let all = [bucket("0.1", &[50.0, 6.0]), bucket("+Inf", &[100.0, 120.0])];
    assert_eq!(above(&all).1, [(120.0, vec![114.0])]);
    let (_, before) = native(1, &[(-1e-9, 1e-9, 4.0), (0.5, 1.0, 10.0), (1.0, 2.0, 4.0)]);
    let (_, one_fell) = native(2, &[(-1e-9, 1e-9, 4.0), (0.5, 1.0, 9.0), (1.0, 2.0, 40.0)]);
    let (_, zero_fell) = native(2, &[(-1e-9, 1e-9, 3.0), (0.5, 1.0, 20.0), (1.0, 2.0, 40.0)]);
    assert_eq!(one_fell.since(&before), one_fell);
    assert_eq!(zero_fell.since(&before), zero_fell);
}

#[test]
fn a_finer_histogram_is_merged_upwards() {
    let fine = Native::from_indexes(3, [(-3, 2.0), (0, 5.0), (1, 7.0), (8, 4.0), (9, 3.0)].into());
    assert_eq!(fine.merged(1), [(0, 7.0), (1, 7.0), (2, 4.0), (3, 3.0)].into());
    // A client that halves its resolution goes on counting.
    let coarse = Native::from_indexes(1, [(0, 9.0), (1, 7.0), (2, 4.0), (3, 8.0)].into());
    let gained = coarse.since(&fine);
    assert_eq!((gained.count, gained.merged(1)[&0], gained.merged(1)[&3]), (7.0, 2.0, 5.0));
}

#[test]
fn bounds_are_numbers_and_only_common_ones_are_answered() {
    let sides = |one: &[&str], other: &[&str]| {
        let all = |pod: &str, bounds: &[&str]| -> Vec<Series> {
            let of = |le: &&str| {
                let labels = [("instance", pod), ("le", *le)];
                series(&labels, 1, &some(&[0.0, 1.0]))
            };
            bounds.iter().map(of).collect()
        };
        let (one, other) = (all("a", one), all("b", other));
        let side = |all| SideSeries { all, bad: Vec::new() };
        let observed = Observed {
            test: side(of_side(&one, &Labels::new())),
            serving: side(of_side(&other, &Labels::new())),
            others: Vec::new(),
        };
        count(&histogram(), span(0, 9, 1), Duration::ZERO, &observed, None)
            .map(|counts| counts.bounds)
    };
    assert_eq!(sides(&["0.5", "1", "2", "+Inf"], &["1.0", "2e0", "4", "Inf"]), Ok(vec![1.0, 2.0]));
    assert!(sides(&["1", "+Inf"], &["2", "+Inf"]).unwrap_err().contains("in common"));
}

#[test]
fn a_layout_that_changes_counts_again_from_the_next_scrape() {
    let new = |values: &[Option<f64>]| series(&[("instance", "a"), ("le", "0.5")], 1, values);
    let all = [
        bucket("0.1", &[5.0, 6.0, 8.0]),
        new(&[None, Some(6.0), Some(9.0)]),
        bucket("+Inf", &[5.0, 7.0, 11.0]),
    ];
    assert_eq!(above(&all), (vec![0.1, 0.5], vec![(4.0, vec![2.0, 1.0])]));
    // With a restart everything is known: it begins from zero.
    let all = [
        bucket("0.1", &[50.0, 6.0, 8.0]),
        new(&[None, Some(6.0), Some(9.0)]),
        bucket("+Inf", &[50.0, 7.0, 11.0]),
    ];
    assert_eq!(above(&all).1, [(7.0, vec![1.0, 1.0]), (4.0, vec![2.0, 1.0])]);
}

fn native(at: i64, buckets: &[(f64, f64, f64)]) -> (i64, Native) {
    let count = buckets.iter().map(|(_, _, count)| count).sum();
    let bucket = |(lower, upper, count): &(f64, f64, f64)| Bucket {
        lower: *lower,
        upper: *upper,
        count: *count,
    };
    let buckets: Vec<Bucket> = buckets.iter().map(bucket).collect();
    (at * 1000, Native::read(count, &buckets).unwrap())
}

#[test]
fn native_histograms_are_counted_at_the_lower_schema() {
    let coarse = native(1, &[(-1e-128, 1e-128, 2.0), (0.5, 1.0, 10.0), (1.0, 2.0, 4.0)]);
    let later = native(2, &[(-1e-128, 1e-128, 5.0), (0.5, 1.0, 10.0), (1.0, 2.0, 9.0)]);
    let fell = native(3, &[(0.5, 1.0, 3.0), (2.0, 4.0, 1.0)]);
    let labels = Labels::from([("instance".into(), "a".into())]);
    let one = Series { labels, samples: Samples::Histograms(vec![coarse, later, fell]) };
    let (bounds, windows) = above(&[one]);
    assert_eq!((bounds[0], bounds[26]), (f64::from(-10).exp2(), f64::from(16).exp2()));
    let at = |bound: f64| bounds.iter().position(|one| *one == bound).unwrap();
    let [(first, gained), (second, anew)] = windows.as_slice() else { panic!("{windows:?}") };
    assert_eq!((*first, gained[at(0.5)], gained[at(1.0)], gained[at(2.0)]), (8.0, 5.0, 5.0, 0.0));
    assert_eq!((*second, anew[at(0.5)], anew[at(1.0)], anew[at(2.0)]), (4.0, 4.0, 1.0, 1.0));
}

#[test]
fn custom_bounds_and_mixed_kinds_are_refused_with_the_remedy() {
    let odd = Bucket { lower: 0.1, upper: 0.3, count: 1.0 };
    assert!(Native::read(1.0, &[odd]).unwrap_err().contains("its classic buckets"));
    let far = Bucket { lower: 2.0, upper: f64::INFINITY, count: 1.0 };
    assert_eq!(Native::read(1.0, &[far]).unwrap().above(0).last(), Some(&1.0));
    let labels = Labels::from([("instance".into(), "b".into())]);
    let samples = vec![native(1, &[(0.5, 1.0, 1.0)]), native(2, &[(0.5, 1.0, 2.0)])];
    let all = [
        Series { labels, samples: Samples::Histograms(samples) },
        bucket("1", &[1.0, 2.0]),
        bucket("+Inf", &[1.0, 2.0]),
    ];
    let side = SideSeries { all: all.iter().collect(), bad: Vec::new() };
    let observed = Observed { test: side, ..Observed::default() };
    let error = count(&histogram(), span(0, 9, 1), Duration::ZERO, &observed, None).unwrap_err();
    assert!(error.contains("one kind by its name"), "{error}");
}

#[test]
fn the_time_before_is_counted_for_the_serving_side_alone() {
    let blue = pod("a", "200", &some(&[0.0, 1.0, 3.0, 6.0, 10.0]));
    let side = || SideSeries { all: vec![&blue], bad: Vec::new() };
    let now = Observed { serving: side(), ..Observed::default() };
    let earlier = Observed { test: side(), serving: side(), others: Vec::new() };
    let before = Some((span(0, 3, 1), &earlier));
    let counts = count(&classes(), span(3, 9, 1), Duration::ZERO, &now, before).unwrap();
    assert!(counts.before.iter().all(|window| window.test.is_empty()));
    let of = |windows: &[haldane_model::CountWindow]| -> Vec<f64> {
        windows.iter().map(|window| window.serving[0].total).collect()
    };
    assert_eq!((of(&counts.before), of(&counts.windows)), (vec![1.0, 2.0], vec![3.0, 4.0]));
}

/// Numbers from a seed.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

/// One process from its start to its end: scrapes at odd moments, gaps, restarts, late classes,
/// which a restart may forget until they are needed again.
fn life(random: &mut Seeded, name: &str, histograms: bool, forgets: bool) -> Vec<Series> {
    let apart: &[&str] = if histograms { &["0.1", "1", "+Inf"] } else { &["200", "404", "500"] };
    let label = if histograms { "le" } else { "code" };
    let mut at = i64::try_from(random.below(60_000)).unwrap();
    let mut counts = [0.0; 3];
    let mut samples: [Vec<(i64, f64)>; 3] = Default::default();
    for _ in 0..random.below(200) {
        at += 800 + i64::try_from(random.below(400)).unwrap();
        if random.below(25) == 0 {
            counts = [0.0; 3];
        }
        for one in 0..3 {
            let gained = random.below([20, 4, 2][one]) as f64;
            // Buckets are cumulative.
            let reach = if histograms { one..3 } else { one..one + 1 };
            counts[reach].iter_mut().for_each(|count| *count += gained);
        }
        if random.below(12) == 0 {
            at += i64::try_from(random.below(20_000)).unwrap();
        }
        for (one, count) in counts.iter().enumerate() {
            if histograms || *count > 0.0 || !(forgets || samples[one].is_empty()) {
                samples[one].push((at, *count));
            }
        }
    }
    let of = |(value, samples): (&&str, Vec<(i64, f64)>)| {
        let labels = [("instance", name), (label, *value)];
        Series { samples: Samples::Numbers(samples), ..series(&labels, 0, &[]) }
    };
    apart.iter().zip(samples).map(of).collect()
}

/// What a source would answer: the samples up to the end, reaching back a minute.
fn answered(all: &[Series], begin: i64, end: i64) -> Vec<Series> {
    let cut = |series: &Series| {
        let Samples::Numbers(samples) = &series.samples else { panic!() };
        let inside = samples.iter().filter(|(at, _)| *at > begin - 60_000 && *at <= end);
        Series {
            labels: series.labels.clone(),
            samples: Samples::Numbers(inside.copied().collect()),
        }
    };
    all.iter().map(cut).collect()
}

#[test]
fn counts_do_not_depend_on_how_time_is_divided_over_looks() {
    for seed in 0..300 {
        let mut random = Seeded(seed);
        let histograms = seed % 2 == 1;
        let measure = if histograms { histogram() } else { classes() };
        let lives = ["a", "b", "c"].map(|name| life(&mut random, name, histograms, true));
        let all: Vec<Series> = lives.into_iter().flatten().collect();
        let grid = Duration::from_millis(1000 + random.below(9000));
        let at = |begin, end| {
            let span = Span::new(window(begin, end), grid);
            // One look reaches over everything; the others as far as a source would.
            let series = if begin == 0 { all.clone() } else { answered(&all, begin, end) };
            counted(&measure, span, &series).windows
        };
        let whole = at(0, 700_000);
        assert!(seed > 10 || !whole.is_empty());
        let mut pieces = Vec::new();
        let mut begin = 0;
        while begin < 700_000 {
            let end = (begin + 1 + i64::try_from(random.below(30_000)).unwrap()).min(700_000);
            pieces.extend(at(begin, end));
            begin = end;
        }
        assert_eq!(pieces, whole, "seed {seed}");
    }
}

#[test]
fn nothing_is_lost_and_nothing_counts_twice() {
    for seed in 0..100 {
        let mut random = Seeded(seed);
        let all = life(&mut random, "a", false, false);
        let counts = counted(&classes(), span(0, 4000, 5), &all);
        // All that was counted between restarts, from the first sample of the process on.
        let mut scrapes: BTreeMap<i64, [f64; 3]> = BTreeMap::new();
        for (one, series) in all.iter().enumerate() {
            let Samples::Numbers(samples) = &series.samples else { panic!() };
            for (at, value) in samples {
                scrapes.entry(*at).or_default()[one] = *value;
            }
        }
        let scrapes: Vec<[f64; 3]> = scrapes.into_values().collect();
        let expected: f64 = scrapes
            .windows(2)
            .map(|two| {
                let restarted = (0..3).any(|one| two[1][one] < two[0][one]);
                let then = if restarted { [0.0; 3] } else { two[0] };
                (0..3).map(|one| two[1][one] - then[one]).sum::<f64>()
            })
            .sum();
        let total: f64 = totals(&counts).iter().map(|(total, _)| total).sum();
        assert_eq!(total, expected, "seed {seed}");
    }
}

// === gauges ===

#[test]
fn a_gauge_is_what_each_process_showed_and_may_fall_and_be_negative() {
    let gauge = Measure::Gauge { rate: false, sum: false };
    let values = [5.0, -3.0, f64::NAN, 4.0, f64::INFINITY, 6.0];
    let counts = counted(&gauge, span(0, 60, 2), &[pod("a", "-", &some(&values))]);
    // How many samples each window has, and their sum; what is no number is left out.
    assert_eq!(totals(&counts), [(2.0, 2.0), (1.0, 4.0), (1.0, 6.0)]);
}

#[test]
fn a_counter_read_as_a_gauge_is_its_rise_per_second_and_begins_anew_after_a_restart() {
    let gauge = Measure::Gauge { rate: true, sum: false };
    let values = [Some(10.0), Some(14.0), None, Some(20.0), Some(2.0)];
    let counts = counted(&gauge, span(0, 60, 1), &[pod("a", "-", &values)]);
    assert_eq!(totals(&counts), [(1.0, 4.0), (1.0, 3.0), (1.0, 2.0)]);
}

#[test]
fn several_series_of_one_process_are_refused_by_name_or_added_up() {
    let two = [pod("a", "x", &some(&[1.0, 2.0])), pod("a", "y", &some(&[10.0, 20.0]))];
    let test = SideSeries { all: two.iter().collect(), bad: Vec::new() };
    let observed = Observed { test, ..Observed::default() };
    let one = Measure::Gauge { rate: false, sum: false };
    let error = count(&one, span(0, 60, 1), Duration::ZERO, &observed, None).unwrap_err();
    for part in ["process a has several series", "code=\"x\"", "code=\"y\"", "series: Sum"] {
        assert!(error.contains(part), "{error}");
    }
    let sum = Measure::Gauge { rate: false, sum: true };
    let counts = counted(&sum, span(0, 60, 1), &two);
    assert_eq!(totals(&counts), [(1.0, 11.0), (1.0, 22.0)]);
}

#[test]
fn several_metrics_are_told_apart_by_their_names_and_labels() {
    let of = |name: &str, code: &str, values: &[f64]| {
        let labels = [("__name__", name), ("instance", "a"), ("code", code)];
        series(&labels, 1, &some(values))
    };
    let all = [
        of("memory", "-", &[7.0, 9.0]),
        of("calls_total", "500", &[1.0, 4.0]),
        of("calls_total", "200", &[50.0, 90.0]),
    ];
    let metric = |name: &str, metric: &str, code: Option<&str>, rate: bool| Gauged {
        name: name.into(),
        metric: metric.into(),
        labels: code.map(|code| ("code".to_owned(), code.to_owned())).into_iter().collect(),
        rate,
    };
    let metrics = vec![
        metric("heap", "memory", None, false),
        metric("failed", "calls_total", Some("500"), true),
    ];
    let counts = counted(&Measure::Gauges { metrics }, span(0, 60, 60), &all);
    let seen: Vec<(&str, f64, f64)> =
        counts.windows[0].test.iter().map(|one| (&*one.process, one.total, one.bad[0])).collect();
    assert_eq!(seen, [("failed", 1.0, 3.0), ("heap", 2.0, 16.0)]);
}

#[test]
fn what_a_gauge_shows_does_not_depend_on_how_time_is_divided_over_looks() {
    let values: Vec<Option<f64>> =
        (0..40).map(|at| (at % 7 != 3).then_some(f64::from(at * 13 % 17))).collect();
    for measure in
        [Measure::Gauge { rate: false, sum: false }, Measure::Gauge { rate: true, sum: false }]
    {
        let series = [pod("a", "-", &values)];
        let whole = counted(&measure, span(0, 45, 5), &series);
        let cut = [(0, 10), (10, 15), (15, 45)]
            .map(|(begin, end)| counted(&measure, span(begin, end, 5), &series).windows);
        assert_eq!(cut.concat(), whole.windows);
    }
}
