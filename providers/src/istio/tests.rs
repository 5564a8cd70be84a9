//! What needs no server: the settings, the targets and the schema.

use haldane_outside::Outside;
use serde_json::{Value, json};

use super::ENTRY;
use crate::{Scope, SettingsError, Sides, overlap};

fn sides() -> Sides {
    Sides { first: "blue".into(), second: "green".into() }
}

fn settings() -> Value {
    json!({
        "virtualService": {"name": "checkout", "routes": ["primary"]},
        "destinations": {"blue": {"subset": "v1"}, "green": {"subset": "v2"}},
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
    refused(&with("/namespace", json!("bank")), "/namespace", "is not the rollout's own");
}

#[test]
fn one_or_several_virtual_services_are_named() {
    let mut none = settings();
    none.as_object_mut().unwrap().remove("virtualService");
    refused(&none, "", "no VirtualService is named; write virtualService");
    none["virtualServices"] = json!([{"name": "mesh"}, {"name": "edge"}]);
    assert!(check(&none).is_ok());
    none["virtualServices"] = json!([{"name": "mesh"}, {"name": "mesh"}]);
    refused(&none, "/virtualServices/1/name", "named twice");
    let both = with("/virtualServices", json!([{"name": "edge"}]));
    refused(&both, "/virtualService", "are both there");
}

#[test]
fn a_destination_is_a_host_or_a_subset_or_both() {
    refused(
        &with("/destinations/green", json!({})),
        "/destinations/green",
        "neither host nor subset",
    );
    let full = json!({"host": "checkout.shop.svc.cluster.local", "subset": "v2", "port": 80});
    assert!(check(&with("/destinations/green", full)).is_ok());
    refused(
        &with("/destinations/green", json!({"subset": "v1"})),
        "/destinations/green",
        "both sides are served by */v1",
    );
    refused(
        &with("/destinations/green", json!({"host": "checkout", "subset": "v1"})),
        "/destinations/green",
        "both sides are served by */v1",
    );
    // What an engine before this one took is still driven home.
    let mut pinned = with("/destinations/green", json!({"host": "checkout", "subset": "v1"}));
    pinned["namespace"] = json!("shop");
    assert!((ENTRY.build)(&pinned, &sides(), &Outside::default()).is_ok());
    refused(
        &with("/destinations/green/host", json!("a/b")),
        "/destinations/green/host",
        "must consist of",
    );
}

#[test]
fn two_rollouts_on_one_destination_have_a_target_in_common() {
    let targets = (ENTRY.targets)(&check(&settings()).unwrap());
    let expected = ["v1", "v2"]
        .map(|subset| format!("VirtualService shop/checkout host * subset {subset} port *"));
    assert_eq!(targets, expected);
}

#[test]
fn a_destination_is_the_same_however_it_is_spelled() {
    let overlaps = |one: &Value, other: &Value| {
        let of = |blue: &Value| {
            (ENTRY.targets)(&check(&with("/destinations/blue", blue.clone())).unwrap()).remove(0)
        };
        let (one, other) = (of(one), of(other));
        assert_eq!(overlap(&one, &other), overlap(&other, &one), "{one:?} {other:?}");
        overlap(&one, &other)
    };
    let same = |one: Value, other: Value| assert!(overlaps(&one, &other), "{one} {other}");
    let differ = |one: Value, other: Value| assert!(!overlaps(&one, &other), "{one} {other}");
    let full = "checkout.shop.svc.cluster.local";
    same(json!({"subset": "v1"}), json!({"host": "checkout", "subset": "v1"}));
    same(json!({"subset": "v1", "port": 80}), json!({"host": "checkout", "subset": "v1"}));
    same(json!({"host": "checkout"}), json!({"host": full}));
    same(json!({"host": "checkout"}), json!({"host": full, "port": 80}));
    differ(json!({"host": "checkout", "subset": "v1"}), json!({"host": "cart", "subset": "v1"}));
    differ(json!({"host": "checkout"}), json!({"host": "checkout", "subset": "v1"}));
    differ(json!({"host": "checkout", "port": 80}), json!({"host": full, "port": 81}));
    differ(json!({"host": "checkout"}), json!({"host": "checkout.bank.svc.cluster.local"}));
}

#[test]
fn shares_are_whole_percent() {
    assert_eq!((ENTRY.capabilities)(&settings()).granularity, 100);
}

#[test]
fn the_schema_describes_every_field() {
    let schema = (ENTRY.schema)().to_value();
    for field in ["virtualService", "virtualServices", "namespace", "destinations"] {
        let described = schema.pointer(&format!("/properties/{field}/description"));
        assert!(described.is_some(), "{field}: {schema:#}");
    }
}
