//! `make bench`: measures what the engine costs, and writes `tests/bench/RESULTS.md`.
//!
//! It reports and never judges: no figure makes it fail. Each fleet is measured in a process of its
//! own, so that memory is counted from nothing. `TRIALS` sets how many faults are injected (32).

#![allow(clippy::print_stdout, reason = "it speaks to people")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use haldane_tests::{
    app::App,
    bench::{
        binary, breach, cluster, cost,
        fleet::{self, Kind, Load},
        fold, host, loops,
        reaction::{self, Reaction},
        report::{self, Fleet, Results},
    },
};

/// Where the figures go.
const RESULTS: &str = "tests/bench/RESULTS.md";
const CLUSTER_RESULTS: &str = "tests/bench/CLUSTER.md";

/// How many trials are made unless `TRIALS` says otherwise.
const TRIALS: usize = 30;

/// How long real loops are measured: one period of what they do.
const REAL_REST: u64 = 30;
const REAL_BAKING: u64 = 60;
/// A few loops take so little that less will do.
const REAL_FEW: u64 = 10;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["app", port, version] => App::serve(port.parse().expect("a port"), version),
        [how @ ("fleet" | "loops"), count, kind, interval, span] => {
            let load = one_fleet(how, count, kind, interval, span);
            println!("{}", load.to_line());
        }
        ["decide"] => decide(),
        ["fold"] => println!("{}", report::foldings(&fold::measure())),
        ["breach", trials] => {
            let trials = breach::measure(&own_program(), trials.parse().expect("a count"));
            println!("{}", report::trials(&trials));
        }
        ["reaction", trials] => {
            let trials = trials.parse().expect("a count");
            println!("{}", report::reactions(&reactions(&own_program(), trials)));
        }
        ["cluster", rollouts] => {
            let haldane = own_program().with_file_name("haldane");
            let cost = cluster::measure(&haldane, rollouts.parse().expect("a count"), 10, 10);
            let page = cost.page();
            // What took long to measure is shown, whether it can be kept or not.
            println!("{page}");
            fs::write(CLUSTER_RESULTS, &page).expect("the page can be written");
        }
        [] => return write_up(),
        _ => {
            println!(
                "usage: bench, bench decide, bench fold, bench breach TRIALS, bench reaction TRIALS, or bench cluster ROLLOUTS"
            );
            return ExitCode::from(64);
        }
    }
    ExitCode::SUCCESS
}

fn one_fleet(how: &str, count: &str, kind: &str, interval: &str, span: &str) -> Load {
    let count = count.parse().expect("a count");
    let kind = Kind::parse(kind).expect("a kind of fleet");
    let interval = interval.parse().expect("seconds");
    let span = Duration::from_secs(span.parse().expect("seconds"));
    match how {
        "fleet" => fleet::run(count, kind, interval, span),
        _ => loops::run(count, kind, interval, span),
    }
}

fn reactions(program: &Path, trials: usize) -> Vec<Reaction> {
    let sources = reaction::SOURCES.iter().filter(|_| trials > 0);
    sources
        .map(|source| {
            println!("from a fault to weight 0 by {}: {trials} trials", source.kind);
            reaction::measure(program, source, trials)
        })
        .collect()
}

fn own_program() -> PathBuf {
    env::current_exe().expect("a program knows itself")
}

/// Shows the cost of a decision alone.
fn decide() {
    for cost in cost::measure() {
        println!("{:<40} {:>7.0} ns", cost.turn, cost.nanos.median());
    }
}

fn write_up() -> ExitCode {
    let program = own_program();
    let hurried = host::hurry();
    let machine = host::describe();
    println!("the cost of a decision");
    let costs = cost::measure();
    println!("the cost of judging window by window");
    let folding = fold::measure();
    println!("the binary");
    let binary = binary::measure(&program.with_file_name("haldane"));
    let mut failed = Vec::new();
    let fleets = fleets(&program, &mut failed);
    let loops = real_loops(&program, &mut failed);
    let trials = env::var("TRIALS").ok().and_then(|text| text.parse().ok()).unwrap_or(TRIALS);
    println!("from a fault to weight 0: {trials} trials of a quarter of a minute each");
    let reactions = reactions(&program, trials);
    let trials = (trials > 0).then(|| breach::measure(&program, trials));
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let results = Results {
        date,
        host: machine,
        hurried,
        costs,
        folding,
        fleets,
        loops,
        failed,
        trials,
        reactions,
        binary,
    };
    let text = report::write(&results);
    println!("\n{text}");
    match fs::write(RESULTS, text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{RESULTS} cannot be written: {error}");
            ExitCode::FAILURE
        }
    }
}

fn fleets(program: &Path, failed: &mut Vec<String>) -> Vec<Fleet> {
    let mut all = Vec::new();
    // Fewer rollouts run for longer, so that each figure rests on enough turns.
    for (count, minutes) in [(1, 600), (100, 30), (1_000, 4), (10_000, 1)] {
        let kinds = [(Kind::Rest, 60), (Kind::Baking, 60), (Kind::Baking, 10)];
        for (kind, interval) in kinds {
            let longer = if kind == Kind::Rest { 10 } else { 1 };
            all.extend(ask(program, failed, "fleet", count, kind, interval, minutes * longer * 60));
        }
    }
    all.extend(ask(program, failed, "fleet", 100, Kind::BakingAsked, 60, 3_600));
    all
}

fn real_loops(program: &Path, failed: &mut Vec<String>) -> Vec<Fleet> {
    let mut all = Vec::new();
    for count in [1, 100, 1_000, 10_000] {
        for (kind, period) in [(Kind::Rest, REAL_REST), (Kind::Baking, REAL_BAKING)] {
            let span = if count < 10_000 { REAL_FEW } else { period };
            all.extend(ask(program, failed, "loops", count, kind, 60, span));
        }
    }
    all
}

/// Measures one fleet in a process of its own.
fn ask(
    program: &Path,
    failed: &mut Vec<String>,
    how: &str,
    count: usize,
    kind: Kind,
    interval_secs: u64,
    span_secs: u64,
) -> Option<Fleet> {
    println!("{how}: {count} rollouts, {}, {interval_secs} s", kind.word());
    let numbers = [count.to_string(), interval_secs.to_string(), span_secs.to_string()];
    let [counted, interval, span] = numbers;
    let asked = Command::new(program).args([how, &counted, kind.word(), &interval, &span]).output();
    let asked = asked.expect("a program can start itself");
    let told = String::from_utf8_lossy(&asked.stdout);
    let load = Load::from_line(told.trim());
    if load.is_none() {
        let why = String::from_utf8_lossy(&asked.stderr);
        let why = why.lines().nth(1).unwrap_or("no reason was given").to_owned();
        println!("FAILED: {why}");
        failed.push(format!("{how}, {count} rollouts, {}, {interval_secs} s: {why}", kind.word()));
    }
    load.map(|load| Fleet { count, kind, interval_secs, load })
}
