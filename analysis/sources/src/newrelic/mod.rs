//! New Relic by NRQL: `POST /graphql` (NerdGraph), the one number of the one row that is found.
//!
//! Contract-tested: against the documented exchange, never against the service.

use std::{sync::Arc, time::Instant};

use haldane_outside::{Outside, Secret};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Look, MetricSource, SettingsError, SourceEntry,
    access::{Header, Parts},
    numbers::{self, Numbers, only},
    question::{Ask, Question},
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
    answers,
    remembers: false,
    build,
};

const KIND: &str = "newRelic";

/// New Relic, by NRQL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    /// The address of the API: `https://api.eu.newrelic.com` for accounts in Europe.
    #[serde(default = "url")]
    url: String,
    /// The account that is asked.
    account: u64,
    /// A user's API key.
    api_key: Secret,
    /// How long one request may take: a duration such as `10s`.
    #[serde(default = "crate::access::timeout")]
    timeout: String,
    /// How large an answer may be, after decompression.
    #[serde(default = "crate::access::body_bytes_max")]
    #[schemars(range(min = 1024, max = 67_108_864))]
    max_body_bytes: usize,
    /// How far apart points are: a duration such as `60s`.
    #[serde(default = "scrape_interval")]
    scrape_interval: String,
    /// After how long a point is surely there: windows end that much earlier.
    #[serde(default = "delay")]
    delay: String,
}

fn url() -> String {
    "https://api.newrelic.com".to_owned()
}

fn scrape_interval() -> String {
    "60s".to_owned()
}

fn delay() -> String {
    "60s".to_owned()
}

fn parts(written: Written) -> (Parts, Common) {
    let header = ("API-Key".to_owned(), Header::Secret(written.api_key));
    let parts = Parts {
        url: written.url,
        headers: [header].into(),
        timeout: written.timeout,
        max_body_bytes: written.max_body_bytes,
        ..Parts::default()
    };
    (parts, Common { scrape_interval: written.scrape_interval, delay: written.delay })
}

/// What is asked; the account and the query are variables, so that no text can leave its place.
const GRAPHQL: &str = "query($account: Int!, $nrql: Nrql!) { actor { account(id: $account) { \
                       nrql(query: $nrql) { results } } } }";

fn build(settings: &Value, outside: &Outside) -> Result<Arc<dyn MetricSource>, SettingsError> {
    let Written { account, .. } = settings::read(settings)?;
    let (web, pace) = service::open(settings, outside, parts)?;
    Ok(Numbers::source(NewRelic { web, pace, account }))
}

/// What asks for other times, or for more than one number.
const FOREIGN: [&str; 5] = ["SINCE", "UNTIL", "COMPARE", "FACET", "TIMESERIES"];

fn answers(_settings: &Value, question: &str) -> Result<(), SettingsError> {
    numbers::answers_own(question, KIND)?;
    let Ok(question) = serde_json::from_str::<Question>(question) else { return Ok(()) };
    let texts = question.sides.values().flat_map(|side| match &side.ask {
        Ask::Own { value, count } => [Some(value), count.as_ref()],
        Ask::Ratio { .. }
        | Ask::Value { .. }
        | Ask::Counted(_)
        | Ask::Document(_)
        | Ask::Consent { .. } => [None, None],
    });
    for text in texts.flatten() {
        let bare = service::without_quoted(&text.filled(|_| None), "'\"`");
        let words = || bare.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        let is = |foreign: &str| words().any(|word| word.eq_ignore_ascii_case(foreign));
        if let Some(foreign) = FOREIGN.into_iter().find(|foreign| is(foreign)) {
            let message =
                format!("the query says {foreign}, and a check asks for one number of a window");
            let help = format!("remove {foreign}: SINCE and UNTIL are added with the window");
            return Err(SettingsError::new("", message, &help));
        }
    }
    Ok(())
}

#[derive(Clone, Debug)]
struct NewRelic {
    web: Web,
    pace: service::Pace,
    account: u64,
}

// === impl NewRelic ===

impl OwnLanguage for NewRelic {
    const KIND: &'static str = KIND;

    fn pace(&self) -> service::Pace {
        self.pace
    }

    async fn ask(&self, query: &str, look: &Look, end: Instant) -> Result<Found, Refusal> {
        let (begin, until) = (look.window.begin, look.window.end);
        let (begin, until) = (begin.as_millisecond(), until.as_millisecond());
        let nrql = format!("{} SINCE {begin} UNTIL {until}", query.trim());
        let variables = json!({"account": self.account, "nrql": nrql});
        let body = json!({"query": GRAPHQL, "variables": variables}).to_string();
        let request = Request::post(self.web.at("/graphql"), "application/json", body);
        let (status, body) = self.web.send(request, end).await?;
        if status != 200 {
            return Err(failed(status, &body));
        }
        let Ok(answered) = serde_json::from_slice::<Value>(&body) else {
            return Err(refused(format!("this is no answer to a query: {}", excerpt(&body))));
        };
        if let Some(error) = answered.pointer("/errors/0") {
            return Err(told(error));
        }
        let results = answered.pointer("/data/actor/account/nrql/results");
        let Some(rows) = results.and_then(Value::as_array) else {
            return Err(refused(format!("this is no answer to a query: {}", excerpt(&body))));
        };
        match only(rows.iter().collect(), |row| row.to_string())? {
            None => Ok(Found::nothing("no such row")),
            Some(row) => number(row),
        }
    }
}

/// An error of the API, in its own words.
fn told(error: &Value) -> Refusal {
    let message = error["message"].as_str().unwrap_or("no reason given");
    let class = error.pointer("/extensions/errorClass").and_then(Value::as_str).unwrap_or("error");
    let passing = ["TIMEOUT", "SERVER_ERROR", "TOO_MANY_REQUESTS", "SERVICE_UNAVAILABLE"];
    let message = format!("{class}: {}", excerpt(message.as_bytes()));
    Refusal { message, retryable: passing.contains(&class), too_large: false }
}

/// The one number of a row, at whatever name it stands: `{"count": 3}`, `{"percentile.x": {"99": 1.5}}`.
fn number(row: &Value) -> Result<Found, Refusal> {
    match row {
        Value::Number(number) => {
            Ok(number.as_f64().map_or_else(|| Found::nothing("no number"), Found::number))
        }
        Value::Null => Ok(Found::nothing("the value is null")),
        Value::String(_) => Ok(Found::nothing("the value is a text")),
        Value::Object(fields) if fields.len() == 1 => {
            fields.values().next().map_or_else(|| Ok(Found::nothing("the row is empty")), number)
        }
        Value::Object(fields) if fields.is_empty() => Ok(Found::nothing("the row is empty")),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(refused(format!(
            "the query returns more than one number: {}: select one",
            excerpt(row.to_string().as_bytes())
        ))),
    }
}
