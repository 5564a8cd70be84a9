//! Prometheus, and whatever answers its query API: instant queries over HTTP.
//!
//! Every query carries the server's `timeout` and has a deadline of our own; answers are read up
//! to `maxBodyBytes`. What an answer means is decided in `answer`, without I/O. Silence of
//! the side on trial is followed by one question about its targets (`up`).

mod answer;
mod client;
pub(crate) mod config;
mod counted;
mod late;
mod look;
mod shared;
mod targets;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex as DataMutex, PoisonError},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use haldane_model::{Revision, Sample};
use haldane_outside::Outside;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::Mutex;

use self::{
    client::Client,
    config::{Config, Written},
    late::Late,
    shared::Shared,
    targets::Target,
};
use crate::{
    Ask, Look, MetricSource, Question, RevisionQuestion, SettingsError, SourceEntry, SourceFacts,
    numbers::unanswerable,
    reply::{Found, Refusal},
    settings,
};

/// The row of the registry.
pub(crate) const ENTRY: SourceEntry = SourceEntry {
    kind: "prometheus",
    schema: || schemars::schema_for!(Written),
    check: config::check,
    join: |settings, _scope| Ok(settings.clone()),
    answers,
    remembers: true,
    build,
};

/// How long the list of targets is believed by whoever may wait for another one.
const TARGETS_KEPT: Duration = Duration::from_secs(30);
/// How long after one that failed, or that was empty, the list is asked for again: a source that just
/// started has no targets yet.
const NO_TARGETS_KEPT: Duration = Duration::from_millis(1_500);
/// What the list of targets may cost at most.
const TARGETS_PATIENCE: Duration = Duration::from_secs(2);

/// One Prometheus.
#[derive(Clone, Debug)]
struct Prometheus {
    client: Client,
    targets: Arc<DataMutex<Option<Known>>>,
    /// Held by the one who asks for the list; the others wait for the same answer.
    asking: Arc<Mutex<()>>,
    shared: Shared,
    late: Late,
}

/// The targets that the source last told of, and until when it need not be asked again.
#[derive(Debug)]
struct Known {
    until: Instant,
    targets: Vec<Target>,
}

/// Who wants to know the scrape interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    /// A look: it takes what is known, however old, and waits only where nothing is.
    Look,
    /// Whoever asks the source about itself: it keeps the list fresh for the looks.
    Facts,
}

fn answers(_settings: &Value, question: &str) -> Result<(), SettingsError> {
    // A revision is asked for by PromQL.
    let Ok(question) = serde_json::from_str::<Question>(question) else { return Ok(()) };
    question.sides.values().try_for_each(|side| match &side.ask {
        Ask::Ratio { .. } | Ask::Value { .. } | Ask::Counted(_) => Ok(()),
        other @ (Ask::Own { .. } | Ask::Document(_) | Ask::Consent { .. }) => {
            let help = "write `query: {promql: …}`, or name another source by `source:`";
            Err(SettingsError::new("", unanswerable("prometheus", other), help))
        }
    })
}

fn build(settings: &Value, outside: &Outside) -> Result<Arc<dyn MetricSource>, SettingsError> {
    let written: Written = settings::read(settings)?;
    let first = |mut errors: Vec<SettingsError>| errors.swap_remove(0);
    let config = Config::read(written).map_err(first)?;
    config.access.check_outside(outside).map_err(first)?;
    Ok(Arc::new(Prometheus {
        client: Client::new(config, outside.clone()),
        targets: Arc::default(),
        asking: Arc::default(),
        shared: Shared::default(),
        late: Late::default(),
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
        let question = RevisionQuestion::pinned(question)?;
        let series =
            self.client.series(&question.promql, None, end).await.map_err(|error| error.message)?;
        question.shown(series.iter().map(|one| &one.metric))
    }

    async fn ask_facts(&self, end: Instant) -> Result<SourceFacts, String> {
        let any = BTreeMap::new();
        let (clock, scrape) =
            tokio::join!(self.clock_ahead(end), self.scrape(&any, Asker::Facts, end));
        let clock_ahead = clock.map_err(|error| error.message)?;
        Ok(SourceFacts { clock_ahead, scrape, delay: Duration::ZERO })
    }

    /// Compares the server's `time()` with the middle of the round trip.
    async fn clock_ahead(&self, end: Instant) -> Result<SignedDuration, Refusal> {
        let (wall, begin) = (Timestamp::now(), Instant::now());
        let found = self.client.number("time()", None, end).await?;
        let half = begin.elapsed() / 2;
        let Found::Number(theirs) = found else {
            let message = "the source does not tell its time".to_owned();
            return Err(Refusal { message, retryable: false, too_large: false });
        };
        let half = SignedDuration::try_from(half).unwrap_or(SignedDuration::ZERO);
        let ours = wall.duration_since(Timestamp::UNIX_EPOCH) + half;
        let theirs = SignedDuration::try_from_secs_f64(theirs).map_err(|error| Refusal {
            message: error.to_string(),
            retryable: false,
            too_large: false,
        })?;
        Ok(theirs - ours)
    }

    /// The scrape interval of the targets with these labels, as set, or as the source tells.
    ///
    /// What the source told once stays true while it is too busy to tell it again, and while it has
    /// no targets because it just started: the pace of the guards hangs on it.
    async fn scrape(
        &self,
        labels: &BTreeMap<String, String>,
        asker: Asker,
        end: Instant,
    ) -> Option<Duration> {
        if let Some(set) = self.client.config.scrape_interval {
            return Some(set);
        }
        if self.must_ask(asker) {
            let _asking = self.asking.lock().await;
            // Somebody else may have asked meanwhile.
            if self.must_ask(asker) {
                let end = end.min(Instant::now() + TARGETS_PATIENCE);
                match self.client.targets(end).await {
                    Ok(told) => self.learn(told),
                    Err(_) => self.learn(Some(Vec::new())),
                }
            }
        }
        let known = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        targets::interval(&known.as_ref()?.targets, labels)
    }

    fn must_ask(&self, asker: Asker) -> bool {
        let known = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().is_none_or(|known| {
            let waits = asker == Asker::Facts || known.targets.is_empty();
            waits && Instant::now() >= known.until
        })
    }

    /// `None`: the source does not show its targets, and need not be asked so soon again.
    fn learn(&self, told: Option<Vec<Target>>) {
        let mut known = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let none_yet = told.as_ref().is_some_and(Vec::is_empty);
        let kept = if none_yet { NO_TARGETS_KEPT } else { TARGETS_KEPT };
        let told = told.unwrap_or_default();
        let targets = match known.take() {
            Some(before) if told.is_empty() => before.targets,
            Some(_) | None => told,
        };
        *known = Some(Known { until: Instant::now() + kept, targets });
    }
}

#[cfg(test)]
mod tests {
    use haldane_outside::Outside;
    use serde_json::json;
    use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

    use super::*;

    fn asking(server: &MockServer) -> Prometheus {
        let written: Written = settings::read(&json!({"url": server.uri()})).unwrap();
        let client = Client::new(Config::read(written).unwrap(), Outside::default());
        Prometheus {
            client,
            targets: Arc::default(),
            asking: Arc::default(),
            shared: Shared::default(),
            late: Late::default(),
        }
    }

    /// A source that told of one second once, and must be asked again.
    async fn knowing(answer: ResponseTemplate) -> (MockServer, Prometheus) {
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(answer).mount(&server).await;
        let source = asking(&server);
        let told = r#"{"activeTargets": [{"labels": {}, "scrapeInterval": "1s"}]}"#;
        let told: Box<serde_json::value::RawValue> = serde_json::from_str(told).unwrap();
        source.learn(targets::read(&told));
        if let Some(known) = &mut *source.targets.lock().unwrap() {
            known.until = Instant::now();
        }
        (server, source)
    }

    async fn scrape(source: &Prometheus, asker: Asker) -> Option<Duration> {
        source.scrape(&BTreeMap::new(), asker, Instant::now() + Duration::from_secs(1)).await
    }

    #[tokio::test]
    async fn a_list_of_targets_that_fails_or_is_empty_slows_no_guard_down() {
        let none = json!({"status": "success", "data": {"activeTargets": []}});
        for answer in [
            ResponseTemplate::new(503),
            ResponseTemplate::new(403),
            ResponseTemplate::new(200).set_body_string("<html>"),
            ResponseTemplate::new(200).set_body_json(none),
            ResponseTemplate::new(200).set_delay(Duration::from_secs(10)),
        ] {
            let (server, source) = knowing(answer).await;
            for asker in [Asker::Facts, Asker::Look] {
                assert_eq!(scrape(&source, asker).await, Some(Duration::from_secs(1)));
            }
            assert_eq!(server.received_requests().await.unwrap().len(), 1, "it was asked");
        }
    }

    #[tokio::test]
    async fn a_look_waits_for_no_list_once_one_is_known() {
        let (server, source) = knowing(ResponseTemplate::new(503)).await;
        let _asking = source.asking.lock().await;
        assert_eq!(scrape(&source, Asker::Look).await, Some(Duration::from_secs(1)));
        assert!(server.received_requests().await.unwrap().is_empty());
    }
}
