//! Whole rollouts: how long they take, and how many errors users get.

use crate::sim::{
    rollout::{End, Ended, Release},
    run::Plan,
    table::{Rate, Times, table},
};

const SHARES: [f64; 5] = [0.05, 0.1, 0.25, 0.5, 1.0];

pub(super) fn write(plan: &Plan, seed: u64) -> String {
    let releases = [
        (50.0, 0.005, 1.0),
        (50.0, 0.005, 2.0),
        (50.0, 0.005, 5.0),
        (50.0, 0.005, 20.0),
        (50.0, 0.005, 200.0),
        (500.0, 0.005, 1.0),
        (500.0, 0.005, 2.0),
        (500.0, 0.005, 5.0),
        (50.0, 0.0005, 1.0),
        (50.0, 0.0005, 5.0),
        (500.0, 0.0005, 5.0),
        (5.0, 0.005, 1.0),
        (5.0, 0.005, 5.0),
    ];
    let rollouts = plan.rollouts / 2;
    let mut rows = Vec::new();
    for ((rps, rate, factor), seed) in releases.into_iter().zip(seed..) {
        let release = Release { rps, rate, factor };
        let ours = plan.run(rollouts, seed, |dice| release.by_evidence(&SHARES, dice));
        let theirs = plan.run(rollouts, seed, |dice| release.by_flagger(dice));
        let change = match factor {
            1.0 => "alike".to_owned(),
            200.0 => "all fail".to_owned(),
            factor => format!("{factor}×"),
        };
        let name = format!("{rps} rps, {} %, {change}", 100.0 * rate);
        rows.push([vec![name], told(&ours), told(&theirs)].concat());
    }
    let heads = [
        "service, release",
        "by evidence: rolled back",
        "paused",
        "promoted",
        "median s",
        "errors",
        "Flagger: rolled back",
        "paused",
        "promoted",
        "median s",
        "errors",
    ];
    format!(
        "5, 10, 25, 50, 100 % by evidence, against 5 to 50 % by 5 a minute with Flagger (1 %, five \
         failures). By evidence a step ends once it is shown that errors stay below 1.5 times the \
         serving side's plus what is accepted at the next share (0.2 pp of all traffic), after at \
         least a minute and while the odds of a regression are below 10; after ten minutes it goes \
         on where the counts lie within that margin on at least 100 requests, and pauses otherwise. \
         Errors are the median number that the new version answered with.\n\n{}{}",
        table(&heads, &rows),
        super::source(rollouts, seed, seed + releases.len() as u64 - 1)
    )
}

fn told(ended: &[Ended]) -> Vec<String> {
    let part = |end: End| Rate::count(ended.iter().map(|ended| ended.end == end)).to_string();
    let median = |of: fn(&Ended) -> f64| {
        let middle = Times::of(ended.iter().map(|ended| Some(of(ended)))).quantile(0.5);
        middle.map_or_else(String::new, |middle| format!("{middle:.0}"))
    };
    vec![
        part(End::RolledBack),
        part(End::Paused),
        part(End::Promoted),
        median(|ended| ended.secs),
        median(|ended| ended.errors),
    ]
}
