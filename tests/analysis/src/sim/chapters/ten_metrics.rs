//! Ten metrics under one chance of a false rollback.

use haldane_judge::betting::{Grid, Process, weighted_mean};

use crate::sim::{
    dice::Dice,
    ours::{NOTHING, Ours, RECOMMENDED},
    run::Plan,
    table::{Rate, Times, table},
    traffic::Scene,
};

const METRICS: usize = 10;

/// When it rolled back, by which metric, and when the first metric alone would have.
struct Found {
    at: Option<f64>,
    by: Option<usize>,
    any: Option<f64>,
}

pub(super) fn write(plan: &Plan, seed: u64) -> String {
    let usual = Scene::usual(50.0, 0.005);
    let strict = Ours { margin: NOTHING, ..RECOMMENDED };
    let mut rows = Vec::new();
    for ((name, ours), seed) in
        [("**ours**", RECOMMENDED), ("ours, nothing tolerated", strict)].into_iter().zip(seed..)
    {
        let alike = plan.run(plan.rollouts / 2, seed, |dice| play(ours, usual, 1.0, dice));
        let worse = plan.run(plan.rollouts / 5, seed + 10, |dice| play(ours, usual, 5.0, dice));
        let right = worse.iter().filter_map(|found| found.by).map(|by| by == 0);
        rows.push(vec![
            name.to_owned(),
            Rate::count(alike.iter().map(|found| found.at.is_some())).to_string(),
            Rate::count(alike.iter().map(|found| found.any.is_some())).to_string(),
            Times::of(worse.iter().map(|found| found.at)).to_string(),
            Rate::count(right).to_string(),
        ]);
    }
    let heads = [
        "",
        "alike: rolled back by the mean",
        "alike: if any metric alone could",
        "one 5×: seconds 10/50/90 %",
        "the right one named",
    ];
    format!(
        "Ten independent error metrics of 50 rps at 10 %, 0.5 % errors; the evidence is their mean, \
         α = 1 % for all together.\n\n{}\nN = {} alike and {} worse, seeds {seed} to {}.\n\n",
        table(&heads, &rows),
        plan.rollouts / 2,
        plan.rollouts / 5,
        seed + 11
    )
}

fn play(ours: Ours, usual: Scene, factor: f64, dice: &mut Dice) -> Found {
    let traffic: Vec<_> = (0..METRICS)
        .map(|metric| usual.worse(if metric == 0 { factor } else { 1.0 }).play(dice))
        .collect();
    let grid = Grid::errors();
    let weight = 1.0 / METRICS as f64;
    let game = ours.game(grid, weight);
    let renewal = ours.renewal(usual.window_secs);
    let mut processes = vec![Process::new(grid); METRICS];
    let needed = (1.0 / ours.alpha).ln();
    let mut found = Found { at: None, by: None, any: None };
    for at in 0..usual.windows() {
        for (process, windows) in processes.iter_mut().zip(&traffic) {
            process.play(&game, &windows[at], 0.0, renewal);
        }
        let now = (at + 1) as f64 * usual.window_secs;
        if found.any.is_none() && processes.iter().any(|process| process.ln_e() >= needed) {
            found.any = Some(now);
        }
        let mean = weighted_mean(processes.iter().map(|process| (process.ln_e(), weight)));
        if mean.ln_e >= needed {
            (found.at, found.by) = (Some(now), mean.leader);
            break;
        }
    }
    found
}
