//! The real operator on the real API server, and a shop for it to release in.
//!
//! A shop is a namespace with two Deployments under the real controllers, a VirtualService between them, and a real
//! Prometheus that scrapes what the test says.

mod guest;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    cluster::{Access, Cluster, Foreign, Kubelet, program, shared},
    process::{Server, free_port},
    prometheus::{Page, Prometheus, Target},
    rig::built,
};

/// How long a thing that takes a few seconds may take on a machine that is busy.
pub const SOON: Duration = Duration::from_secs(60);

/// Names a kubeconfig whose cluster is used instead of one of the suite's own: `make test-cluster`.
const GIVEN: &str = "HALDANE_TEST_KUBECONFIG";

/// Returns the cluster of a suite, with every kind that the operator needs: one of its own, or the one that somebody gave.
///
/// # Panics
/// Where the one that was given cannot be used.
pub fn cluster() -> &'static Cluster {
    static READY: OnceLock<Option<Cluster>> = OnceLock::new();
    let given = READY.get_or_init(|| {
        let given = std::env::var_os(GIVEN).filter(|path| !path.is_empty());
        if let Some(path) = given {
            let cluster = Cluster::given(Path::new(&path));
            guest::prepare(&cluster);
            return Some(cluster);
        }
        let cluster = shared();
        cluster.install(Foreign::Istio);
        cluster.install(Foreign::GatewayApi);
        cluster.install_crds(&deploy("crds"));
        for one in rights() {
            cluster.apply(HOME, &one.to_string());
        }
        None
    });
    given.as_ref().unwrap_or_else(|| shared())
}

/// Where the engine's account lies, as shipped.
pub const HOME: &str = "haldane-system";

fn deploy(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

/// Returns what `kubectl apply -k` would apply of a folder that ships.
///
/// # Panics
/// Where it cannot be rendered.
#[must_use]
pub fn rendered(folder: &str) -> Vec<Value> {
    let path = deploy("kustomize").join(folder);
    // Nothing is asked of a cluster.
    let told = Command::new(program("kubectl")).arg("kustomize").arg(&path).output();
    let told = told.expect("kubectl runs");
    let text = String::from_utf8_lossy(&told.stdout);
    let complaint = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "kubectl kustomize {}: {complaint}", path.display());
    let parts = text.split("\n---\n").filter(|part| !part.trim().is_empty());
    parts.map(|part| serde_saphyr::from_str(part).expect("kubectl writes YAML")).collect()
}

/// What gives the engine's account the rights that ship: nobody's operator is an administrator.
fn rights() -> impl Iterator<Item = Value> {
    let is_right = |one: &Value| {
        let kinds = ["Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding"];
        kinds.iter().any(|kind| one["kind"] == **kind)
    };
    let shipped = rendered("cluster/engine").into_iter().filter(is_right);
    // Secrets are off as shipped: their role is there to be bound.
    let secrets = rendered("secrets").into_iter().filter(|one| one["kind"] == "ClusterRole");
    shipped.chain(secrets)
}

/// Gives the engine its right to the Lease, in this namespace as it is shipped for its own.
fn give_lease(namespace: &str) {
    static SHIPPED: OnceLock<Vec<Value>> = OnceLock::new();
    let is_lease = |one: &Value| one["metadata"]["name"] == "haldane-lease";
    let shipped =
        SHIPPED.get_or_init(|| rendered("cluster/engine").into_iter().filter(is_lease).collect());
    assert_eq!(shipped.len(), 2, "a Role and who has it");
    let here = shipped.iter().map(|one| {
        let mut one = one.clone();
        one["metadata"]["namespace"] = namespace.into();
        one.to_string()
    });
    cluster().apply(namespace, &here.collect::<Vec<_>>().join("\n---\n"));
}

/// Lets the engine read the Secrets of a namespace, as the page for administrators says.
pub fn let_secrets_be_read(namespace: &str) {
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "haldane-secrets"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "haldane-engine-secrets"},
        "subjects": [{"kind": "ServiceAccount", "name": "haldane", "namespace": HOME}]});
    cluster().apply(namespace, &binding.to_string());
}

/// Returns under which name a person of a test makes requests: the one that a policy of a cluster would ask for, where
/// the cluster was given.
#[must_use]
pub fn known_as(person: &str) -> String {
    if cluster().is_given() { guest::whoami(cluster()) } else { person.to_owned() }
}

/// One process of the operator; ended when dropped.
#[derive(Debug)]
pub struct Operator {
    process: Server,
    folder: TempDir,
    /// Where it serves `/live`, `/ready` and `/metrics`.
    pub port: u16,
}

/// How an operator is started.
#[derive(Clone, Debug)]
pub struct Start {
    /// Who it is to the API server.
    pub access: Access,
    /// The namespaces that it looks at; none: all.
    pub namespaces: Vec<String>,
    /// Where its Lease lies.
    pub lease_namespace: String,
    /// Who it is to other operators.
    pub identity: String,
    /// The program; the one that was built beside the test where nothing else is said.
    pub program: Option<PathBuf>,
}

/// A namespace with everything that a rollout needs.
#[derive(Debug)]
pub struct Shop {
    /// The namespace.
    pub namespace: String,
    _kubelet: Kubelet,
    prometheus: Option<Prometheus>,
    prometheus_url: String,
    badness: Arc<AtomicU64>,
    _page: Page,
}

// === impl Start ===

impl Start {
    /// One that looks at one namespace alone, as the account that ships and with its rights.
    #[must_use]
    pub fn within(namespace: &str) -> Self {
        give_lease(namespace);
        Self {
            access: cluster().account(HOME, "haldane"),
            namespaces: vec![namespace.to_owned()],
            lease_namespace: namespace.to_owned(),
            identity: "one".to_owned(),
            program: None,
        }
    }

    /// The same as somebody else.
    #[must_use]
    pub fn named(self, identity: &str) -> Self {
        Self { identity: identity.to_owned(), ..self }
    }

    /// The same with the rights, or at the address, of another access.
    #[must_use]
    pub fn with(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// Starts it.
    ///
    /// # Panics
    /// Where the program is not built.
    #[must_use]
    pub fn start(&self) -> Operator {
        let folder = TempDir::new().expect("a folder");
        let port = free_port();
        let mut arguments = vec![
            "operator".to_owned(),
            format!("--kubeconfig={}", self.access.path().display()),
            format!("--lease-namespace={}", self.lease_namespace),
            format!("--identity={}", self.identity),
            format!("--listen=127.0.0.1:{port}"),
            "--verified-requesters".to_owned(),
        ];
        arguments.extend(self.namespaces.iter().map(|name| format!("--namespace={name}")));
        let program = self.program.clone().unwrap_or_else(|| built("haldane"));
        let program = program.to_str().expect("the path is text");
        let log = folder.path().join("operator.log");
        Operator { process: Server::start(program, &arguments, &log), folder, port }
    }
}

// === impl Operator ===

impl Operator {
    /// Returns what it said.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("operator.log")).unwrap_or_default()
    }

    /// Returns the process's id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) {
        self.process.stop();
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Asks its own port for a page; the body where it says 200.
    #[must_use]
    pub fn ask(&self, path: &str) -> Option<String> {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the operator said:\n{}", self.log());
        }
        self.process.kill();
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        if cluster().is_given() {
            guest::remove(cluster(), &self.namespace);
        }
    }
}

// === impl Shop ===

impl Shop {
    /// Opens one, with `v1` on both sides and all traffic on blue.
    #[must_use]
    pub fn open(name: &str) -> Self {
        let namespace = cluster().namespace(name);
        let kubelet = Kubelet::start(cluster().admin(), &namespace);
        let badness = Arc::new(AtomicU64::new(0));
        let shown = badness.clone();
        let page = Page::serve(move || {
            format!("# TYPE badness gauge\nbadness {}\n", shown.load(Ordering::SeqCst))
        });
        let prometheus = Prometheus::start(&[Target::new("app", page.address(), &[])]);
        let prometheus_url = prometheus.url.clone();
        let shop = Self {
            namespace,
            _kubelet: kubelet,
            prometheus: Some(prometheus),
            prometheus_url,
            badness,
            _page: page,
        };
        for side in ["blue", "green"] {
            shop.apply(&shop.deployment(side, "v1"));
            shop.apply(&json!({"apiVersion": "v1", "kind": "Service",
                "metadata": {"name": format!("checkout-{side}")},
                "spec": {"selector": {"side": side}, "ports": [{"port": 80}]}}));
        }
        shop.apply(&shop.virtual_service());
        shop
    }

    /// Returns what runs a side.
    #[must_use]
    pub fn deployment(&self, side: &str, version: &str) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": format!("checkout-{side}")},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"side": side}}, "template": {
                "metadata": {"labels": {"side": side}},
                // Nobody chooses a node for them: no kubelet but ours says a word, and no image is pulled.
                "spec": {"schedulerName": "nobody", "terminationGracePeriodSeconds": 0,
                    "containers": [{"name": "app", "image": format!("checkout:{version}")}]}}}})
    }

    /// Returns the route of the shop, all of it on blue.
    #[must_use]
    pub fn virtual_service(&self) -> Value {
        let route = |side: &str, weight: u64| json!({"destination": {"host": format!("checkout-{side}")}, "weight": weight});
        json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": "checkout", "labels": {"team": "shop"}},
            "spec": {"hosts": ["checkout"], "http": [
                {"name": "testers", "match": [{"headers": {"x-canary": {"exact": "1"}}}],
                    "route": [{"destination": {"host": "checkout-green"}}]},
                {"name": "primary", "retries": {"attempts": 2, "perTryTimeout": "2s"},
                    "route": [route("blue", 100), route("green", 0)]}]}})
    }

    /// Returns the rollout of the shop; `more` is laid over its spec.
    #[must_use]
    pub fn rollout(&self, more: Value) -> Value {
        let side = |side: &str| {
            json!({"name": side, "labels": {"side": side},
                "workload": {"deployment": format!("checkout-{side}")}})
        };
        let mut spec = json!({
            "sides": [side("blue"), side("green")],
            "traffic": [{"name": "mesh", "istio": {
                "virtualService": {"name": "checkout", "routes": ["primary"]},
                "destinations": {"blue": {"host": "checkout-blue"}, "green": {"host": "checkout-green"}}}}],
            "steps": [{"weight": 25, "bake": "4s"}, {"weight": 100, "bake": "4s"}],
            "watch": "4s",
            "analysis": {
                "interval": "1s",
                "sources": [{"name": "main", "prometheus": {"url": self.prometheus_url}}],
                "checks": [{"name": "badness", "query": {"promql": "badness", "max": "1"}}]},
        });
        if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
            spec.extend(more);
        }
        json!({"apiVersion": "haldane.dev/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "checkout"}, "spec": spec})
    }

    /// Returns where Prometheus listens: `http://127.0.0.1:port`.
    #[must_use]
    pub fn prometheus_url(&self) -> &str {
        &self.prometheus_url
    }

    /// Applies a document in the namespace.
    pub fn apply(&self, document: &Value) {
        cluster().apply(&self.namespace, &document.to_string());
    }

    /// Runs kubectl in the namespace, as the administrator.
    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        cluster().admin().within(&self.namespace).kubectl(arguments)
    }

    /// Reads an object.
    #[track_caller]
    pub fn get(&self, kind: &str, name: &str) -> Value {
        let text = self.kubectl(&["get", kind, name, "-o=json"]);
        serde_json::from_str(&text).expect("kubectl writes JSON")
    }

    /// Returns the status of the rollout; null where there is none.
    #[must_use]
    pub fn status(&self) -> Value {
        let told = cluster()
            .admin()
            .within(&self.namespace)
            .try_kubectl(&["get", "hro", "checkout", "-o=json"]);
        let told = told.ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
        told.map(|rollout| rollout["status"].clone()).unwrap_or_default()
    }

    /// Returns the share of green that the VirtualService says.
    #[must_use]
    pub fn share(&self) -> u64 {
        let route = self.get("virtualservices", "checkout");
        route["spec"]["http"][1]["route"][1]["weight"].as_u64().unwrap_or(0)
    }

    /// Deploys a version on a side.
    pub fn deploy(&self, side: &str, version: &str) {
        let image = format!("app=checkout:{version}");
        self.kubectl(&["set", "image", &format!("deployment/checkout-{side}"), &image]);
    }

    /// Says how bad the release is; above 1 is a breach.
    pub fn set_badness(&self, badness: u64) {
        self.badness.store(badness, Ordering::SeqCst);
    }

    /// Ends Prometheus as a crash does.
    pub fn kill_prometheus(&mut self) {
        self.prometheus = None;
    }

    /// Waits until the rollout's status is as it must be, and returns it.
    ///
    /// # Panics
    /// Where that takes too long, with the status as it is.
    #[track_caller]
    pub fn wait(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let status = self.status();
            if holds(&status) {
                return status;
            }
            if begin.elapsed() > SOON {
                let mut status = status;
                status["record"] = Value::Null;
                panic!("{what}: not within {SOON:?}; it is\n{status:#}");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Waits until the rollout rests, with all traffic on a side.
    #[track_caller]
    pub fn wait_healthy(&self, serving: &str) -> Value {
        self.wait(&format!("Healthy on {serving}"), |status| {
            status["phase"] == "Healthy" && status["serving"] == serving
        })
    }
}
