//! What a namespace holds beside its routes: Services, what serves them, and two Gateways on one proxy.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::{
    SIDES, VERSIONS,
    places::{COPY_PORT, ISTIO_PORT, ROUTE_PORT},
};

/// What the proxy and its Service are called.
pub(super) const PROXY: &str = "edge";

/// The label of the proxy's pods: a Gateway finds them in every namespace by it, so each has its own.
pub(super) fn label(namespace: &str) -> String {
    format!("edge-{namespace}")
}

/// Returns all documents.
pub(super) fn all(namespace: &str, proxy: &str, sides: &[Ipv4Addr; 2]) -> String {
    let mut documents = vec![service("web", &json!({"app": "web"}))];
    for ((side, version), address) in SIDES.iter().zip(VERSIONS).zip(sides) {
        let labels = json!({"app": "web", "side": side, "version": version});
        documents.push(service(&format!("web-{side}"), &json!({"app": "web", "side": side})));
        documents.push(workload(&format!("web-{side}"), &address.to_string(), &labels));
    }
    let pods = json!({"app": label(namespace)});
    documents.extend([
        subsets(),
        // Before the Gateway of the Gateway API, which would listen everywhere.
        loopback(proxy, &pods),
        istio_gateway(proxy, &pods),
        workload(PROXY, proxy, &pods),
        proxy_service(&pods),
        gateway(namespace),
    ]);
    documents.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n---\n")
}

fn service(name: &str, selector: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {
            "selector": selector,
            "ports": [{"name": "http", "port": 80, "targetPort": COPY_PORT}],
        },
    })
}

/// What stands for a pod: the API server takes no loopback address of an endpoint.
fn workload(name: &str, address: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry", "metadata": {"name": name},
        "spec": {"address": address, "labels": labels},
    })
}

fn subsets() -> Value {
    let subset = |version: &str| json!({"name": version, "labels": {"version": version}});
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "web"},
        "spec": {"host": "web", "subsets": VERSIONS.map(subset)},
    })
}

fn istio_gateway(proxy: &str, pods: &Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "gw"},
        "spec": {
            "selector": pods,
            "servers": [{
                "port": {"number": ISTIO_PORT, "name": "http", "protocol": "HTTP"},
                "bind": proxy,
                "hosts": ["*"],
            }],
        },
    })
}

/// Keeps every listener of the proxy at its address.
fn loopback(proxy: &str, pods: &Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
        "metadata": {"name": "loopback"},
        "spec": {
            "workloadSelector": {"labels": pods},
            "configPatches": [{
                "applyTo": "LISTENER",
                "match": {"context": "GATEWAY"},
                "patch": {
                    "operation": "MERGE",
                    "value": {"address": {"socket_address": {"address": proxy}}},
                },
            }],
        },
    })
}

fn proxy_service(pods: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": PROXY},
        "spec": {
            "selector": pods,
            "ports": [{"name": "http", "port": ROUTE_PORT, "targetPort": ROUTE_PORT}],
        },
    })
}

/// Bound to the proxy that runs, by the name of its Service.
fn gateway(namespace: &str) -> Value {
    let host = format!("{PROXY}.{namespace}.svc.cluster.local");
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": PROXY},
        "spec": {
            "gatewayClassName": "istio",
            "addresses": [{"type": "Hostname", "value": host}],
            "listeners": [{"name": "http", "port": ROUTE_PORT, "protocol": "HTTP"}],
        },
    })
}
