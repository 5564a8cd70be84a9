//! `haldane serve DIR`, the real binary: several rollouts, the verbs over its socket, and files that
//! come and go.

use std::{fs, path::PathBuf, time::Duration};

use haldane_model::Reason;
use haldane_tests::{
    load::Load,
    rig::{Rig, Run, SOON},
};
use serde_json::{Value, json};

fn serve(rig: &Rig) -> Run {
    let mut command = rig.command();
    command.arg("serve").arg(folder(rig)).arg("--state").arg(rig.state());
    let run = Run::start(command);
    rig.wait_for("the engine answers", SOON, || rig.haldane(&["get"]).code == Some(0));
    run
}

fn folder(rig: &Rig) -> PathBuf {
    rig.stage.folder().join("rollouts")
}

fn write(rig: &Rig, name: &str, rollout: &Value) {
    rig.write(&format!("rollouts/{name}.yaml"), &format!("{rollout:#}\n"));
}

#[track_caller]
fn at(rig: &Rig, name: &str, phase: &str, basis_points: u32) {
    rig.wait_for(&format!("{name} {phase} at {basis_points}"), SOON, || {
        let status = rig.status(name);
        let observed = &status["traffic"][0]["observed"];
        status["phase"] == phase && *observed == json!(basis_points)
    });
}

#[test]
fn two_rollouts_are_served_side_by_side_and_people_direct_them_by_the_socket() {
    let rig = Rig::start();
    let _users = Load::start(rig.stage.servers_port, 100);
    let app = rig.rollout("v2", &[(25, "10m"), (100, "10m")]);
    let mut servers = rig.rollout("v2", &[(50, "10m"), (100, "3s")]);
    servers["metadata"]["name"] = json!("servers");
    servers["spec"]["traffic"] = json!([{"name": "edge", "haproxy": rig.stage.server_traffic()}]);
    write(&rig, "app", &app);
    write(&rig, "servers", &servers);
    let mut engine = serve(&rig);
    at(&rig, "app", "Baking", 2_500);
    at(&rig, "servers", "Baking", 5_000);

    let listed = rig.haldane(&["get"]);
    assert!(listed.text.contains("app") && listed.text.contains("servers"), "{}", listed.text);

    assert_eq!(rig.haldane(&["pause", "app", "--reason", "lunch"]).code, Some(0));
    at(&rig, "app", "Paused", 2_500);
    let refused = rig.haldane(&["promote", "app"]);
    assert_eq!(refused.code, Some(11), "{}", refused.text);
    assert!(refused.text.contains("resume"), "it says what to do: {}", refused.text);
    assert_eq!(rig.haldane(&["resume", "app"]).code, Some(0));
    at(&rig, "app", "Baking", 2_500);
    let stale = rig.haldane(&["promote", "app", "--step", "2"]);
    assert_eq!(stale.code, Some(11), "{}", stale.text);
    assert_eq!(rig.haldane(&["promote", "app", "--reason", "we looked"]).code, Some(0));
    at(&rig, "app", "Baking", 10_000);
    let promoted = rig.journal().into_iter().find(|e| e.reason == Reason::PromotedByPerson);
    let told = haldane_runtime::explain::line(&promoted.expect("the journal names the person"));
    assert!(told.contains("we looked") && told.contains("by "), "{told}");
    assert_eq!(rig.haldane(&["promote", "app"]).code, Some(0));
    rig.wait_for("app is healthy", SOON, || rig.status("app")["phase"] == "Healthy");

    at(&rig, "servers", "Baking", 5_000);
    assert_eq!(rig.haldane(&["abort", "servers", "--reason", "no"]).code, Some(0));
    at(&rig, "servers", "Degraded", 0);
    assert_eq!(rig.haldane(&["abort", "servers"]).code, Some(0), "an abort repeated is harmless");
    assert_eq!(rig.stage.green_share(), Some(10_000), "the other rollout is left alone");

    engine.signal("TERM");
    assert_eq!(engine.wait(SOON), Some(0));
    assert_eq!(rig.stage.green_share(), Some(10_000), "weights stay");
}

#[test]
fn a_second_rollout_on_one_route_and_a_second_engine_on_one_state_are_refused_by_name() {
    let rig = Rig::start();
    write(&rig, "app", &rig.rollout("v2", &[(25, "10m"), (100, "10m")]));
    let engine = serve(&rig);
    at(&rig, "app", "Baking", 2_500);
    let mut second = rig.rollout("v9", &[(100, "1s")]);
    second["metadata"]["name"] = json!("late");
    write(&rig, "late", &second);
    rig.wait_for("the second is refused", SOON, || engine.said("default/app already").is_some());
    let refusal = engine.text();
    let line =
        refusal.lines().find(|line| line.contains("default/app already")).unwrap_or_default();
    assert!(line.contains("late") && line.contains("refused"), "{line}");
    assert!(!rig.haldane(&["get"]).text.contains("late"), "it is not taken up");
    rig.holds("25 % stays", Duration::from_secs(2), || rig.stage.green_share() == Some(2_500));

    let mut command = rig.command();
    command.arg("serve").arg(folder(&rig)).arg("--state").arg(rig.state());
    let mut other = Run::start(command);
    assert_eq!(other.wait(SOON), Some(1), "{}", other.text());
    assert!(other.text().contains(&format!("process {}", engine.id())), "{}", other.text());
    assert_eq!(rig.haldane(&["get"]).code, Some(0), "the first one still answers");
}

#[test]
fn a_file_deleted_in_flight_rolls_back_and_one_written_again_begins_anew() {
    let rig = Rig::start();
    write(&rig, "app", &rig.rollout("v2", &[(25, "10m"), (100, "10m")]));
    let mut engine = serve(&rig);
    at(&rig, "app", "Baking", 2_500);
    // A restart of the engine goes on where it was.
    engine.signal("TERM");
    assert_eq!(engine.wait(SOON), Some(0));
    assert_eq!(rig.stage.green_share(), Some(2_500));
    let engine = serve(&rig);
    at(&rig, "app", "Baking", 2_500);

    fs::remove_file(folder(&rig).join("app.yaml")).expect("the file goes");
    rig.wait_for_share(0);
    rig.wait_for("the rollout is gone", SOON, || !rig.haldane(&["get"]).text.contains("app"));
    assert!(engine.said("Deleted").is_some(), "{}", engine.text());

    write(&rig, "app", &rig.rollout("v2", &[(50, "10m"), (100, "10m")]));
    at(&rig, "app", "Baking", 5_000);
}

#[test]
fn a_rollout_whose_preflight_is_refused_is_shown_and_others_go_on() {
    let rig = Rig::start();
    let _users = Load::start(rig.stage.servers_port, 100);
    let mut refused = rig.rollout("v2", &[(50, "10m"), (100, "3s")]);
    refused["metadata"]["name"] = json!("servers");
    refused["spec"]["traffic"] = json!([{"name": "edge", "haproxy": rig.stage.server_traffic()}]);
    let servers = refused["spec"]["traffic"][0]["haproxy"]["destinations"].clone();
    refused["spec"]["traffic"][0]["haproxy"]["destinations"]["green"]["servers"] =
        json!(["g2", "g9"]);
    write(&rig, "a-refused", &refused);
    write(&rig, "app", &rig.rollout("v2", &[(25, "10m"), (100, "10m")]));
    let engine = serve(&rig);
    at(&rig, "app", "Baking", 2_500);
    rig.wait_for("the other is refused", SOON, || {
        let told = rig.status("servers")["specError"].to_string();
        told.contains("g9") && told.contains("correct destinations")
    });
    assert!(engine.said("g9").is_some(), "it is logged: {}", engine.text());
    assert_eq!(rig.status("servers")["attempt"], json!(0));

    refused["spec"]["traffic"][0]["haproxy"]["destinations"] = servers;
    write(&rig, "a-refused", &refused);
    at(&rig, "servers", "Baking", 5_000);
    assert_eq!(rig.status("servers")["specError"], Value::Null);
    at(&rig, "app", "Baking", 2_500);
}

/// A rollout whose metrics are looked up in the source.
fn looked_up(rig: &Rig) -> Value {
    let mut rollout = rig.rollout("v2", &[(25, "10m"), (100, "10m")]);
    let errors = &mut rollout["spec"]["analysis"]["checks"][0]["errors"];
    errors.as_object_mut().expect("an object").remove("metrics");
    rollout
}

#[test]
fn a_restart_while_the_source_is_down_goes_on_guarding_by_the_pinned_plan() {
    let mut rig = Rig::start();
    write(&rig, "app", &looked_up(&rig));
    let mut engine = serve(&rig);
    at(&rig, "app", "Baking", 2_500);
    engine.kill();
    rig.stage.kill_prometheus();

    let mut engine = serve(&rig);
    rig.wait_for("what is in flight is taken up", SOON, || {
        let status = rig.status("app");
        status["traffic"][0]["observed"] == json!(2_500)
            && status["specError"].to_string().contains("which metrics")
    });
    // Once the source answers, the file is compiled without anybody touching it.
    rig.stage.start_prometheus();
    rig.wait_for("the file is used again", SOON, || {
        let status = rig.status("app");
        status["specError"] == Value::Null && status["phase"] == "Baking"
    });
    assert_eq!(rig.count(Reason::Started), 1, "{}", rig.story());
    engine.kill();

    // `haldane run` goes on with it as well.
    rig.stage.kill_prometheus();
    let file = folder(&rig).join("app.yaml");
    let run = rig.run_again(&file, &[]);
    rig.wait_for("run goes on", SOON, || rig.status("app")["traffic"][0]["observed"] == 2_500);
    assert_eq!(rig.haldane(&["abort", "app", "--reason", "blind"]).code, Some(0));
    rig.wait_for_share(0);
    drop(run);
}

#[test]
fn what_is_in_flight_is_guarded_though_its_file_broke_or_went_while_no_engine_ran() {
    let rig = Rig::start();
    write(&rig, "app", &rig.rollout("v2", &[(25, "10m"), (100, "10m")]));
    let mut engine = serve(&rig);
    at(&rig, "app", "Baking", 2_500);
    engine.kill();
    rig.write("rollouts/app.yaml", "kind: [");
    let mut engine = serve(&rig);
    at(&rig, "app", "Baking", 2_500);
    rig.wait_for("it is told", SOON, || rig.status("app")["specError"] != Value::Null);
    engine.kill();

    fs::remove_file(folder(&rig).join("app.yaml")).expect("the file goes");
    let _engine = serve(&rig);
    at(&rig, "app", "Baking", 2_500);
    rig.wait_for("it is told", SOON, || {
        rig.status("app")["specError"].to_string().contains("names it")
    });
    rig.stage.inject("green", "fault=1");
    rig.wait_for_share(0);
}

#[test]
fn a_source_that_hangs_keeps_no_other_file_waiting() {
    let rig = Rig::start();
    let hung = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", hung.local_addr().expect("it is bound"));
    for name in ["a", "b", "c", "d"] {
        let mut rollout = looked_up(&rig);
        rollout["metadata"]["name"] = json!(name);
        rollout["spec"]["analysis"]["sources"][0]["prometheus"]["url"] = json!(url);
        write(&rig, name, &rollout);
    }
    write(&rig, "z", &rig.rollout("v2", &[(25, "10m"), (100, "10m")]));
    let started = std::time::Instant::now();
    let _engine = serve(&rig);
    rig.wait_for("the last file is taken up", SOON, || rig.haldane(&["get"]).text.contains("app"));
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
}
