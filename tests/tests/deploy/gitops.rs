//! What is said to Argo CD and Flux: the health script is run by a real Lua, the paths by a real jq.

use std::{
    fmt::Write as _,
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::{
    routes::{http_route, virtual_service},
    stage::{documents, read},
};

const HEALTH: &str = "deploy/gitops/argocd/health.lua";

/// What a program makes of its input.
fn run(program: &str, arguments: &[&str], input: &str) -> String {
    let started = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = started.unwrap_or_else(|error| panic!("{program}: {error}: make setup"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let told = child.wait_with_output().unwrap();
    assert!(told.status.success(), "{program}: {}", String::from_utf8_lossy(&told.stderr));
    String::from_utf8(told.stdout).unwrap().trim_end().to_owned()
}

/// A value in the words of Lua.
fn lua(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(lua).collect();
            format!("{{{}}}", items.join(","))
        }
        Value::Object(fields) => {
            let mut text = String::from("{");
            for (name, value) in fields {
                write!(text, "[{}]={},", json!(name), lua(value)).unwrap();
            }
            text + "}"
        }
        other => other.to_string(),
    }
}

/// The health of a rollout with this status: the word and the message.
fn health(status: &Value) -> (String, String) {
    let object = lua(&json!({"metadata": {"generation": 3}, "status": status}));
    let script = format!(
        "local function health(obj)\n{}\nend\nlocal told = health({object})\nprint(told.status)\nprint(told.message)",
        read(HEALTH),
    );
    let said = run("lua5.4", &["-"], &script);
    let (word, message) = said.split_once('\n').unwrap();
    (word.to_owned(), message.to_owned())
}

#[test]
fn every_phase_has_its_health() {
    for (phase, word) in [
        ("Pending", "Progressing"),
        ("Waiting", "Suspended"),
        ("Shifting", "Progressing"),
        ("Baking", "Progressing"),
        ("Paused", "Suspended"),
        ("Promoting", "Progressing"),
        ("Healthy", "Healthy"),
        ("RollingBack", "Degraded"),
        ("Degraded", "Degraded"),
        ("Conflicted", "Degraded"),
    ] {
        let status = json!({"phase": phase, "observedGeneration": 3});
        assert_eq!(health(&status), (word.to_owned(), phase.to_owned()));
    }
}

#[test]
fn the_health_says_where_it_is_and_why() {
    let status = json!({"phase": "Baking", "weight": "25%", "observedGeneration": 3,
        "lastDecision": {"message": "step 2 of 4 begins"}});
    assert_eq!(health(&status).1, "Baking at 25%: step 2 of 4 begins");
    let with = |phase: &str| {
        json!({"phase": phase, "observedGeneration": 3, "conditions": [
            {"type": "Ready", "status": "False", "message": "not yet"},
            {"type": "Stalled", "status": "True", "message": "route shop/checkout cannot be read"}]})
    };
    let told = ("Degraded".into(), "Pending: route shop/checkout cannot be read".into());
    assert_eq!(health(&with("Pending")), told);
    assert_eq!(
        health(&with("Paused")).0,
        "Suspended",
        "a pause is stalled, and waits for a person"
    );
}

#[test]
fn what_the_engine_has_not_seen_is_not_healthy() {
    for status in [json!(null), json!({}), json!({"phase": "Healthy", "observedGeneration": 2})] {
        assert_eq!(health(&status).0, "Progressing", "{status}");
    }
}

#[test]
fn the_settings_of_argo_cd_hold_the_script_as_it_was_tested() {
    let settings = &documents(&read("deploy/gitops/argocd/argocd-cm.yaml"))[0];
    let held = settings["data"]["resource.customizations.health.haldane.dev_Rollout"].as_str();
    assert_eq!(held.unwrap().trim_end(), read(HEALTH).trim_end());
}

#[test]
fn the_paths_that_are_ignored_are_the_weights_and_nothing_else() {
    let settings = &documents(&read("deploy/gitops/argocd/argocd-cm.yaml"))[0];
    let ignored = |kind: &str| -> Vec<String> {
        let text = &settings["data"][format!("resource.customizations.ignoreDifferences.{kind}")];
        let value: Value = serde_saphyr::from_str(text.as_str().unwrap()).unwrap();
        let paths = value["jqPathExpressions"].as_array().unwrap().iter();
        paths.map(|path| path.as_str().unwrap().to_owned()).collect()
    };
    let mut route = virtual_service();
    route["spec"]["tcp"] = json!([{"route": [{"destination": {"host": "a"}, "weight": 7}]}]);
    let mut kinds = vec![("networking.istio.io_VirtualService", route)];
    for kind in ["HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute"] {
        let name: &str = Box::leak(format!("gateway.networking.k8s.io_{kind}").into_boxed_str());
        kinds.push((name, http_route()));
    }
    for (kind, object) in kinds {
        let left = ignored(kind).iter().fold(object.to_string(), |text, path| {
            run("jq", &["-c", &format!("del({path})")], &text)
        });
        let left: Value = serde_json::from_str(&left).unwrap();
        assert_eq!(left, without_weights(object), "{kind}");
        assert!(!left.to_string().contains("weight"), "{kind}");
    }
}

fn without_weights(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(name, _)| name != "weight");
            kept.map(|(name, value)| (name, without_weights(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(without_weights).collect(),
        other => other,
    }
}

#[test]
fn what_is_shown_for_both_tools_can_be_read() {
    for path in ["argocd/application.yaml", "flux/kustomization.yaml", "flux/route.yaml"] {
        let found = documents(&read(&format!("deploy/gitops/{path}")));
        assert!(found.len() == 1 && found[0]["kind"].is_string(), "{path}");
    }
}
