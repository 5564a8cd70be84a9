//! Two releases of a [`Shop`], told by what its users got: one that is promoted, and one that begins to fail.
//!
//! Asserts nothing: a suite does, and the demo prints.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::Value;

use super::{Seen, Shop, VERSIONS, requests_for};
use crate::{
    cluster::{Access, Request},
    process::wait_for,
};

/// The steps of the release that is promoted: each bakes for longer than its share takes to be counted.
const STEPS: [(u32, &str); 4] = [(10, "12s"), (25, "18s"), (50, "24s"), (100, "8s")];
/// Those of the release that fails at its second step.
const BAD_STEPS: [(u32, &str); 3] = [(10, "5s"), (25, "60s"), (100, "5s")];
/// Which part of the requests then fails.
const FAULT: &str = "error_rate=0.2";

/// How long a step or an end may be waited for.
const PATIENCE: Duration = Duration::from_secs(240);

/// How the engine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine<'a> {
    /// `haldane run` with a file, outside of the cluster: this program, for each release anew.
    Run(&'a Path),
    /// `haldane operator`, which is in charge of the namespace already, with the rollout in the cluster.
    Operator,
}

/// How a release ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The new version serves.
    Promoted,
    /// The old version serves.
    RolledBack,
    /// Neither, in words.
    Other(String),
}

/// A step as users saw it.
#[derive(Clone, Debug)]
pub struct Step {
    /// The share that was to be, in percent.
    pub wanted: u32,
    /// The share that users got.
    pub measured: f64,
    /// Of how many requests.
    pub requests: u64,
    /// How many of them failed.
    pub failed: usize,
    /// Whether the proxy still had the share at the end of the count.
    pub lasted: bool,
}

/// A release that went well.
#[derive(Clone, Debug)]
pub struct Promotion {
    /// Each step.
    pub steps: Vec<Step>,
    /// How it ended.
    pub outcome: Outcome,
    /// How many requests the steady load sent meanwhile.
    pub requests: usize,
    /// How many of them failed.
    pub failed: usize,
}

/// A release that was rolled back.
#[derive(Clone, Debug)]
pub struct Rollback {
    /// How it ended.
    pub outcome: Outcome,
    /// From the fault to the engine's PATCH, by the API server's own log.
    pub to_patch: Option<Duration>,
    /// From the fault until the proxy had no share of the side under test any more.
    pub to_zero: Option<Duration>,
    /// From the fault to the last answer of that side.
    pub to_last: Option<Duration>,
    /// How many requests the steady load sent from the fault on until then.
    pub requests: usize,
    /// How many requests failed because they were told to.
    pub injected: usize,
    /// How many failed besides, in the whole release.
    pub other: usize,
}

/// An engine at work on one release; ended when dropped.
#[derive(Debug)]
struct Release<'a> {
    shop: &'a Shop<'a>,
    admin: Access,
    /// The process of a run.
    child: Option<Child>,
    /// The attempts that the rollout in the cluster had before.
    attempts: u64,
}

// === impl Shop ===

impl Shop<'_> {
    /// Releases `web:v2` on green, and counts the split at each step.
    ///
    /// # Panics
    /// Where a step is not reached in four minutes.
    pub fn promote(&self, engine: Engine<'_>, tell: impl Fn(&str)) -> Promotion {
        let users = self.mesh.traffic(self.way.door(), 200);
        let mut release = Release::start(self, engine, ("green", "v2"), &STEPS);
        let mut steps = Vec::new();
        for (wanted, _) in STEPS {
            release.wait_for_share("green", wanted);
            let needed = requests_for(f64::from(wanted), 1.0);
            let counts = self.mesh.count(self.way.door(), needed);
            let step = Step {
                wanted,
                measured: counts.percent(VERSIONS[1]),
                requests: counts.total(),
                failed: counts.failures.len(),
                lasted: self.share("green") == Some(f64::from(wanted)),
            };
            let Step { measured, requests, failed, .. } = step;
            tell(&format!(
                "{wanted:>3} % wanted, {measured:6.2} % of {requests} requests, {failed} failed"
            ));
            steps.push(step);
        }
        let outcome = release.outcome();
        let seen = users.stop();
        let failed = seen.iter().filter(|one| !one.is_good()).count();
        Promotion { steps, outcome, requests: seen.len(), failed }
    }

    /// Releases `web:v3` on blue, while green serves, and lets it fail once it has 25 %.
    ///
    /// # Panics
    /// Where that share is not reached in four minutes.
    pub fn roll_back(&self, engine: Engine<'_>, tell: impl Fn(&str)) -> Rollback {
        let users = self.mesh.traffic(self.way.door(), 400);
        let mut release = Release::start(self, engine, ("blue", "v3"), &BAD_STEPS);
        release.wait_for_share("blue", 25);
        // The step is at work for a while.
        thread::sleep(Duration::from_secs(5));
        let (fault, at) = (Instant::now(), Timestamp::now());
        self.inject("blue", FAULT);
        tell("25 % reached; a fifth of the new version's answers fail from now on");
        let mut to_zero = None;
        let begin = Instant::now();
        while to_zero.is_none() && begin.elapsed() < Duration::from_secs(60) {
            if self.share("blue") == Some(0.0) {
                to_zero = Some(fault.elapsed());
            }
            thread::sleep(Duration::from_millis(10));
        }
        let outcome = release.outcome();
        thread::sleep(Duration::from_secs(1));
        self.inject("blue", "error_rate=0");
        let seen = users.stop();
        let last = seen.iter().filter(|one| one.is_by(VERSIONS[0])).map(|one| one.at).max();
        let bad = || seen.iter().filter(|one| !one.is_good());
        let is_injected = |one: &&Seen| one.answer.as_ref().is_ok_and(|answer| answer.injected);
        let injected = bad().filter(is_injected).count();
        Rollback {
            outcome,
            to_patch: self.patched_since(at),
            to_zero,
            to_last: last.map(|last| last.saturating_duration_since(fault)),
            requests: seen
                .iter()
                .filter(|one| one.began >= fault && Some(one.began) <= last)
                .count(),
            injected,
            other: bad().count() - injected,
        }
    }

    /// How long after a moment the API server was first sent a patch of the route.
    fn patched_since(&self, at: Timestamp) -> Option<Duration> {
        let route = format!("/namespaces/{}/{}/web", self.mesh.namespace(), self.way.plural());
        let patched = |request: &&Request| {
            request.verb == "patch" && request.uri.contains(&route) && request.at >= at
        };
        let requests = self.cluster.requests();
        let first = requests.iter().find(patched)?;
        Duration::try_from(first.at.duration_since(at)).ok()
    }
}

// === impl Release ===

impl<'a> Release<'a> {
    /// Puts an image on a side, and has it released.
    fn start(
        shop: &'a Shop<'a>,
        engine: Engine<'_>,
        (side, revision): (&str, &str),
        steps: &[(u32, &str)],
    ) -> Self {
        let admin = shop.cluster.admin().within(shop.mesh.namespace());
        let mut release = Self { shop, admin, child: None, attempts: 0 };
        let image = format!("web:{revision}");
        match engine {
            Engine::Run(haldane) => {
                shop.deploy(side, &image);
                let rollout = shop.rollout(Some(revision), steps).to_string();
                release.child = Some(run(shop, haldane, &release.admin, &rollout));
            }
            Engine::Operator => {
                let rollout = shop.rollout(None, steps).to_string();
                shop.cluster.apply(shop.mesh.namespace(), &rollout);
                wait_for("the engine has taken the rollout", PATIENCE, || rests(&release.status()));
                release.attempts = release.status()["attempt"].as_u64().unwrap_or(0);
                let first = side == "green";
                assert!(
                    !first || release.attempts == 0,
                    "nobody has deployed: {}",
                    release.words()
                );
                shop.deploy(side, &image);
            }
        }
        release
    }

    #[track_caller]
    fn wait_for_share(&mut self, side: &str, percent: u32) {
        let begin = Instant::now();
        while self.shop.share(side) != Some(f64::from(percent)) {
            let ended = self.ended();
            assert!(ended.is_none(), "{ended:?} before {percent} %: {}", self.words());
            assert!(begin.elapsed() < PATIENCE, "{percent} % is not reached: {}", self.words());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for the end.
    fn outcome(&mut self) -> Outcome {
        let begin = Instant::now();
        loop {
            match self.ended() {
                Some(outcome) => return outcome,
                None if begin.elapsed() > PATIENCE => {
                    return Outcome::Other(format!("not ended: {}", self.words()));
                }
                None => thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn ended(&mut self) -> Option<Outcome> {
        match &mut self.child {
            Some(child) => {
                let status = child.try_wait().ok().flatten()?;
                Some(match status.code() {
                    Some(0) => Outcome::Promoted,
                    Some(10) => Outcome::RolledBack,
                    _ => Outcome::Other(format!("{status}: {}", self.words())),
                })
            }
            None => ended(&self.status(), self.attempts),
        }
    }

    /// What the rollout in the cluster says of itself.
    fn status(&self) -> Value {
        let told = self.admin.try_kubectl(&["get", "rollouts.haldane.dev", "web", "-o=json"]);
        let rollout = told.ok().and_then(|told| serde_json::from_str::<Value>(&told).ok());
        rollout.map(|rollout| rollout["status"].clone()).unwrap_or_default()
    }

    /// What the engine said last.
    fn words(&self) -> String {
        match self.child {
            Some(_) => {
                fs::read_to_string(self.shop.folder().join("haldane.log")).unwrap_or_default()
            }
            None => {
                let mut status = self.status();
                if let Some(fields) = status.as_object_mut() {
                    // What the engine remembers is not for people.
                    fields.remove("record");
                }
                format!("{status:#}")
            }
        }
    }
}

impl Drop for Release<'_> {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn run(shop: &Shop<'_>, haldane: &Path, admin: &Access, rollout: &str) -> Child {
    let folder = shop.folder();
    let file = folder.join("rollout.yaml");
    fs::write(&file, rollout).expect("the folder can be written");
    let log = File::create(folder.join("haldane.log")).expect("the folder can be written");
    let errors = log.try_clone().expect("a second handle");
    let mut command = Command::new(haldane);
    command.arg("run").arg(file).arg("--state").arg(folder.join("state"));
    command.env("KUBECONFIG", admin.path()).stdin(Stdio::null()).stdout(log).stderr(errors);
    command.spawn().unwrap_or_else(|error| panic!("{} must be built: {error}", haldane.display()))
}

/// Whether a rollout knows which side serves, and waits for a new revision.
fn rests(status: &Value) -> bool {
    let rests = ["Healthy", "Degraded"].map(Value::from).contains(&status["phase"]);
    rests && status["serving"].is_string()
}

/// How a rollout says that it has ended, once it has made an attempt of its own.
fn ended(status: &Value, attempts: u64) -> Option<Outcome> {
    if status["attempt"].as_u64()? <= attempts {
        return None;
    }
    match status["phase"].as_str()? {
        "Healthy" => Some(Outcome::Promoted),
        "Degraded" => Some(Outcome::RolledBack),
        _ => None,
    }
}
