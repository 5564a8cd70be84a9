//! The real binary against real loops: words, exit codes, and what programs read.

#[path = "../../../tests/tests/desk/mod.rs"]
mod desk;

use std::{fs, path::Path, process::Output};

use desk::Rig;
use serde_json::Value;
use tokio::process::Command;

struct Said {
    code: i32,
    out: String,
    err: String,
}

async fn haldane(state: &Path, arguments: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_haldane"))
        .args(arguments)
        .env("HALDANE_STATE", state)
        .env_remove("HALDANE_SERVER")
        .output();
    let Output { status, stdout, stderr } = output.await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
}

#[track_caller]
fn holds(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in:\n{text}");
    }
    assert!(!text.contains('\x1b'), "no colours off a terminal: {text:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_engine_it_says_how_to_start_one() {
    let folder = tempfile::tempdir().unwrap();
    let said = haldane(folder.path(), &["get"]).await;
    assert_eq!(said.code, 1);
    holds(&said.err, &["no engine is running on", "haldane.sock", "haldane run"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rollouts_are_listed_and_shown() {
    let rig = Rig::start().await;
    let state = rig.folder.path();
    let list = haldane(state, &["get"]).await;
    holds(&list.out, &["ROLLOUT", "default/cart", "Degraded", "default/checkout", "2.4.1"]);
    let json = haldane(state, &["get", "checkout", "-o", "json"]).await;
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["phase"], "Healthy");
    holds(&haldane(state, &["get", "checkout", "--effective"]).await.out, &["watch: 1h"]);
    holds(&haldane(state, &["status", "default/checkout"]).await.out, &["Healthy", "2.4.1"]);
    let unnamed = haldane(state, &["status"]).await;
    assert_eq!(unnamed.code, 1);
    holds(&unnamed.err, &["there are 2 rollouts", "default/cart, default/checkout"]);
    let unknown = haldane(state, &["status", "nope"]).await;
    holds(&unknown.err, &["there is no rollout default/nope", "known: default/cart"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_explained_in_a_sentence() {
    let rig = Rig::start().await;
    let said = haldane(rig.folder.path(), &["explain", "cart"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    holds(&said.out, &[
        "at rest after a rollback",
        "revision 1.1 was rolled back at",
        "errors was 5.2 %",
        "limit max 1 %",
        "samples",
    ]);
    let all = haldane(rig.folder.path(), &["explain", "checkout", "--all"]).await;
    holds(&all.out, &["attempt 3: 2.4.1 has all traffic"]);
    assert!(!all.out.contains("rolled back"), "{}", all.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_says_from_when_it_is_complete() {
    let rig = Rig::start().await;
    let said = haldane(rig.folder.path(), &["history", "cart"]).await;
    holds(&said.out, &["# default/cart: complete since 2025-10-09", "Started", "Breach"]);
    let last = haldane(rig.folder.path(), &["history", "cart", "--last", "1"]).await;
    holds(&last.out, &["RolledBack"]);
    assert!(!last.out.contains("Started"), "{}", last.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_accepted_with_0_and_refused_with_11() {
    let rig = Rig::start().await;
    let state = rig.folder.path();
    let paused = haldane(state, &["pause", "checkout", "--reason", "lunch"]).await;
    assert_eq!(paused.code, 0, "{}", paused.err);
    holds(&paused.out, &["default/checkout: pause accepted", "revision 2.4.1", "attempt 3"]);
    assert_eq!(haldane(state, &["resume", "checkout"]).await.code, 0);
    let refused = haldane(state, &["abort", "checkout"]).await;
    assert_eq!(refused.code, 11);
    holds(&refused.err, &["abort refused: nothing to abort; `haldane undo` returns to 2.4.0"]);
    let stale = haldane(state, &["undo", "checkout", "--attempt", "2", "-o", "json"]).await;
    assert_eq!(stale.code, 11);
    let stale: Value = serde_json::from_str(&stale.out).unwrap();
    assert_eq!(stale["outcome"], "refused");
    for odd in [&["promote", "x", "--without-guards"][..], &["promte"], &["skip", "--step", "0"]] {
        assert_eq!(haldane(state, odd).await.code, 64, "{odd:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_points_at_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let bad = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/bad/last-step-below-100.yaml");
    let said = haldane(folder.path(), &["validate", bad]).await;
    assert_eq!(said.code, 1);
    holds(&said.err, &["last-step-below-100.yaml:7:14", "spec.steps[1].weight", "{weight: 100}"]);
    let json = haldane(folder.path(), &["validate", bad, "-o", "json"]).await;
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["files"][0]["diagnostics"][0]["line"], 7);

    let good = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/examples/minimal.yaml");
    let said = haldane(folder.path(), &["validate", good]).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    let twice = folder.path().join("twice.yaml");
    fs::copy(good, &twice).unwrap();
    let fight = haldane(folder.path(), &["validate", good, twice.to_str().unwrap()]).await;
    assert_eq!(fight.code, 1, "two rollouts must not drive one route: {}", fight.out);
    let missing = haldane(folder.path(), &["validate", "/nowhere.yaml"]).await;
    holds(&missing.err, &["cannot read /nowhere.yaml"]);
    let moves = haldane(folder.path(), &["validate", good, "--for", "kubernetes"]).await;
    assert_eq!(moves.code, 1);
    holds(&moves.err, &["names a place on the engine's own machine"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_is_told_what_to_paste_and_whether_it_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    let good = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/examples/minimal.yaml");
    let snippet = haldane(folder.path(), &["haproxy", "snippet", good]).await;
    assert_eq!(snippet.code, 0, "{}", snippet.err);
    holds(&snippet.out, &["stats socket", "level admin", "use_backend"]);
    let preflight = haldane(folder.path(), &["haproxy", "preflight", good]).await;
    assert_eq!(preflight.code, 1, "no HAProxy answers on that socket");
    holds(&preflight.err, &["not ready"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_needs_no_engine() {
    let folder = tempfile::tempdir().unwrap();
    let schema = haldane(folder.path(), &["schema"]).await;
    let schema: Value = serde_json::from_str(&schema.out).unwrap();
    assert!(schema.pointer("/properties/spec").is_some());
    holds(&haldane(folder.path(), &["version"]).await.out, &["haldane ", "api v1"]);
    holds(&haldane(folder.path(), &["completion", "bash"]).await.out, &["_haldane()"]);
    assert_eq!(haldane(folder.path(), &["--help"]).await.code, 0);
    assert_eq!(haldane(folder.path(), &[]).await.code, 64);
}
