//! Amazon CloudWatch: `GetMetricData`, the newest value of the one result that is returned.
//!
//! Signed with keys that a file or the environment holds; roles of instances are not asked for.
//! Contract-tested: against the documented exchange, never against the service.

mod sign;

use std::{sync::Arc, time::Instant};

use haldane_outside::{Outside, Secret};
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::sign::Signed;
use crate::{
    Look, MetricSource, SettingsError, SourceEntry,
    access::Parts,
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
    check,
    join: |settings, _scope| Ok(settings.clone()),
    answers: |_settings, question| numbers::answers_own(question, KIND),
    remembers: false,
    build,
};

const KIND: &str = "cloudWatch";
const CONTENT: &str = "application/x-amz-json-1.0";
const TARGET: &str = "GraniteServiceVersion20100801.GetMetricData";

/// Amazon CloudWatch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    /// The region that is asked, such as `eu-central-1`.
    region: String,
    /// Where it listens, where it is not the region's own address.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// The id of the access key.
    access_key_id: Secret,
    /// The access key.
    secret_access_key: Secret,
    /// The token of a session, for keys that expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_token: Option<Secret>,
    /// How long one request may take: a duration such as `10s`.
    #[serde(default = "crate::access::timeout")]
    timeout: String,
    /// How large an answer may be, after decompression.
    #[serde(default = "crate::access::body_bytes_max")]
    #[schemars(range(min = 1024, max = 67_108_864))]
    max_body_bytes: usize,
    /// The period of a query that names none, and how far apart points are: a duration such as `60s`.
    #[serde(default = "scrape_interval")]
    scrape_interval: String,
    /// After how long a point is surely there: windows end that much earlier.
    #[serde(default = "delay")]
    delay: String,
}

fn scrape_interval() -> String {
    "60s".to_owned()
}

fn delay() -> String {
    "120s".to_owned()
}

fn parts(written: Written) -> (Parts, Common) {
    let own = || format!("https://monitoring.{}.amazonaws.com", written.region);
    let parts = Parts {
        url: written.url.clone().unwrap_or_else(own),
        timeout: written.timeout,
        max_body_bytes: written.max_body_bytes,
        ..Parts::default()
    };
    (parts, Common { scrape_interval: written.scrape_interval, delay: written.delay })
}

fn check(settings: &Value) -> Result<Value, Vec<SettingsError>> {
    let checked = service::check(settings, parts)?;
    let written: Written = settings::read(&checked).map_err(|error| vec![error])?;
    let mut errors = Vec::new();
    let is_plain =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    if written.region.is_empty() || !written.region.chars().all(is_plain) {
        let message = format!("{:?} is no region", written.region);
        errors.push(SettingsError::new("/region", message, "write one such as eu-central-1"));
    }
    let keys = [
        ("/accessKeyId", Some(&written.access_key_id)),
        ("/secretAccessKey", Some(&written.secret_access_key)),
        ("/sessionToken", written.session_token.as_ref()),
    ];
    for (path, key) in keys {
        if let Some(Err(error)) = key.map(Secret::read) {
            let (message, help) = (error.message, error.help.map(str::to_owned));
            errors.push(SettingsError { path: path.to_owned(), message, help });
        }
    }
    if errors.is_empty() { Ok(checked) } else { Err(errors) }
}

fn build(settings: &Value, outside: &Outside) -> Result<Arc<dyn MetricSource>, SettingsError> {
    let written: Written = settings::read(settings)?;
    let (web, pace) = service::open(settings, outside, parts)?;
    Ok(Numbers::source(CloudWatch { web, pace, written: Arc::new(written) }))
}

#[derive(Clone, Debug)]
struct CloudWatch {
    web: Web,
    pace: service::Pace,
    written: Arc<Written>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answered {
    metric_data_results: Vec<Outcome>,
    #[serde(default)]
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Outcome {
    id: String,
    #[serde(default)]
    status_code: Option<String>,
    #[serde(default)]
    timestamps: Vec<f64>,
    #[serde(default)]
    values: Vec<f64>,
}

/// An error of the service: `{"__type": "com.amazonaws.…#Throttling", "message": "Rate exceeded"}`.
#[derive(Deserialize)]
struct Told {
    #[serde(rename = "__type")]
    kind: String,
    #[serde(default, alias = "Message")]
    message: String,
}

// === impl CloudWatch ===

impl CloudWatch {
    /// A list of queries as the API has them, or one expression.
    fn body(&self, query: &str, look: &Look) -> Result<String, Refusal> {
        let queries = if query.trim_start().starts_with('[') {
            serde_json::from_str(query)
                .map_err(|error| refused(format!("the query is no list of queries: {error}")))?
        } else {
            let period = self.pace.resolution.as_secs().max(1);
            json!([{"Id": "number", "Expression": query, "Period": period}])
        };
        Ok(json!({
            "StartTime": look.window.begin.as_second(),
            "EndTime": look.window.end.as_second(),
            "ScanBy": "TimestampDescending",
            "MetricDataQueries": queries,
        })
        .to_string())
    }

    async fn signed(&self, body: String) -> Result<Request, Refusal> {
        let id = self.web.secret(&self.written.access_key_id).await?;
        let key = self.web.secret(&self.written.secret_access_key).await?;
        let token = match &self.written.session_token {
            Some(token) => Some(self.web.secret(token).await?),
            None => None,
        };
        let url = self.web.at("/");
        let host = match (url.host_str().unwrap_or_default(), url.port()) {
            (host, Some(port)) => format!("{host}:{port}"),
            (host, None) => host.to_owned(),
        };
        let at = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let mut headers = vec![("content-type", CONTENT), ("host", &host), ("x-amz-date", &at)];
        headers.extend(token.as_ref().map(|token| ("x-amz-security-token", token.reveal())));
        headers.push(("x-amz-target", TARGET));
        let signed = Signed {
            method: "POST",
            path: url.path(),
            query: "",
            headers: &headers,
            body: body.as_bytes(),
            at: &at,
            region: &self.written.region,
            service: "monitoring",
        };
        let authorization = sign::authorization(&signed, id.reveal(), key.reveal());
        let mut sent = HeaderMap::new();
        let unsendable = |_odd| refused("a key or the token cannot be sent as a header");
        for (name, value) in headers.into_iter().filter(|(name, _)| *name != "host") {
            let mut value = HeaderValue::from_str(value).map_err(unsendable)?;
            value.set_sensitive(name == "x-amz-security-token");
            let name = HeaderName::from_bytes(name.as_bytes()).expect("the names are constant");
            sent.insert(name, value);
        }
        let mut value = HeaderValue::from_str(&authorization).map_err(unsendable)?;
        value.set_sensitive(true);
        sent.insert(AUTHORIZATION, value);
        Ok(Request { headers: sent, ..Request::post(url, CONTENT, body) })
    }
}

impl OwnLanguage for CloudWatch {
    const KIND: &'static str = KIND;

    fn pace(&self) -> service::Pace {
        self.pace
    }

    async fn ask(&self, query: &str, look: &Look, end: Instant) -> Result<Found, Refusal> {
        let body = self.body(query, look)?;
        let (status, body) = self.web.send(self.signed(body).await?, end).await?;
        if status != 200 {
            return Err(refusal(status, &body));
        }
        let Ok(answered) = serde_json::from_slice::<Answered>(&body) else {
            return Err(refused(format!("this is no answer to a query: {}", excerpt(&body))));
        };
        let several = answered.next_token.is_some();
        let Some(outcome) = only(answered.metric_data_results, |outcome| outcome.id.clone())?
        else {
            return Ok(Found::nothing("no such metric"));
        };
        match outcome.status_code.as_deref() {
            Some("Complete") if !several => Ok(newest(outcome.points(), look.window)),
            Some("InternalError") => {
                let message = "cloudwatch: InternalError".to_owned();
                Err(Refusal { message, retryable: true, too_large: false })
            }
            Some("Forbidden") => Err(refused("cloudwatch: Forbidden")),
            other => {
                let code = other.unwrap_or("no status");
                Err(refused(format!("the answer is partial ({code}): ask for fewer points")))
            }
        }
    }
}

fn refusal(status: u16, body: &[u8]) -> Refusal {
    let Ok(told) = serde_json::from_slice::<Told>(body) else { return failed(status, body) };
    let kind = told.kind.rsplit('#').next().unwrap_or_default();
    let passing = ["Throttling", "ThrottlingException", "LimitExceeded", "RequestLimitExceeded"];
    let retryable = failed(status, body).retryable || passing.contains(&kind);
    let message = format!("{kind}: {}", excerpt(told.message.as_bytes()));
    Refusal { message, retryable, too_large: false }
}

// === impl Outcome ===

impl Outcome {
    fn points(&self) -> impl Iterator<Item = Point> {
        let seconds = self.timestamps.iter().map(|at| (at * 1000.0) as i64);
        seconds.zip(self.values.iter().map(|value| Some(*value)))
    }
}
