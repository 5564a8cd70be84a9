//! Whether the subsets that a route sends to are defined: asked before a rollout starts.
//!
//! A subset that no DestinationRule defines makes its share of the requests fail.

use haldane_outside::{ClusterError, Outside};
use serde_json::Value;

use crate::{
    Error,
    routes::{
        kind::{Destination, is_host},
        layout::Target,
        object::CALL_DEADLINE,
        services,
    },
};

/// Refuses subsets that no DestinationRule of the namespace defines.
pub(super) async fn are_there(outside: &Outside, target: &Target) -> Result<Vec<String>, Error> {
    if !target.pair.iter().any(|to| subset_of(to).is_some()) {
        return Ok(Vec::new());
    }
    let rules = rules(outside, target).await?;
    for destination in &target.pair {
        let Some((host, subset)) = subset_of(destination) else { continue };
        if !rules.iter().any(|rule| defines(rule, host, subset, &target.namespace)) {
            let of = host.map(|host| format!(" of {host}")).unwrap_or_default();
            return Err(Error::Invalid(format!(
                "no DestinationRule in {} defines the subset {subset}{of}; add it, or correct destinations",
                target.namespace
            )));
        }
    }
    Ok(Vec::new())
}

async fn rules(outside: &Outside, target: &Target) -> Result<Vec<Value>, Error> {
    let cluster = services::cluster(outside).await?;
    let mut told = Err(ClusterError::Unavailable("no version was asked".to_owned()));
    for version in target.kind.versions {
        let path = format!(
            "/apis/{}/{version}/namespaces/{}/destinationrules",
            target.kind.group, target.namespace
        );
        told = cluster.get(&path, CALL_DEADLINE).await;
        match &told {
            Err(ClusterError::Refused(refusal)) if refusal.code == 404 => {}
            _ => break,
        }
    }
    let told = told.map_err(|error| services::error_of("the DestinationRules", error))?;
    Ok(told["items"].as_array().cloned().unwrap_or_default())
}

fn subset_of(destination: &Destination) -> Option<(Option<&str>, &str)> {
    match destination {
        Destination::Host { host, subset: Some(subset), .. } => Some((host.as_deref(), subset)),
        Destination::Host { subset: None, .. } | Destination::Service { .. } => None,
    }
}

fn defines(rule: &Value, host: Option<&str>, subset: &str, namespace: &str) -> bool {
    let its = rule.pointer("/spec/host").and_then(Value::as_str).unwrap_or_default();
    let subsets = rule.pointer("/spec/subsets").and_then(Value::as_array);
    host.is_none_or(|host| is_host(host, its, namespace))
        && subsets.into_iter().flatten().any(|one| one["name"] == subset)
}
