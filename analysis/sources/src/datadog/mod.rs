//! Datadog's metrics queries: `GET /api/v1/query`, the newest point of the one series that is found.
//!
//! Contract-tested: against the documented exchange, never against the service.

use std::{sync::Arc, time::Instant};

use haldane_outside::{Outside, Secret};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Look, MetricSource, SettingsError, SourceEntry,
    access::{Header, Parts},
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

const KIND: &str = "datadog";

/// Datadog, by its metrics queries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    /// The address of the API: that of the site, such as `https://api.datadoghq.eu`.
    #[serde(default = "url")]
    url: String,
    /// The API key.
    api_key: Secret,
    /// The application key, which may query time series.
    application_key: Secret,
    /// How long one request may take: a duration such as `10s`.
    #[serde(default = "crate::access::timeout")]
    timeout: String,
    /// How large an answer may be, after decompression.
    #[serde(default = "crate::access::body_bytes_max")]
    #[schemars(range(min = 1024, max = 67_108_864))]
    max_body_bytes: usize,
    /// How far apart points are: a duration such as `20s`.
    #[serde(default = "scrape_interval")]
    scrape_interval: String,
    /// After how long a point is surely there: windows end that much earlier.
    #[serde(default = "delay")]
    delay: String,
}

fn url() -> String {
    "https://api.datadoghq.com".to_owned()
}

fn scrape_interval() -> String {
    "20s".to_owned()
}

fn delay() -> String {
    "60s".to_owned()
}

fn parts(written: Written) -> (Parts, Common) {
    let headers =
        [("DD-API-KEY", written.api_key), ("DD-APPLICATION-KEY", written.application_key)];
    let headers = headers.map(|(name, secret)| (name.to_owned(), Header::Secret(secret)));
    let parts = Parts {
        url: written.url,
        headers: headers.into(),
        timeout: written.timeout,
        max_body_bytes: written.max_body_bytes,
        ..Parts::default()
    };
    (parts, Common { scrape_interval: written.scrape_interval, delay: written.delay })
}

fn build(settings: &Value, outside: &Outside) -> Result<Arc<dyn MetricSource>, SettingsError> {
    let (web, pace) = service::open(settings, outside, parts)?;
    Ok(Numbers::source(Datadog { web, pace }))
}

#[derive(Clone, Debug)]
struct Datadog {
    web: Web,
    pace: service::Pace,
}

#[derive(Deserialize)]
struct Answered {
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    series: Option<Vec<Series>>,
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    scope: String,
    #[serde(default)]
    pointlist: Vec<(f64, Option<f64>)>,
}

// === impl Datadog ===

impl OwnLanguage for Datadog {
    const KIND: &'static str = KIND;

    fn pace(&self) -> service::Pace {
        self.pace
    }

    async fn ask(&self, query: &str, look: &Look, end: Instant) -> Result<Found, Refusal> {
        let mut url = self.web.at("/api/v1/query");
        let (from, to) = (look.window.begin.as_second(), look.window.end.as_second());
        url.query_pairs_mut()
            .append_pair("from", &from.to_string())
            .append_pair("to", &to.to_string())
            .append_pair("query", query);
        let (status, body) = self.web.send(Request::get(url), end).await?;
        if status != 200 {
            return Err(failed(status, &body));
        }
        let Ok(answered) = serde_json::from_slice::<Answered>(&body) else {
            return Err(refused(format!("this is no answer to a query: {}", excerpt(&body))));
        };
        if answered.status.as_deref() != Some("ok") {
            let error = answered.error.unwrap_or_else(|| excerpt(&body));
            return Err(refused(format!("datadog: {}", excerpt(error.as_bytes()))));
        }
        let series = answered.series.unwrap_or_default();
        let Some(only) = only(series, |series| series.scope.clone())? else {
            return Ok(Found::nothing("no such series"));
        };
        let points = only.pointlist.into_iter().map(|(at, value)| -> Point { (at as i64, value) });
        Ok(newest(points, look.window))
    }
}
