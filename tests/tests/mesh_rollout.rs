//! Whole releases through a real mesh: the engine's binary, a real API server with its controllers, istiod, Envoy
//! and Prometheus, and users that are counted.
//!
//! Needs istiod and Envoy: `make setup-more`. Run by `make test-more`.

#![allow(clippy::print_stdout, reason = "what was measured is told")]

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, OnceLock},
    time::Duration,
};

use haldane_tests::{
    cluster::{Cluster, Foreign, shared},
    mesh::{Engine, Istiod, Outcome, Shop, Way},
    rig::built,
};

/// How far the measured share may be from the written one, in percentage points.
const TOLERANCE: f64 = 1.0;

/// What a rollback may take from the fault to the proxy: a scrape, a look, the mesh's own tenth of a second, and
/// as much again for a machine that does other things.
const ROLLBACK: Duration = Duration::from_secs(6);

fn world() -> (&'static Cluster, &'static Istiod) {
    static ISTIOD: OnceLock<Istiod> = OnceLock::new();
    let cluster = shared();
    let istiod = ISTIOD.get_or_init(|| {
        cluster.install(Foreign::Istio);
        cluster.install(Foreign::GatewayApi);
        cluster.install_crds(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds"));
        Istiod::start(cluster)
    });
    (cluster, istiod)
}

/// One test at a time: each counts what the machine carries.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Who drives the releases of a test.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    File,
    Operator,
}

/// A release that is promoted, then one that fails and is rolled back.
fn releases(name: &str, way: Way, by: By) {
    let _turn = turn();
    let (cluster, istiod) = world();
    let shop = Shop::open(cluster, istiod, name, way);
    let haldane = built("haldane");
    let _operator = (by == By::Operator).then(|| shop.operator(&haldane));
    let engine = if by == By::File { Engine::Run(&haldane) } else { Engine::Operator };
    let tell = |words: &str| println!("{name}: {words}");

    let good = shop.promote(engine, tell);
    assert_eq!(good.outcome, Outcome::Promoted);
    tell(&format!("promoted; {} requests of users, {} failed", good.requests, good.failed));
    assert_eq!(good.failed, 0, "no request fails");
    for step in &good.steps {
        let off = (step.measured - f64::from(step.wanted)).abs();
        assert!(step.lasted && step.failed == 0 && off <= TOLERANCE, "{step:?}");
    }

    let bad = shop.roll_back(engine, tell);
    tell(&format!("{bad:?}"));
    assert_eq!(bad.outcome, Outcome::RolledBack);
    assert_eq!(bad.other, 0, "what failed was told to");
    assert!(bad.injected > 0, "users met the fault");
    for took in [bad.to_patch, bad.to_zero, bad.to_last] {
        assert!(took.is_some_and(|took| took < ROLLBACK), "{bad:?}");
    }
}

#[test]
fn a_file_releases_through_a_virtual_service() {
    releases("file-istio", Way::Hosts, By::File);
}

#[test]
fn a_file_releases_through_an_http_route() {
    releases("file-gateway", Way::HttpRoute, By::File);
}

#[test]
fn a_rollout_in_the_cluster_releases_through_a_virtual_service() {
    releases("operator-istio", Way::Hosts, By::Operator);
}

#[test]
fn a_rollout_in_the_cluster_releases_through_an_http_route() {
    releases("operator-gateway", Way::HttpRoute, By::Operator);
}
