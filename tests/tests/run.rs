//! `haldane run`, the real binary before real servers: how it ends, what it says, and what becomes
//! of the traffic meanwhile.

use std::{
    thread,
    time::{Duration, Instant},
};

use haldane_model::Reason;
use haldane_tests::rig::{Rig, SETTLE, SOON, portal};
use serde_json::json;

/// The whole way, fast.
const FOUR: &[(u32, &str)] = &[(10, "3s"), (25, "3s"), (50, "3s"), (100, "3s")];

/// Two steps: long enough for a test to do something in the first.
const SLOW: &[(u32, &str)] = &[(25, "20s"), (100, "3s")];

/// What a rollback may take from the fault on: an interval, two scrapes, and a second; twice that on
/// a machine that does other things as well.
const IN_TIME: Duration = Duration::from_secs(8);

/// Waits until a run is at 25 %, confirmed and baking.
#[track_caller]
fn at_25(rig: &Rig) {
    rig.wait_for_share(2_500);
    rig.wait_for("25 % is confirmed", SOON, || {
        let weights = rig.journal().into_iter().filter(|e| e.reason == Reason::StepConfirmed);
        weights.last().is_some_and(|entry| entry.weight.basis_points() == 2_500)
    });
}

/// Makes the side under test fail, and waits until it has no traffic.
#[track_caller]
fn breach_on(rig: &Rig, side: &str) -> Duration {
    let shares = rig.stage.follow(side);
    let begin = Instant::now();
    rig.stage.inject(side, "fault=1");
    rig.wait_for("no traffic on the side that fails", SOON, || shares.zero_after(begin).is_some());
    shares.zero_after(begin).expect("it was there").duration_since(begin)
}

// === how it ends ===

#[test]
fn a_good_release_is_promoted_and_the_same_one_again_is_done_already() {
    let rig = Rig::start();
    let shares = rig.stage.follow("green");
    let rollout = rig.rollout("v2", FOUR);
    let mut run = rig.run(&rollout, &[]);
    rig.ends(&mut run, 0);
    let seen: Vec<u32> = shares.changes().into_iter().map(|(_, share)| share).collect();
    assert_eq!(seen, [0, 1_000, 2_500, 5_000, 10_000]);
    assert!(run.last_line().contains("green serves v2"), "{}", run.last_line());
    assert_eq!(rig.count(Reason::WatchEnded), 1, "{}", rig.story());
    assert!(rig.load.failures().is_empty(), "{:?}", rig.load.failures());

    let mut again = rig.run(&rollout, &[]);
    rig.ends(&mut again, 0);
    assert_eq!(rig.count(Reason::Started), 1, "nothing was rolled out again\n{}", rig.story());
    assert_eq!(shares.now(), 10_000);
}

#[test]
fn a_bad_release_is_rolled_back_refused_the_next_time_and_tried_again_on_request() {
    let rig = Rig::start();
    let rollout = rig.rollout("v2", &[(25, "3s"), (100, "3s")]);
    let shares = rig.stage.follow("green");
    let mut run = rig.run(&rollout, &[]);
    rig.wait_for_share(2_500);
    let begin = Instant::now();
    rig.stage.inject("green", "error_rate=0.2");
    rig.ends(&mut run, 10);
    let zero = shares.zero_after(begin).expect("the traffic is back");
    assert!(zero - begin < IN_TIME, "{:?}", zero - begin);
    assert!(run.last_line().contains("rolled back, blue serves"), "{}", run.last_line());
    let told = rig.haldane(&["explain", "app"]);
    assert!(
        told.text.contains("v2 was rolled back") && told.text.contains("errors"),
        "{}",
        told.text
    );

    let mut again = rig.run(&rollout, &[]);
    rig.ends(&mut again, 11);
    assert!(again.last_line().contains("--retry"), "{}", again.last_line());
    assert_eq!((shares.now(), rig.count(Reason::Started)), (0, 1));

    rig.stage.inject("green", "error_rate=0");
    thread::sleep(SETTLE);
    let mut retry = rig.run(&rollout, &["--retry", "the disk was replaced"]);
    rig.ends(&mut retry, 0);
    let said = rig.story();
    assert!(said.contains("the disk was replaced"), "{said}");
}

#[test]
fn a_slow_release_is_rolled_back_and_the_reason_is_its_latency() {
    let rig = Rig::start();
    let mut rollout = rig.rollout("v2", &[(25, "10s"), (100, "3s")]);
    let slow = json!({"name": "p90", "latency":
        {"quantile": "0.9", "max": "100ms", "metrics": "prometheus"}});
    rollout["spec"]["analysis"]["checks"].as_array_mut().expect("a list").push(slow);
    let mut run = rig.run(&rollout, &[]);
    at_25(&rig);
    rig.stage.inject("green", "latency_ms=200");
    rig.ends(&mut run, 10);
    assert_eq!(rig.stage.green_share(), Some(0));
    let told = rig.haldane(&["explain", "app"]).text;
    for part in ["v2 was rolled back", "p90 was ", " ms over ", "limit max 100 ms"] {
        assert!(told.contains(part), "{part} is not in: {told}");
    }
}

#[test]
fn a_split_that_is_not_ours_is_refused_unless_it_is_adopted() {
    let rig = Rig::start();
    rig.stage.set_by_hand(7_000);
    // Green has the larger share, so it serves, and blue is what is rolled out.
    let rollout = rig.rollout("v3", &[(50, "3s"), (100, "3s")]);
    let mut run = rig.run(&rollout, &[]);
    rig.ends(&mut run, 11);
    assert!(run.last_line().contains("--adopt"), "{}", run.last_line());
    assert_eq!(rig.stage.green_share(), Some(7_000), "what was found stays");

    let shares = rig.stage.follow("blue");
    let mut adopted = rig.run(&rollout, &["--adopt"]);
    rig.ends(&mut adopted, 0);
    let seen: Vec<u32> = shares.changes().into_iter().map(|(_, share)| share).collect();
    assert_eq!(seen, [3_000, 0, 5_000, 10_000], "{}", rig.story());
}

#[test]
fn an_interrupted_run_says_what_is_unguarded_and_the_next_one_goes_on() {
    let rig = Rig::start();
    let rollout = rig.rollout("v2", &[(25, "6s"), (100, "3s")]);
    let mut run = rig.run(&rollout, &[]);
    at_25(&rig);
    run.signal("TERM");
    rig.ends(&mut run, 12);
    let last = run.last_line();
    assert!(
        last.contains("25 %") && last.contains("green") && last.contains("UNGUARDED"),
        "{last}"
    );
    assert_eq!(rig.stage.green_share(), Some(2_500));

    let mut next = rig.run(&rollout, &[]);
    rig.wait_for_reason(Reason::TookOver, 1);
    next.signal("INT");
    rig.ends(&mut next, 12);
    assert!(next.last_line().contains("UNGUARDED"), "{}", next.last_line());

    let shares = rig.stage.follow("green");
    let mut last = rig.run(&rollout, &[]);
    rig.ends(&mut last, 0);
    let seen: Vec<u32> = shares.changes().into_iter().map(|(_, share)| share).collect();
    assert_eq!(seen, [2_500, 10_000], "{}", rig.story());
    assert_eq!(rig.count(Reason::Started), 1, "{}", rig.story());
}

#[test]
fn an_interrupt_puts_the_traffic_back_where_that_was_asked_for() {
    let rig = Rig::start();
    let mut run = rig.run(&rig.rollout("v2", SLOW), &["--on-interrupt", "rollback"]);
    at_25(&rig);
    run.signal("INT");
    rig.ends(&mut run, 10);
    assert_eq!(rig.stage.green_share(), Some(0));
    assert_eq!(rig.count(Reason::AbortedByPerson), 1, "{}", rig.story());
}

#[test]
fn past_its_deadline_a_run_is_held_and_an_interrupt_says_so() {
    let rig = Rig::start();
    let mut rollout = rig.rollout("v2", &[(25, "3s"), (100, "1s")]);
    rollout["spec"]["progressDeadline"] = json!("6s");
    rollout["spec"]["analysis"]["minSamples"] = json!(1_000_000);
    let mut run = rig.run(&rollout, &[]);
    rig.wait_for_reason(Reason::DeadlineReached, 1);
    rig.holds("25 % stays", Duration::from_secs(2), || rig.stage.green_share() == Some(2_500));
    assert_eq!(run.ended(), None, "it goes on guarding");
    run.signal("TERM");
    rig.ends(&mut run, 13);

    rollout["spec"]["analysis"]["onDeadline"] = json!("Abort");
    rollout["metadata"]["name"] = json!("other");
    rig.stage.set_by_hand(0);
    let mut run = rig.run(&rollout, &[]);
    rig.ends(&mut run, 10);
    assert_eq!(rig.stage.green_share(), Some(0));
}

#[test]
fn arguments_that_cannot_be_used_end_with_64_and_files_that_cannot_with_1() {
    let rig = Rig::start();
    assert_eq!(rig.haldane(&["run"]).code, Some(64));
    assert_eq!(rig.haldane(&["run", "x.yaml", "--on-interrupt", "panic"]).code, Some(64));
    assert_eq!(rig.haldane(&["run", "x.yaml", "--retry", "a", "--undo", "b"]).code, Some(64));
    let file = rig.write("bad.yaml", "apiVersion: haldane.dev/v1alpha1\nkind: Rollout\nspec: {}\n");
    let told = rig.haldane(&["run", &file.display().to_string()]);
    assert_eq!(told.code, Some(1), "{}", told.text);
    assert!(told.text.contains("bad.yaml"), "{}", told.text);
    assert_eq!(rig.stage.green_share(), Some(0));
}

#[test]
fn without_the_watch_a_run_leaves_at_100_and_says_that_nothing_guards_it() {
    let rig = Rig::start();
    let mut rollout = rig.rollout("v2", &[(50, "3s"), (100, "3s")]);
    rollout["spec"]["watch"] = json!("1h");
    let mut run = rig.run(&rollout, &["--no-watch"]);
    rig.ends(&mut run, 0);
    let last = run.last_line();
    assert!(last.contains("v2 has all traffic") && last.contains("nothing guards"), "{last}");
    assert_eq!(rig.stage.green_share(), Some(10_000));
}

// === sources ===

#[test]
fn an_outage_of_prometheus_holds_the_weight_is_told_once_and_ends_in_promotion() {
    let mut rig = Rig::start();
    let mut run = rig.run(&rig.rollout("v2", &[(25, "5s"), (100, "3s")]), &[]);
    at_25(&rig);
    rig.stage.kill_prometheus();
    rig.wait_for_reason(Reason::SourceError, 1);
    rig.holds("25 % in the outage", Duration::from_secs(20), || {
        rig.stage.green_share() == Some(2_500)
    });
    assert_eq!(rig.count(Reason::SourceError), 1, "{}", rig.story());
    rig.stage.start_prometheus();
    rig.ends(&mut run, 0);
    assert_eq!(rig.count(Reason::SourceError), 1, "told once\n{}", rig.story());
    assert_eq!(rig.count(Reason::Started), 1, "{}", rig.story());
}

#[test]
fn a_prometheus_that_hangs_or_answers_with_a_page_raises_nothing() {
    let mut rig = Rig::start();
    // Down at the start: it waits at 0.
    rig.stage.kill_prometheus();
    let mut run = rig.run(&rig.rollout("v2", &[(25, "5s"), (100, "3s")]), &[]);
    rig.wait_for_reason(Reason::SourceError, 1);
    rig.holds("0 % while it is down", Duration::from_secs(5), || {
        rig.stage.green_share() == Some(0)
    });
    assert_eq!(rig.count(Reason::Started), 0, "{}", rig.story());
    rig.stage.start_prometheus();
    at_25(&rig);
    // Hung.
    rig.stage.signal_prometheus("STOP");
    rig.holds("25 % while it hangs", Duration::from_secs(12), || {
        rig.stage.green_share() == Some(2_500)
    });
    assert_eq!(rig.count(Reason::StepPassed), 0, "{}", rig.story());
    rig.stage.signal_prometheus("CONT");
    thread::sleep(Duration::from_secs(1));
    // A page instead of an answer.
    rig.stage.kill_prometheus();
    let page = portal(rig.stage.prometheus_port(), rig.stage.folder());
    rig.holds("25 % while a page answers", Duration::from_secs(10), || {
        rig.stage.green_share() == Some(2_500)
    });
    drop(page);
    rig.stage.start_prometheus();
    rig.ends(&mut run, 0);
    assert_eq!(rig.count(Reason::Breach) + rig.count(Reason::CanaryLost), 0, "{}", rig.story());
}

// === the life of a pair of sides ===

#[test]
fn four_releases_go_to_and_fro_and_an_undo_returns_to_the_one_before() {
    let mut rig = Rig::start();
    let steps = &[(50, "3s"), (100, "3s")];
    let mut run = rig.run(&rig.rollout("v2", steps), &[]);
    rig.ends(&mut run, 0);
    assert_eq!(rig.stage.green_share(), Some(10_000), "v2 on green");

    rig.stage.deploy("blue", "v3");
    thread::sleep(SETTLE);
    let mut run = rig.run(&rig.rollout("v3", steps), &[]);
    rig.ends(&mut run, 0);
    assert_eq!(rig.stage.green_share(), Some(0), "v3 on blue");

    rig.stage.deploy("green", "v4");
    thread::sleep(SETTLE);
    let mut run = rig.run(&rig.rollout("v4", steps), &[]);
    rig.wait_for_share(5_000);
    assert!(breach_on(&rig, "green") < IN_TIME);
    rig.ends(&mut run, 10);

    rig.stage.deploy("green", "v5");
    thread::sleep(SETTLE);
    let fourth = rig.rollout("v5", steps);
    let mut run = rig.run(&fourth, &[]);
    rig.ends(&mut run, 0);
    assert_eq!(rig.stage.green_share(), Some(10_000), "v5 on green");

    let mut undo = rig.run(&fourth, &["--undo", "customers complain"]);
    rig.ends(&mut undo, 0);
    assert_eq!(rig.stage.green_share(), Some(0), "v3 serves again\n{}", rig.story());
    assert!(undo.last_line().contains("blue serves v3"), "{}", undo.last_line());

    // Nothing is rolled out by itself: what was undone is refused.
    let mut again = rig.run(&fourth, &[]);
    rig.ends(&mut again, 11);
    assert_eq!(rig.stage.green_share(), Some(0));
    assert_eq!(rig.count(Reason::Started), 4, "{}", rig.story());
}

// === the file ===

#[test]
fn edits_in_flight_change_nothing_and_a_breach_still_finds_the_right_side() {
    let rig = Rig::start();
    let rollout = rig.rollout("v2", SLOW);
    let mut run = rig.run(&rollout, &[]);
    at_25(&rig);
    let mut swapped = rollout.clone();
    let destinations = &mut swapped["spec"]["traffic"][0]["haproxy"]["destinations"];
    *destinations = json!({"blue": {"backend": "be_green"}, "green": {"backend": "be_blue"}});
    rig.write("rollout.yaml", &format!("{swapped:#}\n"));
    rig.wait_for_reason(Reason::PlanChanged, 1);
    rig.holds("25 % stays", Duration::from_secs(2), || rig.stage.green_share() == Some(2_500));
    rig.write("rollout.yaml", "spec: [this is no rollout");
    rig.wait_for_reason(Reason::SpecInvalid, 1);
    rig.holds("25 % stays", Duration::from_secs(2), || rig.stage.green_share() == Some(2_500));
    assert!(breach_on(&rig, "green") < IN_TIME);
    rig.ends(&mut run, 10);
    assert_eq!(rig.stage.green_share(), Some(0), "blue has everything");
}

#[test]
fn a_revision_written_in_flight_is_what_the_run_is_about_once_the_file_can_be_read() {
    let rig = Rig::start();
    let steps: &[(u32, &str)] = &[(25, "8s"), (100, "3s")];
    let mut run = rig.run(&rig.rollout("v2", steps), &[]);
    at_25(&rig);
    rig.write("rollout.yaml", "spec: [this is no rollout");
    rig.wait_for_reason(Reason::SpecInvalid, 1);
    rig.write("rollout.yaml", &format!("{:#}\n", rig.rollout("v3", steps)));
    rig.ends(&mut run, 0);
    assert!(run.last_line().contains("green serves v3"), "{}", run.last_line());
    assert_eq!(started(&rig), ["v2", "v3"], "{}", rig.story());
}

#[test]
fn what_was_written_while_the_source_was_down_is_rolled_out_after_what_was_in_flight() {
    let mut rig = Rig::start();
    let looked_up = |rig: &Rig, revision: &str| {
        let mut rollout = rig.rollout(revision, &[(25, "3s"), (100, "3s")]);
        let errors = &mut rollout["spec"]["analysis"]["checks"][0]["errors"];
        errors.as_object_mut().expect("an object").remove("metrics");
        rollout
    };
    let mut run = rig.run(&looked_up(&rig, "v2"), &[]);
    at_25(&rig);
    run.signal("TERM");
    rig.ends(&mut run, 12);
    rig.stage.kill_prometheus();
    let mut run = rig.run(&looked_up(&rig, "v3"), &[]);
    rig.wait_for("it goes on", SOON, || run.said("goes on by its pinned plan").is_some());
    // So long that the source is not asked again before what is in flight is promoted.
    thread::sleep(Duration::from_secs(17));
    rig.stage.start_prometheus();
    rig.ends(&mut run, 0);
    assert!(run.last_line().contains("serves v3"), "{}", run.last_line());
    assert_eq!(started(&rig), ["v2", "v3"], "{}", rig.story());
}

// === revisions ===

/// Returns the revision of each attempt.
fn started(rig: &Rig) -> Vec<String> {
    let started = rig.journal().into_iter().filter(|entry| entry.reason == Reason::Started);
    started.filter_map(|entry| Some(entry.revision?.to_string())).collect()
}

/// Lets Prometheus say what each side runs.
fn told_revisions(mut rollout: serde_json::Value) -> serde_json::Value {
    for (index, side) in ["blue", "green"].iter().enumerate() {
        rollout["spec"]["sides"][index]["revisionQuery"] = json!({
            "promql": format!("app_build_info{{side=\"{side}\"}}"),
            "label": "version",
            "source": "main",
        });
    }
    rollout["spec"].as_object_mut().expect("an object").remove("revision");
    rollout
}

#[test]
fn a_newer_revision_in_flight_goes_back_to_0_and_begins_anew() {
    let rig = Rig::start();
    let shares = rig.stage.follow("green");
    let mut run = rig.run(&told_revisions(rig.rollout("", &[(25, "8s"), (100, "3s")])), &[]);
    at_25(&rig);
    rig.stage.inject("green", "version=v3");
    rig.wait_for_reason(Reason::RevisionChanged, 1);
    rig.ends(&mut run, 0);
    let seen: Vec<u32> = shares.changes().into_iter().map(|(_, share)| share).collect();
    assert_eq!(seen, [0, 2_500, 0, 2_500, 10_000], "{}", rig.story());
    assert_eq!(started(&rig), ["v2", "v3"], "{}", rig.story());
}

#[test]
fn a_serving_side_that_changes_in_flight_holds_until_it_is_as_it_was() {
    let rig = Rig::start();
    let mut run = rig.run(&told_revisions(rig.rollout("", &[(25, "4s"), (100, "3s")])), &[]);
    at_25(&rig);
    rig.stage.inject("blue", "version=v1.1");
    rig.wait_for_reason(Reason::HomeChanged, 1);
    rig.holds("25 % stays", Duration::from_secs(8), || rig.stage.green_share() == Some(2_500));
    assert_eq!(rig.count(Reason::StepPassed), 0, "no bake counts\n{}", rig.story());
    rig.stage.inject("blue", "version=v1");
    rig.ends(&mut run, 0);
}

// === server weights ===

#[test]
fn the_servers_of_one_backend_are_promoted_and_rolled_back() {
    let rig = Rig::start();
    let _users = haldane_tests::load::Load::start(rig.stage.servers_port, 240);
    let mut rollout = rig.rollout("v2", FOUR);
    rollout["spec"]["traffic"] = json!([{"name": "edge", "haproxy": rig.stage.server_traffic()}]);
    let mut run = rig.run(&rollout, &[]);
    rig.ends(&mut run, 0);
    let weights = rig.stage.admin("show servers state be_both").expect("haproxy answers");
    assert!(weight_of(&weights, "b2") == 0 && weight_of(&weights, "g2") > 0, "{weights}");

    // The next release fails, and everything goes back to green.
    rig.stage.inject("blue", "version=v3");
    thread::sleep(SETTLE);
    rollout["spec"]["revision"] = json!("v3");
    let mut run = rig.run(&rollout, &[]);
    rig.wait_for_reason(Reason::StepConfirmed, 6);
    rig.stage.inject("blue", "error_rate=0.2");
    rig.ends(&mut run, 10);
    let weights = rig.stage.admin("show servers state be_both").expect("haproxy answers");
    assert!(weight_of(&weights, "b2") == 0 && weight_of(&weights, "g2") > 0, "{weights}");
}

/// Returns the weight that a server has now, from HAProxy's own list.
fn weight_of(state: &str, server: &str) -> u32 {
    let line = state.lines().find(|line| line.split(' ').nth(3) == Some(server));
    let weight = line.and_then(|line| line.split(' ').nth(7)?.parse().ok());
    weight.unwrap_or_else(|| panic!("{server} has a weight:\n{state}"))
}

/// What each server of the shared backend is set to, and whether it is up.
fn weights(rig: &Rig) -> Vec<u32> {
    let state = rig.stage.admin("show servers state be_both").expect("haproxy answers");
    ["b2", "b3", "g2", "g3"].map(|server| weight_of(&state, server)).to_vec()
}

#[test]
fn a_server_that_dies_is_nobodys_write_and_the_weights_stay() {
    let rig = Rig::start();
    let _users = haldane_tests::load::Load::start(rig.stage.servers_port, 240);
    let mut rollout = rig.rollout("v2", &[(50, "4s"), (100, "3s")]);
    rollout["spec"]["traffic"] = json!([{"name": "edge", "haproxy": rig.stage.server_traffic()}]);
    let mut run = rig.run(&rollout, &[]);
    rig.wait_for_reason(Reason::StepConfirmed, 1);
    let set = weights(&rig);
    // Nothing listens there: the check fails, as it would for a process that died.
    let b3 = |port: u16| {
        let command = format!("set server be_both/b3 addr 127.0.0.1 port {port}");
        rig.stage.admin(&command).expect("haproxy answers")
    };
    let old = rig.stage.admin("show servers state be_both").expect("haproxy answers");
    let line = old.lines().find(|line| line.contains(" b3 ")).expect("b3 is there").to_owned();
    let port = line.split(' ').nth(18).and_then(|port| port.parse().ok()).expect("its port");
    b3(haldane_tests::process::free_port());
    rig.wait_for_reason(Reason::ShareOff, 1);
    rig.holds("the weights stay", Duration::from_secs(8), || weights(&rig) == set);
    for reason in [Reason::LoweredByOther, Reason::RaiseUndone, Reason::Conflicted] {
        assert_eq!(rig.count(reason), 0, "nobody wrote\n{}", rig.story());
    }
    assert_eq!(rig.count(Reason::StepPassed), 0, "no bake counts meanwhile\n{}", rig.story());
    b3(port);
    rig.ends(&mut run, 0);
}

// === what is missing ===

#[test]
fn what_haproxy_lacks_is_refused_before_anything_begins_with_the_remedy() {
    let rig = Rig::start();
    let mut rollout = rig.rollout("v2", SLOW);
    rollout["spec"]["traffic"][0]["haproxy"]["destinations"]["green"]["backend"] = json!("be_nope");
    let mut run = rig.run(&rollout, &[]);
    rig.ends(&mut run, 11);
    let last = run.last_line();
    for word in ["refused", "traffic entry edge", "be_nope", "correct destinations"] {
        assert!(last.contains(word), "{word}: {last}");
    }
    rollout["spec"]["traffic"][0]["haproxy"]["destinations"]["green"]["backend"] =
        json!("be_green");
    rollout["spec"]["traffic"][0]["haproxy"]["share"]["key"] = json!("other");
    let mut run = rig.run(&rollout, &[]);
    rig.ends(&mut run, 11);
    let last = run.last_line();
    assert!(last.contains("\"other\"") && last.contains("haldane haproxy snippet"), "{last}");
    rollout["spec"]["traffic"][0]["haproxy"]["share"]["map"] = json!("/etc/haproxy/no.map");
    let mut run = rig.run(&rollout, &[]);
    rig.ends(&mut run, 11);
    let last = run.last_line();
    assert!(last.contains("no.map is not loaded") && last.contains("haproxy snippet"), "{last}");
    assert_eq!((rig.count(Reason::Started), rig.stage.green_share()), (0, Some(0)));
}

#[test]
fn a_socket_that_is_absent_is_told_at_once_and_waited_for() {
    let mut rig = Rig::start();
    rig.stage.kill_haproxy();
    let mut run = rig.run(&rig.rollout("v2", &[(25, "3s"), (100, "3s")]), &[]);
    rig.wait_for("it says what is missing", Duration::from_secs(5), || {
        run.said("nothing begins yet").is_some() && run.text().contains("is haproxy running")
    });
    thread::sleep(Duration::from_secs(4));
    assert_eq!(run.ended(), None, "it waits\n{}", run.text());
    assert_eq!(run.text().matches("nothing begins yet").count(), 1, "once\n{}", run.text());
    rig.stage.start_haproxy();
    rig.ends(&mut run, 0);
}

#[test]
fn in_flight_what_haproxy_lacks_stops_no_guard_and_no_rollback() {
    let rig = Rig::start();
    let rollout = rig.rollout("v2", SLOW);
    let mut run = rig.run(&rollout, &[]);
    at_25(&rig);
    run.signal("TERM");
    rig.ends(&mut run, 12);
    let mut lacks = rollout;
    lacks["spec"]["traffic"][0]["haproxy"]["destinations"]["green"]["backend"] = json!("be_nope");
    let mut run = rig.run(&lacks, &[]);
    rig.wait_for_reason(Reason::PlanChanged, 1);
    rig.holds("25 % stays", Duration::from_secs(3), || rig.stage.green_share() == Some(2_500));
    assert_eq!(run.ended(), None, "it guards\n{}", run.text());
    assert!(breach_on(&rig, "green") < IN_TIME);
    rig.ends(&mut run, 10);
}

// === a newer engine's record ===

fn database(rig: &Rig) -> rusqlite::Connection {
    rusqlite::Connection::open(rig.state().join("haldane.db")).expect("a database")
}

fn stored(rig: &Rig) -> String {
    let sql = "select record from rollout";
    let bytes: Vec<u8> = database(rig).query_row(sql, (), |row| row.get(0)).expect("one record");
    String::from_utf8(bytes).expect("JSON is text")
}

fn store(rig: &Rig, text: &str) {
    let written = database(rig).execute("update rollout set record = ?", [text.as_bytes()]);
    assert_eq!(written.expect("the database takes it"), 1);
}

#[test]
fn a_newer_engines_record_is_held_told_and_can_be_aborted_and_the_newer_engine_finds_it() {
    let rig = Rig::start();
    let rollout = rig.rollout("v2", &[(25, "3s"), (100, "3s")]);
    let mut run = rig.run(&rollout, &[]);
    at_25(&rig);
    run.signal("TERM");
    rig.ends(&mut run, 12);
    // What a newer engine would leave: another format, words that this one does not know.
    let newer = stored(&rig).replacen("\"format\":1", "\"format\":9", 1);
    let newer = newer.replacen("\"attempt\"", "\"endeavour\" : \"x\", \"attempt\"", 1);
    store(&rig, &newer);

    let told = rig.haldane(&["status", "app"]);
    assert!(told.text.contains("Held") && told.text.contains("NewerFormat"), "{}", told.text);
    let mut run = rig.run(&rollout, &[]);
    rig.wait_for("it says so", SOON, || run.said("written by a newer engine").is_some());
    rig.wait_for("it reads the split", SOON, || {
        rig.status("app")["traffic"][0]["observed"] == json!(2_500)
    });
    rig.holds("25 % stays", Duration::from_secs(5), || rig.stage.green_share() == Some(2_500));
    assert_eq!(stored(&rig), newer, "nothing is written without need");
    let told = rig.haldane(&["explain", "app"]);
    assert!(told.text.contains("newer engine") && told.text.contains("abort"), "{}", told.text);
    let refused = rig.haldane(&["promote", "app"]);
    assert_eq!(refused.code, Some(11), "{}", refused.text);
    assert!(refused.text.contains("newer engine"), "{}", refused.text);

    assert_eq!(rig.haldane(&["abort", "app"]).code, Some(0));
    assert_eq!(rig.stage.green_share(), Some(0), "the answer comes after the write");
    rig.ends(&mut run, 10);
    assert_eq!(run.text().matches("written by a newer engine").count(), 1, "{}", run.text());
    let lowered = stored(&rig);
    assert_eq!(lowered, newer.replacen("\"lowered\":null", "\"lowered\":\"AbortedByPerson\"", 1));
    let told = rig.haldane(&["explain", "app"]);
    assert!(told.text.contains("AbortedByPerson"), "{}", told.text);

    // The newer engine, as far as this one can play it.
    store(&rig, &lowered.replacen("\"format\":9", "\"format\":1", 1));
    let mut run = rig.run(&rollout, &[]);
    rig.ends(&mut run, 10);
    assert_eq!(rig.count(Reason::OwnLoweringFound), 1, "{}", rig.story());
    assert_eq!(rig.stage.green_share(), Some(0));
}
