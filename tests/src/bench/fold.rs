//! What it costs to judge window by window: one window of one metric, and ten thousand metrics.
//!
//! Processor time, not time that passed: what else runs on the machine is not measured.

use std::{hint::black_box, time::Duration};

use haldane_judge::{Rule, Stage, fold};
use haldane_model::{
    Answer, CheckName, Count, CountWindow, Counts, Evidence, Limits, Sample, Weight, Window,
};
use jiff::Timestamp;

use super::host;

/// How long a window is, and how often a record is written.
const WINDOW_SECS: i64 = 5;
const WINDOWS_A_RECORD: usize = 3;
/// For how much processor time one figure is measured at least.
const MEASURED: Duration = Duration::from_millis(400);
/// How many windows one look of a figure holds.
const WINDOWS: i64 = 2_000;
/// How many metrics are judged side by side, and for how many windows.
const METRICS: usize = 10_000;
const TICKS: usize = 6;

/// What is counted: at so many bounds, by so many processes a side.
#[derive(Clone, Copy)]
struct Shape {
    bounds: usize,
    processes: i64,
}

const FEW: Shape = Shape { bounds: 0, processes: 3 };
const MANY: Shape = Shape { bounds: 0, processes: 10 };
const TAILS: Shape = Shape { bounds: 12, processes: 3 };

/// What folding costs.
#[derive(Clone, Debug)]
pub struct Folding {
    /// Each kind of check: microseconds for a window, among many in one look, and for a look with one
    /// window and its sentence.
    pub kinds: Vec<(&'static str, f64, f64)>,
    /// What part of a core 10 000 metrics take, at 5 s windows, in percent.
    pub core_percent: f64,
    /// How many metrics those were.
    pub metrics: usize,
}

/// Measures all of it.
///
/// # Panics
/// Where a rule of our own is refused.
#[must_use]
pub fn measure() -> Folding {
    let kinds = [
        ("`errors`, compared", r#"{"compare":{"kind":"errors"}}"#, FEW),
        ("`errors`, compared, 10 processes a side", r#"{"compare":{"kind":"errors"}}"#, MANY),
        ("`latency`, compared at 12 bounds", r#"{"compare":{"kind":"latency"}}"#, TAILS),
        ("`burn`", r#"{"burn":{"slo":0.001}}"#, FEW),
        ("`gauge`", r#"{"gauge":{}}"#, FEW),
    ];
    let kinds = kinds.map(|(kind, rule, shape)| {
        let rule = Rule::parse(rule).expect("a rule of our own");
        (kind, a_window(&rule, shape), a_look(&rule, shape))
    });
    Folding { kinds: kinds.to_vec(), core_percent: many(), metrics: METRICS }
}

fn window(at: i64, Shape { bounds, processes: number }: Shape) -> CountWindow {
    let moment = |at: i64| Timestamp::from_second(1_760_000_000 + at * WINDOW_SECS);
    let moment = |at: i64| moment(at).expect("a moment of this century");
    let one = |side: &str, process: i64, total: f64, bad: f64| {
        let shares = (0..bounds).map(|at| total / f64::from(2_u32 << at.min(20)));
        let bad = if bounds == 0 { vec![bad] } else { shares.collect() };
        Count { process: format!("{side}-{process}").into(), total, bad }
    };
    let now_and_then = |every: i64| f64::from(u8::from(at % every == 0));
    let processes = |side: &'static str, total: f64, every: i64| {
        (0..number)
            .map(move |at| one(side, at, total, if at == 0 { now_and_then(every) } else { 0.0 }))
    };
    CountWindow {
        window: Window { begin: moment(at), end: moment(at + 1) },
        test: processes("test", 8.0, 8).collect(),
        serving: processes("serving", 75.0, 1).collect(),
    }
}

fn sample(windows: Vec<CountWindow>, Shape { bounds, .. }: Shape) -> Sample {
    let ends = windows.first().zip(windows.last());
    let (first, last) = ends.expect("a look holds a window");
    Sample {
        window: Window { begin: first.window.begin, end: last.window.end },
        scrape: Duration::from_secs(5),
        share: Weight::from_percent(10).ok(),
        answer: Answer::Counted(Counts {
            bounds: (1..=bounds).map(|bound| bound as f64 / 100.0).collect(),
            windows,
            before: Vec::new(),
            late: 0,
            skew: None,
        }),
        count: Some(24.0),
        serving_count: Some(225.0),
        targets_down: false,
    }
}

fn judged(rule: &Rule, evidence: &Evidence, sample: &Sample) -> Evidence {
    let stage = Stage {
        step: 0,
        weight: Weight::from_percent(10).expect("a share"),
        next: Weight::from_percent(25).ok(),
        windows_from: Timestamp::MIN,
        gates: true,
    };
    let name: CheckName = "check".into();
    black_box(fold(rule, &Limits::default(), &stage, evidence, &name, sample)).evidence
}

/// Microseconds of the processor for each turn.
fn micros(mut turn: impl FnMut(), each: f64) -> f64 {
    let (begin, mut turns) = (host::processor_time(), 0.0);
    loop {
        turn();
        turns += each;
        let took = host::processor_time().saturating_sub(begin);
        if took >= MEASURED {
            return took.as_secs_f64() * 1e6 / turns;
        }
    }
}

fn a_window(rule: &Rule, shape: Shape) -> f64 {
    let whole = sample((0..WINDOWS).map(|at| window(at, shape)).collect(), shape);
    micros(|| drop(judged(rule, &Evidence::default(), &whole)), WINDOWS as f64)
}

fn a_look(rule: &Rule, shape: Shape) -> f64 {
    let looks: Vec<Sample> =
        (0..WINDOWS).map(|at| sample(vec![window(at, shape)], shape)).collect();
    let all = || {
        looks.iter().fold(Evidence::default(), |kept, look| judged(rule, &kept, look));
    };
    micros(all, WINDOWS as f64)
}

/// Ten thousand comparisons, each with evidence of its own, which is written down as a record is.
fn many() -> f64 {
    let rule = Rule::parse(r#"{"compare":{"kind":"errors"}}"#).expect("a rule of our own");
    let mut kept = vec![Evidence::default(); METRICS];
    let begin = host::processor_time();
    for tick in 0..TICKS {
        let look = sample(vec![window(tick as i64, FEW)], FEW);
        for evidence in &mut kept {
            *evidence = judged(&rule, evidence, &look);
            if (tick + 1).is_multiple_of(WINDOWS_A_RECORD) {
                black_box(evidence.bytes().len());
            }
        }
    }
    let took = host::processor_time().saturating_sub(begin).as_secs_f64();
    100.0 * took / (TICKS as i64 * WINDOW_SECS) as f64
}
