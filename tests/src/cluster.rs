//! A real Kubernetes API server of a test: etcd, kube-apiserver, and the controllers of workloads.
//!
//! On loopback and free ports, ready after some five seconds; ended and removed with the test, whatever
//! becomes of it. A test binary starts one ([`shared`]) and gives each test a namespace of its own; a test
//! that needs the server to itself starts another beside it, on the same etcd. Nodes do not exist: nobody
//! schedules pods, and [`Kubelet`] plays the one who runs them.
//!
//! Every function may be called from a test with or without a runtime; [`Access::client`] alone needs one.

mod access;
mod assets;
mod audit;
pub(crate) mod blocking;
mod faults;
mod kubelet;
mod objects;
mod pki;
mod servers;
pub(crate) mod ward;

pub use access::Access;
pub(crate) use assets::cache;
pub use assets::{Foreign, crds, program, version};
pub use audit::Request;
pub use faults::{Fault, Faults, Rule, Seen};
pub use kubelet::Kubelet;

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    thread,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use rand::{RngExt as _, distr::Alphanumeric};

use self::{
    blocking::blocking_with,
    pki::Pki,
    servers::{CONTROLLERS, Etcd},
    ward::Ward,
};
use crate::process::{Server, free_port, wait_for};

/// How long a server may take to become ready; far more than it needs, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// What is started beside the API server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The controllers of workloads, garbage and namespaces.
    pub controllers: bool,
    /// An audit log, for [`Cluster::requests`].
    pub audit: bool,
}

/// An API server of a test; ended, and its data removed, when dropped. Or one that somebody gave, which stays.
#[derive(Debug)]
pub struct Cluster {
    own: Option<Own>,
    admin: Access,
    ward: Ward,
}

/// The servers of a cluster that a test started.
#[derive(Debug)]
struct Own {
    api: Mutex<Server>,
    controllers: Option<Mutex<Server>>,
    port: u16,
    prefix: String,
    options: Options,
    pki: Pki,
    etcd: Arc<Etcd>,
}

/// Returns the cluster that all tests of a binary share, with controllers and an audit log.
///
/// # Panics
/// Where it does not become ready.
#[must_use]
pub fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| Cluster::start(Options { controllers: true, audit: true }))
}

// === impl Options ===

impl Options {
    /// The API server alone.
    pub const BARE: Self = Self { controllers: false, audit: false };
}

// === impl Cluster ===

impl Cluster {
    /// Starts one on an etcd of its own, and waits until it is ready.
    ///
    /// # Panics
    /// Where a program is missing or does not become ready, with its last words.
    #[must_use]
    pub fn start(options: Options) -> Self {
        Self::on(Arc::new(Etcd::start()), "/registry", options)
    }

    /// Starts another cluster on the same etcd, under a name that no other has: its own users and objects.
    ///
    /// # Panics
    /// As [`Cluster::start`].
    #[must_use]
    pub fn beside(&self, name: &str, options: Options) -> Self {
        Self::on(self.own().etcd.clone(), &format!("/{name}"), options)
    }

    /// Takes the cluster of somebody else, by a file as kubectl reads it, in its current context. Nothing of it is
    /// started, ended or seen from within, and what is made in it stays until a test removes it.
    ///
    /// # Panics
    /// Where the file cannot be used, or its API server does not answer.
    #[must_use]
    pub fn given(kubeconfig: &Path) -> Self {
        let ward = Ward::new();
        let admin = Access::of_file(ward.folder(), kubeconfig);
        let cluster = Self { own: None, admin, ward };
        assert!(cluster.is_ready(), "{}: its API server does not answer", kubeconfig.display());
        cluster
    }

    fn on(etcd: Arc<Etcd>, prefix: &str, options: Options) -> Self {
        let ward = Ward::new();
        let pki = Pki::make(ward.folder());
        let port = free_port();
        let url = format!("https://127.0.0.1:{port}");
        let access =
            |token: &str| Access::new(ward.folder(), &url, &pki.authority, "default", token);
        let [admin, controllers] = write_tokens(ward.folder()).map(|token| access(&token));
        let api = servers::Api { port, etcd: etcd.port, prefix, pki: &pki, audit: options.audit };
        let api = Mutex::new(servers::start_api(&ward, &api));
        let prefix = prefix.to_owned();
        let own = Own { api, controllers: None, port, prefix, options, pki, etcd };
        let mut cluster = Self { own: Some(own), admin, ward };
        cluster.wait_until_ready();
        if options.controllers {
            let server = servers::start_controllers(&cluster.ward, controllers.path());
            let own = cluster.own.as_mut().expect("it was started here");
            own.controllers = Some(Mutex::new(server));
        }
        cluster
    }

    /// Waits until the server says that it is, and has made the namespace `default`.
    fn wait_until_ready(&self) {
        let begin = Instant::now();
        while !self.is_ready() {
            let ended = self.api().has_ended();
            if ended || begin.elapsed() > PATIENCE {
                let words = self.ward.last_words("kube-apiserver");
                let took = begin.elapsed();
                panic!("kube-apiserver is not ready after {took:?} (ended: {ended}):\n{words}");
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn is_ready(&self) -> bool {
        self.ask(async |client| {
            let request = hyper::Request::get("/readyz").body(Vec::new()).expect("a request");
            let ready = async {
                let told = client.request_text(request).await;
                let namespaces: Api<Namespace> = Api::all(client.clone());
                told.is_ok_and(|told| told == "ok") && namespaces.get("default").await.is_ok()
            };
            tokio::time::timeout(Duration::from_secs(5), ready).await == Ok(true)
        })
    }

    /// Does something as the administrator.
    fn ask<T: Send>(&self, work: impl AsyncFnOnce(Client) -> T + Send) -> T {
        let admin = self.admin.clone();
        blocking_with(|| async move { work(admin.client()).await })
    }

    /// Its servers: who asks for them needs a cluster that nobody else has.
    #[track_caller]
    fn own(&self) -> &Own {
        self.own.as_ref().expect("this needs a cluster that the test has started itself")
    }

    fn api(&self) -> MutexGuard<'_, Server> {
        self.own().api.lock().expect("no holder panics")
    }

    // --- who may speak to it ---

    /// Returns its administrator.
    #[must_use]
    pub fn admin(&self) -> &Access {
        &self.admin
    }

    /// Returns whether somebody gave it: others live in it.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.own.is_none()
    }

    /// Returns where it listens, such as `https://127.0.0.1:18443`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.own().port)
    }

    /// Puts a proxy before it that makes faults, and that sees every request.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults::start(&self.url(), &self.own().pki)
    }

    // --- what it was asked ---

    /// Returns every request that it has answered or begun to answer, in order of arrival.
    ///
    /// A request shows a moment after its answer: wait for what must come.
    ///
    /// # Panics
    /// Where it was started without an audit log.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        assert!(self.own().options.audit, "start the cluster with an audit log");
        audit::read(&self.ward.folder().join("audit.json"))
    }

    /// Returns the requests of one user, such as `system:serviceaccount:NAMESPACE:NAME`.
    ///
    /// # Panics
    /// As [`Cluster::requests`].
    #[must_use]
    pub fn requests_of(&self, user: &str) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|request| request.user == user);
        requests
    }

    // --- what happens to it ---

    /// Ends the API server as a crash does; its data stay. [`Cluster::resume`] brings it back.
    pub fn crash(&self) {
        self.api().kill();
    }

    /// Starts the API server again, on the same port and data, and waits until it is ready.
    ///
    /// # Panics
    /// As [`Cluster::start`].
    pub fn resume(&self) {
        let Own { port, etcd, prefix, options, pki, .. } = self.own();
        let port = *port;
        let api = servers::Api { port, etcd: etcd.port, prefix, pki, audit: options.audit };
        // What the old one held open lets go of the port first.
        wait_for("the port is free", Duration::from_secs(30), || {
            std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()
        });
        *self.api() = servers::start_api(&self.ward, &api);
        self.wait_until_ready();
    }

    /// Sends the API server a signal: after `STOP` it takes connections and answers nothing, until `CONT`.
    pub fn signal(&self, name: &str) {
        self.api().signal(name);
    }

    /// Returns whether the API server, or a controller, has ended by itself.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let controllers = self.own().controllers.as_ref();
        self.api().has_ended()
            || controllers
                .is_some_and(|server| server.lock().expect("no holder panics").has_ended())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // At once: nothing of it is kept.
        let Some(own) = &mut self.own else { return };
        if let Some(controllers) = &mut own.controllers {
            controllers.get_mut().expect("no holder panics").kill();
        }
        own.api.get_mut().expect("no holder panics").kill();
    }
}

/// The administrator's token and the controllers'.
fn write_tokens(folder: &Path) -> [String; 2] {
    let tokens =
        [(); 2].map(|()| rand::rng().sample_iter(Alphanumeric).take(32).map(char::from).collect());
    let mut lines = String::new();
    for (user, token) in ["admin", CONTROLLERS].into_iter().zip(&tokens) {
        let token: &String = token;
        writeln!(lines, "{token},{user},{user},system:masters").expect("text takes text");
    }
    fs::write(folder.join("tokens.csv"), lines).expect("the folder can be written");
    tokens
}
