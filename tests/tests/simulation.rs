//! Seeds: each a history of one rollout with faults, crashes and people, and then peace.
//!
//! `SEEDS=n` lives through so many, `SEED=x` through one, with its whole history printed. Every cell
//! of the table, a state, a fault and a verdict, must be met, or be excused in `sim/cover.rs`.

use std::{
    env,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use haldane_model::{State, Verdict};
use haldane_tests::sim::{cover::Cover, live};

/// How many seeds are lived through where nobody says.
const SEEDS: u64 = 20_000;

/// After how many broken seeds a thread gives up.
const BROKEN_MAX: usize = 8;

/// How many threads there are.
const THREADS: u64 = 2;

/// How often a run says how far it is.
const SAYS_EVERY: Duration = Duration::from_secs(20);

/// How far a run is.
struct Progress {
    begun: Instant,
    said: Mutex<Instant>,
    done: AtomicU64,
    seeds: u64,
}

// === impl Progress ===

impl Progress {
    fn new(seeds: u64) -> Self {
        let begun = Instant::now();
        Self { begun, said: Mutex::new(begun), done: AtomicU64::new(0), seeds }
    }

    fn one_more(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if let Ok(mut said) = self.said.try_lock()
            && said.elapsed() >= SAYS_EVERY
        {
            *said = Instant::now();
            let pace = done as f64 / self.begun.elapsed().as_secs_f64();
            eprintln!("{done} of {} seeds, {pace:.0} seeds/s", self.seeds);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// Lives through one thread's share of the seeds; returns those that broke something.
fn some(first: u64, progress: &Progress, cover: &Mutex<(Cover, u64)>) -> Vec<(u64, String)> {
    let (mut mine, mut inputs) = (Cover::default(), 0);
    let mut broken = Vec::new();
    for seed in (first..progress.seeds).step_by(THREADS as usize) {
        let ended = live(seed, false);
        mine.add(&ended.cover);
        inputs += ended.inputs;
        progress.one_more();
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
    let progress = Progress::new(seeds);
    let broken: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|first| {
                scope.spawn({
                    let (cover, progress) = (&cover, &progress);
                    move || some(first, progress, cover)
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let (cover, inputs) = cover.into_inner().unwrap();
    let took = progress.begun.elapsed().as_secs_f64();
    eprintln!("{}\n{}", cover.table(), cover.summary());
    eprintln!("ends: {:?}; {inputs} inputs; {seeds} seeds in {took:.1} s", cover.ends);
    if seeds >= SEEDS && broken.is_empty() {
        assert!(cover.gaps().is_empty(), "{}", cover.gaps().join("\n"));
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

#[test]
fn an_empty_cell_is_told_unless_it_is_rare_and_the_table_says_why() {
    let mut cover = Cover::default();
    cover.note(State::Pending, "crash", Some(Verdict::CanaryLost));
    let gaps = cover.gaps();
    let told = |what: &str| gaps.iter().any(|gap| gap.starts_with(what));
    assert!(!told("never met: Pending × crash × CanaryLost"), "{gaps:?}");
    assert!(told("never met: Baking × clock × Pass"), "{gaps:?}");
    assert!(!told("never met: Promoting × write hangs × Pass"), "{gaps:?}");
    assert!(cover.table().contains("(0) Promoting × write hangs × Pass: what others lower there"));
}

#[test]
fn a_process_whose_record_another_one_let_go_does_not_spin() {
    assert_eq!(live(74_620, false).violation, None);
}
