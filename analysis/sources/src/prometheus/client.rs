//! The queries that are sent, and what each asks for.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use haldane_outside::Outside;
use jiff::Timestamp;
use prometheus_http_query::Client as Api;

use super::{
    answer::{Series, data, found, ranges, series},
    config::Config,
    targets::{self, Target},
};
use crate::{
    counters, promql,
    reply::{Found, Refusal, refused},
    web::{Request, Web, seconds, unsent},
};

/// How many times more series raw samples may have than an answer of values: every process has its
/// own, and every bucket.
const RANGES_TO_VALUES: usize = 100;

/// A client for one Prometheus; each call reads its secrets anew.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    web: Web,
    pub(crate) config: Arc<Config>,
}

// === impl Client ===

impl Client {
    pub(crate) fn new(config: Config, outside: Outside) -> Self {
        let web = Web::new(config.access.clone(), outside);
        Self { web, config: Arc::new(config) }
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
        let mut url = self.web.at("/api/v1/targets");
        url.set_query(Some("state=active"));
        let (status, body) = self.web.send(Request::get(url), end).await?;
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
            let api = Api::from(self.web.client()?, self.web.place())
                .map_err(|error| refused(error.to_string()))?;
            let patience = self.web.patience(end).as_millis().max(1);
            let patience = i64::try_from(patience).unwrap_or(i64::MAX);
            // Without `nocache` VictoriaMetrics answers about half a minute ago, whatever is asked for.
            let mut request = api.query(query).timeout(patience).query("nocache", "1");
            if let Some(at) = at {
                request = request.query("time", seconds(at));
            }
            for (name, value) in &self.config.parameters {
                request = request.query(lasting(name), value);
            }
            for (name, value) in &self.web.headers().await? {
                request = request.header(name.clone(), value.clone());
            }
            request.post_raw().await.map_err(|error| unsent(&error))
        };
        self.web.read_within(end, Box::pin(ask)).await
    }
}

/// The name of a parameter for as long as the program lives: the library takes no other. Each is kept
/// once, so that they are as many as people write.
fn lasting(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let lasting: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(lasting);
    lasting
}
