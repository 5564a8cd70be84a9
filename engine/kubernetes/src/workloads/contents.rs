//! What ConfigMaps and Secrets hold whose contents count for a revision: asked for by name, never listed or watched.
//!
//! A right to watch one by its name would be a right to watch them all, so they are asked for again and again instead:
//! soon after something happened to who refers to them, ever more seldom while nothing does. Only what a rollout asked to
//! be counted is read at all, and of that a digest alone is kept.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use haldane_outside::Outside;
use tokio::sync::{Notify, mpsc};

use super::{
    namespace::Held,
    refs::{self, Ref},
};
use crate::api;

/// How soon it is asked again, at first and at most: doubling in between.
const AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// What was read counts for so long after the API server stopped answering.
const OLD_MAX: Duration = Duration::from_secs(30);

/// What nobody rests on, and nobody asked for in so long, is forgotten.
const UNASKED_MAX: Duration = Duration::from_secs(120);

/// An object of a namespace.
pub(super) type At = (Arc<str>, Ref);

/// What is known of them.
pub(super) struct Shelf {
    known: Mutex<HashMap<At, Kept>>,
    asked: mpsc::UnboundedSender<At>,
}

struct Kept {
    held: Held,
    soon: Arc<Notify>,
    asked_at: Instant,
}

// === impl Shelf ===

impl Shelf {
    /// Makes an empty one; what is asked for the first time is told, so that somebody follows it.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<At>) {
        let (asked, asking) = mpsc::unbounded_channel();
        (Self { known: Mutex::default(), asked }, asking)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<At, Kept>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what is known; has it looked at again soon where that is asked for.
    pub(super) fn get(&self, namespace: &Arc<str>, what: &Ref, fresh: bool) -> Held {
        let at = (namespace.clone(), what.clone());
        let mut known = self.known();
        if let Some(kept) = known.get_mut(&at) {
            kept.asked_at = Instant::now();
            if fresh {
                kept.soon.notify_one();
            }
            return kept.held.clone();
        }
        let (soon, asked_at) = (Arc::new(Notify::new()), Instant::now());
        let kept = Kept { held: Held::Unread(None), soon, asked_at };
        known.insert(at.clone(), kept);
        let _ = self.asked.send(at);
        Held::Unread(None)
    }

    /// Reads an object until nobody rests on it; `tell` hears of every look, and says whether anybody does.
    pub(super) async fn follow(&self, outside: &Outside, at: At, tell: impl Fn(&At) -> bool) {
        let mut wait = AGAIN.0;
        let (mut was_read, mut fails_since) = (false, None::<Instant>);
        loop {
            let found = read(outside, &at).await;
            let Some((was, soon)) =
                self.known().get(&at).map(|kept| (kept.held.clone(), kept.soon.clone()))
            else {
                return;
            };
            let now = match found {
                Ok(held) => {
                    (was_read, fails_since) = (true, None);
                    held
                }
                Err((why, is_certain)) => {
                    let since = *fails_since.get_or_insert_with(Instant::now);
                    // Nobody takes a hiccup for news.
                    if was_read && !is_certain && since.elapsed() < OLD_MAX {
                        was.clone()
                    } else {
                        Held::Unread(Some(why))
                    }
                }
            };
            let changed = now != was;
            if let Some(kept) = self.known().get_mut(&at) {
                kept.held = now;
            }
            // What just began to fail is asked soon.
            let is_soon = changed || fails_since.is_some_and(|since| since.elapsed() < AGAIN.0);
            wait = if is_soon { AGAIN.0 } else { (wait * 2).min(AGAIN.1) };
            // A rollout that is about to begin asks before anything rests on it.
            let is_asked = |kept: &Kept| kept.asked_at.elapsed() < UNASKED_MAX;
            if !tell(&at) && !self.known().get(&at).is_some_and(is_asked) {
                self.known().remove(&at);
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = soon.notified() => wait = AGAIN.0,
            }
        }
    }
}

/// Reads one; an error comes with whether it is certain.
async fn read(outside: &Outside, (namespace, (holder, name)): &At) -> Result<Held, (String, bool)> {
    let path = format!("/api/v1/namespaces/{namespace}/{}/{name}", holder.plural());
    let cluster = api::cluster(outside).await.map_err(|error| (error.to_string(), false))?;
    let object = match cluster.get(&path, api::DEADLINE).await {
        Ok(object) => object,
        Err(error) if api::is_gone(&error) => return Ok(Held::Absent),
        Err(error) => return Err((api::told(&error), api::code(&error) == Some(403))),
    };
    let (holder, namespace) = (*holder, namespace.clone());
    let digest = tokio::task::spawn_blocking(move || refs::digest(holder, &namespace, &object));
    digest.await.map(Held::This).map_err(|error| (error.to_string(), false))
}
