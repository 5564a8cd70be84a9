//! People: who may ask for what, who asked, and what only the engine writes.

use std::fs;

use serde_json::json;

use super::{
    engine, refused,
    rights::USER_ROLES,
    routes, shop,
    stage::{ask, cluster, eventually, may, patch_status, person, read, request},
};

/// Every verb of a request, as the definition of the kind has them.
const VERBS: [&str; 7] = ["Promote", "Skip", "Abort", "Pause", "Resume", "Retry", "Undo"];

/// Says as the engine where a rollout is.
fn set_phase(namespace: &str, phase: &str) {
    let status = json!({"status": {"phase": phase, "attempt": 1, "revision": "2.4.1"}});
    patch_status(&engine(), namespace, &status).unwrap();
}

// === who may ask for what ===

#[test]
fn three_accounts_may_promote_abort_and_nothing() {
    let namespace = shop("three");
    for (role, granted) in
        [(Some("haldane-promote"), "Promote"), (Some("haldane-abort"), "Abort"), (None, "nothing")]
    {
        let name = granted.to_lowercase();
        let mut roles = vec!["haldane-view"];
        roles.extend(role);
        let (access, user) = person(cluster(), &namespace, &name, &roles);
        if role.is_some() {
            eventually("the right is known", || {
                ask(&access, &namespace, &request(granted, Some(&user)))
            });
        }
        for verb in VERBS.into_iter().filter(|verb| *verb != granted) {
            let told = ask(&access, &namespace, &request(verb, Some(&user)));
            if role.is_some() {
                let verb = verb.to_lowercase();
                refused(
                    told,
                    &[
                        "spec.verb",
                        &user,
                        &format!("may not {verb} rollouts.haldane.dev/checkout"),
                        "ask for the role haldane-",
                    ],
                );
            } else {
                refused(told, &["cannot create resource \"rolloutrequests\""]);
            }
        }
    }
}

#[test]
fn every_role_for_people_gives_its_verbs_and_no_others() {
    let namespace = shop("roles");
    for (role, verbs) in USER_ROLES {
        let (access, user) = person(cluster(), &namespace, role, &[role]);
        for verb in VERBS {
            let may = verbs.contains(&verb);
            let what = request(verb, Some(&user));
            if may {
                eventually(&format!("{role}: {verb}"), || ask(&access, &namespace, &what));
            } else {
                let told = ask(&access, &namespace, &what);
                assert!(told.is_err(), "{role} may {verb}");
            }
        }
    }
}

#[test]
fn a_right_for_one_rollout_is_for_no_other() {
    let namespace = shop("one");
    let user = format!("system:serviceaccount:{namespace}:ann");
    let access = cluster().account(&namespace, "ann");
    let page = read("docs/install-kubernetes.md");
    let role = routes::blocks(&page).into_iter().find(|block| block.contains("kind: Role"));
    let role = role.unwrap().replace("namespace: shop", &format!("namespace: {namespace}"));
    let group = "rbac.authorization.k8s.io";
    let binding = json!({
        "apiVersion": format!("{group}/v1"),
        "kind": "RoleBinding",
        "metadata": {"name": "ann"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "checkout-on-call"},
        "subjects": [{"kind": "ServiceAccount", "name": "ann", "namespace": namespace}],
    });
    cluster().apply(&namespace, &format!("{role}\n---\n{binding}"));
    let mut what = request("Abort", Some(&user));
    eventually("the right is known", || ask(&access, &namespace, &what));
    what["rollout"] = json!("search");
    refused(ask(&access, &namespace, &what), &["may not abort rollouts.haldane.dev/search"]);
}

#[test]
fn a_gate_takes_another_right_than_a_promotion() {
    let namespace = shop("gates");
    let (promotes, by) = person(cluster(), &namespace, "promotes", &["haldane-promote"]);
    let (approves, too) = person(cluster(), &namespace, "approves", &["haldane-approve"]);
    let promote = || ask(&promotes, &namespace, &request("Promote", Some(&by)));
    let approve = || ask(&approves, &namespace, &request("Promote", Some(&too)));

    set_phase(&namespace, "Baking");
    eventually("a promotion is granted", promote);
    eventually("an approval is no promotion", || match approve() {
        Err(why) if why.contains("may not promote") => Ok(()),
        other => Err(format!("{other:?}")),
    });

    set_phase(&namespace, "Waiting");
    eventually("an approval is granted", approve);
    eventually("a promotion opens no gate", || match promote() {
        Err(why) if why.contains("waits at a gate") && why.contains("haldane-approve") => Ok(()),
        other => Err(format!("{other:?}")),
    });

    // One that waited for too long shows as paused, and a promotion opens the gate all the same.
    let paused = |at_gate: bool| {
        let status = json!({"status": {"phase": "Paused", "atGate": at_gate}});
        patch_status(&engine(), &namespace, &status).unwrap();
    };
    paused(true);
    eventually("an approval is granted", approve);
    eventually("a promotion opens no gate", || match promote() {
        Err(why) if why.contains("waits at a gate") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    paused(false);
    eventually("a promotion is granted", promote);
}

#[test]
fn going_on_to_the_end_and_without_guards_take_rights_of_their_own() {
    let namespace = shop("more");
    let (access, user) = person(cluster(), &namespace, "ann", &["haldane-promote"]);
    eventually("a promotion is granted", || {
        ask(&access, &namespace, &request("Promote", Some(&user)))
    });
    let mut full = request("Promote", Some(&user));
    full["full"] = json!(true);
    refused(ask(&access, &namespace, &full), &["spec.full", "haldane-approve"]);
    let mut blind = request("Promote", Some(&user));
    blind["withoutGuards"] = json!(true);
    blind["reason"] = json!("the source is down");
    refused(ask(&access, &namespace, &blind), &["spec.withoutGuards", "haldane-waive-guards"]);

    let roles = ["haldane-promote", "haldane-approve", "haldane-waive-guards"];
    let (access, user) = person(cluster(), &namespace, "eve", &roles);
    for mut what in [full, blind] {
        what["requestedBy"] = json!(user);
        eventually("both rights are known", || ask(&access, &namespace, &what));
    }
}

#[test]
fn the_roles_of_the_cluster_take_over_what_they_should() {
    let namespace = shop("built-in");
    for (role, sees, edits, asks) in
        [("view", true, false, false), ("edit", true, true, false), ("admin", true, true, true)]
    {
        let (_, user) = person(cluster(), &namespace, role, &[role]);
        let right = |verb: &str, resource: &str| {
            let what = json!({"group": "haldane.dev", "resource": resource, "verb": verb, "namespace": namespace});
            may(cluster(), &user, &what)
        };
        eventually("the role is complete", || {
            let found =
                (right("list", "rollouts"), right("patch", "rollouts"), right("abort", "rollouts"));
            if found == (sees, edits, asks) { Ok(()) } else { Err(format!("{role}: {found:?}")) }
        });
        assert!(!right("waive-guards", "rollouts"), "{role}");
        assert!(!right("patch", "rollouts/status"), "{role}");
        assert!(!right("create", "analysisruns"), "{role}");
        assert_eq!(right("create", "rolloutrequests"), asks, "{role}");
    }
}

// === who asked ===

#[test]
fn a_request_bears_the_name_of_who_makes_it_or_is_refused() {
    let namespace = shop("names");
    let (access, user) = person(cluster(), &namespace, "ann", &["haldane-abort"]);
    eventually("the right is known", || ask(&access, &namespace, &request("Abort", Some(&user))));
    let remedy = format!("write {user}");
    let told = ask(&access, &namespace, &request("Abort", Some("bob")));
    refused(told, &["spec.requestedBy: bob is not who asks", &remedy]);
    let told = ask(&access, &namespace, &request("Abort", None));
    refused(told, &["spec.requestedBy: it is missing", &remedy]);
}

#[test]
fn an_administrator_asks_under_no_other_name_either() {
    let namespace = shop("masters");
    let admin = cluster().admin();
    refused(ask(admin, &namespace, &request("Abort", Some("ann"))), &["ann is not who asks"]);
    ask(admin, &namespace, &request("Abort", Some("admin"))).unwrap();
    let ann = admin.speaking_for("ann", &["system:masters"]);
    ask(&ann, &namespace, &request("Abort", Some("ann"))).unwrap();
    refused(ask(&ann, &namespace, &request("Abort", Some("admin"))), &["admin is not who asks"]);
}

#[test]
fn kubectl_shows_the_refusal_as_it_is() {
    let namespace = shop("kubectl");
    let file = tempfile::NamedTempFile::new().unwrap();
    let object = json!({"apiVersion": "haldane.dev/v1alpha1", "kind": "RolloutRequest",
        "metadata": {"name": "stop"}, "spec": request("Abort", Some("bob"))});
    fs::write(file.path(), object.to_string()).unwrap();
    let told = cluster().admin().within(&namespace).try_kubectl(&[
        "create",
        "-f",
        file.path().to_str().unwrap(),
    ]);
    let words = told.unwrap_err();
    assert!(
        words.contains("spec.requestedBy: bob is not who asks: write admin"),
        "what a person reads: {words}"
    );
}

// === what only the engine writes ===

#[test]
fn nobody_but_the_engine_writes_what_it_remembers() {
    let namespace = shop("memory");
    let status = json!({"status": {"phase": "Healthy"}});
    let words = [
        "rollouts/status: only system:serviceaccount:haldane-system:haldane writes it",
        "write a RolloutRequest",
    ];
    refused(patch_status(cluster().admin(), &namespace, &status), &words);
    patch_status(&engine(), &namespace, &status).unwrap();

    // Everything of Haldane's, as a careless role gives it.
    let access = cluster().account(&namespace, "wide");
    cluster().apply(
        &namespace,
        &format!(
            "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: wide}}
rules: [{{apiGroups: [haldane.dev], resources: ['*'], verbs: ['*']}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: wide}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: wide}}
subjects: [{{kind: ServiceAccount, name: wide, namespace: {namespace}}}]
"
        ),
    );
    eventually("the role is known", || {
        let told = access.within(&namespace).try_kubectl(&["get", "rollouts"]);
        told.map(drop)
    });
    refused(patch_status(&access, &namespace, &status), &words);
    let run = json!({
        "apiVersion": "haldane.dev/v1alpha1", "kind": "AnalysisRun",
        "metadata": {"name": "checkout-1"}, "spec": {"rollout": "checkout", "attempt": 1},
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), run.to_string()).unwrap();
    let create = ["create", "-f", file.path().to_str().unwrap()];
    refused(access.within(&namespace).try_kubectl(&create), &["analysisruns: only", "is not"]);
    engine().within(&namespace).kubectl(&create);
    // An owner or a label is nobody's memory: the garbage collector and people write them.
    access.within(&namespace).kubectl(&["label", "har", "checkout-1", "team=shop"]);
    let change = ["patch", "har", "checkout-1", "--type=merge", "-p", r#"{"spec":{"attempt":2}}"#];
    refused(access.within(&namespace).try_kubectl(&change), &["analysisruns: only"]);
    access.within(&namespace).kubectl(&["delete", "har", "checkout-1"]);
}

#[test]
fn the_engine_writes_finalizers_and_never_what_is_wanted() {
    let namespace = shop("wanted");
    let engine = engine().within(&namespace);
    let patch =
        |text: &str| engine.try_kubectl(&["patch", "hro", "checkout", "--type=merge", "-p", text]);
    patch(r#"{"metadata":{"finalizers":["haldane.dev/traffic"]}}"#).unwrap();
    refused(
        patch(r#"{"spec":{"paused":true}}"#),
        &["spec: system:serviceaccount:haldane-system:haldane writes the finalizers of a rollout"],
    );
    patch(r#"{"metadata":{"finalizers":null}}"#).unwrap();
}
