//! What accompanies a split, against a real API server: testers' rules and mirrors, turned on, changed by
//! others, and taken off again to the byte.

use std::sync::Arc;

use haldane_model::{Company, Mark, Mirror, Weight};
use haldane_providers::{Roles, TrafficProvider};
use haldane_tests::cluster::{Access, Cluster, Foreign, Options, shared};
use serde_json::{Value, json};

use super::{
    conflict, invalid,
    stage::{
        Driven, HTTP_ROUTE, Kind, Route, VIRTUAL_SERVICE, cluster, http_route, services,
        virtual_service,
    },
    weight,
};

/// A route whose rule for testers has both sides, and which mirrors nothing.
fn document(kind: Kind) -> Value {
    if kind == HTTP_ROUTE {
        let mut document = http_route();
        let primary = document["spec"]["rules"][1].as_object_mut().unwrap();
        primary.shift_remove("filters");
        let both = primary["backendRefs"].clone();
        document["spec"]["rules"][0]["backendRefs"] = both;
        return document;
    }
    let mut document = virtual_service();
    let primary = document["spec"]["http"][1].as_object_mut().unwrap();
    primary.shift_remove("mirror");
    let both = primary["route"].clone();
    document["spec"]["http"][0]["route"] = both;
    document
}

fn settings(kind: Kind) -> Value {
    let to = |name: &str| match kind.0 {
        "istio" => json!({"host": name}),
        _ => json!({"service": name, "port": 80}),
    };
    json!({
        kind.1: {"name": "checkout", "testers": ["testers"]},
        "destinations": {"blue": to("checkout-blue"), "green": to("checkout-green")},
    })
}

fn route(kind: Kind, name: &str) -> Route {
    let namespace = cluster().namespace(name);
    let route = Route::make(&namespace, kind, &document(kind));
    services(&namespace);
    if kind == HTTP_ROUTE {
        route.accept();
    }
    route
}

fn driven(route: &Route, kind: Kind, access: &Access) -> Driven {
    Driven::of(route, access, &settings(kind))
}

fn on(percent: u32) -> Company {
    let share = Weight::from_percent(percent).unwrap();
    Company { testers: "green".into(), mirror: Some(Mirror { to: "green".into(), share }) }
}

fn off() -> Company {
    Company { testers: "blue".into(), mirror: None }
}

async fn is_so(provider: &Arc<dyn TrafficProvider>, company: &Company) -> bool {
    company.is_in(&provider.read().await.unwrap().company)
}

/// What is asked for, without our mark and without the server's own book-keeping.
fn spec(route: &Route) -> String {
    let document = route.document();
    let mut annotations = document["metadata"]["annotations"].clone();
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.retain(|key, _| !key.starts_with("mark.haldane.dev/"));
    }
    let annotations = if annotations == json!({}) { Value::Null } else { annotations };
    format!("{} {annotations}", document["spec"])
}

fn kinds() -> [Kind; 2] {
    [HTTP_ROUTE, VIRTUAL_SERVICE]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_accompanied_and_one_patch_of_a_rollback_ends_it() {
    for kind in kinds() {
        let route = route(kind, "escort");
        let faults = cluster().faults();
        let driven = driven(&route, kind, &cluster().admin().at(&faults.url()));
        driven.provider.preflight().await.unwrap();
        driven.provider.rehearse_mirror(weight(2_000)).await.unwrap();
        let before = spec(&route);
        assert!(is_so(&driven.provider, &off()).await, "a preflight changes nothing");
        driven.provider.accompany(on(20), Mark::raise(1)).await.unwrap();
        let during = spec(&route);
        let reading = driven.provider.read().await.unwrap();
        assert!(on(20).is_in(&reading.company), "{:?}", reading.company);
        assert_eq!((reading.highest, reading.mark), (Weight::ZERO, None), "no user is moved");
        assert_eq!(reading.parts.len(), 1, "{:?}", reading.parts);
        driven.provider.accompany(on(20), Mark::raise(1)).await.unwrap();
        assert_eq!(spec(&route), during, "asked again it is as it was");
        driven.raise(1_000, 2).await.unwrap();
        assert!(is_so(&driven.provider, &on(20)).await, "a raise leaves it");
        let sent = faults.seen().len();
        driven.lower(3).await.unwrap();
        let methods: Vec<_> =
            faults.seen()[sent..].iter().map(|seen| seen.method.clone()).collect();
        assert_eq!(methods, ["PATCH"], "{kind:?}");
        let full = |text: &str| text.replace("\"weight\":10000", "\"weight\":100");
        assert_eq!(full(&spec(&route)), full(&before), "every byte is as before");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_copies_what_it_says_and_nothing_of_it_stays() {
    for kind in kinds() {
        let route = route(kind, "copies");
        let driven = driven(&route, kind, cluster().admin());
        let before = spec(&route);
        for percent in [1, 50, 100] {
            driven.provider.accompany(on(percent), Mark::raise(1)).await.unwrap();
            assert!(is_so(&driven.provider, &on(percent)).await, "{percent} %");
        }
        let half = Mirror { to: "green".into(), share: weight(50) };
        let half = Company { testers: "green".into(), mirror: Some(half) };
        driven.provider.accompany(half.clone(), Mark::raise(1)).await.unwrap();
        assert!(is_so(&driven.provider, &half).await, "half a percent");
        driven.provider.accompany(off(), Mark::rollback(0)).await.unwrap();
        let full = |text: &str| text.replace("\"weight\":10000", "\"weight\":100");
        assert_eq!(full(&spec(&route)), full(&before), "taken off");
        // A promotion leaves testers where everybody is, and so does the end of the rollout.
        driven.provider.accompany(on(20), Mark::raise(1)).await.unwrap();
        driven.raise(10_000, 2).await.unwrap();
        let roles = || Roles { test: "green".into(), home: "blue".into() };
        driven.provider.finish(roles()).await.unwrap();
        driven.provider.finish(roles()).await.unwrap();
        let promoted = Company { testers: "green".into(), mirror: None };
        assert!(is_so(&driven.provider, &promoted).await);
        driven.provider.accompany(on(20), Mark::raise(3)).await.unwrap();
        driven.release().await.unwrap();
        assert!(is_so(&driven.provider, &promoted).await, "given back");
        let annotations = route.document()["metadata"]["annotations"].to_string();
        assert!(!annotations.contains("haldane"), "{annotations}");
        assert!(!route.document()["spec"].to_string().to_lowercase().contains("mirror"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_of_the_users_own_is_refused_by_name_before_the_start() {
    for (kind, document) in [(HTTP_ROUTE, http_route()), (VIRTUAL_SERVICE, virtual_service())] {
        let namespace = cluster().namespace("own");
        let route = Route::make(&namespace, kind, &document);
        services(&namespace);
        if kind == HTTP_ROUTE {
            route.accept();
        }
        let driven = route.driven();
        driven.provider.preflight().await.expect("it is in nobody's way where no step mirrors");
        let own = "primary: it has a mirror of its own, to checkout-green";
        invalid(driven.provider.rehearse_mirror(weight(2_000)).await, own);
        let before = spec(&route);
        invalid(driven.provider.accompany(on(20), Mark::raise(1)).await, own);
        driven.provider.accompany(off(), Mark::rollback(1)).await.unwrap();
        driven.lower(2).await.unwrap();
        let full = |text: &str| text.replace("\"weight\":10000", "\"weight\":100");
        assert_eq!(full(&spec(&route)), full(&before), "theirs stays");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_testers_rule_that_takes_everybody_is_refused_before_the_start() {
    for kind in kinds() {
        let route = route(kind, "wide");
        let driven = driven(&route, kind, cluster().admin());
        driven.provider.preflight().await.unwrap();
        let path = match kind.0 {
            "istio" => "/spec/http/0/match",
            _ => "/spec/rules/0/matches",
        };
        route.edit("somebody", &[json!({"op": "remove", "path": path})]);
        if kind == HTTP_ROUTE {
            route.accept();
        }
        let words = "testers: it is for testers, and takes requests of others too";
        invalid(driven.provider.preflight().await, words);
        invalid(driven.provider.accompany(on(20), Mark::raise(1)).await, words);
        let reading = driven.provider.read().await.unwrap();
        assert!(!on(20).is_in(&reading.company), "nobody was sent to green");
        driven.provider.accompany(off(), Mark::rollback(1)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_whose_mirror_moved_is_lowered_all_the_same() {
    for kind in kinds() {
        let route = route(kind, "moves");
        let faults = cluster().faults();
        let driven = driven(&route, kind, &cluster().admin().at(&faults.url()));
        driven.raise(5_000, 1).await.unwrap();
        driven.provider.accompany(on(20), Mark::raise(1)).await.unwrap();
        // Somebody else's mirror takes the place of ours.
        let edit = match kind.0 {
            "istio" => {
                json!({"op": "replace", "path": "/spec/http/1/mirror", "value": {"host": "elsewhere"}})
            }
            _ => {
                json!({"op": "replace", "path": "/spec/rules/1/filters", "value": [
                    {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "elsewhere", "port": 80}}}]})
            }
        };
        route.edit("somebody", &[edit]);
        let sent = faults.seen().len();
        driven.lower(2).await.expect("a mirror is no reason to fail");
        let methods: Vec<_> =
            faults.seen()[sent..].iter().map(|seen| seen.method.clone()).collect();
        assert_eq!(methods, ["PATCH", "GET", "PATCH"], "{kind:?}");
        let reading = driven.provider.read().await.unwrap();
        assert_eq!((reading.highest, reading.mark), (Weight::ZERO, Some(Mark::rollback(2))));
        assert!(!off().is_in(&reading.company), "what is left is seen");
        driven.provider.accompany(off(), Mark::rollback(2)).await.unwrap();
        assert!(is_so(&driven.provider, &off()).await);
        assert!(spec(&route).contains("elsewhere"), "theirs stays");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_engine_turns_nothing_on() {
    for kind in kinds() {
        let route = route(kind, "late");
        let (leader, late) =
            (driven(&route, kind, cluster().admin()), driven(&route, kind, cluster().admin()));
        late.raise(1_000, 1).await.unwrap();
        leader.lower(2).await.unwrap();
        let before = spec(&route);
        let asked = late.provider.accompany(on(20), Mark::raise(2)).await;
        conflict(asked, "holds rollback:2, which is newer than raise:2");
        assert_eq!(spec(&route), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_edit_changes_is_read_and_put_right() {
    for kind in kinds() {
        let route = route(kind, "edits");
        let driven = driven(&route, kind, cluster().admin());
        driven.provider.accompany(on(20), Mark::raise(1)).await.unwrap();
        let during = spec(&route);
        let (testers, mirror) = match kind.0 {
            "istio" => ("/spec/http/0/route/1/weight", "/spec/http/1/mirror"),
            _ => ("/spec/rules/0/backendRefs/1/weight", "/spec/rules/1/filters"),
        };
        for edit in [
            json!({"op": "replace", "path": testers, "value": 0}),
            json!({"op": "remove", "path": mirror}),
        ] {
            let mut edits = vec![edit.clone()];
            if edit["path"] == "/spec/http/1/mirror" {
                edits.push(json!({"op": "remove", "path": "/spec/http/1/mirrorPercentage"}));
            }
            if edit["path"] == testers {
                let other = testers.replace("/1/weight", "/0/weight");
                edits.push(json!({"op": "replace", "path": other, "value": 1}));
            }
            route.edit("somebody", &edits);
            let reading = driven.provider.read().await.unwrap();
            assert!(!on(20).is_in(&reading.company), "{edit}: {:?}", reading.company);
            assert_eq!(reading.highest, Weight::ZERO, "it is in no share");
            driven.provider.accompany(on(20), Mark::raise(1)).await.unwrap();
            let full = |text: &str| text.replace("\"weight\":10000", "\"weight\":100");
            assert_eq!(full(&spec(&route)), full(&during), "{edit}");
        }
    }
}

/// The CRDs of the Gateway API as they were before a mirror had a share.
fn install_old_gateway_api(bare: &Cluster) {
    bare.install(Foreign::GatewayApi);
    let name = "httproutes.gateway.networking.k8s.io";
    let told = bare.admin().kubectl(&["get", "crd", name, "-o=json"]);
    let mut crd: Value = serde_json::from_str(&told).unwrap();
    without_share(&mut crd);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), crd.to_string()).unwrap();
    bare.admin().kubectl(&["replace", "-f", file.path().to_str().unwrap()]);
}

fn without_share(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(mirror) = fields.get_mut("requestMirror").and_then(Value::as_object_mut) {
                mirror.shift_remove("x-kubernetes-validations");
                if let Some(known) = mirror.get_mut("properties").and_then(Value::as_object_mut) {
                    known.shift_remove("percent");
                    known.shift_remove("fraction");
                }
            }
            fields.values_mut().for_each(without_share);
        }
        Value::Array(items) => items.iter_mut().for_each(without_share),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_know_the_share_is_refused_before_the_start() {
    let bare: Cluster = shared().beside("routes-old", Options::BARE);
    install_old_gateway_api(&bare);
    let namespace = bare.namespace("old");
    bare.apply(&namespace, &document(HTTP_ROUTE).to_string());
    let driven = Driven::in_namespace(&namespace, HTTP_ROUTE, bare.admin());
    let words = "its CRDs do not know the share; install newer CRDs of the Gateway API";
    super::eventually("the older schema is in force", async || {
        driven.provider.rehearse_mirror(weight(2_000)).await.is_err()
    })
    .await;
    invalid(driven.provider.rehearse_mirror(weight(2_000)).await, words);
    driven.provider.rehearse_mirror(Weight::FULL).await.expect("all is said by saying nothing");
    let read = || {
        let access = bare.admin().within(&namespace);
        access.kubectl(&["get", "httproutes", "checkout", "-o=jsonpath={.spec}"])
    };
    let mirrors = Company { testers: "blue".into(), ..on(20) };
    invalid(driven.provider.accompany(mirrors, Mark::raise(1)).await, words);
    assert!(!read().contains("RequestMirror"), "no more than was asked for is copied");
}
