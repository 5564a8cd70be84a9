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
    collections::{BTreeMap, HashMap},
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
use crate::{
    Look, MetricSource, RevisionQuestion, SettingsError, SourceFacts, TemplateScope,
    counters::Labels,
};

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

/// Refuses settings that do not name both sides of the rollout, and them alone. `lacks`: what a side
/// that is not named has none of; the helps are for a side that there is not, and for one that is absent.
pub(crate) fn names_both_sides<T>(
    path: &str,
    given: &BTreeMap<String, T>,
    scope: &TemplateScope,
    lacks: &str,
    [unknown_help, absent_help]: [&str; 2],
) -> Result<(), SettingsError> {
    let is_side = |name: &String| scope.sides.iter().any(|(side, _)| side == name);
    if let Some(odd) = given.keys().find(|name| !is_side(name)) {
        return Err(SettingsError::new(path, format!("there is no side {odd}"), unknown_help));
    }
    if let Some((absent, _)) = scope.sides.iter().find(|(side, _)| !given.contains_key(side)) {
        let message = format!("the side {absent} has no {lacks}");
        return Err(SettingsError::new(path, message, absent_help));
    }
    Ok(())
}

/// The labels that the sides' series get, of those sides that have any.
pub(crate) fn labels_of_sides(scope: &TemplateScope) -> BTreeMap<String, Labels> {
    scope.sides.iter().filter(|(_, labels)| !labels.is_empty()).cloned().collect()
}

/// The sides' names, for people: `blue and green`.
pub(crate) fn side_names(scope: &TemplateScope) -> String {
    let [(first, _), (second, _)] = &scope.sides;
    format!("{first} and {second}")
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
        let question = RevisionQuestion::pinned(question)?;
        let selector = Arc::new(Selector::read(&question.promql)?);
        (self.0.knows)(&selector)?;
        self.watch(std::slice::from_ref(&selector), Why::Revisions, end).await;
        let data = self.0.data();
        let present = data.ring.present(&selector);
        if let (true, Some(fault)) = (present.is_empty(), data.ring.fault(&Labels::new(), i64::MAX))
        {
            return Err(fault.message.clone());
        }
        question.shown(present)
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
            Ok(SourceFacts { clock_ahead: SignedDuration::ZERO, scrape, delay: Duration::ZERO })
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
