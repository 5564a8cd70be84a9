//! The chapters of the validation: one file a question, each a table or two in Markdown.
//!
//! A chapter has a seed of its own; its columns, or rows, have the seeds that follow.

pub mod clumps;
mod detection;
pub mod false_rollbacks;
mod gauges;
pub mod late;
pub mod latency;
pub mod not_worse;
mod rollouts;
pub mod situations;
mod ten_metrics;

use std::fmt::Write as _;

use super::{
    rules::Rule,
    run::Plan,
    table::{Rate, Times},
    traffic::Scene,
};

/// The seeds of the chapters begin here, a hundred apart.
const SEED: u64 = 20_000;

/// One question, and its tables.
pub struct Chapter {
    /// The title.
    pub title: &'static str,
    /// Makes it.
    pub write: fn(&Plan, u64) -> String,
}

/// All chapters, in order.
pub const CHAPTERS: [Chapter; 10] = [
    Chapter { title: "Rolling back what is not worse", write: false_rollbacks::write },
    Chapter { title: "Finding what is worse", write: detection::write },
    Chapter { title: "Situations that look like a regression", write: situations::write },
    Chapter { title: "Errors that do not come one by one", write: clumps::write },
    Chapter { title: "Showing that it is not worse", write: not_worse::write },
    Chapter { title: "Latency", write: latency::write },
    Chapter { title: "Whole rollouts", write: rollouts::write },
    Chapter { title: "Regressions that begin late", write: late::write },
    Chapter { title: "Ten metrics, one of them worse", write: ten_metrics::write },
    Chapter { title: "Gauges that remember", write: gauges::write },
];

/// Makes the chapter at a place.
#[must_use]
pub fn write(at: usize, plan: &Plan) -> String {
    let chapter = &CHAPTERS[at];
    let seed = SEED + 100 * at as u64;
    let mut text = String::new();
    let _ = writeln!(text, "## {}. {}\n", at + 1, chapter.title);
    text.push_str(&(chapter.write)(plan, seed));
    text
}

/// Plays every rule on the same rollouts; for each rule, when it rolled back.
pub fn race(
    plan: &Plan,
    rollouts: usize,
    seed: u64,
    scene: &Scene,
    rules: &[(&str, Rule)],
) -> Vec<Vec<Option<f64>>> {
    let played = plan.run(rollouts, seed, |dice| {
        let windows = scene.play(dice);
        rules.iter().map(|(_, rule)| rule.first(&windows, scene.window_secs)).collect::<Vec<_>>()
    });
    (0..rules.len()).map(|rule| played.iter().map(|times| times[rule]).collect()).collect()
}

/// A table of rules by scenes: how often each rolled back.
fn rates(
    plan: &Plan,
    rollouts: usize,
    seed: u64,
    scenes: &[(&str, Scene)],
    rules: &[(&str, Rule)],
) -> String {
    cells(plan, rollouts, seed, scenes, rules, |times| {
        Rate::count(times.iter().map(Option::is_some)).to_string()
    })
}

/// A table of rules by scenes: when each rolled back.
fn times(
    plan: &Plan,
    rollouts: usize,
    seed: u64,
    scenes: &[(&str, Scene)],
    rules: &[(&str, Rule)],
) -> String {
    cells(plan, rollouts, seed, scenes, rules, |times| Times::of(times.iter().copied()).to_string())
}

fn cells(
    plan: &Plan,
    rollouts: usize,
    seed: u64,
    scenes: &[(&str, Scene)],
    rules: &[(&str, Rule)],
    show: impl Fn(&[Option<f64>]) -> String,
) -> String {
    let columns: Vec<Vec<String>> = scenes
        .iter()
        .zip(seed..)
        .map(|((_, scene), seed)| {
            race(plan, rollouts, seed, scene, rules).iter().map(|times| show(times)).collect()
        })
        .collect();
    let rows: Vec<Vec<String>> = rules
        .iter()
        .enumerate()
        .map(|(at, (name, _))| {
            std::iter::once((*name).to_owned())
                .chain(columns.iter().map(|column| column[at].clone()))
                .collect()
        })
        .collect();
    let heads: Vec<&str> =
        std::iter::once("").chain(scenes.iter().map(|(name, _)| *name)).collect();
    let last = seed + scenes.len() as u64 - 1;
    format!("{}{}", super::table::table(&heads, &rows), source(rollouts, seed, last))
}

/// Says below a table where its numbers come from.
fn source(rollouts: usize, first: u64, last: u64) -> String {
    let seeds =
        if first == last { format!("seed {first}") } else { format!("seeds {first} to {last}") };
    format!("\nN = {rollouts} a cell, {seeds}.\n\n")
}
