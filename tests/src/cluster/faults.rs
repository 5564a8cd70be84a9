//! A proxy before the API server that makes faults, and keeps what it saw.
//!
//! It ends TLS with the cluster's own certificate and passes everything on as it is, tokens among it, so a
//! client needs only another address: `access.at(&faults.url())`. Where a rule fits, it delays, answers in
//! the server's stead, or says nothing. Upgrades (`exec`, `port-forward`) do not pass.

mod wire;

use std::{
    sync::{Arc, Mutex, MutexGuard},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::pki::Pki;
use crate::process::free_port;

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It reaches the server so much later.
    Delay(Duration),
    /// It never reaches the server; this code comes back, as the server would word it.
    Answer(u16),
    /// As `Answer`, so much later.
    AnswerLate(u16, Duration),
    /// It never reaches the server, and nothing comes back until the rules are cleared.
    Hang,
    /// It never reaches the server; the connection breaks.
    Break,
    /// As `Break`, so much later.
    BreakLate(Duration),
    /// The server does what was asked; the connection breaks before it can say so.
    LoseAnswer,
}

/// Which requests have which fault.
#[derive(Clone, Debug)]
pub struct Rule {
    method: Option<String>,
    part: String,
    fault: Fault,
    times: Option<usize>,
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When.
    pub at: Instant,
    /// Such as `PATCH`.
    pub method: String,
    /// The path with its query.
    pub target: String,
    /// What the client calls itself.
    pub agent: String,
    /// What it sent.
    pub body: Bytes,
    /// How it was answered; nothing while it is under way, and where the connection broke.
    pub code: Option<u16>,
    /// When the answer began.
    pub answered: Option<Instant>,
}

/// The proxy; gone when dropped.
#[derive(Debug)]
pub struct Faults {
    url: String,
    shared: Arc<Shared>,
    end: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// What the proxy and its test have in common.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// How the watches that are open end now.
    watches: broadcast::Sender<End>,
    /// Grows when the rules are cleared.
    cleared: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    seen: Vec<Seen>,
}

/// How a watch ends before its time.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The connection breaks.
    Cut,
    /// The server says 410: what the client knows is too old.
    Expired,
}

// === impl Rule ===

impl Rule {
    /// Fits requests of a method whose path or query contains `part`.
    #[must_use]
    pub fn new(method: &str, part: &str, fault: Fault) -> Self {
        Self { method: Some(method.to_owned()), ..Self::any(part, fault) }
    }

    /// Fits requests of any method; with an empty `part`, all.
    #[must_use]
    pub fn any(part: &str, fault: Fault) -> Self {
        Self { method: None, part: part.to_owned(), fault, times: None }
    }

    /// Fits so often, then no more.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }

    fn fits(&self, method: &str, target: &str) -> bool {
        self.times != Some(0)
            && self.method.as_deref().is_none_or(|only| only == method)
            && target.contains(&self.part)
    }
}

// === impl Faults ===

impl Faults {
    /// Starts one before a server.
    pub(super) fn start(upstream: &str, pki: &Pki) -> Self {
        let port = free_port();
        let listener = std::net::TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            watches: broadcast::channel(16).0,
            cleared: watch::channel(0).0,
        });
        let end = CancellationToken::new();
        let wire = wire::Wire::new(upstream, pki, shared.clone());
        let ended = end.clone();
        let thread = std::thread::spawn(move || wire.serve(listener, &ended));
        Self { url: format!("https://127.0.0.1:{port}"), shared, end, thread: Some(thread) }
    }

    /// Returns where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Adds a rule. Where several fit, the one that was added first is followed.
    pub fn add(&self, rule: Rule) {
        self.shared.state().rules.push(rule);
    }

    /// Forgets all rules, and breaks the connections that hang.
    pub fn clear(&self) {
        self.shared.state().rules.clear();
        self.shared.cleared.send_modify(|times| *times += 1);
    }

    /// Breaks every watch that is open; returns how many there were.
    pub fn cut_watches(&self) -> usize {
        self.shared.watches.send(End::Cut).unwrap_or(0)
    }

    /// Ends every watch that is open with 410, as a server does that has forgotten; returns how many.
    pub fn expire_watches(&self) -> usize {
        self.shared.watches.send(End::Expired).unwrap_or(0)
    }

    /// Returns what arrived so far, in order.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state().seen.clone()
    }

    /// Returns what arrived of a method whose path or query contains `part`.
    #[must_use]
    pub fn seen_of(&self, method: &str, part: &str) -> Vec<Seen> {
        let mut seen = self.seen();
        seen.retain(|seen| seen.method == method && seen.target.contains(part));
        seen
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        self.end.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

// === impl Shared ===

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// Notes an arrival; returns its place in the log and the fault that it has.
    fn arrived(&self, seen: Seen) -> (usize, Option<Fault>) {
        let mut state = self.state();
        let fits = |rule: &&mut Rule| rule.fits(&seen.method, &seen.target);
        let fault = state.rules.iter_mut().find(fits).map(|rule| {
            rule.times = rule.times.map(|left| left - 1);
            rule.fault
        });
        state.seen.push(seen);
        (state.seen.len() - 1, fault)
    }

    fn answered(&self, place: usize, code: u16) {
        let seen = &mut self.state().seen[place];
        seen.code = Some(code);
        seen.answered = Some(Instant::now());
    }
}
