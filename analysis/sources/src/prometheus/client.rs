//! Sending queries, and what can go wrong on the way.

use std::{
    error::Error as StdError,
    iter,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use haldane_outside::{BodyError, Outside, body};
use jiff::Timestamp;
use prometheus_http_query::{Client as Api, Error as ApiError};
use reqwest::Response;
use tokio::time::timeout;

use super::{
    answer::{Found, Refusal, Series, data, found, ranges, series},
    config::Config,
    targets::{self, Target},
};
use crate::{counters, promql};

/// How many times more series raw samples may have than an answer of values: every process has its
/// own, and every bucket.
const RANGES_TO_VALUES: usize = 100;

/// A client for one Prometheus; each call reads its secrets anew.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    outside: Outside,
    pub(crate) config: Arc<Config>,
}

// === impl Client ===

impl Client {
    pub(crate) fn new(config: Config, outside: Outside) -> Self {
        Self { outside, config: Arc::new(config) }
    }

    /// Asks for one number; `at` is the moment, else the server's now.
    pub(crate) async fn number(
        &self,
        query: &str,
        at: Option<Timestamp>,
        end: Instant,
    ) -> Result<Found, Refusal> {
        let (status, body) = self.query(query, at, end).await?;
        found(status, &body, self.config.series_max)
    }

    /// Asks for series.
    pub(crate) async fn series(
        &self,
        query: &str,
        at: Option<Timestamp>,
        end: Instant,
    ) -> Result<Vec<Series>, Refusal> {
        let (status, body) = self.query(query, at, end).await?;
        series(status, &body, self.config.series_max)
    }

    /// Asks for the raw samples of a selector, up to and including a moment.
    pub(crate) async fn ranges(
        &self,
        selector: &str,
        reach: Duration,
        at: Timestamp,
        end: Instant,
    ) -> Result<Vec<counters::Series>, Refusal> {
        let query = format!("{selector}[{}]", promql::duration(reach));
        let (status, body) = self.query(&query, Some(at), end).await?;
        ranges(status, &body, self.config.series_max * RANGES_TO_VALUES)
    }

    /// Asks for the active targets; `None` where the source does not show them to us.
    pub(crate) async fn targets(&self, end: Instant) -> Result<Option<Vec<Target>>, Refusal> {
        let mut url = self.config.url.clone();
        let path = format!("{}/api/v1/targets", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url.set_query(Some("state=active"));
        let ask = async {
            let headers = self.headers()?;
            let request = self.http()?.get(url).headers(headers);
            self.read(request.send().await.map_err(|error| transport(&error))).await
        };
        let (status, body) = self.within(end, ask).await?;
        if matches!(status, 401 | 403 | 404 | 405 | 501) {
            return Ok(None);
        }
        Ok(targets::read(data(status, &body)?))
    }

    async fn query(
        &self,
        query: &str,
        at: Option<Timestamp>,
        end: Instant,
    ) -> Result<(u16, Bytes), Refusal> {
        let ask = async {
            let api = Api::from(self.http()?, self.config.url.as_str())
                .map_err(|error| unusable(error.to_string()))?;
            let patience = i64::try_from(self.patience(end).as_millis().max(1)).unwrap_or(i64::MAX);
            let mut request = api.query(query).timeout(patience);
            if let Some(at) = at {
                request = request.query("time", seconds(at));
            }
            for (name, value) in &self.headers()? {
                request = request.header(name.clone(), value.clone());
            }
            self.read(request.post_raw().await.map_err(|error| sending(&error))).await
        };
        self.within(end, ask).await
    }

    async fn read(&self, response: Result<Response, Refusal>) -> Result<(u16, Bytes), Refusal> {
        let response = response?;
        let status = response.status().as_u16();
        match body(response, self.config.body_bytes_max).await {
            Ok(body) => Ok((status, body)),
            Err(error @ BodyError::TooLarge { .. }) => {
                let message = format!("{error} (maxBodyBytes): ask for fewer series");
                Err(Refusal { message, retryable: false, too_large: true })
            }
            Err(BodyError::Broken(error)) => Err(transport(&error)),
        }
    }

    async fn within<T>(
        &self,
        end: Instant,
        ask: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let patience = self.patience(end);
        timeout(patience, ask).await.unwrap_or_else(|_elapsed| {
            let message = format!("{} did not answer within {patience:.1?}", self.place());
            Err(Refusal { message, retryable: true, too_large: false })
        })
    }

    fn patience(&self, end: Instant) -> Duration {
        end.saturating_duration_since(Instant::now()).min(self.config.timeout)
    }

    fn http(&self) -> Result<reqwest::Client, Refusal> {
        self.outside
            .client(&self.config.url, &self.config.tls)
            .map_err(|error| unusable(error.to_string()))
    }

    fn headers(&self) -> Result<reqwest::header::HeaderMap, Refusal> {
        self.config.request_headers().map_err(|error| unusable(error.to_string()))
    }

    fn place(&self) -> &str {
        self.config.url.as_str()
    }
}

/// Seconds since the epoch, to the millisecond.
fn seconds(at: Timestamp) -> String {
    let millis = at.as_millisecond();
    format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000))
}

fn unusable(message: String) -> Refusal {
    Refusal { message, retryable: false, too_large: false }
}

/// The API client wraps what went wrong in sending; everything else is our own mistake.
fn sending(error: &ApiError) -> Refusal {
    let wrapped = causes(error).find_map(|cause| cause.downcast_ref::<reqwest::Error>());
    wrapped.map_or_else(|| unusable(root(error)), transport)
}

/// What a broken exchange means: most of it may pass, a certificate or a redirect does not.
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
