//! Regressions that begin after half an hour of health.

use super::race;
use crate::{
    methods::thresholds::Counting,
    sim::{
        ours::{Memory, Ours, RECOMMENDED},
        rules::Rule,
        run::Plan,
        table::{Rate, Times, table},
        traffic::{Curve, Scene},
    },
};

/// When it begins.
pub const ONSET_SECS: f64 = 1800.0;

/// Half an hour of health, then so many times the errors for another.
#[must_use]
pub fn scene(factor: f64) -> Scene {
    let late = Curve::While(0.005, 0.005 * factor, ONSET_SECS, f64::INFINITY);
    Scene { secs: 2.0 * ONSET_SECS, test: late, ..Scene::usual(50.0, 0.005) }
}

pub(super) fn write(plan: &Plan, seed: u64) -> String {
    let rules = [
        ("**ours**", Rule::Ours(RECOMMENDED)),
        (
            "ours, every window alike",
            Rule::Ours(Ours { memory: Memory::Cumulative, ..RECOMMENDED }),
        ),
        ("Flagger: 1 %, 5 failures", Rule::OnePercent(Counting::Total(5))),
        ("z-test p < 1 % each minute", Rule::Z(0.01)),
        ("Kayenta each 5 minutes, from the start", Rule::Kayenta),
    ];
    let rollouts = plan.rollouts / 4;
    let mut columns = Vec::new();
    for (factor, seed) in [2.0, 5.0, 20.0].into_iter().zip(seed..) {
        columns.push(race(plan, rollouts, seed, &scene(factor), &rules));
    }
    let cell = |times: &[Option<f64>]| {
        let before = |time: &Option<f64>| time.is_some_and(|time| time <= ONSET_SECS);
        let early = Rate::count(times.iter().map(before));
        let found = times.iter().filter(|time| !before(time));
        let delay = Times::of(found.map(|time| time.map(|time| time - ONSET_SECS)));
        if early.hits == 0 { delay.to_string() } else { format!("{delay}; too early {early}") }
    };
    let rows: Vec<Vec<String>> = rules
        .iter()
        .enumerate()
        .map(|(at, (name, _))| {
            std::iter::once((*name).to_owned())
                .chain(columns.iter().map(|column| cell(&column[at])))
                .collect()
        })
        .collect();
    format!(
        "Seconds from the onset until the rollback, as 10/50/90 % of the rollouts that were still \
         under way; \"too early\" is the part rolled back in the healthy half hour. 50 rps, 10 %, \
         errors 0.5 %.\n\n{}{}",
        table(&["", "2×", "5×", "20×"], &rows),
        super::source(rollouts, seed, seed + 2)
    )
}
