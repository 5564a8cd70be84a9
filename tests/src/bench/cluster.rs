//! What the operator costs an API server, and how soon it acts, with many rollouts; and how soon another one takes over.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{host, spread::Spread};
use crate::{
    cluster::{Access, Cluster, Foreign, Options, Request},
    operator::{Operator, Start},
    process::wait_for,
    prometheus::{Page, Prometheus, Target},
};

/// How many namespaces the rollouts are spread over.
const NAMESPACES: usize = 10;
/// How long nothing happens while calls are counted.
const IDLE: Duration = Duration::from_secs(60);
/// How long it may take until all rollouts rest.
const PATIENCE: Duration = Duration::from_secs(900);
/// Who the operator is to the API server.
const ENGINE: &str = "engine";

/// What was measured.
#[derive(Clone, Debug)]
pub struct ClusterCost {
    rollouts: usize,
    taken_up: Duration,
    idle_calls: usize,
    idle_lease_calls: usize,
    processor: f64,
    resident: u64,
    releasing: f64,
    reactions: Vec<f64>,
    takeovers: Vec<f64>,
    handovers: Vec<f64>,
}

/// The stage: a cluster of its own, and metrics that the bench says.
struct Stage {
    cluster: Cluster,
    prometheus: Prometheus,
    badness: Arc<AtomicU64>,
    _page: Page,
    namespaces: Vec<String>,
    engine: Access,
}

/// Measures with so many rollouts, so many breaches and so many take-overs.
///
/// # Panics
/// Where a server cannot be started, or nothing comes of what was asked.
#[must_use]
pub fn measure(haldane: &Path, rollouts: usize, breaches: usize, takeovers: usize) -> ClusterCost {
    let stage = Stage::start();
    stage.fill(rollouts);
    let begin = Instant::now();
    let mut leader = stage.start_operator(haldane, "engine-0");
    wait_for("all rollouts rest", PATIENCE, || {
        // A list of all of them is work for the API server, too.
        thread::sleep(Duration::from_secs(2));
        stage.resting() == rollouts
    });
    let taken_up = begin.elapsed();
    thread::sleep(Duration::from_secs(30));
    let (from, before) = (Timestamp::now(), processor_time(leader.id()));
    thread::sleep(IDLE);
    let processor = (processor_time(leader.id()) - before).as_secs_f64() / IDLE.as_secs_f64();
    let idle: Vec<Request> = stage.asked_since(from);
    let leases = idle.iter().filter(|request| request.uri.contains("/leases/")).count();
    for request in idle.iter().filter(|request| !request.uri.contains("/leases/")) {
        eprintln!("asked while idle: {} {}", request.verb, request.uri);
    }
    let resident = resident(leader.id());
    let (begin, before) = (Instant::now(), processor_time(leader.id()));
    let reactions = (0..breaches).map(|trial| stage.breach(trial)).collect();
    let used = (processor_time(leader.id()) - before).as_secs_f64();
    let releasing = used / begin.elapsed().as_secs_f64();
    let (mut takeovers_after_kill, mut handovers) = (Vec::new(), Vec::new());
    for trial in 0..2 * takeovers {
        let next = stage.start_operator(haldane, &format!("engine-{}", trial + 1));
        wait_for("the standby is ready", PATIENCE, || next.ask("/ready").is_some());
        thread::sleep(Duration::from_secs(3));
        let (is_kill, begin) = (trial % 2 == 0, Instant::now());
        if is_kill {
            leader.kill();
        } else {
            leader.signal("TERM");
        }
        wait_for("it leads", PATIENCE, || {
            next.ask("/metrics").is_some_and(|text| text.contains("haldane_leader 1"))
        });
        let times = if is_kill { &mut takeovers_after_kill } else { &mut handovers };
        times.push(begin.elapsed().as_secs_f64());
        leader = next;
    }
    ClusterCost {
        rollouts,
        taken_up,
        idle_calls: idle.len(),
        idle_lease_calls: leases,
        processor,
        resident,
        releasing,
        reactions,
        takeovers: takeovers_after_kill,
        handovers,
    }
}

// === impl Stage ===

impl Stage {
    fn start() -> Self {
        let cluster = Cluster::start(Options { controllers: false, audit: true });
        cluster.install(Foreign::Istio);
        let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
        cluster.install_crds(&crds);
        let badness = Arc::new(AtomicU64::new(0));
        let shown = badness.clone();
        let page = Page::serve(move || {
            format!("# TYPE badness gauge\nbadness {}\n", shown.load(Ordering::SeqCst))
        });
        let prometheus = Prometheus::start(&[Target::new("app", page.address(), &[])]);
        let namespaces: Vec<String> = (0..NAMESPACES).map(|_| cluster.namespace("many")).collect();
        let engine = cluster.account(&namespaces[0], ENGINE);
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "engine"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": ENGINE, "namespace": namespaces[0]}]});
        cluster.apply(&namespaces[0], &binding.to_string());
        Self { cluster, prometheus, badness, _page: page, namespaces, engine }
    }

    fn fill(&self, rollouts: usize) {
        for (at, namespace) in self.namespaces.iter().enumerate() {
            let mut documents = String::new();
            for number in (at..rollouts).step_by(NAMESPACES) {
                let name = format!("app-{number}");
                for side in ["blue", "green"] {
                    let service = json!({"apiVersion": "v1", "kind": "Service",
                        "metadata": {"name": format!("{name}-{side}")},
                        "spec": {"clusterIP": "None", "ports": [{"port": 80}]}});
                    let _ = writeln!(documents, "---\n{service}");
                }
                let _ = writeln!(documents, "---\n{}\n---\n{}", route(&name), self.rollout(&name));
            }
            if !documents.is_empty() {
                self.cluster.apply(namespace, &documents);
            }
        }
    }

    /// One that promotes its first revision at once, and rests then.
    fn rollout(&self, name: &str) -> Value {
        let host = |side: &str| json!({"host": format!("{name}-{side}")});
        json!({"apiVersion": "haldane.dev/v1alpha1", "kind": "Rollout", "metadata": {"name": name}, "spec": {
            "sides": [{"name": "blue", "labels": {"side": "blue"}}, {"name": "green", "labels": {"side": "green"}}],
            "revision": "1",
            "traffic": [{"name": "mesh", "istio": {"virtualService": {"name": name},
                "destinations": {"blue": host("blue"), "green": host("green")}}}],
            "steps": [{"weight": 100, "bake": "1s"}],
            "watch": "0s",
            "analysis": {"interval": "1s",
                "sources": [{"name": "main", "prometheus": {"url": self.prometheus.url}}],
                "checks": [{"name": "badness", "query": {"promql": "badness", "max": "1"}}]}}})
    }

    fn start_operator(&self, haldane: &Path, identity: &str) -> Operator {
        let start = Start {
            access: self.engine.clone(),
            namespaces: Vec::new(),
            lease_namespace: self.namespaces[0].clone(),
            identity: identity.to_owned(),
            program: Some(haldane.to_owned()),
        };
        start.start()
    }

    fn resting(&self) -> usize {
        let told = self.cluster.admin().try_kubectl(&[
            "get",
            "hro",
            "-A",
            "-o=jsonpath={.items[*].status.phase}",
        ]);
        told.unwrap_or_default().split_whitespace().filter(|phase| *phase == "Healthy").count()
    }

    fn asked_since(&self, from: Timestamp) -> Vec<Request> {
        let user = format!("system:serviceaccount:{}:{ENGINE}", self.namespaces[0]);
        let mut requests = self.cluster.requests_of(&user);
        requests.retain(|request| request.at >= from);
        requests
    }

    /// Releases one of them, lets it be bad, and returns the seconds until its route is written.
    fn breach(&self, trial: usize) -> f64 {
        let (namespace, name) = (&self.namespaces[trial % NAMESPACES], format!("app-{trial}"));
        let admin = self.cluster.admin().within(namespace);
        let steps = json!([{"weight": 25, "bake": "30m"}, {"weight": 100, "bake": "5m"}]);
        let revision = json!({"spec": {"revision": "2", "steps": steps}}).to_string();
        admin.kubectl(&["patch", "hro", &name, "--type=merge", "-p", &revision]);
        let phase = |phase: &str| {
            let told = admin.try_kubectl(&["get", "hro", &name, "-o=jsonpath={.status.phase}"]);
            told.is_ok_and(|told| told == phase)
        };
        wait_for("it bakes", PATIENCE, || phase("Baking"));
        thread::sleep(Duration::from_secs(5));
        let from = Timestamp::now();
        self.badness.store(9, Ordering::SeqCst);
        wait_for("it is back", PATIENCE, || phase("Degraded"));
        self.badness.store(0, Ordering::SeqCst);
        let path = format!("/virtualservices/{name}");
        let asked = self.asked_since(from);
        let write =
            asked.iter().find(|request| request.verb == "patch" && request.uri.contains(&path));
        let at = write.expect("its route was written").at;
        at.duration_since(from).as_secs_f64()
    }
}

fn route(name: &str) -> Value {
    let to = |side: &str, weight: u64| json!({"destination": {"host": format!("{name}-{side}")}, "weight": weight});
    json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": name},
        "spec": {"hosts": [name], "http": [{"route": [to("blue", 100), to("green", 0)]}]}})
}

// === impl ClusterCost ===

impl ClusterCost {
    /// Writes what was measured as a page.
    #[must_use]
    pub fn page(&self) -> String {
        let mut out = String::from(
            "# What the operator costs, measured\n\n`bench cluster` measures and writes this page.",
        );
        let date = Timestamp::now().strftime("%Y-%m-%d");
        let _ = writeln!(out, " {date}.\n");
        for (name, value) in host::describe() {
            let _ = writeln!(out, "- {name}: {value}");
        }
        let _ = writeln!(
            out,
            "\nA real API server on the same machine, {} rollouts in {NAMESPACES} namespaces, each with a \
            VirtualService of its own.\n\n| figure | measured |\n|---|--:|",
            self.rollouts
        );
        let calls = |calls: usize| calls as f64 / IDLE.as_secs_f64();
        let rows = [
            (
                "from the start until all rest".to_owned(),
                format!("{:.1} s", self.taken_up.as_secs_f64()),
            ),
            (
                "calls a second while nothing happens, of which the lease".to_owned(),
                format!("{:.3}, {:.3}", calls(self.idle_calls), calls(self.idle_lease_calls)),
            ),
            (
                "one core while nothing happens".to_owned(),
                format!("{:.2} %", self.processor * 100.0),
            ),
            (
                "one core while releases of some go bad, one after another".to_owned(),
                format!("{:.2} %", self.releasing * 100.0),
            ),
            ("memory".to_owned(), format!("{} MB", self.resident / 1_000_000)),
            (
                format!("a bad metric → PATCH of the route, {} trials", self.reactions.len()),
                told(&self.reactions),
            ),
            (
                format!("leader killed → another one leads, {} trials", self.takeovers.len()),
                told(&self.takeovers),
            ),
            (
                format!("leader asked to end → another one leads, {} trials", self.handovers.len()),
                told(&self.handovers),
            ),
        ];
        for (figure, measured) in rows {
            let _ = writeln!(out, "| {figure} | {measured} |");
        }
        out
    }
}

/// The least, the median and the most.
fn told(seconds: &[f64]) -> String {
    if seconds.is_empty() {
        return "-".to_owned();
    }
    let spread = Spread::of(seconds.to_vec());
    format!("{:.2} / {:.2} / {:.2} s", spread.quantile(0.0), spread.median(), spread.quantile(1.0))
}

/// How much processor time another process has had.
fn processor_time(id: u32) -> Duration {
    let told = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let after = told.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks = after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u32>().ok());
    Duration::from_millis(10) * ticks.sum::<u32>()
}

/// How much memory another process holds.
fn resident(id: u32) -> u64 {
    let told = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = told.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kilobytes = line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1_024
}
