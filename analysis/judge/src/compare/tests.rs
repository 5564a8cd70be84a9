//! What comparing checks promise, claim by claim, and for any windows.

use std::time::Duration;

use haldane_model::{
    Answer, Count, CountWindow, Counts, Evidence, Limits, Sample, Verdict, Weight, Window,
};
use jiff::Timestamp;
use proptest::prelude::*;

use super::book::{Book, Frozen};
use crate::{Folded, Rule, Stage, fold, folded_to, merged, odds, sentence, together};

const BREACH: Verdict = Verdict::Fail { breach: true };
const OPEN: Verdict = Verdict::Inconclusive { over_limit: false };
/// The length of a window here, in seconds.
const SECS: i64 = 15;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn errors() -> Rule {
    Rule::parse(r#"{"compare": {"kind": "errors"}}"#).unwrap()
}

fn latency() -> Rule {
    Rule::parse(r#"{"compare": {"kind": "latency"}}"#).unwrap()
}

/// A step at 10 %, on the way to 25 %, that began at second 0.
fn stage() -> Stage {
    Stage {
        step: 0,
        weight: Weight::from_percent(10).unwrap(),
        next: Some(Weight::from_percent(25).unwrap()),
        windows_from: at(0),
        gates: true,
    }
}

fn full(from: i64) -> Stage {
    Stage { step: 1, weight: Weight::FULL, next: None, windows_from: at(from), gates: false }
}

/// One process each: `[bad, total]` of the side under test, then of the serving side.
fn window(number: i64, [bad, total, serving_bad, serving_total]: [f64; 4]) -> CountWindow {
    let one = |process: &str, bad, total| Count { process: process.into(), total, bad: vec![bad] };
    CountWindow {
        window: Window { begin: at(number * SECS), end: at((number + 1) * SECS) },
        test: vec![one("t", bad, total)],
        serving: vec![one("s", serving_bad, serving_total)],
    }
}

fn look(windows: Vec<CountWindow>, before: Vec<CountWindow>) -> Sample {
    let bounds = Vec::new();
    let begin = windows.first().map_or_else(|| at(0), |first| first.window.begin);
    let end = windows.last().map_or_else(|| at(SECS), |last| last.window.end);
    Sample {
        window: Window { begin, end },
        scrape: Duration::from_secs(15),
        share: Some(Weight::from_percent(10).unwrap()),
        answer: Answer::Counted(Counts { bounds, windows, before, late: 0, skew: None }),
        count: None,
        serving_count: None,
        targets_down: false,
    }
}

fn judge(rule: &Rule, stage: &Stage, evidence: &Evidence, sample: &Sample) -> Folded {
    fold(rule, &Limits::default(), stage, evidence, &"errors".into(), sample)
}

/// One look per window, from window `from` on; returns what every look found.
fn run(
    rule: &Rule,
    stage: &Stage,
    evidence: &Evidence,
    from: i64,
    counts: &[[f64; 4]],
) -> Vec<Folded> {
    let mut evidence = evidence.clone();
    let mut all = Vec::new();
    for (number, counts) in counts.iter().enumerate() {
        let sample = look(vec![window(from + number as i64, *counts)], Vec::new());
        let folded = judge(rule, stage, &evidence, &sample);
        evidence = folded.evidence.clone();
        all.push(folded);
    }
    all
}

fn verdicts(folded: &[Folded]) -> Vec<Verdict> {
    folded.iter().map(|one| one.verdict).collect()
}

fn last(folded: &[Folded]) -> &Folded {
    folded.last().unwrap()
}

fn message(folded: &Folded) -> &str {
    folded.finding.message.as_deref().unwrap()
}

fn book(evidence: &Evidence) -> Book {
    serde_json::from_slice(evidence.bytes()).unwrap()
}

#[track_caller]
fn says(folded: &Folded, verdict: Verdict, words: &str) {
    assert_eq!(folded.verdict, verdict, "{}", message(folded));
    assert!(message(folded).contains(words), "{} does not say {words}", message(folded));
}

const HEALTHY: [f64; 4] = [1.0, 300.0, 12.0, 2_700.0];
const FIVE_TIMES: [f64; 4] = [7.0, 300.0, 12.0, 2_700.0];

// === regression ===

#[test]
fn five_times_the_errors_roll_back_and_the_sentence_says_why() {
    let found = run(&errors(), &stage(), &Evidence::default(), 0, &[FIVE_TIMES; 8]);
    let at = found.iter().position(|one| one.verdict == BREACH).unwrap();
    assert!((1..5).contains(&at), "found at window {at}");
    let text = sentence(&last(&found).finding);
    assert_eq!(
        text,
        "errors fails: at 10 % after 2m00s: 2.33 % errors (56/2 400) vs 0.444 % (96/21 600) of the \
         serving side, limit 0.509 %; evidence >1 000:1 that it is worse (needed 100:1); the side \
         under test is at least 2 times as bad"
    );
    let compared = last(&found).finding.compared.unwrap();
    assert!(compared.odds > 1_000.0 && (compared.odds_needed - 100.0).abs() < 1e-9);
}

#[test]
fn no_single_window_rolls_back_however_bad_it_is() {
    let alone = [[300.0, 300.0, 12.0, 2_700.0]];
    let found = run(&errors(), &stage(), &Evidence::default(), 0, &alone);
    assert_ne!(found[0].verdict, BREACH);
    let after = run(&errors(), &stage(), &found[0].evidence, 1, &[HEALTHY; 20]);
    assert!(!verdicts(&after).contains(&BREACH), "one burst among healthy windows");
    let again = run(&errors(), &stage(), &found[0].evidence, 1, &[alone[0]; 2]);
    assert_eq!(last(&again).verdict, BREACH, "three windows agree");
}

#[test]
fn what_breaks_late_is_found_soon_after() {
    let healthy = run(&errors(), &stage(), &Evidence::default(), 0, &[HEALTHY; 240]);
    let found = run(&errors(), &stage(), &last(&healthy).evidence, 240, &[FIVE_TIMES; 12]);
    let at = found.iter().position(|one| one.verdict == BREACH);
    assert!(at.is_some_and(|at| at <= 7), "after an hour of health, found at window {at:?}");
}

#[test]
fn a_crossing_stays_shown() {
    let bad = run(&errors(), &stage(), &Evidence::default(), 0, &[FIVE_TIMES; 8]);
    let after =
        run(&errors(), &stage(), &last(&bad).evidence, 8, &[[0.0, 300.0, 30.0, 2_700.0]; 60]);
    assert!(verdicts(&after).iter().all(|verdict| *verdict == BREACH));
    assert!(book(&last(&after).evidence).ln_e() < book(&last(&after).evidence).top);
}

#[test]
fn half_a_proof_holds_the_step_and_rolls_nothing_back() {
    let found = run(&errors(), &stage(), &Evidence::default(), 0, &[FIVE_TIMES; 8]);
    let held = found.iter().find(|one| message(one).starts_with("holding at 10 %")).unwrap();
    says(held, OPEN, "(rollback at 100:1); no promotion above 10:1");
}

#[test]
fn a_weight_raises_what_one_check_must_show_alone() {
    let half = Rule::parse(r#"{"compare": {"kind": "errors", "weight": 0.5}}"#).unwrap();
    let found = run(&half, &stage(), &Evidence::default(), 0, &[FIVE_TIMES; 8]);
    says(last(&found), BREACH, "(needed 200:1)");
    let first = |found: &[Folded]| found.iter().position(|one| one.verdict == BREACH).unwrap();
    let whole = run(&errors(), &stage(), &Evidence::default(), 0, &[FIVE_TIMES; 8]);
    assert!(first(&found) >= first(&whole));
    assert!(book(&found[first(&found)].evidence).ln_e() >= 200f64.ln());
}

#[test]
fn evidence_of_several_checks_is_their_weighted_mean_and_none_is_one() {
    let bad = last(&run(&errors(), &stage(), &Evidence::default(), 0, &[FIVE_TIMES; 8])).clone();
    let empty = Evidence::default();
    let all =
        merged(&[(&empty, 0.5), (&bad.evidence, 0.3), (&Evidence::from(b"{".as_slice()), 0.2)]);
    assert_eq!(all.leader, Some(1));
    let alone = book(&bad.evidence).ln_e();
    assert!((all.ln_e - (0.3 * alone.exp() + 0.7).ln()).abs() < 1e-12);
    assert!((merged(&[(&empty, 0.6), (&empty, 0.4)]).ln_e).abs() < 1e-15);
}

// === promotion ===

#[test]
fn a_healthy_step_passes_by_evidence_but_not_before_its_time() {
    let found = run(&errors(), &stage(), &Evidence::default(), 0, &[HEALTHY; 12]);
    let first = found.iter().position(|one| one.verdict == Verdict::Pass).unwrap();
    assert!(first >= 3, "60 s are four windows, passed at {first}");
    says(&found[first], Verdict::Pass, "evidence that its rate is below");
    assert!(verdicts(&found[first..]).iter().all(|verdict| *verdict == Verdict::Pass));
    // So much traffic clears at once, and still the time must pass.
    let much = [[30.0, 9_000.0, 360.0, 81_000.0]; 8];
    let slow = Rule::parse(r#"{"compare": {"kind": "errors", "minStepSeconds": 120}}"#).unwrap();
    let found = run(&slow, &stage(), &Evidence::default(), 0, &much);
    assert!(verdicts(&found[..7]).iter().all(|verdict| *verdict == OPEN));
    says(&found[6], OPEN, "after 105 s and 7 windows: a step needs 2m00s and 3 windows");
    assert_eq!(found[7].verdict, Verdict::Pass);
    let many = Rule::parse(r#"{"compare": {"kind": "errors", "minWindows": 7}}"#).unwrap();
    let found = run(&many, &stage(), &Evidence::default(), 0, &much);
    let first = found.iter().position(|one| one.verdict == Verdict::Pass);
    assert_eq!(first, Some(6));
}

#[test]
fn every_step_must_be_cleared_anew_and_the_regression_goes_on() {
    let first = run(&errors(), &stage(), &Evidence::default(), 0, &[HEALTHY; 12]);
    let next = Stage { step: 1, next: Some(Weight::FULL), windows_from: at(12 * SECS), ..stage() };
    let second = run(&errors(), &next, &last(&first).evidence, 12, &[HEALTHY; 1]);
    assert_eq!(second[0].verdict, OPEN);
    let (before, after) = (book(&last(&first).evidence), book(&second[0].evidence));
    assert!(after.lines[0].clearance.ln_e() < before.lines[0].clearance.ln_e() / 2.0);
    assert!(after.lines[0].sums.test_total > before.lines[0].sums.test_total);
}

#[test]
fn windows_from_before_the_step_clear_nothing_and_still_guard() {
    let late = Stage { windows_from: at(4 * SECS), ..stage() };
    let found = run(&errors(), &late, &Evidence::default(), 0, &[HEALTHY; 4]);
    let kept = book(&last(&found).evidence);
    assert_eq!((kept.step.windows, kept.lines[0].clearance.ln_e()), (0, 0.0));
    assert!(kept.lines[0].regression.ln_e() != 0.0);
    let bad = run(&errors(), &late, &Evidence::default(), 0, &[FIVE_TIMES; 4]);
    assert!(book(&last(&bad).evidence).top > 1.0);
}

#[test]
fn too_little_traffic_is_said_with_what_is_missing() {
    let found = run(&errors(), &stage(), &Evidence::default(), 0, &[[0.0, 3.0, 0.0, 27.0]; 10]);
    says(last(&found), OPEN, "more requests of the side under test (");
    assert!(message(last(&found)).starts_with("after 2m30s: 0 % errors (0/30) vs 0 % (0/270)"));
    let compared = last(&found).finding.compared.unwrap();
    let needed = compared.needed.expect("it is told in numbers too");
    assert!(needed.requests > 100.0 && needed.secs.is_some() && !compared.holds, "{compared:?}");
}

#[test]
fn where_nothing_is_to_be_promoted_a_pass_means_that_nothing_was_found() {
    let guards = Stage { gates: false, ..stage() };
    let found = run(&errors(), &guards, &Evidence::default(), 0, &[HEALTHY; 2]);
    says(&found[0], Verdict::Pass, "vs 0.444 % (12/2 700)");
}

#[test]
fn an_incident_that_both_share_is_no_evidence_and_holds_the_step_that_it_would_clear() {
    let healthy = [HEALTHY; 40];
    let before = run(&errors(), &stage(), &Evidence::default(), 0, &healthy);
    assert_eq!(last(&before).verdict, Verdict::Pass, "{}", message(last(&before)));
    let evidence = &last(&before).evidence;
    let found = run(&errors(), &stage(), evidence, 40, &[[30.0, 300.0, 270.0, 2_700.0]; 4]);
    for one in &found {
        says(one, OPEN, "both versions fail (side under test 10 %, serving side 10 %)");
        let compared = one.finding.compared.unwrap();
        assert!(compared.holds && compared.needed.is_none(), "no policy passes it");
    }
    assert!(!last(&before).finding.compared.unwrap().holds);
    let after = run(&errors(), &stage(), &last(&found).evidence, 44, &[HEALTHY; 2]);
    assert_eq!(last(&after).verdict, Verdict::Pass, "{}", message(last(&after)));
}

#[test]
fn a_window_from_before_the_step_is_no_silence_of_the_side_under_test() {
    let early = Stage { windows_from: at(SECS / 2), ..stage() };
    let silent = [0.0, 0.0, 12.0, 2_700.0];
    let found = run(&errors(), &early, &Evidence::default(), 0, &[silent, silent]);
    assert_eq!(verdicts(&found), [OPEN, Verdict::NoData]);
}

// === 100 % ===

/// Evidence after a healthy step of twelve windows.
fn after_a_step(rule: &Rule) -> Evidence {
    last(&run(rule, &stage(), &Evidence::default(), 0, &[HEALTHY; 12])).evidence.clone()
}

#[test]
fn at_full_the_rate_of_the_last_step_is_the_limit() {
    let evidence = after_a_step(&errors());
    let alike = [[13.0, 3_000.0, 0.0, 0.0]; 40];
    let found = run(&errors(), &full(12 * SECS), &evidence, 12, &alike);
    assert!(
        verdicts(&found).iter().all(|verdict| *verdict == Verdict::Pass),
        "{}",
        message(last(&found))
    );
    says(last(&found), Verdict::Pass, "the serving side had 0.444 % when it was last compared");
    let Some(Frozen::Rate { rate, limit }) = book(&last(&found).evidence).lines[0].frozen else {
        panic!("no rate was frozen");
    };
    assert!((rate - 12.0 / 2_700.0).abs() < 1e-12);
    // 144 errors may stand for 172 at most; 10 % and 0.02 points are tolerated on top.
    assert!((0.0059..0.0063).contains(&limit), "{limit}");
    let worse = run(&errors(), &full(12 * SECS), &evidence, 12, &[[65.0, 3_000.0, 0.0, 0.0]; 8]);
    says(last(&worse), BREACH, "at 100 % after 5m00s: 2.17 % errors (520/24 000), limit 0.612 %");
}

#[test]
fn a_rate_once_frozen_does_not_move() {
    let evidence = after_a_step(&errors());
    let first = run(&errors(), &full(12 * SECS), &evidence, 12, &[[13.0, 3_000.0, 0.0, 0.0]]);
    let frozen = book(&first[0].evidence).lines[0].frozen;
    let later = Stage { step: 2, windows_from: at(13 * SECS), ..full(0) };
    let more = [[13.0, 3_000.0, 900.0, 1_000.0]; 5];
    let found = run(&errors(), &later, &first[0].evidence, 13, &more);
    assert_eq!(book(&last(&found).evidence).lines[0].frozen, frozen);
    assert!(frozen.is_some());
}

#[test]
fn a_serving_side_lucky_in_few_requests_does_not_condemn_what_follows() {
    let lucky = run(&errors(), &stage(), &Evidence::default(), 0, &[[0.0, 12.0, 0.0, 110.0]; 1]);
    let found =
        run(&errors(), &full(SECS), &last(&lucky).evidence, 1, &[[1.0, 200.0, 0.0, 0.0]; 100]);
    assert!(!verdicts(&found).contains(&BREACH), "{}", message(last(&found)));
}

#[test]
fn without_a_baseline_the_objective_guards_and_without_it_nothing_passes() {
    let found = run(&errors(), &full(0), &Evidence::default(), 0, &[[1.0, 300.0, 0.0, 0.0]; 4]);
    says(last(&found), OPEN, "nothing guards 100 %");
    let slo = Rule::parse(r#"{"compare": {"kind": "errors", "slo": 0.01}}"#).unwrap();
    let found = run(&slo, &full(0), &Evidence::default(), 0, &[[1.0, 300.0, 0.0, 0.0]; 4]);
    says(last(&found), Verdict::Pass, "limit 1 % (by the objective)");
    let found = run(&slo, &full(0), &Evidence::default(), 0, &[[30.0, 300.0, 0.0, 0.0]; 4]);
    assert_eq!(last(&found).verdict, BREACH);
}

#[test]
fn a_step_with_too_few_requests_does_not_displace_a_better_one() {
    let evidence = after_a_step(&errors());
    let thin = Stage { step: 1, windows_from: at(12 * SECS), ..stage() };
    let found = run(&errors(), &thin, &evidence, 12, &[[0.0, 90.0, 9.0, 10.0]; 2]);
    let at_full = Stage { step: 2, ..full(14 * SECS) };
    let found = run(&errors(), &at_full, &last(&found).evidence, 14, &[[1.0, 300.0, 0.0, 0.0]]);
    let frozen = book(&found[0].evidence).lines[0].frozen;
    assert!(matches!(frozen, Some(Frozen::Rate { rate, .. }) if rate < 0.005), "{frozen:?}");
}

// === silence and odd answers ===

#[test]
fn a_side_that_vanishes_is_lost_and_one_that_never_came_is_no_data() {
    let healthy = run(&errors(), &stage(), &Evidence::default(), 0, &[HEALTHY; 2]);
    let mut evidence = last(&healthy).evidence.clone();
    let mut found = Vec::new();
    for number in 2..5 {
        let gone = CountWindow { test: Vec::new(), ..window(number, HEALTHY) };
        let folded = judge(&errors(), &stage(), &evidence, &look(vec![gone], Vec::new()));
        evidence = folded.evidence.clone();
        found.push(folded);
    }
    assert_eq!(verdicts(&found), [Verdict::NoData, Verdict::NoData, Verdict::CanaryLost]);
    says(&found[0], Verdict::NoData, "no series of the side under test, 270 expected");
}

#[test]
fn neither_side_busy_is_no_data_and_a_serving_side_that_is_gone_compares_nothing() {
    let idle = run(&errors(), &stage(), &Evidence::default(), 0, &[[0.0; 4]]);
    assert_eq!(idle[0].verdict, Verdict::NoData);
    let alone = CountWindow { serving: Vec::new(), ..window(0, HEALTHY) };
    let found = judge(&errors(), &stage(), &Evidence::default(), &look(vec![alone], Vec::new()));
    says(&found, OPEN, "nothing to compare 300 requests");
    assert_eq!(book(&found.evidence).ln_e(), 0.0);
}

#[test]
fn a_quiet_moment_of_a_small_share_is_no_silence() {
    let found = run(&errors(), &stage(), &Evidence::default(), 0, &[[0.0, 0.0, 0.0, 27.0]]);
    assert_eq!(found[0].verdict, OPEN, "3 requests were expected");
}

#[test]
fn a_side_that_does_not_get_its_traffic_holds() {
    let thin = [[0.0, 9.0, 12.0, 2_991.0]; 8];
    let found = run(&errors(), &stage(), &Evidence::default(), 0, &thin);
    says(last(&found), OPEN, "received 0.3 % of requests, 10 % expected");
}

#[test]
fn counts_that_cannot_be_meant_break_the_answer_and_change_nothing() {
    let good = run(&errors(), &stage(), &Evidence::default(), 0, &[HEALTHY; 3]);
    let evidence = last(&good).evidence.clone();
    for odd in [f64::NAN, -1.0, f64::INFINITY, 1e16] {
        for place in 0..4 {
            let mut counts = HEALTHY;
            counts[place] = odd;
            let sample = look(vec![window(3, HEALTHY), window(4, counts)], Vec::new());
            let found = judge(&errors(), &stage(), &evidence, &sample);
            assert_eq!(found.verdict, Verdict::SourceError, "{odd} at {place}");
            assert_eq!(found.evidence, evidence);
        }
    }
    let value = Sample { answer: Answer::Value(1.0), ..look(Vec::new(), Vec::new()) };
    says(&judge(&errors(), &stage(), &evidence, &value), Verdict::SourceError, "one number");
}

#[test]
fn a_broken_first_answer_leaves_the_evidence_empty_so_that_the_hour_before_is_asked_again() {
    let error = Answer::Error { message: "503".into(), retryable: true };
    let broken = Sample { answer: error, ..look(Vec::new(), Vec::new()) };
    let found = judge(&errors(), &stage(), &Evidence::default(), &broken);
    assert_eq!((found.verdict, found.evidence), (Verdict::SourceError, Evidence::default()));
    let nothing = judge(&errors(), &stage(), &Evidence::default(), &look(Vec::new(), Vec::new()));
    assert_eq!((nothing.verdict, nothing.evidence), (OPEN, Evidence::default()));
}

#[test]
fn without_a_new_window_the_verdict_stands_for_a_while_and_then_there_is_no_data() {
    let good = run(&errors(), &stage(), &Evidence::default(), 0, &[HEALTHY; 12]);
    let ask = |end: i64| {
        let window = Window { begin: at(12 * SECS), end: at(end) };
        let sample = Sample { window, ..look(Vec::new(), Vec::new()) };
        judge(&errors(), &stage(), &last(&good).evidence, &sample)
    };
    assert_eq!(ask(13 * SECS).verdict, Verdict::Pass);
    says(&ask(17 * SECS), Verdict::NoData, "no side was scraped since");
}

#[test]
fn huge_counts_stay_finite() {
    let huge =
        [[1e9, 1e9, 0.0, 1e9], [0.0, 1e9, 1e9, 1e9], [1e9, 1e9, 1e9, 1e9], [0.0, 1.0, 1e9, 1e9]];
    let found = run(&errors(), &stage(), &Evidence::default(), 0, &huge);
    let kept = book(&last(&found).evidence);
    assert!(kept.ln_e().is_finite() && kept.lines[0].clearance.ln_e().is_finite());
    assert!(kept.lines[0].regression.shares().iter().all(|share| share.is_finite()));
}

// === clumps and processes ===

/// Two minutes of a serving side before the attempt: four processes, errors in clumps of `size`.
fn before(size: f64) -> Vec<CountWindow> {
    let process = |number: i64, at: i64| Count {
        process: format!("s{at}").into(),
        total: 700.0,
        bad: vec![if (number * 7 + at * 3) % 8 == 0 { size } else { 0.0 }],
    };
    let minute = |number: i64| CountWindow {
        window: Window { begin: at(-(number + 1) * SECS), end: at(-number * SECS) },
        test: Vec::new(),
        serving: (0..4).map(|at| process(number, at)).collect(),
    };
    (0..120).rev().map(minute).collect()
}

#[test]
fn clumps_are_measured_before_the_attempt_and_then_stay() {
    let first = look(vec![window(0, HEALTHY)], before(5.0));
    let found = judge(&errors(), &stage(), &Evidence::default(), &first);
    let premise = book(&found.evidence).premise.unwrap();
    assert!(premise.measured && premise.phi > 3.0, "{premise:?}");
    let second =
        judge(&errors(), &stage(), &found.evidence, &look(vec![window(1, HEALTHY)], before(1.0)));
    assert_eq!(book(&second.evidence).premise.unwrap(), premise);
    says(&second, OPEN, "errors arrive in bursts, counted at 1/");
    let none = judge(
        &errors(),
        &stage(),
        &Evidence::default(),
        &look(vec![window(0, HEALTHY)], Vec::new()),
    );
    let premise = book(&none.evidence).premise.unwrap();
    assert!(!premise.measured && premise.phi == 1.0);
}

#[test]
fn one_bad_process_holds_and_is_named() {
    let mut evidence = Evidence::default();
    let mut found = Vec::new();
    for number in 0..8 {
        let mut window = window(number, FIVE_TIMES);
        let one =
            |process: &str, bad| Count { process: process.into(), total: 100.0, bad: vec![bad] };
        window.test = vec![one("web-1", 0.0), one("web-2", 7.0), one("web-3", 0.0)];
        let folded = judge(&errors(), &stage(), &evidence, &look(vec![window], Vec::new()));
        evidence = folded.evidence.clone();
        found.push(folded);
    }
    assert!(book(&evidence).top > 100f64.ln());
    says(
        last(&found),
        OPEN,
        "56 of 56 errors of the side under test come from web-2 (3 processes)",
    );
}

// === latency ===

/// Bounds 0.1, 0.25, 0.5 and 1 s; `above` of `total` requests on each side.
fn slow(number: i64, test: [f64; 4], total: f64, serving: [f64; 4], all: f64) -> CountWindow {
    let one = |process: &str, bad: [f64; 4], total| Count {
        process: process.into(),
        total,
        bad: bad.to_vec(),
    };
    CountWindow {
        window: Window { begin: at(number * SECS), end: at((number + 1) * SECS) },
        test: vec![one("t", test, total)],
        serving: vec![one("s", serving, all)],
    }
}

fn latency_look(windows: Vec<CountWindow>, before: Vec<CountWindow>) -> Sample {
    let mut sample = look(windows, before);
    if let Answer::Counted(counts) = &mut sample.answer {
        counts.bounds = vec![0.1, 0.25, 0.5, 1.0];
    }
    sample
}

const USUAL: [f64; 4] = [1_000.0, 80.0, 10.0, 2.0];

#[test]
fn a_slower_tail_rolls_back_at_the_bound_that_shows_it() {
    let hour = vec![slow(-1, [0.0; 4], 0.0, USUAL.map(|one| one * 4.0), 10_800.0)];
    let mut evidence = Evidence::default();
    let mut found = Vec::new();
    for number in 0..8 {
        let window = slow(number, [112.0, 24.0, 15.0, 9.0], 300.0, USUAL, 2_700.0);
        let before = if number == 0 { hour.clone() } else { Vec::new() };
        let folded = judge(&latency(), &stage(), &evidence, &latency_look(vec![window], before));
        evidence = folded.evidence.clone();
        found.push(folded);
    }
    let bounds: Vec<f64> = book(&evidence).lines.iter().filter_map(|line| line.bound).collect();
    assert_eq!(bounds, [0.1, 0.25, 0.5], "half, 90 and 99 of 100 lie below them");
    says(
        last(&found),
        BREACH,
        "5 % of requests slower than 500 ms (120/2 400) vs 0.37 % (80/21 600)",
    );
}

#[test]
fn without_a_time_before_the_first_thousand_requests_choose_the_bounds() {
    let mut evidence = Evidence::default();
    let mut lines = Vec::new();
    for number in 0..3 {
        let part = [240.0, 16.0, 2.0, 0.0];
        let window = slow(number, [40.0, 3.0, 1.0, 0.0], 60.0, part, 600.0);
        let folded =
            judge(&latency(), &stage(), &evidence, &latency_look(vec![window], Vec::new()));
        evidence = folded.evidence.clone();
        lines.push(book(&evidence).lines.len());
        if number == 0 {
            says(&folded, OPEN, "first 1 000 requests choose the bounds to watch, 600 so far");
        }
    }
    assert_eq!(lines, [0, 0, 3], "two windows are gathered, the third is bet on");
    assert_eq!(book(&evidence).lines[0].sums.test_total, 60.0);
}

#[test]
fn a_histogram_that_loses_a_watched_bound_is_a_broken_answer() {
    let hour = vec![slow(-1, [0.0; 4], 0.0, USUAL, 2_700.0)];
    let first = latency_look(vec![slow(0, [0.0; 4], 300.0, USUAL, 2_700.0)], hour);
    let found = judge(&latency(), &stage(), &Evidence::default(), &first);
    let mut second = latency_look(vec![slow(1, [0.0; 4], 300.0, USUAL, 2_700.0)], Vec::new());
    if let Answer::Counted(counts) = &mut second.answer {
        counts.bounds = vec![0.2, 0.3, 0.5, 1.0];
    }
    let found = judge(&latency(), &stage(), &found.evidence, &second);
    says(&found, Verdict::SourceError, "the histogram has no bound 0.1 any more");
}

// === evidence ===

#[test]
fn lost_evidence_is_said_and_stays_said() {
    let good = run(&errors(), &stage(), &Evidence::default(), 0, &[HEALTHY; 2]);
    let whole = last(&good).evidence.bytes();
    let damaged = [whole[..whole.len() - 3].to_vec(), b"{\"format\":1}".to_vec(), b"{".to_vec()];
    for bytes in damaged {
        let found = run(&errors(), &stage(), &Evidence::from(bytes), 2, &[HEALTHY; 2]);
        says(&found[0], OPEN, "is damaged: the evidence starts anew");
        says(&found[1], OPEN, "the chance of a false alarm (1 % at most)");
    }
    let newer = Evidence::from(b"{\"format\":3,\"x\":1}".as_slice());
    let found = run(&errors(), &stage(), &newer, 2, &[HEALTHY; 1]);
    says(&found[0], OPEN, "format 3 of a newer engine");
}

#[test]
fn evidence_that_parses_and_cannot_be_is_damaged() {
    let good = run(&errors(), &stage(), &Evidence::default(), 0, &[HEALTHY; 2]);
    let text = String::from_utf8(last(&good).evidence.bytes().to_vec()).unwrap();
    let odd = text.replacen("\"phi\":1.0", "\"phi\":0.0", 1);
    assert_ne!(odd, text);
    let found = run(&errors(), &stage(), &Evidence::from(odd.into_bytes()), 2, &[HEALTHY; 1]);
    says(&found[0], OPEN, "is damaged");
    let other = run(&latency(), &stage(), &last(&good).evidence, 2, &[]);
    assert!(other.is_empty());
    let window = slow(2, [0.0; 4], 300.0, USUAL, 2_700.0);
    let found =
        judge(&latency(), &stage(), &last(&good).evidence, &latency_look(vec![window], Vec::new()));
    assert!(message(&found).contains("is damaged"));
}

#[test]
fn a_rule_that_contradicts_itself_is_refused_with_the_remedy() {
    let refused = |inner: &str, word: &str| {
        let json = format!(r#"{{"compare": {{"kind": "errors", {inner}}}}}"#);
        let error = Rule::parse(&json).unwrap_err();
        assert!(error.contains(word), "{json}: {error}");
    };
    refused(
        r#""tolerance": {"relative": 0.6}, "margin": {"relative": 0.5}"#,
        "raise margin.relative",
    );
    refused(r#""tolerance": {"absolute": 0.01}, "margin": {"harm": 0.002}"#, "raise margin.harm");
    refused(r#""tolerance": {"absolute": 2}"#, "tolerance.absolute must lie below 1, got 2");
    refused(
        r#""tolerance": {"relative": -0.1}"#,
        "tolerance.relative must not be negative, got -0.1",
    );
    refused(r#""alpha": 0"#, "alpha must lie between 0 and 1, got 0");
    refused(r#""alpha": 1"#, "alpha must lie between 0 and 1, got 1");
    refused(r#""beta": 1.5"#, "beta must lie between 0 and 1, got 1.5");
    refused(r#""weight": 0"#, "weight must lie above 0 and not above 1, got 0");
    refused(r#""slo": 1"#, "slo must lie between 0 and 1, got 1");
    refused(r#""minWindows": 0"#, "minWindows must be at least 1, got 0");
    refused(r#""unit": "s""#, "unit must be % for this kind, got s");
    refused(r#""bound": 0.5"#, "bound belongs to an objective for latency");
    refused(r#""x": 1"#, "unknown field `x`");
    let error = Rule::parse(r#"{"compare": {"kind": "errors"}, "max": 1}"#).unwrap_err();
    assert!(error.contains("unknown field `max`"), "{error}");
    assert!(Rule::parse(r#"{"compare": {}}"#).unwrap_err().contains("missing field `kind`"));
    assert!(errors().compares() && !Rule::parse(r#"{"max": 1}"#).unwrap().compares());
    // Who tolerates more than the default margin accepts it as well.
    let wide =
        r#"{"compare": {"kind": "errors", "tolerance": {"relative": 0.8, "absolute": 0.01}}}"#;
    assert!(Rule::parse(wide).is_ok());
}

fn counts() -> impl Strategy<Value = [f64; 4]> {
    let side = || (0..400u32, 0..30u32).prop_map(|(total, bad)| (bad.min(total), total));
    (side(), side()).prop_map(|((bad, total), (serving_bad, serving))| {
        [bad, total, serving_bad, serving * 9].map(f64::from)
    })
}

proptest! {
    #[test]
    fn however_the_looks_are_cut_the_evidence_is_the_same_bit_for_bit(
        windows in prop::collection::vec(counts(), 1..40),
        cuts in prop::collection::vec(1..6usize, 40),
        repeat in any::<bool>(),
    ) {
        let all: Vec<CountWindow> =
            windows.iter().enumerate().map(|(number, counts)| window(number as i64, *counts)).collect();
        let whole = judge(&errors(), &stage(), &Evidence::default(), &look(all.clone(), Vec::new()));
        let (mut evidence, mut rest) = (Evidence::default(), &all[..]);
        for cut in cuts {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            if now.is_empty() { break; }
            evidence = judge(&errors(), &stage(), &evidence, &look(now.to_vec(), Vec::new())).evidence;
            // Killed before the record was written, or after it: the same is asked again.
            if repeat {
                let seen = all.len() - later.len();
                let again = judge(&errors(), &stage(), &evidence, &look(all[..seen].to_vec(), Vec::new()));
                prop_assert_eq!(&again.evidence, &evidence);
            }
            rest = later;
        }
        let seen = all.len() - rest.len();
        if rest.is_empty() {
            prop_assert_eq!(&evidence, &whole.evidence);
            prop_assert_eq!(folded_to(&evidence), Some(at(seen as i64 * SECS)));
        }
    }

    #[test]
    fn evidence_is_read_back_bit_for_bit(windows in prop::collection::vec(counts(), 1..40)) {
        let found = run(&errors(), &stage(), &Evidence::default(), 0, &windows);
        let kept = &last(&found).evidence;
        let read = book(kept);
        prop_assert_eq!(&read.clone().keep(), kept);
        let bits = |book: &Book| book.lines[0].regression.shares().iter().map(|share| share.to_bits()).collect::<Vec<_>>();
        // One look over all of them never went through JSON in between.
        let all = windows.iter().enumerate().map(|(number, counts)| window(number as i64, *counts)).collect();
        let whole = judge(&errors(), &stage(), &Evidence::default(), &look(all, Vec::new()));
        let whole = book(&whole.evidence);
        prop_assert_eq!(bits(&read), bits(&whole));
        prop_assert_eq!(read.ln_e().to_bits(), whole.ln_e().to_bits());
    }

    #[test]
    fn any_windows_give_finite_evidence_and_sentences(
        windows in prop::collection::vec(prop_oneof![counts(), Just([1e9, 1e9, 0.0, 1.0]), Just([0.0; 4])], 1..30),
        at_full in 0..30i64,
    ) {
        let mut evidence = Evidence::default();
        for (number, counts) in windows.iter().enumerate() {
            let stage = if number as i64 >= at_full { full(at_full * SECS) } else { stage() };
            let sample = look(vec![window(number as i64, *counts)], Vec::new());
            let found = judge(&errors(), &stage, &evidence, &sample);
            prop_assert!(book(&found.evidence).ln_e().is_finite());
            let text = sentence(&found.finding);
            prop_assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
            prop_assert!(!message(&found).contains("damaged"), "{text}");
            evidence = found.evidence;
        }
    }
}

#[test]
fn odds_never_look_met_where_they_are_not() {
    assert_eq!([99.99, 0.47, 1e300].map(odds), ["99:1", "0.4:1", ">1 000:1"]);
}

// === together ===

#[test]
fn checks_that_share_an_alpha_show_together_what_none_shows_alone() {
    let half = Rule::parse(r#"{"compare": {"kind": "errors", "weight": 0.5}}"#).unwrap();
    let found = run(&half, &stage(), &Evidence::default(), 0, &[FIVE_TIMES; 8]);
    let alone = found.iter().position(|one| one.verdict == BREACH).unwrap();
    let (one, other) = ("one".into(), "other".into());
    let pair = |at: usize| {
        let evidence = &found[at].evidence;
        together(&[(&one, &half, evidence), (&other, &half, evidence)])
    };
    let both = (0..found.len()).find(|at| pair(*at).is_some()).unwrap();
    assert!(both < alone, "together at window {both}, alone at window {alone}");
    let shown = pair(both).unwrap();
    assert!(shown.odds >= shown.needed && shown.needed == 1.0 / 0.01, "{shown:?}");
    let silent = Evidence::default();
    assert_eq!(together(&[(&one, &half, &found[both].evidence), (&other, &half, &silent)]), None);
    assert_eq!(together(&[]), None);
}

#[test]
fn errors_of_one_process_are_no_evidence_among_others_either() {
    let mut evidence = Evidence::default();
    for number in 0..8 {
        let mut window = window(number, FIVE_TIMES);
        let one =
            |process: &str, bad| Count { process: process.into(), total: 100.0, bad: vec![bad] };
        window.test = vec![one("web-1", 0.0), one("web-2", 7.0), one("web-3", 0.0)];
        let sample = look(vec![window], Vec::new());
        evidence = judge(&errors(), &stage(), &evidence, &sample).evidence;
    }
    assert!(book(&evidence).top > 100f64.ln());
    assert_eq!(together(&[(&"errors".into(), &errors(), &evidence)]), None);
}

#[test]
fn what_came_too_late_and_clocks_that_differ_are_told_beside_the_finding() {
    let calm = |sample: &Sample| judge(&errors(), &stage(), &Evidence::default(), sample);
    let mut sample = look(vec![window(0, HEALTHY)], Vec::new());
    let plain = message(&calm(&sample)).to_owned();
    assert!(!plain.contains("late") && !plain.contains("clocks"), "{plain}");
    let Answer::Counted(counts) = &mut sample.answer else { panic!("counts") };
    (counts.late, counts.skew) = (3, Some(Duration::from_millis(1_240)));
    let told = calm(&sample);
    let remarks = "; 3 samples came too late and count nowhere; the clocks of the sides' sources are 1.2 s apart";
    assert_eq!(message(&told), format!("{plain}{remarks}"));
}
