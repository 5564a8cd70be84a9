//! Drives the real binary, `target/debug/haldane`, before a [`Stage`] of its own.
//!
//! The binary is the one beside the test: `cargo build --workspace --bins` makes it. Every run ends
//! with its owner, and where a test fails everything it said is shown.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use haldane_model::{JournalEntry, Reason, RolloutId};
use haldane_standalone::Offline;
use serde_json::{Value, json};

use crate::{
    load::Load,
    process::{Server, wait_for},
    stage::Stage,
};

/// For how long a new process is left alone: no look reaches back to the one before it.
pub const SETTLE: Duration = Duration::from_secs(4);

/// How long a thing that takes a few seconds may take on a machine that is busy.
pub const SOON: Duration = Duration::from_secs(40);

/// Requests a second.
const LOAD: u64 = 240;

/// A stage with a load, a state directory, and a rollout file.
#[derive(Debug)]
pub struct Rig {
    /// The servers.
    pub stage: Stage,
    /// The users.
    pub load: Load,
    haldane: PathBuf,
}

/// One process of the binary.
#[derive(Debug)]
pub struct Run {
    child: Option<Child>,
    said: Arc<Mutex<Vec<(Instant, String)>>>,
    /// When it was started.
    pub started: Instant,
}

/// What a program that ended left.
#[derive(Debug)]
pub struct Done {
    /// The exit code; `None`: ended by a signal.
    pub code: Option<i32>,
    /// Standard output, then standard error.
    pub text: String,
}

/// Returns a program that was built beside this test.
///
/// # Panics
/// Where it was not built: a suite fails loudly, it is never skipped.
#[must_use]
pub fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.parent().and_then(Path::parent).expect("tests are two folders deep");
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing: run cargo build --workspace --bins", path.display());
    path
}

// === impl Rig ===

impl Rig {
    /// Starts a stage and a load, with `v1` serving on blue and `v2` ready on green.
    ///
    /// # Panics
    /// Where a program is not installed or not built.
    #[must_use]
    pub fn start() -> Self {
        let haldane = built("haldane");
        let mut stage = Stage::start(&built("demo"));
        stage.deploy("green", "v2");
        let load = Load::start(stage.port, LOAD);
        let rig = Self { stage, load, haldane };
        rig.settle();
        rig
    }

    /// Waits until what Prometheus has is about the processes that run now.
    pub fn settle(&self) {
        wait_for("prometheus has samples of both sides", SOON, || {
            self.stage.ask("count(rate(http_requests_total{code=\"200\"}[3s])) == 2").is_some()
        });
    }

    /// Returns the state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.stage.folder().join("state")
    }

    /// Returns a rollout of this revision: steps of these weights and bakes, and a short watch.
    #[must_use]
    pub fn rollout(&self, revision: &str, steps: &[(u32, &str)]) -> Value {
        let steps: Vec<_> =
            steps.iter().map(|(weight, bake)| json!({"weight": weight, "bake": bake})).collect();
        json!({
            "apiVersion": "haldane.dev/v1alpha1",
            "kind": "Rollout",
            "metadata": {"name": "app"},
            "spec": {
                "sides": [
                    {"name": "blue", "labels": {"side": "blue"}},
                    {"name": "green", "labels": {"side": "green"}},
                ],
                "revision": revision,
                "traffic": [{"name": "edge", "haproxy": self.stage.traffic()}],
                "steps": steps,
                "watch": "2s",
                "analysis": {
                    "sources": [{"name": "main", "prometheus": {"url": self.stage.prometheus_url()}}],
                    "interval": "1s",
                    "checks": [
                        {"name": "errors", "errors": {"max": "1%", "metrics": "prometheus"}},
                        {"name": "fault",
                         "query": {"promql": "max(app_fault{ {{ canary.labels }} })", "max": "0"}},
                    ],
                },
            },
        })
    }

    /// Writes a file into the stage's folder, as an editor does: in one piece.
    ///
    /// # Panics
    /// Where the folder is gone.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.stage.folder().join(name);
        fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a folder");
        let new = self.stage.folder().join("new.tmp");
        fs::write(&new, text).expect("a file in the folder");
        fs::rename(&new, &path).expect("a file takes its name");
        path
    }

    /// Writes the rollout file, and starts `haldane run` on it.
    #[must_use]
    pub fn run(&self, rollout: &Value, arguments: &[&str]) -> Run {
        let file = self.write("rollout.yaml", &format!("{rollout:#}\n"));
        self.run_again(&file, arguments)
    }

    /// Starts `haldane run` on a file that is there.
    #[must_use]
    pub fn run_again(&self, file: &Path, arguments: &[&str]) -> Run {
        let mut command = self.command();
        command.arg("run").arg(file).arg("--state").arg(self.state()).args(arguments);
        Run::start(command)
    }

    /// Returns a command of the binary, free of what the caller's environment says.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.haldane);
        for name in ["HALDANE_STATE", "HALDANE_SERVER", "HALDANE_SERVER_TOKEN_FILE", "RUST_LOG"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs a subcommand to its end.
    ///
    /// # Panics
    /// Where the binary cannot be started.
    #[must_use]
    pub fn haldane(&self, arguments: &[&str]) -> Done {
        let mut command = self.command();
        let output = command.args(arguments).arg("--state").arg(self.state()).output();
        let output = output.expect("the binary starts");
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Done { code: output.status.code(), text }
    }

    /// Returns the picture of a rollout, as `haldane status -o json` shows it.
    #[must_use]
    pub fn status(&self, name: &str) -> Value {
        let told = self.haldane(&["status", name, "-o", "json"]);
        serde_json::from_str(&told.text).unwrap_or(Value::Null)
    }

    /// Returns the journal of a rollout as it is on the disk; empty before there is one.
    #[must_use]
    pub fn journal_of(&self, name: &str) -> Vec<JournalEntry> {
        let offline = Offline::open(&self.state());
        let id = RolloutId::new("default", name);
        let journal = offline.and_then(|offline| offline.journal(&id, 0, 1_000));
        journal.map(|journal| journal.entries).unwrap_or_default()
    }

    /// Returns the journal of the stage's own rollout.
    #[must_use]
    pub fn journal(&self) -> Vec<JournalEntry> {
        self.journal_of("app")
    }

    /// Returns how often a reason stands in the journal.
    #[must_use]
    pub fn count(&self, reason: Reason) -> usize {
        self.journal().iter().filter(|entry| entry.reason == reason).count()
    }

    /// Waits until a reason stands in the journal so often.
    #[track_caller]
    pub fn wait_for_reason(&self, reason: Reason, times: usize) {
        self.wait_for(&format!("{reason:?} for time {times}"), SOON, || {
            self.count(reason) >= times
        });
    }

    /// Waits until green's share is this, in basis points.
    #[track_caller]
    pub fn wait_for_share(&self, share: u32) {
        self.wait_for(&format!("a share of {share}"), SOON, || {
            self.stage.green_share() == Some(share)
        });
    }

    /// Waits, and shows the journal where it was in vain.
    ///
    /// # Panics
    /// After `patience`, naming `what`.
    #[track_caller]
    pub fn wait_for(&self, what: &str, patience: Duration, mut ready: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !ready() {
            let waited = begin.elapsed();
            assert!(waited < patience, "{what}: not within {patience:?}\n{}", self.story());
            thread::sleep(Duration::from_millis(30));
        }
    }

    /// Holds for a while that something stays so.
    ///
    /// # Panics
    /// At the first moment in which it is not.
    #[track_caller]
    pub fn holds(&self, what: &str, span: Duration, mut so: impl FnMut() -> bool) {
        let begin = Instant::now();
        while begin.elapsed() < span {
            assert!(so(), "{what}: not any more after {:?}\n{}", begin.elapsed(), self.story());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Tells the journal, for people.
    #[must_use]
    pub fn story(&self) -> String {
        let mut text = String::new();
        for entry in self.journal() {
            let _ = writeln!(text, "  {}", haldane_runtime::explain::line(&entry));
        }
        text
    }

    /// Asserts that a run ended so, and shows the journal where it did not.
    ///
    /// # Panics
    /// Where it ended otherwise, or not in a minute.
    #[track_caller]
    pub fn ends(&self, run: &mut Run, code: i32) {
        let ended = run.wait(Duration::from_secs(60));
        assert_eq!(ended, Some(code), "the exit code\n{}{}", run.text(), self.story());
    }
}

// === impl Run ===

impl Run {
    /// Starts a command, and keeps what it says.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        let started = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let said = Arc::<Mutex<Vec<(Instant, String)>>>::default();
        listen(child.stdout.take().expect("a pipe"), said.clone());
        listen(child.stderr.take().expect("a pipe"), said.clone());
        Self { child: Some(child), said, started }
    }

    /// Returns the process id.
    ///
    /// # Panics
    /// Once it has ended.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Sends a signal by name.
    ///
    /// # Panics
    /// Where `kill` cannot be run, or the process has ended.
    pub fn signal(&self, name: &str) {
        let id = self.id().to_string();
        Command::new("kill").args([&format!("-{name}"), &id]).status().expect("kill");
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Waits for its end. Returns the exit code.
    ///
    /// # Panics
    /// Where it does not end in time.
    #[track_caller]
    pub fn wait(&mut self, patience: Duration) -> Option<i32> {
        let begin = Instant::now();
        loop {
            if let Some(code) = self.ended() {
                // What it said last is on its way through the pipes.
                thread::sleep(Duration::from_millis(50));
                return code;
            }
            assert!(begin.elapsed() < patience, "no end within {patience:?}\n{}", self.text());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the exit code once it has ended; `Some(None)`: by a signal.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(status.code())
    }

    /// Returns all that it said.
    ///
    /// # Panics
    /// Where a listener panicked.
    #[must_use]
    pub fn text(&self) -> String {
        let said = self.said.lock().expect("no holder panics");
        said.iter().map(|(_, line)| format!("{line}\n")).collect()
    }

    /// Returns when a line that holds these words was said first.
    ///
    /// # Panics
    /// Where a listener panicked.
    #[must_use]
    pub fn said(&self, words: &str) -> Option<Instant> {
        let said = self.said.lock().expect("no holder panics");
        said.iter().find(|(_, line)| line.contains(words)).map(|(at, _)| *at)
    }

    /// Returns the last line that it said.
    #[must_use]
    pub fn last_line(&self) -> String {
        self.text().lines().last().unwrap_or_default().to_owned()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            #[allow(clippy::print_stderr, reason = "a failed test shows what it saw")]
            {
                eprintln!("--- the run said:\n{}", self.text());
            }
        }
    }
}

fn listen(pipe: impl Read + Send + 'static, said: Arc<Mutex<Vec<(Instant, String)>>>) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            said.lock().expect("no holder panics").push((Instant::now(), line));
        }
    });
}

/// Answers everything on a loopback port with a page for people, as a captive portal does, for as
/// long as it is held.
#[must_use]
pub fn portal(port: u16, folder: &Path) -> Server {
    let demo = built("demo").display().to_string();
    let page = "<html><body>please log in</body></html>";
    let server =
        Server::start(&demo, &["app", &port.to_string(), page], &folder.join("portal.log"));
    wait_for("the page is served", SOON, || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    server
}
