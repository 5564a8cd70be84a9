//! Several engines, and engines that end: who leads, and what is left behind.

use std::time::{Duration, Instant};

use haldane_tests::{
    cluster::{Fault, Rule, Seen},
    operator::{Operator, Shop, Start, cluster},
    process::wait_for,
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

fn holder(shop: &Shop) -> String {
    let told = cluster()
        .admin()
        .within(&shop.namespace)
        .try_kubectl(&["get", "lease", "haldane", "-o=json"]);
    let lease: Value =
        told.ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

fn is_ready(operator: &Operator) -> bool {
    operator.ask("/ready").is_some()
}

/// Two engines of which `one` leads, and a release at its first step.
fn two_at_first_step(name: &str, bake: &str) -> (Shop, Operator, Operator) {
    let shop = Shop::open(name);
    let start = Start::within(&shop.namespace);
    let one = start.start();
    wait_for("one leads", PATIENCE, || holder(&shop) == "one");
    let two = start.clone().named("two").start();
    wait_for("the standby is ready", PATIENCE, || is_ready(&two));
    shop.apply(
        &shop.rollout(
            json!({"steps": [{"weight": 25, "bake": bake}, {"weight": 100, "bake": "4s"}],
        "progressDeadline": "1h"}),
        ),
    );
    shop.wait_healthy("blue");
    shop.deploy("green", "v2");
    shop.wait("the first step", |status| status["phase"] == "Baking" && shop.share() == 25);
    (shop, one, two)
}

#[test]
fn a_leader_that_is_killed_is_followed_within_seconds_and_the_release_goes_on() {
    let (shop, mut one, two) = two_at_first_step("killed", "20s");
    let killed = Instant::now();
    one.kill();
    wait_for("two leads", PATIENCE, || holder(&shop) == "two");
    let taken = killed.elapsed();
    println!("taken over after {taken:?}");
    shop.set_badness(9);
    shop.wait("rolled back", |status| {
        status["phase"] == "Degraded" && status["engine"]["term"] == 2
    });
    assert_eq!(shop.share(), 0);
    let metrics = two.ask("/metrics").unwrap();
    assert!(
        metrics.contains("haldane_leader 1") && metrics.contains("haldane_lease_term 2"),
        "{metrics}"
    );
}

#[test]
fn a_leader_that_ends_gives_the_lease_back_at_once() {
    let (shop, mut one, _two) = two_at_first_step("graceful", "20s");
    one.stop();
    let stopped = Instant::now();
    wait_for("two leads", PATIENCE, || holder(&shop) == "two");
    println!("taken over {:?} after the end of the first", stopped.elapsed());
    shop.wait_healthy("green");
    assert_eq!(shop.share(), 100);
}

/// How long a write of the leader is under way: until another one leads, has gone on, and was rolled back.
const UNDER_WAY: Duration = Duration::from_secs(40);

/// A leader is stopped while a write of its raise to 50 % is under way, which then comes after everything that the
/// next leader did. `part`: where it writes; `words`: what tells the write of the raise.
fn stopped_while_it_raises(name: &str, part: &str, words: &str) {
    let shop = Shop::open(name);
    let proxy = cluster().faults();
    let start = Start::within(&shop.namespace);
    let one = start.clone().with(start.access.at(&proxy.url())).start();
    wait_for("one leads", PATIENCE, || holder(&shop) == "one");
    let two = start.clone().named("two").start();
    wait_for("the standby is ready", PATIENCE, || is_ready(&two));
    shop.apply(
        &shop
            .rollout(json!({"steps": [{"weight": 25, "bake": "6s"}, {"weight": 50, "bake": "10m"},
        {"weight": 100, "bake": "4s"}], "progressDeadline": "1h"})),
    );
    shop.wait_healthy("blue");
    shop.deploy("green", "v2");
    shop.wait("the first step", |status| status["phase"] == "Baking" && shop.share() == 25);
    let before = proxy.seen().len();
    proxy.add(Rule::new("PATCH", part, Fault::Delay(UNDER_WAY)));
    let is_raise = |seen: &Seen| {
        seen.method == "PATCH"
            && seen.target.contains(part)
            && String::from_utf8_lossy(&seen.body).contains(words)
    };
    let raise = || proxy.seen().into_iter().skip(before).find(is_raise);
    wait_for("the raise is under way", PATIENCE, || raise().is_some());
    one.signal("STOP");
    assert_eq!(shop.share(), 25, "it did not come through");
    wait_for("two leads", PATIENCE, || holder(&shop) == "two");
    shop.wait("two takes the second step", |_| shop.share() == 50);
    // A person's rollback under the second engine: what the first one would write now is wrong.
    shop.apply(&json!({"apiVersion": "haldane.dev/v1alpha1", "kind": "RolloutRequest",
        "metadata": {"name": "stop"}, "spec": {"rollout": "checkout", "verb": "Abort", "requestedBy": "alice"}}));
    shop.wait("rolled back", |status| status["phase"] == "Degraded");
    let under_way = raise().unwrap();
    assert_eq!((shop.share(), under_way.code), (0, None), "all this was before the raise came");
    wait_for("the raise has come and has lost", PATIENCE, || {
        raise().is_some_and(|seen| seen.code.is_some())
    });
    let code = raise().unwrap().code;
    assert!(matches!(code, Some(409 | 422)), "the raise was answered {code:?}");
    assert_eq!(shop.share(), 0);
    one.signal("CONT");
    let end = Instant::now() + Duration::from_secs(8);
    while Instant::now() < end {
        assert_eq!(shop.share(), 0, "raised by an engine that leads no more");
        std::thread::sleep(Duration::from_millis(100));
    }
    // It finds the rollback of the next leader, and may say it once more: that raises nothing.
    let raises = |seen: &Seen| {
        seen.method == "PATCH"
            && seen.target.contains("/virtualservices/")
            && !seen.target.contains("dryRun")
            && !String::from_utf8_lossy(&seen.body)
                .contains(r#"/spec/http/1/route/1/weight","value":0}"#)
    };
    let raised: Vec<Seen> = proxy.seen().split_off(before).into_iter().filter(raises).collect();
    let won = raised.iter().filter(|seen| seen.code == Some(200));
    assert_eq!(won.count(), 0, "the first engine raised: {raised:#?}");
    assert_eq!(shop.status()["engine"]["term"], 2);
    assert_eq!(holder(&shop), "two");
}

#[test]
fn a_leader_that_was_stopped_past_its_lease_raises_nothing() {
    stopped_while_it_raises("paused", "/virtualservices/checkout", r#""value":50"#);
}

#[test]
fn a_leader_that_was_stopped_while_it_records_a_raise_loses_that_record() {
    stopped_while_it_raises("paused-record", "/rollouts/checkout/status", "Shifting");
}

#[test]
fn an_engine_that_is_killed_again_and_again_loses_nothing() {
    let shop = Shop::open("kills");
    let start = Start::within(&shop.namespace);
    shop.apply(&shop.rollout(json!({})));
    let mut seen = Vec::new();
    let begin = Instant::now();
    let mut deployed = false;
    // Each life is a bit longer than the one before; the same identity takes its lease back at once.
    for life in 0_u64.. {
        let mut operator = start.start();
        // What was baked is recorded every 15 s; a life that is shorter may lose it all.
        let more = if life % 5 == 4 { 20_000 } else { 0 };
        std::thread::sleep(Duration::from_millis(1_500 + 400 * (life % 12) + more));
        let status = shop.status();
        seen.push((status["phase"].clone(), shop.share()));
        if !deployed && status["phase"] == "Healthy" {
            shop.deploy("green", "v2");
            deployed = true;
        }
        if status["phase"] == "Healthy" && status["serving"] == "green" {
            break;
        }
        operator.kill();
        assert!(begin.elapsed() < 4 * PATIENCE, "{seen:?}");
    }
    let _operator = start.start();
    let status = shop.wait_healthy("green");
    assert_eq!(status["attempt"], 1, "one release is one attempt: {seen:?}");
    assert_eq!(shop.share(), 100);
    let shares: std::collections::BTreeSet<u64> = seen.iter().map(|(_, share)| *share).collect();
    assert!(shares.iter().all(|share| [0, 25, 100].contains(share)), "{seen:?}");
}

#[test]
fn a_record_of_a_newer_engine_is_held_and_an_abort_lowers_it() {
    let shop = Shop::open("newer");
    let start = Start::within(&shop.namespace);
    let mut operator = start.start();
    shop.apply(
        &shop.rollout(
            json!({"steps": [{"weight": 25, "bake": "10m"}, {"weight": 100, "bake": "4s"}],
        "progressDeadline": "1h"}),
        ),
    );
    shop.wait_healthy("blue");
    shop.deploy("green", "v2");
    shop.wait("the first step", |status| status["phase"] == "Baking" && shop.share() == 25);
    operator.stop();
    let rollout = shop.get("hro", "checkout");
    let text = rollout["status"]["record"]["text"].as_str().unwrap();
    let newer = text.replacen("\"format\":1", "\"format\":99", 1);
    assert_ne!(newer, text);
    let patch = json!({"status": {"record": {"text": newer}}}).to_string();
    shop.kubectl(&[
        "patch",
        "hro",
        "checkout",
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ]);
    let _older = start.start();
    shop.wait("held", |status| status["phase"] == "Held");
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(shop.share(), 25, "it raises nothing, and lowers nothing unasked");
    shop.apply(&json!({"apiVersion": "haldane.dev/v1alpha1", "kind": "RolloutRequest",
        "metadata": {"name": "stop"}, "spec": {"rollout": "checkout", "verb": "Abort", "requestedBy": "alice"}}));
    wait_for("it is lowered", PATIENCE, || shop.share() == 0);
    let kept = shop.get("hro", "checkout")["status"]["record"]["text"].as_str().unwrap().to_owned();
    assert!(kept.contains("\"format\":99"), "the rest is written back as it was");
}
