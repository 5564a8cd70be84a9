//! An error budget: what burns it, what caps it, and what is told of both.

use std::time::Duration;

use haldane_model::{
    Answer, Count, CountWindow, Counts, Evidence, Limits, Sample, Verdict, Weight, Window,
};
use jiff::Timestamp;

use super::*;
use crate::{Folded, Rule, Stage, fold as judge, folded_to as judged_to, sentence};

const SECS: i64 = 5;
const OPEN: Verdict = Verdict::Inconclusive { over_limit: false };
const BREACH: Verdict = Verdict::Fail { breach: true };

#[test]
fn few_requests_are_no_data_and_no_pass() {
    let short = Tally { errors: 49.0, requests: 49.0 };
    let long = Tally { errors: 100.0, requests: 3_000.0 };
    assert_eq!(gate(short, long, 0.999, 14.4), None);
    assert!(gate(Tally { requests: 50.0, ..short }, long, 0.999, 14.4).unwrap().fires);
    assert_eq!(rate(Tally { errors: 0.0, requests: 0.0 }, 0.999), None);
    assert_eq!(rate(long, 1.0), None);
}

#[test]
fn where_both_sides_burn_going_back_does_not_help() {
    let [line, ..] = &LINES;
    assert_eq!(action(line, 20.0, Some(18.0)), Action::Pause);
    assert_eq!(action(line, 40.0, Some(18.0)), Action::RollBack);
    assert_eq!(action(line, 15.0, Some(7.0)), Action::RollBack);
    assert_eq!(action(line, 15.0, None), Action::RollBack);
}

// === the check ===

fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(1_760_000_000 + secs).unwrap()
}

fn count(total: f64, bad: f64) -> Vec<Count> {
    if total < 0.0 {
        return Vec::new();
    }
    vec![Count { process: "one".into(), total, bad: vec![bad] }]
}

/// The bad and all requests of the side under test and of the serving side.
type Row = [f64; 4];

fn window(number: i64, [bad, total, serving_bad, serving_total]: Row) -> CountWindow {
    let window = Window { begin: at(number * SECS), end: at((number + 1) * SECS) };
    CountWindow { window, test: count(total, bad), serving: count(serving_total, serving_bad) }
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

fn rule(json: &str) -> Rule {
    Rule::parse(json).unwrap()
}

fn usual() -> Rule {
    rule(r#"{"burn": {"slo": 0.001}}"#)
}

fn stage(percent: u32) -> Stage {
    Stage {
        step: 0,
        weight: Weight::from_percent(percent).unwrap(),
        next: None,
        windows_from: Timestamp::MIN,
        gates: true,
    }
}

fn fold_one(rule: &Rule, percent: u32, evidence: &Evidence, sample: &Sample) -> Folded {
    judge(rule, &Limits::default(), &stage(percent), evidence, &"burn".into(), sample)
}

/// One look for each window.
fn run(rule: &Rule, percent: u32, rows: &[Row]) -> Vec<Folded> {
    let mut evidence = Evidence::default();
    let mut found = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let number = i64::try_from(number).unwrap();
        let folded = fold_one(rule, percent, &evidence, &look(vec![window(number, *row)], vec![]));
        evidence = folded.evidence.clone();
        found.push(folded);
    }
    found
}

#[track_caller]
fn ends(found: &[Folded], verdict: Verdict, words: &str) {
    let last = found.last().unwrap();
    assert_eq!(last.verdict, verdict, "{}", sentence(&last.finding));
    let text = sentence(&last.finding);
    assert!(text.contains(words), "{words:?} is not in {text:?}");
}

/// The first look that was a breach.
fn breached(found: &[Folded]) -> Option<usize> {
    found.iter().position(|one| one.verdict.is_breach())
}

#[test]
fn a_calm_service_passes_and_is_told_what_it_spent() {
    let found = run(&usual(), 10, &[[0.0, 50.0, 0.0, 450.0]; 24]);
    ends(&found, Verdict::Pass, "burns 0 times as fast as it lasts");
    ends(&found, Verdict::Pass, "0 % of the error budget of 30 days is spent (0.5 %)");
    assert_eq!(breached(&found), None);
    insta::assert_snapshot!(sentence(&found[23].finding));
}

#[test]
fn a_side_that_burns_far_faster_than_the_other_goes_back() {
    let found = run(&usual(), 10, &[[2.0, 50.0, 0.0, 450.0]; 24]);
    assert!(breached(&found).is_some_and(|at| at < 3), "{:?}", breached(&found));
    let burning = &found[breached(&found).unwrap()];
    insta::assert_snapshot!(sentence(&burning.finding));
}

#[test]
fn an_incident_that_both_share_holds_at_a_step_and_says_that_going_back_would_not_help() {
    // Half a minute, before the blast has spent what an attempt may spend of the budget.
    let found = run(&usual(), 10, &[[2.0, 50.0, 18.0, 450.0]; 6]);
    ends(&found, OPEN, "both sides burn, and going back would not help");
    assert_eq!(breached(&found), None);
}

#[test]
fn it_guards_100_percent_and_the_watch_where_there_is_no_serving_side() {
    let found = run(&usual(), 100, &[[20.0, 500.0, 0.0, -1.0]; 6]);
    ends(&found, BREACH, "at 100 %");
    let found = run(&usual(), 100, &[[0.0, 500.0, 0.0, -1.0]; 6]);
    ends(&found, Verdict::Pass, "burns 0 times");
}

#[test]
fn a_slow_burn_holds_and_does_not_go_back() {
    // Seven times: above the lines of 30 minutes, below the one of 15.
    let found = run(&usual(), 10, &[[0.7, 100.0, 0.0, 900.0]; 12]);
    ends(&found, OPEN, "holding at 10 %");
    assert_eq!(breached(&found), None);
}

#[test]
fn the_budget_stops_a_blast_whatever_the_lines_say() {
    let lenient = r#"{"burn": {"slo": 0.001, "budget": 0.001, "lines":
        [{"longSeconds": 300, "shortSeconds": 30, "rate": 900, "action": "hold"}]}}"#;
    let found = run(&rule(lenient), 50, &[[5.0, 50.0, 0.0, 50.0]; 40]);
    // 20 requests a second are 51 840 errors in 30 days; a thousandth are 52.
    let first = breached(&found).unwrap();
    assert!((10..=13).contains(&first), "{first}");
    assert!(found[first].finding.message.as_deref().unwrap().contains("of the error budget of 30"));
}

#[test]
fn the_hour_before_says_what_the_budget_is() {
    let before = (-720..0).map(|number| window(number, [0.0, 0.0, 0.0, 5_000.0])).collect();
    let busy = look(vec![window(0, [20.0, 50.0, 0.0, 50.0])], before);
    let slow = r#"{"burn": {"slo": 0.001, "budget": 0.001, "lines":
        [{"longSeconds": 300, "shortSeconds": 30, "rate": 900, "action": "hold"}]}}"#;
    let folded = fold_one(&rule(slow), 50, &Evidence::default(), &busy);
    let text = sentence(&folded.finding);
    assert!(text.contains("of the error budget of 30 days is spent (0.1 %)"), "{text}");
    assert_eq!(folded.verdict, Verdict::Pass, "{text}");
}

#[test]
fn few_requests_are_judged_by_a_bet_and_never_pass_for_want_of_them() {
    let quiet = run(&usual(), 10, &[[0.0, 1.0, 0.0, 9.0]; 12]);
    ends(&quiet, OPEN, "12 requests of the side under test in 60 s, 50 needed");
    let failing = run(&usual(), 10, &[[1.0, 1.0, 0.0, 9.0]; 12]);
    let first = breached(&failing).unwrap();
    assert!(first < 9, "{first}");
    let text = failing[first].finding.message.clone().unwrap();
    assert!(text.contains("few requests") && text.contains("(needed 100:1)"), "{text}");
    // One error among twelve requests is one error.
    let mut rows = [[0.0, 1.0, 0.0, 9.0]; 12];
    rows[5][0] = 1.0;
    assert_eq!(breached(&run(&usual(), 10, &rows)), None);
}

#[test]
fn nothing_and_silence_are_told_apart_and_never_pass() {
    let found = run(&usual(), 10, &[[0.0, 0.0, 0.0, 0.0]; 3]);
    ends(&found, Verdict::NoData, "no request");
    // Before the first share nobody waits for them.
    let before = Stage { windows_from: Timestamp::MAX, gates: false, ..stage(0) };
    let sample = look(vec![window(0, [0.0, 0.0, 0.0, 450.0])], vec![]);
    let name = "burn".into();
    let none = Evidence::default();
    let folded = judge(&usual(), &Limits::default(), &before, &none, &name, &sample);
    assert_eq!(folded.verdict, Verdict::Pass, "{}", sentence(&folded.finding));
    let mut rows = vec![[0.0, 50.0, 0.0, 450.0]; 3];
    rows.extend([[0.0, -1.0, 0.0, 450.0]; 4]);
    ends(&run(&usual(), 10, &rows), Verdict::CanaryLost, "no samples for 3 scrapes");
    let none = Sample { answer: Answer::Nothing("no series".to_owned()), ..look(vec![], vec![]) };
    let folded = fold_one(&usual(), 10, &Evidence::default(), &none);
    assert_eq!((folded.verdict, folded.evidence.is_empty()), (Verdict::NoData, true));
    let number = Sample { answer: Answer::Value(1.0), ..look(vec![], vec![]) };
    assert_eq!(fold_one(&usual(), 10, &Evidence::default(), &number).verdict, Verdict::SourceError);
    for odd in [f64::NAN, -1.0, f64::INFINITY] {
        let odd = look(vec![window(0, [odd, 50.0, 0.0, 450.0])], vec![]);
        let folded = fold_one(&usual(), 10, &Evidence::default(), &odd);
        assert_eq!((folded.verdict, folded.evidence.is_empty()), (Verdict::SourceError, true));
    }
}

#[test]
fn however_the_looks_are_cut_the_evidence_is_the_same_and_the_hour_stays_small() {
    let row = |at: i64| [f64::from(u8::from(at % 7 == 0)), 50.0, (at % 3) as f64, 450.0];
    let windows: Vec<CountWindow> = (0..1_500).map(|at| window(at, row(at))).collect();
    let whole = fold_one(&usual(), 10, &Evidence::default(), &look(windows.clone(), vec![]));
    let mut cut = Evidence::default();
    for (number, part) in windows.chunks(7).enumerate() {
        // Every look goes through what is stored, and some windows are asked for twice.
        let stored = Evidence::from(cut.bytes());
        let begin = (number * 7).saturating_sub(3);
        let part = windows[begin..number * 7 + part.len()].to_vec();
        cut = fold_one(&usual(), 10, &stored, &look(part, vec![])).evidence;
    }
    assert_eq!(whole.evidence, cut);
    assert_eq!(judged_to(&cut), Some(at(1_500 * SECS)));
    assert!(cut.bytes().len() < 20_000, "{} bytes", cut.bytes().len());
    // What is summed by the minute is still all of it.
    let (book, _) = book::Book::read(&cut);
    let hour = book.last(3_600);
    // An hour, and what the minute has in which it begins.
    assert!((36_000.0..36_600.0).contains(&hour.test_total), "{hour:?}");
    assert_eq!(hour.serving_total, 9.0 * hour.test_total);
    assert_eq!(book.last(30).test_total, 300.0);
}

#[test]
fn a_billion_requests_and_damaged_evidence_give_numbers_and_words() {
    let found = run(&usual(), 10, &[[1e8, 1e9, 1e8, 1e9]; 3]);
    assert!(!sentence(&found[2].finding).contains("NaN"));
    let kept = found[2].evidence.bytes();
    let damaged = [&kept[..kept.len() - 4], b"{\"format\":9}".as_slice(), b"{".as_slice()];
    for (bytes, word) in damaged.into_iter().zip(["damaged", "format 9", "damaged"]) {
        let row = look(vec![window(3, [0.0, 50.0, 0.0, 450.0])], vec![]);
        let folded = fold_one(&usual(), 10, &Evidence::from(bytes), &row);
        let text = sentence(&folded.finding);
        assert!(text.contains(word), "{text}");
        let again = look(vec![window(4, [0.0, 50.0, 0.0, 450.0])], vec![]);
        let text = sentence(&fold_one(&usual(), 10, &folded.evidence, &again).finding);
        assert!(text.contains("earlier evidence was lost"), "{text}");
    }
}

#[test]
fn a_rule_that_cannot_be_met_is_refused_with_the_remedy() {
    let check = |json: &str, words: &str| {
        let error = Rule::parse(json).unwrap_err();
        assert!(error.contains(words), "{error}");
    };
    check(r#"{"burn": {"slo": 0}}"#, "slo must lie between 0 and 1, got 0");
    check(r#"{"burn": {"slo": 1.5}}"#, "it is a fraction, 0.01 is 1 %");
    check(r#"{"burn": {"slo": 0.1, "budget": 2}}"#, "budget must lie");
    check(r#"{"burn": {"slo": 0.1, "alpha": 0}}"#, "alpha must lie");
    check(r#"{"burn": {"sol": 0.1}}"#, "sol");
    let line = |long: u32, short: u32, rate: f64| {
        format!(
            r#"{{"burn": {{"slo": 0.1, "lines": [{{"longSeconds": {long}, "shortSeconds": {short},
            "rate": {rate}, "action": "hold"}}]}}}}"#
        )
    };
    check(&line(7_200, 60, 2.0), "what burns more slowly is for alerts");
    check(&line(60, 90, 2.0), "a twelfth is usual");
    check(&line(60, 5, 11.0), "rate must lie above 0 and not above 10");
    // A lax objective lowers the usual lines to what can happen.
    let lax = BurnRule::parse(r#"{"burn": {"slo": 0.2}}"#).unwrap();
    assert!(lax.lines.iter().all(|line| line.threshold <= 2.5));
}
