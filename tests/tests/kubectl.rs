//! The real binary before a real API server: verbs become requests, views come from what the engine wrote, and who
//! may not is told whom to ask. But for one test no engine runs: the suite writes what one would write.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[path = "kubectl/explained.rs"]
mod explained;
#[path = "kubectl/views.rs"]
mod views;
#[path = "kubectl/whole.rs"]
mod whole;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::{Mutex, OnceLock},
    thread,
    time::{Duration, Instant},
};

use haldane_tests::{
    cluster::{Access, Cluster, Options, shared},
    rig::built,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// The shared cluster with our definitions.
fn cluster() -> &'static Cluster {
    static READY: OnceLock<()> = OnceLock::new();
    READY.get_or_init(|| {
        shared().install_crds(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds"));
    });
    shared()
}

/// What a command said, and how it ended.
struct Said {
    code: i32,
    out: String,
    err: String,
}

/// Everything that any command of this suite said: no credential may be in it.
static HEARD: Mutex<String> = Mutex::new(String::new());

fn command(program: &Path, home: &TempDir) -> Command {
    let mut command = Command::new(program);
    for name in ["HALDANE_STATE", "HALDANE_SERVER", "HALDANE_SERVER_TOKEN_FILE", "KUBECONFIG"] {
        command.env_remove(name);
    }
    command.env("HOME", home.path()).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    HEARD.lock().unwrap().push_str(&format!("{out}{err}"));
    Said { code: output.status.code().unwrap(), out, err }
}

/// Runs the binary with somebody's kubeconfig.
fn haldane(access: &Access, arguments: &[&str]) -> Said {
    let home = tempfile::tempdir().unwrap();
    let mut command = command(&built("haldane"), &home);
    said(command.args(arguments).arg("--kubeconfig").arg(access.path()))
}

#[track_caller]
fn holds(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in:\n{text}");
    }
}

fn admin() -> &'static Access {
    cluster().admin()
}

const ROLLOUT: &str = "apiVersion: haldane.dev/v1alpha1
kind: Rollout
metadata: {name: checkout}
spec:
  sides:
  - {name: blue, labels: {version: v1}, workload: {deployment: checkout-blue}}
  - {name: green, labels: {version: v2}, workload: {deployment: checkout-green}}
  traffic:
  - name: edge
    gateway:
      httpRoute: {name: checkout}
      destinations: {blue: {service: checkout-blue, port: 80}, green: {service: checkout-green, port: 80}}
  analysis:
    sources:
    - {name: main, prometheus: {url: \"http://prometheus.monitoring:9090\"}}
    checks:
    - {name: errors, errors: {max: \"1%\", metrics: prometheus}}
";

/// A namespace with a rollout that bakes.
fn baking(name: &str) -> String {
    let namespace = cluster().namespace(name);
    cluster().apply(&namespace, ROLLOUT);
    set_status(
        &namespace,
        "rollout",
        "checkout",
        &json!({
            "phase": "Baking", "serving": "blue", "revision": "2.4.1", "previousRevision": "2.4.0", "attempt": 3,
            "step": {"index": 1, "count": 4, "weight": "25%", "baked": "1m5s", "shown": "2/4"},
            "weight": "25%", "verdict": "Pass",
            "traffic": [{"name": "edge", "wanted": "25%", "observed": "25%", "acknowledged": "Accepted"}],
            "checks": [{"name": "errors", "verdict": "Pass", "value": "0.4%", "limit": "max 1 %", "samples": 1200}],
            "engine": {"format": 1, "term": 1, "version": 7},
        }),
    );
    namespace
}

/// Writes what an engine would write.
fn set_status(namespace: &str, kind: &str, name: &str, status: &Value) {
    let patch = json!({"status": status}).to_string();
    let arguments = [
        "-n",
        namespace,
        "patch",
        kind,
        name,
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ];
    admin().kubectl(&arguments);
}

fn requests(namespace: &str) -> Vec<Value> {
    let told = admin().kubectl(&["-n", namespace, "get", "rolloutrequests", "-o", "json"]);
    serde_json::from_str::<Value>(&told).unwrap()["items"].as_array().unwrap().clone()
}

/// Answers the first request that comes, as an engine would.
fn answering(namespace: &str, status: Value) -> thread::JoinHandle<()> {
    let namespace = namespace.to_owned();
    thread::spawn(move || {
        let begin = Instant::now();
        loop {
            let open = requests(&namespace)
                .into_iter()
                .find(|request| request["status"]["outcome"].is_null());
            if let Some(open) = open {
                let name = open["metadata"]["name"].as_str().unwrap();
                return set_status(&namespace, "rolloutrequest", name, &status);
            }
            assert!(begin.elapsed() < PATIENCE, "no request came");
            thread::sleep(Duration::from_millis(100));
        }
    })
}

// === verbs ===

#[test]
fn each_verb_writes_a_request_for_what_the_rollout_shows() {
    let namespace = baking("verbs");
    let (step, any) = (
        json!({"revision": "2.4.1", "attempt": 3, "step": 1}),
        json!({"revision": "2.4.1", "attempt": 3}),
    );
    let with = |base: &Value, more: Value| {
        let mut all = base.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let cases: [(&[&str], Value); 8] = [
        (&["promote"], with(&step, json!({"verb": "Promote"}))),
        (
            &["promote", "--full", "--without-guards", "--reason", "moved"],
            with(
                &step,
                json!({"verb": "Promote", "full": true, "withoutGuards": true, "reason": "moved"}),
            ),
        ),
        (&["skip", "--step", "3"], with(&any, json!({"verb": "Skip", "step": 2}))),
        (&["abort"], with(&any, json!({"verb": "Abort"}))),
        (&["pause", "--reason", "lunch"], with(&any, json!({"verb": "Pause", "reason": "lunch"}))),
        (&["resume"], with(&any, json!({"verb": "Resume"}))),
        (&["retry", "--without", "edge"], with(&any, json!({"verb": "Retry", "without": "edge"}))),
        (
            &["undo", "--attempt", "2", "--revision", "2.4.0"],
            json!({"verb": "Undo", "revision": "2.4.0", "attempt": 2}),
        ),
    ];
    for (arguments, wanted) in cases {
        let before = requests(&namespace).len();
        let all = [arguments, &["checkout", "-n", &namespace, "--wait", "0s"]].concat();
        let told = haldane(admin(), &all);
        assert_eq!(told.code, 0, "{arguments:?}: {}", told.err);
        holds(&told.out, &[&format!("{namespace}/checkout: {} is asked for", arguments[0])]);
        let made = requests(&namespace);
        assert_eq!(made.len(), before + 1);
        let wanted = with(&wanted, json!({"rollout": "checkout", "requestedBy": "admin"}));
        let made = made.iter().find(|made| made["spec"] == wanted);
        let made =
            made.unwrap_or_else(|| panic!("{wanted} is not among {:?}", requests(&namespace)));
        let begin = format!("checkout-{}-", arguments[0]);
        assert!(made["metadata"]["name"].as_str().unwrap().starts_with(&begin));
    }
}

#[test]
fn an_answer_is_waited_for_and_told_by_the_exit_code() {
    let namespace = baking("answers");
    let abort = ["abort", "checkout", "-n", &namespace, "--wait", "60s"];
    let engine = answering(&namespace, json!({"outcome": "Accepted", "actor": "admin (claimed)"}));
    let told = haldane(admin(), &abort);
    engine.join().unwrap();
    assert_eq!(told.code, 0, "{}", told.err);
    holds(&told.out, &["checkout: abort accepted (revision 2.4.1, attempt 3; by admin (claimed))"]);

    let engine =
        answering(&namespace, json!({"outcome": "Refused", "message": "nothing to abort"}));
    let told = haldane(admin(), &abort);
    engine.join().unwrap();
    assert_eq!(told.code, 11, "{}", told.out);
    holds(&told.err, &["checkout: abort refused: nothing to abort"]);

    let engine =
        answering(&namespace, json!({"outcome": "Refused", "message": "nothing to abort"}));
    let told = haldane(admin(), &[&abort[..], &["-o", "json"]].concat());
    engine.join().unwrap();
    let answer: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(
        (told.code, &answer["outcome"], &answer["reason"]),
        (11, &json!("refused"), &json!("nothing to abort"))
    );
    holds(answer["request"].as_str().unwrap(), &["checkout-abort-"]);

    let told = haldane(admin(), &["pause", "checkout", "-n", &namespace, "--wait", "2s"]);
    assert_eq!(told.code, 16, "{}", told.err);
    holds(
        &told.err,
        &["waiting for the engine, 2s at most", "no engine answered within 2s", "stands"],
    );
}

#[test]
fn what_no_request_can_be_made_for_is_refused_here() {
    let namespace = baking("refused");
    set_status(&namespace, "rollout", "checkout", &json!({"phase": "Healthy", "step": null}));
    let told = haldane(admin(), &["promote", "checkout", "-n", &namespace]);
    assert_eq!(told.code, 11);
    holds(&told.err, &["promote refused: no step is under way (the rollout is Healthy)"]);
    let told = haldane(admin(), &["abort", "nope", "-n", &namespace]);
    assert_eq!(told.code, 1);
    holds(&told.err, &["there is no rollout", "/nope in this cluster"]);
    let told = haldane(admin(), &["abort", "a?b", "-n", &namespace]);
    holds(&told.err, &["is no name of a cluster"]);
    assert!(requests(&namespace).is_empty(), "nothing was asked for");
}

#[test]
fn who_may_not_is_told_which_role_to_ask_for() {
    let namespace = baking("rights");
    let none = cluster().account(&namespace, "none");
    for (arguments, role) in [
        (&["abort", "checkout"][..], "haldane-abort"),
        (&["promote", "checkout"], "haldane-view"),
        (&["get"], "haldane-view"),
        (&["explain", "checkout"], "haldane-view"),
        (&["get", "analysisruns"], "haldane-view"),
    ] {
        let told = haldane(&none, arguments);
        assert_eq!(told.code, 1, "{arguments:?}");
        let account = format!("system:serviceaccount:{namespace}:none");
        holds(&told.err, &["is forbidden", &account, &format!("ask for the role {role}")]);
    }
    let told = haldane(&none, &["abort", "checkout"]);
    holds(&told.err, &["abort was not asked for", &format!("--serviceaccount={namespace}:none")]);

    // Who may ask and not look can put the traffic back all the same, and bears the name that the server knows.
    let asks = cluster().account(&namespace, "asks");
    cluster().apply(
        &namespace,
        &format!(
            "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: asks}}
rules: [{{apiGroups: [haldane.dev], resources: [rolloutrequests], verbs: [create]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: asks}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: asks}}
subjects: [{{kind: ServiceAccount, name: asks, namespace: {namespace}}}]
"
        ),
    );
    let begin = Instant::now();
    let told = loop {
        let told = haldane(&asks, &["abort", "checkout"]);
        // A new role takes a moment.
        if !told.err.contains("cannot create") || begin.elapsed() > PATIENCE {
            break told;
        }
    };
    assert_eq!(told.code, 1);
    holds(&told.err, &["is made, and its answer cannot be read", "haldane-view"]);
    let made = requests(&namespace);
    assert_eq!(
        made[0]["spec"]["requestedBy"],
        json!(format!("system:serviceaccount:{namespace}:asks"))
    );
    assert_eq!(made[0]["spec"]["revision"], Value::Null);
}

#[test]
fn a_policy_that_denies_is_told_in_its_own_words() {
    let namespace = baking("policy");
    cluster().apply(&namespace, &format!("
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: no-skips-{namespace}}}
spec:
  matchConstraints:
    resourceRules: [{{apiGroups: [haldane.dev], apiVersions: [\"*\"], operations: [CREATE], resources: [rolloutrequests]}}]
  validations:
  - expression: object.spec.verb != 'Skip'
    reason: Forbidden
    message: \"spec.verb: not here: ask for the role haldane-skip\"
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: no-skips-{namespace}}}
spec:
  policyName: no-skips-{namespace}
  validationActions: [Deny]
  matchResources: {{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}}}
"));
    let begin = Instant::now();
    let told = loop {
        let told = haldane(admin(), &["skip", "checkout", "-n", &namespace, "--wait", "0s"]);
        // A new policy takes a moment.
        if told.code != 0 || begin.elapsed() > PATIENCE {
            break told;
        }
    };
    assert_eq!(told.code, 1);
    holds(
        &told.err,
        &["skip was not asked for", "not here: ask for the role haldane-skip", "auth can-i skip"],
    );
}

#[test]
fn a_cluster_without_the_definitions_is_told_how_to_get_them() {
    let bare = shared().beside("without-definitions", Options::BARE);
    for arguments in
        [&["get"][..], &["get", "checkout"], &["abort", "checkout"], &["explain", "checkout"]]
    {
        let told = haldane(bare.admin(), arguments);
        assert_eq!(told.code, 1);
        holds(&told.err, &["this cluster does not know", "haldane crds | kubectl apply"]);
    }
}

// === which place is meant ===

#[test]
fn the_cluster_is_meant_by_argument_by_plugin_and_never_where_an_engine_is_named() {
    let namespace = baking("places");
    let own = admin().within(&namespace);
    let home = tempfile::tempdir().unwrap();
    let plugin = home.path().join("kubectl-haldane");
    std::os::unix::fs::symlink(built("haldane"), &plugin).unwrap();
    // The context's own namespace is meant where none is named, and the only rollout.
    let told = said(command(&plugin, &home).arg("status").env("KUBECONFIG", own.path()));
    assert_eq!(told.code, 0, "{}", told.err);
    holds(&told.out, &[&format!("{namespace}/checkout"), "Baking"]);
    fs::create_dir(home.path().join(".kube")).unwrap();
    fs::copy(own.path(), home.path().join(".kube/config")).unwrap();
    holds(&said(command(&plugin, &home).arg("get")).out, &["checkout", "2/4"]);
    holds(
        &said(command(&built("haldane"), &home).args(["get", "--context", "test"])).out,
        &["2/4"],
    );
    let told = said(command(&built("haldane"), &home).args(["get", "--context", "nope"]));
    holds(&told.err, &["the context nope", "kubectl config get-contexts"]);
    let usage = said(command(&plugin, &home).arg("--help"));
    holds(&usage.out, &["Usage: kubectl haldane"]);

    let state = home.path().join("state");
    let told = said(command(&plugin, &home).arg("get").env("HALDANE_STATE", &state));
    assert_eq!(told.code, 1);
    holds(&told.err, &["no engine is running on", "state/haldane.sock"]);
    let both = ["get", "--context", "test", "--state", state.to_str().unwrap()];
    holds(
        &said(command(&plugin, &home).args(both)).err,
        &["an engine and a cluster are named at once"],
    );
    let told = said(
        command(&plugin, &home).args(["get", "--context", "test"]).env("HALDANE_STATE", &state),
    );
    holds(&told.out, &["2/4"]);
}

// === validate ===

#[test]
fn the_api_server_finds_what_no_file_tells_and_changes_nothing() {
    let namespace = cluster().namespace("dry");
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let validate = |file: &str| haldane(admin(), &["validate", "--server", "-n", &namespace, file]);
    let good = write("good.yaml", ROLLOUT);
    let told = validate(&good);
    assert_eq!((told.code, told.err.as_str()), (0, ""), "{}", told.out);
    let left = admin().kubectl(&["-n", &namespace, "get", "rollouts", "-o", "name"]);
    assert_eq!(left.trim(), "", "nothing is changed there");

    let labels = ROLLOUT.replace(
        "metadata: {name: checkout}",
        "metadata:\n  name: checkout\n  labels:\n    team: \"not a label!\"",
    );
    let told = validate(&write("labels.yaml", &labels));
    assert_eq!(told.code, 1, "{}", told.out);
    holds(
        &told.err,
        &["labels.yaml:5:", "metadata.labels", "the API server refuses it", "not a label!"],
    );

    let wrong = write("wrong.yaml", &ROLLOUT.replace("max: \"1%\"", "max: \"odd\""));
    let told = validate(&wrong);
    assert_eq!(told.code, 1);
    holds(&told.err, &["the API server was not asked", "max"]);

    let away = write(
        "away.yaml",
        &ROLLOUT.replace("{name: checkout}\nspec", "{name: checkout, namespace: nowhere}\nspec"),
    );
    let told = haldane(admin(), &["validate", "--server", &away, "-o", "json"]);
    assert_eq!(told.code, 1);
    let found: Value = serde_json::from_str(&told.out).unwrap();
    holds(&found["files"][0]["diagnostics"][0]["message"].to_string(), &["nowhere"]);

    let none = cluster().account(&namespace, "none");
    let told = haldane(&none, &["validate", "--server", &good]);
    assert_eq!(told.code, 1);
    holds(&told.err, &["cannot patch resource"]);
}

#[test]
fn the_templates_of_the_cluster_are_known_to_it() {
    let namespace = cluster().namespace("templates");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rollout.yaml");
    let uses = "    templates: [{name: http, arguments: {most: \"1%\"}}]\n";
    let checks = ROLLOUT.find("    checks:").unwrap();
    fs::write(&file, format!("{}{uses}", &ROLLOUT[..checks])).unwrap();
    let validate =
        || haldane(admin(), &["validate", "--server", "-n", &namespace, file.to_str().unwrap()]);
    let told = validate();
    assert_eq!(told.code, 1, "{}", told.out);
    holds(&told.err, &["there is no AnalysisTemplate `http`", "the API server was not asked"]);
    cluster().apply(
        &namespace,
        "
apiVersion: haldane.dev/v1alpha1
kind: AnalysisTemplate
metadata: {name: http}
spec:
  arguments: [{name: most}]
  checks:
  - {name: brought, errors: {max: \"{{ most }}\", metrics: prometheus}}
",
    );
    let told = validate();
    assert_eq!((told.code, told.err.as_str()), (0, ""), "{}", told.out);

    cluster().apply(&namespace, &fs::read_to_string(&file).unwrap());
    let plan = haldane(admin(), &["get", "checkout", "-n", &namespace, "--effective"]);
    assert_eq!(plan.code, 0, "{}", plan.err);
    holds(&plan.out, &["brought"]);
}
