//! istiod beside an API server, as its administrator.
//!
//! It serves every namespace, and writes Secrets, ConfigMaps, Leases, GatewayClasses and the status of routes:
//! what counts a cluster's writes expects them.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{assets, page};
use crate::{
    cluster::{Cluster, ward::Ward},
    process::{Server, free_port},
};

/// How long it may take to become ready.
const PATIENCE: Duration = Duration::from_secs(120);

/// No automatic mutual TLS, as the proxies have no identity: their clusters would wait for one and never listen.
const MESH: &str = "trustDomain: cluster.local
rootNamespace: istio-system
enableAutoMtls: false
";

/// What Envoy as it is upstream does not have is switched off; nothing is deployed, injected or validated.
const SWITCHES: [(&str, &str); 6] = [
    ("PILOT_ENABLE_ALPN_FILTER", "false"),
    ("PILOT_ENABLE_METADATA_EXCHANGE", "false"),
    ("PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER", "false"),
    ("INJECT_ENABLED", "false"),
    ("INJECTION_WEBHOOK_CONFIG_NAME", ""),
    ("VALIDATION_WEBHOOK_CONFIG_NAME", ""),
];

/// An istiod of a test; ended when dropped.
#[derive(Debug)]
pub struct Istiod {
    server: Server,
    /// Where proxies come to.
    pub(super) proxies: SocketAddr,
    pages: SocketAddr,
    ward: Ward,
}

// === impl Istiod ===

impl Istiod {
    /// Starts one for a cluster that has the CRDs of Istio and of the Gateway API; waits until it is ready.
    ///
    /// It waits as long as istiod does by default, a tenth of a second, before it tells the proxies of a change.
    ///
    /// # Panics
    /// Where it is missing or does not become ready, with its last words.
    #[must_use]
    #[track_caller]
    pub fn start(cluster: &Cluster) -> Self {
        let ward = Ward::new();
        cluster
            .apply("default", "{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}");
        let mesh = ward.folder().join("mesh.yaml");
        fs::write(&mesh, MESH).expect("the folder can be written");
        let loopback = || SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let [pages, proxies, hooks, metrics] = [(); 4].map(|()| loopback());
        let mut arguments = vec!["POD_NAME=istiod-test".to_owned()];
        arguments.extend(SWITCHES.iter().map(|(name, value)| format!("{name}={value}")));
        arguments.push(assets::istiod().display().to_string());
        arguments.push("discovery".to_owned());
        for (flag, value) in [
            ("kubeconfig", cluster.admin().path().display().to_string()),
            ("meshConfig", mesh.display().to_string()),
            ("httpAddr", pages.to_string()),
            ("grpcAddr", proxies.to_string()),
            ("secureGRPCAddr", String::new()),
            ("httpsAddr", hooks.to_string()),
            ("monitoringAddr", metrics.to_string()),
            ("ctrlz_port", "0".to_owned()),
        ] {
            arguments.push(format!("--{flag}={value}"));
        }
        // env becomes the program: its process is istiod's.
        let server = ward.start(Path::new("env"), "istiod", &arguments);
        let mut istiod = Self { server, proxies, pages, ward };
        istiod.wait_until_ready();
        istiod
    }

    fn wait_until_ready(&mut self) {
        let begin = Instant::now();
        while page::get(self.pages, "/ready").is_none() {
            let ended = self.server.has_ended();
            if ended || begin.elapsed() > PATIENCE {
                let words = self.ward.last_words("istiod");
                panic!(
                    "istiod is not ready after {:?} (ended: {ended}):\n{words}",
                    begin.elapsed()
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Returns one of its pages, such as `/debug/syncz`; `None` where it does not answer.
    #[must_use]
    pub fn page(&self, path: &str) -> Option<String> {
        page::get(self.pages, path)
    }

    /// Sends it a signal: after `STOP` proxies hear of nothing, until `CONT`.
    pub fn signal(&self, name: &str) {
        self.server.signal(name);
    }
}

impl Drop for Istiod {
    fn drop(&mut self) {
        self.server.kill();
    }
}
