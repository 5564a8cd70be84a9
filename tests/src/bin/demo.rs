//! The demo: six releases through a real HAProxy, gated on a real Prometheus.
//!
//! Four are judged by limits: a good one is promoted 10 -> 25 -> 50 -> 100; one that begins to fail at
//! 25 %, one that is slow and one whose process is killed at 50 % are rolled back. Two are compared
//! with the version that serves: one that errs less than the limit would see is rolled back, and one
//! that fails together with the version that serves is held until both recover. Prints a table, writes
//! `target/demo/report.json` and a picture of each release, makes every decision again from what was
//! recorded, and fails where an outcome is wrong, a weight change caused an error, a rollback by a limit
//! took too long, or a decision is not the same again.

#![allow(clippy::print_stdout, reason = "it speaks to people")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use haldane_tests::{
    app::App,
    load::{Failure, Load},
    rollout::{self, Run},
    stage::{SIDES, Shares, Stage},
};
use serde_json::{Value, json};

/// Requests a second.
const LOAD: u64 = 600;

/// The pace of the guards and of the scrapes, in seconds.
const INTERVAL: f64 = 1.0;
const SCRAPE: f64 = 1.0;

/// What a rollback may take on top of its interval and two scrapes, in seconds.
const GRACE: f64 = 1.0;

/// A failure this long after a write counts as caused by it.
const AFTERMATH: Duration = Duration::from_secs(2);

/// How long a new process is left alone before its rollout begins.
const SETTLE: Duration = Duration::from_secs(5);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Where the report and the pictures are left.
const FOLDER: &str = "target/demo";

/// How long both versions go on failing once the engine says so.
const INCIDENT: Duration = Duration::from_secs(4);

/// One release of the demo.
struct Release {
    name: &'static str,
    version: &'static str,
    /// What goes wrong, and from which share on, in basis points.
    fault: Option<(Fault, u32)>,
    judged: Judged,
    exit: i32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Inject(&'static str),
    /// On both sides, until the engine has said so for a while.
    Both(&'static str),
    Kill,
}

/// How a release is judged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Judged {
    ByLimits,
    ByComparison,
}

/// What became of a release.
struct Report {
    name: &'static str,
    by_limits: bool,
    outcome: String,
    wanted: bool,
    injection_to_zero: Option<f64>,
    sample_to_zero: Option<f64>,
    requests: u64,
    client_errors: usize,
    lost_with_process: usize,
    by_weight_change: usize,
    explanation: String,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [command, port, version] = arguments.as_slice()
        && command == "app"
    {
        App::serve(port.parse().expect("a port"), version);
        return ExitCode::SUCCESS;
    }
    watch_for_interrupts();
    let program = env::current_exe().expect("a program knows itself");
    let haldane = program.with_file_name("haldane");
    println!("starting prometheus, haproxy and two copies of the service");
    let mut stage = Stage::start(&program);
    let load = Load::start(stage.port, LOAD);
    println!("load: {LOAD} requests a second; state and files in {}", stage.folder().display());
    let mut reports = Vec::new();
    for release in &releases() {
        match roll_out(&mut stage, &load, &haldane, release) {
            Some(report) => reports.push(report),
            None => {
                println!("interrupted: everything is stopped and removed");
                return ExitCode::from(130);
            }
        }
    }
    let again = replayed(&haldane, &stage);
    if write_up(&reports) && again { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn releases() -> [Release; 6] {
    let judged = Judged::ByLimits;
    let bad = |name, version, fault, from| Release {
        name,
        version,
        fault: Some((fault, from)),
        judged,
        exit: 10,
    };
    let compared = Judged::ByComparison;
    let subtle = bad("subtle", "v6", Fault::Inject("error_rate=0.008"), 5_000);
    let incident = Some((Fault::Both("error_rate=0.2"), 2_500));
    [
        Release { name: "good", version: "v2", fault: None, judged, exit: 0 },
        bad("failing", "v3", Fault::Inject("error_rate=0.05"), 2_500),
        bad("slow", "v4", Fault::Inject("latency_ms=200"), 1_000),
        bad("killed", "v5", Fault::Kill, 5_000),
        Release { judged: compared, ..subtle },
        Release { name: "incident", version: "v7", fault: incident, judged: compared, exit: 0 },
    ]
}

/// Notices an interrupt, so that everything that was started is stopped.
fn watch_for_interrupts() {
    thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let _ = tokio::signal::ctrl_c().await;
            INTERRUPTED.store(true, Relaxed);
        });
    });
}

/// Runs one release from its deployment to its end. `None`: interrupted.
fn roll_out(stage: &mut Stage, load: &Load, haldane: &Path, release: &Release) -> Option<Report> {
    let test = if stage.green_share() == Some(0) { SIDES[1] } else { SIDES[0] };
    println!("\n== {}: {} on {test}", release.name, release.version);
    stage.deploy(test, release.version);
    // As after any deployment: the new process is up for a while before it gets traffic, so that no
    // look reaches back to the one before it.
    thread::sleep(SETTLE);
    let file = write_rollout(stage, release);
    let shares = stage.follow(test);
    let (before, failed_before) = (load.requests(), load.failures().len());
    let mut run = Run::start(haldane, stage, &file, None);
    let (mut injected, mut sampled) = (None, None);
    let mut incident = None;
    let code = loop {
        if INTERRUPTED.load(Relaxed) {
            return None;
        }
        if let Some(code) = run.ended() {
            break code;
        }
        if let Some((fault, from)) = release.fault {
            if injected.is_none() && shares.now() >= from {
                injected = Some(Instant::now());
                match fault {
                    Fault::Inject(fault) => stage.inject(test, fault),
                    Fault::Both(fault) => SIDES.iter().for_each(|side| stage.inject(side, fault)),
                    Fault::Kill => stage.crash(test),
                }
            }
            if let (Fault::Both(_), Some(_), None) = (fault, injected, &incident) {
                incident = pass_together(stage, haldane);
            }
            if injected.is_some() && sampled.is_none() && is_sampled(stage, test, fault) {
                sampled = Some(Instant::now());
            }
        }
        thread::sleep(Duration::from_millis(20));
    };
    thread::sleep(AFTERMATH);
    let failures = load.failures().split_off(failed_before);
    let zero = injected.and_then(|moment| shares.zero_after(moment));
    // A sample that only shows once the traffic is back has waited for nothing.
    let took =
        |since: Option<Instant>| Some((zero?.saturating_duration_since(since?)).as_secs_f64());
    let (lost, by_weight_change) = causes(&failures, &shares, release, injected, zero);
    let explanation = incident.clone().unwrap_or_else(|| explain(haldane, stage));
    println!("   {explanation}");
    draw(haldane, stage, release);
    // Both versions failing must have been said, not only survived.
    let both = matches!(release.fault, Some((Fault::Both(_), _)));
    let wanted = code == Some(release.exit) && both == incident.is_some();
    Some(Report {
        name: release.name,
        by_limits: release.judged == Judged::ByLimits,
        outcome: rollout::outcome(code),
        wanted,
        injection_to_zero: took(injected),
        sample_to_zero: took(sampled),
        requests: load.requests() - before,
        client_errors: failures.len(),
        lost_with_process: lost,
        by_weight_change,
        explanation,
    })
}

/// Heals both sides once the engine has said for a while that both fail; returns what it said.
fn pass_together(stage: &Stage, haldane: &Path) -> Option<String> {
    let told = Command::new(haldane)
        .args(["status", "app", "-o", "json", "--state"])
        .arg(rollout::state(stage))
        .output()
        .ok()?;
    let status: Value = serde_json::from_slice(&told.stdout).ok()?;
    let messages =
        status["checks"].as_array()?.iter().filter_map(|check| check["message"].as_str());
    let said = messages.into_iter().find(|message| message.contains("both versions fail"))?;
    thread::sleep(INCIDENT);
    SIDES.iter().for_each(|side| stage.inject(side, "error_rate=0"));
    Some(format!("held while {said}"))
}

/// Sorts failures: those between a kill and weight 0, and those that a weight change caused.
fn causes(
    failures: &[Failure],
    shares: &Shares,
    release: &Release,
    injected: Option<Instant>,
    zero: Option<Instant>,
) -> (usize, usize) {
    let killed = matches!(release.fault, Some((Fault::Kill, _)));
    let in_kill = |failure: &&Failure| {
        // A request that was under way at the kill is lost with the process, and so is one that
        // was sent before the traffic was back.
        let after = injected.is_some_and(|moment| failure.at >= moment);
        let until = zero.is_none_or(|zero| failure.began <= zero + Duration::from_millis(50));
        killed && after && until
    };
    let changes = shares.changes();
    let by_change = |failure: &&Failure| {
        let after = |at: &Instant| failure.at >= *at && failure.at <= *at + AFTERMATH;
        !failure.injected && changes.iter().skip(1).any(|(at, _)| after(at))
    };
    let lost = failures.iter().filter(in_kill).count();
    (lost, failures.iter().filter(|f| !in_kill(f) && by_change(f)).count())
}

fn write_rollout(stage: &Stage, release: &Release) -> PathBuf {
    let bake = match release.judged {
        Judged::ByLimits => "5s",
        // A comparison needs requests: the step ends once it is sure.
        Judged::ByComparison => "6s",
    };
    let steps = [10, 25, 50, 100].map(|weight| json!({"weight": weight, "bake": bake}));
    let more = json!({"steps": steps, "watch": "3s"});
    let checks = match release.judged {
        Judged::ByLimits => vec![rollout::errors(), rollout::latency("100ms")],
        Judged::ByComparison => {
            // What the limit would have said stands beside it and decides nothing.
            let mut limit = rollout::errors();
            limit["name"] = "limit".into();
            limit["dryRun"] = true.into();
            vec![rollout::compared(), limit]
        }
    };
    rollout::write(stage, &rollout::document(stage, release.version, &checks, &more))
}

fn explain(haldane: &Path, stage: &Stage) -> String {
    let told = Command::new(haldane)
        .args(["explain", "app", "--state"])
        .arg(rollout::state(stage))
        .output();
    match told {
        // The first sentence answers why; the others say where the rollout is now.
        Ok(told) => String::from_utf8_lossy(&told.stdout).lines().next().unwrap_or("").to_owned(),
        Err(error) => format!("haldane explain: {error}"),
    }
}

/// Leaves a picture of the release beside the report.
fn draw(haldane: &Path, stage: &Stage, release: &Release) {
    let file = Path::new(FOLDER).join(format!("{}.svg", release.name));
    let made = fs::create_dir_all(FOLDER).and_then(|()| {
        let mut command = Command::new(haldane);
        command.args(["explain", "app", "--state"]).arg(rollout::state(stage));
        command.arg("--svg").arg(&file).output()
    });
    match made {
        Ok(told) if told.status.success() => println!("   picture: {}", file.display()),
        Ok(told) => println!("   no picture: {}", String::from_utf8_lossy(&told.stderr).trim()),
        Err(error) => println!("   no picture: {error}"),
    }
}

/// Makes every decision of all releases again, from what was recorded. Returns whether each is the same.
fn replayed(haldane: &Path, stage: &Stage) -> bool {
    let told = Command::new(haldane)
        .args(["replay", "app", "--state"])
        .arg(rollout::state(stage))
        .output();
    match told {
        Ok(told) => {
            let text = String::from_utf8_lossy(&told.stdout).into_owned();
            for line in text.lines().filter(|line| !line.starts_with("same ")) {
                println!("\nreplay: {line}");
            }
            told.status.success()
        }
        Err(error) => {
            println!("FAILED: haldane replay: {error}");
            false
        }
    }
}

/// Whether Prometheus has the first bad sample.
fn is_sampled(stage: &Stage, side: &str, fault: Fault) -> bool {
    let query = match fault {
        Fault::Inject(fault) | Fault::Both(fault) if fault.starts_with("error") => {
            format!("http_requests_total{{side=\"{side}\",code=\"500\"}} > 0")
        }
        Fault::Inject(_) | Fault::Both(_) => format!(
            "http_request_duration_seconds_count{{side=\"{side}\"}} - ignoring(le) \
             http_request_duration_seconds_bucket{{side=\"{side}\",le=\"0.1\"}} > 0"
        ),
        Fault::Kill => format!("up{{side=\"{side}\"}} == 0"),
    };
    stage.ask(&query).is_some()
}

/// Prints the table and writes the report. Returns whether everything is as it should be.
fn write_up(reports: &[Report]) -> bool {
    let limit = INTERVAL + 2.0 * SCRAPE + GRACE;
    println!(
        "\n{:<9} {:<12} {:>13} {:>11} {:>9} {:>8} {:>12} {:>10}",
        "release",
        "outcome",
        "injection->0",
        "sample->0",
        "requests",
        "errors",
        "with process",
        "by change"
    );
    let mut good = true;
    let show =
        |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), |s| format!("{s:.2} s"));
    for report in reports {
        println!(
            "{:<9} {:<12} {:>13} {:>11} {:>9} {:>8} {:>12} {:>10}",
            report.name,
            report.outcome,
            show(report.injection_to_zero),
            show(report.sample_to_zero),
            report.requests,
            report.client_errors,
            report.lost_with_process,
            report.by_weight_change,
        );
        let slow =
            report.by_limits && report.injection_to_zero.is_some_and(|seconds| seconds > limit);
        for (wrong, what) in [
            (!report.wanted, "has the wrong outcome"),
            (report.by_weight_change > 0, "had errors that a weight change caused"),
            (slow, "took longer than its interval, two scrapes and a second to go back"),
        ] {
            if wrong {
                println!("FAILED: {} {what}", report.name);
                good = false;
            }
        }
    }
    if let Err(error) = write_report(reports) {
        println!("FAILED: the report cannot be written: {error}");
        return false;
    }
    println!("\nreport: target/demo/report.json");
    good
}

fn write_report(reports: &[Report]) -> std::io::Result<()> {
    let rollouts = reports.iter().map(|report| {
        json!({
            "name": report.name,
            "outcome": report.outcome,
            "seconds_injection_to_zero": report.injection_to_zero,
            "seconds_sample_to_zero": report.sample_to_zero,
            "requests": report.requests,
            "client_errors": report.client_errors,
            "errors_with_process": report.lost_with_process,
            "errors_by_weight_change": report.by_weight_change,
            "explanation": report.explanation,
        })
    });
    let rollouts: Vec<_> = rollouts.collect();
    let folder = Path::new(FOLDER);
    fs::create_dir_all(folder)?;
    fs::write(folder.join("report.json"), format!("{:#}\n", json!({"rollouts": rollouts})))
}
