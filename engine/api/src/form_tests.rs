//! What a request may say, and how it is told what it may not.

use super::*;
use crate::access::TokenFile;

fn status() -> Status {
    let empty = serde_json::json!({
        "rollout": "default/checkout", "phase": "Baking", "watching": false,
        "revision": "2.4.1", "revisionsAreTold": false, "attempt": 3,
        "step": {"index": 1, "count": 4, "weight": 2500, "baked": 10.0, "bake": 300.0},
        "steps": [], "traffic": [], "checks": [], "holds": [], "heldBy": [],
        "engine": {"format": 1, "term": 1, "version": 7},
    });
    serde_json::from_value(empty).unwrap()
}

fn read_as(peer: &Peer, body: &str) -> Result<Request, Trouble> {
    read(body.as_bytes(), peer, &status(), Timestamp::UNIX_EPOCH)
}

#[track_caller]
fn refused(body: &str, field: &str, words: &str) {
    let trouble = read_as(&Peer::User(0), body).unwrap_err();
    assert_eq!(trouble.field.as_deref(), Some(field), "{trouble:?}");
    assert!(trouble.error.contains(words), "{trouble:?}");
    assert!(trouble.remedy.is_some(), "{trouble:?}");
}

#[test]
fn what_is_not_said_is_what_the_rollout_shows() {
    let request = read_as(&Peer::User(0), r#"{"verb": "promote"}"#).unwrap();
    let made_for = (request.revision.unwrap(), request.attempt, request.step);
    assert_eq!(made_for, ("2.4.1".into(), Some(3), Some(1)));
    assert_eq!(request.actor, Actor::Person("root".to_owned()));
}

#[test]
fn what_is_said_is_kept() {
    let body = r#"{"id": "a", "verb": "skip", "revision": "2.4.0", "attempt": 2, "step": 0}"#;
    let request = read_as(&Peer::User(0), body).unwrap();
    assert_eq!((request.id, request.attempt, request.step), ("a".into(), Some(2), Some(0)));
    assert_eq!(request.revision, Some("2.4.0".into()));
}

#[test]
fn odd_fields_are_named_with_value_and_remedy() {
    refused("{}", "verb", "missing");
    refused(r#"{"verb": "launch"}"#, "verb", "launch");
    refused(r#"{"verb": "skip", "stpe": 1}"#, "stpe", "stpe");
    refused(r#"{"verb": "skip", "step": "two"}"#, "step", "\"two\"");
    refused(r#"{"verb": "skip", "attempt": -1}"#, "attempt", "-1");
    refused(r#"{"verb": "pause", "full": true}"#, "full", "pause");
    refused(r#"{"verb": "promote", "full": "yes"}"#, "full", "\"yes\"");
    refused(r#"{"verb": "pause", "without": "edge"}"#, "without", "retry");
    refused(r#"{"verb": "pause", "reason": "a\u001b[2J"}"#, "reason", "control");
    refused(r#"{"verb": "promote", "withoutGuards": true}"#, "reason", "no reason");
    refused(r#"{"verb": "pause", "id": ""}"#, "id", "empty");
}

#[test]
fn over_tcp_everyone_but_an_abort_needs_a_name() {
    let remote = Peer::Remote(TokenFile::new("/nowhere".into()));
    let trouble = read_as(&remote, r#"{"verb": "resume"}"#).unwrap_err();
    assert_eq!(trouble.field.as_deref(), Some("requestedBy"));
    let named = read_as(&remote, r#"{"verb": "resume", "requestedBy": "ann"}"#).unwrap();
    assert_eq!(named.actor, Actor::Person("claimed:ann".to_owned()));
    let abort = read_as(&remote, r#"{"verb": "abort"}"#).unwrap();
    assert_eq!(abort.actor, Actor::Person("claimed:nobody".to_owned()));
}

#[test]
fn no_two_ids_are_alike() {
    assert_ne!(fresh_id("api"), fresh_id("api"));
}
