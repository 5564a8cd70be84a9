//! Rollouts without a limit, the real binary before real servers: the side under test is compared with
//! the one that serves.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use haldane_judge::{Rule, Stage, fold, folded_to};
use haldane_model::{Evidence, Place, Reason, Record, RolloutId, Sample, Weight, Window};
use haldane_outside::Outside;
use haldane_runtime::codec::Decoded;
use haldane_sources::{Look, LookSides, SOURCES};
use haldane_standalone::Offline;
use haldane_tests::{
    prometheus::{Prometheus, Target},
    rig::{Rig, SOON},
    stage::SIDES,
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// How long a comparison needs at the traffic of a rig, for one thing or another.
const PATIENCE: Duration = Duration::from_secs(120);

/// After this long at the latest, what was learned is on the disk.
const WRITTEN: Duration = Duration::from_secs(17);

/// A rollout that has no limit at all, with steps that a test can wait for.
fn comparing(rig: &Rig, revision: &str, steps: &[(u32, &str)]) -> Value {
    let mut rollout = rig.rollout(revision, steps);
    let errors = json!({"metrics": "prometheus", "minStep": "3s", "margin": {"harm": "2%"}});
    let analysis = &mut rollout["spec"]["analysis"];
    analysis["checks"] = json!([{"errors": errors}]);
    rollout
}

/// Waits until a share is confirmed and its bake has begun.
#[track_caller]
fn confirmed_at(rig: &Rig, share: u16) {
    rig.wait_for("the share is confirmed", PATIENCE, || {
        let confirmed = rig.journal().into_iter().filter(|e| e.reason == Reason::StepConfirmed);
        confirmed.last().is_some_and(|entry| entry.weight.basis_points() == share)
    });
}

fn explained(rig: &Rig) -> String {
    rig.haldane(&["explain", "app"]).text
}

#[test]
fn a_release_as_good_as_the_one_that_serves_is_promoted_though_both_err() {
    let rig = Rig::start();
    // More than the 1 % that a limit would have allowed; what counts is the difference.
    rig.stage.inject("blue", "error_rate=0.03");
    rig.stage.inject("green", "error_rate=0.03");
    let shares = rig.stage.follow("green");
    let mut run = rig.run(&comparing(&rig, "v2", &[(25, "5s"), (50, "5s"), (100, "5s")]), &[]);
    assert_eq!(run.wait(PATIENCE), Some(0), "{}{}", run.text(), rig.story());
    let seen: Vec<u32> = shares.changes().into_iter().map(|(_, share)| share).collect();
    assert_eq!(seen, [0, 2_500, 5_000, 10_000]);
}

#[test]
fn a_release_that_errs_more_is_rolled_back_below_any_limit_one_would_set() {
    let rig = Rig::start();
    rig.stage.inject("blue", "error_rate=0.001");
    rig.stage.inject("green", "error_rate=0.001");
    let mut run = rig.run(&comparing(&rig, "v2", &[(50, "120s"), (100, "5s")]), &[]);
    confirmed_at(&rig, 5_000);
    let begin = Instant::now();
    rig.stage.inject("green", "error_rate=0.05");
    assert_eq!(run.wait(PATIENCE), Some(10), "{}{}", run.text(), rig.story());
    println!("found after {:?}", begin.elapsed());
    assert_eq!(rig.stage.green_share(), Some(0));
    let told = explained(&rig);
    for part in ["v2 was rolled back", "errors", "evidence", "(needed 100:1)", "vs"] {
        assert!(told.contains(part), "{part} is not in: {told}");
    }
}

#[test]
fn five_times_the_errors_at_100_percent_and_again_in_the_watch_roll_back() {
    for (bake, watch) in [("120s", "2s"), ("5s", "120s")] {
        let rig = Rig::start();
        rig.stage.inject("blue", "error_rate=0.01");
        rig.stage.inject("green", "error_rate=0.01");
        let mut rollout = comparing(&rig, "v2", &[(50, "5s"), (100, bake)]);
        rollout["spec"]["watch"] = json!(watch);
        let mut run = rig.run(&rollout, &[]);
        confirmed_at(&rig, 10_000);
        if watch == "120s" {
            rig.wait_for("the watch begins", SOON, || rig.count(Reason::Promoted) == 1);
        }
        // Enough that a rate of its own is known at 100 %.
        thread::sleep(Duration::from_secs(4));
        rig.stage.inject("green", "error_rate=0.05");
        assert_eq!(run.wait(PATIENCE), Some(10), "{bake}/{watch}\n{}{}", run.text(), rig.story());
        assert_eq!(rig.stage.green_share(), Some(0));
        let told = explained(&rig);
        assert!(told.contains("v2 was rolled back") && told.contains("evidence"), "{told}");
    }
}

#[test]
fn both_versions_failing_together_hold_the_rollout_and_roll_nothing_back() {
    let rig = Rig::start();
    let mut run = rig.run(&comparing(&rig, "v2", &[(50, "6s"), (100, "5s")]), &[]);
    confirmed_at(&rig, 5_000);
    rig.stage.inject("blue", "error_rate=0.4");
    rig.stage.inject("green", "error_rate=0.4");
    rig.wait_for("it says that both fail", PATIENCE, || {
        let status = rig.status("app").to_string();
        status.contains("both versions fail") || status.contains("Both versions fail")
    });
    let shown = rig.haldane(&["status", "app"]).text;
    for part in ["Inconclusive", " vs ", "no evidence", "both versions fail"] {
        assert!(shown.contains(part), "{part} is not in: {shown}");
    }
    rig.holds("the share", Duration::from_secs(10), || rig.stage.green_share() == Some(5_000));
    run.kill();
}

// === a source for each side ===

/// Sites that have a Prometheus of their own: neither has heard of the other side.
fn a_prometheus_per_side(rig: &Rig) -> [Prometheus; 2] {
    SIDES.map(|side| {
        let address = SocketAddr::from(([127, 0, 0, 1], rig.stage.app_port(side)));
        Prometheus::start(&[Target::new("app", address, &[("side", side)])])
    })
}

fn comparing_by_sites(rig: &Rig, sites: &[Prometheus; 2], steps: &[(u32, &str)]) -> Value {
    let mut rollout = comparing(rig, "v2", steps);
    let of = |site: &Prometheus| json!({"prometheus": {"url": site.url}});
    let sources = json!([{
        "name": "sites",
        "perSide": {"blue": of(&sites[0]), "green": of(&sites[1])},
    }]);
    rollout["spec"]["analysis"]["sources"] = sources;
    rollout
}

#[test]
fn sides_that_are_counted_by_a_prometheus_each_are_compared_and_the_worse_one_goes_back() {
    let rig = Rig::start();
    let sites = a_prometheus_per_side(&rig);
    rig.stage.inject("blue", "error_rate=0.001");
    rig.stage.inject("green", "error_rate=0.001");
    let rollout = comparing_by_sites(&rig, &sites, &[(50, "120s"), (100, "5s")]);
    let mut run = rig.run(&rollout, &[]);
    confirmed_at(&rig, 5_000);
    rig.wait_for("both sides are counted, and the clocks are told", PATIENCE, || {
        let status = rig.status("app").to_string();
        status.contains(" vs ")
            && status.contains("the clocks of the sides' sources are 0.0 s apart")
    });
    rig.stage.inject("green", "error_rate=0.05");
    assert_eq!(run.wait(PATIENCE), Some(10), "{}{}", run.text(), rig.story());
    assert_eq!(rig.stage.green_share(), Some(0));
    let told = explained(&rig);
    for part in ["v2 was rolled back", "errors", "evidence", "(needed 100:1)", "vs"] {
        assert!(told.contains(part), "{part} is not in: {told}");
    }
}

#[test]
fn the_loss_of_one_sites_prometheus_holds_and_names_the_side() {
    let rig = Rig::start();
    let mut sites = a_prometheus_per_side(&rig);
    let rollout = comparing_by_sites(&rig, &sites, &[(50, "8s"), (100, "5s")]);
    let mut run = rig.run(&rollout, &[]);
    confirmed_at(&rig, 5_000);
    sites[0].server.kill();
    rig.wait_for("the source of blue is missed", PATIENCE, || {
        rig.status("app").to_string().contains("blue")
            && rig.haldane(&["status", "app"]).text.contains("SourceError")
    });
    rig.holds("the share", Duration::from_secs(12), || rig.stage.green_share() == Some(5_000));
    run.kill();
}

// === restarts ===

fn record(rig: &Rig) -> Record {
    let offline = Offline::open(&rig.state()).expect("the state can be read");
    match offline.record(&RolloutId::new("default", "app")) {
        Ok(Some(Decoded::Known(record))) => *record,
        other => panic!("a record of this format, not {other:?}"),
    }
}

/// Everything that was to be looked at, from where the evidence begins to where it ends, in one look.
fn in_one_look(record: &Record, kept: &Evidence) -> Sample {
    let plan = record.plan.as_deref().expect("a plan is pinned");
    let (check, source) = (&plan.checks[0], &plan.sources[0]);
    let book: Value = serde_json::from_slice(kept.bytes()).expect("evidence is JSON");
    let began = book["began"].as_str().expect("it began").parse::<Timestamp>();
    let window = Window { begin: began.expect("a moment"), end: folded_to(kept).expect("folded") };
    let row = SOURCES.iter().find(|row| *source.kind == *row.kind).expect("a known source");
    let settings = serde_json::from_str(&source.settings).expect("settings are JSON");
    let source = (row.build)(&settings, &Outside::default()).expect("the source can be asked");
    let look = Look {
        window,
        sides: LookSides { test: record.header.test.clone(), serving: record.header.home.clone() },
        deadline: Duration::from_secs(10),
        grid: Some(check.interval),
        before: Some(Duration::from_secs(3_600)),
        about: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let sample = runtime.expect("a runtime").block_on(source.look(check.question.clone(), look));
    Sample { share: Weight::from_percent(50).ok(), ..sample }
}

#[test]
fn twenty_kills_in_mid_analysis_leave_the_evidence_of_a_run_without_any() {
    let rig = Rig::start();
    rig.stage.inject("blue", "error_rate=0.01");
    rig.stage.inject("green", "error_rate=0.01");
    let rollout = comparing(&rig, "v2", &[(50, "300s"), (100, "5s")]);
    let mut run = rig.run(&rollout, &[]);
    let file = rig.stage.folder().join("rollout.yaml");
    confirmed_at(&rig, 5_000);
    for kill in 0..20 {
        // Some live long enough that evidence is on the disk, and what follows rests on it.
        let lives =
            if kill % 8 == 7 { WRITTEN } else { Duration::from_millis(300 + kill * 397 % 900) };
        thread::sleep(lives);
        run.kill();
        run = rig.run_again(&file, &[]);
    }
    thread::sleep(WRITTEN);
    run.signal("TERM");
    rig.ends(&mut run, 12);

    let record = record(&rig);
    let (name, kept) = record.evidence.iter().next().expect("there is evidence");
    let Place::Baking { from, .. } = &record.place else { panic!("it bakes: {}", rig.story()) };
    let plan = record.plan.as_deref().expect("a plan is pinned");
    let stage = Stage {
        step: 0,
        weight: plan.weight(0),
        next: Some(plan.weight(1)),
        windows_from: from.of(&plan.sources[0].name),
        gates: true,
    };
    let rule = Rule::parse(&plan.checks[0].rule).expect("a rule");
    let sample = in_one_look(&record, kept);
    let limits = plan.checks[0].limits;
    let whole = fold(&rule, &limits, &stage, &Evidence::default(), name, &sample);
    let text = |evidence: &Evidence| String::from_utf8_lossy(evidence.bytes()).into_owned();
    assert_eq!(text(kept), text(&whole.evidence), "\n{}", rig.story());
    let windows = text(kept).parse::<Value>().expect("JSON")["step"]["windows"].as_u64();
    assert!(windows > Some(20), "{windows:?} windows were judged: {}\n{}", text(kept), rig.story());
}
