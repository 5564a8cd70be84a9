//! Scores as Kayenta gives them: groups, weights, and metrics that are missing.

use std::time::Duration;

use haldane_model::{
    Answer, Count, CountWindow, Counts, Evidence, Limits, Sample, Verdict, Weight, Window,
};
use jiff::Timestamp;

use crate::{Folded, Rule, Stage, fold as judge, folded_to as judged_to, sentence};

const OPEN: Verdict = Verdict::Inconclusive { over_limit: false };
const RULE: &str = r#"{"score": {"points": 10, "pass": 75, "marginal": 50,
    "weights": {"errors": 60, "load": 40},
    "metrics": [{"name": "failed", "groups": ["errors"], "direction": "increase"},
                {"name": "memory", "groups": ["load"]}, {"name": "queue", "groups": ["load"]}]}}"#;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(1_760_000_000 + secs).unwrap()
}

fn counts(values: &[(&str, f64)]) -> Vec<Count> {
    let one = |(name, value): &(&str, f64)| Count {
        process: (*name).into(),
        total: 3.0,
        bad: vec![3.0 * value],
    };
    values.iter().map(one).collect()
}

fn window(number: i64, test: &[(&str, f64)], serving: &[(&str, f64)]) -> CountWindow {
    let window = Window { begin: at(number * 5), end: at((number + 1) * 5) };
    CountWindow { window, test: counts(test), serving: counts(serving) }
}

fn look(windows: Vec<CountWindow>) -> Sample {
    let begin = windows.first().map_or_else(|| at(0), |one| one.window.begin);
    let end = windows.last().map_or_else(|| at(0), |one| one.window.end);
    Sample {
        window: Window { begin, end },
        scrape: Duration::from_secs(5),
        share: Weight::from_percent(10).ok(),
        answer: Answer::Counted(Counts {
            bounds: Vec::new(),
            windows,
            before: vec![],
            late: 0,
            skew: None,
        }),
        count: None,
        serving_count: None,
        targets_down: false,
    }
}

fn stage(step: u32, percent: u32) -> Stage {
    Stage {
        step,
        weight: Weight::from_percent(percent).unwrap(),
        next: None,
        windows_from: Timestamp::MIN,
        gates: true,
    }
}

fn fold_one(rule: &str, stage: &Stage, evidence: &Evidence, sample: &Sample) -> Folded {
    let rule = Rule::parse(rule).unwrap();
    judge(&rule, &Limits::default(), stage, evidence, &"score".into(), sample)
}

/// Ten windows in which the side under test has this many times as much of each metric.
fn run(rule: &str, times: [f64; 3]) -> Folded {
    let mut evidence = Evidence::default();
    let mut last = None;
    for number in 0..10 {
        let usual = |of: i64| 1.0 + 0.1 * ((number * of) % 11) as f64;
        let serving = [("failed", usual(3)), ("memory", usual(5)), ("queue", usual(7))];
        let test = [0, 1, 2].map(|at| (serving[at].0, usual([4, 6, 8][at]) * times[at]));
        let sample = look(vec![window(number, &test, &serving)]);
        let folded = fold_one(rule, &stage(0, 10), &evidence, &sample);
        evidence = Evidence::from(folded.evidence.bytes());
        last = Some(folded);
    }
    last.unwrap()
}

#[track_caller]
fn says(found: &Folded, verdict: Verdict, words: &str) {
    let text = sentence(&found.finding);
    assert_eq!(found.verdict, verdict, "{text}");
    assert!(text.contains(words), "{words:?} is not in {text:?}");
}

#[test]
fn a_step_passes_is_marginal_or_fails_by_its_score() {
    says(&run(RULE, [1.0, 1.0, 1.0]), Verdict::Pass, "score 100 of 100 over 10 points passes");
    let marginal = Verdict::Inconclusive { over_limit: true };
    says(&run(RULE, [1.0, 9.0, 9.0]), marginal, "score 60 of 100 over 10 points is marginal");
    says(&run(RULE, [1.0, 9.0, 1.0]), Verdict::Pass, "memory is high");
    let failed = run(RULE, [9.0, 1.0, 1.0]);
    says(&failed, Verdict::Fail { breach: true }, "score 40 of 100 over 10 points fails");
    insta::assert_snapshot!(sentence(&failed.finding));
    // A fall counts against memory, and not against what failed.
    says(&run(RULE, [0.1, 1.0, 1.0]), Verdict::Pass, "score 100");
    says(&run(RULE, [1.0, 0.1, 1.0]), Verdict::Pass, "memory is low");
}

#[test]
fn a_critical_metric_and_a_difference_that_is_allowed_do_what_kayenta_does() {
    let critical = RULE.replace("\"name\": \"queue\"", "\"name\": \"queue\", \"critical\": true");
    says(&run(&critical, [1.0, 1.0, 9.0]), Verdict::Fail { breach: true }, "score 0 of 100");
    let effect = "\"name\": \"queue\", \"effectSize\": {\"allowedIncrease\": 20}";
    let allowed = RULE.replace("\"name\": \"queue\"", effect);
    says(&run(&allowed, [1.0, 1.0, 9.0]), Verdict::Pass, "score 100");
}

#[test]
fn a_missing_metric_counts_by_its_nan_strategy() {
    let without = |rule: &str| {
        let rows = |number| {
            let usual = 1.0 + 0.1 * ((number * 3) % 11) as f64;
            let serving = [("failed", usual), ("memory", usual), ("queue", usual)];
            window(number, &serving[..2], &serving)
        };
        let sample = look((0..10).map(rows).collect());
        fold_one(rule, &stage(0, 10), &Evidence::default(), &sample)
    };
    says(&without(RULE), Verdict::Pass, "queue has no data");
    let must = RULE.replace("\"name\": \"queue\"", "\"name\": \"queue\", \"mustHaveData\": true");
    says(&without(&must), Verdict::Pass, "score 80 of 100");
    let replaced =
        RULE.replace("\"name\": \"queue\"", "\"name\": \"queue\", \"nanStrategy\": \"replace\"");
    says(&without(&replaced), Verdict::Pass, "queue is low");
}

#[test]
fn a_step_is_scored_once_when_it_has_its_points_and_the_next_one_anew() {
    let found = run(RULE, [1.0, 1.0, 1.0]);
    let same = [("failed", 1.0), ("memory", 1.0), ("queue", 1.0)];
    let bad = [("failed", 99.0), ("memory", 99.0), ("queue", 99.0)];
    let more = look((10..30).map(|at| window(at, &bad, &same)).collect());
    says(&fold_one(RULE, &stage(0, 10), &found.evidence, &more), Verdict::Pass, "score 100");
    // A marginal score asks a policy once, and holds from then on, in this step alone.
    let marginal = run(RULE, [1.0, 9.0, 9.0]);
    says(&fold_one(RULE, &stage(0, 10), &marginal.evidence, &more), OPEN, "is marginal");
    let between = Stage { gates: false, windows_from: Timestamp::MAX, ..stage(1, 50) };
    says(&fold_one(RULE, &between, &marginal.evidence, &more), Verdict::Pass, "between steps");
    let three = look((10..13).map(|at| window(at, &same, &same)).collect());
    says(&fold_one(RULE, &stage(1, 50), &found.evidence, &three), OPEN, "3 of 10 points");
    let full = fold_one(RULE, &stage(2, 100), &found.evidence, &three);
    says(&full, Verdict::Pass, "at 100 % there is no serving side");
    assert_eq!(judged_to(&full.evidence), Some(at(65)));
}

#[test]
fn however_the_looks_are_cut_the_evidence_is_the_same_and_damage_is_told() {
    let rows = |number: i64| {
        let usual = 1.0 + 0.1 * ((number * 3) % 11) as f64;
        let values = [("failed", usual), ("memory", usual * 2.0), ("queue", usual)];
        window(number, &values, &values)
    };
    let windows: Vec<CountWindow> = (0..8).map(rows).collect();
    let whole = fold_one(RULE, &stage(0, 10), &Evidence::default(), &look(windows.clone()));
    let first = fold_one(RULE, &stage(0, 10), &Evidence::default(), &look(windows[..5].to_vec()));
    let stored = Evidence::from(first.evidence.bytes());
    let cut = fold_one(RULE, &stage(0, 10), &stored, &look(windows[3..].to_vec()));
    assert_eq!(whole.evidence, cut.evidence);
    let kept = whole.evidence.bytes();
    for (bytes, word) in [(&kept[..kept.len() - 3], "damaged"), (b"{\"format\":9}", "format 9")] {
        let folded = fold_one(RULE, &stage(0, 10), &Evidence::from(bytes), &look(windows.clone()));
        says(&folded, OPEN, word);
    }
}

#[test]
fn what_cannot_be_scored_is_refused_with_the_remedy() {
    let check = |json: &str, words: &str| {
        let error = Rule::parse(json).unwrap_err();
        assert!(error.contains(words), "{error}");
    };
    check(r#"{"score": {"metrics": []}}"#, "1 to 16 metrics can be scored, got 0");
    let one = |fields: &str| format!(r#"{{"score": {{"metrics": [{{"name": "a"}}]{fields}}}}}"#);
    check(&one(r#", "pass": 40"#), "marginal not above pass");
    check(&one(r#", "points": 3"#), "points must lie between 5 and 100, got 3");
    check(&one(r#", "weights": {"b": 10}"#), "weights names the group b, which no metric is in");
    check(&one(r#", "weights": {"all": 300}"#), "100 at most together");
    for odd in [f64::NAN, f64::INFINITY] {
        let sample = look(vec![window(0, &[("failed", odd)], &[("failed", 1.0)])]);
        let folded = fold_one(RULE, &stage(0, 10), &Evidence::default(), &sample);
        says(&folded, Verdict::SourceError, "points that are no numbers");
    }
}
