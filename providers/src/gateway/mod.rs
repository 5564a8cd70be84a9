//! The Gateway API: the weights of the `backendRefs` of an HTTPRoute, GRPCRoute, TLSRoute or TCPRoute.
//!
//! Both weights of a rule are always written, since one that is missing means 1. The controllers of the
//! gateways acknowledge a generation of the route; proxies have it some tenths of a second later, which is
//! waited for.

mod config;
mod status;
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
        kind::{Destination, Kind, List},
        layout::Target,
        mirror::Form,
        object::Object,
        services,
    },
};

/// The row of the registry.
pub(crate) const ENTRY: ProviderEntry = ProviderEntry {
    kind: "gateway",
    schema: || schemars::schema_for!(Written),
    check,
    targets,
    capabilities,
    build,
};

const fn rules(mirror: Option<Form>) -> [List; 1] {
    let (word, field, backends, matches) = ("", "rules", "backendRefs", "matches");
    [List { word, field, backends, matches, unset: 1, mirror }]
}

/// Rules that take requests.
const REQUESTS: [List; 1] = rules(Some(Form::Filter));
/// Rules that take connections.
const CONNECTIONS: [List; 1] = rules(None);

const fn route(
    name: &'static str,
    plural: &'static str,
    versions: &'static [&'static str],
    lists: &'static [List],
) -> Kind {
    Kind {
        name,
        plural,
        group: "gateway.networking.k8s.io",
        versions,
        lists,
        in_order: false,
        full: 10_000,
        of: "the Gateway API",
        said: status::said,
    }
}

static HTTP_ROUTE: Kind = route("HTTPRoute", "httproutes", &["v1", "v1beta1"], &REQUESTS);
static GRPC_ROUTE: Kind = route("GRPCRoute", "grpcroutes", &["v1"], &REQUESTS);
static TLS_ROUTE: Kind =
    route("TLSRoute", "tlsroutes", &["v1", "v1alpha3", "v1alpha2"], &CONNECTIONS);
static TCP_ROUTE: Kind = route("TCPRoute", "tcproutes", &["v1", "v1alpha2"], &CONNECTIONS);

fn check(settings: &Value, scope: Scope<'_>) -> Result<Value, Vec<SettingsError>> {
    let (written, _) = config::parse(settings, scope.sides, Some(scope.namespace))?;
    Ok(serde_json::to_value(written).expect("plain settings are JSON"))
}

fn targets(settings: &Value) -> Vec<String> {
    let Ok(written) = crate::settings::read::<Written>(settings) else { return Vec::new() };
    let Ok((_, kind, route)) = written.route() else { return Vec::new() };
    let namespace = written.namespace.as_deref().unwrap_or_default();
    let target = |to: &config::Destination| {
        let to = Destination::Service { name: to.service.clone(), port: to.port };
        format!("{} {namespace}/{} {}", kind.name, route.name, to.claimed(namespace))
    };
    written.destinations.values().map(target).collect()
}

fn capabilities(settings: &Value) -> Capabilities {
    let written = crate::settings::read::<Written>(settings);
    let kind =
        written.ok().and_then(|written| Some(written.route().ok()?.1)).unwrap_or(&HTTP_ROUTE);
    crate::routes::capabilities(kind, is_layer7(kind), is_layer7(kind))
}

fn is_layer7(kind: &Kind) -> bool {
    ["HTTPRoute", "GRPCRoute"].contains(&kind.name)
}

fn build(settings: &Value, sides: &Sides, outside: &Outside) -> Built {
    let (_, target) = config::parse(settings, sides, None).map_err(|errors| {
        Error::Invalid(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    })?;
    let proof = proof(target.clone(), outside.clone());
    let object = Object::new(target, outside.clone());
    Ok(Arc::new(Routes::new(sides, vec![object], capabilities(settings), proof)))
}

/// The Services are there.
fn proof(target: Target, outside: Outside) -> Proof {
    Box::new(move || {
        let (target, outside) = (target.clone(), outside.clone());
        async move {
            services::are_there(&outside, &target.namespace, &target.pair).await?;
            Ok(Vec::new())
        }
        .boxed()
    })
}
