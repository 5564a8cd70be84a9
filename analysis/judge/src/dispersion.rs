//! Do errors come alone or in clumps? And does one process make them all?
//!
//! Requests that fail together are one event and not many. How large the clumps are is measured
//! on the serving side before an attempt, and what the bets win is divided by it. It never looks at
//! the attempt itself: what is measured there could be what is to be found.

use std::collections::BTreeMap;

use haldane_model::{Count, CountWindow};

/// The largest clumping that is believed; more says "something else is wrong", and would silence
/// every check.
pub const PHI_MAX: f64 = 25.0;
/// How many processes must be there to compare.
pub const PROCESSES_MIN: usize = 3;
/// How many errors must have been counted.
pub const ERRORS_MIN: f64 = 20.0;
/// Over how many windows errors may stay in one clump: from one to some minutes.
const BLOCKS: [usize; 4] = [1, 4, 12, 30];

/// What part of the errors of the side under test one process must have, to be the bad one.
pub const ONE_PROCESS: f64 = 0.8;
/// What part of the requests it may have had: most of the traffic makes most of the errors.
const ONE_PROCESS_TRAFFIC: f64 = 0.5;

/// Returns how many errors come at once: `φ`, at least 1 and at most [`PHI_MAX`]; `None` where there
/// is too little to tell by.
///
/// `at` names which number of [`Count::bad`] is meant. Source: Pearson's X² over its degrees of
/// freedom (McCullagh and Nelder, 1989), the largest over several block lengths. Each window's own
/// rate is compared with: what moves all processes alike is no clump.
#[must_use]
pub fn phi(before: &[CountWindow], at: usize) -> Option<f64> {
    let errors: f64 =
        before.iter().flat_map(|window| &window.serving).map(|one| bad(one, at)).sum();
    let most = before.iter().map(|window| window.serving.len()).max().unwrap_or(0);
    if errors < ERRORS_MIN || most < PROCESSES_MIN {
        return None;
    }
    let each = BLOCKS.into_iter().filter_map(|block| phi_of_blocks(before, at, block));
    Some(each.fold(1.0, f64::max).min(PHI_MAX))
}

/// Returns X² over its degrees of freedom for blocks of so many windows: 1 where errors come alone.
///
/// `None` without a whole block in which two processes had requests and one an error. Windows left
/// over at the end are left out.
#[must_use]
pub fn phi_of_blocks(before: &[CountWindow], at: usize, block: usize) -> Option<f64> {
    let (mut deviation, mut freedom) = (0.0, 0.0);
    for windows in before.chunks_exact(block.max(1)) {
        let mut processes: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for count in windows.iter().flat_map(|window| &window.serving) {
            let (errors, requests) = processes.entry(&count.process).or_default();
            *errors += bad(count, at);
            *requests += sane(count.total);
        }
        processes.retain(|_, (_, requests)| *requests > 0.0);
        let errors: f64 = processes.values().map(|(errors, _)| errors).sum();
        let requests: f64 = processes.values().map(|(_, requests)| requests).sum();
        if errors <= 0.0 || processes.len() < 2 {
            continue;
        }
        let rate = errors / requests;
        let off = |(errors, requests): &(f64, f64)| {
            let expected = requests * rate;
            (errors - expected).powi(2) / expected
        };
        deviation += processes.values().map(off).sum::<f64>();
        freedom += processes.len() as f64 - 1.0;
    }
    (freedom > 0.0).then_some(deviation / freedom)
}

/// Returns the one process that makes the errors of all, where there is one: more than four fifths
/// of at least ten errors, among three processes or more, with at most half of the requests.
///
/// `processes` gives the bad and all requests of each. A bad machine is no bad release: the caller
/// pauses and names the process, and does not roll back.
#[must_use]
pub fn one_bad_process<'a>(
    processes: impl Iterator<Item = (&'a str, f64, f64)>,
) -> Option<(&'a str, f64, f64)> {
    let (mut number, mut errors, mut requests) = (0, 0.0, 0.0);
    let mut worst = ("", 0.0, 0.0);
    for (name, bad, total) in processes {
        number += usize::from(total > 0.0);
        errors += bad;
        requests += total;
        if bad > worst.1 {
            worst = (name, bad, total);
        }
    }
    let (name, bad, total) = worst;
    let alone = bad > ONE_PROCESS * errors && total <= ONE_PROCESS_TRAFFIC * requests;
    (number >= PROCESSES_MIN && errors >= ERRORS_MIN / 2.0 && alone).then_some((name, bad, errors))
}

fn bad(count: &Count, at: usize) -> f64 {
    sane(count.bad.get(at).copied().unwrap_or(0.0))
}

fn sane(count: f64) -> f64 {
    if count.is_finite() { count.max(0.0) } else { 0.0 }
}
