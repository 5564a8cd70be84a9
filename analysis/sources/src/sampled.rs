//! Sources that take samples themselves, because there is no Prometheus: a little history, in memory.
//!
//! Targets are read while somebody looks: from the first question on until a few minutes after the
//! last. Each is read at its own pace with its own deadline, so that one that hangs delays no other.
//! Samples bear our own time, taken when the answer was there, so that none is ever late; nothing
//! outlives the process, and nothing is read of the time before the first question.

mod ask;
mod counted;
mod look;
mod ring;
mod run;
mod selector;

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use haldane_model::{Answer, Revision, Sample};
use jiff::SignedDuration;
use tokio::sync::Notify;

pub(crate) use self::selector::{Selector, Wanted};
use self::{ask::Asked, ring::Ring, run::Why};
use crate::{Look, MetricSource, RevisionQuestion, SettingsError, SourceFacts, counters::Labels};

/// How many questions are kept read.
const QUESTIONS_MAX: usize = 128;

/// Something that samples are read of.
pub(crate) trait Target: fmt::Debug + Send + Sync + 'static {
    /// What people call it.
    fn name(&self) -> String;
    /// The labels under which it is up or not: one set for each side that it speaks of.
    fn ups(&self) -> Vec<Labels>;
    /// Reads what is wanted. Ends by itself.
    fn take(&self, wanted: Wanted) -> BoxFuture<'static, Taken>;
}

/// What one try told.
#[derive(Debug)]
pub(crate) enum Taken {
    /// Its samples, `up` among them.
    Samples {
        /// The series with their names and the labels of their side.
        series: Vec<(Labels, f64)>,
        /// Which process told it; another one began to count anew.
        process: Option<String>,
    },
    /// It did not answer: it is down, for all that can be seen.
    Silent(String),
    /// It answered what cannot be used.
    Refused(Fault),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    /// Whether asking again may help.
    pub(crate) retryable: bool,
}

/// Which selectors a kind of source can ever answer; says why not.
pub(crate) type Knows = fn(&Selector) -> Result<(), String>;

/// A source of targets that are read by ourselves.
#[derive(Clone, Debug)]
pub(crate) struct Sampled(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    targets: Vec<Arc<dyn Target>>,
    interval: Duration,
    knows: Knows,
    data: Mutex<Data>,
    /// Wakes a target's loop before its time.
    nudges: Vec<Arc<Notify>>,
    /// A try has ended.
    tried: Notify,
}

#[derive(Debug)]
struct Data {
    ring: Ring,
    running: Vec<bool>,
    touched: Instant,
    /// When somebody asked for numbers last.
    looked: Option<Instant>,
    questions: HashMap<Arc<str>, Result<Arc<Asked>, String>>,
}

/// Refuses a pinned question, or a revision's, that kept samples can never answer.
pub(crate) fn answers(question: &str, knows: Knows) -> Result<(), SettingsError> {
    let help = "ask a Prometheus for it (`prometheus: {url: …}`), by `source:` of this check alone";
    let refuse = |message: String| SettingsError::new("", message, help);
    if let Ok(revision) = serde_json::from_str::<RevisionQuestion>(question) {
        let selector = Selector::read(&revision.promql).map_err(|message| {
            let help = "write a plain selector, such as app_build_info{side=\"blue\"}";
            SettingsError::new("/promql", message, help)
        })?;
        return knows(&selector).map_err(refuse);
    }
    let asked = Asked::read(question).map_err(refuse)?;
    asked.selectors().iter().try_for_each(|selector| knows(selector)).map_err(refuse)
}

// === impl Sampled ===

impl Sampled {
    pub(crate) fn new(targets: Vec<Arc<dyn Target>>, interval: Duration, knows: Knows) -> Self {
        let data = Data {
            ring: Ring::new(targets.iter().map(|target| target.ups()).collect()),
            running: vec![false; targets.len()],
            touched: Instant::now(),
            looked: None,
            questions: HashMap::new(),
        };
        let nudges = targets.iter().map(|_| Arc::default()).collect();
        let (data, tried) = (Mutex::new(data), Notify::new());
        Self(Arc::new(Inner { targets, interval, knows, data, nudges, tried }))
    }

    async fn ask_revisions(&self, question: &str, end: Instant) -> Result<Vec<Revision>, String> {
        let question: RevisionQuestion = serde_json::from_str(question)
            .map_err(|error| format!("the pinned revision query cannot be read: {error}"))?;
        let selector = Arc::new(Selector::read(&question.promql)?);
        (self.0.knows)(&selector)?;
        self.watch(std::slice::from_ref(&selector), Why::Revisions, end).await;
        let data = self.0.data();
        let present = data.ring.present(&selector);
        if let (true, Some(fault)) = (present.is_empty(), data.ring.fault(&Labels::new(), i64::MAX))
        {
            return Err(fault.message.clone());
        }
        let mut revisions = BTreeSet::new();
        for labels in present {
            let Some(value) = labels.get(&question.label) else {
                let (label, labels) = (&question.label, crate::promql::matchers(labels));
                return Err(format!("a series has no label {label}, only {{{labels}}}"));
            };
            revisions.insert(Revision::from(value.as_str()));
        }
        Ok(revisions.into_iter().collect())
    }

    /// Reads a question, once.
    fn read(&self, question: &Arc<str>) -> Result<Arc<Asked>, String> {
        if let Some(known) = self.0.data().questions.get(question) {
            return known.clone();
        }
        let asked = Asked::read(question).map(Arc::new);
        let mut data = self.0.data();
        if data.questions.len() >= QUESTIONS_MAX {
            data.questions.clear();
        }
        data.questions.insert(question.clone(), asked.clone());
        asked
    }
}

impl MetricSource for Sampled {
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

    fn facts(&self, _deadline: Duration) -> BoxFuture<'static, Result<SourceFacts, String>> {
        let source = self.clone();
        Box::pin(async move {
            source.start(Why::Numbers);
            let scrape = Some(source.0.interval);
            Ok(SourceFacts { clock_ahead: SignedDuration::ZERO, scrape })
        })
    }
}

// === impl Inner ===

impl Inner {
    fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Fault ===

impl Fault {
    /// Something that only a person can put right.
    pub(crate) fn person(message: impl Into<String>) -> Self {
        Self { message: message.into(), retryable: false }
    }

    /// Something that may pass.
    pub(crate) fn passing(message: impl Into<String>) -> Self {
        Self { message: message.into(), retryable: true }
    }
}

impl From<Fault> for Answer {
    fn from(fault: Fault) -> Self {
        Self::Error { message: fault.message, retryable: fault.retryable }
    }
}

#[cfg(test)]
#[path = "sampled/tests.rs"]
mod tests;
