//! The routes of this suite, and what drives them.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use haldane_model::{Direction, Mark, Split, Weight};
use haldane_outside::{ClusterConfig, Outside};
use haldane_providers::{Scope, Sides, TrafficProvider, find};
use haldane_tests::{
    cluster::{Cluster, Foreign, shared},
    mesh::{Istiod, Mesh, Way},
};
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};

const PATIENCE: Duration = Duration::from_secs(60);

/// A route in front of a mesh, driven as the engine drives it.
pub struct Driven {
    pub mesh: Mesh,
    pub way: Way,
    pub provider: Arc<dyn TrafficProvider>,
    number: u64,
}

/// The cluster of this suite and its istiod.
fn world() -> (&'static Cluster, &'static Istiod) {
    static ISTIOD: OnceLock<Istiod> = OnceLock::new();
    let cluster = shared();
    let istiod = ISTIOD.get_or_init(|| {
        cluster.install(Foreign::Istio);
        cluster.install(Foreign::GatewayApi);
        Istiod::start(cluster)
    });
    (cluster, istiod)
}

/// One test at a time: each wants the machine for its counts and its times.
pub async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

// === impl Driven ===

impl Driven {
    /// Makes a mesh with a route all of whose users are on blue, and waits until they are answered.
    pub async fn start(name: &str, way: Way) -> Self {
        Self::of(name, way, &way.settings(), &way.document()).await
    }

    /// The same with a rule for testers that the engine drives too.
    pub async fn with_testers(name: &str, way: Way) -> Self {
        let mut settings = way.settings();
        let mut document = way.document();
        let (field, list, backends) = match way {
            Way::Hosts | Way::Subsets => ("virtualService", "http", "route"),
            Way::HttpRoute => ("httpRoute", "rules", "backendRefs"),
        };
        settings[field]["testers"] = serde_json::json!(["testers"]);
        let both = document["spec"][list][2][backends].clone();
        document["spec"][list][0][backends] = both;
        Self::of(name, way, &settings, &document).await
    }

    async fn of(name: &str, way: Way, settings: &Value, document: &Value) -> Self {
        let (cluster, istiod) = world();
        let namespace = cluster.namespace(name);
        let mesh = Mesh::start(cluster, istiod, &namespace);
        cluster.apply(&namespace, &document.to_string());
        let sides = Sides { first: "blue".into(), second: "green".into() };
        let entry = find(way.provider()).unwrap();
        let scope = Scope { namespace: &namespace, sides: &sides };
        let settings = (entry.check)(settings, scope).unwrap();
        let path = cluster.admin().path().to_owned();
        let outside = Outside::in_cluster(ClusterConfig::Kubeconfig { path, context: None });
        let provider = (entry.build)(&settings, &sides, &outside).unwrap();
        let driven = Self { mesh, way, provider, number: 0 };
        let mut user = driven.mesh.caller(way.door(), "/", &[]);
        let mut told = None;
        eventually("users are answered", async || {
            told = Some(user.ask());
            matches!(&told, Some(Ok(answer)) if answer.status == 200)
        })
        .await;
        eventually("the route may be driven", async || driven.provider.preflight().await.is_ok())
            .await;
        driven
    }

    /// As it is now.
    pub fn document(&self) -> Value {
        let access = shared().admin().within(self.mesh.namespace());
        let told = access.kubectl(&["get", self.way.plural(), "web", "-o=json"]);
        serde_json::from_str(&told).unwrap()
    }

    /// Writes a share of green, and returns once the API server has it.
    pub async fn write(&mut self, percent: u32) {
        self.number += 1;
        let weight = Weight::from_basis_points(percent * 100).unwrap();
        let split = Split::new("green".into(), weight);
        let (direction, mark) = match percent {
            0 => (Direction::Lower, Mark::rollback(self.number)),
            _ => (Direction::Raise, Mark::raise(self.number)),
        };
        if direction == Direction::Raise {
            // A raise rests on what was read.
            self.provider.read().await.unwrap();
        }
        self.provider.write(split, direction, mark).await.unwrap();
    }

    /// Waits until the engine would say that a share is settled.
    pub async fn settle(&self, percent: u32) {
        let weight = Weight::from_basis_points(percent * 100).unwrap();
        eventually("the share is settled", async || {
            let reading = self.provider.read().await.unwrap();
            (reading.lowest, reading.highest, reading.settled) == (weight, weight, true)
        })
        .await;
    }

    /// Green's share as the proxy has it.
    pub fn share(&self) -> Option<f64> {
        self.mesh.share(self.way.door(), "primary")
    }
}

/// Polls what must become true.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
