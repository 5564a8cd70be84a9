//! The operator: one process of possibly several, of which one leads.
//!
//! Standbys keep every watch, so that whoever takes over has all at hand. Loops run where the lease is; an engine that
//! cannot renew it goes on guarding and lowering until it sees another holder.

use std::{
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, select_all},
};
use haldane_host::{Engine, Registered, SystemClock};
use haldane_model::LeaseSeen;
use haldane_outside::{ClusterConfig, ClusterError, Mirror, Outside, Reach, Sight};
use haldane_runtime::{drive::Ports, ports::Clock};
use serde_json::Value;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    analysis_runs, api,
    events::Teller,
    lease::{Keeper, Place},
    metrics::Counts,
    picture,
    requests::Requests,
    rollouts::{BEGINNING_MAX, Rollouts},
    shelf::Shelf,
    store::{StatusStore, WRITING_MAX},
    supervise::supervise,
    workloads::ClusterWorkloads,
};

/// How soon an API server that does not answer is asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long what is under way may take at the end, before the lease is given back without it.
const STOP_MAX: Duration = Duration::from_secs(5);

/// How an operator runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the cluster is.
    pub cluster: ClusterConfig,
    /// Where it looks for rollouts.
    pub reach: Reach,
    /// Where its Lease lies.
    pub lease_namespace: String,
    /// What its Lease is called.
    pub lease_name: String,
    /// Who holds the lease: another one for each process.
    pub identity: String,
    /// Whether a policy of the cluster sees to it that a request's `requestedBy` is who asks.
    pub verified_requesters: bool,
}

/// A running operator.
pub struct Operator {
    engine: Arc<Engine>,
    rollouts: Arc<[Mirror]>,
    workloads: Arc<ClusterWorkloads>,
    counts: Counts,
    stop: CancellationToken,
    stop_lease: CancellationToken,
    tasks: tokio::sync::Mutex<(JoinSet<()>, JoinSet<()>)>,
}

// === impl Operator ===

impl Operator {
    /// Waits for the API server, and starts. Ends without having started where the token is cancelled.
    pub async fn start(options: Options, token: &CancellationToken) -> Option<Self> {
        let outside = Outside::in_cluster(options.cluster.clone()).watching(options.reach.clone());
        tokio::select! {
            () = token.cancelled() => return None,
            () = until_it_answers(&outside) => {}
        }
        Some(Self::started(options, outside))
    }

    fn started(options: Options, outside: Outside) -> Self {
        let (stop, stop_lease) = (CancellationToken::new(), CancellationToken::new());
        let own = |plural: &str| outside.mirrors(api::API, plural, trim);
        let rollouts: Arc<[Mirror]> = own("rollouts").into();
        let requests: Arc<[Mirror]> = own("rolloutrequests").into();
        let mut templates = own("analysistemplates");
        let for_all = haldane_outside::Collection::everywhere(api::API, "clusteranalysistemplates");
        templates.extend(outside.mirror_of(for_all, trim));
        let shelf = Arc::new(Shelf::default());
        let store = StatusStore {
            outside: outside.clone(),
            rollouts: rollouts.clone(),
            shelf: shelf.clone(),
            writing: Arc::new(Semaphore::new(WRITING_MAX)),
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let identity: Arc<str> = options.identity.as_str().into();
        let (teller, dropped_events) = Teller::start(outside.clone(), shelf, identity.clone());
        let panics: Arc<AtomicU64> = Arc::default();
        let workloads = ClusterWorkloads::start(&outside, &panics, &stop);
        let place = Place {
            namespace: options.lease_namespace.as_str().into(),
            name: options.lease_name.as_str().into(),
            identity,
        };
        let floor = highest_term(rollouts.clone());
        let (keeper, lease) = Keeper::new(outside.clone(), clock.clone(), place, floor);
        let engine = Engine::counting(
            Ports {
                store: Arc::new(store.clone()),
                clock,
                factory: Arc::new(Registered),
                outside: outside.clone(),
                sink: Arc::new(teller.clone()),
                lease: lease.clone(),
                workloads: workloads.clone(),
            },
            panics.clone(),
        );
        let (tell_leads, leads) = watch::channel(false);
        let specs = Arc::new(Rollouts {
            engine: engine.clone(),
            store: store.clone(),
            outside: outside.clone(),
            templates,
            workloads: workloads.clone(),
            told: Mutex::default(),
            first: Mutex::default(),
            beginning: Semaphore::new(BEGINNING_MAX),
            panics: panics.clone(),
            taken_over: AtomicU64::new(0),
        });
        let answers = Requests {
            engine: engine.clone(),
            outside,
            requests,
            rollouts: rollouts.clone(),
            verified: options.verified_requesters,
        };
        let mut tasks = JoinSet::new();
        let mut run = |what, begin: Box<dyn Fn() -> BoxFuture<'static, ()> + Send>| {
            tasks.spawn(supervise(what, panics.clone(), begin));
        };
        let (led, token) = (leads.clone(), stop.clone());
        run(
            "the work on rollouts",
            Box::new(move || specs.clone().run(led.clone(), token.clone()).boxed()),
        );
        let (led, token) = (leads.clone(), stop.clone());
        run("answering", Box::new(move || answers.clone().run(led.clone(), token.clone()).boxed()));
        let (pictured, led, token) = (store.clone(), leads.clone(), stop.clone());
        run(
            "publishing",
            Box::new(move || {
                picture::publish(pictured.clone(), led.clone(), token.clone()).boxed()
            }),
        );
        let (led, token) = (leads.clone(), stop.clone());
        run(
            "copying",
            Box::new(move || {
                analysis_runs::copy(store.clone(), teller.clone(), led.clone(), token.clone())
                    .boxed()
            }),
        );
        let (told, token) = (lease.clone(), stop.clone());
        run(
            "following the lease",
            Box::new(move || follow_lease(told.clone(), tell_leads.clone(), token.clone()).boxed()),
        );
        let mut keeping = JoinSet::new();
        let keeper = Arc::new(tokio::sync::Mutex::new(keeper));
        let (known, token) = (rollouts.clone(), stop_lease.clone());
        keeping.spawn(supervise("keeping the lease", panics.clone(), move || {
            keep(keeper.clone(), known.clone(), token.clone())
        }));
        let counts = Counts { engine: engine.clone(), leads, lease, panics, dropped_events };
        let tasks = tokio::sync::Mutex::new((tasks, keeping));
        Self { engine, rollouts, workloads, counts, stop, stop_lease, tasks }
    }

    /// Returns why it is not ready, where it is not: what it must know to take over was not read yet.
    #[must_use]
    pub fn unready(&self) -> Option<String> {
        unread(&self.rollouts)
            .or_else(|| (!self.workloads.are_read()).then(|| "workloads are being read".to_owned()))
    }

    /// Writes what it counts, as OpenMetrics.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.counts.text()
    }

    /// Ends: nothing new begins, what is under way is settled, then the lease is given back.
    pub async fn stop(&self) {
        let (tasks, keeping) = &mut *self.tasks.lock().await;
        self.stop.cancel();
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_MAX, ended).await.is_err() {
            tracing::warn!("what was under way did not end within {STOP_MAX:?}; it is left");
            tasks.abort_all();
        }
        self.engine.stop().await;
        self.stop_lease.cancel();
        while keeping.join_next().await.is_some() {}
    }
}

/// Waits for rollouts to be known before the lease is taken: the term must be above every one of theirs.
async fn keep(
    keeper: Arc<tokio::sync::Mutex<Keeper>>,
    rollouts: Arc<[Mirror]>,
    token: CancellationToken,
) {
    let mut sights: Vec<_> = rollouts.iter().map(Mirror::sight).collect();
    while unread(&rollouts).is_some() {
        let changed = sights.iter_mut().map(|sight| sight.changed().boxed());
        tokio::select! {
            () = token.cancelled() => return,
            _ = select_all(changed) => {}
        }
    }
    keeper.lock().await.run(token).await;
}

/// Says why rollouts are not known, where they are not: of several namespaces one that cannot be read, because it was
/// deleted or its Role was, keeps nobody from guarding the others.
fn unread(rollouts: &[Mirror]) -> Option<String> {
    let mut failed = None;
    let mut reads_some = false;
    for mirror in rollouts {
        match &*mirror.sight().borrow() {
            Sight::Live | Sight::Old(..) => reads_some = true,
            Sight::Unread(None) => return Some("rollouts are being read".to_owned()),
            Sight::Unread(Some(why)) => failed = Some(why.clone()),
        }
    }
    failed.filter(|_| !reads_some)
}

/// Says who leads: whoever took the lease, until another one is seen to have it.
async fn follow_lease(
    mut lease: watch::Receiver<haldane_runtime::ports::LeaseTold>,
    leads: watch::Sender<bool>,
    token: CancellationToken,
) {
    loop {
        let seen = lease.borrow_and_update().seen;
        leads.send_if_modified(|leads| {
            let now = match seen {
                LeaseSeen::Held { .. } => true,
                LeaseSeen::Unsure => *leads,
                LeaseSeen::Other { .. } => false,
            };
            std::mem::replace(leads, now) != now
        });
        tokio::select! {
            () = token.cancelled() => return,
            changed = lease.changed() => if changed.is_err() { return },
        }
    }
}

/// Returns the highest term that a record was written in.
fn highest_term(rollouts: Arc<[Mirror]>) -> Box<dyn Fn() -> u64 + Send + Sync> {
    Box::new(move || {
        let all = rollouts.iter().flat_map(Mirror::list);
        let terms = all
            .filter_map(|rollout| rollout.pointer("/status/record/term").and_then(Value::as_u64));
        terms.max().unwrap_or(0)
    })
}

async fn until_it_answers(outside: &Outside) {
    let mut told = false;
    loop {
        let answer = match outside.cluster().await {
            Ok(cluster) => cluster.get("/version", api::DEADLINE).await.map(|_| ()),
            Err(error) => Err(ClusterError::Unavailable(error.to_string())),
        };
        match answer {
            Ok(()) => return,
            Err(error) if !told => tracing::error!("waits for the API server: {error}"),
            Err(_) => {}
        }
        told = true;
        tokio::time::sleep(AGAIN).await;
    }
}

/// Takes away of our own objects what nobody here reads: who wrote what, and the record's text.
fn trim(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.shift_remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    if let Some(record) = object.pointer_mut("/status/record").and_then(Value::as_object_mut) {
        record.insert("text".to_owned(), String::new().into());
    }
}
