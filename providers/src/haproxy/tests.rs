//! What needs no server: the settings, the targets, the schema and the snippet. Everything else is
//! proved against real HAProxy processes, in `tests/tests/haproxy.rs`.

use serde_json::{Value, json};

use super::{ENTRY, snippet};
use crate::{Scope, SettingsError, Sides};

fn sides() -> Sides {
    Sides { first: "blue".into(), second: "green".into() }
}

fn share() -> Value {
    json!({
        "sockets": ["/run/haproxy/admin.sock"],
        "share": {"map": "/etc/haproxy/haldane/share.map", "key": "checkout"},
        "destinations": {"blue": {"backend": "be_blue"}, "green": {"backend": "be_green"}},
    })
}

fn weights() -> Value {
    json!({
        "sockets": ["/run/haproxy/admin.sock", "127.0.0.1:9999"],
        "mode": "ServerWeights",
        "destinations": {
            "blue": {"backend": "be_app", "servers": ["b1", "b2"]},
            "green": {"backend": "be_app", "servers": ["g1"]},
        },
    })
}

fn with(mut settings: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    settings.pointer_mut(parent).unwrap()[field] = value;
    settings
}

fn check(settings: &Value) -> Result<Value, Vec<SettingsError>> {
    (ENTRY.check)(settings, Scope { namespace: "shop", sides: &sides() })
}

/// The first error is at `path` and says `words`.
#[track_caller]
fn refused(settings: &Value, path: &str, words: &str) {
    let errors = check(settings).unwrap_err();
    let SettingsError { path: found, message, help } = &errors[0];
    let said = format!("{message}; {}", help.clone().unwrap_or_default());
    assert!(found == path && said.contains(words), "at {found:?}: {said}");
}

#[test]
fn defaults_are_added_and_checked_settings_stay() {
    let mut short = share();
    short.as_object_mut().unwrap().remove("sockets");
    let checked = check(&short).unwrap();
    assert_eq!(checked, with(share(), "/mode", json!("Share")));
    assert_eq!(check(&checked).unwrap(), checked);
    assert_eq!(check(&weights()).unwrap(), weights());
}

#[test]
fn an_unknown_side_is_refused_by_name_and_path() {
    let settings = with(share(), "/destinations/gren", json!({"backend": "be"}));
    refused(
        &settings,
        "/destinations/gren",
        "there is no side \"gren\"; the sides are blue and green",
    );
    let mut settings = share();
    settings["destinations"].as_object_mut().unwrap().remove("green");
    refused(&settings, "/destinations", "side green has no destination; add `green: {backend: …}`");
}

#[test]
fn plain_tcp_stays_on_this_machine() {
    let socket = |text: &str| with(share(), "/sockets", json!([text]));
    refused(&socket("10.0.0.7:9999"), "/sockets/0", "use a unix socket, or a tunnel");
    refused(&socket("0.0.0.0:9999"), "/sockets/0", "plain TCP to another machine");
    refused(&socket("admin.sock"), "/sockets/0", "neither an absolute path nor a loopback address");
    for good in ["127.0.0.1:9999", "[::1]:9999", "/run/haproxy/admin.sock"] {
        check(&socket(good)).unwrap();
    }
}

#[test]
fn no_name_smuggles_a_command_in() {
    for odd in ["a b", "a;show info", "a\nshow info", "", "#a", "a\\b", "a\"b", "ä"] {
        refused(&with(share(), "/share/key", json!(odd)), "/share/key", "must consist of letters");
        let settings = with(share(), "/destinations/green/backend", json!(odd));
        refused(&settings, "/destinations/green/backend", "must consist of letters");
        let settings = with(weights(), "/destinations/green/servers", json!([odd]));
        refused(&settings, "/destinations/green/servers/0", "must consist of letters");
    }
    let settings = with(share(), "/share/map", json!("/etc/a map"));
    refused(&settings, "/share/map", "must consist of letters");
}

#[test]
fn what_does_not_go_together_is_refused() {
    let same = with(share(), "/destinations/green/backend", json!("be_blue"));
    refused(&same, "/destinations/green/backend", "give each side a backend of its own");
    let servers = with(share(), "/destinations/green/servers", json!(["g1"]));
    refused(&servers, "/destinations/green/servers", "set mode: ServerWeights");
    let other = with(weights(), "/destinations/green/backend", json!("be_other"));
    refused(&other, "/destinations/green/backend", "splits within one backend");
    let both = with(weights(), "/destinations/green/servers", json!(["b1"]));
    refused(&both, "/destinations/green/servers", "server \"b1\" is on both sides");
    let none = with(weights(), "/destinations/green/servers", json!([]));
    refused(&none, "/destinations/green/servers", "side green names no server");
    refused(&with(share(), "/share/map", json!("share.map")), "/share/map", "no absolute path");
    refused(&with(share(), "/share/key", json!("a.mark")), "/share/key", "choose another key");
    refused(&with(share(), "/sockets", json!([])), "/sockets", "name one admin socket");
    let twice = json!(["/run/a.sock", "/run/a.sock"]);
    refused(&with(share(), "/sockets", twice), "/sockets/1", "named twice");
    let mut bare = share();
    bare.as_object_mut().unwrap().remove("share");
    refused(&bare, "/share", "mode Share needs a map and a key");
}

#[test]
fn an_unknown_field_or_a_wrong_type_names_its_path() {
    refused(&with(share(), "/share/mapp", json!("/x")), "/share/mapp", "unknown field `mapp`");
    refused(&with(share(), "/sockets", json!([7])), "/sockets/0", "invalid type");
    refused(&with(share(), "/mode", json!("share")), "/mode", "unknown variant `share`");
}

#[test]
fn two_rollouts_on_one_route_have_a_target_in_common() {
    assert_eq!((ENTRY.targets)(&share()), ["haproxy:/etc/haproxy/haldane/share.map:checkout"]);
    let expected = ["haproxy:/run/haproxy/admin.sock:be_app", "haproxy:127.0.0.1:9999:be_app"];
    assert_eq!((ENTRY.targets)(&weights()), expected);
}

#[test]
fn only_a_share_is_signed() {
    assert!((ENTRY.capabilities)(&share()).signed);
    assert!(!(ENTRY.capabilities)(&weights()).signed);
}

#[test]
fn the_snippet_is_whole() {
    insta::assert_snapshot!(snippet(&share(), &sides()).unwrap(), @r"
    # In global, one socket per process:
    #   stats socket /run/haproxy/admin.sock group haproxy mode 660 level admin
    # Once, the map; the engine's user, in group haproxy, writes its directory:
    #   install -d -g haproxy -m 2775 /etc/haproxy/haldane
    #   printf 'checkout 0\n' >> /etc/haproxy/haldane/share.map
    # In the frontend, instead of the backend rules of this route. Where it serves several routes, give
    # every line the route's condition, and write the last one as a use_backend too:
        http-request set-var(txn.haldane.checkout) str(checkout),map_str(/etc/haproxy/haldane/share.map,0),add(0)
        use_backend be_green if { var(txn.haldane.checkout) -m int ge 10000 }
        use_backend be_green if { var(txn.haldane.checkout) -m int gt 0 } { nbsrv(be_green) gt 0 } { rand(10000),sub(txn.haldane.checkout) lt 0 }
        use_backend be_green if { var(txn.haldane.checkout) -m int gt 0 } { nbsrv(be_green) gt 0 } { nbsrv(be_blue) lt 1 }
        default_backend be_blue
    # In defaults, so that a reload loses no request on a kept connection:
    #   option idle-close-on-response
    # In global, so that an old process does not serve an old share for long:
    #   hard-stop-after 30s
    ");
    insta::assert_snapshot!(snippet(&weights(), &sides()).unwrap(), @r"
    # mode ServerWeights needs no lines of its own: write
    # `balance roundrobin` and no `cookie` in the backend.
    # In global, one socket per process:
    #   stats socket /run/haproxy/admin.sock group haproxy mode 660 level admin
    #   stats socket ipv4@127.0.0.1:9999 level admin
    ");
}

#[test]
fn two_keys_never_share_a_variable() {
    let line =
        |key: &str| snippet(&with(share(), "/share/key", json!(key)), &sides()).unwrap().frontend;
    assert!(line("a-b").contains("txn.haldane.a_2db"));
    assert!(line("a_b").contains("txn.haldane.a_5fb"));
}

#[test]
fn the_schema_describes_every_field() {
    let schema = (ENTRY.schema)().to_value();
    let described = |at: &str| schema.pointer(at).and_then(|field| field.get("description"));
    for field in ["sockets", "mode", "share", "destinations"] {
        assert!(described(&format!("/properties/{field}")).is_some(), "{field}: {schema:#}");
    }
    assert_eq!(schema["additionalProperties"], json!(false));
}
