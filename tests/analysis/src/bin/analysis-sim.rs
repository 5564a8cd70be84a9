//! `analysis-sim`: plays the analysis against others on simulated traffic and writes
//! `analysis/judge/VALIDATION.md`.
//!
//! `analysis-sim [ROLLOUTS] [CHAPTER]`: how many rollouts a cell about false rollbacks has (20 000),
//! and which chapter alone, to standard output. The same number gives the same page on any number
//! of threads; `HALDANE_SIM_THREADS` sets it (2).

use std::{env, error::Error, fs, num::NonZeroUsize, path::Path};

use haldane_analysis_tests::sim::{
    chapters::{self, CHAPTERS},
    run::Plan,
};

const ROLLOUTS: usize = 20_000;
const THREADS: NonZeroUsize = NonZeroUsize::new(2).expect("2 is not zero");

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let rollouts = match arguments.next() {
        Some(rollouts) => rollouts.parse().map_err(|_| usage(&rollouts))?,
        None => ROLLOUTS,
    };
    let threads = match env::var("HALDANE_SIM_THREADS") {
        Ok(threads) => threads.parse().map_err(|_| usage(&threads))?,
        Err(_) => THREADS,
    };
    let plan = Plan { rollouts: rollouts.max(100), threads };
    if let Some(chapter) = arguments.next() {
        let at: usize = chapter.parse().map_err(|_| usage(&chapter))?;
        if !(1..=CHAPTERS.len()).contains(&at) {
            return Err(usage(&chapter).into());
        }
        println!("{}", chapters::write(at - 1, &plan));
        return Ok(());
    }
    let mut page = PREFACE.to_owned();
    for (at, chapter) in CHAPTERS.iter().enumerate() {
        println!("{}. {}", at + 1, chapter.title);
        page.push_str(&chapters::write(at, &plan));
    }
    page.push_str(LIMITS);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../analysis/judge/VALIDATION.md");
    fs::write(&path, page)?;
    println!("wrote {}", path.display());
    Ok(())
}

fn usage(got: &str) -> String {
    let chapters = CHAPTERS.len();
    format!(
        "cannot read {got:?}: analysis-sim [ROLLOUTS] [CHAPTER], whole numbers, chapters 1 to {chapters}"
    )
}

const PREFACE: &str = "\
# How the analysis was validated

Made by `make analysis-sim`; do not edit. Every number comes from simulated traffic and fixed seeds, so \
that the page can be made again; it says nothing about how fast anything runs.

**What is played.** Requests of both sides arrive as Poisson counts in windows of 5 s, and each fails \
by itself with its side's rate, where nothing else is said. The side under test has 10 % of the traffic. \
A rollout lasts half an hour. Every rule sees the same rollouts: \"ours\" is the judge's own process \
(regression at α = 1 %, tolerance 10 % + 0.02 percentage points, burst guard of two windows, looked at \
after every window); Flagger, Argo Rollouts, the z-test and Kayenta are written from their sources with \
the settings of their defaults or tutorials. Tuned, they can do better on one service, and worse once its \
usual rate moves.

**How sure the numbers are.** A part is given with its 95 % interval after Wilson; N is how many rollouts \
each cell has; each column (each row, where rows differ in traffic) has a seed of its own. Times are \
10/50/90 % of rollouts, one number where they are the same; \u{2013} is \"not in the time simulated\".

";

const LIMITS: &str = "\
## What this does not show

No production traffic: every rate rests on the generators above. A regression of twice the errors takes \
long at 50 rps and 10 %, and no method that keeps its promise about false rollbacks does much better: \
more traffic or a larger share is what helps. Errors of a single process that persist (last row of \
chapter 4) cannot be told from a bad version by counting; two processes of the new version, or more, help.

Two promises hold only nearly, both in chapter 10. A gauge that lies exactly on its limit is called degraded \
up to three times as often as α says, because blocks still remember a little of the one before; and the sign \
test's promise is that of independent blocks: two minutes are too short for a gauge that remembers 95 % of \
the last sample. A gauge that is not worse meets neither, and a gauge is meant to hold a step, not to roll back.
";
