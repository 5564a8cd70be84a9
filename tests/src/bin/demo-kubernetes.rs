//! `make demo-kubernetes`: releases in a cluster through a real mesh.
//!
//! Starts etcd, kube-apiserver and the controllers, istiod, and for each of an Istio VirtualService and a Gateway
//! API HTTPRoute an Envoy, a Prometheus that scrapes it, and `haldane operator`. A good version is promoted
//! 10 -> 25 -> 50 -> 100 while the split is counted; the next one begins to fail at 25 % and is rolled back.
//! Writes `target/demo-kubernetes/report.json`, and fails where an outcome is wrong, a share is off by more than a
//! percentage point, or a request failed that was not told to. `demo-kubernetes run` drives the same routes from
//! outside, by files.

#![allow(clippy::print_stdout, reason = "it speaks to people")]

use std::{
    env, fs,
    path::Path,
    process::{Command, ExitCode},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
    time::Duration,
};

use haldane_tests::{
    cluster::{self, Cluster, Foreign, Options},
    mesh::{Engine, Istiod, Outcome, Promotion, Rollback, Shop, Way},
};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

/// Where the report is left.
const FOLDER: &str = "target/demo-kubernetes";

/// How far the measured share may be from the written one, in percentage points.
const TOLERANCE: f64 = 1.0;

/// The operator's process, which nobody else ends where the demo is interrupted.
static OPERATOR: AtomicU32 = AtomicU32::new(0);

fn main() -> ExitCode {
    let by_files = match env::args().nth(1).as_deref() {
        None => false,
        Some("run") => true,
        Some(_) => {
            println!("usage: demo-kubernetes, or demo-kubernetes run");
            return ExitCode::from(64);
        }
    };
    watch_for_interrupts();
    let program = env::current_exe().expect("a program has a place");
    let haldane = program.with_file_name("haldane");
    println!("starting etcd, kube-apiserver {}, its controllers and istiod", cluster::version());
    let cluster = Cluster::start(Options { controllers: true, audit: true });
    cluster.install(Foreign::Istio);
    cluster.install(Foreign::GatewayApi);
    cluster.install_crds(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds").as_path());
    let istiod = Istiod::start(&cluster);
    let mut reports = Vec::new();
    for (way, name, title) in [
        (Way::Hosts, "istio", "an Istio VirtualService"),
        (Way::HttpRoute, "gateway", "a Gateway API HTTPRoute"),
    ] {
        println!("\n== {title}: Envoy, Prometheus, two Deployments");
        let shop = Shop::open(&cluster, &istiod, name, way);
        let operator = (!by_files).then(|| shop.operator(&haldane));
        OPERATOR.store(operator.as_ref().map_or(0, |operator| operator.id()), Relaxed);
        let engine = if by_files { Engine::Run(&haldane) } else { Engine::Operator };
        let tell = |words: &str| println!("   {words}");
        println!("   web:v2 is deployed on green");
        let good = shop.promote(engine, tell);
        println!(
            "   {}: {} requests meanwhile, {} failed",
            word(&good.outcome),
            good.requests,
            good.failed
        );
        println!("   web:v3 is deployed on blue");
        let bad = shop.roll_back(engine, tell);
        println!("   {}: {}", word(&bad.outcome), times(&bad));
        reports.push((title, good, bad));
    }
    if write_up(&reports) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// An interrupt ends the process, and with it everything that it started.
fn watch_for_interrupts() {
    thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let mut terminations = signal(SignalKind::terminate()).expect("signals can be watched");
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminations.recv() => {}
            }
            println!("interrupted: everything is stopped and removed");
            let operator = OPERATOR.load(Relaxed);
            if operator != 0 {
                let _ = Command::new("kill").arg(operator.to_string()).status();
            }
            std::process::exit(130);
        });
    });
}

fn word(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Promoted => "promoted",
        Outcome::RolledBack => "rolled back",
        Outcome::Other(words) => words,
    }
}

fn seconds(took: Option<Duration>) -> String {
    took.map_or_else(|| "-".to_owned(), |took| format!("{:.2} s", took.as_secs_f64()))
}

fn times(bad: &Rollback) -> String {
    format!(
        "fault -> PATCH {}, -> weight 0 at the proxy {}, -> last answer of the new version {}; of {} requests in \
         between {} failed as told, and {} failed otherwise",
        seconds(bad.to_patch),
        seconds(bad.to_zero),
        seconds(bad.to_last),
        bad.requests,
        bad.injected,
        bad.other,
    )
}

/// Writes the report, and tells what is not as it should be. Returns whether everything is.
fn write_up(reports: &[(&str, Promotion, Rollback)]) -> bool {
    let mut faults = Vec::new();
    for (title, good, bad) in reports {
        let is_off = |step: &&haldane_tests::mesh::Step| {
            (step.measured - f64::from(step.wanted)).abs() > TOLERANCE || !step.lasted
        };
        for (wrong, what) in [
            (good.outcome != Outcome::Promoted, "the good version was not promoted"),
            (bad.outcome != Outcome::RolledBack, "the bad version was not rolled back"),
            (good.failed > 0 || bad.other > 0, "requests failed that were not told to"),
            (good.steps.iter().any(|step| is_off(&step)), "a share was not as written"),
        ] {
            if wrong {
                faults.push(format!("FAILED: {title}: {what}"));
            }
        }
    }
    println!();
    for fault in &faults {
        println!("{fault}");
    }
    let report: Vec<Value> =
        reports.iter().map(|(title, good, bad)| told(title, good, bad)).collect();
    let written = fs::create_dir_all(FOLDER).and_then(|()| {
        fs::write(
            Path::new(FOLDER).join("report.json"),
            format!("{:#}\n", json!({"releases": report})),
        )
    });
    match written {
        Ok(()) => println!("report: {FOLDER}/report.json"),
        Err(error) => println!("FAILED: the report cannot be written: {error}"),
    }
    faults.is_empty()
}

fn told(title: &str, good: &Promotion, bad: &Rollback) -> Value {
    let seconds = |took: Option<Duration>| took.map(|took| took.as_secs_f64());
    let steps = good.steps.iter().map(|step| {
        json!({"wanted_percent": step.wanted, "measured_percent": step.measured,
            "requests": step.requests, "failed": step.failed})
    });
    json!({
        "route": title,
        "good": {
            "outcome": word(&good.outcome),
            "steps": steps.collect::<Vec<_>>(),
            "requests": good.requests,
            "failed": good.failed,
        },
        "bad": {
            "outcome": word(&bad.outcome),
            "seconds_fault_to_patch": seconds(bad.to_patch),
            "seconds_fault_to_zero_at_proxy": seconds(bad.to_zero),
            "seconds_fault_to_last_answer": seconds(bad.to_last),
            "requests_until_then": bad.requests,
            "failed_as_told": bad.injected,
            "failed_otherwise": bad.other,
        },
    })
}
