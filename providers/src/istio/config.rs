//! The settings of an `istio` traffic entry: the written form, and the valid one.
//!
//! Everything that ends up in a path is checked here once. Nothing here asks a server.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::VIRTUAL_SERVICE;
use crate::{
    SettingsError, Sides,
    routes::{
        kind,
        layout::{Picks, Target, mark_key},
        written,
    },
    settings::{self, Faults},
};

/// Moves traffic between two destinations by the weights of Istio VirtualServices.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Written {
    /// The VirtualService, in the rollout's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) virtual_service: Option<VirtualService>,
    /// Several, where the gateway and the mesh have one each: instead of `virtualService`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) virtual_services: Vec<VirtualService>,
    /// The rollout's own namespace, filled in; another one is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<String>,
    /// What serves each of the two sides, by the side's name.
    pub(super) destinations: BTreeMap<String, Destination>,
}

/// Which VirtualService, and which of its routes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct VirtualService {
    /// Its name.
    pub(super) name: String,
    /// The routes, by name, or by place from 0 as in `"http#0"` and `"tcp#1"`. Without `routes` and
    /// `matching`: every route that has both destinations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) routes: Vec<String>,
    /// Routes of your own for testers, by name, or by place as in `"http#0"`: their `match` asks for a header or a
    /// cookie, and they have both destinations. While a rollout is under way, from its first step on, they
    /// give everything to the side under test, at rest to the side that serves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) testers: Vec<String>,
    /// The routes that have one of these conditions, exactly as under their `match`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) matching: Vec<Value>,
}

/// What serves one side: a host of its own, or a subset of a host.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Destination {
    /// The host, short or in full; needed without `subset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<String>,
    /// The subset of a DestinationRule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) subset: Option<String>,
    /// The port, where the routes name a host on several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<u16>,
}

// === impl Written ===

impl Written {
    /// Returns those that are named, each with its place in the settings.
    pub(super) fn services(&self) -> impl Iterator<Item = (String, &VirtualService)> {
        let one = self.virtual_service.iter().map(|one| ("/virtualService".to_owned(), one));
        let many = self.virtual_services.iter().enumerate();
        one.chain(many.map(|(at, one)| (format!("/virtualServices/{at}"), one)))
    }
}

// === impl Destination ===

impl Destination {
    /// Returns it as routes are compared with it.
    pub(super) fn compared(&self) -> kind::Destination {
        let Self { host, subset, port } = self.clone();
        kind::Destination::Host { host, subset, port }
    }
}

/// Reads and checks settings, and tells everything that is wrong at once.
pub(super) fn parse(
    settings: &Value,
    sides: &Sides,
    namespace: Option<&str>,
) -> Result<(Written, Vec<Target>), Vec<SettingsError>> {
    let mut written: Written = settings::read(settings).map_err(|error| vec![error])?;
    let mut faults = Faults(Vec::new());
    let pair = settings::pair(&written.destinations, sides, "{host: …}", &mut faults, destination);
    let pair = pair.map(|pair| pair.map(|to| to.compared()));
    if let Some(pair) = &pair {
        written::differ(&mut faults, sides, pair, namespace);
    }
    written.namespace = written::namespace(&mut faults, written.namespace.as_deref(), namespace);
    services(&written, &mut faults);
    match (pair, &written.namespace) {
        (Some(pair), Some(namespace)) if faults.0.is_empty() => {
            let target = |(_, one): (String, &VirtualService)| Target {
                kind: &VIRTUAL_SERVICE,
                namespace: namespace.clone(),
                name: one.name.clone(),
                picks: Picks { named: one.routes.clone(), matching: one.matching.clone() },
                testers: Picks { named: one.testers.clone(), matching: Vec::new() },
                mark_key: mark_key(&pair[0]),
                pair: pair.clone(),
            };
            let targets = written.services().map(target).collect();
            Ok((written, targets))
        }
        (_, _) => Err(faults.0),
    }
}

fn services(written: &Written, faults: &mut Faults) {
    if written.virtual_service.is_some() && !written.virtual_services.is_empty() {
        let message = "virtualService and virtualServices are both there".to_owned();
        faults.add("/virtualService", message, "move it into virtualServices");
    }
    let mut names: Vec<&str> = Vec::new();
    for (path, one) in written.services() {
        written::name(faults, format!("{path}/name"), "VirtualService", &one.name);
        written::rules(faults, &format!("{path}/routes"), &one.routes);
        written::testers(faults, &format!("{path}/testers"), &one.testers, &one.routes);
        if names.contains(&one.name.as_str()) {
            let message = format!("VirtualService {:?} is named twice", one.name);
            faults.add(format!("{path}/name"), message, "name each once, with all its routes");
        }
        names.push(&one.name);
    }
    if names.is_empty() {
        let help = "write virtualService: {name: …}";
        faults.add("", "no VirtualService is named".into(), help);
    }
}

fn destination(faults: &mut Faults, path: &str, to: &Destination) {
    match (&to.host, &to.subset) {
        (None, None) => {
            faults.add(
                path,
                "neither host nor subset is named".into(),
                "name one of them, or both",
            );
        }
        (host, subset) => {
            if let Some(host) = host {
                written::name(faults, format!("{path}/host"), "host", host);
            }
            if let Some(subset) = subset {
                written::name(faults, format!("{path}/subset"), "subset", subset);
            }
        }
    }
    if to.port == Some(0) {
        faults.add(format!("{path}/port"), "port 0 is no port".into(), "write the host's port");
    }
}
