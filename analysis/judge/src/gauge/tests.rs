//! A gauge of two sides: what is called worse, what is not, and what waits for more.

use std::time::Duration;

use haldane_model::{
    Answer, Count, CountWindow, Counts, Evidence, Limits, Sample, Verdict, Weight, Window,
};
use jiff::Timestamp;

use crate::{Folded, Rule, Stage, fold, folded_to, sentence};

const SECS: i64 = 5;
const OPEN: Verdict = Verdict::Inconclusive { over_limit: false };

fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(1_760_000_000 + secs).unwrap()
}

fn count(value: Option<f64>) -> Vec<Count> {
    // Two samples in each window.
    value
        .map(|value| Count { process: "one".into(), total: 2.0, bad: vec![2.0 * value] })
        .into_iter()
        .collect()
}

fn window(number: i64, test: Option<f64>, serving: Option<f64>) -> CountWindow {
    let window = Window { begin: at(number * SECS), end: at((number + 1) * SECS) };
    CountWindow { window, test: count(test), serving: count(serving) }
}

fn look(windows: Vec<CountWindow>, before: Vec<CountWindow>) -> Sample {
    let begin = windows.first().map_or_else(|| at(0), |one| one.window.begin);
    let end = windows.last().map_or_else(|| at(0), |one| one.window.end);
    Sample {
        window: Window { begin, end },
        scrape: Duration::from_secs(5),
        share: Weight::from_percent(10).ok(),
        answer: Answer::Counted(Counts { windows, before, ..Counts::default() }),
        count: None,
        serving_count: None,
        targets_down: false,
    }
}

fn rule(fields: &str) -> Rule {
    Rule::parse(&format!("{{\"gauge\": {{{fields}}}}}")).unwrap()
}

fn stage(step: u32, percent: u32) -> Stage {
    Stage {
        step,
        weight: Weight::from_percent(percent).unwrap(),
        next: Weight::from_percent(100).ok(),
        windows_from: Timestamp::MIN,
        gates: true,
    }
}

fn judge(rule: &Rule, stage: &Stage, evidence: &Evidence, sample: &Sample) -> Folded {
    fold(rule, &Limits::default(), stage, evidence, &"memory".into(), sample)
}

/// A level with a little noise that repeats after eleven windows.
fn around(level: f64, number: i64, of: i64) -> f64 {
    level * (1.0 + 0.01 * ((number * of) % 11) as f64)
}

fn run(
    rule: &Rule,
    test: impl Fn(i64) -> f64,
    serving: impl Fn(i64) -> f64,
    windows: i64,
) -> Vec<Folded> {
    let mut evidence = Evidence::default();
    let mut found = Vec::new();
    for number in 0..windows {
        let one = window(number, Some(test(number)), Some(serving(number)));
        let folded = judge(rule, &stage(0, 10), &evidence, &look(vec![one], vec![]));
        // Every look goes through what is stored.
        evidence = Evidence::from(folded.evidence.bytes());
        found.push(folded);
    }
    found
}

#[track_caller]
fn says(found: &Folded, verdict: Verdict, words: &str) {
    let text = sentence(&found.finding);
    assert_eq!(found.verdict, verdict, "{text}");
    assert!(text.contains(words), "{words:?} is not in {text:?}");
}

#[test]
fn a_gauge_like_the_serving_sides_passes_once_there_are_eight_blocks() {
    let found = run(&rule(""), |at| around(100.0, at, 7), |at| around(100.0, at, 5), 24);
    says(&found[22], OPEN, "23 of 24 windows of the step");
    says(&found[23], Verdict::Pass, "the median of 8 blocks is");
    insta::assert_snapshot!(sentence(&found[23].finding));
}

#[test]
fn a_gauge_that_forgets_faster_than_it_seemed_to_is_still_judged() {
    // It climbs at first and is half as high again, then it swings alike on both sides.
    let swings = |at: i64| 200.0 + 100.0 * (at % 2) as f64 + (at % 5) as f64;
    let serving = |at| if at < 24 { 100.0 + at as f64 } else { swings(at) };
    let test = |at| if at < 24 { 1.5 * serving(at) } else { swings(at + 2) };
    let found = run(&rule(""), test, serving, 120);
    says(&found[23], OPEN, "longer blocks are gathered");
    says(&found[119], Verdict::Pass, "the median of");
}

#[test]
fn half_as_much_again_holds_and_a_critical_one_goes_back() {
    let test = |at| around(150.0, at, 7);
    let serving = |at| around(100.0, at, 5);
    let found = run(&rule(""), test, serving, 24);
    says(&found[23], OPEN, "higher in 100 % of all pairs of blocks");
    says(&found[23], OPEN, "it holds, as the check is not critical");
    let found = run(&rule("\"critical\": true"), test, serving, 24);
    says(&found[23], Verdict::Fail { breach: true }, "higher in 100 % of all pairs of blocks");
    insta::assert_snapshot!(sentence(&found[23].finding));
    // A twentieth more is tolerated.
    let found = run(&rule(""), |at| around(105.0, at, 7), serving, 24);
    says(&found[23], Verdict::Pass, "the median");
}

#[test]
fn less_is_worse_where_that_is_said_and_values_may_be_negative() {
    let lower = rule("\"worse\": \"lower\"");
    let found = run(&lower, |at| around(50.0, at, 7), |at| around(100.0, at, 5), 24);
    says(&found[23], OPEN, "lower in 100 %");
    let found = run(&lower, |at| around(150.0, at, 7), |at| around(100.0, at, 5), 24);
    says(&found[23], Verdict::Pass, "the median");
    let cold = |level: f64| move |at| -around(level, at, 7);
    says(&run(&rule(""), cold(50.0), cold(100.0), 24)[23], OPEN, "higher in 100 %");
}

#[test]
fn the_unit_changes_no_verdict_and_no_evidence() {
    let of = |unit: f64, level: f64| {
        let test = move |at| unit * around(level, at, 7);
        run(&rule(""), test, move |at| unit * around(100.0, at, 5), 40)
    };
    for level in [104.0, 125.0, 150.0] {
        let plain: Vec<Verdict> = of(1.0, level).iter().map(|one| one.verdict).collect();
        for unit in [1024.0, 2f64.powi(-40)] {
            assert_eq!(of(unit, level).iter().map(|one| one.verdict).collect::<Vec<_>>(), plain);
        }
    }
}

#[test]
fn a_gauge_that_forgets_slowly_condemns_nothing_by_short_blocks() {
    // It wanders for minutes before the attempt, so that a block must be long.
    let wander = |number: i64| 100.0 * (1.0 + 0.3 * (number as f64 / 40.0).sin());
    let before = (-720..0).map(|number| window(number, None, Some(wander(number)))).collect();
    let first = look(vec![window(0, Some(150.0), Some(100.0))], before);
    let mut evidence = judge(&rule(""), &stage(0, 10), &Evidence::default(), &first).evidence;
    let mut found = Vec::new();
    for number in 1..40 {
        let one = window(number, Some(around(150.0, number, 7)), Some(around(100.0, number, 5)));
        let folded = judge(&rule(""), &stage(0, 10), &evidence, &look(vec![one], vec![]));
        evidence = folded.evidence.clone();
        found.push(folded);
    }
    says(&found[30], OPEN, "and it looks worse: longer blocks are gathered");
}

#[test]
fn what_begins_late_is_found_by_the_signs_after_the_steps_look_passed() {
    let late = |at: i64| if at < 30 { around(100.0, at, 7) } else { around(140.0, at, 7) };
    let found = run(&rule("\"critical\": true"), late, |at| around(100.0, at, 5), 180);
    assert_eq!(found[29].verdict, Verdict::Pass);
    let first = found.iter().position(|one| one.verdict.is_breach()).unwrap();
    assert!((100..160).contains(&first), "{first}");
    says(&found[first], Verdict::Fail { breach: true }, "block after block it is higher");
    // What was shown stays shown.
    assert!(found[first..].iter().all(|one| one.verdict.is_breach()));
}

#[test]
fn a_new_step_is_looked_at_anew_and_at_100_percent_there_is_nothing_to_compare_with() {
    let found = run(&rule(""), |at| around(100.0, at, 7), |at| around(100.0, at, 5), 24);
    let kept = &found[23].evidence;
    let next = look(vec![window(24, Some(101.0), Some(100.0))], vec![]);
    says(&judge(&rule(""), &stage(1, 50), kept, &next), OPEN, "1 of 24 windows of the step");
    let full = judge(&rule(""), &stage(2, 100), kept, &next);
    says(&full, Verdict::Pass, "at 100 % there is no serving side to compare with");
    // Windows of the way to a share belong to no step.
    let between = Stage { gates: false, windows_from: Timestamp::MAX, ..stage(1, 50) };
    says(&judge(&rule(""), &between, kept, &next), Verdict::Pass, "nothing found so far");
}

#[test]
fn one_side_without_samples_and_what_is_no_number_never_pass() {
    let one = look(vec![window(0, None, Some(100.0))], vec![]);
    says(&judge(&rule(""), &stage(0, 10), &Evidence::default(), &one), Verdict::NoData, "one side");
    let other = look(vec![window(0, Some(100.0), None)], vec![]);
    says(
        &judge(&rule(""), &stage(0, 10), &Evidence::default(), &other),
        Verdict::NoData,
        "one side",
    );
    for odd in [f64::NAN, f64::INFINITY] {
        let odd = look(vec![window(0, Some(odd), Some(100.0))], vec![]);
        let folded = judge(&rule(""), &stage(0, 10), &Evidence::default(), &odd);
        says(&folded, Verdict::SourceError, "samples that are no numbers");
        assert!(folded.evidence.is_empty());
    }
    let mut evidence = Evidence::default();
    let mut last = None;
    for number in 0..8 {
        let test = (number < 3).then_some(100.0);
        let sample = look(vec![window(number, test, Some(100.0))], vec![]);
        let folded = judge(&rule(""), &stage(0, 10), &evidence, &sample);
        evidence = folded.evidence.clone();
        last = Some(folded);
    }
    says(&last.unwrap(), Verdict::CanaryLost, "no samples for 3 scrapes");
}

#[test]
fn constants_and_huge_numbers_are_compared() {
    let found = run(&rule(""), |_| 100.0, |_| 100.0, 24);
    says(&found[23], Verdict::Pass, "the median");
    let found = run(&rule(""), |_| 200.0, |_| 100.0, 24);
    says(&found[23], OPEN, "higher in 100 %");
    let found = run(&rule(""), |at| 1e9 * around(1.0, at, 7), |at| 1e9 * around(1.0, at, 5), 24);
    says(&found[23], Verdict::Pass, "the median");
    let found = run(&rule(""), |_| 0.0, |_| 0.0, 24);
    says(&found[23], Verdict::Pass, "the median");
}

#[test]
fn however_the_looks_are_cut_the_evidence_is_the_same() {
    let windows: Vec<CountWindow> = (0..100)
        .map(|at| window(at, Some(around(120.0, at, 7)), Some(around(100.0, at, 5))))
        .collect();
    let whole =
        judge(&rule(""), &stage(0, 10), &Evidence::default(), &look(windows.clone(), vec![]));
    let mut cut = Evidence::default();
    for (number, part) in windows.chunks(9).enumerate() {
        let begin = (number * 9).saturating_sub(4);
        let part = windows[begin..number * 9 + part.len()].to_vec();
        let stored = Evidence::from(cut.bytes());
        cut = judge(&rule(""), &stage(0, 10), &stored, &look(part, vec![])).evidence;
    }
    assert_eq!(whole.evidence, cut);
    assert_eq!(folded_to(&cut), Some(at(100 * SECS)));
}

#[test]
fn damaged_and_newer_evidence_is_said_and_stays_said() {
    let found = run(&rule(""), |_| 100.0, |_| 100.0, 3);
    let kept = found[2].evidence.bytes();
    for (bytes, word) in [(&kept[..kept.len() - 3], "damaged"), (b"{\"format\":9}", "format 9")] {
        let sample = look(vec![window(3, Some(1.0), Some(1.0))], vec![]);
        let folded = judge(&rule(""), &stage(0, 10), &Evidence::from(bytes), &sample);
        says(&folded, OPEN, word);
        let sample = look(vec![window(4, Some(1.0), Some(1.0))], vec![]);
        let again = judge(&rule(""), &stage(0, 10), &folded.evidence, &sample);
        says(&again, OPEN, "earlier evidence was lost");
    }
}

#[test]
fn settings_out_of_range_are_refused_with_the_remedy() {
    let check = |fields: &str, words: &str| {
        let error = Rule::parse(&format!("{{\"gauge\": {{{fields}}}}}")).unwrap_err();
        assert!(error.contains(words), "{error}");
    };
    check("\"alpha\": 0", "alpha must lie above 0 and not above 0.5, got 0");
    check("\"alpha\": 0.9", "got 0.9");
    check("\"tolerance\": -1", "tolerance must not be negative, got -1");
    check("\"blocks\": 2", "blocks must lie between 5 and 50, got 2");
    check("\"block\": 0", "block must lie between 1 and 60, got 0");
    check("\"wrose\": 1", "wrose");
}

/// An even coin, made of a hash: nothing here draws at random.
fn noise(seed: u64, number: i64, side: u64) -> f64 {
    let mut state = seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (side << 32);
    for _ in 0..3 {
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    }
    (state >> 11) as f64 / (1_u64 << 53) as f64
}

#[test]
fn a_gauge_that_is_no_worse_than_tolerated_is_called_worse_no_more_often_than_alpha_says() {
    // On the limit itself, over five minutes of one step, with twenty times the usual alpha.
    let rule = rule("\"alpha\": 0.2");
    let (rollouts, mut wrong) = (400, 0);
    for seed in 0..rollouts {
        let test = |at| 110.0 * (0.9 + 0.2 * noise(seed, at, 1));
        let serving = |at| 100.0 * (0.9 + 0.2 * noise(seed, at, 2));
        let windows = (0..60).map(|at| window(at, Some(test(at)), Some(serving(at)))).collect();
        let folded = judge(&rule, &stage(0, 10), &Evidence::default(), &look(windows, vec![]));
        wrong += u32::from(sentence(&folded.finding).contains("it holds"));
    }
    assert!(wrong <= 80, "{wrong} of {rollouts}");
    assert!(wrong > 0, "the bound would hold of a test that finds nothing");
}
