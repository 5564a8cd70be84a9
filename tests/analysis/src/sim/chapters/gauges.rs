//! Gauges: samples that resemble the ones before.

use haldane_judge::ranks::{
    GaugeOutcome, GaugeSettings, SIGN_BETS, autocorrelation, block_length, block_means, gauge,
    sign_e, sign_of,
};

use super::source;
use crate::sim::{
    dice::Dice,
    rules::kayenta_on,
    run::Plan,
    table::{Rate, Times, percent, table},
};

const SAMPLE_SECS: f64 = 15.0;
/// One hour.
const SAMPLES: usize = 240;
/// How far samples spread around the level.
const SPREAD: f64 = 0.1;
/// The blocks of the sign test: two minutes.
const BLOCK: usize = 8;

/// What three methods say of the same two series.
struct Said {
    kayenta: bool,
    ours: GaugeOutcome,
    sign: Option<f64>,
}

pub(super) fn write(plan: &Plan, seed: u64) -> String {
    let rollouts = plan.rollouts / 4;
    let mut rows = Vec::new();
    for (memory, seed) in [0.0, 0.5, 0.8, 0.95].into_iter().zip(seed..) {
        let alike = plan.run(rollouts, seed, |dice| play(memory, 1.0, dice));
        let limit = plan.run(rollouts, seed + 10, |dice| play(memory, 1.1, dice));
        let worse = plan.run(rollouts, seed + 20, |dice| play(memory, 1.5, dice));
        let part = |said: &[Said], of: fn(&Said) -> bool| Rate::count(said.iter().map(of));
        let open = part(&alike, |said| matches!(said.ours, GaugeOutcome::Inconclusive(_)));
        let degraded = |said: &Said| said.ours == GaugeOutcome::Degraded;
        rows.push(vec![
            format!("AR({memory})"),
            part(&alike, |said| said.kayenta).to_string(),
            part(&alike, degraded).to_string(),
            percent(open.part()),
            part(&limit, degraded).to_string(),
            part(&worse, degraded).to_string(),
            part(&alike, |said| said.sign.is_some()).to_string(),
            part(&limit, |said| said.sign.is_some()).to_string(),
            Times::of(worse.iter().map(|said| said.sign)).to_string(),
        ]);
    }
    let heads = [
        "samples",
        "alike: Kayenta each 5 minutes, half an hour",
        "alike: **ours**",
        "alike: inconclusive",
        "on the limit: **ours**",
        "1.5×: **ours**",
        "alike: sign test",
        "on the limit: sign test",
        "1.5×: sign test, s 10/50/90 %",
    ];
    format!(
        "A gauge sampled every 15 s, spreading by 10 % around its level, for an hour on both sides. \
         Ours looks once, at the end, at blocks as long as the serving side's hour before asks for; \
         the sign test looks after every two minutes. Both tolerate 10 % and have α = 1 %.\n\n{}{}",
        table(&heads, &rows),
        source(rollouts, seed, seed + 23)
    )
}

fn play(memory: f64, factor: f64, dice: &mut Dice) -> Said {
    let before = series(memory, 1.0, dice);
    let serving = series(memory, 1.0, dice);
    let test = series(memory, factor, dice);
    let autocorrelation = autocorrelation(&before).unwrap_or(1.0);
    let block = block_length(autocorrelation);
    let settings = GaugeSettings { block, autocorrelation, ..GaugeSettings::default() };
    let means = |samples: &[f64]| block_means(samples, BLOCK);
    let signs: Vec<i8> = means(&test)
        .into_iter()
        .zip(means(&serving))
        .map(|(ours, theirs)| sign_of(ours, theirs, 1.1))
        .collect();
    let sure = sign_e(&signs, &SIGN_BETS).into_iter().position(|ln_e| ln_e >= 100f64.ln());
    let half = SAMPLES / 2;
    Said {
        kayenta: kayenta_on(&test[..half], &serving[..half], SAMPLE_SECS).is_some(),
        ours: gauge(&serving, &test, &settings).outcome,
        sign: sure.map(|at| (at + 1) as f64 * BLOCK as f64 * SAMPLE_SECS),
    }
}

fn series(memory: f64, level: f64, dice: &mut Dice) -> Vec<f64> {
    let mut mood = dice.normal();
    (0..SAMPLES)
        .map(|_| {
            mood = memory * mood + (1.0 - memory * memory).sqrt() * dice.normal();
            level * (1.0 + SPREAD * mood)
        })
        .collect()
}
