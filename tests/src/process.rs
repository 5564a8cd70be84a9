//! Child processes that cannot outlive their test, and ports that nobody else has.
//!
//! Ends only what it started, by its id.

use std::{
    ffi::OsStr,
    fs::File,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Below the range of outgoing connections.
const PORTS: (u16, u16) = (18_000, 32_000);

/// A server of a test; stopped when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
}

/// Returns a loopback port that was free a moment ago, and that this process was not given before.
///
/// It lies below the ports that the system hands out for outgoing connections: a load that opens
/// many of them cannot take it before the server does.
///
/// # Panics
/// Where the machine has no free port.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() * 61 % u32::from(PORTS.1 - PORTS.0)).unwrap_or(0);
    for _ in PORTS.0..PORTS.1 {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.0 + begin.wrapping_add(next) % (PORTS.1 - PORTS.0);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no loopback port between {} and {} is free", PORTS.0, PORTS.1);
}

/// Polls until `ready` answers true.
///
/// # Panics
/// After `patience`, naming `what`.
#[track_caller]
pub fn wait_for(what: &str, patience: Duration, mut ready: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !ready() {
        assert!(begin.elapsed() < patience, "{what}: not within {patience:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

// === impl Server ===

impl Server {
    /// Starts a program with its output in `log`.
    ///
    /// # Panics
    /// Where the program is not installed: a suite fails loudly, it is never skipped.
    #[track_caller]
    pub fn start<S: AsRef<OsStr>>(program: &str, arguments: &[S], log: &Path) -> Self {
        let log = File::create(log).expect("a log file");
        let errors = log.try_clone().expect("a second handle");
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("{program} must be installed (make setup): {error}"));
        Self { child }
    }

    /// Returns the process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, such as `TERM`, `STOP` or `CONT`.
    ///
    /// # Panics
    /// Where `kill` cannot be run.
    pub fn signal(&self, name: &str) {
        let id = self.id().to_string();
        Command::new("kill").args([&format!("-{name}"), &id]).status().expect("kill");
        if name == "STOP" {
            // The signal stops a thread after another; what they do until then still counts.
            wait_for("the process stands still", Duration::from_secs(5), || is_stopped(&id));
        }
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end, and ends it after five seconds.
    pub fn stop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        self.signal("CONT");
        self.signal("TERM");
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(5) {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.kill();
    }

    /// Returns whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }
}

/// Whether every thread of a process is stopped.
fn is_stopped(id: &str) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    tasks.map(|task| std::fs::read_to_string(task.path().join("stat"))).all(|stat| {
        stat.is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
    })
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
