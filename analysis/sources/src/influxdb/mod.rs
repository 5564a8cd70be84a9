//! InfluxDB by InfluxQL: `POST /query`, which 1.x has, and 2 and 3 for compatibility. The newest row of the
//! one series that is found.
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
    settings,
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

const KIND: &str = "influxdb";

/// InfluxDB, by InfluxQL: 1.x, and 2 and 3 by their 1.x API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    /// Where it listens, with a path prefix where it has one: `http://influxdb:8086`.
    url: String,
    /// The database; in 2 and 3 the bucket that it is mapped to.
    database: String,
    /// The retention policy, where it is not the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_policy: Option<String>,
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
    let Written { database, retention_policy, .. } = settings::read(settings)?;
    let (web, pace) = service::open(settings, outside, parts)?;
    Ok(Numbers::source(Influx { web, pace, database, retention_policy }))
}

#[derive(Clone, Debug)]
struct Influx {
    web: Web,
    pace: service::Pace,
    database: String,
    retention_policy: Option<String>,
}

#[derive(Deserialize)]
struct Answered {
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    results: Option<Vec<Outcome>>,
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    partial: bool,
    #[serde(default)]
    series: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    name: String,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    columns: Vec<String>,
    #[serde(default)]
    values: Vec<Vec<Value>>,
    #[serde(default)]
    partial: bool,
}

// === impl Influx ===

impl OwnLanguage for Influx {
    const KIND: &'static str = KIND;

    fn pace(&self) -> service::Pace {
        self.pace
    }

    async fn ask(&self, query: &str, look: &Look, end: Instant) -> Result<Found, Refusal> {
        let policy = self.retention_policy.as_deref().map(|policy| ("rp", policy));
        let fields = [("db", self.database.as_str()), ("q", query), ("epoch", "ms")];
        let request = Request::form(self.web.at("/query"), fields.into_iter().chain(policy));
        let (status, body) = self.web.send(request, end).await?;
        if status != 200 {
            return Err(failed(status, &body));
        }
        let Ok(answered) = serde_json::from_slice::<Answered>(&body) else {
            return Err(refused(format!("this is no answer to a query: {}", excerpt(&body))));
        };
        let results = answered.results.as_deref();
        let told = results.into_iter().flatten().find_map(|outcome| outcome.error.as_ref());
        if let Some(error) = answered.error.as_ref().or(told) {
            let late = ["timeout", "timed out", "limit exceeded"];
            let retryable = late.iter().any(|words| error.contains(words));
            let message = format!("influxdb: {}", excerpt(error.as_bytes()));
            return Err(Refusal { message, retryable, too_large: false });
        }
        let Some(results) = answered.results else {
            return Err(refused(format!("this is no answer to a query: {}", excerpt(&body))));
        };
        let partial =
            |outcome: &Outcome| outcome.partial || outcome.series.iter().any(|s| s.partial);
        if results.iter().any(partial) {
            return Err(refused("the answer is partial: ask for fewer rows"));
        }
        let series = results.into_iter().flat_map(|outcome| outcome.series).collect();
        match only(series, |series: &Series| format!("{} {:?}", series.name, series.tags))? {
            None => Ok(Found::nothing("no such series")),
            Some(series) => Ok(newest(series.points()?, look.window)),
        }
    }
}

// === impl Series ===

impl Series {
    fn points(&self) -> Result<Vec<Point>, Refusal> {
        let [time, _value] = self.columns.as_slice() else {
            let columns = self.columns.join(", ");
            return Err(refused(format!("the query returns {columns}: select one number")));
        };
        if time != "time" {
            return Err(refused(format!(
                "the query returns {time} and no time: select one number"
            )));
        }
        let point = |row: &Vec<Value>| match row.as_slice() {
            [at, value] if value.is_null() || value.is_number() => {
                Ok((at.as_i64().unwrap_or_default(), value.as_f64()))
            }
            [_, text] => Err(refused(format!("the value {text} is no number"))),
            _ => Err(refused("a row has more or fewer values than columns")),
        };
        self.values.iter().map(point).collect()
    }
}
