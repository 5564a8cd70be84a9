//! What needs no server: the settings, the targets and the schema.

use serde_json::{Value, json};

use super::ENTRY;
use crate::{Scope, SettingsError, Sides};

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
        &with("/destinations/green/host", json!("a/b")),
        "/destinations/green/host",
        "must consist of",
    );
}

#[test]
fn two_rollouts_on_one_destination_have_a_target_in_common() {
    let targets = (ENTRY.targets)(&check(&settings()).unwrap());
    assert_eq!(targets, ["VirtualService shop/checkout */v1", "VirtualService shop/checkout */v2"]);
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
