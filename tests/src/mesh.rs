//! A real mesh of a test: istiod beside an API server, and for each namespace an Envoy with what is behind it.
//!
//! Nothing leaves loopback. Pods do not run here: for each side a copy of the service listens at an address of
//! its own, and a WorkloadEntry with the labels of the side's pods says so to istiod. Istio runs as built from
//! its modules; Envoy is the upstream one, without Istio's own filters: no `istio_*` metrics, no mutual TLS.
//!
//! The cluster has the CRDs of Istio and of the Gateway API before istiod starts. Every process ends with its
//! owner, or with the test's process, whatever becomes of it.

mod assets;
mod envoy;
mod istiod;
mod objects;
mod page;
mod places;
mod routes;
mod shop;
mod story;
mod traffic;

pub use istiod::Istiod;
pub use routes::Way;
pub use shop::Shop;
pub use story::{Engine, Outcome, Promotion, Rollback, Step};
pub use traffic::{Counts, Seen, Traffic, requests_for};

use std::{net::SocketAddr, time::Duration};

use self::{
    envoy::Envoy,
    places::{ISTIO_PORT, ROUTE_PORT},
};
use crate::{app::Served, cluster::Cluster, load::Caller, process::wait_for, prometheus::Target};

/// The two sides of every mesh.
pub const SIDES: [&str; 2] = ["blue", "green"];
/// What each side's copy says of itself.
pub const VERSIONS: [&str; 2] = ["v1", "v2"];
/// The host that users ask for.
pub const HOST: &str = "web.example";

/// How long a proxy may take until it has what was applied.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where users come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The Gateway `gw` of Istio, to which VirtualServices bind.
    Istio,
    /// The Gateway `edge` of the Gateway API, to which HTTPRoutes bind.
    GatewayApi,
}

/// One namespace with its proxy and its two copies; ended when dropped.
///
/// Each side has a Service of its own, `web-blue` and `web-green`, and both are subsets of the Service `web`
/// by a DestinationRule; each on port 80.
#[derive(Debug)]
pub struct Mesh {
    namespace: String,
    copies: [Served; 2],
    envoy: Envoy,
}

// === impl Mesh ===

impl Mesh {
    /// Puts everything but routes into a namespace, and waits until the proxy listens at both doors.
    ///
    /// # Panics
    /// Where something is refused, or does not become ready.
    #[must_use]
    pub fn start(cluster: &Cluster, istiod: &Istiod, namespace: &str) -> Self {
        let places = places::take();
        cluster
            .apply(namespace, &objects::all(namespace, &places.proxy.to_string(), &places.sides));
        let envoy = Envoy::start(istiod, namespace, places.proxy);
        let [blue, green] = places.listeners;
        let copies = [Served::start(blue, VERSIONS[0]), Served::start(green, VERSIONS[1])];
        let mesh = Self { namespace: namespace.to_owned(), copies, envoy };
        wait_for("the proxy listens at both doors", PATIENCE, || {
            [Door::Istio, Door::GatewayApi]
                .into_iter()
                .all(|door| std::net::TcpStream::connect(mesh.address(door)).is_ok())
        });
        mesh
    }

    /// Returns the namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns what runs on a side.
    #[must_use]
    pub fn copy(&self, side: &str) -> &Served {
        &self.copies[index(side)]
    }

    /// Returns where users come in.
    #[must_use]
    pub fn address(&self, door: Door) -> SocketAddr {
        let port = match door {
            Door::Istio => ISTIO_PORT,
            Door::GatewayApi => ROUTE_PORT,
        };
        (self.envoy.address(), port).into()
    }

    /// Returns the proxy's metrics, to be scraped.
    #[must_use]
    pub fn metrics(&self) -> Target {
        let labels = [("__metrics_path__", "/stats/prometheus"), ("__param_usedonly", "")];
        Target::new("envoy", self.envoy.admin(), &labels)
    }

    // --- what users see ---

    /// Returns a user who asks for one path, with these headers.
    #[must_use]
    pub fn caller(&self, door: Door, path: &str, headers: &[(&str, &str)]) -> Caller {
        Caller::to(self.address(door), HOST, path, headers)
    }

    /// Sends so many requests as fast as the proxy answers, and counts who answered.
    #[must_use]
    pub fn count(&self, door: Door, requests: u64) -> Counts {
        traffic::count(|| self.caller(door, "/", &[]), requests)
    }

    /// Begins a steady load of so many requests a second, of which every answer is remembered.
    #[must_use]
    pub fn traffic(&self, door: Door, per_second: u64) -> Traffic {
        Traffic::start(|| self.caller(door, "/", &[]), per_second)
    }

    // --- what the proxy has ---

    /// Returns green's share of a route by its name, in percent, as the proxy has it; `None`: no such route.
    ///
    /// The name is that of a VirtualService's http route, or of an HTTPRoute's rule.
    #[must_use]
    pub fn share(&self, door: Door, route: &str) -> Option<f64> {
        self.envoy.share(self.address(door), route)
    }

    /// Waits until the proxy has this share of a route.
    ///
    /// # Panics
    /// Where it has not after a minute.
    #[track_caller]
    pub fn wait_for_share(&self, door: Door, route: &str, percent: f64) {
        wait_for("the proxy has the share", PATIENCE, || self.share(door, route) == Some(percent));
    }

    /// Stops the proxy's process, or lets it go on: `STOP` and `CONT`.
    pub fn signal_proxy(&self, name: &str) {
        self.envoy.signal(name);
    }
}

fn index(side: &str) -> usize {
    SIDES.iter().position(|name| *name == side).unwrap_or_else(|| panic!("{side} is no side"))
}
