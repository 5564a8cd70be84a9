//! Seeds: each a history of one rollout with faults, crashes and people, and then peace.
//!
//! `SEEDS=n` lives through so many, `SEED=x` through one, with its whole history printed.

use std::{env, sync::Mutex, thread};

use haldane_tests::sim::{cover::Cover, live};

/// How many seeds are lived through where nobody says.
const SEEDS: u64 = 20_000;

/// After how many broken seeds a thread gives up.
const BROKEN_MAX: usize = 8;

/// How many threads there are.
const THREADS: u64 = 2;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// Lives through one thread's share of the seeds; returns those that broke something.
fn some(first: u64, count: u64, cover: &Mutex<(Cover, u64)>) -> Vec<(u64, String)> {
    let (mut mine, mut inputs) = (Cover::default(), 0);
    let mut broken = Vec::new();
    for seed in (first..count).step_by(THREADS as usize) {
        let ended = live(seed, false);
        mine.add(&ended.cover);
        inputs += ended.inputs;
        if let Some(what) = ended.violation {
            broken.push((seed, what));
            if broken.len() == BROKEN_MAX {
                break;
            }
        }
    }
    let mut all = cover.lock().unwrap();
    all.0.add(&mine);
    all.1 += inputs;
    broken
}

#[test]
fn every_history_keeps_the_promises_and_ends() {
    if let Some(seed) = number("SEED") {
        let ended = live(seed, true);
        eprintln!("{}", ended.trace.join("\n"));
        assert_eq!(ended.violation, None, "SEED={seed}");
        return;
    }
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let cover = Mutex::new((Cover::default(), 0));
    let begun = std::time::Instant::now();
    let broken: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|first| {
                scope.spawn({
                    let cover = &cover;
                    move || some(first, seeds, cover)
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let (cover, inputs) = cover.into_inner().unwrap();
    let took = begun.elapsed().as_secs_f64();
    eprintln!("{}", cover.table());
    eprintln!("ends: {:?}; {inputs} inputs; {seeds} seeds in {took:.1} s", cover.ends);
    if seeds >= SEEDS && broken.is_empty() {
        assert!(cover.gaps().is_empty(), "never met: {:?}", cover.gaps());
    }
    for (seed, what) in &broken {
        eprintln!("SEED={seed}: {what}");
    }
    if let Some((seed, what)) = broken.into_iter().min() {
        let trace = live(seed, true).trace;
        let tail = trace.len().saturating_sub(80);
        panic!("SEED={seed}: {what}\n{}", trace[tail..].join("\n"));
    }
}
