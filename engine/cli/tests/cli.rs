//! The real binary against real loops: words, exit codes, and what programs read.

#![allow(clippy::unwrap_used, reason = "a suite: what is not there fails it")]

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
    holds(
        &said.out,
        &[
            "at rest after a rollback",
            "revision 1.1 was rolled back at",
            "errors was 5.2 %",
            "limit max 1 %",
            "samples",
        ],
    );
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

const TEMPLATE: &str = "apiVersion: haldane.dev/v1alpha1
kind: AnalysisTemplate
metadata: {name: http}
spec:
  arguments: [{name: most}]
  checks:
  - {name: brought, errors: {max: \"{{ most }}\", metrics: prometheus}}
";

/// A folder with a rollout that uses a template of another file beside it.
fn with_template(most: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let minimal = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/examples/minimal.yaml");
    let uses =
        format!("  analysis:\n    templates: [{{name: http, arguments: {{most: {most}}}}}]\n");
    let rollout = fs::read_to_string(minimal).unwrap().replace("  analysis:\n", &uses);
    assert!(rollout.contains("templates"), "{rollout}");
    fs::write(folder.path().join("rollout.yaml"), rollout).unwrap();
    fs::write(folder.path().join("templates.yaml"), TEMPLATE).unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_of_other_files_are_named_and_their_faults_shown_in_them() {
    let folder = with_template("1%");
    let (state, file) =
        (folder.path(), |name: &str| folder.path().join(name).display().to_string());
    let (rollout, templates) = (file("rollout.yaml"), file("templates.yaml"));
    let alone = haldane(state, &["validate", &rollout]).await;
    assert_eq!(alone.code, 1);
    holds(&alone.err, &["there is no AnalysisTemplate `http`", "--templates PATH"]);
    for path in [&templates, &folder.path().display().to_string()] {
        let said = haldane(state, &["validate", &rollout, "--templates", path]).await;
        assert_eq!((said.code, said.err.as_str()), (0, ""));
    }
    let said = haldane(state, &["validate", &templates]).await;
    holds(&said.out, &["AnalysisTemplate default/http is valid"]);
    let snippet =
        haldane(state, &["haproxy", "snippet", &rollout, "--templates", &templates]).await;
    assert_eq!(snippet.code, 0, "{}", snippet.err);

    let folder = with_template("2x");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (rollout, templates) = (file("rollout.yaml"), file("templates.yaml"));
    let said = haldane(state, &["validate", &rollout, "--templates", &templates]).await;
    assert_eq!(said.code, 1);
    let place = format!("{templates}:7:35");
    holds(&said.err, &[&place, "{{ most }}", "used by the rollout", "\"2x\" cannot be read"]);
    let nowhere = haldane(state, &["run", &rollout, "--templates", "/nowhere"]).await;
    assert_eq!(nowhere.code, 1);
    holds(&nowhere.err, &["cannot read /nowhere"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_uses_templates_of_other_files_and_reads_them_again() {
    let (folder, state) = (with_template("1%"), tempfile::tempdir().unwrap());
    let _engine = Command::new(env!("CARGO_BIN_EXE_haldane"))
        .arg("serve")
        .arg(folder.path())
        .env("HALDANE_STATE", state.path())
        .kill_on_drop(true)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let shows = async |words: &str| {
        let mut last = String::new();
        for _ in 0..240 {
            last = haldane(state.path(), &["get", "checkout", "--effective"]).await.out;
            if last.contains(words) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        }
        panic!("{words:?} is not shown:\n{last}");
    };
    shows("name: brought").await;
    let path = folder.path().join("templates.yaml");
    fs::write(&path, TEMPLATE.replace("name: brought", "name: renamed")).unwrap();
    shows("name: renamed").await;
    fs::write(&path, "kind: AnalysisTemplate").unwrap();
    let path = folder.path().join("others.yaml");
    fs::write(&path, TEMPLATE.replace("name: brought", "name: moved")).unwrap();
    shows("name: moved").await;
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
    assert!(schema.pointer("/oneOf/0/properties/spec").is_some());
    holds(&haldane(folder.path(), &["version"]).await.out, &["haldane ", "api v1"]);
    holds(&haldane(folder.path(), &["completion", "bash"]).await.out, &["_haldane()"]);
    assert_eq!(haldane(folder.path(), &["--help"]).await.code, 0);
    assert_eq!(haldane(folder.path(), &[]).await.code, 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_engine_left_is_told_while_none_runs() {
    use haldane_runtime::ports::Store as _;
    let folder = tempfile::tempdir().unwrap();
    let options = haldane_standalone::store::Options::default();
    let store = haldane_standalone::store::Store::open(folder.path(), &options).unwrap();
    let store = haldane_standalone::store::StoreHandle::start(store).unwrap();
    let swap = desk::left(store.term());
    let kept = haldane_standalone::Kept(store);
    let won = kept.swap(&desk::cart(), swap).await;
    assert_eq!(won, haldane_runtime::ports::Swap::Won);
    drop(kept);
    let said = haldane(folder.path(), &["explain"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    holds(&said.out, &["rolled back at", "errors was 5.2 %"]);
    holds(&said.err, &["no engine is running; this is what was recorded last"]);
    holds(&haldane(folder.path(), &["history", "cart"]).await.out, &["Breach", "RolledBack"]);
    holds(&haldane(folder.path(), &["get"]).await.out, &["default/cart", "Degraded"]);
    let asked = haldane(folder.path(), &["pause", "cart"]).await;
    assert_eq!(asked.code, 1, "nobody can take a request");
}
