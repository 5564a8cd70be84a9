//! The settings of a `haproxy` traffic entry: the written form, and the valid one.
//!
//! Everything that ends up in a command line is checked here once, so that no name can smuggle a
//! second command in. Nothing here touches a socket or a file.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::Address;
use crate::{
    SettingsError, Sides,
    settings::{self, Faults, escape},
};

const SOCKET: &str = "/run/haproxy/admin.sock";

/// Moves traffic between two HAProxy backends, or between the servers of one.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Written {
    /// The admin sockets, one per HAProxy process: an absolute path, or a loopback address such as
    /// `127.0.0.1:9999`. Each needs `level admin`.
    #[serde(default = "default_sockets")]
    pub(super) sockets: Vec<String>,
    /// How the traffic is split. `Share` (the default) draws a backend for each request and is exact;
    /// `ServerWeights` sets the weights of the servers of one backend, for a configuration that
    /// cannot be changed.
    #[serde(default)]
    pub(super) mode: Mode,
    /// Where the share is kept; for `mode: Share` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) share: Option<WrittenShare>,
    /// What serves each of the two sides, by the side's name.
    pub(super) destinations: BTreeMap<String, Destination>,
}

/// How the traffic is split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) enum Mode {
    /// A share in a map, read for every request.
    #[default]
    Share,
    /// The weights of the servers of one `roundrobin` backend.
    ServerWeights,
}

/// Where the share is kept.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct WrittenShare {
    /// The map file, as an absolute path, exactly as the HAProxy configuration names it.
    pub(super) map: String,
    /// The key of this route in the map; other rollouts may keep their keys in the same file.
    pub(super) key: String,
}

/// What serves one side.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Destination {
    /// The name of the backend; the same one for both sides with `mode: ServerWeights`.
    pub(super) backend: String,
    /// The servers of this side; for `mode: ServerWeights` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) servers: Vec<String>,
}

/// Settings that can be used.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) sockets: Vec<Address>,
    pub(super) way: Way,
}

/// What is driven; pairs are in the order of the sides.
#[derive(Clone, Debug)]
pub(super) enum Way {
    /// The second side's share under `key` in `map`.
    Share { map: PathBuf, key: String, backends: [String; 2] },
    /// The weights of the servers of `backend`.
    ServerWeights { backend: String, servers: [Vec<String>; 2] },
}

fn default_sockets() -> Vec<String> {
    vec![SOCKET.into()]
}

// === impl Written ===

impl Written {
    /// Reads the written form; an error names the path of the field.
    pub(super) fn read(settings: &Value) -> Result<Self, SettingsError> {
        settings::read(settings)
    }
}

// === impl Settings ===

impl Settings {
    /// Reads and checks settings for these two sides, and tells everything that is wrong at once.
    pub(super) fn parse(settings: &Value, sides: &Sides) -> Result<Self, Vec<SettingsError>> {
        let written = Written::read(settings).map_err(|error| vec![error])?;
        let mut faults = Faults(Vec::new());
        let sockets = sockets(&written.sockets, &mut faults);
        let pair = destinations(&written.destinations, sides, &mut faults);
        let way = match written.mode {
            Mode::Share => share(&written, pair, sides, &mut faults),
            Mode::ServerWeights => server_weights(&written, pair, sides, &mut faults),
        };
        match way {
            Some(way) if faults.0.is_empty() => Ok(Self { sockets, way }),
            Some(_) | None => Err(faults.0),
        }
    }
}

/// Refuses a name that HAProxy's command line would take apart.
fn name(faults: &mut Faults, path: String, what: &str, name: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:/".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        faults.add(
            path,
            format!("{what} {name:?} must consist of letters, digits and . _ - : /"),
            "rename it in haproxy.cfg",
        );
    }
}

fn sockets(written: &[String], faults: &mut Faults) -> Vec<Address> {
    if written.is_empty() {
        faults.add("/sockets", "no socket is named".into(), "name one admin socket per process");
    }
    let mut found: Vec<Address> = Vec::new();
    for (index, text) in written.iter().enumerate() {
        let path = format!("/sockets/{index}");
        match address(text) {
            Ok(address) if found.contains(&address) => {
                faults.add(
                    path,
                    format!("socket {text:?} is named twice"),
                    "name each process once",
                );
            }
            Ok(address) => found.push(address),
            Err((message, help)) => faults.add(path, message, help),
        }
    }
    found
}

fn address(text: &str) -> Result<Address, (String, &'static str)> {
    if text.starts_with('/') {
        return Ok(Address::Unix(text.into()));
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(Address::Tcp(address)),
        Ok(address) => Err((
            format!(
                "socket {address} is plain TCP to another machine: anyone on the way could drive it"
            ),
            "use a unix socket, or a tunnel (ssh, stunnel) that ends on 127.0.0.1",
        )),
        Err(_) => Err((
            format!(
                "socket {text:?} is neither an absolute path nor a loopback address with a port"
            ),
            "write /run/haproxy/admin.sock or 127.0.0.1:9999",
        )),
    }
}

/// Returns the two destinations in the order of the sides.
fn destinations(
    written: &BTreeMap<String, Destination>,
    sides: &Sides,
    faults: &mut Faults,
) -> Option<[Destination; 2]> {
    settings::pair(written, sides, "{backend: …}", faults, |faults, path, destination| {
        name(faults, format!("{path}/backend"), "backend", &destination.backend);
        for (index, server) in destination.servers.iter().enumerate() {
            name(faults, format!("{path}/servers/{index}"), "server", server);
        }
    })
}

fn share(
    written: &Written,
    pair: Option<[Destination; 2]>,
    sides: &Sides,
    faults: &mut Faults,
) -> Option<Way> {
    let Some(share) = &written.share else {
        faults.add(
            "/share",
            "mode Share needs a map and a key".into(),
            "write share: {map: /etc/haproxy/haldane/share.map, key: checkout}",
        );
        return None;
    };
    if !share.map.starts_with('/') {
        faults.add(
            "/share/map",
            format!("map {:?} is no absolute path", share.map),
            "write the path exactly as haproxy.cfg has it",
        );
    }
    name(faults, "/share/map".into(), "map", &share.map);
    name(faults, "/share/key".into(), "key", &share.key);
    if share.key.ends_with(".mark") {
        let message = format!("key {:?} ends in .mark, where our signatures are kept", share.key);
        faults.add("/share/key", message, "choose another key");
    }
    let [first, second] = pair?;
    for (side, destination) in [(&sides.first, &first), (&sides.second, &second)] {
        if !destination.servers.is_empty() {
            faults.add(
                format!("/destinations/{}/servers", escape(side.as_str())),
                "servers are named, but mode Share splits between backends".into(),
                "remove them, or set mode: ServerWeights",
            );
        }
    }
    if first.backend == second.backend {
        faults.add(
            format!("/destinations/{}/backend", escape(sides.second.as_str())),
            format!("both sides name backend {:?}", first.backend),
            "give each side a backend of its own, or set mode: ServerWeights",
        );
    }
    let backends = [first.backend, second.backend];
    Some(Way::Share { map: share.map.clone().into(), key: share.key.clone(), backends })
}

fn server_weights(
    written: &Written,
    pair: Option<[Destination; 2]>,
    sides: &Sides,
    faults: &mut Faults,
) -> Option<Way> {
    if written.share.is_some() {
        faults.add("/share", "mode ServerWeights keeps no share in a map".into(), "remove it");
    }
    let [first, second] = pair?;
    if first.backend != second.backend {
        faults.add(
            format!("/destinations/{}/backend", escape(sides.second.as_str())),
            format!("the sides name backends {:?} and {:?}", first.backend, second.backend),
            "mode ServerWeights splits within one backend; for two use mode: Share",
        );
    }
    for (side, destination) in [(&sides.first, &first), (&sides.second, &second)] {
        let path = format!("/destinations/{}/servers", escape(side.as_str()));
        if destination.servers.is_empty() {
            faults.add(&path, format!("side {side} names no server"), "write servers: [NAME, …]");
        }
        let twice = |(at, name): (usize, &String)| destination.servers[..at].contains(name);
        if destination.servers.iter().enumerate().any(twice) {
            faults.add(&path, "a server is named twice".into(), "name each server once");
        }
    }
    if let Some(both) = first.servers.iter().find(|name| second.servers.contains(name)) {
        faults.add(
            format!("/destinations/{}/servers", escape(sides.second.as_str())),
            format!("server {both:?} is on both sides"),
            "a server belongs to one side",
        );
    }
    let servers = [first.servers, second.servers];
    Some(Way::ServerWeights { backend: first.backend, servers })
}
