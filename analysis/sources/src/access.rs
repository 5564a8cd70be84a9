//! How a server is reached: its address, who we are, and how much it may answer.
//!
//! Shared by every source that speaks HTTP. Secrets are read at each request, and never shown.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures::FutureExt as _;
use haldane_outside::{BODY_BYTES_MAX, Outside, OutsideError, Secret, SecretText, Tls};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{SettingsError, settings};

const BODY_BYTES_LEAST: usize = 1 << 10;
const BODY_BYTES_MOST: usize = 64 << 20;

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

/// What settings say about reaching a server, as written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    pub(crate) url: String,
    pub(crate) bearer: Option<Secret>,
    pub(crate) basic: Option<Basic>,
    pub(crate) headers: BTreeMap<String, Header>,
    pub(crate) tls: Option<Tls>,
    pub(crate) timeout: String,
    pub(crate) max_body_bytes: usize,
}

/// A server that can be asked.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// Without a slash at its end.
    pub(crate) url: Url,
    pub(crate) tls: Tls,
    pub(crate) timeout: Duration,
    pub(crate) body_bytes_max: usize,
    bearer: Option<Secret>,
    basic: Option<Basic>,
    headers: BTreeMap<String, Header>,
}

/// How long one request may take where nothing else is set.
pub(crate) fn timeout() -> String {
    "10s".to_owned()
}

/// How large an answer may be where nothing else is set.
pub(crate) fn body_bytes_max() -> usize {
    BODY_BYTES_MAX
}

/// Reads a duration above zero, or notes what is wrong with it.
pub(crate) fn duration(path: &str, text: &str, errors: &mut Vec<SettingsError>) -> Duration {
    let value = settings::duration(text).filter(|value| !value.is_zero());
    if value.is_none() {
        let help = "write a duration above zero, such as 10s";
        errors.push(SettingsError::new(path, format!("{text:?} cannot be read"), help));
    }
    value.unwrap_or_default()
}

// === impl Access ===

impl Access {
    /// Reads settings without looking outside; notes everything that is wrong.
    pub(crate) fn read(parts: Parts, errors: &mut Vec<SettingsError>) -> Option<Self> {
        let timeout = duration("/timeout", &parts.timeout, errors);
        let url = base_url(&parts.url).map_err(|error| errors.push(error)).ok();
        if parts.bearer.is_some() && parts.basic.is_some() {
            let help = "keep the one that the server asks for";
            errors.push(SettingsError::new("/basic", "bearer and basic are both set", help));
        }
        for name in parts.headers.keys() {
            if HeaderName::from_bytes(name.as_bytes()).is_err() {
                let path = format!("/headers/{name}");
                errors.push(SettingsError::new(&path, "it is no name of a header", "correct it"));
            }
        }
        if !(BODY_BYTES_LEAST..=BODY_BYTES_MOST).contains(&parts.max_body_bytes) {
            let message = format!("{} is not between 1 KiB and 64 MiB", parts.max_body_bytes);
            errors.push(SettingsError::new("/maxBodyBytes", message, "4194304 is the default"));
        }
        Some(Self {
            url: url?,
            tls: parts.tls.unwrap_or_default(),
            timeout,
            body_bytes_max: parts.max_body_bytes,
            bearer: parts.bearer,
            basic: parts.basic,
            headers: parts.headers,
        })
    }

    /// Reads every certificate and secret once, but those that lie in a cluster: they are asked for when they are
    /// needed.
    pub(crate) fn check_outside(&self, outside: &Outside) -> Result<(), Vec<SettingsError>> {
        let mut errors = Vec::new();
        // Without TLS there is nothing to read; the system's certificates take longer than all else here.
        let encrypted = self.url.scheme() == "https" || self.tls != Tls::default();
        if encrypted && let Err(error) = outside.client(&self.url, &self.tls) {
            errors.push(at("/tls", error));
        }
        let headers = self.here().request_headers(outside).now_or_never();
        if let Err(error) = headers.expect("files and variables are read at once") {
            errors.push(error);
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Returns the same with those secrets alone that are on this machine.
    fn here(&self) -> Self {
        let is_here = |secret: &Secret| !matches!(secret, Secret::SecretKeyRef(_));
        let mut here = self.clone();
        here.bearer = here.bearer.filter(is_here);
        here.basic = here.basic.filter(|basic| is_here(&basic.password));
        here.headers.retain(|_, header| match header {
            Header::Text(_) => true,
            Header::Secret(secret) => is_here(secret),
        });
        here
    }

    /// Reads the secrets and writes the headers of one request.
    pub(crate) async fn request_headers(
        &self,
        outside: &Outside,
    ) -> Result<HeaderMap, SettingsError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let path = format!("/headers/{name}");
            let header =
                HeaderName::from_bytes(name.as_bytes()).map_err(|_odd| unsendable(&path))?;
            let value = match value {
                Header::Text(text) => {
                    HeaderValue::from_str(text).map_err(|_odd| unsendable(&path))?
                }
                Header::Secret(secret) => {
                    sensitive(outside, &path, secret, |text| text.to_owned()).await?
                }
            };
            headers.insert(header, value);
        }
        if let Some(bearer) = &self.bearer {
            let value =
                sensitive(outside, "/bearer", bearer, |token| format!("Bearer {token}")).await?;
            headers.insert(reqwest::header::AUTHORIZATION, value);
        }
        if let Some(Basic { username, password }) = &self.basic {
            let write = |password: &str| {
                format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}")))
            };
            let value = sensitive(outside, "/basic/password", password, write).await?;
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

async fn sensitive(
    outside: &Outside,
    path: &str,
    secret: &Secret,
    write: impl FnOnce(&str) -> String,
) -> Result<HeaderValue, SettingsError> {
    let text: SecretText = outside.secret(secret).await.map_err(|error| at(path, error))?;
    let mut value =
        HeaderValue::from_str(&write(text.reveal())).map_err(|_odd| unsendable(path))?;
    value.set_sensitive(true);
    Ok(value)
}
