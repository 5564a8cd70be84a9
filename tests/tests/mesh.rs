//! Routes before a real data plane: istiod reads them from a real API server, Envoy carries the requests, and
//! what is asserted is who answered.
//!
//! Needs istiod and Envoy: `make setup-more`. Run by `make test-more`.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]
#![allow(clippy::print_stdout, reason = "what was measured is told")]

#[path = "mesh/stage.rs"]
mod stage;

use std::time::{Duration, Instant};

use haldane_model::{Company, Mark, Mirror, Weight};
use haldane_tests::{
    mesh::{Counts, Seen, VERSIONS, Way, requests_for},
    process::wait_for,
};
use serde_json::Value;

use self::stage::{Driven, turn};

/// How far the measured share may be from the written one, in percentage points.
const TOLERANCE: f64 = 1.0;

/// What the providers say a change takes until proxies have it.
const SETTLING: Duration = Duration::from_secs(2);

#[track_caller]
fn none_failed(counts: &Counts) {
    assert!(counts.failures.is_empty(), "{:?}", &counts.failures[..counts.failures.len().min(5)]);
}

// === the split ===

/// Climbs to 100 % and goes back, under a load that never sees an error; each share is measured.
async fn climbs(name: &str, way: Way) {
    let _turn = turn().await;
    let mut driven = Driven::start(name, way).await;
    let users = driven.mesh.traffic(way.door(), 200);
    for percent in [10, 25, 50, 100, 0] {
        driven.write(percent).await;
        driven.settle(percent).await;
        assert_eq!(driven.share(), Some(f64::from(percent)), "settled means that the proxy has it");
        let begin = Instant::now();
        let counts = driven.mesh.count(way.door(), requests_for(f64::from(percent), TOLERANCE));
        let (measured, total) = (counts.percent(VERSIONS[1]), counts.total());
        println!(
            "{way:?}: {percent} % wanted, {measured:.2} % of {total} requests in {:.1?}",
            begin.elapsed()
        );
        none_failed(&counts);
        let off = (measured - f64::from(percent)).abs();
        // What is all or nothing is so to the request.
        let allowed = if percent % 100 == 0 { 0.0 } else { TOLERANCE };
        assert!(off <= allowed, "{way:?}: {measured} % is not {percent} %");
    }
    let seen = users.stop();
    let failed: Vec<_> = seen.iter().filter(|one| !one.is_good()).collect();
    println!(
        "{way:?}: {} requests of users during the changes, {} failed",
        seen.len(),
        failed.len()
    );
    assert!(failed.is_empty(), "{failed:?}");
    assert!(seen.len() > 1_000, "there was a load");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_service_between_hosts_splits_as_written_and_no_request_fails() {
    climbs("hosts", Way::Hosts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_service_between_subsets_splits_as_written_and_no_request_fails() {
    climbs("subsets", Way::Subsets).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_route_splits_as_written_and_no_request_fails() {
    climbs("routes", Way::HttpRoute).await;
}

// === the routes that are not ours ===

/// Everything of the document but what a weight change may change.
fn theirs(document: &Value) -> [Value; 2] {
    let list = document["spec"].get("http").or_else(|| document["spec"].get("rules")).unwrap();
    [list[0].clone(), list[1].clone()]
}

#[tokio::test(flavor = "multi_thread")]
async fn testers_and_mirrors_are_served_as_they_were_at_every_share() {
    let _turn = turn().await;
    for way in [Way::Hosts, Way::Subsets, Way::HttpRoute] {
        let mut driven = Driven::start("theirs", way).await;
        let before = theirs(&driven.document());
        for percent in [0, 50, 100, 0] {
            driven.write(percent).await;
            driven.settle(percent).await;
            assert_eq!(theirs(&driven.document()), before, "{way:?} at {percent} %");
            let mut tester = driven.mesh.caller(way.door(), "/", &[("x-canary", "1")]);
            for _ in 0..50 {
                let answer = tester.ask().unwrap();
                assert_eq!(answer.version.as_deref(), Some(VERSIONS[1]), "{way:?}: {answer:?}");
            }
            let mut mirrored = driven.mesh.caller(way.door(), "/mirrored", &[]);
            let copies = ["blue", "green"].map(|side| driven.mesh.copy(side));
            let counted = copies.map(|copy| copy.requests());
            for _ in 0..50 {
                let answer = mirrored.ask().unwrap();
                assert_eq!(answer.version.as_deref(), Some(VERSIONS[0]), "{way:?}: {answer:?}");
            }
            wait_for("green is sent a copy of each", Duration::from_secs(10), || {
                copies[1].requests() - counted[1] >= 50
            });
            assert_eq!(
                copies.map(|copy| copy.requests()),
                counted.map(|count| count + 50),
                "{way:?}"
            );
        }
    }
}

/// Asks so often, and returns how many answers came from green.
fn asked(driven: &Driven, times: usize, headers: &[(&str, &str)]) -> usize {
    let mut user = driven.mesh.caller(driven.way.door(), "/", headers);
    let answers = (0..times).map(|_| user.ask().unwrap());
    answers.filter(|answer| answer.version.as_deref() == Some(VERSIONS[1])).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn testers_reach_the_side_under_test_alone_and_copies_are_counted_there() {
    let _turn = turn().await;
    for way in [Way::Hosts, Way::Subsets, Way::HttpRoute] {
        let mut driven = Driven::with_testers("testers", way).await;
        let before = driven.document()["spec"].to_string();
        let share = Weight::from_percent(50).unwrap();
        driven.provider.rehearse_mirror(share).await.unwrap();
        let mirror = Some(Mirror { to: "green".into(), share });
        let company = Company { testers: "green".into(), mirror };
        driven.provider.accompany(company, Mark::raise(1)).await.unwrap();
        driven.settle(0).await;
        let copied = |driven: &Driven| driven.mesh.copy("green").requests();
        assert_eq!(asked(&driven, 50, &[("x-canary", "1")]), 50, "{way:?}: testers are on green");
        let counted = copied(&driven);
        assert_eq!(asked(&driven, 400, &[]), 0, "{way:?}: users are on blue");
        // Five deviations of half of four hundred, which is ten.
        wait_for("half of them are copied", Duration::from_secs(10), || {
            copied(&driven) - counted >= 150
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        let copies = copied(&driven) - counted;
        println!("{way:?}: {copies} of 400 requests were copied at 50 %");
        assert!((150..=250).contains(&copies), "{way:?}: {copies} of 400");
        driven.write(0).await;
        driven.settle(0).await;
        let counted = copied(&driven);
        assert_eq!(asked(&driven, 50, &[("x-canary", "1")]), 0, "{way:?}: testers are back");
        assert_eq!(asked(&driven, 100, &[]), 0);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(copied(&driven), counted, "{way:?}: nothing is copied any more");
        let full = |text: &str| text.replace("\"weight\":10000", "\"weight\":100");
        assert_eq!(full(&driven.document()["spec"].to_string()), full(&before), "{way:?}");
    }
}

// === how soon ===

/// What a rollback took, from the call on.
struct Took {
    patched: Duration,
    first_new: Duration,
    last_old: Duration,
}

/// Lowers from 100 % to 0 under a load, some times.
async fn rollbacks(driven: &mut Driven) -> Vec<Took> {
    let door = driven.way.door();
    let users = driven.mesh.traffic(door, 1_000);
    let mut all = Vec::new();
    for _ in 0..10 {
        driven.write(100).await;
        driven.settle(100).await;
        let begin = Instant::now();
        driven.write(0).await;
        let patched = begin.elapsed();
        driven.settle(0).await;
        let seen = users.seen();
        let of = |version: &str| {
            let is = |one: &&Seen| {
                one.answer.as_ref().is_ok_and(|answer| answer.version.as_deref() == Some(version))
            };
            seen.iter()
                .filter(|one| one.at >= begin)
                .filter(is)
                .map(|one| one.at - begin)
                .collect::<Vec<_>>()
        };
        let first_new = of(VERSIONS[0]).into_iter().min().unwrap();
        let last_old = of(VERSIONS[1]).into_iter().max().unwrap_or_default();
        all.push(Took { patched, first_new, last_old });
    }
    assert!(users.stop().iter().all(Seen::is_good), "no request fails");
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lowering_is_at_the_proxy_long_before_it_counts_as_settled() {
    let _turn = turn().await;
    for way in [Way::Hosts, Way::Subsets, Way::HttpRoute] {
        let mut driven = Driven::start("lowering", way).await;
        let all = rollbacks(&mut driven).await;
        let spread = |of: fn(&Took) -> Duration| {
            let mut sorted: Vec<u128> = all.iter().map(|took| of(took).as_millis()).collect();
            sorted.sort_unstable();
            format!("{}/{}/{}", sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1])
        };
        println!(
            "{way:?}: 100 -> 0 %, ms from the call, min/median/max of {}: patch answered {}, first new answer {}, last old answer {}",
            all.len(),
            spread(|took| took.patched),
            spread(|took| took.first_new),
            spread(|took| took.last_old),
        );
        for took in &all {
            assert!(took.last_old < SETTLING, "{way:?}: old answers for {:?}", took.last_old);
        }
    }
}
