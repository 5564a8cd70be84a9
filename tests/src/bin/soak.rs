//! `make soak`: one rollout after another against real servers, for `HOURS` (default 1, `0.05` will
//! do), while the engine is killed, the map is edited by hand and Prometheus is restarted.
//!
//! Prints a line a release. Fails where a release ends wrongly, or where a request fails that no
//! injected fault explains. `SEED` repeats a run's choices.

#![allow(clippy::print_stdout, reason = "it speaks to people")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use haldane_tests::{
    app::App,
    load::{Failure, Load},
    rollout::{self, Run},
    stage::{SIDES, Shares, Stage},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;

/// Requests a second.
const LOAD: u64 = 300;

/// No release takes longer.
const RELEASE_MAX: Duration = Duration::from_secs(240);

/// How long a new process is left alone before its rollout begins.
const SETTLE: Duration = Duration::from_secs(5);

/// A fault is answered by weight 0 within this, whatever else happens.
const BACK_MAX: Duration = Duration::from_secs(60);

/// What is done to a release while it is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// The engine is killed, and started again.
    KillEngine,
    /// Somebody gives the new version all traffic by hand.
    RaiseByHand,
    /// Somebody takes a little of the new version's traffic by hand.
    LowerByHand,
    /// Prometheus is killed, and started again.
    RestartPrometheus,
}

/// One release.
struct Release {
    number: u32,
    version: String,
    side: &'static str,
    /// Whether the new version fails, from its second step on.
    bad: bool,
    troubles: Vec<(Duration, Trouble)>,
}

/// How a release went.
struct Outcome {
    end: String,
    wanted: bool,
    took: Duration,
    kills: u32,
    back: Option<Duration>,
    failures: usize,
    unexplained: usize,
}

struct Soak {
    stage: Stage,
    load: Load,
    haldane: PathBuf,
    random: StdRng,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [command, port, version] = arguments.as_slice()
        && command == "app"
    {
        App::serve(port.parse().expect("a port"), version);
        return ExitCode::SUCCESS;
    }
    let hours: f64 = variable("HOURS").unwrap_or(1.0);
    let seed: u64 = variable("SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("for {hours} hours; SEED={seed} repeats the choices");
    let program = env::current_exe().expect("a program knows itself");
    let mut soak = Soak::start(&program, seed);
    let end = Instant::now() + Duration::from_secs_f64(hours * 3_600.0);
    let (mut number, mut wrong) = (0, 0);
    while Instant::now() < end {
        number += 1;
        let release = soak.next(number);
        let outcome = soak.roll_out(&release);
        wrong += u32::from(!tell(&release, &outcome));
        if wrong > 0 {
            soak.keep_evidence(&release);
            break;
        }
    }
    println!("{number} releases, {} requests, {wrong} wrong", soak.load.requests());
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Prints one release's line. Returns whether it was as it should be.
fn tell(release: &Release, outcome: &Outcome) -> bool {
    let slow = outcome.back.is_some_and(|back| back > BACK_MAX);
    let good = outcome.wanted && outcome.unexplained == 0 && !slow;
    let kind = if release.bad { "bad" } else { "good" };
    let back = outcome.back.map_or_else(|| "-".to_owned(), |back| format!("{back:.1?}"));
    println!(
        "{} {:>3} {:<4} on {:<5} {:<12} in {:>5.1} s, back in {back}, {} kills, troubles {:?}, {} failed of which {} unexplained",
        if good { "ok    " } else { "FAILED" },
        release.number,
        kind,
        release.side,
        outcome.end,
        outcome.took.as_secs_f64(),
        outcome.kills,
        release.troubles.iter().map(|(_, trouble)| trouble).collect::<Vec<_>>(),
        outcome.failures,
        outcome.unexplained,
    );
    good
}

// === impl Soak ===

impl Soak {
    fn start(program: &Path, seed: u64) -> Self {
        let stage = Stage::start(program);
        let load = Load::start(stage.port, LOAD);
        let haldane = program.with_file_name("haldane");
        Self { stage, load, haldane, random: StdRng::seed_from_u64(seed) }
    }

    /// Draws the next release, on the side that has no traffic.
    fn next(&mut self, number: u32) -> Release {
        let side = if self.stage.green_share() == Some(0) { SIDES[1] } else { SIDES[0] };
        let count = self.random.random_range(0..=3);
        let mut troubles: Vec<_> = (0..count).map(|_| self.trouble()).collect();
        troubles.sort_by_key(|(at, _)| *at);
        // Three edits within five minutes are a conflict, which is for a person to end.
        let mut edits = 0;
        troubles.retain(|(_, trouble)| {
            edits += u32::from(trouble.is_edit());
            !trouble.is_edit() || edits <= 1
        });
        let bad = self.random.random_bool(0.4);
        Release { number, version: format!("r{number}"), side, bad, troubles }
    }

    fn trouble(&mut self) -> (Duration, Trouble) {
        let kinds = [
            Trouble::KillEngine,
            Trouble::KillEngine,
            Trouble::RaiseByHand,
            Trouble::LowerByHand,
            Trouble::RestartPrometheus,
        ];
        let trouble = kinds[self.random.random_range(0..kinds.len())];
        (Duration::from_millis(self.random.random_range(3_000..25_000)), trouble)
    }

    fn roll_out(&mut self, release: &Release) -> Outcome {
        self.stage.deploy(release.side, &release.version);
        thread::sleep(SETTLE);
        let file = self.write_rollout(release);
        let failed_before = self.load.failures().len();
        let shares = self.stage.follow(release.side);
        let begin = Instant::now();
        let mut engine = self.run(&file);
        let mut troubles = release.troubles.clone();
        let (mut kills, mut injected) = (0, None);
        let code = loop {
            if let Some(code) = engine.ended() {
                break code;
            }
            if begin.elapsed() > RELEASE_MAX {
                break None;
            }
            if release.bad && injected.is_none() && shares.now() >= 2_500 {
                injected = Some(Instant::now());
                self.stage.inject(release.side, "error_rate=0.2");
            }
            if troubles.first().is_some_and(|(at, _)| begin.elapsed() >= *at) {
                let (_, trouble) = troubles.remove(0);
                if trouble == Trouble::KillEngine {
                    kills += 1;
                    drop(engine);
                    thread::sleep(Duration::from_millis(self.random.random_range(50..2_000)));
                    engine = self.run(&file);
                } else {
                    self.make(trouble, release.side, &shares);
                }
            }
            thread::sleep(Duration::from_millis(20));
        };
        thread::sleep(Duration::from_secs(1));
        let failures = self.load.failures().split_off(failed_before);
        let unexplained = failures.iter().filter(|failure: &&Failure| !failure.injected).count();
        let zero = injected.and_then(|moment| shares.zero_after(moment));
        let expected = if release.bad && injected.is_some() { (10, 0) } else { (0, 10_000) };
        Outcome {
            end: rollout::outcome(code),
            wanted: (code, shares.now()) == (Some(expected.0), expected.1),
            took: begin.elapsed(),
            kills,
            back: injected.map(|moment| zero.map_or(Duration::MAX, |zero| zero - moment)),
            failures: failures.len(),
            unexplained,
        }
    }

    fn make(&mut self, trouble: Trouble, side: &str, shares: &Shares) {
        let now = shares.now();
        // A hand at rest, or at the ends, means something else: all or nothing is an order.
        let is_between = now > 0 && now < 10_000;
        let share = match trouble {
            Trouble::KillEngine => return,
            Trouble::RestartPrometheus => {
                self.stage.kill_prometheus();
                thread::sleep(Duration::from_millis(self.random.random_range(100..3_000)));
                return self.stage.start_prometheus();
            }
            Trouble::RaiseByHand => (now + 2_000).min(9_000),
            Trouble::LowerByHand => now / 2,
        };
        if is_between {
            let green = if side == SIDES[1] { share } else { 10_000 - share };
            let map = self.stage.map();
            let _ = self.stage.admin(&format!("set map {} app {green}", map.display()));
        }
    }

    fn run(&self, file: &Path) -> Run {
        Run::start(&self.haldane, &self.stage, file, Some(&self.log()))
    }

    fn log(&self) -> PathBuf {
        self.stage.folder().join("engine.log")
    }

    /// Shows what the engine said last, before the stage is taken down.
    fn keep_evidence(&self, release: &Release) {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.len().saturating_sub(60);
        println!("--- the engine's last words in release {}:", release.number);
        for line in &lines[last..] {
            println!("{line}");
        }
    }

    fn write_rollout(&self, release: &Release) -> PathBuf {
        let steps = [10, 25, 50, 100].map(|weight| json!({"weight": weight, "bake": "4s"}));
        let more = json!({"steps": steps, "watch": "3s"});
        let version = &release.version;
        let document = rollout::document(&self.stage, version, &[rollout::errors()], &more);
        rollout::write(&self.stage, &document)
    }
}

// === impl Trouble ===

impl Trouble {
    fn is_edit(self) -> bool {
        match self {
            Self::RaiseByHand | Self::LowerByHand => true,
            Self::KillEngine | Self::RestartPrometheus => false,
        }
    }
}
