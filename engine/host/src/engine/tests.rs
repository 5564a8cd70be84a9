//! What counts of two tellers of one loop, and when a preflight is asked anew.

use futures::{FutureExt as _, future::ready};
use haldane_model::JournalEntry;
use haldane_outside::Outside;
use haldane_runtime::{
    Notice,
    drive::Sink,
    ports::{LeaseTold, Store, Stored, Swap, SwapRequest},
};

use super::*;
use crate::{Registered, SystemClock};

/// A file that asks no source.
const FILE: &str = r#"
apiVersion: haldane.dev/v1alpha1
kind: Rollout
metadata: {name: checkout}
spec:
  steps:
  - {weight: 10, bake: 1m}
  - {weight: 100, bake: 1m}
  sides:
  - {name: blue, labels: {version: v1}}
  - {name: green, labels: {version: v2}}
  traffic:
  - name: edge
    haproxy:
      share: {map: /etc/haproxy/haldane/share.map, key: checkout}
      destinations: {blue: {backend: be_blue}, green: {backend: be_green}}
  analysis:
    sources:
    - {name: main, prometheus: {url: "http://127.0.0.1:9090"}}
    checks:
    - {name: errors, errors: {max: "1%", metrics: prometheus}}
"#;

struct Silent;

impl Sink for Silent {
    fn told(&self, _: &RolloutId, _: &JournalEntry) {}
    fn noticed(&self, _: &RolloutId, _: &Notice) {}
}

fn invalid(message: &str) -> SpecSeen {
    SpecSeen::Invalid { message: message.to_owned() }
}

/// Keeps nothing; where it fails, nobody knows whether anything is in flight.
#[derive(Default)]
struct Empty {
    fails: std::sync::atomic::AtomicBool,
}

impl Store for Empty {
    fn list(&self) -> BoxFuture<'static, Result<Vec<RolloutId>, String>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn load(&self, _: &RolloutId) -> BoxFuture<'static, Result<Option<Stored>, String>> {
        let fails = self.fails.load(Ordering::SeqCst);
        ready(if fails { Err("the disk is away".to_owned()) } else { Ok(None) }).boxed()
    }

    fn swap(&self, _: &RolloutId, _: SwapRequest) -> BoxFuture<'static, Swap> {
        ready(Swap::Won).boxed()
    }

    fn delete(&self, _: &RolloutId) -> BoxFuture<'static, Result<(), String>> {
        ready(Ok(())).boxed()
    }

    fn journal(
        &self,
        _: &RolloutId,
        _: u64,
        _: usize,
    ) -> BoxFuture<'static, Result<Journal, String>> {
        ready(Ok(Journal::default())).boxed()
    }

    fn trace(
        &self,
        _: &RolloutId,
        _: u64,
        _: usize,
    ) -> BoxFuture<'static, Result<Vec<Packed>, String>> {
        ready(Ok(Vec::new())).boxed()
    }
}

/// The system's clock, which panics once where it is told to.
struct Odd(SystemClock, std::sync::atomic::AtomicBool);

impl haldane_runtime::ports::Clock for Odd {
    fn now(&self) -> haldane_model::Now {
        assert!(!self.1.swap(false, Ordering::SeqCst), "the clock is broken, as the test wants it");
        self.0.now()
    }
}

/// An engine that leads, and tells nobody.
fn engine(store: Arc<Empty>, clock: Arc<dyn haldane_runtime::ports::Clock>) -> Arc<Engine> {
    Engine::new(Ports {
        store,
        clock,
        factory: Arc::new(Registered),
        outside: Outside::default(),
        sink: Arc::new(Silent),
        lease: LeaseTold::forever(1),
        workloads: Arc::new(()),
    })
}

#[tokio::test]
async fn a_loop_that_panics_is_counted_and_begins_anew_with_what_it_was_told() {
    let clock = Arc::new(Odd(SystemClock::start(), false.into()));
    let engine = engine(Arc::new(Empty::default()), clock.clone());
    let id = RolloutId::new("default", "app");
    let first = engine.invalid(&id, "as it was".to_owned()).await;
    let told = |handle: Handle| async move {
        let mut pictures = handle.watch();
        let holds = |status: &Arc<haldane_runtime::status::Status>| {
            status.spec_error.as_deref() == Some("as it was")
        };
        pictures.wait_for(holds).await.is_ok()
    };
    assert!(told(first.clone()).await);
    clock.1.store(true, Ordering::SeqCst);
    first.send(Input::Tick).await;
    let begun = tokio::time::timeout(Duration::from_secs(20), async {
        while engine.panics().load(Ordering::Relaxed) == 0 || first.send(Input::Tick).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        loop {
            if let Some(handle) = engine.handle(&id)
                && told(handle).await
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    begun.await.expect("it begins anew");
    engine.stop().await;
}

#[tokio::test]
async fn what_was_overtaken_is_not_told_after_what_is_newer() {
    let engine = engine(Arc::new(Empty::default()), Arc::new(SystemClock::start()));
    let id = RolloutId::new("default", "app");
    let handle = engine.invalid(&id, "first".to_owned()).await;
    let old = engine.begin_preflight(&id);
    let new = engine.begin_preflight(&id);
    engine.tell(&id, new, invalid("newer")).await;
    engine.tell(&id, old, invalid("older")).await;
    let mut pictures = handle.watch();
    let seen = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        loop {
            let error = handle.status().spec_error.clone();
            if error.as_deref() == Some("newer") {
                return;
            }
            assert_ne!(error.as_deref(), Some("older"), "it was overtaken");
            pictures.changed().await.expect("the loop goes on");
        }
    });
    seen.await.expect("it is told");
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(handle.status().spec_error.as_deref(), Some("newer"));
    engine.stop().await;
}

#[tokio::test]
async fn an_edit_that_drives_the_same_asks_no_preflight_and_another_entry_does() {
    let text = FILE;
    let plan = crate::compile(text).await.expect("it is valid").swap_remove(0).plan;
    let mut edited = (*plan).clone();
    edited.watch *= 2;
    assert!(is_driven_alike(&plan, &edited));
    edited.entries[0].settings = "{}".into();
    assert!(!is_driven_alike(&plan, &edited));
}

#[tokio::test]
async fn what_may_be_in_flight_keeps_the_route_that_it_began_with() {
    let store = Arc::new(Empty::default());
    let engine = engine(store.clone(), Arc::new(SystemClock::start()));
    let [first, second] = ["first", "second"].map(|name| RolloutId::new("default", name));
    let [old, new] = ["route/old", "route/new"].map(ToOwned::to_owned);
    assert_eq!(engine.claim(&first, std::slice::from_ref(&old)).await, None);
    store.fails.store(true, Ordering::SeqCst);
    assert_eq!(engine.claim(&first, std::slice::from_ref(&new)).await, None);
    let taken = engine.claim(&second, std::slice::from_ref(&old)).await;
    assert_eq!(taken, Some((first.clone(), old.clone())), "its attempt may go on there");
    store.fails.store(false, Ordering::SeqCst);
    assert_eq!(engine.claim(&second, std::slice::from_ref(&old)).await, None, "it rests");
    let taken = engine.claim(&second, std::slice::from_ref(&new)).await;
    assert_eq!(taken, Some((first, new)), "its document says so");
}

#[tokio::test]
async fn what_names_the_engines_own_machine_is_refused_in_a_cluster_whatever_its_definitions_let_by()
 {
    let gateway = FILE.replace(
        "    haproxy:\n      share: {map: /etc/haproxy/haldane/share.map, key: checkout}\n      \
        destinations: {blue: {backend: be_blue}, green: {backend: be_green}}",
        "    gateway: {httpRoute: {name: checkout}, destinations: {blue: {service: blue, port: 80}, \
        green: {service: green, port: 80}}}",
    );
    let of_a_file = gateway.replace(
        r#"{url: "http://127.0.0.1:9090"}"#,
        r#"{url: "https://prometheus:9090", bearer: {file: /var/run/secrets/token}}"#,
    );
    for (text, named) in [(FILE, Some("haproxy")), (&*of_a_file, Some("file")), (&*gateway, None)] {
        let document = haldane_plan::parse(text).unwrap().rollouts.swap_remove(0);
        let compiled =
            crate::compile_in_cluster(&document, Default::default(), &Outside::default()).await;
        let told = compiled.err().map(|wrong| format!("{:?}", wrong.diagnostics));
        match named {
            Some(named) => {
                assert!(told.as_ref().is_some_and(|told| told.contains(named)), "{told:?}")
            }
            None => assert_eq!(told, None),
        }
    }
}
