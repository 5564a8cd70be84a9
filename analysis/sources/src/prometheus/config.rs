//! The settings of a Prometheus source, as written and as used.

use std::{collections::BTreeMap, time::Duration};

use haldane_outside::{Outside, Secret, Tls};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    SettingsError,
    access::{self, Access, Basic, Header, Parts},
    settings,
};

const SERIES_MAX: usize = 100;

/// The parameters of a query that are our own.
const OWN: [&str; 4] = ["query", "time", "timeout", "nocache"];

/// A Prometheus, or anything that answers its query API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Written {
    /// Where it listens, with a path prefix where it has one: `http://prometheus:9090`.
    pub(crate) url: String,
    /// A bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bearer: Option<Secret>,
    /// A user's name and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) basic: Option<Basic>,
    /// More headers, such as `X-Scope-OrgID`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub(crate) headers: BTreeMap<String, Header>,
    /// More parameters of every query, such as `partial_response: "false"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub(crate) parameters: BTreeMap<String, String>,
    /// How the server is trusted, and our own certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<Tls>,
    /// How long one query may take: a duration such as `10s`.
    #[serde(default = "access::timeout")]
    pub(crate) timeout: String,
    /// How many series an answer may have.
    #[serde(default = "series_max")]
    #[schemars(range(min = 1, max = 10_000))]
    pub(crate) max_series: usize,
    /// How large an answer may be, after decompression.
    #[serde(default = "access::body_bytes_max")]
    #[schemars(range(min = 1024, max = 67_108_864))]
    pub(crate) max_body_bytes: usize,
    /// How often targets are scraped, where the source does not tell: a duration such as `15s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scrape_interval: Option<String>,
}

/// Settings that can be used.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) access: Access,
    pub(crate) series_max: usize,
    pub(crate) scrape_interval: Option<Duration>,
    pub(crate) parameters: BTreeMap<String, String>,
}

fn series_max() -> usize {
    SERIES_MAX
}

/// Checks settings and adds the defaults. Reads every file and variable that is named, so that
/// what is missing is found before a rollout begins.
pub(crate) fn check(settings: &Value) -> Result<Value, Vec<SettingsError>> {
    let written: Written = settings::read(settings).map_err(|error| vec![error])?;
    let config = Config::read(written.clone())?;
    config.access.check_outside(&Outside::default())?;
    Ok(serde_json::to_value(written).expect("settings can be written as JSON"))
}

// === impl Config ===

impl Config {
    /// Reads settings without looking outside.
    pub(crate) fn read(written: Written) -> Result<Self, Vec<SettingsError>> {
        let mut errors = Vec::new();
        let scrape_interval = written.scrape_interval.as_deref();
        let scrape_interval =
            scrape_interval.map(|text| access::duration("/scrapeInterval", text, &mut errors));
        for name in written.parameters.keys().filter(|name| OWN.contains(&name.as_str())) {
            let path = format!("/parameters/{name}");
            errors.push(SettingsError::new(&path, "it is set for each query", "remove it"));
        }
        if !(1..=10_000).contains(&written.max_series) {
            let message = format!("{} is not between 1 and 10000", written.max_series);
            errors.push(SettingsError::new("/maxSeries", message, "100 is enough for most"));
        }
        let parts = Parts {
            url: written.url,
            bearer: written.bearer,
            basic: written.basic,
            headers: written.headers,
            tls: written.tls,
            timeout: written.timeout,
            max_body_bytes: written.max_body_bytes,
        };
        let access = Access::read(parts, &mut errors);
        let Some(access) = access.filter(|_| errors.is_empty()) else { return Err(errors) };
        Ok(Self {
            access,
            series_max: written.max_series,
            scrape_interval,
            parameters: written.parameters,
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use std::fs;

    use serde_json::json;

    use super::*;

    #[track_caller]
    fn refused(settings: Value, path: &str, words: &str) {
        let errors = check(&settings).unwrap_err();
        let found = errors.iter().any(|e| e.path == path && e.message.contains(words));
        assert!(found, "{errors:?}");
    }

    #[test]
    fn defaults_are_added_and_unset_stays_unset() {
        let checked = check(&json!({"url": "http://p:9090/"})).unwrap();
        let wanted = json!({
            "url": "http://p:9090/", "timeout": "10s", "maxSeries": 100, "maxBodyBytes": 4_194_304
        });
        assert_eq!(checked, wanted);
        assert_eq!(check(&checked).unwrap(), wanted);
    }

    #[test]
    fn what_cannot_be_used_is_refused_at_its_place() {
        refused(json!({}), "", "missing field `url`");
        refused(json!({"url": "http://p", "tiemout": "1s"}), "/tiemout", "unknown field");
        refused(json!({"url": "prometheus:9090"}), "/url", "no http or https");
        refused(json!({"url": "http://a:b@p"}), "/url", "password");
        refused(json!({"url": "http://p", "timeout": "1d"}), "/timeout", "\"1d\"");
        refused(json!({"url": "http://p", "timeout": "0s"}), "/timeout", "\"0s\"");
        refused(json!({"url": "http://p", "maxSeries": 0}), "/maxSeries", "0 is not");
        refused(json!({"url": "http://p", "maxBodyBytes": 1}), "/maxBodyBytes", "1 is not");
        refused(json!({"url": "http://p", "headers": {"a b": "c"}}), "/headers/a b", "no name");
        refused(
            json!({"url": "http://p", "headers": {"a": "b\nc"}}),
            "/headers/a",
            "cannot be sent",
        );
        refused(json!({"url": "http://p", "parameters": {"time": "1"}}), "/parameters/time", "set");
        let both = json!({"url": "http://p", "bearer": {"env": "PATH"},
            "basic": {"username": "a", "password": {"env": "PATH"}}});
        refused(both, "/basic", "both set");
    }

    #[test]
    fn absent_secrets_and_certificates_are_found_before_a_rollout_begins() {
        let bearer = json!({"url": "http://p", "bearer": {"file": "/nowhere/token"}});
        refused(bearer, "/bearer", "/nowhere/token");
        let basic = json!({"username": "a", "password": {"env": "HALDANE_NO_SUCH"}});
        refused(json!({"url": "http://p", "basic": basic}), "/basic/password", "HALDANE_NO_SUCH");
        refused(
            json!({"url": "http://p", "tls": {"caFile": "/nowhere/ca"}}),
            "/tls",
            "/nowhere/ca",
        );
    }

    #[test]
    fn secrets_become_sensitive_headers() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        fs::write(&file, "s3cret\n").unwrap();
        let settings = json!({"url": "http://p/tenant//", "headers": {"X-Scope-OrgID": "team"},
            "basic": {"username": "analyst", "password": {"file": file}}});
        let config = Config::read(settings::read(&settings).unwrap()).unwrap();
        assert_eq!(config.access.url.as_str(), "http://p/tenant");
        let outside = Outside::default();
        let headers = config.access.request_headers(&outside).now_or_never();
        let headers = headers.expect("a file is read at once").unwrap();
        assert_eq!(headers["authorization"], "Basic YW5hbHlzdDpzM2NyZXQ=");
        assert!(!format!("{headers:?} {config:?}").contains("YW5h"));
        assert_eq!(headers["x-scope-orgid"], "team");
    }
}
