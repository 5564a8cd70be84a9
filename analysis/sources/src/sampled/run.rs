//! The loops: one for each target, while somebody looks.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::time::{sleep, timeout};

use super::{Inner, Sampled, Selector, Wanted};

/// How long targets are read after the last question. Sources are asked about themselves once a
/// minute.
pub(super) const IDLE: Duration = Duration::from_secs(150);
/// How often they are read while nobody asks but for revisions.
const AT_REST: Duration = Duration::from_secs(10);
/// What a look keeps for itself of its deadline, when it waits for a first try.
const SPARE: Duration = Duration::from_millis(200);

/// What a question wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Samples at the source's pace.
    Numbers,
    /// Which revisions there are.
    Revisions,
}

impl Sampled {
    /// Begins to read every target that is not read.
    pub(super) fn start(&self, why: Why) {
        let mut data = self.0.data();
        data.touched = Instant::now();
        if why == Why::Numbers {
            let now = data.touched;
            let before = data.looked.replace(now);
            if before.is_none_or(|looked| now.duration_since(looked) >= IDLE) {
                self.0.nudges.iter().for_each(|nudge| nudge.notify_one());
            }
        }
        for (at, running) in data.running.iter_mut().enumerate() {
            if !*running {
                *running = true;
                tokio::spawn(run(Arc::downgrade(&self.0), at));
            }
        }
    }

    /// Wants these series; what is wanted for the first time is waited for, as far as there is time.
    pub(super) async fn watch(&self, selectors: &[Arc<Selector>], why: Why, end: Instant) {
        let since = self.0.data().ring.watch(selectors, Instant::now());
        self.start(why);
        let Some(since) = since else { return };
        if !self.0.data().ring.was_tried(since) {
            self.0.nudges.iter().for_each(|nudge| nudge.notify_one());
        }
        let tried = async {
            loop {
                let ended = self.0.tried.notified();
                tokio::pin!(ended);
                // From here on no end of a try is missed.
                ended.as_mut().enable();
                if self.0.data().ring.was_tried(since) {
                    return;
                }
                ended.await;
            }
        };
        let patience = end.saturating_duration_since(Instant::now()).saturating_sub(SPARE);
        // A target that hangs hides no other: what is there is answered.
        let _ = timeout(patience, tried).await;
    }
}

/// Reads one target over and over; ends where nobody looks, or the source is gone.
async fn run(source: Weak<Inner>, at: usize) {
    loop {
        let Some(inner) = source.upgrade() else { return };
        let Some((began, pace, wanted)) = inner.begin(at) else { return };
        let (taking, nudge) = (inner.targets[at].take(wanted.clone()), inner.nudges[at].clone());
        let next = began + pace;
        drop(inner);
        let taken = taking.await;
        let Some(inner) = source.upgrade() else { return };
        if let super::Taken::Silent(why) = &taken {
            let target = inner.targets[at].name();
            tracing::debug!(target, why, "a target did not answer");
        }
        {
            let mut data = inner.data();
            // Under the lock, so that no look has passed this moment already.
            let now = Timestamp::now().as_millisecond();
            data.ring.keep(at, began, now, &wanted, taken);
        }
        inner.tried.notify_waiters();
        drop(inner);
        tokio::select! {
            () = sleep(next.saturating_duration_since(Instant::now())) => {}
            () = nudge.notified() => {}
        }
    }
}

// === impl Inner ===

impl Inner {
    /// Begins a try; `None` where nobody looked for long.
    fn begin(&self, at: usize) -> Option<(Instant, Duration, Wanted)> {
        let now = Instant::now();
        let mut data = self.data();
        if now.duration_since(data.touched) >= IDLE {
            data.running[at] = false;
            data.ring.forget(at);
            return None;
        }
        let is_looked_at = data.looked.is_some_and(|looked| now.duration_since(looked) < IDLE);
        let pace = if is_looked_at { self.interval } else { self.interval.max(AT_REST) };
        Some((now, pace, data.ring.wanted(now)))
    }
}
