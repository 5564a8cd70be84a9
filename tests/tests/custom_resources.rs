//! The CustomResourceDefinitions: they are structural and bounded, they read well, they say by rule what
//! `validate --for kubernetes` says, and the committed ones are those that are generated.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[path = "custom_resources/cluster.rs"]
mod cluster;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use haldane_plan::{
    Options, Registries, Severity, Templates, compile, custom_resources, for_kubernetes, parse,
    registries, template_for_kubernetes, validate_template,
};
use haldane_providers::{ProviderEntry, REGISTRY, memory};
use serde_json::{Value, json};

use self::cluster::Cluster;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn documents(text: &str) -> Vec<Value> {
    let parts = text.split("\n---\n").filter(|part| !part.trim().is_empty());
    parts
        .map(|part| serde_saphyr::from_str(part).unwrap_or_else(|error| panic!("{error}\n{part}")))
        .collect()
}

/// The files of a folder that end so, in order.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == ending))
        .collect();
    files.sort();
    files
}

fn schema_of(kind: &str) -> Value {
    let all = custom_resources(&registries());
    let one = all.iter().find(|one| one.definition["spec"]["names"]["kind"] == kind).unwrap();
    one.definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

// === what is committed ===

#[test]
fn the_committed_definitions_are_those_that_are_generated() {
    let folder = root().join("deploy/crds");
    let all = custom_resources(&registries());
    for one in &all {
        let path = folder.join(format!("{}.yaml", one.plural));
        let yaml = serde_saphyr::to_string(&one.definition).unwrap();
        let text = format!("# Made by `haldane crds`.\n{}\n", yaml.trim_end());
        if env::var("INSTA_UPDATE").is_ok_and(|how| how == "always") {
            fs::write(&path, &text).unwrap();
        }
        let shown = path.display();
        assert!(
            read(&path) == text,
            "{shown} is not what `haldane crds` makes: INSTA_UPDATE=always"
        );
        let back: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(back, one.definition, "{shown} reads back");
    }
    assert_eq!(files(&folder, "yaml").len(), all.len(), "a file of a kind that is gone");
}

#[test]
fn the_binary_prints_the_committed_definitions() {
    let this = env::current_exe().expect("a program knows itself");
    let binary = this.ancestors().nth(2).expect("it lies in target/PROFILE/deps").join("haldane");
    assert!(binary.exists(), "{binary:?} is missing: cargo build --workspace --bins");
    let told = |args: &[&str]| {
        let told = Command::new(&binary).args(args).output().unwrap();
        assert!(told.status.success(), "{told:?}");
        String::from_utf8(told.stdout).unwrap()
    };
    let all: Vec<Value> =
        custom_resources(&registries()).into_iter().map(|one| one.definition).collect();
    assert_eq!(documents(told(&["crds"]).trim_start_matches("---\n")), all);
    let list: Value = serde_json::from_str(&told(&["crds", "--output", "json"])).unwrap();
    assert_eq!((&list["kind"], &list["items"]), (&json!("List"), &json!(all)));
}

// === their form ===

/// Looks at every node of a schema that describes a value, with its path.
fn nodes(schema: &Value, path: &str, tell: &mut dyn FnMut(&str, &Value)) {
    tell(path, schema);
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        nodes(below, &format!("{path}.{name}"), tell);
    }
    if let Some(below) = schema.get("items") {
        nodes(below, &format!("{path}[]"), tell);
    }
    if let Some(below) = schema.get("additionalProperties") {
        nodes(below, &format!("{path}.*"), tell);
    }
}

/// Words that a cluster knows in a structural schema.
const WORDS: [&str; 26] = [
    "type",
    "description",
    "properties",
    "required",
    "items",
    "additionalProperties",
    "enum",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "anyOf",
    "nullable",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
    "x-kubernetes-embedded-resource",
];

/// What is wrong with the form of one node.
fn faults(path: &str, node: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |good: bool, what: &str| {
        if !good {
            found.push(format!("{path}: {what}"));
        }
    };
    let Some(fields) = node.as_object() else { return vec![format!("{path}: no schema")] };
    let is = |word: &str| fields.contains_key(word);
    for word in fields.keys() {
        check(WORDS.contains(&word.as_str()), &format!("{word} is not known there"));
    }
    let kind = node["type"].as_str();
    let is_mixed = is("x-kubernetes-int-or-string");
    let is_open = is("x-kubernetes-preserve-unknown-fields");
    check(kind.is_some() != (is_mixed || is_open) || kind == Some("object"), "one type");
    check(!(is("properties") && is("additionalProperties")), "fields and a map at once");
    check(!is("anyOf") || is_mixed, "a choice of types");
    match kind {
        Some("array") => check(is("items") && is("maxItems"), "a list without bounds"),
        Some("string") => {
            let is_bounded = is("maxLength") || is("enum") || node["format"] == "date-time";
            check(
                is_bounded || ["apiVersion", "kind"].iter().any(|end| path == format!(".{end}")),
                "a text without bounds",
            );
        }
        Some("object") => {
            check(!is("additionalProperties") || is("maxProperties"), "a map without bounds")
        }
        _ => {}
    }
    if node["x-kubernetes-list-type"] == "map" {
        for key in node["x-kubernetes-list-map-keys"].as_array().unwrap() {
            let required = node["items"]["required"].as_array().unwrap();
            check(required.contains(key), "a key of a list that may be missing");
        }
    }
    let names = node["properties"].as_object();
    for name in node["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        check(
            is_open || names.is_some_and(|names| names.contains_key(name)),
            "a field that it does not know",
        );
    }
    for rule in node["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let message = rule["message"].as_str().unwrap_or_default();
        check(
            !message.is_empty() && message.len() < 2048 && !message.contains('\n'),
            "a rule's message",
        );
        check(message.contains(": "), &format!("a message without a remedy: {message}"));
    }
    found
}

#[test]
fn every_schema_is_structural_and_bounded() {
    let mut seen = 0;
    for one in custom_resources(&registries()) {
        let schema = &one.definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut found = Vec::new();
        nodes(schema, "", &mut |path, node| {
            seen += 1;
            found.extend(faults(path, node));
        });
        assert!(found.is_empty(), "{}: {found:#?}", one.plural);
    }
    assert!(seen > 1_000, "only {seen} nodes were seen");
}

#[test]
fn a_schema_that_is_not_structural_is_seen() {
    for bad in [
        json!({"$ref": "#/$defs/x"}),
        json!({"description": "no type"}),
        json!({"type": "string"}),
        json!({"type": "array", "items": {"type": "boolean"}}),
        json!({"type": "object", "additionalProperties": {"type": "boolean"}}),
        json!({"type": "boolean", "default": true}),
        json!({"oneOf": [{"type": "string"}, {"type": "object"}]}),
        json!({"type": "object", "properties": {}, "required": ["x"]}),
    ] {
        assert!(!faults(".spec", &bad).is_empty(), "{bad}");
    }
}

#[test]
fn every_field_is_explained() {
    for one in custom_resources(&registries()) {
        let schema = &one.definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut lacking = Vec::new();
        nodes(schema, "", &mut |path, node| {
            let own = path.ends_with("[]") || path.ends_with(".*") || path == ".metadata";
            let text = node["description"].as_str().unwrap_or_default();
            if !own && (text.len() < 5 || text.contains("TODO")) {
                lacking.push(path.to_owned());
            }
        });
        assert!(lacking.is_empty(), "{} says nothing of {lacking:#?}", one.plural);
    }
}

#[test]
fn no_default_is_written_into_anybodys_object() {
    for one in custom_resources(&registries()) {
        let schema = &one.definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        nodes(schema, "", &mut |path, node| assert!(node.get("default").is_none(), "{path}"));
    }
    let timeout = &schema_of("Rollout")["properties"]["spec"]["properties"]["analysis"]["properties"]
        ["sources"]["items"]["properties"]["prometheus"]["properties"]["timeout"];
    assert!(timeout["description"].as_str().unwrap().ends_with("Without it `10s`."), "{timeout}");
}

#[test]
fn a_definition_can_be_applied_by_every_tool() {
    for one in custom_resources(&registries()) {
        // `kubectl apply` keeps a copy in an annotation, which has 256 KiB.
        let size = one.definition.to_string().len();
        assert!(size < 200_000, "{}: {size} bytes", one.plural);
    }
}

#[test]
fn no_short_name_is_one_of_others() {
    let others = ["ro", "ar", "at", "cat", "exp", "experiments", "cd", "vs", "dr", "gw", "gtp"];
    let mut seen: Vec<String> = Vec::new();
    for one in custom_resources(&registries()) {
        let names = &one.definition["spec"]["names"];
        for name in names["shortNames"].as_array().unwrap().iter().filter_map(Value::as_str) {
            assert!(name.starts_with('h') && !others.contains(&name), "{name}");
            assert!(!seen.contains(&name.to_owned()), "{name} is there twice");
            seen.push(name.to_owned());
        }
        assert_eq!(names["categories"], json!(["haldane"]), "`kubectl get all` shows none of ours");
    }
    assert!(seen.contains(&"hro".to_owned()) && seen.contains(&"har".to_owned()), "{seen:?}");
}

#[test]
fn lists_are_merged_by_their_names() {
    let rollout = schema_of("Rollout");
    for (pointer, key) in [
        ("spec/sides", "name"),
        ("spec/traffic", "name"),
        ("spec/analysis/sources", "name"),
        ("spec/analysis/checks", "name"),
        ("spec/alerts", "name"),
        ("status/traffic", "name"),
        ("status/checks", "name"),
        ("status/conditions", "type"),
    ] {
        let list = pointer.split('/').fold(&rollout, |here, name| &here["properties"][name]);
        assert_eq!(list["x-kubernetes-list-type"], "map", "{pointer}");
        assert_eq!(list["x-kubernetes-list-map-keys"], json!([key]), "{pointer}");
    }
}

/// Fields of settings whose names sound like the engine's own machine.
#[test]
fn no_field_that_names_the_engines_own_machine_is_open() {
    // Of a document that a service answers: no place on a machine.
    let harmless = [".json.path", ".json.jsonPath"];
    let words = [
        "file",
        "socket",
        "path",
        "env",
        "exec",
        "command",
        "kubeconfig",
        "directory",
        "namespace",
    ];
    let mut refused = 0;
    for kind in ["Rollout", "AnalysisTemplate", "ClusterAnalysisTemplate"] {
        nodes(&schema_of(kind)["properties"]["spec"], ".spec", &mut |path, node| {
            let name = path.rsplit('.').next().unwrap_or_default().to_lowercase();
            let name = name.trim_end_matches("[]");
            let sounds =
                words.iter().any(|word| name.ends_with(word) || name == format!("{word}s"));
            if !sounds || path.ends_with("[]") || harmless.iter().any(|end| path.ends_with(end)) {
                return;
            }
            let rules = node["x-kubernetes-validations"].as_array().into_iter().flatten();
            let never = rules.filter(|rule| rule["rule"] == "false").map(|rule| &rule["message"]);
            // Where no rule can look nothing fits, and the description says why.
            let nothing = (node["maxLength"] == 0).then_some(&node["description"]);
            let told: Vec<&str> = never.chain(nothing).filter_map(Value::as_str).collect();
            let by_name = told.iter().any(|text| text.to_lowercase().contains(name));
            assert!(by_name, "{kind}{path}: {told:?}");
            refused += 1;
        });
    }
    assert!(refused > 30, "only {refused} such fields were seen");
}

// === what they take ===

/// The providers of this engine, and one that a cluster may name.
static PROVIDERS: LazyLock<Vec<ProviderEntry>> = LazyLock::new(|| {
    let copy = |row: &ProviderEntry| ProviderEntry { ..*row };
    REGISTRY.iter().map(copy).chain([memory::ENTRY]).collect()
});

fn with_memory() -> Registries<'static> {
    Registries { providers: &PROVIDERS, ..registries() }
}

/// Why `validate --for kubernetes` refuses a text.
fn validate(text: &str, others: &Templates) -> Vec<String> {
    let documents = match parse(text) {
        Ok(documents) => documents,
        Err(found) => return found.iter().map(ToString::to_string).collect(),
    };
    let mut templates = Templates::default();
    templates.add(documents.templates.iter().cloned(), None);
    templates.extend(others);
    let mut found = Vec::new();
    for template in &documents.templates {
        found.extend(validate_template(template, &with_memory(), &templates));
        found.extend(template_for_kubernetes(template, &with_memory()));
    }
    let options = Options { templates, workloads: true, ..Options::default() };
    for document in &documents.rollouts {
        found.extend(for_kubernetes(document, &with_memory()));
        found.extend(compile(document, &with_memory(), &options).err().unwrap_or_default());
    }
    found.retain(|fault| fault.severity == Severity::Error);
    found.iter().map(ToString::to_string).collect()
}

/// The same document with what moves the traffic in a cluster.
fn in_a_cluster(mut document: Value) -> Value {
    let traffic = document.pointer_mut("/spec/traffic").and_then(Value::as_array_mut);
    for entry in traffic.into_iter().flatten().filter_map(Value::as_object_mut) {
        let name = entry.get("name").cloned();
        if entry.remove("haproxy").is_some() {
            entry.insert("memory".to_owned(), json!({"name": name}));
        }
    }
    document
}

/// Every template that is shown but this document, once; first those that are shown beside it.
fn templates_for(document: &Value, beside: &[Value], all: &[(String, Vec<Value>)]) -> Templates {
    let whose = |one: &Value| {
        let namespace = one["metadata"]["namespace"].as_str().unwrap_or("default").to_owned();
        (one["kind"].clone(), namespace, one["metadata"]["name"].clone())
    };
    let mut known = vec![whose(document)];
    let mut templates = Templates::default();
    for one in beside.iter().chain(all.iter().flat_map(|(_, documents)| documents)) {
        if one["kind"] == "Rollout" || known.contains(&whose(one)) {
            continue;
        }
        known.push(whose(one));
        let parsed = parse(&one.to_string()).unwrap_or_else(|found| panic!("{one:#}: {found:?}"));
        templates.add(parsed.templates, None);
    }
    templates
}

/// Puts an example of a page into a whole document, by what it holds.
fn whole(base: &Value, example: Value) -> Option<Value> {
    let mut document = base.clone();
    let spec = &mut document["spec"];
    match example {
        Value::Array(entries) => {
            let first = &entries[0];
            if haldane_sources::SOURCES.iter().any(|row| first.get(row.kind).is_some()) {
                spec["analysis"]["source"] = first["name"].clone();
                spec["analysis"]["sources"] = json!(entries);
            } else {
                spec["analysis"]["checks"] = json!(entries);
            }
        }
        Value::Object(fields) if fields.contains_key("apiVersion") => document = json!(fields),
        Value::Object(fields) if fields.contains_key("haproxy") => {
            spec["traffic"] = json!([{"name": "edge", "haproxy": fields["haproxy"]}]);
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                match value
                    .as_object()
                    .filter(|value| name == "analysis" && !value.contains_key("none"))
                {
                    Some(inner) => {
                        for (name, value) in inner {
                            spec["analysis"][name] = value.clone();
                        }
                    }
                    None => spec[name] = value,
                }
            }
        }
        _ => return None,
    }
    Some(document)
}

/// Whether an example is an object of somebody else's: the suite `routes` gives it to an API server.
fn is_anothers(example: &Value) -> bool {
    let version = example["apiVersion"].as_str();
    version.is_some_and(|version| !version.starts_with("haldane.dev/"))
}

/// Every document that people are shown: whose page or file it is, and the document.
fn shown() -> Vec<(String, Vec<Value>)> {
    let mut shown: Vec<(String, Vec<Value>)> = Vec::new();
    for path in files(&root().join("tests/examples"), "yaml") {
        shown.push((path.display().to_string(), documents(&read(&path))));
    }
    let mut pages = vec![root().join("README.md")];
    for folder in ["docs", "docs/sources", "docs/checks", "docs/providers"] {
        pages.extend(files(&root().join(folder), "md"));
    }
    let blocks = |text: &str| -> Vec<String> {
        let after = text.split("```yaml\n").skip(1);
        after.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
    };
    let base = documents(&blocks(&read(&pages[0]))[0]).remove(0);
    for page in pages {
        for block in blocks(&read(&page)) {
            let ours = documents(&block).into_iter().filter(|one| !is_anothers(one));
            let all = ours.filter_map(|one| whole(&base, one)).collect();
            shown.push((format!("{}: {block}", page.display()), all));
        }
    }
    shown
}

#[test]
fn a_cluster_takes_what_validate_says_that_it_takes() {
    let cluster = Cluster::new(&with_memory());
    let shown = shown();
    let (mut taken, mut refused) = (0, 0);
    for (whose, documents) in &shown {
        for document in documents {
            let others = templates_for(document, documents, &shown);
            for document in [document.clone(), in_a_cluster(document.clone())] {
                let said = validate(&document.to_string(), &others);
                let found = cluster.refuses(&document, None);
                assert_eq!(
                    said.is_empty(),
                    found.is_empty(),
                    "{whose}\nvalidate: {said:#?}\ncluster: {found:#?}\n{document:#}"
                );
                if said.is_empty() { taken += 1 } else { refused += 1 }
            }
        }
    }
    assert!(taken > 25 && refused > 40, "{taken} were taken, {refused} refused");
}

#[test]
fn what_validate_refuses_of_form_a_cluster_refuses_too() {
    // What only the engine can tell, by a look at queries, at metrics, or at another object; and what is only wrong in a file.
    let later = [
        "bad-promql",
        "destination-of-unknown-side",
        "mirror-of-connections",
        "testers",
        "nothing-to-guard-100",
        "only-a-gauge",
        "phases",
        "phases-without-a-guard",
        "secret-file-absent",
        "secret-of-a-cluster",
        "syntax",
        "duplicate-key",
        "two-on-one-route",
        "unknown-variable",
    ];
    let cluster = Cluster::new(&with_memory());
    let mut seen = 0;
    for path in files(&root().join("tests/bad"), "yaml") {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if later.contains(&name.as_str()) || name.starts_with("template-") {
            continue;
        }
        for document in documents(&read(&path)).into_iter().map(in_a_cluster) {
            let found = cluster.refuses(&document, None);
            assert!(!found.is_empty(), "{name} was taken: {document:#}");
            seen += 1;
        }
    }
    assert!(seen >= 20, "only {seen} bad documents were seen");
}

/// Each file's first line is `# expected: `, and words of a refusal; a second document is written over the
/// first.
#[test]
fn what_a_cluster_must_refuse_is_refused_with_its_message() {
    let cluster = Cluster::new(&registries());
    let files = files(&root().join("tests/bad/kubernetes"), "yaml");
    assert!(files.len() >= 40, "the bad documents are missing: {}", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let text = read(&path);
        let expected = text.lines().next().unwrap_or_default().strip_prefix("# expected: ");
        let expected = expected.unwrap_or_else(|| panic!("{} says nothing", path.display()));
        let all = documents(&text);
        let (object, old) = match all.as_slice() {
            [object] => (object, None),
            [old, object] => (object, Some(old)),
            _ => panic!("{}", path.display()),
        };
        let found = cluster.refuses(object, old);
        if !found.iter().any(|one| one.contains(expected)) {
            wrong.push(format!("{}: {expected}\n{found:#?}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A rule that nothing breaks might as well say nothing.
#[test]
fn every_rule_is_broken_by_some_document() {
    let cluster = Cluster::new(&registries());
    let mut broken = Vec::new();
    for path in files(&root().join("tests/bad/kubernetes"), "yaml") {
        let all = documents(&read(&path));
        let old = (all.len() > 1).then(|| &all[0]);
        let found = cluster.breaks(all.last().unwrap(), old).into_iter();
        broken.extend(found.map(|one| (one.rule, one.message)));
    }
    let mut lacking: Vec<(String, String)> = Vec::new();
    for one in custom_resources(&registries()) {
        let kind = one.definition["spec"]["names"]["kind"].as_str().unwrap();
        nodes(cluster.schema(kind), "", &mut |path, node| {
            for rule in node["x-kubernetes-validations"].as_array().into_iter().flatten() {
                let (said, message) =
                    (rule["rule"].as_str().unwrap(), rule["message"].as_str().unwrap());
                // What refuses always is told apart by what it says.
                let is_it = |(rule, told): &(String, String)| {
                    rule == said && (said != "false" || told == message)
                };
                if !broken.iter().any(is_it) && !lacking.iter().any(|(_, known)| known == message) {
                    lacking.push((format!("{}{path}", one.plural), message.to_owned()));
                }
            }
        });
    }
    assert!(lacking.is_empty(), "no document breaks {lacking:#?}");
}

#[test]
fn requests_are_taken_as_people_make_them() {
    let cluster = Cluster::new(&registries());
    let request = |spec: Value| {
        json!({
            "apiVersion": "haldane.dev/v1alpha1",
            "kind": "RolloutRequest",
            "metadata": {"generateName": "checkout-", "name": "checkout-x2"},
            "spec": spec,
        })
    };
    for good in [
        json!({"rollout": "checkout", "verb": "Abort"}),
        json!({"rollout": "checkout", "verb": "Pause", "revision": "2.4.1", "attempt": 3}),
        json!({"rollout": "checkout", "verb": "Promote", "full": true, "revision": "2.4.1", "attempt": 3, "step": 0}),
        json!({"rollout": "checkout", "verb": "Retry", "without": "edge", "revision": "2.4.1", "attempt": 3}),
    ] {
        let found = cluster.refuses(&request(good.clone()), Some(&request(good.clone())));
        assert!(found.is_empty(), "{good}: {found:?}");
    }
}

// === what the engine writes ===

#[test]
fn what_the_engine_writes_fits() {
    use haldane_crds::{
        CheckStatus, Condition, ConditionStatus, EngineStatus, HoldStatus, LastDecision,
        RolloutStatus, StepStatus, StoredRecord, TrafficStatus, VerdictWord,
    };
    let now: jiff::Timestamp = "2026-11-21T12:00:00.123456789Z".parse().unwrap();
    let status = RolloutStatus {
        observed_generation: Some(3),
        phase: Some("Baking".to_owned()),
        at_gate: Some(true),
        serving: Some("blue".to_owned()),
        revision: Some("2.4.1".to_owned()),
        previous_revision: Some("2.4.0".to_owned()),
        attempt: Some(3),
        step: Some(StepStatus {
            index: 1,
            count: 4,
            weight: "25%".to_owned(),
            baked: "2m30s".to_owned(),
            shown: "2/4".to_owned(),
        }),
        weight: Some("25%".to_owned()),
        verdict: Some(VerdictWord::CanaryLost),
        traffic: vec![TrafficStatus {
            name: "edge".to_owned(),
            wanted: "25%".to_owned(),
            observed: Some("25%".to_owned()),
            acknowledged: Some("Programmed".to_owned()),
            message: None,
        }],
        checks: vec![CheckStatus {
            name: "errors".to_owned(),
            verdict: Some(VerdictWord::Pass),
            value: Some("0.4%".to_owned()),
            limit: Some("max 1%".to_owned()),
            samples: Some(1_204),
            message: None,
        }],
        holds: vec![HoldStatus { kind: "Person".to_owned(), since: now, actor: "ada".to_owned() }],
        held_by: vec!["NoData".to_owned()],
        last_decision: Some(LastDecision {
            time: now,
            reason: "StepPassed".to_owned(),
            cause: None,
            actor: "haldane".to_owned(),
            message: "step 1 passed".to_owned(),
            entries: vec!["{}".to_owned()],
        }),
        safe_to_scale_down: Some("green".to_owned()),
        conditions: vec![Condition {
            kind: "Ready".to_owned(),
            status: ConditionStatus::False,
            observed_generation: Some(3),
            last_transition_time: now,
            reason: "Baking".to_owned(),
            message: String::new(),
        }],
        engine: Some(EngineStatus { format: 1, term: 7, version: 41 }),
        record: Some(StoredRecord { version: 41, term: 7, text: "{\"format\":1}".to_owned() }),
    };
    let value = serde_json::to_value(&status).unwrap();
    let known = schema_of("Rollout")["properties"]["status"]["properties"].clone();
    let written: Vec<_> = value.as_object().unwrap().keys().collect();
    assert_eq!(
        written.len(),
        known.as_object().unwrap().len(),
        "every field is written here: {written:?}"
    );
    let cluster = Cluster::new(&with_memory());
    let text = read(&root().join("tests/examples/minimal.yaml"));
    let mut rollout = in_a_cluster(documents(&text).remove(0));
    rollout["status"] = value.clone();
    assert_eq!(cluster.refuses(&rollout, None), Vec::<String>::new());
    assert_eq!(serde_json::from_value::<RolloutStatus>(value).unwrap(), status);
}

#[test]
fn the_record_of_an_analysis_fits_as_it_is_told() {
    use haldane_model::{Compared, Verdict, Window};
    use haldane_runtime::analysis_run::{
        AnalysisRun, Found, Input, Measurement, Metadata, Phase, Spec, Status,
    };
    let at: jiff::Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
    let raw = |text: &str| serde_json::value::RawValue::from_string(text.to_owned()).unwrap();
    let measurement = |verdict, value| Measurement {
        at,
        window: Window { begin: at, end: at },
        verdict,
        value,
        limit: Some("max 1%".to_owned()),
        samples: Some(120.5),
        compared: Some(Compared {
            serving: None,
            odds: f64::INFINITY,
            odds_needed: 100.0,
            holds: true,
            needed: None,
        }),
        message: None,
    };
    let run = AnalysisRun {
        api_version: "haldane.dev/v1alpha1",
        kind: "AnalysisRun",
        metadata: Metadata { name: "checkout-3".to_owned(), namespace: "shop".to_owned() },
        spec: Spec {
            rollout: "checkout".to_owned(),
            attempt: 3,
            revision: Some("2.4.1".into()),
            checks: vec![Input {
                name: "errors".to_owned(),
                dry_run: false,
                question: raw("{\"sides\":{}}"),
                rule: raw("\"a text\""),
            }],
        },
        status: Status {
            phase: Phase::Failed,
            started_at: Some(at),
            finished_at: None,
            message: Some("it failed".to_owned()),
            checks: vec![Found {
                name: "errors".to_owned(),
                verdict: Verdict::Fail { breach: true },
                message: "3 % failed".to_owned(),
                looks: [("Pass", 3), ("Fail", 1)].into(),
                measurements: vec![
                    measurement(Verdict::Pass, Some(0.1)),
                    measurement(Verdict::Inconclusive { over_limit: false }, Some(f64::NAN)),
                ],
                older: 7,
            }],
        },
    };
    let stored = haldane_plan::analysis_run(&run);
    let mut object = serde_json::to_value(&stored).unwrap();
    assert_eq!(object["status"]["checks"][0]["verdict"], "Fail");
    assert_eq!(object["status"]["checks"][0]["breach"], true);
    object["apiVersion"] = run.api_version.into();
    object["kind"] = run.kind.into();
    object["metadata"] = json!({"name": run.metadata.name});
    let cluster = Cluster::new(&registries());
    assert_eq!(cluster.refuses(&object, None), Vec::<String>::new(), "{object:#}");
}
