//! One request over HTTP, and what can go wrong on the way.
//!
//! Every request has a deadline and every answer a cap; secrets are read anew for each. What an answer
//! means is for whoever asked.

use std::{
    error::Error as StdError,
    iter,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use haldane_outside::{BodyError, Outside, Secret, SecretText, body};
use jiff::Timestamp;
use reqwest::{
    Method, Response,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use tokio::time::timeout;
use url::Url;

use crate::{
    access::Access,
    reply::{Refusal, refused},
};

/// The way to one server.
#[derive(Clone, Debug)]
pub(crate) struct Web {
    outside: Outside,
    access: Arc<Access>,
}

/// What is sent, besides the headers that say who we are.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Vec<u8>>,
}

// === impl Request ===

impl Request {
    pub(crate) fn get(url: Url) -> Self {
        Self { method: Method::GET, url, headers: HeaderMap::new(), body: None }
    }

    pub(crate) fn post(url: Url, kind: &'static str, body: impl Into<Vec<u8>>) -> Self {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        Self { method: Method::POST, url, headers, body: Some(body.into()) }
    }

    /// Posts fields as a form.
    pub(crate) fn form<'a>(url: Url, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        let form = form.extend_pairs(fields).finish();
        Self::post(url, "application/x-www-form-urlencoded", form)
    }
}

// === impl Web ===

impl Web {
    pub(crate) fn new(access: Access, outside: Outside) -> Self {
        Self { outside, access: Arc::new(access) }
    }

    /// The server's address with a path below it.
    pub(crate) fn at(&self, path: &str) -> Url {
        let mut url = self.access.url.clone();
        let path = format!("{}{path}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url
    }

    /// Sends a request; returns the status and the body.
    pub(crate) async fn send(
        &self,
        request: Request,
        end: Instant,
    ) -> Result<(u16, Bytes), Refusal> {
        self.read_within(end, self.ask(request)).await
    }

    /// Sends a request whose answer's status decides: of a body that is too long nothing is kept.
    pub(crate) async fn status(
        &self,
        request: Request,
        end: Instant,
    ) -> Result<(u16, Bytes), Refusal> {
        let exchange = async {
            let response = self.ask(request).await?;
            let status = response.status().as_u16();
            match self.read(response).await {
                Err(refusal) if refusal.too_large => Ok((status, Bytes::new())),
                read => read,
            }
        };
        self.within(end, exchange).await
    }

    async fn ask(&self, request: Request) -> Result<Response, Refusal> {
        let mut headers = self.headers().await?;
        for (name, value) in &request.headers {
            headers.entry(name).or_insert_with(|| value.clone());
        }
        let mut asked = self.client()?.request(request.method, request.url).headers(headers);
        if let Some(body) = request.body {
            asked = asked.body(body);
        }
        asked.send().await.map_err(|error| transport(&error))
    }

    /// Reads the answer to what somebody else sends; returns the status and the body.
    pub(crate) async fn read_within(
        &self,
        end: Instant,
        ask: impl Future<Output = Result<Response, Refusal>>,
    ) -> Result<(u16, Bytes), Refusal> {
        self.within(end, async { self.read(ask.await?).await }).await
    }

    async fn within(
        &self,
        end: Instant,
        exchange: impl Future<Output = Result<(u16, Bytes), Refusal>>,
    ) -> Result<(u16, Bytes), Refusal> {
        let patience = self.patience(end);
        timeout(patience, exchange).await.unwrap_or_else(|_elapsed| {
            let message = format!("{} did not answer within {patience:.1?}", self.place());
            Err(Refusal { message, retryable: true, too_large: false })
        })
    }

    /// The HTTP client for this server.
    pub(crate) fn client(&self) -> Result<reqwest::Client, Refusal> {
        let client = self.outside.client(&self.access.url, &self.access.tls);
        client.map_err(|error| refused(error.to_string()))
    }

    /// Who we are, with secrets read now.
    pub(crate) async fn headers(&self) -> Result<HeaderMap, Refusal> {
        let headers = Box::pin(self.access.request_headers(&self.outside)).await;
        headers.map_err(|error| refused(error.to_string()))
    }

    /// Reads a secret now.
    pub(crate) async fn secret(&self, secret: &Secret) -> Result<SecretText, Refusal> {
        self.outside.secret(secret).await.map_err(|error| refused(error.message))
    }

    /// How long one request may take now.
    pub(crate) fn patience(&self, end: Instant) -> Duration {
        end.saturating_duration_since(Instant::now()).min(self.access.timeout)
    }

    async fn read(&self, response: Response) -> Result<(u16, Bytes), Refusal> {
        let status = response.status().as_u16();
        match body(response, self.access.body_bytes_max).await {
            Ok(body) => Ok((status, body)),
            Err(error @ BodyError::TooLarge { .. }) => {
                let message = format!("{error} (maxBodyBytes): ask for less");
                Err(Refusal { message, retryable: false, too_large: true })
            }
            Err(BodyError::Broken(error)) => Err(transport(&error)),
        }
    }

    pub(crate) fn place(&self) -> &str {
        self.access.url.as_str()
    }
}

/// Seconds since the epoch, to the millisecond.
pub(crate) fn seconds(at: Timestamp) -> String {
    let millis = at.as_millisecond();
    format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000))
}

/// What it means that a library could not send a request for us.
pub(crate) fn unsent(error: &(dyn StdError + 'static)) -> Refusal {
    let wrapped = causes(error).find_map(|cause| cause.downcast_ref::<reqwest::Error>());
    wrapped.map_or_else(|| refused(root(error)), transport)
}

/// What a broken exchange means: most of it may pass, a certificate or a redirect does not. The address
/// is not shown: a query may hold a secret.
fn transport(error: &reqwest::Error) -> Refusal {
    let retryable = !(error.is_builder() || error.is_redirect() || is_certificate(error));
    let message = if error.is_timeout() {
        "the source did not answer in time".to_owned()
    } else {
        format!("the source cannot be asked: {}", root(error))
    };
    Refusal { message, retryable, too_large: false }
}

fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    iter::successors(Some(error), |&error| error.source())
}

/// The innermost cause: it says what happened, the outer ones only where.
fn root(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map_or_else(String::new, ToString::to_string)
}

fn is_certificate(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(|cause| cause.to_string().contains("invalid peer certificate"))
}
