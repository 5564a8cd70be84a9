//! The examples of the documentation, read as a user would paste them.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::{collections::BTreeMap, fs, path::PathBuf};

use haldane_sources::{CHECKS, SOURCES, SettingsError, TemplateScope};
use serde_json::Value;

/// The entries of every YAML block of a page, which may stand in a list `sources` or `checks`.
fn examples(page: &str, list: &str) -> Vec<Value> {
    let docs = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"));
    let text = fs::read_to_string(docs.join(page)).unwrap();
    let blocks = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let entries = |block| {
        let read: Value = serde_saphyr::from_str(block).unwrap();
        // Or a source beside the checks that it can answer.
        let entries = read.as_array().or_else(|| read["analysis"][list].as_array());
        entries.unwrap().clone()
    };
    let entries: Vec<Value> = blocks.flat_map(entries).collect();
    assert!(!entries.is_empty(), "{page} has no example");
    entries
}

#[test]
fn every_example_of_a_check_can_be_used() {
    let labels = |version: &str| {
        let label = |name: &str| (name.to_owned(), version.to_owned());
        BTreeMap::from([label("version"), label("side")])
    };
    let scope = TemplateScope {
        namespace: "shop".into(),
        name: "checkout".into(),
        sides: [("blue".into(), labels("v1")), ("green".into(), labels("v2"))],
        arguments: BTreeMap::new(),
    };
    for entry in CHECKS {
        let examples = examples(&format!("checks/{}.md", entry.kind), "checks");
        // Some stand beside a check of another kind, which has a page of its own.
        let own = examples.iter().filter(|example| example.get(entry.kind).is_some());
        assert!(own.clone().count() > 0, "{} has examples", entry.kind);
        for example in own {
            let settings = &example[entry.kind];
            let checked = (entry.check)(settings, &scope, example["minSamples"].as_f64());
            assert!(checked.is_ok(), "{example}: {checked:?}");
        }
    }
}

#[test]
fn every_example_of_a_source_lacks_nothing_but_its_files() {
    let lacks = |error: &SettingsError| {
        error.message.contains("cannot be read") || error.message.contains("is not set")
    };
    for entry in SOURCES {
        for example in examples(&format!("sources/{}.md", entry.kind), "sources") {
            let errors = (entry.check)(&example[entry.kind]).err().unwrap_or_default();
            assert!(errors.iter().all(lacks), "{example}: {errors:?}");
        }
    }
}
