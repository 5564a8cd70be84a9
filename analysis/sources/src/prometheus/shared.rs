//! Answers that several ask for: raw samples of one selector at one moment are fetched once.
//!
//! Ten checks of two metrics, each asked for two sides, cost two requests. An answer is kept for
//! seconds, because a later moment is another question; an error is shared with those alone who
//! were waiting for it, so that nobody is told of an outage that is over.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{sync::Mutex as Slot, time::timeout};

use crate::{counters::Series, reply::Refusal};

/// How long an answer is kept: longer than the looks of one tick are apart.
const KEPT: Duration = Duration::from_secs(10);
/// How many answers are kept at most.
const KEPT_MAX: usize = 16;

/// Raw samples that several look at.
pub(super) type Answered = Result<Arc<Vec<Series>>, Refusal>;

/// The answers of the last seconds, and those under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared(Arc<Mutex<Vec<Entry>>>);

/// What is asked: a selector, up to a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asking {
    pub(super) selector: String,
    pub(super) at: Timestamp,
}

#[derive(Debug)]
struct Entry {
    asking: Asking,
    since: Instant,
    /// Held by the one who asks; the others wait for the same answer.
    slot: Arc<Slot<Option<Held>>>,
}

#[derive(Debug)]
struct Held {
    reach: Duration,
    told: Instant,
    answer: Answered,
}

// === impl Shared ===

impl Shared {
    /// Returns an answer that reaches far enough back, or asks for it.
    pub(super) async fn answer(
        &self,
        asking: &Asking,
        reach: Duration,
        end: Instant,
        ask: impl Future<Output = Result<Vec<Series>, Refusal>>,
    ) -> Answered {
        let begin = Instant::now();
        let slot = self.slot(asking, begin);
        let patience = end.saturating_duration_since(begin);
        let Ok(mut held) = timeout(patience, slot.lock()).await else {
            let message = "the source did not answer in time".to_owned();
            return Err(Refusal { message, retryable: true, too_large: false });
        };
        if let Some(held) = &*held {
            let is_new = held.answer.is_ok() || held.told >= begin;
            if held.reach >= reach && is_new {
                return held.answer.clone();
            }
        }
        let answer = ask.await.map(Arc::new);
        *held = Some(Held { reach, told: Instant::now(), answer: answer.clone() });
        answer
    }

    fn slot(&self, asking: &Asking, now: Instant) -> Arc<Slot<Option<Held>>> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|entry| now.duration_since(entry.since) < KEPT);
        if let Some(known) = entries.iter().find(|entry| entry.asking == *asking) {
            return known.slot.clone();
        }
        if entries.len() >= KEPT_MAX {
            entries.remove(0);
        }
        let slot = Arc::default();
        entries.push(Entry { asking: asking.clone(), since: now, slot: Arc::clone(&slot) });
        slot
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn asking(selector: &str) -> Asking {
        Asking { selector: selector.to_owned(), at: Timestamp::UNIX_EPOCH }
    }

    #[tokio::test]
    async fn what_many_ask_at_once_is_asked_once() {
        let (shared, asked) = (Shared::default(), AtomicUsize::new(0));
        let ask = async || {
            let answer = async {
                asked.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok(Vec::new())
            };
            shared.answer(&asking("a"), SECOND, Instant::now() + SECOND, answer).await
        };
        let (one, two, three) = tokio::join!(ask(), ask(), ask());
        assert!(one.is_ok() && two.is_ok() && three.is_ok());
        assert!(ask().await.is_ok(), "and a moment later");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_longer_reach_is_asked_again_and_then_serves_the_shorter() {
        let (shared, asked) = (Shared::default(), AtomicUsize::new(0));
        let ask = async |reach| {
            let answer = async {
                asked.fetch_add(1, Ordering::SeqCst);
                Ok(Vec::new())
            };
            shared.answer(&asking("a"), reach, Instant::now() + SECOND, answer).await.unwrap();
        };
        for reach in [SECOND, SECOND * 2, SECOND, SECOND * 2] {
            ask(reach).await;
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn an_error_is_told_to_those_who_waited_and_to_nobody_after() {
        let (shared, asked) = (Shared::default(), AtomicUsize::new(0));
        let ask = async || {
            let answer = async {
                let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
                tokio::time::sleep(Duration::from_millis(20)).await;
                let message = "no".to_owned();
                let refusal = Refusal { message, retryable: true, too_large: false };
                if first { Err(refusal) } else { Ok(Vec::new()) }
            };
            shared.answer(&asking("a"), SECOND, Instant::now() + SECOND, answer).await
        };
        let (one, two) = tokio::join!(ask(), ask());
        assert!(one.is_err() && two.is_err());
        assert!(ask().await.is_ok());
    }

    #[tokio::test]
    async fn who_waits_too_long_is_told_so_and_few_answers_are_kept() {
        let shared = Shared::default();
        let (never, same) = (std::future::pending(), asking("a"));
        let first = shared.answer(&same, SECOND, Instant::now() + SECOND, never);
        let soon = Instant::now() + Duration::from_millis(50);
        let second = shared.answer(&same, SECOND, soon, async { Ok(Vec::new()) });
        tokio::select! {
            biased;
            _ = first => panic!("nobody answers"),
            second = second => assert!(second.unwrap_err().retryable),
        }
        for name in 0..100 {
            shared.slot(&asking(&name.to_string()), Instant::now());
        }
        assert_eq!(shared.0.lock().unwrap().len(), KEPT_MAX);
    }
}
