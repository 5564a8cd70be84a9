//! The written form, end to end: every bad document is refused with the line, the field and the
//! remedy; every example and every block of the documentation compiles.

#![allow(clippy::unwrap_used)]

use std::{fs, path::PathBuf};

use haldane_plan::{
    Compiled, Diagnostic, Document, Options, Severity, Templates, collisions, compile, effective,
    for_kubernetes, parse, schema, validate_template,
};

use haldane_plan::registries;

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(path: &str) -> String {
    fs::read_to_string(folder(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Everything that `haldane validate` does with a file.
fn validate(text: &str) -> Result<Vec<Compiled>, Vec<Diagnostic>> {
    let documents = parse(text)?;
    let (mut compiled, mut faults) = (Vec::new(), Vec::new());
    let mut templates = Templates::default();
    templates.add(documents.templates.iter().cloned(), None);
    for template in &documents.templates {
        let found = validate_template(template, &registries(), &templates);
        faults.extend(found.into_iter().filter(|fault| fault.severity == Severity::Error));
    }
    let options = Options { templates, ..Options::default() };
    for document in &documents.rollouts {
        match compile(document, &registries(), &options) {
            Ok(plan) => compiled.push(plan),
            Err(found) => faults.extend(found),
        }
    }
    // What a rollout finds in a template that is wrong whoever uses it is told once.
    let mut places = Vec::new();
    faults.retain(|fault| {
        let place = (fault.path.clone(), fault.line, fault.column);
        let told = places.contains(&place);
        places.push(place);
        !told
    });
    let targets: Vec<_> =
        compiled.iter().map(|one| (one.id.clone(), one.targets.clone())).collect();
    faults.extend(collisions(&targets));
    if faults.is_empty() { Ok(compiled) } else { Err(faults) }
}

#[track_caller]
fn good(text: &str) -> Compiled {
    let mut compiled = validate(text).unwrap_or_else(|faults| panic!("{}\n{text}", show(&faults)));
    assert_eq!(compiled.len(), 1);
    compiled.remove(0)
}

fn document(text: &str) -> Document {
    parse(text).unwrap().rollouts.remove(0)
}

fn show(faults: &[Diagnostic]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn yaml_files(name: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(folder(name)).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|kind| kind == "yaml")).collect();
    files.sort();
    files
}

#[test]
fn a_bad_document_is_refused_with_the_line_the_field_and_the_remedy() {
    let files = yaml_files("bad");
    assert!(files.len() >= 20, "the bad documents are missing: {}", files.len());
    for path in files {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let Err(faults) = validate(&fs::read_to_string(&path).unwrap()) else {
            panic!("{name} was accepted")
        };
        for fault in &faults {
            assert!(fault.help.is_some(), "{name}: no remedy: {fault}");
            assert!(fault.line.is_some() || name == "two-on-one-route", "{name}: no line: {fault}");
        }
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(folder("bad"));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, show(&faults)));
    }
}

#[test]
fn every_example_compiles() {
    for path in yaml_files("examples") {
        good(&fs::read_to_string(&path).unwrap());
    }
}

#[test]
fn one_example_holds_every_field() {
    // HAProxy copies no traffic: what needs that is in an example of its own.
    let text = read("examples/every-field.yaml") + &read("examples/mirror-and-testers.yaml");
    let schema = haldane_crds_schema();
    let mut missing = Vec::new();
    fields(&schema, &mut |name| {
        let there = text.contains(&format!("{name}:"));
        let workload = ["workload", "deployment", "statefulSet", "daemonSet", "replicaSet", "pods"];
        let cluster = [workload.as_slice(), &["contents", "configMaps", "secrets"]].concat();
        let refused = ["webhook", "group", "none"].contains(&name) || cluster.contains(&name);
        if !there && !refused && !missing.contains(&name.to_owned()) {
            missing.push(name.to_owned());
        }
    });
    // A gate's `window` has the name of a check's; both are written the same.
    assert!(missing.is_empty(), "not in the example: {missing:?}");
}

fn haldane_crds_schema() -> serde_json::Value {
    haldane_plan::schema(&haldane_plan::Registries {
        providers: &[],
        sources: &[],
        own_source: |_| None,
        checks: &[],
        revision: |_, _| Ok("".into()),
    })
}

fn fields(schema: &serde_json::Value, tell: &mut dyn FnMut(&str)) {
    if let Some(known) = schema.get("properties").and_then(serde_json::Value::as_object) {
        for (name, schema) in known {
            tell(name);
            fields(schema, tell);
        }
    }
    if let Some(items) = schema.get("items") {
        fields(items, tell);
    }
    for kind in schema.get("oneOf").and_then(serde_json::Value::as_array).into_iter().flatten() {
        fields(kind, tell);
    }
}

#[test]
fn every_yaml_block_of_the_documentation_compiles() {
    let text = read("../docs/rollout.md");
    let blocks: Vec<&str> = text
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default())
        .collect();
    assert!(blocks.len() >= 6, "the blocks are missing: {}", blocks.len());
    let whole = blocks[0];
    // What uses a template finds it in the block that shows it.
    let is_template = |block: &&str| block.contains("kind: AnalysisTemplate");
    let templates: Vec<&str> = blocks.iter().copied().filter(is_template).collect();
    assert!(!templates.is_empty(), "no block shows a template");
    let templates = templates.join("---\n");
    for block in blocks.into_iter().filter(|block| !is_template(block)) {
        match block.starts_with("apiVersion") {
            true => good(block),
            false => good(&format!("{}\n---\n{templates}", with_spec(whole, block))),
        };
    }
}

/// Puts the fields of a fragment of `spec` in the place of those of a whole document.
fn with_spec(whole: &str, fragment: &str) -> String {
    let read = |text: &str| serde_saphyr::from_str::<serde_json::Value>(text).unwrap();
    let mut document = read(whole);
    let fragment = read(fragment);
    for (name, value) in fragment.as_object().expect("a fragment holds fields of `spec`") {
        match (name.as_str(), value.get("none")) {
            ("analysis", None) => {
                for (name, value) in value.as_object().unwrap() {
                    document["spec"]["analysis"][name] = value.clone();
                }
            }
            _ => document["spec"][name] = value.clone(),
        }
    }
    document.to_string()
}

#[test]
fn json_is_read_as_well() {
    let value: serde_json::Value = serde_saphyr::from_str(&read("examples/minimal.yaml")).unwrap();
    let text = serde_json::to_string_pretty(&value).unwrap();
    assert_eq!(good(&text).plan.hash, good(&read("examples/minimal.yaml")).plan.hash);
}

#[test]
fn unset_fields_get_their_defaults() {
    let compiled = good(&read("examples/minimal.yaml"));
    let plan = &compiled.plan;
    let weights: Vec<_> = plan.steps.iter().map(|step| step.weight.to_string()).collect();
    assert_eq!(weights, ["10 %", "25 %", "50 %", "100 %"]);
    assert!(plan.steps.iter().all(|step| step.bake.as_secs() == 300));
    assert_eq!(plan.watch.as_secs(), 3_600);
    assert_eq!(plan.progress_deadline.as_secs(), 4 * 300 + 3_600);
    assert_eq!(plan.checks[0].interval.as_secs(), 10);
    assert_eq!(plan.checks[0].window, None);
    assert!(plan.guards_at_full && !plan.unanalysed);
    insta::assert_snapshot!(serde_saphyr::to_string(&effective(&compiled)).unwrap());
}

#[test]
fn the_effective_plan_compiles_to_itself() {
    for path in yaml_files("examples") {
        let compiled = good(&fs::read_to_string(&path).unwrap());
        let again = good(&serde_saphyr::to_string(&effective(&compiled)).unwrap());
        assert_eq!(again.plan, compiled.plan, "{}", path.display());
    }
}

#[test]
fn the_hash_sees_what_an_attempt_does_and_nothing_else() {
    let text = read("examples/minimal.yaml");
    let hash = |text: &str| good(text).plan.hash.clone();
    let before = hash(&text);
    assert!(before.starts_with("1:"), "{before}");
    let (map, key) = ("map: /etc/haproxy/haldane/share.map", "key: checkout");
    let swapped = text.replace(&format!("{map}, {key}"), &format!("{key}, {map}"));
    assert_ne!(swapped, text);
    assert_eq!(hash(&text.replace("spec:", "spec:\n  paused: true\n  revision: \"9\"")), before);
    assert_eq!(hash(&swapped.replace('\n', "\n\n")), before);
    assert_ne!(hash(&text.replace("spec:", "spec:\n  watch: 2h")), before);
}

#[test]
fn a_pause_is_a_manual_gate_on_the_following_step() {
    let text = read("examples/every-field.yaml");
    let plan = good(&text).plan;
    let gated: Vec<_> = plan.steps.iter().map(|step| step.gates.len()).collect();
    assert_eq!(gated, [0, 0, 1, 1, 0]);
}

#[test]
fn a_check_is_asked_all_along_unless_it_or_a_step_says_otherwise() {
    use haldane_model::During;
    let plan = good(&read("examples/every-field.yaml")).plan;
    let during = |name: &str| {
        let check = plan.checks.iter().find(|check| check.name.as_str() == name);
        check.map(|check| check.during.clone()).unwrap()
    };
    assert_eq!(during("errors"), During::Background);
    assert_eq!(during("smoke"), During::BeforeTraffic);
    assert_eq!(during("cache"), During::Steps(vec![2]), "a pause is no step");
    assert_eq!(during("orders"), During::AfterPromotion);
}

#[test]
fn what_is_asked_all_along_leaves_the_hash_of_earlier_plans_as_it_was() {
    let text = read("examples/minimal.yaml");
    let said = text.replace("metrics: prometheus}", "metrics: prometheus}, during: Background");
    assert_ne!(said, text);
    let plan = good(&said).plan;
    assert_eq!(plan.hash, good(&text).plan.hash);
    assert!(!serde_json::to_string(&plan.checks).unwrap().contains("during"));
}

#[test]
fn a_comparison_may_be_asked_in_steps_that_follow_one_another_and_with_an_objective_at_the_end() {
    let with = |steps: &str, check: &str| {
        let text = read("examples/minimal.yaml");
        let text = text.replace("spec:", &format!("spec:\n  steps: [{steps}]"));
        validate(&format!("{}\n    - {check}", text.trim_end())).is_ok()
    };
    let check = "{name: own, errors: {metrics: prometheus}}";
    let own = "checks: [own]";
    let steps = |first: &str, second: &str, third: &str| {
        format!(
            "{{weight: 0{first}}}, {{weight: 10{second}}}, {{weight: 50}}, {{weight: 100{third}}}"
        )
    };
    let own = format!(", {own}");
    assert!(with(&steps("", &own, ""), check));
    assert!(with(&steps(&own, &own, ""), check), "it begins before the traffic");
    assert!(!with(&steps(&own, "", ""), check), "nobody to compare with");
    assert!(!with(&steps("", "", &own), check));
    assert!(!with(&steps("", &own, &own), check), "begun twice");
    let slo = "{name: own, errors: {metrics: prometheus, slo: \"99.9%\"}}";
    assert!(with(&steps("", "", &own), slo));
    assert!(!with(&steps(&own, "", ""), slo), "at 0 there is nothing to judge");
    let after =
        "{name: own, errors: {metrics: prometheus, slo: \"99.9%\"}, during: AfterPromotion}";
    assert!(with(&steps("", "", ""), after));
    let before =
        "{name: own, errors: {metrics: prometheus, slo: \"99.9%\"}, during: BeforeTraffic}";
    assert!(!with(&steps("", "", ""), before));
}

#[test]
fn min_samples_for_all_checks_passes_by_those_that_cannot_count() {
    let plan = good(&read("examples/every-field.yaml")).plan;
    let rules: Vec<_> = plan.checks.iter().map(|check| check.rule.contains("20.0")).collect();
    assert_eq!(rules, [true, false, true, true, false, false, false, false, false, false]);
    let text = read("examples/every-field.yaml").replace("dryRun: true", "minSamples: 5");
    let faults = validate(&text).unwrap_err();
    assert_eq!(faults[0].path, "spec.analysis.checks[4].query.count");
}

#[test]
fn everything_wrong_is_told_at_once() {
    let text = read("examples/minimal.yaml")
        .replace("spec:", "spec:\n  steps: [{weight: 50}, {weight: 25}]\n  progressDeadline: 1m");
    let faults = validate(&text).unwrap_err();
    let paths: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(paths, ["spec.steps[1].weight", "spec.progressDeadline"]);
}

#[test]
fn the_lines_that_must_move_for_kubernetes_are_named() {
    let found = for_kubernetes(&document(&read("examples/every-field.yaml")), &registries());
    let paths: Vec<_> = found.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "spec.traffic[0].haproxy",
            "spec.traffic[0].haproxy.sockets",
            "spec.traffic[0].haproxy.share.map",
            "spec.traffic[1].haproxy",
            "spec.traffic[1].haproxy.sockets",
            "spec.traffic[1].haproxy.share.map",
            "spec.analysis.sources[0].prometheus.bearer.file",
        ]
    );
    assert!(found.iter().all(|fault| fault.line.is_some() && fault.help.is_some()));
    let minimal = document(&read("examples/minimal.yaml"));
    assert!(for_kubernetes(&minimal, &registries()).len() == 2);
}

#[test]
fn a_users_own_word_in_a_map_is_no_place_on_the_engines_machine() {
    let text = read("examples/minimal.yaml");
    let labels = "labels: {version: v1, env: blue, file: a, sockets: b}";
    let moved = |text: &str| for_kubernetes(&document(text), &registries()).len();
    assert_eq!(moved(&text.replace("labels: {version: v1}", labels)), moved(&text));
    let header = "prometheus: {headers: {env: plain, X-Token: {env: TOKEN}}, ";
    assert_eq!(moved(&text.replace("prometheus: {", header)), moved(&text) + 1);
}

#[test]
fn what_a_cluster_knows_by_name_and_keeps_in_bounds_is_told_with_its_line() {
    let text = read("examples/minimal.yaml");
    let long = format!("http://127.0.0.1:9090/{}", "x".repeat(5_000));
    let text =
        text.replace("{name: errors, errors", "{errors").replace("http://127.0.0.1:9090", &long);
    let found = for_kubernetes(&document(&text), &registries());
    let paths: Vec<_> = found.iter().map(|fault| fault.path.as_str()).collect();
    assert!(paths.contains(&"spec.analysis.checks[0]"), "{paths:?}");
    assert!(paths.contains(&"spec.analysis.sources[0].prometheus.url"), "{paths:?}");
}

#[test]
fn the_schema_holds_the_settings_of_every_kind() {
    let schema = schema(&registries());
    let kinds = schema["oneOf"].as_array().unwrap();
    let words: Vec<_> = kinds.iter().map(|kind| &kind["properties"]["kind"]["const"]).collect();
    assert_eq!(words, ["Rollout", "AnalysisTemplate", "ClusterAnalysisTemplate"]);
    let spec = &kinds[0]["properties"]["spec"]["properties"];
    assert_eq!(spec["traffic"]["items"]["properties"]["haproxy"]["type"], "object");
    let checks = &spec["analysis"]["properties"]["checks"]["items"];
    assert_eq!(checks["oneOf"].as_array().unwrap().len(), haldane_sources::CHECKS.len());
    assert_eq!(checks["additionalProperties"], false);
    for template in &kinds[1..] {
        assert_eq!(&template["properties"]["spec"]["properties"]["checks"]["items"], checks);
    }
    assert!(!schema.to_string().contains("\"null\""), "a field is there or it is not");
}
