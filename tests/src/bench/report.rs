//! The answers, written up: `tests/bench/RESULTS.md`.

use std::fmt::Write as _;

use super::{
    binary::Binary,
    breach::{OURS, PHASES, Trials},
    cost::Cost,
    fleet::{Kind, Load},
    fold::Folding,
    reaction::Reaction,
    spread::Spread,
};

/// A decision takes less than this.
const DECIDE_NANOS: f64 = 2_000.0;
/// What 10 000 idle rollouts may take.
const RESIDENT_MB: f64 = 150.0;
const CORE_PERCENT: f64 = 5.0;
/// What of a rollback is ours, apart from the wait for the guard's pace.
const OURS_MILLIS: f64 = 50.0;
/// One window of one metric, and 10 000 metrics at 5 s windows.
const FOLD_MICROS: f64 = 1.0;
/// The goal is about errors: few processes, and many.
const GOALS_OF_FOLDING: usize = 2;
/// The binary.
const BINARY_MB: f64 = 20.0;
const START_MILLIS: f64 = 50.0;

/// Everything that was measured.
#[derive(Clone, Debug)]
pub struct Results {
    /// When, as a date.
    pub date: String,
    /// The machine.
    pub host: Vec<(&'static str, String)>,
    /// Whether this process ran before others.
    pub hurried: bool,
    /// The cost of a decision.
    pub costs: Vec<Cost>,
    /// What it costs to judge window by window.
    pub folding: Folding,
    /// Fleets without I/O.
    pub fleets: Vec<Fleet>,
    /// Fleets on real loops.
    pub loops: Vec<Fleet>,
    /// Fleets that could not be measured, and why.
    pub failed: Vec<String>,
    /// From fault to weight 0.
    pub trials: Option<Trials>,
    /// How long users meet failures, by source.
    pub reactions: Vec<Reaction>,
    /// The binary.
    pub binary: Binary,
}

/// One fleet.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    /// How many rollouts.
    pub count: usize,
    /// What they do.
    pub kind: Kind,
    /// The guards' interval, in seconds.
    pub interval_secs: u64,
    /// What was measured.
    pub load: Load,
}

struct Goal {
    what: String,
    measured: f64,
    goal: f64,
    unit: &'static str,
}

/// Writes everything up.
#[must_use]
pub fn write(results: &Results) -> String {
    let mut text = String::new();
    head(&mut text, results);
    goals(&mut text, results);
    costs(&mut text, &results.costs);
    folding(&mut text, &results.folding);
    fleets(&mut text, results);
    for failed in &results.failed {
        line(&mut text, format_args!("**Not measured**: {failed}\n"));
    }
    if let Some(trials) = &results.trials {
        breach(&mut text, trials);
    }
    if !results.reactions.is_empty() {
        text.push_str(&reactions(&results.reactions));
    }
    binary(&mut text, &results.binary);
    text.push_str(HOW_TO_READ);
    text
}

/// Writes up the judging alone.
#[must_use]
pub fn foldings(measured: &Folding) -> String {
    let mut text = String::new();
    folding(&mut text, measured);
    text
}

/// Writes up the trials alone.
#[must_use]
pub fn trials(trials: &Trials) -> String {
    let mut text = String::new();
    breach(&mut text, trials);
    text
}

/// Writes up how long users meet failures.
#[must_use]
pub fn reactions(measured: &[Reaction]) -> String {
    let mut text = REACTIONS.to_owned();
    for Reaction { source, from_fault, from_bad, bad, .. } in measured {
        let [median, p95, max] = [0.5, 0.95, 1.0].map(|part| number(from_bad.quantile(part)));
        let fault = [0.5, 0.95, 1.0].map(|part| number(from_fault.quantile(part))).join(" / ");
        let goal = source.goal_millis;
        let verdict = verdict(from_bad.median(), goal);
        line(
            &mut text,
            format_args!(
                "| `{}` | {} | {} | {median} | {p95} | {max} | {goal:.0} | {verdict} | {fault} | {:.0} |",
                source.kind,
                source.set,
                from_bad.len(),
                bad.median(),
            ),
        );
    }
    for lost in measured.iter().flat_map(|reaction| &reaction.lost) {
        line(&mut text, format_args!("\n**Lost**: {lost}"));
    }
    text.push('\n');
    text
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("text takes text");
}

fn head(text: &mut String, results: &Results) {
    line(text, format_args!("# What it costs, measured\n"));
    line(text, format_args!("`make bench` measures and writes this page. {}.\n", results.date));
    for (what, fact) in &results.host {
        line(text, format_args!("- {what}: {fact}"));
    }
    let nice = if results.hurried { "with nice -5" } else { "at normal priority" };
    line(
        text,
        format_args!(
            "\nThe load average is what ran beside it as it began; the bench ran {nice}.\n"
        ),
    );
}

fn goals(text: &mut String, results: &Results) {
    line(text, format_args!("## Goals\n\n| figure | measured | goal | |\n|---|--:|--:|---|"));
    for Goal { what, measured, goal, unit } in list_goals(results) {
        let verdict = verdict(measured, goal);
        let (measured, goal) = (number(measured), number(goal));
        line(text, format_args!("| {what} | {measured} {unit} | {goal} {unit} | {verdict} |"));
    }
    text.push('\n');
}

fn verdict(measured: f64, goal: f64) -> String {
    if measured <= goal {
        "met".to_owned()
    } else {
        format!("**missed**, {:.1} times the goal", measured / goal)
    }
}

fn folding(text: &mut String, folding: &Folding) {
    text.push_str(FOLDING);
    line(text, format_args!("| check | a window | a look with one window |\n|---|--:|--:|"));
    for (kind, window, look) in &folding.kinds {
        line(text, format_args!("| {kind} | {} | {} |", number(*window), number(*look)));
    }
    let Folding { metrics, core_percent, .. } = folding;
    let share = number(*core_percent);
    line(text, format_args!("\n{metrics} metrics at 5 s windows take {share} % of one core.\n"));
}

fn list_goals(results: &Results) -> Vec<Goal> {
    let mut goals = Vec::new();
    let mut add = |what: String, measured: f64, goal: f64, unit| {
        goals.push(Goal { what, measured, goal, unit });
    };
    for cost in &results.costs {
        add(format!("`decide`, {}", cost.turn), cost.nanos.median(), DECIDE_NANOS, "ns");
    }
    for (kind, window, _) in results.folding.kinds.iter().take(GOALS_OF_FOLDING) {
        add(format!("one window of one metric, {kind}"), *window, FOLD_MICROS, "µs");
    }
    let metrics = format!("{} metrics at 5 s windows: one core", results.folding.metrics);
    add(metrics, results.folding.core_percent, CORE_PERCENT, "%");
    let large = |fleet: &&Fleet| {
        fleet.count == 10_000 && (fleet.kind == Kind::Rest || fleet.interval_secs == 60)
    };
    for (fleets, how) in [(&results.fleets, "loops without I/O"), (&results.loops, "real loops")] {
        for fleet in fleets.iter().filter(large) {
            if fleet.kind == Kind::BakingAsked {
                continue;
            }
            let name = format!("10 000 rollouts {}, {how}", fleet.name());
            add(format!("{name}: memory"), mb(fleet.load.resident), RESIDENT_MB, "MB");
            add(format!("{name}: one core"), fleet.load.core_percent(), CORE_PERCENT, "%");
        }
    }
    if let Some(trials) = &results.trials {
        let ours = trials.phases[OURS].quantile(0.99);
        add("bad sample looked at → weight 0, p99".to_owned(), ours, OURS_MILLIS, "ms");
    }
    for Reaction { source, from_bad, .. } in &results.reactions {
        let name = format!("first bad response → weight 0 by `{}`, median", source.kind);
        add(name, from_bad.median(), source.goal_millis, "ms");
    }
    add("release binary".to_owned(), mb(results.binary.bytes), BINARY_MB, "MB");
    let binary = &results.binary;
    add("`haldane version`, p90".to_owned(), binary.version.quantile(0.9), START_MILLIS, "ms");
    add("`haldane validate`, p90".to_owned(), binary.validate.quantile(0.9), START_MILLIS, "ms");
    goals
}

fn costs(text: &mut String, costs: &[Cost]) {
    line(text, format_args!("## One decision\n"));
    line(text, format_args!("Nanoseconds a call, over batches of 500 calls.\n"));
    line(text, format_args!("| turn | p10 | median | p90 |\n|---|--:|--:|--:|"));
    for Cost { turn, nanos } in costs {
        let [p10, p50, p90] = [0.1, 0.5, 0.9].map(|part| nanos.quantile(part));
        line(text, format_args!("| {turn} | {p10:.0} | {p50:.0} | {p90:.0} |"));
    }
    text.push('\n');
}

fn fleets(text: &mut String, results: &Results) {
    line(text, format_args!("## Many rollouts in one process\n"));
    line(text, format_args!("{FLEETS}"));
    line(
        text,
        format_args!(
            "| rollouts | doing | turns a second possible | µs a turn | one core | memory | bytes a rollout | requests to Prometheus a second, each | most in one second, all |"
        ),
    );
    line(text, format_args!("|--:|---|--:|--:|--:|--:|--:|--:|--:|"));
    for fleet in &results.fleets {
        let load = &fleet.load;
        line(
            text,
            format_args!(
                "| {} | {} | {:.0} | {:.2} | {} % | {:.1} MB | {} | {:.3} | {} |",
                fleet.count,
                fleet.name(),
                load.turns_per_second(),
                1e6 / load.turns_per_second(),
                number(load.core_percent()),
                mb(load.resident),
                fleet.bytes_each(),
                load.requests as f64 / load.seconds / fleet.count as f64,
                load.requests_max,
            ),
        );
    }
    if results.loops.is_empty() {
        return;
    }
    line(text, format_args!("\n{LOOPS}"));
    line(text, format_args!("| rollouts | doing | one core | memory | bytes a rollout |"));
    line(text, format_args!("|--:|---|--:|--:|--:|"));
    for fleet in &results.loops {
        line(
            text,
            format_args!(
                "| {} | {} | {} % | {:.1} MB | {} |",
                fleet.count,
                fleet.name(),
                number(fleet.load.core_percent()),
                mb(fleet.load.resident),
                fleet.bytes_each(),
            ),
        );
    }
    text.push('\n');
}

fn breach(text: &mut String, trials: &Trials) {
    let count = trials.phases[OURS].len();
    line(text, format_args!("## From a fault to weight 0\n"));
    line(text, format_args!("{count} trials, milliseconds. {BREACH}"));
    line(
        text,
        format_args!("| phase | whose time | p50 | p90 | p99 | max |\n|---|---|--:|--:|--:|--:|"),
    );
    for ((what, whose), spread) in PHASES.iter().zip(&trials.phases) {
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|part| spread.quantile(part));
        let max = spread.max();
        line(
            text,
            format_args!("| {what} | {whose} | {p50:.1} | {p90:.1} | {p99:.1} | {max:.1} |"),
        );
    }
    if let Some((queries, looks)) = trials.queries {
        line(
            text,
            format_args!(
                "\nWhile it bakes at 1 s, Prometheus counts {queries:.2} requests a second to its query API, for {looks:.2} looks."
            ),
        );
    }
    if trials.late.is_empty() {
        line(text, format_args!("\nNo guard came late, and none was told a wrong pace."));
    }
    for late in &trials.late {
        line(text, format_args!("\n**Late**: {late}"));
    }
    for lost in &trials.lost {
        line(text, format_args!("\n**Lost**: {lost}"));
    }
    text.push('\n');
}

fn binary(text: &mut String, binary: &Binary) {
    line(text, format_args!("## The binary\n"));
    line(text, format_args!("{:.1} MB. Milliseconds from start to end:\n", mb(binary.bytes)));
    line(text, format_args!("| command | p50 | p90 | max |\n|---|--:|--:|--:|"));
    let row = |text: &mut String, what: &str, spread: &Spread| {
        let [p50, p90, max] = [spread.median(), spread.quantile(0.9), spread.max()];
        line(text, format_args!("| {what} | {p50:.1} | {p90:.1} | {max:.1} |"));
    };
    row(text, "`haldane version`", &binary.version);
    row(text, "`haldane validate`, one rollout", &binary.validate);
    text.push('\n');
}

// === impl Fleet ===

impl Fleet {
    fn name(&self) -> String {
        let every = self.interval_secs;
        match self.kind {
            Kind::Rest => "at rest".to_owned(),
            Kind::Baking => format!("baking, {every} s"),
            Kind::BakingAsked => format!("baking, {every} s, with revisionQuery"),
        }
    }

    fn bytes_each(&self) -> u64 {
        let count = u64::try_from(self.count).unwrap_or(1).max(1);
        self.load.resident.saturating_sub(self.load.before) / count
    }
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Shows three digits or so.
fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

const FOLDING: &str = "## Judging window by window

Microseconds of the processor. A window alone is what folding it takes, among many in one look; a look reads what it is told and
makes its sentence besides. Evidence stays in memory as the judge thinks of it, and is written down every third window, as a record is.

";

const FLEETS: &str = "Without I/O: the loops alone, on a clock that is told, with good answers at once. Every rollout has a
plan of its own, two checks and one traffic entry; its record was loaded, as after a restart. A turn is one input taken in.
\"One core\" is processor time by simulated time. Requests are counted as the Prometheus source asks: two or three a look.
";

const LOOPS: &str = "On real loops: tasks, channels and timers of tokio in real time; provider, source and store answer from memory.
Of 10 000 one period is measured: 30 s at rest, a minute where guards look every minute; of fewer 10 s.
";

const BREACH: &str = "A real Prometheus scrapes every second, a real HAProxy carries 400 requests a second, the
rollout stands at 25 % with two checks a second; then half of the new version's answers fail. The guard looks on a fixed grid:
what it waits for is its pace, and what follows is ours.
";

const REACTIONS: &str = "## How long users meet failures, by source

Milliseconds to weight 0 in HAProxy, which carries 400 requests a second, a quarter of them to the new version; from one moment on
half of its answers fail, and one check, `errors: {max: \"1%\"}`, looks at it. What remains is the wait for the next sample, and for
the next look.

| source | how | trials | first bad response → 0: median | p95 | max | goal, median | | fault → 0: median / p95 / max | bad responses, median |
|---|---|--:|--:|--:|--:|--:|---|--:|--:|
";

const HOW_TO_READ: &str = "## How to read this

- A goal compares one figure with one number; nothing fails where it is missed, the gap is told. Figures move with the machine
  and with what else runs on it: compare runs of one machine, and medians rather than tails.
- Memory is what is resident, allocator and program included; bytes a rollout is the difference that the fleet made.
- `p99` of fewer than a hundred trials is their worst.
- HAProxy's weight is witnessed from outside every 5 ms, and the first bad sample is looked for every 8 ms: a phase that ends
  with the one is told up to 6 ms too long, one that begins with the other up to 10 ms too long.
- Guards of one interval look at the same moments, on purpose: \"most in one second\" is what a source must bear at once.
- Where goals are missed. Memory: ten thousand records, pinned plans and last answers are 13 kB each at rest and 20 kB in a bake, and
  the tasks and channels of a real loop 8 kB more; the goal leaves 15 kB. Processor: two thirds of what real loops take are timers
  and wake-ups, not decisions. The binary had 19.7 MB before CEL, JSONPath, the monitoring services and the pictures came.
";
