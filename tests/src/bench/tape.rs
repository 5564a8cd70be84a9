//! Stamps on everything that a loop does outside: its store, its provider, its source, its sink.
//!
//! Each wrapper passes everything on as it is.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture, stream::BoxStream};
use haldane_model::{
    Answer, Company, Direction, JournalEntry, Mark, Reading, Reason, Revision, RolloutId, Sample,
    Split, Weight,
};
use haldane_outside::Outside;
use haldane_providers::{Capabilities, Error, Roles, Sides, Snapshot, TrafficProvider};
use haldane_runtime::{
    Notice,
    drive::{Factory, Sink},
    ports::{Journal, Store, Stored, Swap, SwapRequest},
    trace::Packed,
};
use haldane_sources::{Look, MetricSource, SourceFacts};
use jiff::Timestamp;

/// The share of bad requests above which an answer is a bad one.
const BAD: f64 = 0.01;

/// No scrape interval of the bench's own servers is longer.
const PACE_MAX: Duration = Duration::from_secs(2);

/// What happened, and when.
#[derive(Clone, Debug, Default)]
pub struct Tape(Arc<Mutex<Vec<(Instant, Event)>>>);

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A look that found more than 1 % of bad requests was due: the moment that it asks about.
    BadLookDue,
    /// It was sent.
    BadLookSent,
    /// Its answer came.
    BadLookAnswered,
    /// A record with a breach was handed to the store: it was decided.
    BreachDecided,
    /// The store has it.
    BreachRecorded,
    /// A lowering write was sent.
    LowerSent,
    /// It was answered.
    LowerAnswered,
    /// The provider was read to have no traffic on the side under test.
    ReadZero,
    /// The end of the rollback was recorded.
    RolledBack,
    /// Any look was sent.
    Look,
    /// A look was told a scrape interval longer than two seconds, where a second is set: the guards
    /// would take it for their pace.
    PaceLost,
}

/// Puts stamps on another store.
pub struct StampedStore<S>(pub S, pub Tape);

/// Puts stamps on another factory's providers and sources.
pub struct StampedFactory<F>(pub F, pub Tape);

/// Puts stamps on what is told.
pub struct StampedSink(pub Tape);

struct StampedProvider(Arc<dyn TrafficProvider>, Tape);

struct StampedSource(Arc<dyn MetricSource>, Tape);

// === impl Tape ===

impl Tape {
    /// Stamps an event that happens now.
    pub fn stamp(&self, event: Event) {
        self.stamp_at(Instant::now(), event);
    }

    fn stamp_at(&self, at: Instant, event: Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((at, event));
    }

    /// Forgets everything.
    pub fn rewind(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Returns the first time of an event after a moment.
    #[must_use]
    pub fn first(&self, event: Event, after: Instant) -> Option<Instant> {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = events.iter().filter(|(at, what)| *what == event && *at >= after);
        times.map(|(at, _)| *at).min()
    }

    /// Returns the longest pause between two events of a kind within a stretch of time.
    #[must_use]
    pub fn longest_pause(&self, event: Event, from: Instant, to: Instant) -> Duration {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let within = |at: &Instant| *at > from && *at < to;
        let times = events.iter().filter(|(_, what)| *what == event).map(|(at, _)| *at);
        let mut times: Vec<Instant> = times.filter(within).chain([from, to]).collect();
        times.sort();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// Returns how often an event happened.
    #[must_use]
    pub fn count(&self, event: Event) -> usize {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().filter(|(_, what)| *what == event).count()
    }
}

// === impl StampedStore ===

impl<S: Store> Store for StampedStore<S> {
    fn list(&self) -> BoxFuture<'static, Result<Vec<RolloutId>, String>> {
        self.0.list()
    }

    fn load(&self, id: &RolloutId) -> BoxFuture<'static, Result<Option<Stored>, String>> {
        self.0.load(id)
    }

    fn swap(&self, id: &RolloutId, request: SwapRequest) -> BoxFuture<'static, Swap> {
        let breach = request.entries.iter().any(|entry| entry.reason == Reason::Breach);
        let (swap, tape) = (self.0.swap(id, request), self.1.clone());
        if !breach {
            return swap;
        }
        tape.stamp(Event::BreachDecided);
        swap.inspect(move |answer| {
            if *answer == Swap::Won {
                tape.stamp(Event::BreachRecorded);
            }
        })
        .boxed()
    }

    fn delete(&self, id: &RolloutId) -> BoxFuture<'static, Result<(), String>> {
        self.0.delete(id)
    }

    fn journal(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'static, Result<Journal, String>> {
        self.0.journal(id, after, limit)
    }

    fn trace(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<Packed>, String>> {
        self.0.trace(id, after, limit)
    }
}

// === impl StampedFactory ===

impl<F: Factory> Factory for StampedFactory<F> {
    fn provider(
        &self,
        kind: &str,
        settings: &str,
        sides: &Sides,
        outside: &Outside,
    ) -> Result<Arc<dyn TrafficProvider>, Error> {
        let provider = self.0.provider(kind, settings, sides, outside)?;
        Ok(Arc::new(StampedProvider(provider, self.1.clone())))
    }

    fn source(
        &self,
        kind: &str,
        settings: &str,
        outside: &Outside,
    ) -> Result<Arc<dyn MetricSource>, String> {
        let source = self.0.source(kind, settings, outside)?;
        Ok(Arc::new(StampedSource(source, self.1.clone())))
    }
}

// === impl StampedProvider ===

impl TrafficProvider for StampedProvider {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn preflight(&self) -> BoxFuture<'_, Result<Snapshot, Error>> {
        self.0.preflight()
    }

    fn representable(&self, split: &Split) -> Split {
        self.0.representable(split)
    }

    fn read(&self) -> BoxFuture<'_, Result<Reading, Error>> {
        let reading = self.0.read().inspect(|reading| {
            // All trials have green under test.
            let is_zero = |reading: &Reading| reading.range_of(&"green".into()).1 == Weight::ZERO;
            if reading.as_ref().is_ok_and(is_zero) {
                self.1.stamp(Event::ReadZero);
            }
        });
        reading.boxed()
    }

    fn write(
        &self,
        split: Split,
        direction: Direction,
        mark: Mark,
    ) -> BoxFuture<'_, Result<(), Error>> {
        if direction == Direction::Raise {
            return self.0.write(split, direction, mark);
        }
        self.1.stamp(Event::LowerSent);
        let written = self.0.write(split, direction, mark);
        written.inspect(|_| self.1.stamp(Event::LowerAnswered)).boxed()
    }

    fn rehearse_mirror(&self, share: Weight) -> BoxFuture<'_, Result<(), Error>> {
        self.0.rehearse_mirror(share)
    }

    fn accompany(&self, company: Company, mark: Mark) -> BoxFuture<'_, Result<(), Error>> {
        self.0.accompany(company, mark)
    }

    fn finish(&self, roles: Roles) -> BoxFuture<'_, Result<(), Error>> {
        self.0.finish(roles)
    }

    fn release(&self, snapshot: Snapshot) -> BoxFuture<'_, Result<(), Error>> {
        self.0.release(snapshot)
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        self.0.changes()
    }
}

// === impl StampedSource ===

impl MetricSource for StampedSource {
    fn look(&self, question: Arc<str>, look: Look) -> BoxFuture<'static, Sample> {
        let (tape, sent) = (self.1.clone(), Instant::now());
        let late = Duration::try_from(Timestamp::now().duration_since(look.window.end));
        let due = sent.checked_sub(late.unwrap_or_default()).unwrap_or(sent);
        tape.stamp_at(sent, Event::Look);
        let sample = self.0.look(question, look);
        sample
            .inspect(move |sample| {
                if sample.scrape > PACE_MAX {
                    tape.stamp(Event::PaceLost);
                }
                if is_bad(&sample.answer) {
                    tape.stamp_at(due, Event::BadLookDue);
                    tape.stamp_at(sent, Event::BadLookSent);
                    tape.stamp(Event::BadLookAnswered);
                }
            })
            .boxed()
    }

    fn revisions(
        &self,
        question: Arc<str>,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Vec<Revision>, String>> {
        self.0.revisions(question, deadline)
    }

    fn facts(&self, deadline: Duration) -> BoxFuture<'static, Result<SourceFacts, String>> {
        self.0.facts(deadline)
    }
}

fn is_bad(answer: &Answer) -> bool {
    match answer {
        Answer::Ratio { part: Some(part), total: Some(total) } => part / total > BAD,
        Answer::Ratio { .. }
        | Answer::Value(_)
        | Answer::Counted(_)
        | Answer::Nothing(_)
        | Answer::Error { .. } => false,
    }
}

// === impl StampedSink ===

impl Sink for StampedSink {
    fn told(&self, _: &RolloutId, entry: &JournalEntry) {
        if entry.reason == Reason::RolledBack {
            self.0.stamp(Event::RolledBack);
        }
    }

    fn noticed(&self, _: &RolloutId, _: &Notice) {}
}
