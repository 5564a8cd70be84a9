//! What the judge promises, claim by claim, and for any input.

use std::time::Duration;

use haldane_model::{Answer, Evidence, Limits, Sample, Verdict, Weight, Window};
use jiff::Timestamp;
use proptest::prelude::*;

use crate::{Folded, Rule, Stage, sentence};

const FAIL: Verdict = Verdict::Fail { breach: false };
const BREACH: Verdict = Verdict::Fail { breach: true };
const FEW: Verdict = Verdict::Inconclusive { over_limit: false };
const TOO_OFTEN: Verdict = Verdict::Inconclusive { over_limit: true };

/// Folds without a stage: rules that compare nothing know none.
fn fold(
    rule: &Rule,
    limits: &Limits,
    evidence: &Evidence,
    check: &haldane_model::CheckName,
    sample: &Sample,
) -> Folded {
    crate::fold(rule, limits, &Stage::default(), evidence, check, sample)
}

fn window(begin: i64, end: i64) -> Window {
    let at = |second| Timestamp::from_second(1_800_000_000 + second).unwrap();
    Window { begin: at(begin), end: at(end) }
}

/// A look over the minute that ends at `end`; scrapes every 15 s, the serving side has 900 samples.
fn look(end: i64, answer: Answer) -> Sample {
    Sample {
        window: window(end - 60, end),
        scrape: Duration::from_secs(15),
        share: Some(Weight::from_percent(10).unwrap()),
        answer,
        count: None,
        serving_count: Some(900.0),
        targets_down: false,
    }
}

fn ratio(part: f64, total: f64) -> Answer {
    Answer::Ratio { part: Some(part), total: Some(total) }
}

fn gone() -> Answer {
    Answer::Ratio { part: None, total: None }
}

fn rule(json: &str) -> Rule {
    Rule::parse(json).unwrap()
}

fn one_percent() -> Rule {
    rule(r#"{"min": null, "max": 0.01, "unit": "%", "minSamples": null}"#)
}

fn run(rule: &Rule, limits: Limits, samples: &[Sample]) -> Vec<Folded> {
    let mut evidence = Evidence::default();
    let mut all = Vec::new();
    for sample in samples {
        let folded = fold(rule, &limits, &evidence, &"errors".into(), sample);
        evidence = folded.evidence.clone();
        all.push(folded);
    }
    all
}

fn verdicts(rule: &Rule, limits: Limits, samples: &[Sample]) -> Vec<Verdict> {
    run(rule, limits, samples).iter().map(|folded| folded.verdict).collect()
}

#[track_caller]
fn check(rule: &str, answer: Answer, verdict: Verdict) {
    let found = verdicts(&self::rule(rule), Limits::default(), &[look(60, answer)]);
    assert_eq!(found, [verdict]);
}

#[test]
fn a_value_on_the_limit_passes_and_infinity_is_compared() {
    let rule = r#"{"min": 1, "max": 3, "unit": "", "minSamples": null}"#;
    check(rule, Answer::Value(1.0), Verdict::Pass);
    check(rule, Answer::Value(3.0), Verdict::Pass);
    check(rule, Answer::Value(3.1), BREACH);
    check(rule, Answer::Value(0.9), BREACH);
    check(rule, Answer::Value(f64::INFINITY), BREACH);
    check(r#"{"min": 1}"#, Answer::Value(f64::INFINITY), Verdict::Pass);
    check(r#"{"min": 1}"#, Answer::Value(f64::NEG_INFINITY), BREACH);
    check(rule, Answer::Value(f64::NAN), Verdict::NoData);
}

#[test]
fn no_part_is_zero_and_no_whole_is_silence() {
    let rule = r#"{"max": 0.01, "unit": "%"}"#;
    check(rule, Answer::Ratio { part: None, total: Some(90.0) }, Verdict::Pass);
    check(rule, ratio(0.9, 90.0), Verdict::Pass);
    check(rule, ratio(1.0, 90.0), BREACH);
    check(rule, ratio(0.0, 0.0), Verdict::NoData);
    check(rule, Answer::Ratio { part: Some(3.0), total: None }, Verdict::NoData);
    check(rule, ratio(f64::INFINITY, f64::INFINITY), Verdict::NoData);
    check(rule, Answer::Nothing("empty".into()), Verdict::NoData);
}

#[test]
fn a_broken_source_is_no_failure_and_stays_out_of_all_counts() {
    let broken = |end| look(end, Answer::Error { message: "503".into(), retryable: true });
    let limits = Limits { failures: 1, ..Limits::default() };
    let bad = |end| look(end, ratio(9.0, 90.0));
    let found = verdicts(&one_percent(), limits, &[bad(60), broken(120), broken(180), bad(240)]);
    assert_eq!(found, [FAIL, Verdict::SourceError, Verdict::SourceError, BREACH]);
    let before = run(&one_percent(), limits, &[bad(60)]).remove(0).evidence;
    let after = fold(&one_percent(), &limits, &before, &"errors".into(), &broken(120));
    assert_eq!(after.evidence, before);
}

#[test]
fn a_window_shorter_than_two_scrapes_says_nothing() {
    let mut short = look(60, ratio(90.0, 90.0));
    short.window = window(31, 60);
    let limits = Limits { inconclusive: Some(0), ..Limits::default() };
    assert_eq!(verdicts(&one_percent(), limits, &[short.clone()]), [FEW]);
    short.window = window(30, 60);
    assert_eq!(verdicts(&one_percent(), limits, &[short]), [BREACH]);
}

#[test]
fn too_few_samples_say_nothing_and_too_often_is_told() {
    let rule = rule(r#"{"max": 0.01, "unit": "%", "minSamples": 50}"#);
    let limits = Limits { inconclusive: Some(1), ..Limits::default() };
    let few = |end| look(end, ratio(10.0, 49.0));
    assert_eq!(verdicts(&rule, limits, &[few(60), few(90), few(120)]), [FEW, FEW, TOO_OFTEN]);
    let unlimited = Limits { inconclusive: None, ..limits };
    assert_eq!(verdicts(&rule, unlimited, &[few(60), few(120)]), [FEW, FEW]);
    let untold = look(60, Answer::Value(0.0));
    let found = run(&rule, limits, &[untold]).remove(0);
    assert_eq!(found.verdict, FEW);
    assert!(found.finding.message.unwrap().contains("minSamples is set"));
}

#[test]
fn without_a_limit_the_first_failure_is_a_breach_every_time() {
    let bad = look(60, ratio(9.0, 90.0));
    assert_eq!(verdicts(&one_percent(), Limits::default(), &[bad.clone(), bad]), [BREACH, BREACH]);
}

#[test]
fn a_threshold_may_look_five_times_a_scrape_and_no_window_is_shorter_than_one() {
    let millis = Duration::from_millis;
    let check = |json: &str, interval: u64, scrape: u64, pace: u64| {
        let told = rule(json).pace(millis(interval), millis(scrape));
        assert_eq!(told, millis(pace), "{json}, {interval} ms, {scrape} ms");
    };
    let (limit, compared) = (r#"{"max": 0.01}"#, r#"{"compare": {"kind": "errors"}}"#);
    check(limit, 10_000, 15_000, 10_000);
    check(limit, 1_000, 15_000, 3_000);
    check(limit, 20_000, 15_000, 20_000);
    check(limit, 20, 100, 20);
    check(compared, 1_000, 15_000, 15_000);
    check(compared, 20_000, 15_000, 20_000);
    check(r#"{"burn": {"slo": 0.001}}"#, 1_000, 15_000, 15_000);
}

#[test]
fn one_bad_sample_seen_through_overlapping_windows_counts_once() {
    let limits = Limits { failures: 1, ..Limits::default() };
    let bad = |end| look(end, ratio(9.0, 90.0));
    let found = verdicts(&one_percent(), limits, &[bad(60), bad(75), bad(119), bad(120)]);
    assert_eq!(found, [FAIL, FAIL, FAIL, BREACH]);
}

#[test]
fn a_pass_ends_a_row_of_failures_but_not_their_sum() {
    let bad = |end| look(end, ratio(9.0, 90.0));
    let good = |end| look(end, ratio(0.0, 90.0));
    let row = Limits { failures: 9, consecutive_failures: Some(1), inconclusive: None };
    let found = verdicts(&one_percent(), row, &[bad(60), good(120), bad(180), bad(240)]);
    assert_eq!(found, [FAIL, Verdict::Pass, FAIL, BREACH]);
    let sum = Limits { failures: 1, ..Limits::default() };
    let found = verdicts(&one_percent(), sum, &[bad(60), good(120), bad(180)]);
    assert_eq!(found, [FAIL, Verdict::Pass, BREACH]);
}

#[test]
fn a_side_that_vanished_is_lost_after_three_scrapes() {
    let samples =
        [look(60, ratio(0.0, 90.0)), look(75, gone()), look(90, gone()), look(105, gone())];
    let found = verdicts(&one_percent(), Limits::default(), &samples);
    assert_eq!(found, [Verdict::Pass, Verdict::NoData, Verdict::NoData, Verdict::CanaryLost]);
}

#[test]
fn one_scrape_is_not_counted_thrice_by_a_fast_interval() {
    let mut samples = vec![look(60, ratio(0.0, 90.0))];
    samples.extend([65, 70, 75, 80, 85, 90, 94].map(|end| look(end, gone())));
    let found = verdicts(&one_percent(), Limits::default(), &samples);
    assert!(!found.contains(&Verdict::CanaryLost), "{found:?}");
    samples.push(look(95, gone()));
    let found = verdicts(&one_percent(), Limits::default(), &samples);
    assert_eq!(found.last(), Some(&Verdict::CanaryLost));
}

/// Three silent looks after a good one, each changed; the verdict of the last.
fn last_of_three(change: impl Fn(usize, &mut Sample)) -> Verdict {
    let mut samples = vec![look(60, ratio(0.0, 90.0))];
    for (at, end) in [75, 90, 105].into_iter().enumerate() {
        let mut sample = look(end, gone());
        change(at, &mut sample);
        samples.push(sample);
    }
    *verdicts(&one_percent(), Limits::default(), &samples).last().unwrap()
}

#[test]
fn silence_is_no_loss_where_the_share_or_the_other_side_explains_it() {
    assert_eq!(last_of_three(|_, _| {}), Verdict::CanaryLost);
    assert_eq!(last_of_three(|_, look| look.serving_count = None), Verdict::NoData);
    assert_eq!(last_of_three(|_, look| look.serving_count = Some(0.0)), Verdict::NoData);
    for at in 0..3 {
        for share in [None, Some(Weight::ZERO)] {
            let zero = |now: usize, look: &mut Sample| {
                if now == at {
                    look.share = share;
                }
            };
            assert_eq!(last_of_three(zero), Verdict::NoData, "look {at}, share {share:?}");
        }
    }
}

#[test]
fn a_gap_in_what_was_looked_at_begins_the_silence_anew() {
    let samples = [look(60, ratio(0.0, 90.0)), look(75, gone()), look(600, gone())];
    let found = verdicts(&one_percent(), Limits::default(), &samples);
    assert_eq!(found.last(), Some(&Verdict::NoData));
}

#[test]
fn a_side_never_seen_is_lost_only_where_its_share_predicts_requests() {
    let silent = |serving: f64| {
        [75, 90, 105].map(|end| Sample { serving_count: Some(serving), ..look(end, gone()) })
    };
    let found = verdicts(&one_percent(), Limits::default(), &silent(180.0));
    assert_eq!(found.last(), Some(&Verdict::CanaryLost));
    let found = verdicts(&one_percent(), Limits::default(), &silent(179.0));
    assert_eq!(found.last(), Some(&Verdict::NoData));
}

#[test]
fn a_quiet_service_is_idle_for_longer_before_it_is_lost() {
    let idle = |end| Sample { serving_count: Some(90.0), ..look(end, ratio(0.0, 0.0)) };
    let mut samples = vec![look(60, ratio(0.0, 3.0))];
    samples.extend([75, 90, 105, 120].map(idle));
    let found = verdicts(&one_percent(), Limits::default(), &samples);
    assert_eq!(found.last(), Some(&Verdict::NoData), "10 a minute are not yet 20");
    samples.extend([135, 150].map(idle));
    let found = verdicts(&one_percent(), Limits::default(), &samples);
    assert_eq!(found.last(), Some(&Verdict::CanaryLost));
}

#[test]
fn targets_known_to_be_down_are_lost_at_once_but_never_at_share_zero() {
    let down = Sample { targets_down: true, ..look(60, gone()) };
    let lost = |sample| verdicts(&one_percent(), Limits::default(), &[sample]);
    assert_eq!(lost(down.clone()), [Verdict::CanaryLost]);
    assert_eq!(lost(Sample { share: Some(Weight::ZERO), ..down.clone() }), [Verdict::NoData]);
    assert_eq!(lost(Sample { share: None, ..down.clone() }), [Verdict::NoData]);
    assert_eq!(lost(Sample { serving_count: Some(0.0), ..down }), [Verdict::NoData]);
}

#[test]
fn damaged_and_newer_evidence_begins_anew_and_says_so() {
    let bad = look(60, ratio(9.0, 90.0));
    for (bytes, word) in [("{", "damaged"), (r#"{"format":2,"x":1}"#, "newer engine")] {
        let evidence = Evidence::from(bytes.as_bytes());
        let found = fold(&one_percent(), &Limits::default(), &evidence, &"errors".into(), &bad);
        assert_eq!(found.verdict, BREACH);
        assert!(found.finding.message.unwrap().contains(word), "{bytes}");
    }
}

#[test]
fn a_rule_that_cannot_be_meant_is_refused_with_the_remedy() {
    let refused = |json: &str, word: &str| {
        let error = Rule::parse(json).unwrap_err();
        assert!(error.contains(word), "{json}: {error}");
    };
    refused("{}", "set min or max");
    refused(r#"{"min": 2, "max": 1}"#, "min 2 lies above max 1");
    refused(r#"{"max": 1, "minSamples": -1}"#, "minSamples must not be negative, got -1");
    refused(r#"{"max": 1, "unit": "h"}"#, "unknown variant `h`");
    refused(r#"{"max": 1, "mx": 1}"#, "unknown field `mx`");
    refused("[", "cannot read the rule");
}

#[track_caller]
fn says(rule: &str, answer: Answer, text: &str) {
    let found = run(&self::rule(rule), Limits::default(), &[look(60, answer)]).remove(0);
    assert_eq!(sentence(&found.finding), text);
}

#[test]
fn findings_read_as_sentences() {
    let percent = r#"{"max": 0.01, "unit": "%"}"#;
    says(percent, ratio(64.48, 1_240.0), "errors was 5.2 % over 1 240 samples, limit max 1 %");
    says(percent, ratio(0.0, 9.0), "errors was 0 % over 9 samples, limit max 1 %");
    says(percent, Answer::Value(0.010_004), "errors was 1.0004 %, limit max 1 %");
    says(r#"{"max": 0.07, "unit": "%"}"#, Answer::Value(0.07), "errors was 7 %, limit max 7 %");
    says(
        r#"{"max": 0.5, "unit": "s"}"#,
        Answer::Value(1.25),
        "errors was 1.25 s, limit max 500 ms",
    );
    says(
        r#"{"min": 1, "max": 3}"#,
        Answer::Value(12_345.6),
        "errors was 12 346, limit min 1, max 3",
    );
    says(r#"{"max": 3}"#, Answer::Value(f64::INFINITY), "errors was +Inf, limit max 3");
    says(percent, Answer::Nothing("empty".into()), "errors has no data: empty");
    let broken = Answer::Error { message: "503".into(), retryable: true };
    says(percent, broken, "errors could not be measured: 503");
    let lost = Sample { targets_down: true, ..look(60, gone()) };
    let found = run(&one_percent(), Limits::default(), &[lost]).remove(0);
    assert_eq!(
        sentence(&found.finding),
        "errors lost the side under test: every target is down while the serving side had 900 and \
         the share was 10 %"
    );
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(0.0),
        Just(-1.0),
        Just(1e300),
        Just(f64::MAX),
        Just(f64::MIN_POSITIVE),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(f64::NAN),
        0.0..1e9,
        0.0..1.0,
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    let maybe = || prop::option::of(number());
    prop_oneof![
        number().prop_map(Answer::Value),
        (maybe(), maybe()).prop_map(|(part, total)| Answer::Ratio { part, total }),
        Just(Answer::Nothing("empty".to_owned())),
        Just(Answer::Error { message: "503".to_owned(), retryable: true }),
    ]
}

fn sample() -> impl Strategy<Value = Sample> {
    let share =
        prop::option::of((0..=10_000u32).prop_map(|p| Weight::from_basis_points(p).unwrap()));
    let counts = (prop::option::of(number()), prop::option::of(number()));
    (
        -300..600i64,
        -60..300i64,
        prop_oneof![Just(0), 0..90u64, Just(u64::MAX)],
        share,
        answer(),
        counts,
        any::<bool>(),
    )
        .prop_map(
            |(end, length, scrape, share, answer, (count, serving_count), targets_down)| Sample {
                window: window(end - length, end),
                scrape: Duration::from_secs(scrape),
                share,
                answer,
                count,
                serving_count,
                targets_down,
            },
        )
}

fn limits() -> impl Strategy<Value = Limits> {
    (0..4u32, prop::option::of(0..3u32), prop::option::of(0..3u32)).prop_map(
        |(failures, consecutive_failures, inconclusive)| Limits {
            failures,
            consecutive_failures,
            inconclusive,
        },
    )
}

proptest! {
    #[test]
    fn nothing_panics_and_nan_never_appears(samples in prop::collection::vec(sample(), 1..20), limits in limits()) {
        for found in run(&one_percent(), limits, &samples) {
            let finding = &found.finding;
            prop_assert!(!finding.value.is_some_and(f64::is_nan));
            prop_assert!(!finding.samples.is_some_and(f64::is_nan));
            prop_assert!(!sentence(finding).contains("NaN"));
            prop_assert_eq!(finding.verdict, found.verdict);
        }
    }

    #[test]
    fn evidence_that_cannot_be_read_judges_as_none(bytes in prop::collection::vec(any::<u8>(), 1..60), sample in sample(), limits in limits()) {
        let judge = |evidence: &Evidence| fold(&one_percent(), &limits, evidence, &"errors".into(), &sample);
        let damaged = judge(&Evidence::from(bytes));
        let none = judge(&Evidence::default());
        prop_assert_eq!(damaged.verdict, none.verdict);
        prop_assert_eq!(damaged.evidence, none.evidence);
    }

    #[test]
    fn cut_evidence_judges_as_none(samples in prop::collection::vec(sample(), 1..9), cut in 1..40usize, limits in limits()) {
        let whole = run(&one_percent(), limits, &samples).pop().unwrap().evidence;
        let short = Evidence::from(&whole.bytes()[..whole.bytes().len() - cut]);
        let judge = |evidence: &Evidence| fold(&one_percent(), &limits, evidence, &"errors".into(), &samples[0]);
        prop_assert_eq!(judge(&short).verdict, judge(&Evidence::default()).verdict);
    }

    #[test]
    fn a_pass_never_breaches_and_never_adds_a_failure(samples in prop::collection::vec(sample(), 0..12), limits in limits()) {
        let good = look(700, ratio(0.0, 90.0));
        let bad = look(900, ratio(9.0, 90.0));
        let mut with = samples.clone();
        with.push(good);
        prop_assert_eq!(*verdicts(&one_percent(), limits, &with).last().unwrap(), Verdict::Pass);
        with.push(bad.clone());
        let mut without = samples;
        without.push(bad);
        let with = *verdicts(&one_percent(), limits, &with).last().unwrap();
        let without = *verdicts(&one_percent(), limits, &without).last().unwrap();
        prop_assert!(!with.is_breach() || without.is_breach());
    }

    #[test]
    fn the_same_look_twice_counts_once(samples in prop::collection::vec(sample(), 1..12), limits in limits()) {
        let length = |sample: &Sample| sample.window.end > sample.window.begin;
        let once: Vec<Sample> = samples.into_iter().filter(length).collect();
        let twice: Vec<Sample> = once.iter().flat_map(|sample| [sample.clone(), sample.clone()]).collect();
        let last = |samples: &[Sample]| run(&one_percent(), limits, samples).pop().map(|found| (found.verdict, found.evidence));
        prop_assert_eq!(last(&once), last(&twice));
    }
}
