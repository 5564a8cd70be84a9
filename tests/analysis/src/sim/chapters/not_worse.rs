//! How soon it is shown that a version is not worse than a margin allows.

use haldane_judge::betting::Margin;

use crate::sim::{
    ours::NotWorse,
    run::Plan,
    table::{Times, table},
    traffic::{Curve, Scene},
};

/// The chance to call not worse what lies on the margin.
pub const BETA: f64 = 0.05;

/// Returns when it was shown, for so many rollouts.
#[must_use]
pub fn shown(
    plan: &Plan,
    rollouts: usize,
    seed: u64,
    scene: &Scene,
    margin: Margin,
) -> Vec<Option<f64>> {
    let not_worse = NotWorse { beta: BETA, margin };
    plan.run(rollouts, seed, |dice| not_worse.first(&scene.play(dice), scene.window_secs))
}

/// Returns a scene in which the side under test lies exactly on the margin.
#[must_use]
pub fn on_the_margin(usual: Scene, rate: f64, margin: Margin) -> Scene {
    Scene { test: Curve::Flat(margin.ratio * rate + margin.absolute), ..usual }
}

pub(super) fn write(plan: &Plan, seed: u64) -> String {
    let margins = [
        ("1.5× + 0.2 pp", Margin { ratio: 1.5, absolute: 0.002 }),
        ("1.5× + 0.5 pp", Margin { ratio: 1.5, absolute: 0.005 }),
        ("1.25× + 0.2 pp", Margin { ratio: 1.25, absolute: 0.002 }),
    ];
    let rollouts = plan.rollouts / 2;
    let fast = Scene::usual(50.0, 0.005);
    let mut at = seed;
    let mut rows = Vec::new();
    for (name, margin) in margins {
        let scenes = [
            fast,
            Scene::usual(50.0, 0.0005),
            Scene::usual(500.0, 0.005),
            Scene::usual(5.0, 0.005),
            on_the_margin(fast, 0.005, margin),
            on_the_margin(Scene::usual(500.0, 0.005), 0.005, margin),
            fast.worse(5.0),
        ];
        let mut row = vec![name.to_owned()];
        for (column, scene) in scenes.iter().enumerate() {
            let times = Times::of(shown(plan, rollouts, at, scene, margin));
            row.push(if column < 4 { times.to_string() } else { times.found().to_string() });
            at += 1;
        }
        rows.push(row);
    }
    let heads = [
        "margin",
        "alike, 50 rps, 0.5 %",
        "alike, 50 rps, 0.05 %",
        "alike, 500 rps, 0.5 %",
        "alike, 5 rps, 0.5 %",
        "**on the margin**, 50 rps",
        "**on the margin**, 500 rps",
        "5× the errors",
    ];
    format!(
        "Seconds until the odds are 20 : 1 (β = 5 %) that the side under test is not worse than the \
         margin, as 10/50/90 % of rollouts, and how many in half an hour where not all; in the last \
         three columns only how many, which must stay below 5 %. 10 % share.\n\n{}{}",
        table(&heads, &rows),
        super::source(rollouts, seed, at - 1)
    )
}
