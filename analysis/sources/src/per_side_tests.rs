//! Two sources that are told what to answer.

use super::*;
use crate::{LookSides, SOURCES};

#[derive(Clone)]
struct Told {
    answer: Answer,
    ahead: SignedDuration,
    scrape: u64,
}

impl MetricSource for Told {
    fn look(&self, _: Arc<str>, look: Look) -> BoxFuture<'static, Sample> {
        let told = self.clone();
        Box::pin(async move {
            Sample {
                window: look.window,
                scrape: Duration::from_secs(told.scrape),
                share: None,
                answer: told.answer,
                count: Some(1.0),
                serving_count: Some(2.0),
                targets_down: false,
            }
        })
    }

    fn revisions(
        &self,
        _: Arc<str>,
        _: Duration,
    ) -> BoxFuture<'static, Result<Vec<Revision>, String>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn facts(&self, _: Duration) -> BoxFuture<'static, Result<SourceFacts, String>> {
        let (clock_ahead, scrape) = (self.ahead, Some(Duration::from_secs(self.scrape)));
        Box::pin(async move { Ok(SourceFacts { clock_ahead, scrape, delay: Duration::ZERO }) })
    }
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(1_760_000_000 + secs).unwrap()
}

fn count(process: &str, total: f64, bad: &[f64]) -> Count {
    Count { process: process.into(), total, bad: bad.to_vec() }
}

fn window(end: i64, test: Vec<Count>, serving: Vec<Count>) -> CountWindow {
    CountWindow { window: Window { begin: at(end - 5), end: at(end) }, test, serving }
}

fn counted(bounds: &[f64], windows: Vec<CountWindow>) -> Answer {
    let bounds = bounds.to_vec();
    Answer::Counted(Counts { bounds, windows, before: Vec::new(), late: 1, skew: None })
}

fn told(answer: Answer, ahead_millis: i64) -> Told {
    Told { answer, ahead: SignedDuration::from_millis(ahead_millis), scrape: 5 }
}

async fn looked(blue: Told, green: Told) -> Sample {
    let one =
        |name: &str, told: Told| (SideName::from(name), Arc::new(told) as Arc<dyn MetricSource>);
    let source = PerSide {
        sides: [one("blue", blue), one("green", green)].into_iter().collect(),
        clocks: Arc::default(),
    };
    let look = Look {
        window: Window { begin: at(0), end: at(15) },
        sides: LookSides { test: "green".into(), serving: "blue".into() },
        deadline: Duration::from_secs(1),
        grid: Some(Duration::from_secs(5)),
        before: None,
        about: None,
    };
    source.look("{}".into(), look).await
}

fn error(sample: &Sample) -> &str {
    let Answer::Error { message, .. } = &sample.answer else { panic!("{:?}", sample.answer) };
    message
}

#[tokio::test]
async fn each_side_is_counted_by_its_own_source_and_put_together_by_time() {
    // What a source knows of the other side is not taken.
    let wrong = || vec![count("x", 999.0, &[999.0])];
    let blue = counted(
        &[],
        vec![
            window(5, wrong(), vec![count("b", 90.0, &[1.0])]),
            window(10, wrong(), vec![count("b", 91.0, &[0.0])]),
        ],
    );
    let green = counted(
        &[],
        vec![
            window(10, vec![count("g", 10.0, &[2.0])], wrong()),
            window(15, vec![count("g", 11.0, &[0.0])], wrong()),
        ],
    );
    let sample = looked(told(blue, 0), Told { scrape: 15, ..told(green, 1_500) }).await;
    assert_eq!(
        (sample.scrape, sample.count, sample.serving_count),
        (Duration::from_secs(15), Some(1.0), Some(2.0))
    );
    let windows = vec![
        window(5, vec![], vec![count("b", 90.0, &[1.0])]),
        window(10, vec![count("g", 10.0, &[2.0])], vec![count("b", 91.0, &[0.0])]),
        window(15, vec![count("g", 11.0, &[0.0])], vec![]),
    ];
    let Answer::Counted(counts) = sample.answer else { panic!("{:?}", sample.answer) };
    assert_eq!((counts.windows, counts.late), (windows, 2));
    assert_eq!(counts.skew, Some(Duration::from_millis(1_500)));
}

#[tokio::test]
async fn clocks_that_are_far_apart_are_a_source_error_that_names_both() {
    let none = || counted(&[], Vec::new());
    let sample = looked(told(none(), -3_100), told(none(), 4_000)).await;
    for part in [
        "7.1 s apart, more than 2 s",
        "blue is 3.1 s behind ours",
        "green is 4.0 s ahead of ours",
        "time server",
    ] {
        assert!(error(&sample).contains(part), "{}", error(&sample));
    }
    let near = looked(told(none(), -900), told(none(), 1_000)).await;
    assert!(matches!(near.answer, Answer::Counted(_)), "{:?}", near.answer);
}

#[tokio::test]
async fn the_bounds_that_both_have_are_counted_at_and_none_in_common_is_an_error() {
    let blue = counted(
        &[0.1, 0.5, 1.0],
        vec![window(5, vec![], vec![count("b", 90.0, &[9.0, 5.0, 1.0])])],
    );
    let green = counted(
        &[0.1, 0.25, 1.0],
        vec![window(5, vec![count("g", 10.0, &[3.0, 2.0, 1.0])], vec![])],
    );
    let sample = looked(told(blue.clone(), 0), told(green, 0)).await;
    let Answer::Counted(counts) = sample.answer else { panic!("{:?}", sample.answer) };
    assert_eq!(counts.bounds, [0.1, 1.0]);
    assert_eq!(
        (&counts.windows[0].test[0].bad, &counts.windows[0].serving[0].bad),
        (&vec![3.0, 1.0], &vec![9.0, 1.0])
    );
    let other = counted(&[0.2], vec![window(5, vec![count("g", 10.0, &[3.0])], vec![])]);
    assert!(error(&looked(told(blue, 0), told(other, 0)).await).contains("no bound in common"));
}

#[tokio::test]
async fn one_source_that_is_broken_breaks_the_look_and_one_that_is_empty_leaves_its_side_empty() {
    let counts = counted(&[], vec![window(5, vec![], vec![count("b", 90.0, &[1.0])])]);
    let down = Answer::Error { message: "502".to_owned(), retryable: true };
    let sample = looked(told(counts.clone(), 0), told(down, 0)).await;
    assert_eq!(error(&sample), "the source of green: 502");
    let nothing = Answer::Nothing("no series".to_owned());
    let sample = looked(told(counts, 0), told(nothing.clone(), 0)).await;
    let Answer::Counted(counts) = sample.answer else { panic!("{:?}", sample.answer) };
    assert!(counts.windows[0].test.is_empty() && !counts.windows[0].serving.is_empty());
    let sample = looked(told(nothing.clone(), 0), told(nothing, 0)).await;
    assert!(matches!(sample.answer, Answer::Nothing(_)));
}

#[test]
fn what_a_source_per_side_cannot_use_is_refused_with_the_remedy() {
    let scope = |first: &str| TemplateScope {
        sides: [(first.to_owned(), BTreeMap::new()), ("green".to_owned(), BTreeMap::new())],
        ..TemplateScope::default()
    };
    let one = || json!({"prometheus": {"url": "http://127.0.0.1:9090"}});
    let written = json!({"blue": one(), "green": one()});
    let row = SOURCES.iter().find(|row| row.kind == "perSide").unwrap();
    let checked = (row.check)(&written).unwrap();
    assert_eq!((row.join)(&checked, &scope("blue")).unwrap(), checked);
    assert!((row.build)(&checked, &Outside::default()).is_ok());
    let stranger = (row.join)(&checked, &scope("red")).unwrap_err();
    assert!(stranger.message.contains("there is no side blue"), "{stranger}");
    let half = (row.check)(&json!({"green": one()})).unwrap();
    let missing = (row.join)(&half, &scope("blue")).unwrap_err();
    assert!(missing.message.contains("the side blue has no source"), "{missing}");
    let odd =
        (row.check)(&json!({"blue": {"prometheus": {"url": "no"}}, "green": one()})).unwrap_err();
    assert_eq!(odd[0].path, "/blue/prometheus/url");
    let kind = (row.check)(&json!({"blue": {"scrape": {}}})).unwrap_err();
    assert!(kind[0].help.as_deref().unwrap().contains("prometheus: {url"), "{kind:?}");
    let number = r#"{"sides": {"blue": {"labels": {}, "ask": {"value": {"value": ["1"]}}}}, "exchange": false}"#;
    let refused = (row.answers)(&checked, number).unwrap_err();
    assert!(refused.message.contains("asks for one number"), "{refused}");
}
