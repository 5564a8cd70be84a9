//! Errors that do not come one by one: clusters, and processes that differ from each other.

use std::sync::Arc;

use haldane_judge::{betting::Sums, dispersion};
use haldane_model::{Count, CountWindow, Window};
use jiff::Timestamp;

use super::source;
use crate::{
    methods::thresholds::Counting,
    sim::{
        dice::Dice,
        ours::{Guard, NOTHING, Ours, RECOMMENDED},
        pods::{Arrivals, Counted, Pods, SERVING},
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
    /// How many errors come at once; `None` where that could not be measured.
    pub phi: Option<f64>,
    /// The windows of the rollout.
    pub windows: Vec<Sums>,
}

// === impl Played ===

impl Played {
    /// Returns the settings with what was measured; where nothing was, three windows must agree.
    #[must_use]
    pub fn measured(&self, ours: Ours) -> Ours {
        match self.phi {
            Some(phi) => Ours { phi, ..ours },
            None => Ours { guard: Guard::Three, ..ours },
        }
    }
}

pub(super) fn write(plan: &Plan, seed: u64) -> String {
    let arrivals = [
        ("one by one", Arrivals::Alone),
        ("clusters, mean 3", Arrivals::Clusters(3.0)),
        ("clusters, mean 8", Arrivals::Clusters(8.0)),
        ("processes differ, anew each window", Arrivals::Frailty(0.0)),
        ("processes differ, AR(0.9)", Arrivals::Frailty(0.9)),
    ];
    let rollouts = plan.rollouts / 4;
    let mut rows = Vec::new();
    for ((name, arrivals), seed) in arrivals.into_iter().zip(seed..) {
        let alike = plan.run(rollouts, seed, |dice| {
            let played = play(arrivals, 1.0, dice);
            (played.phi, compare(&played))
        });
        let worse = plan.run(rollouts, seed + 10, |dice| {
            let played = play(arrivals, 5.0, dice);
            played.measured(RECOMMENDED).first(&played.windows, WINDOW_SECS)
        });
        let phi = Times::of(alike.iter().map(|(phi, _)| *phi)).quantile(0.5).unwrap_or(1.0);
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
        ours(played.measured(strict)),
        Rule::Z(0.01),
        Rule::OnePercent(Counting::Total(5)),
    ]
    .map(|rule| rule.first(&played.windows, WINDOW_SECS).is_some())
}

/// Rolls an hour before a rollout, and half an hour of it with so many times the errors.
#[must_use]
pub fn play(arrivals: Arrivals, factor: f64, dice: &mut Dice) -> Played {
    let mut pods = Pods::new(arrivals, dice);
    let names: Vec<Arc<str>> = (0..=SERVING).map(|pod| pod.to_string().into()).collect();
    let before: Vec<CountWindow> =
        (0..WINDOWS_BEFORE).map(|_| counts(&names, &pods.window(RATE, 1.0, dice))).collect();
    let windows = (0..WINDOWS).map(|_| sums(&pods.window(RATE, factor, dice))).collect();
    Played { phi: dispersion::phi(&before, 0), windows }
}

/// The serving side alone, as a source delivers it.
fn counts(names: &[Arc<str>], pods: &[Counted]) -> CountWindow {
    let count = |(name, pod): (&Arc<str>, &Counted)| Count {
        process: Arc::clone(name),
        total: pod.total,
        bad: vec![pod.bad],
    };
    let serving = names.iter().zip(pods).skip(1).map(count).collect();
    let begin = Timestamp::UNIX_EPOCH;
    CountWindow { window: Window { begin, end: begin }, test: Vec::new(), serving }
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
