//! The operator: the real binary on a real API server, with real Deployments, routes of Istio and a real Prometheus.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[path = "operator/absent.rs"]
mod absent;
#[path = "operator/company.rs"]
mod company;
#[path = "operator/contents.rs"]
mod contents;
#[path = "operator/deletes.rs"]
mod deletes;
#[path = "operator/engines.rs"]
mod engines;
#[path = "operator/faults.rs"]
mod faults;
#[path = "operator/gateway.rs"]
mod gateway;
#[path = "operator/kinds.rs"]
mod kinds;
#[path = "operator/missing.rs"]
mod missing;
#[path = "operator/objects.rs"]
mod objects;
#[path = "operator/people.rs"]
mod people;
#[path = "operator/refused.rs"]
mod refused;
#[path = "operator/releases.rs"]
mod releases;
#[path = "operator/rights.rs"]
mod rights;
#[path = "operator/secrets.rs"]
mod secrets;
#[path = "operator/writers.rs"]
mod writers;

use serde_json::{Value, json};

/// What somebody else sees of a route: all but the two weights and our mark.
fn without_weights(route: &Value) -> Value {
    let mut route = route.clone();
    for at in 0..2 {
        route["spec"]["http"][1]["route"][at]["weight"] = Value::Null;
    }
    let annotations = route["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    let theirs: serde_json::Map<_, _> =
        annotations.into_iter().filter(|(name, _)| !name.contains("haldane.dev/")).collect();
    route["metadata"] = json!({"labels": route["metadata"]["labels"], "annotations": theirs});
    route
}
