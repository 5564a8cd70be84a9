//! The rollout of a [`Stage`]: its file, and the engine's process that runs it.
//!
//! What the demo, the soak and the bench have in common; each says what differs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::stage::Stage;

/// `haldane run`, as a process that does not outlive its owner.
#[derive(Debug)]
pub struct Run(Child);

/// A check: at most 1 % of the requests fail.
#[must_use]
pub fn errors() -> Value {
    json!({"name": "errors", "errors": {"max": "1%", "metrics": "prometheus"}})
}

/// A check: 99 % of the requests take at most so long.
#[must_use]
pub fn latency(max: &str) -> Value {
    let latency = json!({"quantile": "0.99", "max": max, "metrics": "prometheus"});
    json!({"name": "p99", "latency": latency})
}

/// A check: the requests fail no more than those of the version that serves. At the traffic of a stage a
/// step is cleared in seconds.
#[must_use]
pub fn compared() -> Value {
    json!({"errors": {"metrics": "prometheus", "minStep": "3s", "margin": {"harm": "1%"}}})
}

/// Returns the file of a rollout: `blue` and `green`, the stage's HAProxy, its Prometheus, checks
/// every second. `more` is added to the spec: steps, a watch, a deadline.
#[must_use]
pub fn document(stage: &Stage, version: &str, checks: &[Value], more: &Value) -> String {
    let mut rollout = json!({
        "apiVersion": "haldane.dev/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "app"},
        "spec": {
            "sides": [
                {"name": "blue", "labels": {"side": "blue"}},
                {"name": "green", "labels": {"side": "green"}},
            ],
            "revision": version,
            "traffic": [{"name": "edge", "haproxy": stage.traffic()}],
            "analysis": {
                "sources": [{"name": "main", "prometheus": {"url": stage.prometheus_url()}}],
                "interval": "1s",
                "checks": checks,
            },
        },
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        rollout["spec"][name] = value.clone();
    }
    format!("{rollout:#}\n")
}

/// Writes the file into the stage's folder, and returns its path.
///
/// # Panics
/// Where the folder cannot be written.
#[must_use]
pub fn write(stage: &Stage, document: &str) -> PathBuf {
    let file = stage.folder().join("rollout.yaml");
    fs::write(&file, document).expect("a file in the folder");
    file
}

/// Returns where the engine keeps its state on a stage.
#[must_use]
pub fn state(stage: &Stage) -> PathBuf {
    stage.folder().join("state")
}

/// Says how a run ended, by its exit code; `None`: it did not end by itself.
#[must_use]
pub fn outcome(code: Option<i32>) -> String {
    match code {
        Some(0) => "promoted".to_owned(),
        Some(10) => "rolled back".to_owned(),
        Some(code) => format!("exit {code}"),
        None => "not ended".to_owned(),
    }
}

// === impl Run ===

impl Run {
    /// Runs a file. Its output goes to `log`; without one, to ours.
    ///
    /// # Panics
    /// Where the program was not built.
    #[must_use]
    pub fn start(haldane: &Path, stage: &Stage, file: &Path, log: Option<&Path>) -> Self {
        let mut command = Command::new(haldane);
        command.arg("run").arg(file).arg("--state").arg(state(stage));
        if let Some(log) = log {
            let log = fs::OpenOptions::new().create(true).append(true).open(log);
            let log = log.expect("a log in the folder");
            let errors = log.try_clone().expect("a second handle");
            command.stdin(Stdio::null()).stdout(log).stderr(errors);
        }
        let child = command.spawn();
        Self(child.unwrap_or_else(|error| panic!("{} must be built: {error}", haldane.display())))
    }

    /// Returns the exit code once the run has ended; `Some(None)`: by a signal.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        self.0.try_wait().ok().flatten().map(|status| status.code())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
