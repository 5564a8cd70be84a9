//! The settings of a `gateway` traffic entry: the written form, and the valid one.
//!
//! Everything that ends up in a path is checked here once. Nothing here asks a server.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{GRPC_ROUTE, HTTP_ROUTE, TCP_ROUTE, TLS_ROUTE};
use crate::{
    SettingsError, Sides,
    routes::{
        kind::{self, Kind},
        layout::{Picks, Target, mark_key},
        written,
    },
    settings::{self, Faults},
};

/// Moves traffic between two Services by the weights of a Gateway API route.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Written {
    /// The HTTPRoute. Exactly one of `httpRoute`, `grpcRoute`, `tlsRoute` and `tcpRoute` is named; it lies
    /// in the rollout's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) http_route: Option<Route>,
    /// The GRPCRoute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) grpc_route: Option<Route>,
    /// The TLSRoute; connections are split, not requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tls_route: Option<Route>,
    /// The TCPRoute; connections are split, not requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tcp_route: Option<Route>,
    /// The rollout's own namespace, filled in; another one is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<String>,
    /// What serves each of the two sides, by the side's name.
    pub(super) destinations: BTreeMap<String, Destination>,
}

/// Which route, and which of its rules.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Route {
    /// Its name.
    pub(super) name: String,
    /// The rules, by name, or by place from 0 as in `"#0"`. Without `rules` and `matching`: every rule that
    /// has both destinations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) rules: Vec<String>,
    /// Rules of your own for testers, by name, or by place as in `"#0"`: their `matches` ask for a header or a
    /// cookie, and they have both destinations. While a rollout is under way, from its first step on, they
    /// give everything to the side under test, at rest to the side that serves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) testers: Vec<String>,
    /// The rules that have one of these conditions, written as under `matches`, with the defaults that the
    /// API server filled in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) matching: Vec<Value>,
}

/// What serves one side.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Destination {
    /// The Service, in the rollout's namespace.
    pub(super) service: String,
    /// Its port.
    pub(super) port: u16,
}

// === impl Written ===

impl Written {
    /// Returns the route that is named, and its field; `Err` with how many are.
    pub(super) fn route(&self) -> Result<(&'static str, &'static Kind, &Route), usize> {
        let written = [
            ("httpRoute", &HTTP_ROUTE, &self.http_route),
            ("grpcRoute", &GRPC_ROUTE, &self.grpc_route),
            ("tlsRoute", &TLS_ROUTE, &self.tls_route),
            ("tcpRoute", &TCP_ROUTE, &self.tcp_route),
        ];
        let named = written
            .into_iter()
            .filter_map(|(field, kind, route)| Some((field, kind, route.as_ref()?)));
        let mut named: Vec<_> = named.collect();
        match (named.pop(), named.len()) {
            (Some(only), 0) => Ok(only),
            (Some(_), others) => Err(others + 1),
            (None, _) => Err(0),
        }
    }
}

/// Reads and checks settings, and tells everything that is wrong at once.
pub(super) fn parse(
    settings: &Value,
    sides: &Sides,
    namespace: Option<&str>,
) -> Result<(Written, Target), Vec<SettingsError>> {
    let mut written: Written = settings::read(settings).map_err(|error| vec![error])?;
    let mut faults = Faults(Vec::new());
    let example = "{service: …, port: …}";
    let check = |faults: &mut Faults, path: &str, to: &Destination| {
        written::name(faults, format!("{path}/service"), "service", &to.service);
        if to.port == 0 {
            faults.add(
                format!("{path}/port"),
                "port 0 is no port".into(),
                "write the Service's port",
            );
        }
    };
    let pair = settings::pair(&written.destinations, sides, example, &mut faults, check);
    let pair = pair
        .map(|pair| pair.map(|to| kind::Destination::Service { name: to.service, port: to.port }));
    if let Some(pair) = &pair {
        written::differ(&mut faults, sides, pair, namespace);
    }
    written.namespace = written::namespace(&mut faults, written.namespace.as_deref(), namespace);
    let target = target(&written, pair, &mut faults);
    match target {
        Some(target) if faults.0.is_empty() => Ok((written, target)),
        Some(_) | None => Err(faults.0),
    }
}

fn target(
    written: &Written,
    pair: Option<[kind::Destination; 2]>,
    faults: &mut Faults,
) -> Option<Target> {
    let (field, kind, route) = match written.route() {
        Ok(named) => named,
        Err(count) => {
            let message = format!("{count} routes are named, and one is needed");
            faults.add("", message, "name one of httpRoute, grpcRoute, tlsRoute and tcpRoute");
            return None;
        }
    };
    written::name(faults, format!("/{field}/name"), "route", &route.name);
    written::rules(faults, &format!("/{field}/rules"), &route.rules);
    let path = format!("/{field}/testers");
    written::testers(faults, &path, &route.testers, &route.rules);
    if !super::is_layer7(kind) && !route.testers.is_empty() {
        let message =
            format!("a {} takes connections, and knows no testers by their requests", kind.name);
        faults.add(path, message, "remove it, or name an httpRoute or a grpcRoute");
    }
    let pair = pair?;
    Some(Target {
        kind,
        namespace: written.namespace.clone()?,
        name: route.name.clone(),
        picks: Picks { named: route.rules.clone(), matching: route.matching.clone() },
        testers: Picks { named: route.testers.clone(), matching: Vec::new() },
        mark_key: mark_key(&pair[0]),
        pair,
    })
}
