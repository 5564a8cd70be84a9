//! The lease: which of several engines may raise.
//!
//! A Lease object of our own, held for 5 s and renewed every 2 s. Its holder trusts it on its own monotonic clock
//! alone, counted from before the renewal left, and stops trusting it a while before anybody else may take it; everybody
//! else watches it and takes it once it did not change for as long, on a clock of their own: clocks that differ harm
//! nobody. Every taking is a new term, higher than any that a record shows, so that what an engine writes in an older one
//! loses. Losing it ends no process and no guarding: only raises.

use std::{sync::Arc, time::Duration};

use haldane_model::LeaseSeen;
use haldane_outside::{ClusterError, Collection, Mirror, Outside};
use haldane_runtime::ports::{Clock, LeaseTold};
use serde_json::{Value, json};
use tokio::sync::{broadcast::error::TryRecvError, watch};
use tokio_util::sync::CancellationToken;

/// How long it is held without a renewal.
pub(crate) const DURATION: Duration = Duration::from_secs(5);
/// How often it is renewed; a bit more than 2 s, so that an idle engine asks less than once in two seconds.
const RENEW: Duration = Duration::from_millis(2_050);
/// So much earlier than anybody may take it its holder stops trusting it: longer than a raise takes to leave.
const MARGIN: Duration = Duration::from_millis(1_000);
/// How long one call may take: one that is lost leaves time for another.
const DEADLINE: Duration = Duration::from_millis(1_000);
/// How soon a call that failed is tried again.
const AGAIN: Duration = Duration::from_millis(250);
/// Whoever watches a lease may miss a change while the watch is broken: it looks itself this often then.
const LOOK: Duration = Duration::from_millis(500);

/// Where the Lease lies, and who we are.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) identity: Arc<str>,
}

/// Keeps a lease, or waits for it.
pub(crate) struct Keeper {
    outside: Outside,
    clock: Arc<dyn Clock>,
    place: Place,
    told: watch::Sender<LeaseTold>,
    /// Returns the highest term that a record was written in.
    floor: Box<dyn Fn() -> u64 + Send + Sync>,
    mirror: Option<Mirror>,
    /// What was seen of it last, and when it changed on our clock.
    seen: Option<(Value, Duration)>,
    /// Whether the watch was found to be behind: then the server itself is asked.
    distrusts: bool,
    /// What went wrong last, as it was told: once, however often it is tried.
    trouble: Option<String>,
}

/// How a renewal ended that was answered.
enum Renewed {
    Yes,
    /// It was not as we knew it, and was read again: if it is ours still, the next turn renews it.
    Reread,
}

// === impl Keeper ===

impl Keeper {
    pub(crate) fn new(
        outside: Outside,
        clock: Arc<dyn Clock>,
        place: Place,
        floor: Box<dyn Fn() -> u64 + Send + Sync>,
    ) -> (Self, watch::Receiver<LeaseTold>) {
        let (told, lease) = watch::channel(LeaseTold { seen: LeaseSeen::Unsure, until: None });
        let collection = Collection {
            field: Some(format!("metadata.name={}", place.name).into()),
            ..Collection::everywhere("/apis/coordination.k8s.io/v1", "leases")
                .within(&place.namespace)
        };
        let mirror = outside.mirror_of(collection, |_| {});
        (
            Self {
                outside,
                clock,
                place,
                told,
                floor,
                mirror,
                seen: None,
                distrusts: false,
                trouble: None,
            },
            lease,
        )
    }

    /// Keeps it until the token is cancelled, then gives it back.
    pub(crate) async fn run(&mut self, token: CancellationToken) {
        let mut changes = self.mirror.as_ref().map(Mirror::changes);
        loop {
            let wait = self.turn().await;
            tokio::select! {
                () = token.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
                () = changed(&mut changes), if !self.holds() => {}
            }
        }
        self.give_back().await;
    }

    fn holds(&self) -> bool {
        matches!(self.told.borrow().seen, LeaseSeen::Held { .. })
    }

    fn now(&self) -> Duration {
        self.clock.now().mono
    }

    /// Renews, takes or waits; returns until when there is nothing to do.
    async fn turn(&mut self) -> Duration {
        let begun = self.now();
        if self.holds() {
            return match self.renew(begun).await {
                Ok(Renewed::Yes) => RENEW.saturating_sub(self.now().saturating_sub(begun)),
                Ok(Renewed::Reread) => Duration::ZERO,
                Err(why) => self.try_again(format!("the lease was not renewed: {why}")),
            };
        }
        match self.look().await {
            Ok(None) => match self.seen.take() {
                // Who held it may trust it still.
                Some((_, since)) if begun < since + DURATION => {
                    let left = (since + DURATION).saturating_sub(begun);
                    tokio::time::sleep(left).await;
                    AGAIN
                }
                Some(_) | None => self.take(begun, None).await,
            },
            Ok(Some(lease)) => self.wait_for(begun, lease).await,
            Err(why) => self.try_again(format!("the lease cannot be read: {why}")),
        }
    }

    /// Reads it: from the mirror where that is live, and from the server elsewhere.
    async fn look(&mut self) -> Result<Option<Value>, ClusterError> {
        let live = self.mirror.as_ref().filter(|mirror| mirror.is_live());
        if let Some(mirror) = live.filter(|_| !std::mem::take(&mut self.distrusts)) {
            let found = mirror.get(&self.place.namespace, &self.place.name);
            return Ok(found.map(|lease| (*lease).clone()));
        }
        let cluster = self.cluster().await?;
        match cluster.get(&self.path(), DEADLINE).await {
            Ok(lease) => Ok(Some(lease)),
            Err(ClusterError::Refused(refusal)) if refusal.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits until it is free, or was not renewed for as long as it says.
    async fn wait_for(&mut self, begun: Duration, lease: Value) -> Duration {
        let since = match &self.seen {
            Some((seen, since)) if *seen == lease => *since,
            Some(_) | None => begun,
        };
        self.seen = Some((lease.clone(), since));
        let holder = lease.pointer("/spec/holderIdentity").and_then(Value::as_str).unwrap_or("");
        let seconds = lease.pointer("/spec/leaseDurationSeconds").and_then(Value::as_u64);
        let lasts = seconds.map_or(DURATION, Duration::from_secs);
        let free = holder.is_empty() || holder == &*self.place.identity;
        if free || begun >= since + lasts {
            return self.take(begun, Some(lease)).await;
        }
        self.tell(LeaseTold { seen: LeaseSeen::Other { term: term_of(&lease) }, until: None });
        let left = (since + lasts).saturating_sub(self.now());
        let live = self.mirror.as_ref().is_some_and(Mirror::is_live);
        if live {
            left.max(Duration::from_millis(10))
        } else {
            left.clamp(Duration::from_millis(10), LOOK)
        }
    }

    /// Takes it, in a term above every other; loses where somebody else was faster.
    async fn take(&mut self, begun: Duration, old: Option<Value>) -> Duration {
        let term = 1 + old.as_ref().map_or(0, term_of).max((self.floor)());
        let lease = self.written(old.as_ref(), &self.place.identity, term);
        let taken = match self.cluster().await {
            Ok(cluster) => match &old {
                Some(_) => cluster.replace(&self.path(), &lease, DEADLINE).await,
                None => cluster.create(&self.collection(), &lease, DEADLINE).await,
            },
            Err(error) => Err(error),
        };
        match taken {
            Ok(lease) => {
                tracing::info!(term, identity = %self.place.identity, "this engine leads");
                self.hold(begun, term, lease);
                RENEW.saturating_sub(self.now().saturating_sub(begun))
            }
            Err(error) => {
                let lost = matches!(&error, ClusterError::Refused(refusal) if refusal.code == 409);
                self.distrusts = true;
                match lost {
                    true => AGAIN,
                    false => self.try_again(format!("the lease cannot be taken: {error}")),
                }
            }
        }
    }

    async fn renew(&mut self, begun: Duration) -> Result<Renewed, String> {
        let LeaseSeen::Held { term } = self.told.borrow().seen else { return Ok(Renewed::Reread) };
        let old = self.seen.as_ref().map(|(lease, _)| lease.clone());
        let lease = self.written(old.as_ref(), &self.place.identity, term);
        let cluster = self.cluster().await.map_err(|error| error.to_string())?;
        match cluster.replace(&self.path(), &lease, DEADLINE).await {
            Ok(lease) => {
                self.hold(begun, term, lease);
                Ok(Renewed::Yes)
            }
            Err(ClusterError::Refused(refusal)) if matches!(refusal.code, 404 | 409) => {
                self.reread().await.map_err(|error| error.to_string())?;
                Ok(Renewed::Reread)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Somebody wrote it, or a renewal landed whose answer was lost: whose is it now?
    async fn reread(&mut self) -> Result<(), ClusterError> {
        let cluster = self.cluster().await?;
        let found = match cluster.get(&self.path(), DEADLINE).await {
            Ok(found) => found,
            Err(ClusterError::Refused(refusal)) if refusal.code == 404 => {
                tracing::warn!("the lease was deleted");
                self.tell(LeaseTold { seen: LeaseSeen::Unsure, until: None });
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let holder = found.pointer("/spec/holderIdentity").and_then(Value::as_str).unwrap_or("");
        if holder == &*self.place.identity {
            // Ours still; it is renewed with the version that it has now.
            self.seen = Some((found, self.now()));
        } else {
            let term = term_of(&found);
            tracing::warn!(holder, term, "another engine leads");
            self.tell(LeaseTold { seen: LeaseSeen::Other { term }, until: None });
            self.seen = Some((found, self.now()));
        }
        Ok(())
    }

    /// Tells what went wrong, where that is news; returns how soon to try again.
    fn try_again(&mut self, why: String) -> Duration {
        if self.trouble.as_ref() != Some(&why) {
            tracing::warn!("{why}");
            self.trouble = Some(why);
        }
        AGAIN
    }

    fn hold(&mut self, begun: Duration, term: u64, lease: Value) {
        self.trouble = None;
        self.seen = Some((lease, begun));
        let until = Some(begun + DURATION - MARGIN);
        self.tell(LeaseTold { seen: LeaseSeen::Held { term }, until });
    }

    fn tell(&self, told: LeaseTold) {
        self.told.send_if_modified(|was| std::mem::replace(was, told) != told);
    }

    /// Gives it back, so that the next one need not wait; nothing of ours is raised any more.
    async fn give_back(&mut self) {
        let LeaseSeen::Held { term } = self.told.borrow().seen else { return };
        self.tell(LeaseTold { seen: LeaseSeen::Unsure, until: None });
        let old = self.seen.as_ref().map(|(lease, _)| lease.clone());
        let lease = self.written(old.as_ref(), "", term);
        if let Ok(cluster) = self.cluster().await
            && let Err(error) = cluster.replace(&self.path(), &lease, DEADLINE).await
        {
            tracing::warn!("the lease was not given back: {error}");
        }
    }

    /// Returns the object as it is to be: whatever else stands in it stays.
    fn written(&self, old: Option<&Value>, holder: &str, term: u64) -> Value {
        let now = self.clock.now().wall.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        let mut lease = old.cloned().unwrap_or_else(|| {
            json!({
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": &*self.place.name, "namespace": &*self.place.namespace},
                "spec": {},
            })
        });
        let same = term_of(&lease) == term && term > 0;
        let spec = &mut lease["spec"];
        spec["holderIdentity"] = holder.into();
        spec["leaseDurationSeconds"] = DURATION.as_secs().into();
        spec["leaseTransitions"] = term.into();
        spec["renewTime"] = now.clone().into();
        if !same {
            spec["acquireTime"] = now.into();
        }
        lease
    }

    async fn cluster(&self) -> Result<haldane_outside::Cluster, ClusterError> {
        let cluster = self.outside.cluster().await;
        cluster.map_err(|error| ClusterError::Unavailable(error.to_string()))
    }

    fn collection(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.place.namespace)
    }

    fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.place.name)
    }
}

/// The term is how often it was taken.
fn term_of(lease: &Value) -> u64 {
    lease.pointer("/spec/leaseTransitions").and_then(Value::as_u64).unwrap_or(0)
}

/// Waits for a change of what is mirrored; for ever where nothing is.
async fn changed(changes: &mut Option<tokio::sync::broadcast::Receiver<haldane_outside::Key>>) {
    match changes {
        Some(changes) => {
            let _ = changes.recv().await;
            // What came while nobody listened is one change.
            while !matches!(changes.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
        }
        None => std::future::pending().await,
    }
}
