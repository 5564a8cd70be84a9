//! Routes of the Gateway API and of Istio, against a real API server: the contract, what others do between
//! two calls, and what a server does that is slow, down, or says no.
//!
//! No gateway and no istiod runs: a route's status is what the test writes.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[path = "routes/company.rs"]
mod company;
#[path = "routes/stage.rs"]
mod stage;

use std::time::{Duration, Instant};

use haldane_model::{Mark, Weight};
use haldane_providers::{Error, contract};
use haldane_tests::cluster::{Cluster, Fault, Foreign, Options, Rule, shared};
use serde_json::{Value, json};

use self::stage::{
    Driven, HTTP_ROUTE, Route, VIRTUAL_SERVICE, blocks, cluster, http_route, role_of, services,
    virtual_service,
};

const GATEWAY_PAGE: &str = include_str!("../../docs/providers/gateway.md");
const ISTIO_PAGE: &str = include_str!("../../docs/providers/istio.md");

const PATIENCE: Duration = Duration::from_secs(60);

/// How much later than its deadline a call may end on a busy machine.
const SLACK: Duration = Duration::from_secs(2);

fn weight(points: u32) -> Weight {
    Weight::from_basis_points(points).unwrap()
}

/// An HTTPRoute with its Services in a namespace of its own, accepted by its gateway.
fn http(name: &str) -> Route {
    let namespace = cluster().namespace(name);
    let route = Route::make(&namespace, HTTP_ROUTE, &http_route());
    services(&namespace);
    route.accept();
    route
}

fn istio(name: &str) -> Route {
    let namespace = cluster().namespace(name);
    let route = Route::make(&namespace, VIRTUAL_SERVICE, &virtual_service());
    services(&namespace);
    route
}

#[track_caller]
fn invalid<T: std::fmt::Debug>(told: Result<T, Error>, words: &str) {
    match told {
        Err(Error::Invalid(why)) => assert!(why.contains(words), "{why:?} lacks {words:?}"),
        other => panic!("{other:?} is not Invalid with {words:?}"),
    }
}

#[track_caller]
fn conflict<T: std::fmt::Debug>(told: Result<T, Error>, words: &str) {
    match told {
        Err(Error::Conflict(why)) => assert!(why.contains(words), "{why:?} lacks {words:?}"),
        other => panic!("{other:?} is not Conflict with {words:?}"),
    }
}

#[track_caller]
fn unavailable<T: std::fmt::Debug>(told: Result<T, Error>, words: &str) {
    match told {
        Err(Error::Unavailable(why)) => assert!(why.contains(words), "{why:?} lacks {words:?}"),
        other => panic!("{other:?} is not Unavailable with {words:?}"),
    }
}

/// Polls what must become true: a server takes rights over a moment later.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

// === the contract ===

#[tokio::test(flavor = "multi_thread")]
async fn http_routes_keep_the_contract() {
    contract::check(|| http("contract").driven()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn virtual_services_keep_the_contract() {
    contract::check(|| istio("contract").driven()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_gateway_route_is_driven_and_read_back() {
    for (kind, field, spec) in [
        ("grpcroutes", "grpcRoute", json!({})),
        ("tlsroutes", "tlsRoute", json!({"hostnames": ["checkout.example"]})),
        ("tcproutes", "tcpRoute", json!({})),
    ] {
        let namespace = cluster().namespace(kind);
        let route = Route::of_kind(&namespace, kind, field, spec);
        let driven = route.driven();
        driven.raise(2_500, 1).await.unwrap();
        let reading = driven.provider.read().await.unwrap();
        assert_eq!((reading.lowest, reading.mark), (weight(2_500), Some(Mark::raise(1))), "{kind}");
        driven.lower(2).await.unwrap();
        assert_eq!(driven.provider.read().await.unwrap().highest, Weight::ZERO, "{kind}");
    }
}

// === what else is in the object ===

/// What may differ after a write: the weights of the pair, our annotation, and the server's own book-keeping.
fn without_ours(mut document: Value) -> Value {
    let metadata = document["metadata"].as_object_mut().unwrap();
    for field in ["managedFields", "resourceVersion", "generation"] {
        metadata.shift_remove(field);
    }
    let annotations = metadata.get_mut("annotations").and_then(Value::as_object_mut);
    if let Some(annotations) = annotations {
        annotations.retain(|key, _| !key.starts_with("mark.haldane.dev/"));
        if annotations.is_empty() {
            metadata.shift_remove("annotations");
        }
    }
    for list in ["/spec/rules/1/backendRefs", "/spec/http/1/route"] {
        for backend in
            document.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
        {
            backend.as_object_mut().unwrap().shift_remove("weight");
        }
    }
    document
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_that_is_not_a_weight_is_the_same_before_during_and_after() {
    for route in [http("bytes"), istio("bytes")] {
        let driven = route.driven();
        let before = without_ours(route.document());
        driven.raise(1_000, 1).await.unwrap();
        assert_eq!(without_ours(route.document()).to_string(), before.to_string(), "raised");
        driven.raise(10_000, 2).await.unwrap();
        assert_eq!(without_ours(route.document()).to_string(), before.to_string(), "at 100 %");
        driven.lower(3).await.unwrap();
        assert_eq!(without_ours(route.document()).to_string(), before.to_string(), "lowered");
        driven.release().await.unwrap();
        assert_eq!(without_ours(route.document()).to_string(), before.to_string(), "given back");
        let annotations = route.document()["metadata"]["annotations"].to_string();
        assert!(!annotations.contains("haldane"), "nothing of ours stays: {annotations}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rollouts_sign_one_route_apart() {
    let route = http("two");
    let one = route.driven();
    let two = Driven::of(
        &route,
        cluster().admin(),
        &json!({
            "httpRoute": {"name": "checkout"},
            "destinations": {
                "blue": {"service": "search-blue", "port": 80},
                "green": {"service": "search-green", "port": 80},
            },
        }),
    );
    one.raise(1_000, 7).await.unwrap();
    two.raise(5_000, 3).await.unwrap();
    conflict(one.raise(2_000, 8).await, "changed since it was read; haldane (");
    one.provider.read().await.unwrap();
    one.raise(2_000, 8).await.unwrap();
    let (first, second) = (one.provider.read().await.unwrap(), two.provider.read().await.unwrap());
    assert_eq!((first.highest, first.mark), (weight(2_000), Some(Mark::raise(8))));
    assert_eq!((second.highest, second.mark), (weight(5_000), Some(Mark::raise(3))));
}

// === what others do between a read and a write ===

#[tokio::test(flavor = "multi_thread")]
async fn a_raise_loses_against_whoever_wrote_since_the_read_and_names_them() {
    for route in [http("raise"), istio("raise")] {
        let driven = route.driven();
        driven.raise(1_000, 1).await.unwrap();
        driven.provider.read().await.unwrap();
        route.edit("somebody", &[json!({"op": "add", "path": route.weight_path(), "value": 0})]);
        conflict(driven.raise(2_500, 2).await, "somebody (");
        let reading = driven.provider.read().await.unwrap();
        assert_eq!(reading.highest, Weight::ZERO, "what they wrote stands");
        assert_eq!(reading.mark, Some(Mark::raise(1)), "under the old mark: it is not ours");
        assert_eq!(reading.writer.as_deref(), Some("somebody"));
        driven.raise(2_500, 3).await.unwrap();
        assert_eq!(driven.provider.read().await.unwrap().lowest, weight(2_500), "once it was read");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lowering_is_one_patch_before_anything_else_in_spite_of_an_edit() {
    for route in [http("lower"), istio("lower")] {
        let faults = cluster().faults();
        let driven = Driven::new(&route, &cluster().admin().at(&faults.url()));
        driven.raise(5_000, 1).await.unwrap();
        let label = json!({"op": "add", "path": "/metadata/labels", "value": {"edited": "yes"}});
        route.edit("somebody", &[label]);
        let before = faults.seen().len();
        driven.lower(2).await.unwrap();
        let methods: Vec<_> =
            faults.seen()[before..].iter().map(|seen| seen.method.clone()).collect();
        assert_eq!(methods, ["PATCH"], "nothing precedes it, and it is enough");
        assert_eq!(driven.provider.read().await.unwrap().highest, Weight::ZERO);
        assert_eq!(route.document()["metadata"]["labels"]["edited"], "yes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lowering_follows_destinations_and_rules_that_moved() {
    for route in [http("moved"), istio("moved")] {
        let driven = route.driven();
        driven.raise(5_000, 1).await.unwrap();
        route.rearrange(|backends| {
            backends.reverse();
            let mut third = backends[0].clone();
            for field in ["/name", "/destination/host"] {
                if let Some(name) = third.pointer_mut(field) {
                    *name = json!("third");
                }
            }
            third["weight"] = json!(0);
            backends.insert(0, third);
        });
        driven.lower(2).await.unwrap();
        let reading = driven.provider.read().await.unwrap();
        assert_eq!((reading.highest, reading.mark), (Weight::ZERO, Some(Mark::rollback(2))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_was_taken_out_is_told_with_the_remedy() {
    let route = http("taken");
    let driven = route.driven();
    driven.raise(5_000, 1).await.unwrap();
    route.rearrange(|backends| backends.truncate(1));
    invalid(driven.provider.read().await, "add the one that is missing with weight 0");
    invalid(driven.lower(2).await, "add the one that is missing with weight 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_goes_and_comes_back_is_lowered_and_never_raised_unread() {
    let route = http("gone");
    let driven = route.driven();
    driven.raise(5_000, 1).await.unwrap();
    route.delete();
    let missing =
        "HTTPRoute ".to_owned() + &route.namespace + "/checkout does not exist; create it";
    invalid(driven.provider.read().await, &missing);
    invalid(driven.lower(2).await, &missing);
    invalid(driven.provider.preflight().await, &missing);
    driven.release().await.expect("nothing is left to take away");
    route.create(&http_route());
    conflict(driven.raise(5_000, 3).await, "changed since it was read");
    assert_eq!(driven.provider.read().await.unwrap().mark, None, "the new one is not ours yet");
    driven.raise(5_000, 4).await.unwrap();
    route.delete();
    route.create(&http_route());
    driven.lower(5).await.expect("a rollback needs no look at the new one");
    assert_eq!(driven.provider.read().await.unwrap().mark, Some(Mark::rollback(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_never_raise_over_each_others_rollback() {
    let route = http("engines");
    let (leader, late) = (route.driven(), route.driven());
    late.raise(1_000, 1).await.unwrap();
    leader.provider.read().await.unwrap();
    leader.lower(2).await.unwrap();
    for _ in 0..2 {
        conflict(late.raise(2_500, 2).await, "changed since it was read");
    }
    late.provider.read().await.unwrap();
    conflict(late.raise(2_500, 2).await, "holds rollback:2, which is newer than raise:2");
    assert_eq!(leader.provider.read().await.unwrap().highest, Weight::ZERO);
}

// === before a rollout starts ===

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_behind_a_route_is_refused_before_the_start() {
    let namespace = cluster().namespace("behind");
    let route = Route::make(&namespace, HTTP_ROUTE, &http_route());
    let driven = route.driven();
    unavailable(driven.provider.preflight().await, "no controller answers for the parent edge");
    route.accept();
    let missing = format!("Service {namespace}/checkout-blue does not exist");
    invalid(driven.provider.preflight().await, &missing);
    services(&namespace);
    driven.provider.preflight().await.unwrap();
    cluster().admin().within(&namespace).kubectl(&[
        "patch",
        "service",
        "checkout-green",
        "--type=json",
        r#"-p=[{"op": "replace", "path": "/spec/ports/0/port", "value": 81}]"#,
    ]);
    invalid(driven.provider.preflight().await, "checkout-green has no port 80");
    route.say("Accepted", "False");
    invalid(
        driven.provider.preflight().await,
        "example/gateway says Accepted=False: told by the test",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subset_that_nobody_defines_is_refused_before_the_start() {
    let route = istio("subsets");
    let settings = json!({
        "virtualService": {"name": "checkout", "routes": ["primary"]},
        "destinations": {"blue": {"subset": "v1"}, "green": {"subset": "v2"}},
    });
    route.rearrange(|backends| {
        for (backend, subset) in backends.iter_mut().zip(["v1", "v2"]) {
            backend["destination"] = json!({"host": "checkout", "subset": subset});
        }
    });
    let driven = Driven::of(&route, cluster().admin(), &settings);
    let missing = format!("no DestinationRule in {} defines the subset v1", route.namespace);
    invalid(driven.provider.preflight().await, &missing);
    cluster().apply(
        &route.namespace,
        "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: checkout}
spec:
  host: checkout
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
",
    );
    driven.provider.preflight().await.unwrap();
    driven.raise(2_500, 1).await.unwrap();
    assert_eq!(driven.provider.read().await.unwrap().lowest, weight(2_500));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_flagger_or_argo_rollouts_drives_is_refused_by_name_and_can_still_be_lowered()
{
    for (annotation, name) in [
        ("flagger.kubernetes.io~1original-configuration", "Flagger ("),
        ("argo-rollouts.argoproj.io~1managed-by-rollouts", "Argo Rollouts ("),
    ] {
        let route = http("driven");
        let driven = route.driven();
        driven.raise(5_000, 1).await.unwrap();
        let path = format!("/metadata/annotations/{annotation}");
        route.edit("somebody", &[json!({"op": "add", "path": path, "value": "x"})]);
        driven.provider.read().await.unwrap();
        invalid(driven.provider.preflight().await, name);
        invalid(driven.raise(6_000, 2).await, name);
        driven.lower(3).await.unwrap();
        assert_eq!(driven.provider.read().await.unwrap().highest, Weight::ZERO);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_settles_once_the_gateway_took_this_generation() {
    let route = http("settles");
    let driven = route.driven();
    driven.raise(1_000, 1).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert!(!driven.provider.read().await.unwrap().settled, "the gateway has the one before");
    route.accept();
    assert!(driven.provider.read().await.unwrap().settled);
    let driven = istio("settles").driven();
    driven.raise(2_000, 1).await.unwrap();
    assert!(!driven.provider.read().await.unwrap().settled, "proxies may not have it yet");
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert!(driven.provider.read().await.unwrap().settled, "nobody says more of a VirtualService");
}

// === rights ===

#[tokio::test(flavor = "multi_thread")]
async fn the_role_of_the_page_is_enough_and_a_missing_verb_is_named() {
    for (route, page) in [(http("rights"), GATEWAY_PAGE), (istio("rights"), ISTIO_PAGE)] {
        let namespace = &route.namespace;
        let account = cluster().account(namespace, "engine");
        let driven = Driven::new(&route, &account);
        let refused = format!("cannot get resource \"{}\" in API group", route.plural);
        invalid(driven.provider.read().await, &refused);
        invalid(driven.provider.read().await, "grant the engine this verb");
        cluster().apply(namespace, &role_of(page, namespace, &[]));
        eventually("the Role is in force", async || driven.provider.preflight().await.is_ok())
            .await;
        driven.raise(1_000, 1).await.unwrap();
        driven.lower(2).await.unwrap();
        driven.release().await.unwrap();
        cluster().apply(namespace, &role_of(page, namespace, &["patch"]));
        eventually("the verb is gone", async || driven.provider.preflight().await.is_err()).await;
        let refused = format!("cannot patch resource \"{}\" in API group", route.plural);
        invalid(driven.provider.preflight().await, &refused);
        invalid(driven.raise(1_000, 3).await, &refused);
    }
}

// === a server that is slow, down, or without the kind ===

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_fails_is_told_in_time_and_never_asked_twice() {
    let route = http("faults");
    let faults = cluster().faults();
    let driven = Driven::new(&route, &cluster().admin().at(&faults.url()));
    driven.raise(5_000, 1).await.unwrap();
    for (fault, words) in [
        (Fault::Answer(500), "the API server answered 500"),
        (Fault::Answer(503), "the API server answered 503"),
        (Fault::Answer(429), "the API server answered 429"),
        (Fault::Break, "does not answer"),
        (Fault::Hang, "no answer from the API server within 2s"),
    ] {
        faults.add(Rule::any("httproutes", fault));
        let begin = Instant::now();
        unavailable(driven.provider.read().await, words);
        let before = faults.seen_of("PATCH", "httproutes").len();
        unavailable(driven.lower(2).await, words);
        assert!(
            begin.elapsed() < 2 * (Duration::from_secs(2) + SLACK),
            "{fault:?}: {:?}",
            begin.elapsed()
        );
        let asked = faults.seen_of("PATCH", "httproutes").len() - before;
        assert_eq!(asked, 1, "{fault:?}: the engine knows when to ask again");
        faults.clear();
    }
    driven.lower(3).await.unwrap();
    assert_eq!(driven.provider.read().await.unwrap().highest, Weight::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_is_lost_is_found_by_reading() {
    let route = http("lost");
    let faults = cluster().faults();
    let driven = Driven::new(&route, &cluster().admin().at(&faults.url()));
    driven.provider.read().await.unwrap();
    faults.add(Rule::new("PATCH", "httproutes", Fault::LoseAnswer).times(1));
    unavailable(driven.raise(2_500, 1).await, "does not answer");
    let reading = driven.provider.read().await.unwrap();
    assert_eq!((reading.lowest, reading.mark), (weight(2_500), Some(Mark::raise(1))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_the_kind_is_told_and_one_that_gets_it_is_driven() {
    let bare: Cluster = shared().beside("routes-bare", Options::BARE);
    let namespace = bare.namespace("late");
    for (kind, of, words, document) in [
        (
            HTTP_ROUTE,
            Foreign::GatewayApi,
            "does not serve HTTPRoute (gateway.networking.k8s.io); install the CRDs of the Gateway API",
            http_route(),
        ),
        (
            VIRTUAL_SERVICE,
            Foreign::Istio,
            "does not serve VirtualService (networking.istio.io); install the CRDs of Istio",
            virtual_service(),
        ),
    ] {
        let driven = Driven::in_namespace(&namespace, kind, bare.admin());
        invalid(driven.provider.read().await, words);
        invalid(driven.provider.preflight().await, words);
        invalid(driven.lower(1).await, words);
        bare.install(of);
        invalid(driven.provider.read().await, "does not exist; create it");
        bare.apply(&namespace, &document.to_string());
        driven.provider.read().await.unwrap();
        driven.raise(2_500, 2).await.unwrap();
        assert_eq!(
            driven.provider.read().await.unwrap().lowest,
            weight(2_500),
            "the same provider"
        );
    }
}

// === the pages ===

#[test]
fn the_examples_of_the_pages_are_taken_by_the_server_and_by_the_engine() {
    for (page, kind) in [(GATEWAY_PAGE, "gateway"), (ISTIO_PAGE, "istio")] {
        let namespace = cluster().namespace("pages");
        let (mut entries, mut objects) = (0, 0);
        for block in blocks(page) {
            let value: Value = serde_saphyr::from_str(&block).unwrap();
            match value.get("traffic").and_then(Value::as_array) {
                Some(traffic) => {
                    for entry in traffic {
                        stage::check(kind, &entry[kind], &namespace).unwrap();
                        entries += 1;
                    }
                }
                None => {
                    cluster().apply(&namespace, &block);
                    objects += 1;
                }
            }
        }
        assert!(entries > 0 && objects > 1, "{kind}: {entries} entries, {objects} objects");
    }
}
