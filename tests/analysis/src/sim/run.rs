//! Many rollouts, by as many threads as are given.

use std::{num::NonZeroUsize, thread};

use super::dice::Dice;

/// How much is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many rollouts a cell about false rollbacks has; the others have a part of it.
    pub rollouts: usize,
    /// By how many threads.
    pub threads: NonZeroUsize,
}

// === impl Plan ===

impl Plan {
    /// Plays so many rollouts, each with dice of its own; the order is that of the rollouts, however
    /// many threads there are.
    pub fn run<T: Send>(
        &self,
        rollouts: usize,
        seed: u64,
        play: impl Fn(&mut Dice) -> T + Sync,
    ) -> Vec<T> {
        let threads = self.threads.get();
        let each = rollouts.div_ceil(threads).max(1);
        thread::scope(|scope| {
            let parts: Vec<_> = (0..threads)
                .map(|part| {
                    let (from, until) = (part * each, ((part + 1) * each).min(rollouts));
                    let play = &play;
                    let work = move || -> Vec<T> {
                        (from..until).map(|at| play(&mut Dice::new(seed, at as u64))).collect()
                    };
                    scope.spawn(work)
                })
                .collect();
            parts
                .into_iter()
                .flat_map(|part| part.join().expect("a rollout does not panic"))
                .collect()
        })
    }
}
