//! The settings of HAProxy's statistics, as written and as used.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{client::Address, stat::Counted};
use crate::{SettingsError, TemplateScope, counters::Labels, sampled, settings};

const INTERVAL: &str = "1s";
const INTERVAL_LEAST: Duration = Duration::from_millis(100);
const INTERVAL_MOST: Duration = Duration::from_secs(60);
const TIMEOUT: &str = "1s";
/// How many processes a source may have.
const SOCKETS_MAX: usize = 64;
/// How many servers a side may have.
const SERVERS_MAX: usize = 64;

/// HAProxy's own statistics, read from the admin sockets of its processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Written {
    /// The admin socket of each process: a path such as `/run/haproxy/admin.sock`, or a loopback
    /// address such as `127.0.0.1:9999`.
    pub(super) sockets: Vec<String>,
    /// The backend of each side, by its name: `{blue: be_blue, green: be_green}`.
    pub(super) backends: BTreeMap<String, String>,
    /// The servers of each side in its backend, by their names, where one backend has those of both:
    /// `{blue: [b1, b2], green: [g1]}`. Without: all that the backend has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) servers: BTreeMap<String, Vec<String>>,
    /// How often each is read: a duration from `100ms` to `60s`.
    #[serde(default = "interval")]
    pub(super) interval: String,
    /// How long one answer may take.
    #[serde(default = "timeout")]
    pub(super) timeout: String,
    /// The sides' labels, which their series get. Filled in from `sides`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) labels: BTreeMap<String, Labels>,
}

/// Settings that can be used.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) addresses: Vec<Address>,
    pub(super) counted: Counted,
}

fn interval() -> String {
    INTERVAL.to_owned()
}

fn timeout() -> String {
    TIMEOUT.to_owned()
}

/// Checks settings and adds the defaults. Whether anybody listens is seen at the first look.
pub(super) fn check(settings: &Value) -> Result<Value, Vec<SettingsError>> {
    let written: Written = settings::read(settings).map_err(|error| vec![error])?;
    Settings::read(&written)?;
    Ok(serde_json::to_value(written).expect("settings can be written as JSON"))
}

/// Gives every side's series its labels.
pub(super) fn join(settings: &Value, scope: &TemplateScope) -> Result<Value, SettingsError> {
    let mut written: Written = settings::read(settings)?;
    let help = format!("name the backends of both sides, {}", sampled::side_names(scope));
    let backends = &written.backends;
    sampled::names_both_sides("/backends", backends, scope, "backend", [&help, &help])?;
    let by_instance = scope.sides.iter().any(|(_, labels)| labels.contains_key("instance"));
    if by_instance && written.sockets.len() > 1 {
        let message = "the label `instance` of a side would be that of all processes";
        let help = "give the sides another label, such as side: blue";
        return Err(SettingsError::new("/sockets", message, help));
    }
    written.labels = sampled::labels_of_sides(scope);
    Ok(serde_json::to_value(written).expect("settings can be written as JSON"))
}

// === impl Settings ===

impl Settings {
    /// Reads settings without looking outside.
    pub(super) fn read(written: &Written) -> Result<Self, Vec<SettingsError>> {
        let mut errors = Vec::new();
        let mut refuse = |path: &str, message: String, help: &str| {
            errors.push(SettingsError::new(path, message, help));
        };
        let interval = settings::duration(&written.interval).unwrap_or_default();
        if !(INTERVAL_LEAST..=INTERVAL_MOST).contains(&interval) {
            let message = format!("{:?} is no interval from 100ms to 60s", written.interval);
            refuse("/interval", message, "write 1s, or as short as 100ms");
        }
        let timeout = settings::duration(&written.timeout).unwrap_or_default();
        if timeout.is_zero() {
            let message = format!("{:?} cannot be read", written.timeout);
            refuse("/timeout", message, "write a duration above zero, such as 1s");
        }
        let mut addresses = Vec::new();
        for (at, text) in written.sockets.iter().enumerate() {
            let path = format!("/sockets/{at}");
            match address(text) {
                Ok(address) if addresses.contains(&address) => {
                    refuse(&path, format!("{text} is named twice"), "name each process once");
                }
                Ok(address) => addresses.push(address),
                Err(message) => {
                    refuse(&path, message, "write it as /run/haproxy/admin.sock");
                }
            }
        }
        if written.sockets.is_empty() || written.sockets.len() > SOCKETS_MAX {
            let message = format!("{} sockets are not 1 to {SOCKETS_MAX}", written.sockets.len());
            refuse("/sockets", message, "name the admin socket of each process");
        }
        let mut names = Vec::new();
        for (side, backend) in &written.backends {
            let path = format!("/backends/{side}");
            if !is_name(backend) {
                let message = format!("{backend:?} is no name of a backend");
                refuse(&path, message, "use the name of its section, such as be_blue");
            }
            if names.contains(&backend) && written.servers.is_empty() {
                let help = "give each side its own, or say by `servers` which of it are whose";
                refuse(&path, format!("{backend} is both sides'"), help);
            }
            names.push(backend);
        }
        let mut servers = Vec::new();
        for (side, own) in &written.servers {
            let path = format!("/servers/{side}");
            let backend = written.backends.get(side);
            if backend.is_none() {
                let message = format!("{side} has servers, and no backend");
                refuse(&path, message, "name its backend in `backends`");
            }
            if own.is_empty() || own.len() > SERVERS_MAX {
                let message = format!("{} servers are not 1 to {SERVERS_MAX}", own.len());
                refuse(&path, message, "name each server of the side");
            }
            for (at, server) in own.iter().enumerate() {
                let path = format!("{path}/{at}");
                if !is_name(server) {
                    let message = format!("{server:?} is no name of a server");
                    refuse(&path, message, "use the name in its `server` line");
                }
                if servers.contains(&(backend, server)) {
                    refuse(&path, format!("{server} is named twice"), "name each server once");
                }
                servers.push((backend, server));
            }
        }
        let silent = written.backends.keys().find(|side| !written.servers.contains_key(*side));
        if let (Some(side), false) = (silent, written.servers.is_empty()) {
            let message = format!("the side {side} has no servers, and the other has");
            refuse("/servers", message, "name the servers of both sides");
        }
        if written.backends.is_empty() {
            let help = "write {blue: be_blue, green: be_green}";
            refuse("/backends", "no side has a backend".to_owned(), help);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let counted = Counted::new(written);
        Ok(Self { interval, timeout, addresses, counted })
    }
}

/// Whatever else could end the word would be another command.
fn is_name(text: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.:".contains(letter);
    !text.is_empty() && text.chars().all(is_plain)
}

fn address(text: &str) -> Result<Address, String> {
    if text.starts_with('/') {
        return Ok(Address::Unix(PathBuf::from(text)));
    }
    match text.parse::<std::net::SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(Address::Tcp(address)),
        Ok(address) => Err(format!("{address} is not of this machine: a socket has no password")),
        Err(_) => Err(format!("{text:?} is no absolute path and no loopback address")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn refused(settings: Value, path: &str, words: &str) {
        let errors = check(&settings).unwrap_err();
        let found = errors.iter().any(|e| e.path == path && e.message.contains(words));
        assert!(found, "{errors:?}");
    }

    #[test]
    fn defaults_are_added_and_stay() {
        let written = json!({"sockets": ["/run/h.sock"], "backends": {"blue": "b", "green": "g"}});
        let mut wanted = written.clone();
        wanted["interval"] = "1s".into();
        wanted["timeout"] = "1s".into();
        assert_eq!(check(&written).unwrap(), wanted);
        assert_eq!(check(&wanted).unwrap(), wanted);
    }

    #[test]
    fn what_cannot_be_used_is_refused_at_its_place() {
        let with = |sockets: Value, blue: &str, interval: &str| {
            json!({"sockets": sockets, "backends": {"blue": blue, "green": "g"},
                "interval": interval})
        };
        let one = || json!(["/run/h.sock"]);
        refused(with(json!([]), "b", "1s"), "/sockets", "0 sockets");
        refused(with(json!(["h.sock"]), "b", "1s"), "/sockets/0", "no absolute path");
        refused(with(json!(["10.0.0.1:9"]), "b", "1s"), "/sockets/0", "not of this machine");
        refused(with(json!(["/a", "/a"]), "b", "1s"), "/sockets/1", "named twice");
        refused(with(one(), "b;disable server x/y", "1s"), "/backends/blue", "no name");
        refused(with(one(), "g", "1s"), "/backends/green", "both sides");
        refused(with(one(), "b", "50ms"), "/interval", "100ms to 60s");
        refused(json!({"sockets": one(), "backends": {}}), "/backends", "no side");
    }

    #[test]
    fn one_backend_is_both_sides_where_each_has_servers_of_its_own() {
        let with = |servers: Value| json!({"sockets": ["/a"], "backends": {"blue": "b", "green": "b"}, "servers": servers});
        assert!(check(&with(json!({"blue": ["s1", "s2"], "green": ["s3"]}))).is_ok());
        refused(with(json!({})), "/backends/green", "both sides");
        refused(with(json!({"blue": ["s1"]})), "/servers", "green has no servers");
        refused(with(json!({"blue": ["s1"], "green": ["s1"]})), "/servers/green/0", "named twice");
        refused(with(json!({"blue": ["s1;x"], "green": ["s2"]})), "/servers/blue/0", "no name");
        refused(with(json!({"blue": [], "green": ["s2"]})), "/servers/blue", "0 servers");
        refused(with(json!({"bleu": ["s1"], "green": ["s2"]})), "/servers/bleu", "no backend");
    }

    #[test]
    fn both_sides_need_a_backend() {
        let settings = json!({"sockets": ["/a"], "backends": {"blue": "b"}});
        let scope = TemplateScope {
            sides: [("blue".into(), Labels::new()), ("green".into(), Labels::new())],
            ..TemplateScope::default()
        };
        let error = join(&check(&settings).unwrap(), &scope).unwrap_err();
        assert!(error.message.contains("the side green has no backend"), "{error:?}");
    }
}
