//! Envoy as the gateway of one namespace, at an address of its own.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Istiod, assets, objects, page, places::ADMIN_PORT};
use crate::{cluster::ward::Ward, process::Server};

/// How long it may take to be ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// A proxy; ended when dropped.
#[derive(Debug)]
pub(super) struct Envoy {
    server: Server,
    address: Ipv4Addr,
    _ward: Ward,
}

// === impl Envoy ===

impl Envoy {
    #[track_caller]
    pub(super) fn start(istiod: &Istiod, namespace: &str, address: Ipv4Addr) -> Self {
        let ward = Ward::new();
        let file = ward.folder().join("envoy.json");
        let text = bootstrap(namespace, address, istiod.proxies).to_string();
        fs::write(&file, text).expect("the folder can be written");
        let file = file.display().to_string();
        // With hot restart, Envoy would end with the thread that started it.
        let arguments =
            ["--disable-hot-restart", "--concurrency", "2", "-l", "warning", "-c", &file];
        let arguments = arguments.map(str::to_owned);
        let mut server = ward.start(&assets::envoy(), "envoy", &arguments);
        let admin = SocketAddr::from((address, ADMIN_PORT));
        let begin = Instant::now();
        while page::get(admin, "/ready").is_none() {
            let ended = server.has_ended();
            if ended || begin.elapsed() > PATIENCE {
                let words = ward.last_words("envoy");
                panic!("Envoy is not ready after {:?} (ended: {ended}):\n{words}", begin.elapsed());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Self { server, address, _ward: ward }
    }

    pub(super) fn address(&self) -> Ipv4Addr {
        self.address
    }

    pub(super) fn admin(&self) -> SocketAddr {
        (self.address, ADMIN_PORT).into()
    }

    pub(super) fn signal(&self, name: &str) {
        self.server.signal(name);
    }

    /// Returns green's share of a route at a listener, in percent.
    pub(super) fn share(&self, listener: SocketAddr, route: &str) -> Option<f64> {
        let dump = page::get(self.admin(), "/config_dump?resource=dynamic_route_configs")?;
        let dump: Value = serde_json::from_str(&dump).ok()?;
        let list = |value: &Value, at: &str| value[at].as_array().cloned().unwrap_or_default();
        let port = listener.port().to_string();
        let routes = list(&dump, "configs")
            .into_iter()
            .map(|config| config["route_config"].clone())
            .filter(|config| is_of(config, &port))
            .flat_map(|config| list(&config, "virtual_hosts"))
            .flat_map(|host| list(&host, "routes"));
        let found = routes.into_iter().find(|found| found["name"] == route)?;
        green_of(&found["route"])
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        self.server.kill();
    }
}

/// They are called `http.8080` or `http.8080.127.1.2.3`.
fn is_of(config: &Value, port: &str) -> bool {
    config["name"].as_str().is_some_and(|name| name.split('.').nth(1) == Some(port))
}

/// A split of which one side has nothing has one destination alone.
fn green_of(route: &Value) -> Option<f64> {
    let is_green = |name: &Value| {
        let name = name.as_str().unwrap_or_default();
        name.contains("green") || name.contains(&format!("|{}|", super::VERSIONS[1]))
    };
    if let Some(only) = route.get("cluster") {
        return Some(if is_green(only) { 100.0 } else { 0.0 });
    }
    let all = route["weighted_clusters"]["clusters"].as_array()?;
    let sum = |green: bool| {
        let counted = all.iter().filter(|one| is_green(&one["name"]) == green);
        counted.filter_map(|one| one["weight"].as_f64()).sum::<f64>()
    };
    Some(100.0 * sum(true) / (sum(true) + sum(false)))
}

/// Its first configuration: who it is, where istiod is, and Istio's own names for metrics.
fn bootstrap(namespace: &str, address: Ipv4Addr, istiod: SocketAddr) -> Value {
    let name = objects::PROXY;
    let source = json!({"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"});
    let socket = |at: SocketAddr| json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}});
    let http2 = json!({
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    });
    json!({
        "node": {
            "id": format!("router~{address}~{name}.{namespace}~{namespace}.svc.cluster.local"),
            "cluster": format!("{name}.{namespace}"),
            "metadata": {
                "CLUSTER_ID": "Kubernetes",
                "NAME": name,
                "NAMESPACE": namespace,
                "ISTIO_VERSION": "1.31.0",
                "INSTANCE_IPS": address.to_string(),
                "MESH_ID": "cluster.local",
                "SERVICE_ACCOUNT": "default",
                "WORKLOAD_NAME": name,
                "LABELS": {"app": objects::label(namespace)},
            },
        },
        "admin": {"address": socket((address, ADMIN_PORT).into())},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
            },
            "lds_config": source,
            "cds_config": source,
        },
        "static_resources": {"clusters": [{
            "name": "xds-grpc",
            "alt_stat_name": "xds-grpc;",
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2,
            },
            "load_assignment": {
                "cluster_name": "xds-grpc",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(istiod)}}]}],
            },
        }]},
        "stats_flush_interval": "1s",
        "stats_config": {
            "use_all_default_tags": false,
            "stats_tags": [
                {"tag_name": "cluster_name", "regex": "^cluster(\\.(.+);)"},
                {"tag_name": "response_code", "regex": "_rq(_(\\d{3}))$"},
                {"tag_name": "response_code_class", "regex": "_rq(_(\\dxx))$"},
            ],
            "histogram_bucket_settings": [{
                "match": {"suffix": "upstream_rq_time"},
                "buckets": [1, 2, 5, 10, 20, 50, 100, 250, 500, 1000, 2500, 5000, 10000],
            }],
        },
    })
}
