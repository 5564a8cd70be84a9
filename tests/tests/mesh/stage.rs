//! The routes of this suite, each with its testers' and its mirrored route, and what drives them.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use haldane_model::{Direction, Mark, Split, Weight};
use haldane_outside::{ClusterConfig, Outside};
use haldane_providers::{Scope, Sides, TrafficProvider, find};
use haldane_tests::{
    cluster::{Cluster, Foreign, shared},
    mesh::{Door, HOST, Istiod, Mesh},
};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

const PATIENCE: Duration = Duration::from_secs(60);

/// A way to say the split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A VirtualService between two Services.
    Hosts,
    /// A VirtualService between two subsets of one.
    Subsets,
    /// An HTTPRoute.
    HttpRoute,
}

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

// === impl Way ===

impl Way {
    pub fn door(self) -> Door {
        match self {
            Self::Hosts | Self::Subsets => Door::Istio,
            Self::HttpRoute => Door::GatewayApi,
        }
    }

    pub fn plural(self) -> &'static str {
        match self {
            Self::Hosts | Self::Subsets => "virtualservices",
            Self::HttpRoute => "httproutes",
        }
    }

    /// The route, and the settings that drive it.
    fn document_and_settings(self) -> (Value, &'static str, Value) {
        let destinations = |to: fn(&str, &str) -> Value| json!({"blue": to("blue", "v1"), "green": to("green", "v2")});
        match self {
            Self::Hosts => {
                let to = |side: &str, _: &str| json!({"host": format!("web-{side}")});
                let settings =
                    json!({"virtualService": {"name": "web"}, "destinations": destinations(to)});
                (virtual_service(to), "istio", settings)
            }
            Self::Subsets => {
                let to = |_: &str, version: &str| json!({"host": "web", "subset": version});
                let settings =
                    json!({"virtualService": {"name": "web"}, "destinations": destinations(to)});
                (virtual_service(to), "istio", settings)
            }
            Self::HttpRoute => {
                let to =
                    |side: &str, _: &str| json!({"service": format!("web-{side}"), "port": 80});
                let settings =
                    json!({"httpRoute": {"name": "web"}, "destinations": destinations(to)});
                (http_route(), "gateway", settings)
            }
        }
    }
}

fn virtual_service(to: fn(&str, &str) -> Value) -> Value {
    let (blue, green) = (to("blue", "v1"), to("green", "v2"));
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "web"},
        "spec": {
            "hosts": [HOST],
            "gateways": ["gw"],
            "http": [
                {
                    "name": "testers",
                    "match": [{"headers": {"x-canary": {"exact": "1"}}}],
                    "route": [{"destination": green}],
                },
                {
                    "name": "mirrored",
                    "match": [{"uri": {"prefix": "/mirrored"}}],
                    "route": [{"destination": blue}],
                    "mirror": green,
                    "mirrorPercentage": {"value": 100.0},
                },
                {
                    "name": "primary",
                    "route": [
                        {"destination": blue, "weight": 100},
                        {"destination": green, "weight": 0},
                    ],
                },
            ],
        },
    })
}

fn http_route() -> Value {
    let to = |side: &str| json!({"name": format!("web-{side}"), "port": 80});
    let weighed = |side: &str, weight: u64| json!({"name": format!("web-{side}"), "port": 80, "weight": weight});
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "web"},
        "spec": {
            "parentRefs": [{"name": "edge"}],
            "hostnames": [HOST],
            "rules": [
                {
                    "name": "testers",
                    "matches": [{"headers": [{"name": "x-canary", "value": "1"}]}],
                    "backendRefs": [to("green")],
                },
                {
                    "name": "mirrored",
                    "matches": [{"path": {"type": "PathPrefix", "value": "/mirrored"}}],
                    "filters": [{"type": "RequestMirror", "requestMirror": {"backendRef": to("green")}}],
                    "backendRefs": [to("blue")],
                },
                {"name": "primary", "backendRefs": [weighed("blue", 100), weighed("green", 0)]},
            ],
        },
    })
}

// === impl Driven ===

impl Driven {
    /// Makes a mesh with a route all of whose users are on blue, and waits until they are answered.
    pub async fn start(name: &str, way: Way) -> Self {
        let (cluster, istiod) = world();
        let namespace = cluster.namespace(name);
        let mesh = Mesh::start(cluster, istiod, &namespace);
        let (document, kind, settings) = way.document_and_settings();
        cluster.apply(&namespace, &document.to_string());
        let sides = Sides { first: "blue".into(), second: "green".into() };
        let entry = find(kind).unwrap();
        let scope = Scope { namespace: &namespace, sides: &sides };
        let settings = (entry.check)(&settings, scope).unwrap();
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
