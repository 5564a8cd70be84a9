//! A question to somebody outside: a test, a job, a person's tool. 2xx is yes, every other answer no.
//!
//! It is asked with everything that tells which look it is about: rollout, side, revision, attempt, step,
//! share and window. What does not answer is asked again within the look's deadline, each time after a
//! longer pause, and is a broken source then: no answer is no consent. It is never asked about the past.
//! Its settings are those of its check; nobody writes it as a source.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use haldane_outside::{Outside, Secret, Tls};
use reqwest::{
    Method as HttpMethod,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::sleep;
use url::Url;

use crate::{
    About, Look, MetricSource, SettingsError, SourceEntry,
    access::{Access, Basic, Header, Parts},
    numbers::{self, Numbers, Service, unanswerable},
    question::{Ask, HttpRequest, Text},
    reply::{Found, Refusal, excerpt, refused},
    settings,
    templates::Language,
    web::{Request, Web},
};

/// The row of the checks that bring their source along.
pub(crate) const ENTRY: SourceEntry = SourceEntry {
    kind: KIND,
    schema: || schemars::schema_for!(Written),
    check,
    join: |settings, _scope| Ok(settings.clone()),
    answers,
    remembers: false,
    build,
};

pub(crate) const KIND: &str = "webhook";
/// The longest pause between two tries, and the first.
const PAUSE_MOST: Duration = Duration::from_secs(5);
const PAUSE_FIRST: Duration = Duration::from_millis(200);
/// How much of an answer is read: it decides nothing.
const BODY_BYTES_MAX: usize = 64 << 10;
/// What a try needs at least.
const TRY_LEAST: Duration = Duration::from_millis(100);

/// Somebody outside must say yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Written {
    /// Who is asked: `https://ci.example.com/smoke?side={{ canary }}`.
    pub(crate) url: String,
    /// How.
    #[serde(default)]
    pub(crate) method: Method,
    /// What is sent instead of the usual document; JSON, as a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<String>,
    /// A bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bearer: Option<Secret>,
    /// A user's name and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    basic: Option<Basic>,
    /// More headers; a value is text or a secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    headers: BTreeMap<String, Header>,
    /// How the server is trusted, and our own certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls: Option<Tls>,
    /// How long one try may take: a duration such as `5s`.
    #[serde(default = "timeout")]
    timeout: String,
    /// How often one look tries, where there is no answer.
    #[serde(default = "attempts")]
    #[schemars(range(min = 1, max = 10))]
    attempts: u32,
}

/// How a webhook is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Method {
    /// Without a body.
    Get,
    /// With one.
    #[default]
    Post,
    /// With one.
    Put,
}

fn timeout() -> String {
    "5s".to_owned()
}

fn attempts() -> u32 {
    3
}

#[derive(Clone, Debug)]
struct Webhook {
    web: Web,
    attempts: u32,
}

/// What one try came to.
enum Tried {
    Yes,
    No(String),
    Nobody(Refusal),
}

/// What is wrong with settings, as far as that is known without a look outside.
pub(crate) fn check_written(written: &Written) -> Vec<SettingsError> {
    let mut errors = read(written).err().unwrap_or_default();
    if written.body.is_some() && written.method == Method::Get {
        errors.push(SettingsError::new("/body", "GET sends no body", "write method: POST"));
    }
    errors
}

fn check(settings: &Value) -> Result<Value, Vec<SettingsError>> {
    let written: Written = settings::read(settings).map_err(|error| vec![error])?;
    read(&written)?.check_outside(&Outside::default())?;
    Ok(serde_json::to_value(written).expect("settings can be written as JSON"))
}

fn read(written: &Written) -> Result<Access, Vec<SettingsError>> {
    let mut errors = Vec::new();
    if !(1..=10).contains(&written.attempts) {
        let message = format!("{} is not between 1 and 10", written.attempts);
        errors.push(SettingsError::new("/attempts", message, "3 is the default"));
    }
    // What a template prints stands below this; it can name no other server.
    let address = origin(&written.url);
    let parts = Parts {
        url: address.to_owned(),
        bearer: written.bearer.clone(),
        basic: written.basic.clone(),
        headers: written.headers.clone(),
        tls: written.tls.clone(),
        timeout: written.timeout.clone(),
        max_body_bytes: BODY_BYTES_MAX,
    };
    if address.contains("{{") {
        let help = "write the host as it is, and templates after it";
        errors.push(SettingsError::new("/url", "a template stands in the name of the host", help));
        return Err(errors);
    }
    let access = Access::read(parts, &mut errors);
    access.filter(|_| errors.is_empty()).ok_or(errors)
}

/// The part of an address that names the server.
fn origin(url: &str) -> &str {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let end = url[begin..].find(['/', '?', '#']).map_or(url.len(), |at| begin + at);
    &url[..end]
}

fn build(settings: &Value, outside: &Outside) -> Result<Arc<dyn MetricSource>, SettingsError> {
    let first = |mut errors: Vec<SettingsError>| errors.swap_remove(0);
    let written: Written = settings::read(settings)?;
    let access = read(&written).map_err(first)?;
    access.check_outside(outside).map_err(first)?;
    let web = Web::new(access, outside.clone());
    Ok(Numbers::source(Webhook { web, attempts: written.attempts }))
}

fn answers(_settings: &Value, question: &str) -> Result<(), SettingsError> {
    let can = |ask: &Ask| matches!(ask, Ask::Consent { .. });
    numbers::answers(question, KIND, "name another source", can)
}

// === impl Method ===

impl Method {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }
}

// === impl Webhook ===

impl Webhook {
    async fn ask(
        &self,
        (request, rollout): (&HttpRequest, &str),
        look: &Look,
        end: Instant,
    ) -> Result<Found, Refusal> {
        let Some(about) = &look.about else {
            return Err(refused(
                "a webhook is asked about what is under way, and not about the past",
            ));
        };
        let mut pause = PAUSE_FIRST;
        for tried in 1.. {
            let refusal = match self.once(written(request, rollout, look, about)?, end).await {
                Tried::Yes => return Ok(Found::Number(1.0)),
                Tried::No(said) => {
                    tracing::info!(said, side = %look.sides.test, "a webhook said no");
                    return Ok(Found::Number(0.0));
                }
                Tried::Nobody(refusal) => refusal,
            };
            let left = end.saturating_duration_since(Instant::now());
            if !refusal.retryable || tried >= self.attempts || left < pause + TRY_LEAST {
                let message =
                    format!("the webhook did not answer, asked {tried} times: {}", refusal.message);
                return Err(Refusal { message, ..refusal });
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MOST);
        }
        Err(refused("the webhook was not asked"))
    }

    async fn once(&self, request: Request, end: Instant) -> Tried {
        // The status decides, however long the words are that come with it.
        match self.web.status(request, end).await {
            Ok((200..=299, _)) => Tried::Yes,
            Ok((status, body)) => Tried::No(format!("HTTP {status}: {}", excerpt(&body))),
            Err(refusal) => Tried::Nobody(refusal),
        }
    }
}

/// Writes a request: what was written, or the usual document.
fn written(
    request: &HttpRequest,
    rollout: &str,
    look: &Look,
    about: &About,
) -> Result<Request, Refusal> {
    let fill = |text: &Text, language: Language| {
        let placed = |told: String| language.place(&told).ok();
        let known = text.filled(|name| match about.told(name) {
            // A revision is the word of others: it must not become another parameter or field.
            Some(told) => placed(told).or_else(|| Some("\u{1}".to_owned())),
            None => Some(format!("\u{1}{name}\u{1}")),
        });
        Text::new(known).map(|text| numbers::filled(&text, look))
    };
    let url = fill(&request.url, Language::Url).and_then(|url| Url::parse(&url).ok());
    let url = url.ok_or_else(|| refused("the webhook's url makes no address"))?;
    let method = HttpMethod::from_bytes(request.method.as_bytes())
        .map_err(|_odd| refused(format!("{:?} is no method", request.method)))?;
    let body = match &request.body {
        Some(body) => Some(
            fill(body, Language::Json)
                .ok_or_else(|| refused("the webhook's body cannot be filled in"))?,
        ),
        None if method == HttpMethod::GET => None,
        None => Some(usual(rollout, look, about).to_string()),
    };
    let mut headers = HeaderMap::new();
    if body.is_some() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Ok(Request { method, url, headers, body: body.map(String::into_bytes) })
}

/// The document that a webhook gets.
fn usual(rollout: &str, look: &Look, about: &About) -> Value {
    json!({
        "rollout": rollout,
        "check": about.check.as_str(),
        "side": look.sides.test.as_str(),
        "serving": look.sides.serving.as_str(),
        "revision": about.revision.as_ref().map(ToString::to_string),
        "attempt": about.attempt,
        "step": about.step,
        "weight": about.percent(),
        "window": {"begin": look.window.begin.to_string(), "end": look.window.end.to_string()},
    })
}

impl Service for Webhook {
    fn number(
        self: Arc<Self>,
        ask: Ask,
        look: Look,
        end: Instant,
    ) -> BoxFuture<'static, Result<Found, Refusal>> {
        Box::pin(async move {
            let Ask::Consent { request, rollout } = &ask else {
                return Err(refused(unanswerable(KIND, &ask)));
            };
            self.ask((request, rollout), &look, end).await
        })
    }

    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }
}
