//! Users: as many as fast as they can, counted by who answered; or a steady stream, remembered one by one.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::load::{Answer, Caller};

/// How many ask at once: enough to keep both of the proxy's threads busy.
const CALLERS: u32 = 4;

/// How many standard deviations a tolerance is: the proxy throws dice for every request, so that a right split
/// is measured wrong once in 150 000 times.
const DEVIATIONS: f64 = 4.5;

/// Who answered how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Good answers, by what the answering copy says of itself.
    pub by_version: BTreeMap<String, u64>,
    /// What else there was, in words; at most the first hundred of each caller.
    pub failures: Vec<String>,
}

/// One request of a steady stream.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When it was sent.
    pub began: Instant,
    /// When its answer was there, or was given up.
    pub at: Instant,
    /// The answer, or what went wrong.
    pub answer: Result<Answer, String>,
}

/// A steady stream; ends when dropped.
#[derive(Debug)]
pub struct Traffic {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Seen>>>,
    callers: Vec<JoinHandle<()>>,
}

/// Returns how many requests it takes to know a share to so many percentage points, both in percent: 50 625 for
/// a half to one point. Never fewer than 4 000.
#[must_use]
pub fn requests_for(percent: f64, points: f64) -> u64 {
    let share = percent / 100.0;
    let needed = share * (1.0 - share) * (100.0 * DEVIATIONS / points).powi(2);
    (needed.ceil() as u64).max(4_000)
}

// === impl Seen ===

impl Seen {
    /// Returns whether it was answered with 200.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.answer.as_ref().is_ok_and(|answer| answer.status == 200)
    }

    /// Returns whether this copy answered.
    #[must_use]
    pub fn is_by(&self, version: &str) -> bool {
        self.answer.as_ref().is_ok_and(|answer| answer.version.as_deref() == Some(version))
    }
}

// === impl Counts ===

impl Counts {
    /// Returns how many good answers there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_version.values().sum()
    }

    /// Returns a version's share of the good answers, in percent.
    #[must_use]
    pub fn percent(&self, version: &str) -> f64 {
        let own = self.by_version.get(version).copied().unwrap_or(0);
        100.0 * own as f64 / (self.total() as f64).max(1.0)
    }

    fn add(&mut self, answer: &Result<Answer, String>) {
        match answer {
            Ok(Answer { status: 200, version, .. }) => {
                *self.by_version.entry(version.clone().unwrap_or_default()).or_default() += 1;
            }
            Ok(answer) => self.fail(format!("{answer:?}")),
            Err(why) => self.fail(why.clone()),
        }
    }

    fn fail(&mut self, why: String) {
        if self.failures.len() < 100 {
            self.failures.push(why);
        }
    }
}

/// Sends so many requests, and counts.
pub(super) fn count(caller: impl Fn() -> Caller, requests: u64) -> Counts {
    let each = requests.div_ceil(u64::from(CALLERS));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let mut caller = caller();
            thread::spawn(move || {
                let mut counts = Counts::default();
                for _ in 0..each {
                    counts.add(&caller.ask().map_err(|error| error.to_string()));
                }
                counts
            })
        })
        .collect();
    let mut all = Counts::default();
    for caller in callers {
        let counts = caller.join().expect("no caller panics");
        for (version, count) in counts.by_version {
            *all.by_version.entry(version).or_default() += count;
        }
        all.failures.extend(counts.failures);
    }
    all
}

// === impl Traffic ===

impl Traffic {
    pub(super) fn start(caller: impl Fn() -> Caller, per_second: u64) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let pause =
            Duration::from_secs(1) * CALLERS / u32::try_from(per_second).unwrap_or(1).max(1);
        let callers = (0..CALLERS)
            .map(|at| {
                let (mut caller, stop, seen) = (caller(), stop.clone(), seen.clone());
                thread::spawn(move || {
                    thread::sleep(pause * at / CALLERS);
                    ask(&mut caller, pause, &stop, &seen);
                })
            })
            .collect();
        Self { stop, seen, callers }
    }

    /// Returns every request so far, in the order of the answers.
    ///
    /// # Panics
    /// Where a caller panicked.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no caller panics").clone()
    }

    /// Returns who answered what was sent within a span.
    #[must_use]
    pub fn counts(&self, from: Instant, until: Instant) -> Counts {
        let mut counts = Counts::default();
        let seen = self.seen.lock().expect("no caller panics");
        for one in seen.iter().filter(|one| one.began >= from && one.began < until) {
            counts.add(&one.answer);
        }
        counts
    }

    /// Stops it, and returns every request.
    #[must_use]
    pub fn stop(mut self) -> Vec<Seen> {
        self.end();
        self.seen()
    }

    fn end(&mut self) {
        self.stop.store(true, Relaxed);
        for caller in self.callers.drain(..) {
            let _ = caller.join();
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.end();
    }
}

fn ask(caller: &mut Caller, pause: Duration, stop: &AtomicBool, seen: &Mutex<Vec<Seen>>) {
    let mut next = Instant::now();
    while !stop.load(Relaxed) {
        let began = Instant::now();
        let answer = caller.ask().map_err(|error| error.to_string());
        let one = Seen { began, at: Instant::now(), answer };
        seen.lock().expect("no caller panics").push(one);
        next += pause;
        let now = Instant::now();
        if next > now {
            thread::sleep(next - now);
        } else if now > next + Duration::from_millis(200) {
            // The proxy is slower than the pace: what was missed is not made up for.
            next = now;
        }
    }
}
