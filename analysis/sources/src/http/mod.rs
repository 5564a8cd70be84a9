//! Any service that answers JSON over HTTP: a path picks a value, or an expression makes one.
//!
//! What is asked stands in the check `json`; here is whom, and as whom. An answer is read up to
//! `maxBodyBytes`; what may be picked and computed of it is bounded before it is (`pick`,
//! `expression`), so that neither a text nor a document can keep the engine busy.

mod bounds;
mod document;
mod expression;
mod pick;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use haldane_outside::{Outside, Secret, Tls};
use jiff::{SignedDuration, Timestamp};
use reqwest::{
    Method,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{
    sync::Semaphore,
    task::{JoinError, spawn_blocking},
    time::{error::Elapsed, timeout},
};
use url::Url;

pub(crate) use self::document::check as check_document;
use crate::{
    MetricSource, SettingsError, SourceEntry,
    access::{self, Access, Basic, Header, Parts},
    numbers::{self, Numbers, Service, filled, unanswerable},
    question::{Ask, Document},
    reply::{Found, Refusal, refused},
    settings,
    web::{Request, Web},
};

/// The row of the registry.
pub(crate) const ENTRY: SourceEntry = SourceEntry {
    kind: KIND,
    schema: || schemars::schema_for!(Written),
    check,
    join: |settings, _scope| Ok(settings.clone()),
    answers,
    remembers: false,
    build,
};

const KIND: &str = "http";
/// How old the end of a window may be for a document that names no time.
const NOW: SignedDuration = SignedDuration::from_mins(1);

/// A service that answers JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    /// Where it listens, with a path prefix where it has one: `https://slo.example.com/api`.
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
    #[serde(default = "access::timeout")]
    timeout: String,
    /// How large an answer may be, after decompression.
    #[serde(default = "access::body_bytes_max")]
    #[schemars(range(min = 1024, max = 67_108_864))]
    max_body_bytes: usize,
    /// How often its numbers change: a duration such as `1s`.
    #[serde(default = "scrape_interval")]
    scrape_interval: String,
}

fn scrape_interval() -> String {
    "1s".to_owned()
}

/// A service that can be asked.
#[derive(Clone, Debug)]
struct Http {
    web: Web,
    interval: Duration,
}

fn check(settings: &Value) -> Result<Value, Vec<SettingsError>> {
    let written: Written = settings::read(settings).map_err(|error| vec![error])?;
    read(written.clone())?.0.check_outside(&Outside::default())?;
    Ok(serde_json::to_value(written).expect("settings can be written as JSON"))
}

fn read(written: Written) -> Result<(Access, Duration), Vec<SettingsError>> {
    let mut errors = Vec::new();
    let interval = access::duration("/scrapeInterval", &written.scrape_interval, &mut errors);
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
    access.filter(|_| errors.is_empty()).map(|access| (access, interval)).ok_or(errors)
}

fn build(settings: &Value, outside: &Outside) -> Result<Arc<dyn MetricSource>, SettingsError> {
    let first = |mut errors: Vec<SettingsError>| errors.swap_remove(0);
    let (access, interval) = read(settings::read(settings)?).map_err(first)?;
    access.check_outside(outside).map_err(first)?;
    Ok(Numbers::source(Http { web: Web::new(access, outside.clone()), interval }))
}

fn answers(_settings: &Value, question: &str) -> Result<(), SettingsError> {
    let help = "write `json: {path: /…, jsonPath: $.…, max: …}`";
    numbers::answers(question, KIND, help, |ask| matches!(ask, Ask::Document(_)))
}

/// Does work that keeps a core busy beside the tasks of others, so many at once, and waits no longer than
/// this for it.
async fn beside_others<T: Send + 'static>(
    places: &'static Semaphore,
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Result<T, JoinError>, Elapsed> {
    let done = async {
        let place = places.acquire().await;
        spawn_blocking(move || {
            // Held until it has ended, though nobody may wait for it any more.
            let _place = place;
            work()
        })
        .await
    };
    timeout(patience, done).await
}

// === impl Http ===

impl Http {
    async fn ask(
        &self,
        document: &Document,
        look: &crate::Look,
        end: Instant,
    ) -> Result<Found, Refusal> {
        let request = self.request(document, look)?;
        let (status, body) = self.web.send(request, end).await?;
        document::found(document, status, body).await
    }

    fn request(&self, document: &Document, look: &crate::Look) -> Result<Request, Refusal> {
        let asked = &document.request;
        let names_time = asked.url.is_open() || asked.body.as_ref().is_some_and(|b| b.is_open());
        if !names_time && Timestamp::now().duration_since(look.window.end) > NOW {
            return Err(refused(
                "the request names no time, so that it cannot be asked about the past: put \
                 {{ begin }} or {{ window }} into its path",
            ));
        }
        let path = filled(&asked.url, look);
        // Joined as text: whatever the path holds, it stays on this server.
        let url = format!(
            "{}/{}",
            self.web.at("").as_str().trim_end_matches('/'),
            path.trim_start_matches('/')
        );
        let url = Url::parse(&url).map_err(|_odd| refused("the path makes no address"))?;
        let method = Method::from_bytes(asked.method.as_bytes())
            .map_err(|_odd| refused(format!("{:?} is no method", asked.method)))?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let body = asked.body.as_ref().map(|body| filled(body, look).into_bytes());
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok(Request { method, url, headers, body })
    }
}

impl Service for Http {
    fn number(
        self: Arc<Self>,
        ask: Ask,
        look: crate::Look,
        end: Instant,
    ) -> BoxFuture<'static, Result<Found, Refusal>> {
        Box::pin(async move {
            let Ask::Document(document) = &ask else {
                return Err(refused(unanswerable(KIND, &ask)));
            };
            self.ask(document, &look, end).await
        })
    }

    fn resolution(&self) -> Duration {
        self.interval
    }
}
