//! The fold of an interval, without a source.

use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use haldane_model::{
    CheckName, Count, GapPolicy, Limits, OnInconclusive, Policies, Revision, SideName, SourceName,
    Verdict,
};
use haldane_sources::{Look, LookSides, MetricSource, SourceFacts};
use jiff::SignedDuration;

use super::{
    super::{Conclusion, Trial, conclude, limits},
    *,
};

const POLICIES: Policies = Policies {
    no_data: GapPolicy::Hold,
    source_error: GapPolicy::Hold,
    canary_lost: GapPolicy::Abort,
    inconclusive: OnInconclusive::Pause,
};

/// A second in which each side served a hundred requests, so many of them badly.
fn second(at: i64, test: f64, serving: f64) -> CountWindow {
    let moment = |at| Timestamp::from_second(1_000_000 + at).unwrap();
    let count = |bad: f64| {
        ["a", "b"].map(|process| Count {
            process: process.into(),
            total: 50.0,
            bad: vec![bad / 2.0],
        })
    };
    CountWindow {
        window: Window { begin: moment(at), end: moment(at + 1) },
        test: count(test).into(),
        serving: count(serving).into(),
    }
}

fn check(name: &str, dry_run: bool) -> Check {
    Check {
        name: CheckName::from(name),
        source: SourceName::from("main"),
        kind: "errors".into(),
        question: "".into(),
        rule: r#"{"compare": {"kind": "errors", "weight": 0.5, "minStepSeconds": 0}}"#.into(),
        interval: Duration::from_secs(1),
        window: None,
        initial_delay: Duration::ZERO,
        limits: Limits::default(),
        dry_run,
        during: haldane_model::During::Background,
    }
}

fn counted<'a>(check: &'a Check, windows: &[CountWindow]) -> Counted<'a> {
    let window =
        Window { begin: windows[0].window.begin, end: windows[windows.len() - 1].window.end };
    let counts = Counts { windows: windows.to_vec(), ..Counts::default() };
    let half = Weight::from_percent(50).unwrap();
    let sample = Sample {
        window,
        scrape: Duration::from_secs(1),
        share: Some(half),
        answer: Answer::Counted(counts),
        count: None,
        serving_count: None,
        targets_down: false,
    };
    let windows_from = Timestamp::MIN;
    Counted {
        check,
        rule: Rule::parse(&check.rule).unwrap(),
        stage: Stage { step: 0, weight: half, next: None, windows_from, gates: true },
        samples: vec![sample],
    }
}

/// A release that is worse by so little that the evidence grows in small steps.
fn worse(seconds: i64) -> Vec<CountWindow> {
    (0..seconds).map(|at| second(at, 3.0, 1.0)).collect()
}

/// How many seconds it takes until something is shown.
fn until(shows: impl Fn(&[CountWindow]) -> bool) -> i64 {
    (1..600).find(|seconds| shows(&worse(*seconds))).expect("it is shown in ten minutes")
}

#[test]
fn the_first_moment_is_the_one_at_which_a_shorter_interval_would_have_shown_it() {
    let check = check("errors", false);
    let crossed = |windows: &[CountWindow]| judge(&[counted(&check, windows)]).0[0].crossed;
    let first = until(|windows| crossed(windows).is_some());
    let end = worse(first)[first as usize - 1].window.end;
    assert_eq!(crossed(&worse(first)), Some(end));
    assert_eq!(crossed(&worse(first + 100)), Some(end), "what comes later changes nothing");
    assert!(first > 3, "no single window shows it");
    let recovered: Vec<_> = worse(first)
        .into_iter()
        .chain((first..first + 300).map(|at| second(at, 0.0, 1.0)))
        .collect();
    let (judged, _) = judge(&[counted(&check, &recovered)]);
    assert_eq!(judged[0].crossed, Some(end));
    assert!(judged[0].finding.verdict.is_breach(), "what was shown stays shown");
}

#[test]
fn two_checks_show_together_what_neither_shows_alone_and_a_dry_run_has_no_part_in_it() {
    let (one, other, dry) = (check("one", false), check("other", false), check("dry", true));
    let both = |windows: &[CountWindow]| judge(&[counted(&one, windows), counted(&other, windows)]);
    let first = until(|windows| both(windows).1.is_some());
    let windows = worse(first);
    let (judged, together) = both(&windows);
    assert!(judged.iter().all(|one| one.crossed.is_none()), "{judged:?}");
    let (at, shown) = together.expect("they show it");
    assert_eq!(at, windows[first as usize - 1].window.end);
    assert!((100.0..200.0).contains(&shown.odds), "{shown:?}");
    let with_dry = judge(&[counted(&one, &windows), counted(&dry, &windows)]);
    assert_eq!(with_dry.1, None, "a dry run adds nothing");
    let dry_alone = judge(&[counted(&dry, &worse(300))]);
    assert!(dry_alone.1.is_none() && dry_alone.0[0].crossed.is_some() && dry_alone.0[0].dry_run);
    assert_eq!(conclude(&POLICIES, &dry_alone.0, false, true), Conclusion::NotEnoughData);
}

#[test]
fn the_share_is_what_was_counted_and_half_at_most() {
    let check = check("errors", false);
    let share = |part: f64| {
        let mut windows = worse(3);
        for count in windows.iter_mut().flat_map(|window| &mut window.test) {
            count.total *= part;
        }
        counted_share(&counted(&check, &windows).samples)
    };
    let percent = |percent| Weight::from_percent(percent).unwrap();
    assert_eq!(share(1.0), percent(50));
    assert_eq!(share(9.0), percent(50));
    assert_eq!(share(0.111), percent(10));
    assert_eq!(share(0.0), percent(50), "nobody knows");
}

#[test]
fn a_tenth_of_the_traffic_holds_only_a_side_that_was_promised_more() {
    let check = check("errors", false);
    let mut windows: Vec<_> = (0..120).map(|at| second(at, 0.0, 1.0)).collect();
    for count in windows.iter_mut().flat_map(|window| &mut window.test) {
        count.total /= 9.0;
    }
    let said = |share: Weight| {
        let mut counted = counted(&check, &windows);
        counted.stage.weight = share;
        judge(&[counted]).0.remove(0).finding.message.unwrap()
    };
    let half = said(Weight::from_percent(50).unwrap());
    assert!(half.contains("50 % expected"), "{half}");
    let found = said(counted_share(&counted(&check, &windows).samples));
    assert!(!found.contains("expected"), "{found}");
}

// === asking ===

/// A source that knows both sides from a moment on, and breaks at another.
#[derive(Clone)]
struct Known {
    since: Timestamp,
    breaks: Timestamp,
    value: f64,
    asked: Arc<Mutex<Vec<Look>>>,
}

impl MetricSource for Known {
    fn look(&self, _: Arc<str>, look: Look) -> BoxFuture<'static, Sample> {
        self.asked.lock().unwrap().push(look.clone());
        let Window { begin, end } = look.window;
        let answer = if end > self.breaks {
            Answer::Error { message: "gone".to_owned(), retryable: true }
        } else if look.grid.is_none() {
            Answer::Value(self.value)
        } else if end <= self.since {
            Answer::Nothing("no series yet".to_owned())
        } else {
            let seconds = begin.max(self.since).as_second()..end.as_second();
            let windows = seconds.map(|at| second(at - 1_000_000, 1.0, 1.0)).collect();
            Answer::Counted(Counts { windows, ..Counts::default() })
        };
        let [count, serving_count] = [None; 2];
        let (window, scrape) = (look.window, Duration::from_secs(1));
        let sample = Sample {
            window,
            scrape,
            share: None,
            answer,
            count,
            serving_count,
            targets_down: false,
        };
        Box::pin(std::future::ready(sample))
    }

    fn revisions(
        &self,
        _: Arc<str>,
        _: Duration,
    ) -> BoxFuture<'static, Result<Vec<Revision>, String>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn facts(&self, _: Duration) -> BoxFuture<'static, Result<SourceFacts, String>> {
        let facts =
            SourceFacts { clock_ahead: SignedDuration::ZERO, scrape: None, delay: Duration::ZERO };
        Box::pin(std::future::ready(Ok(facts)))
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

/// Asks about twenty minutes.
fn twenty_minutes<T>(
    source: &Known,
    check: &Check,
    ask: impl AsyncFnOnce(&Asking<'_>, &Pace) -> T,
) -> T {
    let sides = LookSides { test: SideName::from("green"), serving: SideName::from("blue") };
    let trial = Trial { window: Window { begin: at(0), end: at(1_200) }, sides, share: None };
    let asking = Asking {
        check,
        rule: Rule::parse(&check.rule).unwrap(),
        trial: &trial,
        source: Arc::new(source.clone()),
        shortest: None,
    };
    let second = Duration::from_secs(1);
    let pace = Pace { scrape: second, slot: check.interval, there: Timestamp::MAX };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(ask(&asking, &pace))
}

fn known(since: i64, breaks: i64) -> Known {
    Known { since: at(since), breaks: at(breaks), value: 0.0, asked: Arc::default() }
}

#[test]
fn an_interval_is_asked_for_in_pieces_and_every_window_counts_once() {
    let (source, check) = (known(400, 9_999), check("errors", false));
    let (windows, judged) = twenty_minutes(&source, &check, async |asking, pace| {
        let counted = ask(asking, pace).await;
        let windows: Vec<_> = counted.samples.iter().flat_map(windows).cloned().collect();
        (windows, judge(&[counted]).0)
    });
    let expected: Vec<_> = (400..1_200).map(|at| second(at, 1.0, 1.0)).collect();
    assert!(windows == expected, "{} windows", windows.len());
    assert_eq!(judged[0].finding.samples, Some(80_000.0));
    let looks = source.asked.lock().unwrap();
    let ends: Vec<_> = looks.iter().map(|look| look.window.end).collect();
    assert!(ends.last() == Some(&at(1_200)), "{ends:?}");
    let gap = looks.windows(2).find(|two| two[0].window.end != two[1].window.begin);
    assert!(gap.is_none(), "{gap:?}");
    let before: Vec<_> = looks.iter().map(|look| look.before.is_some()).collect();
    assert!(before.len() >= 4, "{before:?}");
    let counted = looks.iter().position(|look| look.window.end > at(400)).unwrap();
    assert!(
        before.iter().enumerate().all(|(place, asked)| *asked == (place <= counted)),
        "{before:?}"
    );
}

#[test]
fn a_source_that_breaks_half_way_gives_no_verdict() {
    let check = check("errors", false);
    let judged = twenty_minutes(&known(0, 600), &check, async |asking, pace| {
        judge(&[ask(asking, pace).await]).0
    });
    assert_eq!(judged[0].finding.verdict, Verdict::SourceError);
    assert_eq!(conclude(&POLICIES, &judged, false, true), Conclusion::SourceError);
}

#[test]
fn a_limit_is_looked_at_in_every_slot_up_to_the_first_breach_and_no_look_leaves_the_interval() {
    let limited = |failures| Check {
        rule: r#"{"max": 1.0}"#.into(),
        interval: Duration::from_secs(10),
        limits: Limits { failures, ..Limits::default() },
        ..check("limit", false)
    };
    let looked = |source: &Known, failures| {
        let check = limited(failures);
        twenty_minutes(source, &check, async |asking, pace| limits::judge(asking, pace).await)
    };
    let good = known(0, 9_999);
    let judged = looked(&good, 0);
    let looks = judged.looks.expect("looks");
    assert_eq!((looks.taken, looks.passed, looks.failed), (120, 120, 0));
    assert_eq!(conclude(&POLICIES, &[judged], false, true), Conclusion::NothingFound);
    let asked = good.asked.lock().unwrap();
    assert!(asked.iter().all(|look| look.window.begin >= at(0) && look.window.end <= at(1_200)));

    let bad = Known { value: 2.0, ..known(0, 9_999) };
    let judged = looked(&bad, 2);
    assert_eq!(judged.crossed, Some(at(30)), "the third failure is one too many: {judged:?}");
    assert_eq!(conclude(&POLICIES, &[judged], false, true), Conclusion::WouldRollBack);
    assert!(bad.asked.lock().unwrap().len() < 12, "nothing is left to ask");

    let broken = looked(&known(0, 600), 0);
    assert_eq!(conclude(&POLICIES, &[broken], false, true), Conclusion::SourceError);
}

// === policies ===

fn said(verdict: Verdict) -> Judged {
    let one = check("one", false);
    let counts = Counts::default();
    let window = Window { begin: Timestamp::UNIX_EPOCH, end: Timestamp::UNIX_EPOCH };
    let sample = Sample { answer: Answer::Counted(counts), ..sample_of(window) };
    let rule = Rule::parse(&one.rule).unwrap();
    let none = Evidence::default();
    let folded = fold(&rule, &one.limits, &Stage::default(), &none, &one.name, &sample);
    let finding = haldane_model::Finding { verdict, ..folded.finding };
    Judged { finding, dry_run: false, crossed: None, looks: None }
}

fn sample_of(window: Window) -> Sample {
    Sample {
        window,
        scrape: Duration::from_secs(1),
        share: None,
        answer: Answer::Value(0.0),
        count: None,
        serving_count: None,
        targets_down: false,
    }
}

#[test]
fn a_policy_that_aborts_would_have_rolled_back_where_users_saw_the_side_on_trial() {
    let lost = [said(Verdict::CanaryLost)];
    assert_eq!(conclude(&POLICIES, &lost, false, true), Conclusion::WouldRollBack);
    assert_eq!(conclude(&POLICIES, &lost, false, false), Conclusion::NotEnoughData);
    let silent = [said(Verdict::NoData)];
    assert_eq!(conclude(&POLICIES, &silent, false, true), Conclusion::NotEnoughData);
    let abort = Policies { no_data: GapPolicy::Abort, ..POLICIES };
    assert_eq!(conclude(&abort, &silent, false, true), Conclusion::WouldRollBack);
    let over = [said(Verdict::Inconclusive { over_limit: true })];
    let abort = Policies { inconclusive: OnInconclusive::Abort, ..POLICIES };
    assert_eq!(conclude(&POLICIES, &over, false, true), Conclusion::NotEnoughData);
    assert_eq!(conclude(&abort, &over, false, true), Conclusion::WouldRollBack);
    let mut dry = said(Verdict::CanaryLost);
    dry.dry_run = true;
    assert_eq!(conclude(&POLICIES, &[dry], false, true), Conclusion::NotEnoughData);
}

#[test]
fn a_policy_that_leaves_a_check_out_keeps_no_other_from_passing_and_passes_nothing() {
    let ignore = Policies { no_data: GapPolicy::Ignore, ..POLICIES };
    let both = [said(Verdict::Pass), said(Verdict::NoData)];
    assert_eq!(conclude(&ignore, &both, false, true), Conclusion::NothingFound);
    assert_eq!(conclude(&POLICIES, &both, false, true), Conclusion::NotEnoughData);
    assert_eq!(conclude(&ignore, &both[1..], false, true), Conclusion::NotEnoughData);
}
