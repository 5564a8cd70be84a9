//! Whose entries are copied when: those of several rollouts at once, so that none waits for another's slow call, and
//! those of one rollout one after another. What failed comes again, ever later. How they are copied is not known here.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use haldane_model::{RolloutId, back_off};
use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::shelf::Shelf;

/// How many rollouts' entries are copied at once.
const COPYING_MAX: usize = 8;
/// How soon a copy that failed is tried again, at first and at most: doubling in between.
const AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));

/// How a copy ended.
type Copied = Result<(), String>;

/// Which rollouts wait, and for what.
struct Copying {
    shelf: Arc<Shelf>,
    /// Those whose turn comes.
    waiting: Vec<RolloutId>,
    /// Those that have something new while they are copied.
    again: HashSet<RolloutId>,
    /// Those whose copy failed: until when they rest, and how often it did.
    failed: HashMap<RolloutId, (Instant, u32)>,
    under_way: JoinSet<Copied>,
    /// Whose each of these is.
    ids: HashMap<Id, RolloutId>,
}

/// Copies what has something new, while this engine leads; ends once what is under way is done.
pub(super) async fn work_off<F: Future<Output = Copied> + Send + 'static>(
    shelf: Arc<Shelf>,
    leads: watch::Receiver<bool>,
    token: CancellationToken,
    copy: impl Fn(RolloutId) -> F,
) {
    let mut copying = Copying::new(shelf.clone());
    loop {
        tokio::select! {
            () = token.cancelled() => break,
            Some(done) = copying.under_way.join_next_with_id() => copying.ended(done),
            dirty = shelf.entries().take(), if copying.waiting.is_empty() => {
                copying.waiting.extend(dirty);
            }
        }
        if !*leads.borrow() {
            copying.forget();
        }
        while let Some(id) = copying.next() {
            let task = copying.under_way.spawn(copy(id.clone()));
            copying.ids.insert(task.id(), id);
        }
    }
    while copying.under_way.join_next().await.is_some() {}
}

// === impl Copying ===

impl Copying {
    fn new(shelf: Arc<Shelf>) -> Self {
        Self {
            shelf,
            waiting: Vec::new(),
            again: HashSet::new(),
            failed: HashMap::new(),
            under_way: JoinSet::new(),
            ids: HashMap::new(),
        }
    }

    /// Returns whose turn it is; none where as many as may be are under way.
    fn next(&mut self) -> Option<RolloutId> {
        while self.ids.len() < COPYING_MAX {
            let id = self.waiting.pop()?;
            if self.ids.values().any(|other| *other == id) {
                self.again.insert(id);
            } else if self.failed.get(&id).is_none_or(|(until, _)| *until <= Instant::now()) {
                return Some(id);
            }
        }
        None
    }

    /// Notes how a copy ended.
    fn ended(&mut self, done: Result<(Id, Copied), JoinError>) {
        let (task, copied) = match done {
            Ok(done) => done,
            Err(error) => (error.id(), Err(error.to_string())),
        };
        let Some(id) = self.ids.remove(&task) else { return };
        let has_more = self.again.remove(&id);
        let Err(why) = copied else {
            self.failed.remove(&id);
            if has_more {
                self.shelf.entries().add(&id);
            }
            return;
        };
        tracing::warn!(rollout = %id, "its AnalysisRun is not written, and tried again: {why}");
        let failures = self.failed.get(&id).map_or(0, |(_, failures)| *failures);
        let until = Instant::now() + back_off(AGAIN, failures);
        self.failed.insert(id.clone(), (until, failures.saturating_add(1)));
        let shelf = self.shelf.clone();
        tokio::spawn(async move {
            tokio::time::sleep_until(until).await;
            shelf.entries().add(&id);
        });
    }

    /// Forgets what waits: the engine that leads copies it.
    fn forget(&mut self) {
        self.waiting.clear();
        self.again.clear();
        self.failed.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Who began to be copied, in this order, and how many began and did not end, by name.
    #[derive(Default)]
    struct Seen {
        begun: Vec<String>,
        now: HashMap<String, usize>,
    }

    fn id(name: &str) -> RolloutId {
        RolloutId::new("shop", name)
    }

    /// Copies for a while: each takes a second, one that is called `slow` a minute, and `broken` fails thrice.
    async fn copied(shelf: &Arc<Shelf>, leads: bool, patience: Duration) -> Vec<String> {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (_leads, leads) = watch::channel(leads);
        let copy = |id: RolloutId| {
            let (seen, name) = (seen.clone(), id.name.to_string());
            async move {
                let times = {
                    let mut seen = seen.lock().unwrap();
                    seen.begun.push(name.clone());
                    let now = seen.now.entry(name.clone()).or_default();
                    *now += 1;
                    assert_eq!(*now, 1, "{name} is copied twice at once");
                    assert!(seen.now.values().sum::<usize>() <= COPYING_MAX);
                    seen.begun.iter().filter(|begun| **begun == name).count()
                };
                let takes = if name == "slow" { 60 } else { 1 };
                tokio::time::sleep(Duration::from_secs(takes)).await;
                seen.lock().unwrap().now.insert(name.clone(), 0);
                match name == "broken" && times <= 3 {
                    true => Err("no".to_owned()),
                    false => Ok(()),
                }
            }
        };
        let token = CancellationToken::new();
        let work = work_off(shelf.clone(), leads, token.clone(), copy);
        let end = async {
            tokio::time::sleep(patience).await;
            let begun = seen.lock().unwrap().begun.clone();
            token.cancel();
            begun
        };
        tokio::join!(work, end).1
    }

    fn times(begun: &[String], name: &str) -> usize {
        begun.iter().filter(|one| *one == name).count()
    }

    #[tokio::test(start_paused = true)]
    async fn one_slow_copy_delays_nobody_elses() {
        let shelf = Arc::new(Shelf::default());
        shelf.entries().add(&id("slow"));
        (0..40).for_each(|at| shelf.entries().add(&id(&format!("r{at}"))));
        let begun = copied(&shelf, true, Duration::from_secs(10)).await;
        assert_eq!(begun.len(), 41, "seven at once beside the slow one: {begun:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_while_a_rollout_is_copied_is_copied_afterwards() {
        let shelf = Arc::new(Shelf::default());
        shelf.entries().add(&id("a"));
        let more = async {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_millis(200)).await;
                shelf.entries().add(&id("a"));
            }
        };
        let (begun, ()) = tokio::join!(copied(&shelf, true, Duration::from_secs(10)), more);
        assert_eq!(times(&begun, "a"), 2, "{begun:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_that_failed_comes_again_ever_later() {
        let shelf = Arc::new(Shelf::default());
        shelf.entries().add(&id("broken"));
        // It begins at 0, 3, 8 and 17 seconds, whatever else happens to it meanwhile.
        let more = async {
            for _ in 0..16 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                shelf.entries().add(&id("broken"));
            }
        };
        let (begun, ()) = tokio::join!(copied(&shelf, true, Duration::from_secs(16)), more);
        assert_eq!(times(&begun, "broken"), 3, "{begun:?}");
        shelf.entries().add(&id("broken"));
        let begun = copied(&shelf, true, Duration::from_secs(60)).await;
        assert_eq!(times(&begun, "broken"), 4, "then it is well: {begun:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_lead_copies_nothing() {
        let shelf = Arc::new(Shelf::default());
        shelf.entries().add(&id("a"));
        assert!(copied(&shelf, false, Duration::from_secs(10)).await.is_empty());
    }
}
