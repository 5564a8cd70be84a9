//! What happens to both versions at once, and what others take for a regression.

use super::rates;
use crate::{
    methods::thresholds::Counting,
    sim::{
        ours::{Guard, Ours, RECOMMENDED},
        rules::Rule,
        run::Plan,
        traffic::{Curve, Scene, Scrapes},
    },
};

/// An incident that both versions share: 0.5 % errors, for five minutes 3 %.
#[must_use]
pub fn shared_incident() -> Scene {
    let rate = Curve::While(0.005, 0.03, 600.0, 900.0);
    Scene { serving: rate, test: rate, ..Scene::usual(50.0, 0.005) }
}

/// A share that rises from 5 to 50 % while the errors of both drift from 0.2 to 1 %.
#[must_use]
pub fn ramp_in_drift() -> Scene {
    let rate = Curve::Line(0.002, 0.01);
    let share = Curve::Line(0.05, 0.5);
    Scene { share, serving: rate, test: rate, ..Scene::usual(50.0, 0.005) }
}

pub(super) fn write(plan: &Plan, seed: u64) -> String {
    let outage = Curve::While(0.005, 0.2, 600.0, 780.0);
    let outage = Scene {
        serving: outage,
        test: outage,
        scrapes: Scrapes::Apart,
        ..Scene::usual(50.0, 0.005)
    };
    let scenes = [
        ("shared incident 0.5 → 3 % for 5 min", shared_incident()),
        ("share 5 → 50 % while errors drift 0.2 → 1 %", ramp_in_drift()),
        ("5 % more errors, 2000 rps", Scene::usual(2000.0, 0.005).worse(1.05)),
        ("10 % more errors, 2000 rps", Scene::usual(2000.0, 0.005).worse(1.1)),
        ("outage 0.5 → 20 % for 3 min, scrapes apart", outage),
    ];
    let rules = [
        ("**ours**", Rule::Ours(RECOMMENDED)),
        ("ours without the burst guard", Rule::Ours(Ours { guard: Guard::None, ..RECOMMENDED })),
        ("Flagger: 1 %, 5 failures", Rule::OnePercent(Counting::Total(5))),
        ("1 %, 3 in a row", Rule::OnePercent(Counting::InRow(3))),
        ("z-test p < 1 % each minute", Rule::Z(0.01)),
        ("Kayenta each 5 minutes", Rule::Kayenta),
    ];
    let mut text = String::from(
        "No regression beyond what is tolerated in any of these: the part of rollouts that is \
         rolled back in half an hour. 50 rps and 10 % where nothing else is said.\n\n",
    );
    text.push_str(&rates(plan, plan.rollouts / 2, seed, &scenes, &rules));
    text
}
