//! Latency: versions that are slower throughout, or only for a few.

use crate::{
    methods::{
        bands,
        thresholds::{Counter, Counting},
    },
    sim::{
        ours::{NOTHING, Ours, RECOMMENDED, SLOWER},
        rules::kayenta_on,
        run::Plan,
        slow::{Buckets, Latencies, Slower, histogram_quantile, tails},
        table::{Times, table},
    },
};

const RPS: f64 = 50.0;
const WINDOW_SECS: f64 = 5.0;
/// Half an hour.
const WINDOWS: usize = 360;

/// Our latency check as recommended.
pub const OURS: Ours = Ours { margin: SLOWER, ..RECOMMENDED };

/// Returns when our processes roll back, for so many rollouts.
#[must_use]
pub fn found(plan: &Plan, rollouts: usize, seed: u64, slower: Slower) -> Vec<Option<f64>> {
    plan.run(rollouts, seed, |dice| {
        let latencies = Latencies::play(RPS, WINDOWS, slower, dice);
        OURS.first_slow(&latencies.sums(), &latencies.usual, WINDOW_SECS)
    })
}

pub(super) fn write(plan: &Plan, seed: u64) -> String {
    let changes = [
        ("none", 1.0, 0.0),
        ("all 20 % slower", 1.2, 0.0),
        ("all 50 % slower", 1.5, 0.0),
        ("all 3 times as slow", 3.0, 0.0),
        ("2 % of requests take 1.5 s", 1.0, 0.02),
        ("10 % of requests take 1.5 s", 1.0, 0.1),
    ];
    let mut rows = Vec::new();
    for ((name, factor, stalled), seed) in changes.into_iter().zip(seed..) {
        let rollouts = if name == "none" { plan.rollouts / 2 } else { plan.rollouts / 5 };
        let times = plan.run(rollouts, seed, |dice| {
            let latencies = Latencies::play(RPS, WINDOWS, Slower { factor, stalled }, dice);
            all(&latencies)
        });
        let column = |at: usize| Times::of(times.iter().map(|times| times[at])).to_string();
        rows.push(std::iter::once(name.to_owned()).chain((0..6).map(column)).collect());
    }
    let heads = [
        "change",
        "**ours** (10 % + 0.5 pp)",
        "ours, nothing tolerated",
        "bands, α = 5 %",
        "p99 < 500 ms, 5 failures",
        "Kayenta on p99",
        "Kayenta on p50",
    ];
    format!(
        "Lognormal latencies (median 80 ms, σ 0.6) in the default buckets of Prometheus' clients, \
         50 rps, 10 %, windows of 5 s; the bounds watched are those at the median, the 90th and \
         the 99th percentile of 1000 requests before the rollout. Seconds until the rollback as \
         10/50/90 %, and how many in half an hour where not all.\n\n{}\nN = {} in the first row and \
         {} in the others, seeds {seed} to {}.\n\n",
        table(&heads, &rows),
        plan.rollouts / 2,
        plan.rollouts / 5,
        seed + changes.len() as u64 - 1
    )
}

fn all(latencies: &Latencies) -> [Option<f64>; 6] {
    let sums = latencies.sums();
    let ours = |ours: Ours| ours.first_slow(&sums, &latencies.usual, WINDOW_SECS);
    let minutes = minutes(&latencies.windows);
    let quantiles = |share: f64| -> (Vec<f64>, Vec<f64>) {
        minutes
            .iter()
            .map(|minute| {
                (
                    histogram_quantile(&minute.test, share),
                    histogram_quantile(&minute.serving, share),
                )
            })
            .unzip()
    };
    let (p99, p99_serving) = quantiles(0.99);
    let (p50, p50_serving) = quantiles(0.5);
    let mut counter = Counter::new(Counting::Total(5));
    let flagger = p99.iter().position(|p99| counter.count(*p99 <= 0.5));
    [
        ours(OURS),
        ours(Ours { margin: NOTHING, ..RECOMMENDED }),
        banded(&latencies.windows),
        flagger.map(|minute| (minute + 1) as f64 * 60.0),
        kayenta_on(&p99, &p99_serving, 60.0),
        kayenta_on(&p50, &p50_serving, 60.0),
    ]
}

fn minutes(windows: &[Buckets]) -> Vec<Buckets> {
    windows.chunks_exact(12).map(sum).collect()
}

fn sum(windows: &[Buckets]) -> Buckets {
    let zero = Buckets { test: [0.0; 12], serving: [0.0; 12] };
    windows.iter().fold(zero, |mut sum, window| {
        add(&mut sum, window);
        sum
    })
}

fn add(sum: &mut Buckets, window: &Buckets) {
    for at in 0..12 {
        sum.test[at] += window.test[at];
        sum.serving[at] += window.serving[at];
    }
}

/// The bands of everything so far, at every window.
fn banded(windows: &[Buckets]) -> Option<f64> {
    let mut so_far = sum(&[]);
    let at = windows.iter().position(|window| {
        add(&mut so_far, window);
        let totals: (f64, f64) = (so_far.test.iter().sum(), so_far.serving.iter().sum());
        let (test, serving) = (tails(&so_far.test), tails(&so_far.serving));
        bands::slower(&test, totals.0, &serving, totals.1, 0.05)
    })?;
    Some((at + 1) as f64 * WINDOW_SECS)
}
