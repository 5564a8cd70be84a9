//! How soon a version is rolled back that is worse.

use super::times;
use crate::{
    methods::thresholds::Counting,
    sim::{
        ours::{Guard, NOTHING, Ours, RECOMMENDED},
        rules::Rule,
        run::Plan,
        traffic::{Curve, Scene},
    },
};

pub(super) fn write(plan: &Plan, seed: u64) -> String {
    let usual = Scene::usual(50.0, 0.005);
    let scenes = [
        ("2×", usual.worse(2.0)),
        ("5×", usual.worse(5.0)),
        ("20×", usual.worse(20.0)),
        ("all fail", usual.worse(200.0)),
    ];
    let rules = [
        ("**ours**", Rule::Ours(RECOMMENDED)),
        ("ours, clumping not measured", Rule::Ours(Ours { guard: Guard::Three, ..RECOMMENDED })),
        ("ours, α = 5 %", Rule::Ours(Ours { alpha: 0.05, ..RECOMMENDED })),
        ("ours, nothing tolerated", Rule::Ours(Ours { margin: NOTHING, ..RECOMMENDED })),
        ("Flagger: 1 %, 5 failures", Rule::OnePercent(Counting::Total(5))),
        ("1 %, 3 in a row", Rule::OnePercent(Counting::InRow(3))),
        ("z-test p < 1 % each minute", Rule::Z(0.01)),
        ("Kayenta each 5 minutes", Rule::Kayenta),
    ];
    let rollouts = plan.rollouts / 2;
    let mut text = String::from(
        "Seconds from the first request until the rollback, as 10/50/90 % of rollouts, and how many \
         were found in half an hour where not all were. 50 rps, 10 %, errors 0.5 %, windows of 5 s. \
         What finds much by chance finds fast: read it beside chapter 1.\n\n",
    );
    text.push_str(&times(plan, rollouts, seed, &scenes, &rules));
    text.push_str("Ours with scrapes every 15 s.\n\n");
    let slow = |rps, factor| Scene { window_secs: 15.0, ..Scene::usual(rps, 0.005).worse(factor) };
    let scenes = [
        ("50 rps, 5×", slow(50.0, 5.0)),
        ("50 rps, 20×", slow(50.0, 20.0)),
        ("500 rps, 2×", slow(500.0, 2.0)),
        ("500 rps, 5×", slow(500.0, 5.0)),
        ("5 rps, 5×", slow(5.0, 5.0)),
        ("5 rps, 20×", slow(5.0, 20.0)),
    ];
    text.push_str(&times(plan, rollouts, seed + 10, &scenes, &rules[..1]));
    text.push_str("Ours at other shares, 50 rps, twice the errors.\n\n");
    let share = |share| Scene { share: Curve::Flat(share), ..usual.worse(2.0) };
    let scenes = [("25 %", share(0.25)), ("50 %", share(0.5))];
    text.push_str(&times(plan, rollouts, seed + 20, &scenes, &rules[..1]));
    text
}
