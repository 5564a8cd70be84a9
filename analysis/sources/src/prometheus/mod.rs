//! Prometheus, and whatever answers its query API: instant queries over HTTP.
//!
//! Every query carries the server's `timeout` and has a deadline of our own; answers are read up
//! to `maxBodyBytes`. What an answer means is decided in `answer`, without I/O. Silence of
//! the side on trial is followed by one question about its targets (`up`).

mod answer;
mod client;
mod config;
mod look;
mod targets;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use haldane_model::{Revision, Sample};
use haldane_outside::Outside;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::Mutex;

use self::{
    answer::{Found, Refusal},
    client::Client,
    config::{Config, Written},
    targets::Target,
};
use crate::{
    Look, MetricSource, RevisionQuestion, SettingsError, SourceEntry, SourceFacts, settings,
};

/// The row of the registry.
pub(crate) const ENTRY: SourceEntry = SourceEntry {
    kind: "prometheus",
    schema: || schemars::schema_for!(Written),
    check: config::check,
    build,
};

/// How long the list of targets is believed.
const TARGETS_KEPT: Duration = Duration::from_secs(60);
/// How long an empty list is believed: a source that just started has none yet.
const NO_TARGETS_KEPT: Duration = Duration::from_secs(5);
/// What the list of targets may cost one look.
const TARGETS_PATIENCE: Duration = Duration::from_secs(2);

/// One Prometheus.
#[derive(Clone, Debug)]
struct Prometheus {
    client: Client,
    targets: Arc<Mutex<Option<Known>>>,
}

/// The targets that the source told of, and when.
#[derive(Debug)]
struct Known {
    read: Instant,
    targets: Vec<Target>,
}

fn build(settings: &Value, outside: &Outside) -> Result<Arc<dyn MetricSource>, SettingsError> {
    let written: Written = settings::read(settings)?;
    let first = |mut errors: Vec<SettingsError>| errors.swap_remove(0);
    let config = Config::read(written).map_err(first)?;
    config.check_outside(outside).map_err(first)?;
    Ok(Arc::new(Prometheus {
        client: Client::new(config, outside.clone()),
        targets: Arc::default(),
    }))
}

// === impl Prometheus ===

impl MetricSource for Prometheus {
    fn look(&self, question: Arc<str>, look: Look) -> BoxFuture<'static, Sample> {
        let source = self.clone();
        Box::pin(async move { source.take(&question, &look).await })
    }

    fn revisions(
        &self,
        question: Arc<str>,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Vec<Revision>, String>> {
        let source = self.clone();
        Box::pin(async move { source.ask_revisions(&question, Instant::now() + deadline).await })
    }

    fn facts(&self, deadline: Duration) -> BoxFuture<'static, Result<SourceFacts, String>> {
        let source = self.clone();
        Box::pin(async move { source.ask_facts(Instant::now() + deadline).await })
    }
}

impl Prometheus {
    async fn ask_revisions(&self, question: &str, end: Instant) -> Result<Vec<Revision>, String> {
        let question: RevisionQuestion = serde_json::from_str(question)
            .map_err(|error| format!("the pinned revision query cannot be read: {error}"))?;
        let series =
            self.client.series(&question.promql, None, end).await.map_err(|error| error.message)?;
        let mut revisions = BTreeSet::new();
        for mut one in series {
            let Some(value) = one.metric.remove(&question.label) else {
                let labels = crate::promql::matchers(&one.metric);
                let label = &question.label;
                return Err(format!("a series has no label {label}, only {{{labels}}}"));
            };
            revisions.insert(Revision::from(value));
        }
        Ok(revisions.into_iter().collect())
    }

    async fn ask_facts(&self, end: Instant) -> Result<SourceFacts, String> {
        let any = BTreeMap::new();
        let (clock, scrape) = tokio::join!(self.clock_ahead(end), self.scrape(&any, end));
        Ok(SourceFacts { clock_ahead: clock.map_err(|error| error.message)?, scrape })
    }

    /// Compares the server's `time()` with the middle of the round trip.
    async fn clock_ahead(&self, end: Instant) -> Result<SignedDuration, Refusal> {
        let (wall, begin) = (Timestamp::now(), Instant::now());
        let found = self.client.number("time()", None, end).await?;
        let half = begin.elapsed() / 2;
        let Found::Number(theirs) = found else {
            let message = "the source does not tell its time".to_owned();
            return Err(Refusal { message, retryable: false });
        };
        let half = SignedDuration::try_from(half).unwrap_or(SignedDuration::ZERO);
        let ours = wall.duration_since(Timestamp::UNIX_EPOCH) + half;
        let theirs = SignedDuration::try_from_secs_f64(theirs)
            .map_err(|error| Refusal { message: error.to_string(), retryable: false })?;
        Ok(theirs - ours)
    }

    /// The scrape interval of the targets with these labels, as set, or as the source tells.
    async fn scrape(&self, labels: &BTreeMap<String, String>, end: Instant) -> Option<Duration> {
        if let Some(set) = self.client.config.scrape_interval {
            return Some(set);
        }
        let mut kept = self.targets.lock().await;
        if let Some(Known { read, targets }) = &*kept {
            let believed = if targets.is_empty() { NO_TARGETS_KEPT } else { TARGETS_KEPT };
            if read.elapsed() < believed {
                return targets::interval(targets, labels);
            }
        }
        let end = end.min(Instant::now() + TARGETS_PATIENCE);
        let targets = match self.client.targets(end).await {
            Ok(targets) => targets.unwrap_or_default(),
            // What the source told before stays true while it is too busy to tell it again.
            Err(_) => kept.take().map(|known| known.targets).unwrap_or_default(),
        };
        let interval = targets::interval(&targets, labels);
        *kept = Some(Known { read: Instant::now(), targets });
        interval
    }
}
