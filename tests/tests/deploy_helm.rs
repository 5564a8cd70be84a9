//! The chart, by a real Helm and on a real API server: what it refuses, what it renders, and an installation's life.
//!
//! Run by `make test-more`: Helm takes minutes to build, once (`tests/helm.sh`).

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[path = "deploy/helm.rs"]
mod helm;
#[path = "deploy/rights.rs"]
#[allow(dead_code, reason = "the suite of the plain manifests uses the rest")]
mod rights;
#[path = "routes/stage.rs"]
#[allow(dead_code, reason = "the suite of routes uses the rest")]
mod routes;
#[path = "deploy/runs.rs"]
mod runs;
#[path = "deploy/stage.rs"]
#[allow(dead_code, reason = "the suite of the plain manifests uses the rest")]
mod stage;

use std::{collections::BTreeMap, fs};

use haldane_tests::cluster::{Cluster, Foreign, Options};
use serde_json::{Value, json};

use self::{
    helm::{CHART, lint, template},
    rights::{ENGINE_RIGHTS, rules},
    runs::releases_and_rolls_back,
    stage::{
        ENGINE, HOME, ask, eventually, folder, may, rendered, request, rollout, wait_for_policies,
    },
};

/// Value sets that differ in what they render.
const SETS: [&[&str]; 6] = [
    &[],
    &["providers.istio=true"],
    &[
        "providers.istio=true",
        "providers.gateway=true",
        "secrets.access=All",
        "serviceMonitor.enabled=true",
    ],
    &[
        "namespaces={shop,search}",
        "providers.gateway=true",
        "secrets.access=Named",
        "secrets.namespaces={shop}",
    ],
    &[
        "crds.install=false",
        "roles.install=false",
        "policy.install=false",
        "podDisruptionBudget.enabled=false",
        "networkPolicy.enabled=false",
    ],
    &[
        "replicas=1",
        "log=debug",
        "labels.team=edge",
        "podLabels.zone=a",
        "podAnnotations.note=x",
        "image.tag=v1",
        "image.pullSecrets={registry}",
        "nodeSelector.disk=ssd",
        "priorityClassName=high",
        "fullnameOverride=canaries",
        "serviceAccount.create=false",
        "serviceAccount.name=other",
        "tolerations[0].operator=Exists",
        "env[0].name=HTTPS_PROXY",
        "env[0].value=http://proxy:3128",
        "networkPolicy.from[0].podSelector.matchLabels.app=prometheus",
    ],
];

// === what is written ===

#[test]
fn helm_finds_nothing_wrong_with_any_set_of_values() {
    for set in SETS {
        lint(set).unwrap_or_else(|why| panic!("{set:?}: {why}"));
        assert!(template("haldane", HOME, set).unwrap().len() >= 10, "{set:?}");
    }
}

#[test]
fn a_wrong_value_is_refused_by_its_field() {
    for (set, words) in [
        ("providers.istoi=true", "at '/providers': additional properties 'istoi' not allowed"),
        ("providers.istio=maybe", "at '/providers/istio': got string, want boolean"),
        ("replicas=two", "at '/replicas': got string, want integer"),
        ("replicas=9", "at '/replicas': maximum: got 9, want 5"),
        (
            "secrets.access=Some",
            "at '/secrets/access': value must be one of 'None', 'All', 'Named'",
        ),
        ("secrets.access=Named", "at '/secrets/namespaces': minItems"),
        ("secrets.namespaces={shop}", "at '/secrets/namespaces': maxItems"),
        ("namespaces={Shop}", "at '/namespaces/0': 'Shop' does not match pattern"),
        ("image.digest=abc", "at '/image/digest': 'abc' does not match pattern"),
        ("image.repository=", "at '/image/repository': minLength"),
        (
            "resources.limits.cpus=1",
            "at '/resources/limits': additional properties 'cpus' not allowed",
        ),
        (
            "serviceMonitor.interval=fast",
            "at '/serviceMonitor/interval': 'fast' does not match pattern",
        ),
        ("replicaCount=3", "additional properties 'replicaCount' not allowed"),
    ] {
        let why = template("haldane", HOME, &[set]).expect_err(set);
        assert!(why.contains(words), "{set}: {why}");
    }
}

#[test]
fn every_default_is_in_the_schema_and_every_field_has_a_default() {
    let read = |name: &str| fs::read_to_string(stage::root().join(CHART).join(name)).unwrap();
    let values: Value = serde_saphyr::from_str(&read("values.yaml")).unwrap();
    let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    let mut known: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    known.retain(|name| *name != "global");
    let mut given: Vec<&String> = values.as_object().unwrap().keys().collect();
    known.sort();
    given.sort();
    assert_eq!(given, known);
}

/// Without what is the same in every set, or large.
const SMALL: [&str; 5] = [
    "crds.install=false",
    "roles.install=false",
    "policy.install=false",
    "networkPolicy.enabled=false",
    "podDisruptionBudget.enabled=false",
];

#[test]
fn an_installation_for_all_namespaces_with_everything_on() {
    let set = [&SMALL[..3], SETS[2]].concat();
    insta::assert_snapshot!("helm_everything", helm::text("haldane", HOME, &set).unwrap());
}

#[test]
fn an_installation_for_one_namespace_with_one_secret() {
    let more = ["namespaces={shop}", "secrets.access=Named", "secrets.namespaces={shop}"];
    let set = [&SMALL[..], &more].concat();
    insta::assert_snapshot!("helm_namespace", helm::text("canaries", "ops", &set).unwrap());
}

#[test]
fn what_is_said_afterwards_names_what_is_missing() {
    let notes = |set: &[&str]| helm::notes(set).unwrap();
    assert!(notes(&[]).contains("NOTHING CAN BE DRIVEN YET"));
    assert!(notes(&[]).contains("The engine reads no Secrets"));
    assert!(!notes(SETS[2]).contains("NOTHING CAN BE DRIVEN YET"));
    assert!(notes(SETS[3]).contains("looks after rollouts in shop, search"));
    assert!(notes(SETS[4]).contains("may use every verb, under any name"));
    assert!(notes(SETS[5]).contains("One replica"));
}

// === the chart and the plain manifests ===

/// What an object says, without what each of the two ways adds to every object.
fn essence(mut object: Value) -> Value {
    object["metadata"].as_object_mut().unwrap().shift_remove("annotations");
    for path in [
        "/metadata/labels",
        "/spec/selector",
        "/spec/selector/matchLabels",
        "/spec/podSelector/matchLabels",
        "/spec/template/metadata/labels",
        "/spec/template/spec/topologySpreadConstraints/0/labelSelector/matchLabels",
    ] {
        if let Some(labels) = object.pointer_mut(path).and_then(Value::as_object_mut) {
            labels.retain(|name, _| {
                let ours = name.starts_with("app.kubernetes.io/")
                    && name != "app.kubernetes.io/name"
                    && name != "app.kubernetes.io/component";
                !(ours
                    || name == "helm.sh/chart"
                    || path == "/metadata/labels" && name.starts_with("app.kubernetes.io/"))
            });
        }
    }
    if object.pointer("/metadata/labels").is_some_and(|labels| labels == &json!({})) {
        object["metadata"].as_object_mut().unwrap().shift_remove("labels");
    }
    if let Some(container) = object.pointer_mut("/spec/template/spec/containers/0") {
        container.as_object_mut().unwrap().shift_remove("imagePullPolicy");
    }
    sorted(object)
}

/// With the fields in order: neither way promises one.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<String, Value> =
                fields.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            fields.into_iter().collect()
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

fn by_name(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let key = |one: &Value| {
        format!("{} {}", one["kind"].as_str().unwrap(), one["metadata"]["name"].as_str().unwrap())
    };
    objects.into_iter().map(|one| (key(&one), essence(one))).collect()
}

#[test]
fn the_chart_and_the_plain_manifests_say_the_same() {
    let set = ["providers.istio=true", "providers.gateway=true", "crds.install=false"];
    let chart = by_name(template("haldane", HOME, &set).unwrap());
    let mut plain = by_name(rendered(&folder("deploy/kustomize/cluster")));
    plain.remove("Namespace haldane-system").expect("Helm makes it by --create-namespace");
    let names = |of: &BTreeMap<String, Value>| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&chart), names(&plain));
    for (name, said) in &chart {
        assert_eq!(said, &plain[name], "{name}");
    }
}

#[test]
fn both_give_the_same_rights_to_an_engine_for_one_namespace() {
    let set = [
        "providers.istio=true",
        "providers.gateway=true",
        "crds.install=false",
        "namespaces={haldane-system}",
    ];
    let rights = |objects: Vec<Value>| {
        let mut rights = rules(&objects, |_| true);
        rights.sort();
        rights
    };
    let chart = rights(template("haldane", HOME, &set).unwrap());
    assert_eq!(chart, rights(rendered(&folder("deploy/kustomize/namespaced"))));
}

#[test]
fn each_provider_brings_its_own_rights_and_no_others() {
    for (set, has, lacks) in [
        (
            "providers.istio=true",
            "virtualservices.networking.istio.io",
            "gateway.networking.k8s.io",
        ),
        ("providers.gateway=true", "httproutes.gateway.networking.k8s.io", "istio.io"),
    ] {
        let rights = rules(&template("haldane", HOME, &[set]).unwrap(), |_| true).join("\n");
        assert!(rights.contains(has) && !rights.contains(lacks), "{set}: {rights}");
        assert!(!rights.contains("secrets"), "{set}: {rights}");
    }
}

#[test]
fn a_name_counts_as_true_only_where_the_policy_sees_to_it() {
    for (set, expected) in [("policy.install=true", true), ("policy.install=false", false)] {
        let objects = template("haldane", HOME, &[set]).unwrap();
        let has = |kind: &str| objects.iter().find(|one| one["kind"] == kind);
        let deployment = has("Deployment").unwrap().to_string();
        assert_eq!(deployment.contains("HALDANE_VERIFIED_REQUESTERS"), expected);
        assert_eq!(has("ValidatingAdmissionPolicy").is_some(), expected);
    }
}

// === the life of an installation ===

fn fresh() -> Cluster {
    let cluster = Cluster::start(Options { controllers: true, audit: false });
    cluster.install(Foreign::GatewayApi);
    cluster
}

#[test]
fn it_is_installed_upgraded_rolled_back_and_taken_away_and_rollouts_stay() {
    let cluster = fresh();
    let helm = |arguments: &[&str]| {
        helm::on(&cluster, arguments).unwrap_or_else(|why| panic!("{arguments:?}: {why}"))
    };
    // An older chart: one column less.
    let older = helm::copy_of_the_chart();
    let crd = older.path().join("haldane/files/crds/rolloutrequests.yaml");
    let column = "    - name: By\n      type: string\n      jsonPath: .status.actor\n      description: Who asked.\n";
    let text = fs::read_to_string(&crd).unwrap();
    assert!(text.contains(column));
    fs::write(&crd, text.replace(column, "")).unwrap();
    let current = helm::copy_of_the_chart();
    let chart = current.path().join("haldane").to_str().unwrap().to_owned();
    let place = ["--namespace", HOME];
    let with = ["--set", "providers.gateway=true", "--set", "providers.istio=true"];
    let install = [
        "install",
        "haldane",
        older.path().join("haldane").to_str().unwrap(),
        "--create-namespace",
    ]
    .map(str::to_owned);
    let install: Vec<&str> = install.iter().map(String::as_str).chain(place).chain(with).collect();
    let said = helm(&install);
    assert!(said.contains("looks after rollouts in all namespaces"), "{said}");

    wait_for_policies(&cluster, &cluster.namespace("policies"));
    let namespace = cluster.namespace("shop");
    rollout(&cluster, &namespace, "checkout");
    for right in ENGINE_RIGHTS.iter().filter(|right| right.resource != "secrets") {
        let (resource, subresource) =
            right.resource.split_once('/').unwrap_or((right.resource, ""));
        let lease = resource == "leases";
        for verb in right.verbs.split(' ') {
            let what = json!({"group": right.group, "resource": resource, "subresource": subresource, "verb": verb,
                "namespace": if lease { HOME } else { &namespace }, "name": if lease { "haldane" } else { "" }});
            assert!(may(&cluster, ENGINE, &what), "{what}");
        }
    }
    let admin = cluster.admin().within(HOME);
    eventually("two pods", || {
        let names = admin.kubectl(&["get", "pods", "-o=name"]);
        if names.lines().count() == 2 { Ok(()) } else { Err(names) }
    });
    let columns = || {
        admin.kubectl(&[
            "get",
            "crd",
            "rolloutrequests.haldane.dev",
            "-o=jsonpath={.spec.versions[0].additionalPrinterColumns[*].name}",
        ])
    };
    assert!(!columns().contains("By"), "{}", columns());

    // An upgrade brings the definitions up to date, which Helm's own folder `crds` would not.
    let upgrade: Vec<&str> =
        ["upgrade", "haldane", &chart, "--reset-then-reuse-values", "--set", "replicas=3"]
            .into_iter()
            .chain(place)
            .collect();
    helm(&upgrade);
    assert!(columns().contains("By"), "{}", columns());
    let replicas =
        || admin.kubectl(&["get", "deployment", "haldane", "-o=jsonpath={.spec.replicas}"]);
    assert_eq!(replicas(), "3");
    helm(&["rollback", "haldane", "1", "--namespace", HOME]);
    assert_eq!(replicas(), "2");

    // What is taken away takes no rollout along.
    helm(&["uninstall", "haldane", "--namespace", HOME]);
    admin.within(&namespace).kubectl(&["get", "hro", "checkout"]);
    assert!(admin.try_kubectl(&["get", "deployment", "haldane"]).is_err());
    eventually("the policies are gone", || {
        ask(cluster.admin(), &namespace, &request("Abort", Some("ann")))
    });
    helm(&install);
    admin.within(&namespace).kubectl(&["get", "hro", "checkout"]);
}

#[test]
fn the_engine_runs_as_the_release_says_and_is_refused_nothing() {
    let cluster = Cluster::start(Options { controllers: true, audit: true });
    cluster.install(Foreign::GatewayApi);
    cluster.install(Foreign::Istio);
    let copy = helm::copy_of_the_chart();
    let chart = copy.path().join("haldane").to_str().unwrap().to_owned();
    let install = ["install", "haldane", &chart, "--namespace", HOME, "--create-namespace"];
    let istio = ["--set", "providers.istio=true"];
    helm::on(&cluster, &[&install[..], &istio].concat()).unwrap();
    wait_for_policies(&cluster, &cluster.namespace("policies"));
    releases_and_rolls_back(&cluster, &cluster.namespace("shop"));
}

#[test]
fn definitions_that_kubectl_applied_are_taken_over() {
    let cluster = fresh();
    let copy = helm::copy_of_the_chart();
    let chart = copy.path().join("haldane").to_str().unwrap().to_owned();
    cluster.install_crds(&copy.path().join("haldane/files/crds"));
    let install = ["install", "haldane", &chart, "--namespace", HOME, "--create-namespace"];
    let why = helm::on(&cluster, &install).unwrap_err();
    assert!(why.contains("cannot be imported into the current release"), "{why}");
    helm::on(&cluster, &[&install[..], &["--take-ownership"]].concat()).unwrap();
}

#[test]
fn two_releases_for_two_namespaces_live_side_by_side() {
    let cluster = fresh();
    let copy = helm::copy_of_the_chart();
    let chart = copy.path().join("haldane").to_str().unwrap().to_owned();
    for (name, others) in [("first", "true"), ("second", "false")] {
        let (crds, roles) = (format!("crds.install={others}"), format!("roles.install={others}"));
        let mine = format!("namespaces={{{name}}}");
        helm::on(
            &cluster,
            &[
                "install",
                name,
                &chart,
                "--namespace",
                name,
                "--create-namespace",
                "--set",
                &crds,
                "--set",
                &roles,
                "--set",
                &mine,
            ],
        )
        .unwrap();
    }
    for (name, other) in [("first", "second"), ("second", "first")] {
        let user = format!("system:serviceaccount:{name}:{name}-haldane");
        let patch = |namespace: &str| json!({"group": "haldane.dev", "resource": "rollouts", "subresource": "status", "verb": "patch", "namespace": namespace});
        eventually("the rights are known", || {
            if may(&cluster, &user, &patch(name)) { Ok(()) } else { Err(user.clone()) }
        });
        assert!(!may(&cluster, &user, &patch(other)), "{user} writes in {other}");
        let lease = json!({"group": "coordination.k8s.io", "resource": "leases", "verb": "update", "namespace": name, "name": format!("{name}-haldane")});
        assert!(may(&cluster, &user, &lease));
        rollout(&cluster, name, "checkout");
        eventually("its policy is in force", || {
            match ask(cluster.admin(), name, &request("Abort", Some("ann"))) {
                Err(why) if why.contains(&format!("'{name}-haldane-requests'")) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
}
