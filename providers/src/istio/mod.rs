//! Istio: the weights of the http, tls and tcp routes of VirtualServices, by host or by subset.
//!
//! Weights are whole percent and add up to 100, as every version of Istio takes them. An API server's word is
//! all that is asked for: VirtualServices say nothing of who took them, and proxies have them some tenths of a
//! second later, which is waited for. A change of tcp weights ends the connections of the listener.

mod config;
mod subsets;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures::FutureExt;
use haldane_outside::Outside;
use serde_json::Value;

use self::config::Written;
use crate::{
    Built, Capabilities, Error, ProviderEntry, Scope, SettingsError, Sides,
    routes::{
        Proof, Routes,
        kind::{Kind, List, Said},
        layout::Target,
        mirror::Form,
        object::Object,
        services,
    },
};

/// The row of the registry.
pub(crate) const ENTRY: ProviderEntry = ProviderEntry {
    kind: "istio",
    schema: || schemars::schema_for!(Written),
    check,
    targets,
    capabilities,
    build,
};

const fn list(word: &'static str, mirror: Option<Form>) -> List {
    List { word, field: word, backends: "route", matches: "match", unset: 0, mirror }
}

static VIRTUAL_SERVICE: Kind = Kind {
    name: "VirtualService",
    plural: "virtualservices",
    group: "networking.istio.io",
    versions: &["v1", "v1beta1"],
    lists: &[list("http", Some(Form::Fields)), list("tls", None), list("tcp", None)],
    in_order: true,
    full: 100,
    of: "Istio",
    said: |_document, _namespace| Said::Yes,
};

fn check(settings: &Value, scope: Scope<'_>) -> Result<Value, Vec<SettingsError>> {
    let (written, _) = config::parse(settings, scope.sides, Some(scope.namespace))?;
    Ok(serde_json::to_value(written).expect("plain settings are JSON"))
}

/// Routes of connections, which are named by their places alone, copy nothing.
fn capabilities(settings: &Value) -> Capabilities {
    let written = crate::settings::read::<Written>(settings);
    let connections = written.is_ok_and(|written| {
        let mut routes = written.services().flat_map(|(_, one)| &one.routes);
        routes.any(|route| route.starts_with("tcp#") || route.starts_with("tls#"))
    });
    crate::routes::capabilities(&VIRTUAL_SERVICE, true, !connections)
}

fn targets(settings: &Value) -> Vec<String> {
    let Ok(written) = crate::settings::read::<Written>(settings) else { return Vec::new() };
    let namespace = written.namespace.as_deref().unwrap_or_default();
    let kind = VIRTUAL_SERVICE.name;
    let each = |(_, one): (String, &config::VirtualService)| {
        let all = written.destinations.values();
        all.map(|to| {
            format!("{kind} {namespace}/{} {}", one.name, to.compared().claimed(namespace))
        })
        .collect::<Vec<_>>()
    };
    written.services().flat_map(each).collect()
}

fn build(settings: &Value, sides: &Sides, outside: &Outside) -> Built {
    let (_, targets) = config::parse(settings, sides, None).map_err(|errors| {
        Error::Invalid(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    })?;
    let proof = proof(targets[0].clone(), outside.clone());
    let objects = targets.into_iter().map(|target| Object::new(target, outside.clone())).collect();
    Ok(Arc::new(Routes::new(sides, objects, capabilities(settings), proof)))
}

/// The Services and the subsets are there.
fn proof(target: Target, outside: Outside) -> Proof {
    Box::new(move || {
        let (target, outside) = (target.clone(), outside.clone());
        async move {
            services::are_there(&outside, &target.namespace, &target.pair).await?;
            subsets::are_there(&outside, &target).await
        }
        .boxed()
    })
}
