//! Errors that do not come one by one: clusters, and processes that differ from each other.

use haldane_judge::betting::Sums;

use super::source;
use crate::{
    methods::thresholds::Counting,
    sim::{
        dice::Dice,
        ours::{Guard, NOTHING, Ours, RECOMMENDED},
        pods::{Arrivals, Counted, Pods},
        rules::Rule,
        run::Plan,
        table::{Rate, Times, table},
    },
};

/// How long a window is.
pub const WINDOW_SECS: f64 = 15.0;
/// Half an hour.
const WINDOWS: usize = 120;
/// The hour before, in which the clumping is measured.
const WINDOWS_BEFORE: usize = 240;
const RATE: f64 = 0.005;

/// A rollout and what was measured in the hour before it.
#[derive(Clone, Debug)]
pub struct Played {
    /// How many errors come at once.
    pub phi: f64,
    /// The windows of the rollout.
    pub windows: Vec<Sums>,
}

pub(super) fn write(plan: &Plan, seed: u64) -> String {
    let arrivals = [
        ("one by one", Arrivals::Alone),
        ("clusters, mean 3", Arrivals::Clusters(3.0)),
        ("clusters, mean 8", Arrivals::Clusters(8.0)),
        ("processes differ, anew each window", Arrivals::Frailty(0.0)),
        ("processes differ, AR(0.9)", Arrivals::Frailty(0.9)),
    ];
    let rollouts = plan.rollouts / 5;
    let mut rows = Vec::new();
    for ((name, arrivals), seed) in arrivals.into_iter().zip(seed..) {
        let alike = plan.run(rollouts, seed, |dice| {
            let played = play(arrivals, 1.0, dice);
            (played.phi, compare(&played))
        });
        let worse = plan.run(rollouts, seed + 10, |dice| {
            let played = play(arrivals, 5.0, dice);
            Ours { phi: played.phi, ..RECOMMENDED }.first(&played.windows, WINDOW_SECS)
        });
        let phi = Times::of(alike.iter().map(|(phi, _)| Some(*phi))).quantile(0.5).unwrap_or(1.0);
        let mut row = vec![name.to_owned(), format!("{phi:.2}")];
        row.extend((0..6).map(|rule| {
            Rate::count(alike.iter().map(|(_, rolled_back)| rolled_back[rule])).to_string()
        }));
        row.push(Times::of(worse).to_string());
        rows.push(row);
    }
    let heads = [
        "errors arrive",
        "φ, median",
        "ours, no guard, no φ",
        "guard of two",
        "guard of three",
        "**φ and guard of two**",
        "z-test p < 1 % each minute",
        "Flagger: 1 %, 5 failures",
        "5×: **φ and guard of two**, s",
    ];
    format!(
        "Windows of 15 s, one process of the new version among ten of 5 rps each, errors 0.5 %. φ is \
         measured on the nine others in the hour before. False rollbacks of ours with nothing \
         tolerated, so that the devices are seen alone; detection with the default tolerance.\n\n\
         {}{}",
        table(&heads, &rows),
        source(rollouts, seed, seed + 14)
    )
}

fn compare(played: &Played) -> [bool; 6] {
    let strict = Ours { margin: NOTHING, ..RECOMMENDED };
    let ours = |ours: Ours| Rule::Ours(ours);
    [
        ours(Ours { guard: Guard::None, ..strict }),
        ours(strict),
        ours(Ours { guard: Guard::Three, ..strict }),
        ours(Ours { phi: played.phi, ..strict }),
        Rule::Z(0.01),
        Rule::OnePercent(Counting::Total(5)),
    ]
    .map(|rule| rule.first(&played.windows, WINDOW_SECS).is_some())
}

/// Rolls an hour before a rollout, and half an hour of it with so many times the errors.
#[must_use]
pub fn play(arrivals: Arrivals, factor: f64, dice: &mut Dice) -> Played {
    let mut pods = Pods::new(arrivals, dice);
    let before: Vec<Vec<Counted>> =
        (0..WINDOWS_BEFORE).map(|_| pods.window(RATE, 1.0, dice).split_off(1)).collect();
    let windows = (0..WINDOWS).map(|_| sums(&pods.window(RATE, factor, dice))).collect();
    Played { phi: phi(&before), windows }
}

fn sums(pods: &[Counted]) -> Sums {
    let (ours, theirs) = pods.split_at(1);
    Sums {
        test_bad: ours[0].bad,
        test_total: ours[0].total,
        serving_bad: theirs.iter().map(|pod| pod.bad).sum(),
        serving_total: theirs.iter().map(|pod| pod.total).sum(),
    }
}

/// How many errors come at once, by the spread between processes over blocks of 1, 4, 12 and 30.
fn phi(windows: &[Vec<Counted>]) -> f64 {
    [1, 4, 12, 30].into_iter().map(|block| spread(windows, block)).fold(1.0, f64::max).min(25.0)
}

fn spread(windows: &[Vec<Counted>], block: usize) -> f64 {
    let (mut squares, mut freedom) = (0.0, 0.0);
    for block in windows.chunks_exact(block) {
        let of = |pod: usize| -> (f64, f64) {
            block.iter().fold((0.0, 0.0), |(bad, total), window| {
                (bad + window[pod].bad, total + window[pod].total)
            })
        };
        let pods: Vec<(f64, f64)> = (0..block[0].len()).map(of).collect();
        let bad: f64 = pods.iter().map(|(bad, _)| bad).sum();
        let total: f64 = pods.iter().map(|(_, total)| total).sum();
        if bad == 0.0 {
            continue;
        }
        for (own, requests) in &pods {
            let expected = requests * bad / total;
            squares += (own - expected).powi(2) / expected;
        }
        freedom += pods.len() as f64 - 1.0;
    }
    if freedom == 0.0 { 1.0 } else { squares / freedom }
}
