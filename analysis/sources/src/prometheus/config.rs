//! The settings of a Prometheus source, as written and as used.

use std::{collections::BTreeMap, time::Duration};

use haldane_outside::{BODY_BYTES_MAX, Outside, OutsideError, Secret, SecretText, Tls};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::{SettingsError, settings};

const TIMEOUT: &str = "10s";
const SERIES_MAX: usize = 100;
const BODY_BYTES_LEAST: usize = 1 << 10;
const BODY_BYTES_MOST: usize = 64 << 20;

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
    /// How the server is trusted, and our own certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<Tls>,
    /// How long one query may take: a duration such as `10s`.
    #[serde(default = "timeout")]
    pub(crate) timeout: String,
    /// How many series an answer may have.
    #[serde(default = "series_max")]
    #[schemars(range(min = 1, max = 10_000))]
    pub(crate) max_series: usize,
    /// How large an answer may be, after decompression.
    #[serde(default = "body_bytes_max")]
    #[schemars(range(min = 1024, max = 67_108_864))]
    pub(crate) max_body_bytes: usize,
    /// How often targets are scraped, where the source does not tell: a duration such as `15s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scrape_interval: Option<String>,
}

/// A user's name and password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Basic {
    /// The name.
    pub(crate) username: String,
    /// Where the password is found.
    pub(crate) password: Secret,
}

/// A header's value: text, or a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Header {
    /// Text that anybody may see.
    Text(String),
    /// A secret.
    Secret(Secret),
}

/// Settings that can be used.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Without a slash at its end.
    pub(crate) url: Url,
    pub(crate) tls: Tls,
    pub(crate) timeout: Duration,
    pub(crate) series_max: usize,
    pub(crate) body_bytes_max: usize,
    pub(crate) scrape_interval: Option<Duration>,
    bearer: Option<Secret>,
    basic: Option<Basic>,
    headers: BTreeMap<String, Header>,
}

fn timeout() -> String {
    TIMEOUT.to_owned()
}

fn series_max() -> usize {
    SERIES_MAX
}

fn body_bytes_max() -> usize {
    BODY_BYTES_MAX
}

/// Checks settings and adds the defaults. Reads every file and variable that is named, so that
/// what is missing is found before a rollout begins.
pub(crate) fn check(settings: &Value) -> Result<Value, Vec<SettingsError>> {
    let written: Written = settings::read(settings).map_err(|error| vec![error])?;
    let config = Config::read(written.clone())?;
    config.check_outside(&Outside::default())?;
    Ok(serde_json::to_value(written).expect("settings can be written as JSON"))
}

// === impl Config ===

impl Config {
    /// Reads settings without looking outside.
    pub(crate) fn read(written: Written) -> Result<Self, Vec<SettingsError>> {
        let mut errors = Vec::new();
        let mut duration = |path, text: &str| {
            let value = settings::duration(text).filter(|value| !value.is_zero());
            if value.is_none() {
                let help = "write a duration above zero, such as 10s";
                errors.push(SettingsError::new(path, format!("{text:?} cannot be read"), help));
            }
            value.unwrap_or_default()
        };
        let timeout = duration("/timeout", &written.timeout);
        let scrape_interval =
            written.scrape_interval.as_deref().map(|text| duration("/scrapeInterval", text));
        let url = base_url(&written.url).map_err(|error| errors.push(error)).ok();
        if written.bearer.is_some() && written.basic.is_some() {
            let help = "keep the one that the server asks for";
            errors.push(SettingsError::new("/basic", "bearer and basic are both set", help));
        }
        for name in written.headers.keys() {
            if HeaderName::from_bytes(name.as_bytes()).is_err() {
                let path = format!("/headers/{name}");
                errors.push(SettingsError::new(&path, "it is no name of a header", "correct it"));
            }
        }
        if !(1..=10_000).contains(&written.max_series) {
            let message = format!("{} is not between 1 and 10000", written.max_series);
            errors.push(SettingsError::new("/maxSeries", message, "100 is enough for most"));
        }
        if !(BODY_BYTES_LEAST..=BODY_BYTES_MOST).contains(&written.max_body_bytes) {
            let message = format!("{} is not between 1 KiB and 64 MiB", written.max_body_bytes);
            errors.push(SettingsError::new("/maxBodyBytes", message, "4194304 is the default"));
        }
        let Some(url) = url.filter(|_| errors.is_empty()) else { return Err(errors) };
        Ok(Self {
            url,
            tls: written.tls.unwrap_or_default(),
            timeout,
            series_max: written.max_series,
            body_bytes_max: written.max_body_bytes,
            scrape_interval,
            bearer: written.bearer,
            basic: written.basic,
            headers: written.headers,
        })
    }

    /// Reads every certificate and secret once.
    pub(crate) fn check_outside(&self, outside: &Outside) -> Result<(), Vec<SettingsError>> {
        let mut errors = Vec::new();
        // Without TLS there is nothing to read; the system's certificates take longer than all else here.
        let encrypted = self.url.scheme() == "https" || self.tls != Tls::default();
        if encrypted && let Err(error) = outside.client(&self.url, &self.tls) {
            errors.push(at("/tls", error));
        }
        if let Err(error) = self.request_headers() {
            errors.push(error);
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Reads the secrets and writes the headers of one request.
    pub(crate) fn request_headers(&self) -> Result<HeaderMap, SettingsError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let path = format!("/headers/{name}");
            let header =
                HeaderName::from_bytes(name.as_bytes()).map_err(|_odd| unsendable(&path))?;
            let value = match value {
                Header::Text(text) => {
                    HeaderValue::from_str(text).map_err(|_odd| unsendable(&path))?
                }
                Header::Secret(secret) => sensitive(&path, secret, |text| text.to_owned())?,
            };
            headers.insert(header, value);
        }
        if let Some(bearer) = &self.bearer {
            let value = sensitive("/bearer", bearer, |token| format!("Bearer {token}"))?;
            headers.insert(reqwest::header::AUTHORIZATION, value);
        }
        if let Some(Basic { username, password }) = &self.basic {
            let value = sensitive("/basic/password", password, |password| {
                format!("Basic {}", base64(format!("{username}:{password}").as_bytes()))
            })?;
            headers.insert(reqwest::header::AUTHORIZATION, value);
        }
        Ok(headers)
    }
}

fn base_url(text: &str) -> Result<Url, SettingsError> {
    let refuse = |message: &str, help| Err(SettingsError::new("/url", message, help));
    let help = "write it as http://prometheus:9090, with a path prefix where it has one";
    let Ok(mut url) = Url::parse(text) else { return refuse("it is no address", help) };
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return refuse("it is no http or https address", help);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("it holds a user's name or password", "use `basic` with a secret");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("it holds a query or a fragment", help);
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

fn at(path: &str, error: OutsideError) -> SettingsError {
    SettingsError {
        path: path.to_owned(),
        message: error.message,
        help: error.help.map(str::to_owned),
    }
}

fn unsendable(path: &str) -> SettingsError {
    let help = "remove line breaks and control characters";
    SettingsError::new(path, "it cannot be sent as a header", help)
}

fn sensitive(
    path: &str,
    secret: &Secret,
    write: impl FnOnce(&str) -> String,
) -> Result<HeaderValue, SettingsError> {
    let text: SecretText = secret.read().map_err(|error| at(path, error))?;
    let mut value =
        HeaderValue::from_str(&write(text.reveal())).map_err(|_odd| unsendable(path))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Encodes bytes by RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits =
            (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(*three.get(at).unwrap_or(&0)));
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
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
        let both = json!({"url": "http://p", "bearer": {"env": "PATH"},
            "basic": {"username": "a", "password": {"env": "PATH"}}});
        refused(both, "/basic", "both set");
    }

    #[test]
    fn absent_secrets_and_certificates_are_found_before_a_rollout_begins() {
        let bearer = json!({"url": "http://p", "bearer": {"file": "/nowhere/token"}});
        refused(bearer, "/bearer", "/nowhere/token");
        let key = json!({"secretKeyRef": {"name": "prom", "key": "token"}});
        let settings = json!({"url": "http://p", "bearer": key});
        let errors = check(&settings).unwrap_err();
        assert!(errors[0].help.as_ref().unwrap().contains("use `file` or `env`"), "{errors:?}");
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
        assert_eq!(config.url.as_str(), "http://p/tenant");
        let headers = config.request_headers().unwrap();
        assert_eq!(headers["authorization"], "Basic YW5hbHlzdDpzM2NyZXQ=");
        assert!(!format!("{headers:?} {config:?}").contains("YW5h"));
        assert_eq!(headers["x-scope-orgid"], "team");
    }

    #[test]
    fn base64_is_padded_as_the_rfc_says() {
        for (text, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }
}
