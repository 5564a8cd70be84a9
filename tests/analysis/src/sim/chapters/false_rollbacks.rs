//! How often a version is rolled back that is not worse than the one that serves.

use super::{race, rates, source};
use crate::{
    methods::thresholds::Counting,
    sim::{
        ours::{Guard, NOTHING, Ours, RECOMMENDED, TOLERANCE},
        rules::Rule,
        run::Plan,
        table::{Rate, table},
        traffic::{Curve, Scene},
    },
};
use haldane_judge::betting::Margin;

/// Four services, the same version on both sides for half an hour.
#[must_use]
pub fn scenes() -> [(&'static str, Scene); 4] {
    let share = |share, scene| Scene { share: Curve::Flat(share), ..scene };
    [
        ("50 rps, 10 %, errors 0.5 %", Scene::usual(50.0, 0.005)),
        ("5 rps, 10 %, errors 0.5 %", Scene::usual(5.0, 0.005)),
        ("500 rps, 5 %, errors 0.1 %", share(0.05, Scene::usual(500.0, 0.001))),
        ("50 rps, 50 %, errors 2 %", share(0.5, Scene::usual(50.0, 0.02))),
    ]
}

fn rules() -> Vec<(&'static str, Rule)> {
    let ours = |change: Ours| Rule::Ours(change);
    vec![
        ("**ours** (α = 1 %, tolerance 10 % + 0.02 pp)", ours(RECOMMENDED)),
        ("ours, clumping not measured", ours(Ours { guard: Guard::Three, ..RECOMMENDED })),
        ("ours, α = 5 %", ours(Ours { alpha: 0.05, ..RECOMMENDED })),
        ("ours, nothing tolerated", ours(Ours { margin: NOTHING, ..RECOMMENDED })),
        ("Flagger: 1 %, 5 failures", Rule::OnePercent(Counting::Total(5))),
        ("Argo Rollouts: 1 %, failureLimit 0", Rule::OnePercent(Counting::MoreThan(0))),
        ("1 %, 3 in a row", Rule::OnePercent(Counting::InRow(3))),
        ("z-test p < 5 % each minute", Rule::Z(0.05)),
        ("z-test p < 1 % each minute", Rule::Z(0.01)),
        ("Kayenta each 5 minutes", Rule::Kayenta),
    ]
}

pub(super) fn write(plan: &Plan, seed: u64) -> String {
    let mut text = String::from(
        "The same version on both sides for half an hour: the part of rollouts that is rolled back. \
         (A fixed threshold shows 0 or 100 % by which side of it the usual rate lies on.)\n\n",
    );
    text.push_str(&rates(plan, plan.rollouts, seed, &scenes(), &rules()));
    text.push_str(
        "The worst that is tolerated: a side under test exactly on the limit, 50 rps, 10 %, 0.5 %. \
         The bound is α itself.\n\n",
    );
    text.push_str(&on_the_limit(plan, seed + 10));
    text.push_str("A whole day in windows of 15 s, 5760 looks; 50 rps, 10 %, 0.5 %.\n\n");
    let day = Scene { window_secs: 15.0, secs: 86_400.0, ..Scene::usual(50.0, 0.005) };
    let rules = [
        ("**ours**", Rule::Ours(RECOMMENDED)),
        ("ours, nothing tolerated", Rule::Ours(Ours { margin: NOTHING, ..RECOMMENDED })),
        ("z-test p < 1 % each minute", Rule::Z(0.01)),
    ];
    text.push_str(&rates(plan, plan.rollouts / 2, seed + 20, &[("24 hours", day)], &rules));
    text
}

fn on_the_limit(plan: &Plan, seed: u64) -> String {
    let margins = [
        ("nothing", NOTHING),
        ("10 % + 0.02 pp", TOLERANCE),
        ("25 % + 0.05 pp", Margin { ratio: 1.25, absolute: 0.0005 }),
        ("50 % + 0.2 pp", Margin { ratio: 1.5, absolute: 0.002 }),
    ];
    let rows: Vec<Vec<String>> = margins
        .iter()
        .zip(seed..)
        .map(|((name, margin), seed)| {
            let usual = Scene::usual(50.0, 0.005);
            let limit = Curve::Flat(margin.ratio * 0.005 + margin.absolute);
            let scene = Scene { test: limit, ..usual };
            let of = |alpha| Rule::Ours(Ours { alpha, margin: *margin, ..RECOMMENDED });
            let rules = [("", of(0.01)), ("", of(0.05))];
            let found = race(plan, plan.rollouts, seed, &scene, &rules);
            let rate = |at: usize| Rate::count(found[at].iter().map(Option::is_some)).to_string();
            vec![(*name).to_owned(), rate(0), rate(1)]
        })
        .collect();
    let last = seed + margins.len() as u64 - 1;
    let source = source(plan.rollouts, seed, last);
    format!("{}{source}", table(&["tolerated", "α = 1 %", "α = 5 %"], &rows))
}
