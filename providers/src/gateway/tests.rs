//! What needs no server: the settings, the targets, the schema, and what parents say.

use serde_json::{Value, json};

use super::{ENTRY, status};
use crate::{Scope, SettingsError, Sides, routes::kind::Said};

fn sides() -> Sides {
    Sides { first: "blue".into(), second: "green".into() }
}

fn settings() -> Value {
    json!({
        "httpRoute": {"name": "checkout", "rules": ["primary"]},
        "destinations": {
            "blue": {"service": "checkout-blue", "port": 80},
            "green": {"service": "checkout-green", "port": 80},
        },
    })
}

fn check(settings: &Value) -> Result<Value, Vec<SettingsError>> {
    (ENTRY.check)(settings, Scope { namespace: "shop", sides: &sides() })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut settings = settings();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    settings.pointer_mut(parent).unwrap()[field] = value;
    settings
}

#[track_caller]
fn refused(settings: &Value, path: &str, words: &str) {
    let errors = check(settings).unwrap_err();
    let SettingsError { path: found, message, help } = &errors[0];
    let said = format!("{message}; {}", help.clone().unwrap_or_default());
    assert!(found == path && said.contains(words), "at {found:?}: {said}");
}

#[test]
fn the_namespace_is_filled_in_and_no_other_is_taken() {
    let checked = check(&settings()).unwrap();
    assert_eq!(checked, with("/namespace", json!("shop")));
    assert_eq!(check(&checked).unwrap(), checked);
    refused(
        &with("/namespace", json!("bank")),
        "/namespace",
        "namespace \"bank\" is not the rollout's own, \"shop\"",
    );
}

#[test]
fn exactly_one_route_is_named() {
    let mut none = settings();
    none.as_object_mut().unwrap().remove("httpRoute");
    refused(&none, "", "0 routes are named, and one is needed; name one of httpRoute");
    refused(&with("/tcpRoute", json!({"name": "x"})), "", "2 routes are named");
}

#[test]
fn no_name_leaves_its_place_in_a_path() {
    for odd in ["", "a/b", "../x", "a?b", "a b", "A", "a%2f", ".", "-a", &"a".repeat(254)] {
        refused(&with("/httpRoute/name", json!(odd)), "/httpRoute/name", "must consist of");
        let path = "/destinations/green/service";
        refused(&with(path, json!(odd)), path, "must consist of");
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    let same = json!({"service": "checkout-blue", "port": 80});
    refused(
        &with("/destinations/green", same),
        "/destinations/green",
        "both sides are served by checkout-blue:80",
    );
    refused(
        &with("/destinations/gren", json!({"service": "x", "port": 1})),
        "/destinations/gren",
        "there is no side \"gren\"",
    );
    refused(&with("/destinations/green/port", json!(0)), "/destinations/green/port", "port 0");
    refused(&with("/httpRoute/rules", json!(["a", "a"])), "/httpRoute/rules/1", "named twice");
    refused(&with("/httpRoute/rule", json!("a")), "/httpRoute/rule", "unknown field `rule`");
}

#[test]
fn two_rollouts_on_one_destination_have_a_target_in_common() {
    let targets = (ENTRY.targets)(&check(&settings()).unwrap());
    assert_eq!(
        targets,
        ["HTTPRoute shop/checkout checkout-blue:80", "HTTPRoute shop/checkout checkout-green:80"]
    );
    // A Service has one name and a port here, and nothing of either may be left out.
    let spelled = check(&with("/namespace", json!("shop"))).unwrap();
    assert_eq!((ENTRY.targets)(&spelled), targets);
    let mut open = settings();
    open["destinations"]["blue"].as_object_mut().unwrap().remove("port");
    refused(&open, "/destinations/blue", "missing field `port`");
}

#[test]
fn connections_are_not_requests() {
    assert!((ENTRY.capabilities)(&settings()).layer7);
    let tcp = json!({"tcpRoute": {"name": "db"}, "destinations": {}});
    assert!(!(ENTRY.capabilities)(&tcp).layer7);
    assert_eq!((ENTRY.capabilities)(&settings()).granularity, 1);
}

#[test]
fn the_schema_describes_every_field() {
    let schema = (ENTRY.schema)().to_value();
    for field in ["httpRoute", "grpcRoute", "tlsRoute", "tcpRoute", "namespace", "destinations"] {
        let described = schema.pointer(&format!("/properties/{field}/description"));
        assert!(described.is_some(), "{field}: {schema:#}");
    }
}

// === what parents say ===

fn route(parents: Value, statuses: Value) -> Value {
    json!({"metadata": {"generation": 4}, "spec": {"parentRefs": parents}, "status": {"parents": statuses}})
}

fn told(parent: &Value, generation: i64, accepted: &str, resolved: &str) -> Value {
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "observedGeneration": generation, "message": "because"});
    json!({"parentRef": parent, "controllerName": "example/gw",
        "conditions": [condition("Accepted", accepted), condition("ResolvedRefs", resolved)]})
}

#[test]
fn a_route_is_accepted_once_every_parent_took_this_generation() {
    let (one, two) = (json!({"name": "edge"}), json!({"name": "edge", "sectionName": "https"}));
    let full = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge", "namespace": "shop"});
    let said = |statuses: Value| status::said(&route(json!([one, two]), statuses), "shop");
    let yes = |parent: &Value| told(parent, 4, "True", "True");
    assert_eq!(said(json!([yes(&full), yes(&two)])), Said::Yes, "with defaults or without");
    assert!(matches!(said(json!([yes(&one)])), Said::NotYet(why) if why.contains("parent edge")));
    let old = told(&two, 3, "True", "True");
    assert!(
        matches!(said(json!([yes(&one), old])), Said::NotYet(why) if why.contains("example/gw has not said"))
    );
    let unresolved = told(&two, 4, "True", "False");
    let Said::No(why) = said(json!([yes(&one), unresolved])) else { panic!("it is refused") };
    assert_eq!(why, "example/gw says ResolvedRefs=False: because");
    let second = told(&two, 4, "False", "True");
    assert!(
        matches!(said(json!([yes(&one), yes(&two), second])), Said::No(_)),
        "every controller counts"
    );
}

#[test]
fn a_route_that_no_gateway_takes_is_refused() {
    assert!(matches!(status::said(&route(json!([]), json!([])), "shop"), Said::No(_)));
    assert!(matches!(status::said(&json!({}), "shop"), Said::No(_)));
}
