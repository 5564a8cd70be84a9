//! Graphite's render API: `GET /render?format=json`, the newest point of the one series that is found.
//!
//! Contract-tested: against the documented exchange, never against the service.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use haldane_outside::{Outside, Secret, Tls};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Look, MetricSource, SettingsError, SourceEntry,
    access::{Basic, Header, Parts},
    numbers::{self, Numbers, Point, newest, only},
    reply::{Found, Refusal, excerpt, failed, refused},
    service::{self, Common, OwnLanguage},
    web::{Request, Web},
};

/// The row of the registry.
pub(crate) const ENTRY: SourceEntry = SourceEntry {
    kind: KIND,
    schema: || schemars::schema_for!(Written),
    check: |settings| service::check(settings, parts),
    join: |settings, _scope| Ok(settings.clone()),
    answers: |_settings, question| numbers::answers_own(question, KIND),
    remembers: false,
    build,
};

const KIND: &str = "graphite";

/// Graphite, by its render API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    /// Where it listens, with a path prefix where it has one: `https://graphite.example.com`.
    url: String,
    /// A bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    bearer: Option<Secret>,
    /// A user's name and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    basic: Option<Basic>,
    /// More headers; a value is text or a secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    headers: BTreeMap<String, Header>,
    /// How the server is trusted, and our own certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Tls>,
    /// How long one request may take: a duration such as `10s`.
    #[serde(default = "crate::access::timeout")]
    timeout: String,
    /// How large an answer may be, after decompression.
    #[serde(default = "crate::access::body_bytes_max")]
    #[schemars(range(min = 1024, max = 67_108_864))]
    max_body_bytes: usize,
    /// How far apart points are: a duration such as `10s`.
    #[serde(default = "scrape_interval")]
    scrape_interval: String,
    /// After how long a point is surely there: windows end that much earlier.
    #[serde(default = "delay")]
    delay: String,
}

fn scrape_interval() -> String {
    "10s".to_owned()
}

fn delay() -> String {
    "0s".to_owned()
}

fn parts(written: Written) -> (Parts, Common) {
    let parts = Parts {
        url: written.url,
        bearer: written.bearer,
        basic: written.basic,
        headers: written.headers,
        tls: written.tls,
        timeout: written.timeout,
        max_body_bytes: written.max_body_bytes,
    };
    (parts, Common { scrape_interval: written.scrape_interval, delay: written.delay })
}

fn build(settings: &Value, outside: &Outside) -> Result<Arc<dyn MetricSource>, SettingsError> {
    let (web, pace) = service::open(settings, outside, parts)?;
    Ok(Numbers::source(Graphite { web, pace }))
}

#[derive(Clone, Debug)]
struct Graphite {
    web: Web,
    pace: service::Pace,
}

#[derive(Deserialize)]
struct Series {
    target: String,
    datapoints: Vec<(Option<f64>, i64)>,
}

// === impl Graphite ===

impl OwnLanguage for Graphite {
    const KIND: &'static str = KIND;

    fn pace(&self) -> service::Pace {
        self.pace
    }

    async fn ask(&self, query: &str, look: &Look, end: Instant) -> Result<Found, Refusal> {
        let (from, until) = (look.window.begin.as_second(), look.window.end.as_second());
        let fields = [("from", from.to_string()), ("until", until.to_string())];
        let mut url = self.web.at("/render");
        url.query_pairs_mut()
            .append_pair("target", query)
            .append_pair("format", "json")
            .append_pair("noCache", "1")
            .extend_pairs(fields);
        let (status, body) = self.web.send(Request::get(url), end).await?;
        if status != 200 {
            return Err(failed(status, &body));
        }
        let Ok(series) = serde_json::from_slice::<Vec<Series>>(&body) else {
            return Err(refused(format!("this is no answer to a query: {}", excerpt(&body))));
        };
        let Some(only) = only(series, |series| series.target.clone())? else {
            return Ok(Found::nothing("no such series"));
        };
        let points = only
            .datapoints
            .into_iter()
            .map(|(value, at)| -> Point { (at.saturating_mul(1_000), value) });
        Ok(newest(points, look.window))
    }
}
