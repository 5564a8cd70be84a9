//! Counts against a real Prometheus: what an application did is what is counted, to the request.
//!
//! The application knows what each scrape showed, so that nothing depends on when it came.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use haldane_model::{Answer, CountWindow, Counts, Sample, Window};
use haldane_outside::Outside;
use haldane_sources::{CHECKS, Checked, Look, LookSides, MetricSource, SOURCES, TemplateScope};
use haldane_tests::prometheus::{Page, Prometheus, Target};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// The bounds of the histogram, and what shares of the good requests lie above them.
const BOUNDS: [(&str, f64); 2] = [("0.1", 0.5), ("0.5", 0.25)];
/// From which scrape on there are no requests any more.
const OVER: u32 = 28;

/// What one scrape shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Some more requests.
    On,
    /// The process is up, and had no request yet.
    Empty,
    /// The process began anew since the last scrape.
    Restart,
    /// The scrape fails; requests go on.
    Broken,
    /// Both: it fails, and the process began anew.
    BrokenRestart,
}

/// An application: what it shows, and what it knows that it did.
#[derive(Debug, Default)]
struct App {
    scrapes: u32,
    good: u32,
    bad: u32,
    /// Whether any scrape showed its requests: what was before is not counted.
    known: bool,
    did: Did,
    /// Up to what any scrape showed: what a process did after its last scrape went with it.
    shown: Did,
}

/// Requests since the application was first seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Did {
    good: u32,
    bad: u32,
}

type Shared = Arc<Mutex<App>>;

/// The side under test begins without any series, and restarts twice, once unseen.
fn eventful(scrape: u32) -> Turn {
    match scrape {
        1..=2 => Turn::Empty,
        12 => Turn::Restart,
        18 | 19 | 21 => Turn::Broken,
        20 => Turn::BrokenRestart,
        _ => Turn::On,
    }
}

/// The serving side is old, and one scrape fails.
fn steady(scrape: u32) -> Turn {
    if scrape == 15 { Turn::Broken } else { Turn::On }
}

// === impl App ===

impl App {
    fn scrape(&mut self, turn: Turn, errors_from: u32) -> String {
        self.scrapes += 1;
        let at = self.scrapes;
        if matches!(turn, Turn::Restart | Turn::BrokenRestart) {
            (self.good, self.bad) = (0, 0);
            self.did = self.shown;
        }
        if turn == Turn::Empty {
            self.known = true;
            return "app_build_info 1\n".to_owned();
        }
        if at < OVER {
            // Errors are born late, and again after a restart.
            let good = 8 + 4 * (at % 3);
            let bad = if at >= errors_from && !at.is_multiple_of(5) { at % 4 } else { 0 };
            (self.good, self.bad) = (self.good + good, self.bad + bad);
            if self.known {
                self.did = Did { good: self.did.good + good, bad: self.did.bad + bad };
            }
        }
        if matches!(turn, Turn::Broken | Turn::BrokenRestart) {
            return "this is no page of metrics {\n".to_owned();
        }
        self.known = true;
        self.shown = self.did;
        self.page()
    }

    fn page(&self) -> String {
        let Self { good, bad, .. } = *self;
        let mut page = format!("http_requests_total{{code=\"200\"}} {good}\n");
        let mut histogram = |code: &str, count: u32| {
            let name = "http_request_duration_seconds_bucket";
            for (le, above) in BOUNDS {
                let below = f64::from(count) * (1.0 - above);
                writeln!(page, "{name}{{code=\"{code}\",le=\"{le}\"}} {below}").unwrap();
            }
            writeln!(page, "{name}{{code=\"{code}\",le=\"+Inf\"}} {count}").unwrap();
        };
        histogram("200", good);
        // Failures are fast: were they counted, the histogram would not add up.
        if bad > 0 {
            histogram("503", bad);
            writeln!(page, "http_requests_total{{code=\"503\"}} {bad}").unwrap();
        }
        page
    }
}

fn serve(app: &Shared, errors_from: u32, turn: fn(u32) -> Turn) -> Page {
    let app = app.clone();
    Page::serve(move || {
        let mut app = app.lock().unwrap();
        let turn = turn(app.scrapes + 1);
        app.scrape(turn, errors_from)
    })
}

fn scope() -> TemplateScope {
    let labels = |track: &str| BTreeMap::from([("track".to_owned(), track.to_owned())]);
    TemplateScope {
        namespace: "shop".into(),
        name: "checkout".into(),
        sides: [("blue".into(), labels("stable")), ("green".into(), labels("canary"))],
        arguments: BTreeMap::new(),
    }
}

fn targets(stable: &Page, canary: &Page) -> [Target; 2] {
    [
        Target::new("app", stable.address(), &[("track", "stable")]),
        Target::new("app", canary.address(), &[("track", "canary")]),
    ]
}

fn source(url: &str) -> Arc<dyn MetricSource> {
    let settings = (SOURCES[0].check)(&json!({"url": url, "timeout": "2s"})).unwrap();
    (SOURCES[0].build)(&settings, &Outside::default()).unwrap()
}

fn question(kind: &str, settings: &Value) -> Arc<str> {
    let entry = CHECKS.iter().find(|entry| entry.kind == kind).unwrap();
    match (entry.check)(settings, &scope(), None) {
        Ok(Checked::Ready { question, .. }) => question,
        other => panic!("{other:?}"),
    }
}

async fn look(source: &dyn MetricSource, kind: &str, begin: i64, end: i64) -> Sample {
    let at = |second| Timestamp::from_second(second).unwrap();
    let window = Window { begin: at(begin), end: at(end) };
    let sides = LookSides { test: "green".into(), serving: "blue".into() };
    let deadline = Duration::from_secs(5);
    let look = Look { window, sides, deadline, grid: None, before: None, about: None };
    source.look(question(kind, &json!({"metrics": "prometheus"})), look).await
}

#[track_caller]
fn counts(sample: Sample) -> Counts {
    let Answer::Counted(counts) = sample.answer else { panic!("{sample:?}") };
    counts
}

/// All requests of one side, and the bad ones by bound.
fn summed(windows: &[CountWindow], of: fn(&CountWindow) -> &[haldane_model::Count]) -> Vec<f64> {
    let mut sums = Vec::new();
    for count in windows.iter().flat_map(of) {
        sums.resize(1 + count.bad.len(), 0.0);
        sums[0] += count.total;
        for (sum, bad) in sums[1..].iter_mut().zip(&count.bad) {
            *sum += bad;
        }
    }
    sums
}

fn on_grid(at: Timestamp) -> i64 {
    at.as_second().div_euclid(5) * 5
}

#[tokio::test]
async fn what_both_sides_did_is_counted_to_the_request() {
    let (stable, canary) = (Shared::default(), Shared::default());
    // The serving side was there before anybody looked.
    stable.lock().unwrap().good = 1_000_000_000;
    let pages = (serve(&stable, 4, steady), serve(&canary, 5, eventful));
    let begin = on_grid(Timestamp::now());
    let prometheus = Prometheus::start(&targets(&pages.0, &pages.1));
    let source = source(&prometheus.url);
    let began = Instant::now();
    let scrapes = |app: &Shared| app.lock().unwrap().scrapes;
    while scrapes(&stable).min(scrapes(&canary)) < OVER + 8 {
        assert!(began.elapsed() < Duration::from_secs(90), "scrapes do not come");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let end = on_grid(Timestamp::now());
    let did = |app: &Shared| app.lock().unwrap().did;
    let (stable, canary) = (did(&stable), did(&canary));
    assert!(canary.bad > 10 && stable.bad > 10, "{canary:?} {stable:?}");

    for kind in ["errors", "latency"] {
        // An engine that was away for all of it, and one that looked every five seconds.
        let whole = counts(look(&*source, kind, begin, end).await);
        let expected = |did: Did| -> Vec<f64> {
            let (good, bad) = (f64::from(did.good), f64::from(did.bad));
            if kind == "errors" {
                vec![good + bad, bad]
            } else {
                vec![good, good / 2.0, good / 4.0]
            }
        };
        assert_eq!(summed(&whole.windows, |window| &window.test), expected(canary), "{kind}");
        assert_eq!(summed(&whole.windows, |window| &window.serving), expected(stable), "{kind}");
        assert_eq!(whole.bounds, if kind == "errors" { vec![] } else { vec![0.1, 0.5] });
        let mut pieces = Vec::new();
        let mut at = begin;
        while at < end {
            // Where the application was not there yet, there is nothing.
            let sample = look(&*source, kind, at, at + 5).await;
            if let Answer::Counted(counts) = sample.answer {
                pieces.extend(counts.windows);
            } else {
                assert!(matches!(sample.answer, Answer::Nothing(_)), "{sample:?}");
            }
            at += 5;
        }
        assert_eq!(pieces, whole.windows, "{kind}");
    }
}

/// Looks at the last ten seconds until a sample is as it should be.
async fn until(source: &dyn MetricSource, what: &str, good: impl Fn(&Sample) -> bool) -> Sample {
    let began = Instant::now();
    loop {
        let end = on_grid(Timestamp::now() - SignedDuration::from_secs(1));
        let sample = look(source, "errors", end - 10, end).await;
        if good(&sample) {
            return sample;
        }
        assert!(began.elapsed() < Duration::from_secs(40), "{what}: not after 40 s: {sample:?}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test]
async fn a_side_that_dies_is_silent_and_a_source_that_hangs_is_an_error() {
    let (stable, canary) = (Shared::default(), Shared::default());
    let pages = (serve(&stable, 4, |_| Turn::On), serve(&canary, 5, |_| Turn::On));
    let prometheus = Prometheus::start(&targets(&pages.0, &pages.1));
    let source = source(&prometheus.url);
    // The other side of the question: nothing was scraped yet.
    let none = look(&*source, "errors", 1_000_000_000, 1_000_000_010).await;
    assert!(matches!(none.answer, Answer::Nothing(_)), "{none:?}");
    until(&*source, "both are counted", |sample| {
        sample.count.is_some_and(|count| count > 0.0)
            && sample.serving_count.is_some_and(|count| count > 0.0)
    })
    .await;
    let (stable_page, canary_page) = pages;
    drop(canary_page);
    let sample = until(&*source, "the side is down", |sample| sample.targets_down).await;
    assert_eq!(sample.count, Some(0.0));
    let Answer::Counted(counts) = &sample.answer else { panic!("{sample:?}") };
    // Its targets are silent, and the serving side's are not: windows have one side.
    assert!(counts.windows.iter().all(|window| window.test.is_empty()));
    assert!(counts.windows.iter().any(|window| !window.serving.is_empty()));

    prometheus.server.signal("STOP");
    let began = Instant::now();
    // Another moment: what was answered for the last one is still known.
    let end = Timestamp::now().as_second() + 1;
    let looks =
        ["errors", "latency", "errors", "latency"].map(|kind| look(&*source, kind, end - 10, end));
    for sample in futures::future::join_all(looks).await {
        let Answer::Error { message, retryable: true } = &sample.answer else {
            panic!("{sample:?}")
        };
        assert!(message.contains("did not answer"), "{message}");
    }
    assert!(began.elapsed() < Duration::from_millis(5_500), "{:?}", began.elapsed());
    prometheus.server.signal("CONT");
    drop(stable_page);
}
