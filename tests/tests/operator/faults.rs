//! What goes wrong between the engine and the API server while a release is bad.

use std::time::{Duration, Instant};

use haldane_tests::{
    cluster::{Fault, Rule, Seen},
    operator::{Shop, Start, cluster},
    process::wait_for,
};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(60);
/// How long a fault that answers takes: what waits for it shows.
const LATE: Duration = Duration::from_millis(400);

/// A release at its first step, with an operator behind a proxy.
fn at_first_step(
    name: &str,
) -> (Shop, haldane_tests::cluster::Faults, haldane_tests::operator::Operator) {
    let shop = Shop::open(name);
    let proxy = cluster().faults();
    let start = Start::within(&shop.namespace);
    let operator = start.clone().with(start.access.at(&proxy.url())).start();
    shop.apply(
        &shop.rollout(
            json!({"steps": [{"weight": 25, "bake": "10m"}, {"weight": 100, "bake": "4s"}],
        "progressDeadline": "1h"}),
        ),
    );
    shop.wait_healthy("blue");
    shop.deploy("green", "v2");
    shop.wait("the first step", |status| status["phase"] == "Baking" && shop.share() == 25);
    (shop, proxy, operator)
}

/// A breach while the status of rollouts has a fault: the route's write goes out all the same, before anything
/// that would have to be waited for, and the record follows when it can.
fn rolled_back_in_spite_of(name: &str, fault: Fault) {
    let (shop, proxy, _operator) = at_first_step(name);
    proxy.add(Rule::any("/rollouts/checkout/status", fault));
    let before = proxy.seen().len();
    let breach = Instant::now();
    shop.set_badness(9);
    wait_for("the traffic is back", PATIENCE, || shop.share() == 0);
    let after: Vec<_> = proxy.seen().split_off(before);
    let write = after.iter().position(|seen| {
        seen.method == "PATCH" && seen.target.contains("/virtualservices/checkout")
    });
    let write = write.expect("the write went through the proxy");
    let sent = after[write].at;
    println!("{name}: PATCH {:?} after the breach", sent.duration_since(breach));
    let of_status = |seen: &&Seen| seen.target.contains("/rollouts/checkout/status");
    let of_rollback = |seen: &&Seen| {
        of_status(seen) && String::from_utf8_lossy(&seen.body).contains("RollingBack")
    };
    // A record that was under way when the breach came is read where it failed, by the store and by the loop; nothing
    // else is.
    let earlier = after[..write].iter().filter(|seen| of_status(seen) && !of_rollback(seen));
    let reads: Vec<_> = after[..write]
        .iter()
        .filter(|seen| seen.method == "GET" && seen.target.contains("/rollouts/checkout"))
        .collect();
    assert!(reads.len() <= 2 * earlier.count(), "something was read first: {reads:?}");
    let answered = after.iter().find(of_rollback).and_then(|recorded| recorded.answered);
    assert!(answered.is_none_or(|at| at >= sent), "its record was answered before it was sent");
    assert_ne!(shop.status()["phase"], "Degraded", "it cannot have been recorded");
    proxy.clear();
    let status = shop.wait("recorded", |status| status["phase"] == "Degraded");
    assert_eq!(
        status["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["type"] == "Stalled")
            .unwrap()["status"],
        "True"
    );
}

#[test]
fn a_rollback_waits_for_no_status_that_hangs() {
    rolled_back_in_spite_of("hanging", Fault::Hang);
}

#[test]
fn a_rollback_waits_for_no_status_that_conflicts() {
    rolled_back_in_spite_of("conflicting", Fault::AnswerLate(409, LATE));
}

#[test]
fn a_rollback_waits_for_no_status_that_fails() {
    rolled_back_in_spite_of("failing", Fault::AnswerLate(500, LATE));
}

#[test]
fn a_rollback_waits_for_no_status_whose_connection_breaks() {
    rolled_back_in_spite_of("breaking", Fault::BreakLate(LATE));
}

#[test]
fn an_api_server_that_was_down_for_a_minute_during_a_breach_gets_the_rollback_when_it_is_back() {
    let (shop, proxy, _operator) = at_first_step("down");
    proxy.add(Rule::any("", Fault::Break));
    proxy.cut_watches();
    shop.set_badness(9);
    std::thread::sleep(Duration::from_secs(60));
    assert_eq!(shop.share(), 25, "it cannot be reached");
    let back = Instant::now();
    proxy.clear();
    wait_for("the traffic is back", PATIENCE, || shop.share() == 0);
    println!("share 0 after {:?} of the server being back", back.elapsed());
    shop.wait("recorded", |status| status["phase"] == "Degraded");
}

#[test]
fn a_slow_api_server_and_one_that_refuses_for_a_while_lose_nothing() {
    let (shop, proxy, _operator) = at_first_step("slow");
    proxy.add(Rule::any("/virtualservices/checkout", Fault::Answer(429)).times(3));
    proxy.add(Rule::any("/rollouts/checkout/status", Fault::LoseAnswer).times(2));
    proxy.add(Rule::any("", Fault::Delay(Duration::from_millis(300))));
    shop.set_badness(9);
    shop.wait("rolled back", |status| status["phase"] == "Degraded");
    assert_eq!(shop.share(), 0);
    let asked = proxy.seen_of("PATCH", "/virtualservices/checkout").len();
    assert!(asked < 40, "{asked} writes are a hot loop");
}

#[test]
fn watches_that_are_cut_or_forgotten_lose_nothing() {
    let (shop, proxy, _operator) = at_first_step("watches");
    assert!(proxy.cut_watches() > 0);
    shop.kubectl(&["annotate", "hro", "checkout", "note=cut"]);
    std::thread::sleep(Duration::from_secs(1));
    assert!(proxy.expire_watches() > 0);
    // A hand raises the share: seen by a watch that was begun anew.
    let raise = r#"[{"op":"replace","path":"/spec/http/1/route/0/weight","value":10},
        {"op":"replace","path":"/spec/http/1/route/1/weight","value":90}]"#;
    shop.kubectl(&["patch", "virtualservice", "checkout", "--type=json", "-p", raise]);
    wait_for("it is undone", PATIENCE, || shop.share() == 25);
    shop.deploy("green", "v3");
    wait_for("a new revision sends the traffic back", PATIENCE, || shop.share() == 0);
}

#[test]
fn rollouts_that_are_not_found_for_a_while_are_no_deleted_rollouts() {
    let (shop, proxy, _operator) = at_first_step("not-found");
    // As a proxy's own page, or an API server whose kinds are not there yet.
    proxy.add(Rule::new("GET", "/rollouts?", Fault::Answer(404)));
    assert!(proxy.cut_watches() > 0);
    wait_for("it asks for each before it takes it for gone", PATIENCE, || {
        let seen = proxy.seen();
        let is_not_found = |seen: &Seen| seen.code == Some(404);
        let of_it = |seen: &Seen| seen.method == "GET" && seen.target.contains("/checkout?");
        seen.iter().position(is_not_found).is_some_and(|at| seen[at..].iter().any(of_it))
    });
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(shop.share(), 25, "nobody deleted it");
    proxy.clear();
    shop.set_badness(9);
    wait_for("it was guarded all the while", PATIENCE, || shop.share() == 0);
}

#[test]
fn a_prometheus_that_is_down_holds_and_never_rolls_back() {
    let mut shop = Shop::open("no-metrics");
    let _operator = Start::within(&shop.namespace).start();
    shop.apply(
        &shop.rollout(
            json!({"steps": [{"weight": 25, "bake": "10s"}, {"weight": 100, "bake": "4s"}]}),
        ),
    );
    shop.wait_healthy("blue");
    shop.deploy("green", "v2");
    shop.wait("the first step", |_| shop.share() == 25);
    shop.kill_prometheus();
    let status = shop.wait("held", |status| status["heldBy"].to_string().contains("SourceError"));
    assert_eq!(status["verdict"], "SourceError", "{status:#}");
    std::thread::sleep(Duration::from_secs(12));
    assert_eq!(shop.share(), 25, "neither on nor back");
}

#[test]
fn nothing_is_asked_while_nothing_changes() {
    let shop = Shop::open("idle");
    let proxy = cluster().faults();
    let start = Start::within(&shop.namespace);
    let _operator = start.clone().with(start.access.at(&proxy.url())).start();
    shop.apply(&shop.rollout(json!({})));
    shop.wait_healthy("blue");
    // The first pictures are published, and the first looks are over.
    std::thread::sleep(Duration::from_secs(20));
    let before = proxy.seen().len();
    std::thread::sleep(Duration::from_secs(60));
    let asked: Vec<_> = proxy.seen().split_off(before);
    let leases = asked.iter().filter(|seen| seen.target.contains("/leases/")).count();
    let others: Vec<String> = asked
        .iter()
        .filter(|seen| !seen.target.contains("/leases/"))
        .map(|seen| format!("{} {}", seen.method, seen.target))
        .collect();
    assert!((20..=30).contains(&leases), "the lease was written {leases} times in a minute");
    assert!(others.is_empty(), "asked in an idle minute: {others:#?}");
}
