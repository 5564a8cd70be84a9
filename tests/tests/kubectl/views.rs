//! What is shown of a rollout in a cluster: the tree down to the pods, where it is, why, and what was decided.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    time::{Duration, Instant},
};

use haldane_model::{
    Actor, Cause, Finding, JournalEntry, Now, Place, Reason, Record, Stamp, State, Verdict, Weight,
    Window,
};
use haldane_runtime::codec;
use haldane_tests::{cluster::Kubelet, process::wait_for, rig::built};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    HEARD, PATIENCE, ROLLOUT, admin, baking, cluster, command, haldane, holds, set_status,
};

/// Entries as an engine writes them: an attempt that began, bakes, and is rolled back by a breach.
fn story() -> Vec<JournalEntry> {
    let at = |secs: i64| -> Timestamp { format!("2026-05-01T14:00:{secs:02}Z").parse().unwrap() };
    let entry = |id: u64, reason: Reason, before: State, after: State| JournalEntry {
        id,
        at: at(i64::try_from(id).unwrap()),
        attempt: 3,
        revision: Some("2.4.1".into()),
        step: Some(1),
        weight: Weight::from_percent(25).unwrap(),
        before,
        after,
        reason,
        cause: None,
        actor: Actor::Engine,
        finding: None,
        detail: None,
    };
    let window = json!({"begin": at(10).to_string(), "end": at(20).to_string()});
    let finding = Finding {
        check: "errors".into(),
        verdict: Verdict::Fail { breach: true },
        value: Some(0.052),
        limit: Some("max 1 %".to_owned()),
        unit: "%".to_owned(),
        samples: Some(1200.0),
        window: serde_json::from_value::<Window>(window).unwrap(),
        message: None,
        compared: None,
    };
    let breach = JournalEntry {
        cause: Some(Cause::Breach),
        finding: Some(finding),
        weight: Weight::ZERO,
        ..entry(3, Reason::Breach, State::Baking, State::RollingBack)
    };
    vec![
        entry(1, Reason::Started, State::Pending, State::Shifting),
        entry(2, Reason::StepConfirmed, State::Shifting, State::Baking),
        breach,
        JournalEntry {
            weight: Weight::ZERO,
            ..entry(4, Reason::RolledBack, State::RollingBack, State::Degraded)
        },
    ]
}

fn texts(entries: &[JournalEntry]) -> Vec<String> {
    entries.iter().map(|entry| serde_json::to_string(entry).unwrap()).collect()
}

fn measurement(nth: u32) -> Value {
    let at = |secs: u32| format!("2026-05-01T14:00:{secs:02}Z");
    json!({"at": at(nth * 10), "window": {"begin": at(nth * 10 - 5), "end": at(nth * 10)}, "limit": "max 1 %",
           "verdict": if nth < 4 { "Pass" } else { "Fail" }, "value": 0.013 * f64::from(nth), "samples": 1200})
}

/// A namespace with a rollout that was rolled back, as an engine leaves it.
fn degraded(name: &str) -> String {
    let namespace = baking(name);
    let story = story();
    cluster().apply(
        &namespace,
        "
apiVersion: haldane.dev/v1alpha1
kind: AnalysisRun
metadata: {name: checkout-3}
spec: {rollout: checkout, attempt: 3, revision: 2.4.1, checks: [{name: errors, rule: {max: 0.01}}]}
",
    );
    set_status(
        &namespace,
        "analysisrun",
        "checkout-3",
        &json!({
            "phase": "Failed", "startedAt": "2026-05-01T14:00:01Z", "message": "errors was 5.2 %",
            "checks": [{"name": "errors", "verdict": "Fail", "breach": true, "looks": {"Pass": 3, "Fail": 1},
                    "measurements": (1..=4).map(measurement).collect::<Vec<_>>()}],
            "entries": texts(&story[..3]),
        }),
    );
    set_status(
        &namespace,
        "rollout",
        "checkout",
        &json!({
            "phase": "Degraded", "step": null,
            "lastDecision": {
                "time": "2026-05-01T14:00:04Z", "reason": "RolledBack", "actor": "haldane",
                "message": "the traffic is back", "entries": texts(&story[2..]),
            },
        }),
    );
    namespace
}

#[test]
fn explain_and_history_answer_from_what_the_engine_wrote() {
    let namespace = degraded("story");
    let told = haldane(admin(), &["explain", "checkout", "-n", &namespace]);
    assert_eq!(told.code, 0, "{}", told.err);
    holds(
        &told.out,
        &[
            "revision 2.4.1 was rolled back at 14:00:03Z in step 2",
            "errors was 5.2 %",
            "limit max 1 %",
            "at rest after a rollback",
            "the last decision, at 2026-05-01 14:00:04Z: the traffic is back",
        ],
    );
    let told = haldane(admin(), &["history", &format!("{namespace}/checkout")]);
    holds(
        &told.out,
        &["complete since it began", "Started", "StepConfirmed", "Breach", "RolledBack"],
    );
    assert_eq!(
        told.out.matches("a breach").count(),
        1,
        "what is there twice is told once: {}",
        told.out
    );
    let told = haldane(admin(), &["history", "checkout", "-n", &namespace, "-o", "json"]);
    let journal: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(journal["entries"].as_array().unwrap().len(), 4);
    let told = haldane(admin(), &["explain", "checkout", "-n", &namespace, "--plot"]);
    assert_eq!(told.code, 0, "{}", told.err);
    holds(&told.out, &["errors, attempt 3 of 2.4.1", "limit"]);
    let told =
        haldane(admin(), &["explain", "checkout", "-n", &namespace, "--plot", "--attempt", "2"]);
    assert_eq!(told.code, 1);
    holds(&told.err, &["is recorded of attempt 2", "get analysisruns"]);
    let told = haldane(admin(), &["replay", "checkout", "-n", &namespace]);
    assert_eq!(told.code, 1);
    holds(
        &told.err,
        &["keeps its decisions and the newest measurements", "get analysisruns checkout -o yaml"],
    );
}

#[test]
fn analyses_are_listed_and_shown_as_they_are() {
    let namespace = degraded("analyses");
    let table = haldane(admin(), &["get", "analysisruns", "-n", &namespace]);
    holds(
        &table.out,
        &[
            "ANALYSIS",
            &format!("{namespace}/checkout-3"),
            "2.4.1",
            "Failed",
            "2026-05-01 14:00:01Z",
            "errors was 5.2 %",
        ],
    );
    let other = degraded("analyses");
    holds(
        &haldane(admin(), &["get", "analysisruns", "-A"]).out,
        &[&format!("{namespace}/checkout-3"), &format!("{other}/checkout-3")],
    );
    for name in ["checkout", "checkout-3"] {
        let told = haldane(admin(), &["get", "har", name, "-n", &namespace, "-o", "yaml"]);
        assert_eq!(told.code, 0, "{}", told.err);
        holds(&told.out, &["kind: AnalysisRun", "phase: Failed"]);
        assert!(!told.out.contains("managedFields"), "{}", told.out);
    }
    let told = haldane(admin(), &["get", "analysisruns", "nope", "-n", &namespace]);
    assert_eq!(told.code, 1);
    holds(&told.err, &["no analysis, called"]);
}

#[test]
fn rollouts_are_listed_by_namespace_or_all_and_shown_with_their_plan() {
    let (one, two) = (baking("list"), baking("list"));
    let listed = haldane(admin(), &["get", "rollouts", "-n", &one]);
    holds(&listed.out, &["ROLLOUT", &format!("{one}/checkout"), "Baking", "2.4.1", "2/4", "25 %"]);
    assert!(!listed.out.contains(&two), "{}", listed.out);
    holds(&haldane(admin(), &["get", "-A"]).out, &[&one, &two]);
    let plan = haldane(admin(), &["get", "checkout", "-n", &one, "--effective"]);
    holds(&plan.out, &["progressDeadline:", "httpRoute"]);
    holds(&plan.err, &["compiled here from what is written now"]);
    let status = haldane(admin(), &["status", "checkout", "-n", &one, "-o", "yaml"]);
    holds(&status.out, &["phase: Baking", "attempt: 3"]);
    let picture = haldane(admin(), &["status", "-n", &one]);
    holds(&picture.out, &["2.4.0 -> 2.4.1", "wanted    25 %", "errors", "Pass", "1200 samples"]);
}

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: checkout-SIDE}
spec:
  replicas: 2
  selector: {matchLabels: {app: checkout, side: SIDE}}
  template:
    metadata: {labels: {app: checkout, side: SIDE}}
    spec: {containers: [{name: app, image: checkout}]}
";

fn pods(namespace: &str, side: &str) -> Vec<String> {
    let chosen = format!("-lside={side}");
    let told = admin().kubectl(&["-n", namespace, "get", "pods", &chosen, "-o", "name"]);
    told.lines().map(|line| line.trim_start_matches("pod/").to_owned()).collect()
}

#[test]
fn a_tree_leads_down_to_the_pod_that_crashes() {
    let namespace = degraded("tree");
    let both = ["blue", "green"].map(|side| DEPLOYMENT.replace("SIDE", side)).join("---");
    cluster().apply(&namespace, &both);
    let _kubelet = Kubelet::start(admin(), &namespace);
    wait_for("the controllers make pods", PATIENCE, || {
        ["blue", "green"].iter().all(|side| pods(&namespace, side).len() == 2)
    });
    wait_for("all run", PATIENCE, || {
        haldane(admin(), &["get", "checkout", "-n", &namespace]).out.matches("2/2 ready").count()
            == 2
    });
    let broken = pods(&namespace, "green").remove(0);
    cluster().set_pod_status(&namespace, &broken, &json!({
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "False"}],
        "containerStatuses": [{
            "name": "app", "image": "checkout", "imageID": "test", "ready": false, "restartCount": 7,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}},
        }],
    }));
    wait_for("the controllers see it", PATIENCE, || {
        haldane(admin(), &["get", "checkout", "-n", &namespace]).out.contains("1/2 ready")
    });
    let told = haldane(admin(), &["get", "rollout", "checkout", "-n", &namespace]);
    assert_eq!((told.code, told.err.as_str()), (0, ""));
    holds(
        &told.out,
        &[
            &format!("Rollout {namespace}/checkout  Degraded  2.4.1, attempt 3"),
            "├─ Traffic\n│  └─ edge  wanted 25 %, observed 25 %  Accepted",
            "├─ Side blue (serves)\n│  └─ Deployment checkout-blue  2/2 ready",
            "├─ Side green (idle)\n│  └─ Deployment checkout-green  1/2 ready",
            &format!("Pod {broken}  CrashLoopBackOff  0/1 ready  7 restarts  back-off 5m0s"),
            "errors               0.40 %  max 1 %        Pass  1200 samples",
            "AnalysisRun checkout-3  Failed",
        ],
    );
    let told = haldane(admin(), &["get", "rollout", "checkout", "-n", &namespace, "-o", "json"]);
    let tree: Value = serde_json::from_str(&told.out).unwrap();
    let pod = &tree["sides"][1]["workload"]["pods"][0];
    assert_eq!(
        (&pod["name"], &pod["state"]),
        (&json!(broken), &json!("CrashLoopBackOff")),
        "what is not well comes first"
    );

    admin().kubectl(&["-n", &namespace, "delete", "deployment", "checkout-green"]);
    let told = haldane(admin(), &["get", "checkout", "-n", &namespace]);
    holds(&told.out, &["Deployment checkout-green  is missing"]);
}

#[test]
fn who_may_see_rollouts_and_no_pods_sees_where_the_tree_ends() {
    let namespace = baking("sight");
    cluster().apply(
        &namespace,
        &format!(
            "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: sees}}
rules: [{{apiGroups: [haldane.dev], resources: [rollouts, analysisruns], verbs: [get, list]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: sees}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: sees}}
subjects: [{{kind: ServiceAccount, name: sees, namespace: {namespace}}}]
"
        ),
    );
    let sees = cluster().account(&namespace, "sees");
    wait_for("the role counts", PATIENCE, || haldane(&sees, &["get"]).code == 0);
    let told = haldane(&sees, &["get", "checkout"]);
    assert_eq!(told.code, 0, "{}", told.err);
    holds(
        &told.out,
        &["Deployment checkout-blue  may not be read", "cannot get resource \"deployments\""],
    );
    holds(&haldane(&sees, &["explain"]).out, &["bakes step 2 of 4 (25 %"]);

    // Its own rights, and reading alone: what it asked stands in the audit log.
    let user = format!("system:serviceaccount:{namespace}:sees");
    let asked = cluster().requests_of(&user);
    assert!(asked.len() > 4, "{asked:?}");
    let shown = format!("{asked:?}");
    for never in ["secrets", "configmaps"] {
        assert!(!shown.contains(never), "{never} is asked for: {shown}");
    }
}

#[test]
fn a_watch_shows_what_changes() {
    let namespace = baking("watch");
    for arguments in [
        ["get", "checkout", "--watch", "-o", "json"],
        ["status", "checkout", "--watch", "-o", "json"],
    ] {
        set_status(&namespace, "rollout", "checkout", &json!({"phase": "Baking"}));
        let home = tempfile::tempdir().unwrap();
        let mut child = command(&built("haldane"), &home)
            .args(arguments)
            .args(["-n", &namespace, "--kubeconfig"])
            .arg(admin().path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next =
            || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap().to_string();
        holds(&next(), &["\"phase\":\"Baking\""]);
        set_status(&namespace, "rollout", "checkout", &json!({"phase": "Paused"}));
        let begin = Instant::now();
        holds(&next(), &["\"phase\":\"Paused\""]);
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn no_credential_is_ever_said() {
    let namespace = baking("secret");
    let text = std::fs::read_to_string(admin().path()).unwrap();
    let kubeconfig: Value = serde_json::from_str(&text).unwrap();
    let token = kubeconfig["users"][0]["user"]["token"].as_str().unwrap();
    let home = tempfile::tempdir().unwrap();
    for arguments in
        [&["get", "checkout"][..], &["pause", "checkout", "--wait", "0s"], &["get", "nope"]]
    {
        let mut command = command(&built("haldane"), &home);
        command.args(arguments).args(["-n", &namespace, "--kubeconfig"]).arg(admin().path());
        super::said(command.env("HALDANE_LOG", "trace"));
    }
    // A server that takes no such token.
    let other = admin().at("https://127.0.0.1:1");
    let told = haldane(&other, &["get"]);
    assert_eq!(told.code, 1);
    holds(&told.err, &["does not answer"]);
    let heard = HEARD.lock().unwrap();
    assert!(heard.contains("TRACE") || heard.contains("DEBUG"), "the log was on");
    assert!(!heard.contains(token), "a token is said");
    assert!(!ROLLOUT.contains(token));
}

#[test]
fn the_record_tells_the_steps_and_what_was_pinned() {
    let namespace = baking("record");
    let documents = haldane_plan::parse(ROLLOUT).unwrap();
    let options = haldane_plan::Options { workloads: true, ..haldane_plan::Options::default() };
    let registries = haldane_plan::registries();
    let plan = haldane_plan::compile(&documents.rollouts[0], &registries, &options).unwrap().plan;
    let bake = plan.steps[1].bake;
    let now = Now { wall: Timestamp::now(), mono: Duration::ZERO, boot: 1 };
    let mut record = Record::new("green".into(), "blue".into(), 1, now);
    let from = Stamp { wall: now.wall, sources: std::collections::BTreeMap::new() };
    record.plan = Some(plan);
    record.serving = Some("blue".into());
    record.attempt = 3;
    record.place = Place::Baking { step: 1, baked: bake / 2, from, done_at: None };
    let text = String::from_utf8(codec::encode(&record)).unwrap();
    set_status(
        &namespace,
        "rollout",
        "checkout",
        &json!({
            "step": {"index": 1, "count": 4, "weight": "25%", "baked": format!("{}s", bake.as_secs() / 2), "shown": "2/4"},
            "record": {"version": 1, "term": 1, "text": text},
        }),
    );
    let told = haldane(admin(), &["status", "checkout", "-n", &namespace]);
    holds(&told.out, &[" > [25 %] > ", "100 %", "############............"]);
    let told = haldane(admin(), &["get", "checkout", "-n", &namespace]);
    holds(&told.out, &["Side blue (serves)", "Side green (on trial)"]);
    assert!(!told.out.contains("ticked"), "the engine's memory is not for readers: {}", told.out);
}
