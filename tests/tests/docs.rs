//! The documents as a user meets them: what is shown as YAML compiles, what is shown as a command
//! is understood by the real binary, and every command and option has its line.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use haldane_plan::{Options, Templates, compile, parse, registries, validate_template};
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every page for users and contributors: its path and its text.
fn pages() -> Vec<(String, String)> {
    let mut files = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "md") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 8, "the pages are missing: {files:?}");
    let page = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        (name, fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}")))
    };
    files.into_iter().map(page).collect()
}

fn page(name: &str) -> String {
    let found = pages().into_iter().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("{name} is no page")).1
}

/// The blocks of one language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.match_indices(&fence)
        .map(|(at, _)| text[at + fence.len()..].split("```").next().unwrap_or_default())
        .collect()
}

// === YAML ===

/// Puts an example into a whole document, by what it holds.
fn whole(base: &Value, example: Value) -> Value {
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
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            panic!("{example} is no example")
        }
    }
    document
}

/// What a document lacks, but for the secrets of somebody else's machine.
fn faults(document: &Value, templates: &Templates) -> Vec<String> {
    let elsewhere =
        |fault: &String| fault.contains("cannot be read") || fault.contains("is not set");
    let options = Options { templates: templates.clone(), ..Options::default() };
    let compiled = parse(&document.to_string())
        .and_then(|documents| compile(&documents.rollouts[0], &registries(), &options).map(drop));
    let found = compiled.err().unwrap_or_default();
    found.iter().map(ToString::to_string).filter(|fault| !elsewhere(fault)).collect()
}

/// The analysis templates that the pages show; those of one page are known to the others.
fn templates() -> Templates {
    let mut templates = Templates::default();
    for (name, text) in pages() {
        for block in blocks(&text, "yaml").into_iter().filter(|block| is_of_templates(block)) {
            let documents = parse(block).unwrap_or_else(|found| panic!("{name}: {found:?}"));
            templates.add(documents.templates, Some(&name));
        }
    }
    templates
}

/// Whether a block shows whole documents, templates among them.
fn is_of_templates(block: &str) -> bool {
    block.contains("kind: AnalysisTemplate") || block.contains("kind: ClusterAnalysisTemplate")
}

/// Whether a block shows an object of somebody else's: the suite `routes` gives it to an API server.
fn is_anothers(example: &Value) -> bool {
    let version = example.get("apiVersion").and_then(Value::as_str);
    version.is_some_and(|version| !version.starts_with("haldane.dev/"))
}

#[test]
fn every_yaml_example_of_every_page_compiles() {
    let read = |text: &str| serde_saphyr::from_str::<Value>(text);
    let base = read(blocks(&page("README.md"), "yaml")[0]).unwrap();
    let known = templates();
    let mut seen = 0;
    for (name, text) in pages() {
        for block in blocks(&text, "yaml") {
            if is_of_templates(block) {
                seen += of_templates(&name, block, &known);
                continue;
            }
            let example = read(block).unwrap_or_else(|error| panic!("{name}: {error}\n{block}"));
            if is_anothers(&example) {
                continue;
            }
            let found = faults(&whole(&base, example), &known);
            assert!(found.is_empty(), "{name}: {found:?}\n{block}");
            seen += 1;
        }
        for block in blocks(&text, "json") {
            let parsed = serde_json::from_str::<Value>(block);
            assert!(parsed.is_ok(), "{name}: {parsed:?}\n{block}");
        }
    }
    assert!(seen > 20, "only {seen} examples were seen");
}

/// Compiles what a block of whole documents shows; returns how many.
#[track_caller]
fn of_templates(name: &str, block: &str, known: &Templates) -> usize {
    let documents = parse(block).unwrap_or_else(|found| panic!("{name}: {found:?}\n{block}"));
    for template in &documents.templates {
        let found = validate_template(template, &registries(), known);
        assert!(found.is_empty(), "{name}: {found:?}\n{block}");
    }
    let options = Options { templates: known.clone(), ..Options::default() };
    for rollout in &documents.rollouts {
        let found = compile(rollout, &registries(), &options).err().unwrap_or_default();
        assert!(found.is_empty(), "{name}: {found:?}\n{block}");
    }
    documents.templates.len() + documents.rollouts.len()
}

#[test]
fn an_example_that_does_not_compile_is_seen() {
    let base = serde_saphyr::from_str(blocks(&page("README.md"), "yaml")[0]).unwrap();
    for bad in [json!({"wach": "1h"}), json!([{"name": "x", "erors": {"max": "1%"}}])] {
        assert!(!faults(&whole(&base, bad.clone()), &Templates::default()).is_empty(), "{bad}");
    }
}

// === commands ===

/// The binary that `cargo build --workspace --bins` made.
fn haldane() -> PathBuf {
    let this = env::current_exe().expect("a program knows itself");
    let binary = this.ancestors().nth(2).expect("it lies in target/PROFILE/deps").join("haldane");
    assert!(binary.exists(), "{binary:?} is missing: cargo build --workspace --bins");
    binary
}

/// Asks for help at the end of a command line. It is given only where all before is understood.
fn help(words: &[String]) -> Result<String, String> {
    let mut command = Command::new(haldane());
    for name in ["HALDANE_STATE", "HALDANE_SERVER", "HALDANE_SERVER_TOKEN_FILE"] {
        command.env_remove(name);
    }
    let told = command.args(words).arg("--help").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if told.status.success() { Ok(text(&told.stdout)) } else { Err(text(&told.stderr)) }
}

/// Splits as a shell does, up to what is no longer this command.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), None, false);
    for letter in line.chars() {
        match (quoted, letter) {
            (Some(quote), letter) if letter == quote => quoted = None,
            (None, '"' | '\'') => {
                quoted = Some(letter);
                any = true;
            }
            (None, ';' | '|' | '&' | '#' | '>') => break,
            (None, ' ') => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            (Some(_) | None, letter) => word.push(letter),
        }
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    words
}

/// Every command line of a page: in a block, and within a sentence.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut prose, mut fenced) = (String::new(), false);
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            let line = line.trim().strip_prefix("$ ").unwrap_or_else(|| line.trim());
            let line = line.strip_prefix("ExecStart=/usr/local/bin/").unwrap_or(line);
            found.extend(line.strip_prefix("haldane ").map(ToOwned::to_owned));
        } else {
            prose.push_str(line);
            prose.push(' ');
        }
    }
    let spans = prose.split('`').skip(1).step_by(2);
    found.extend(spans.filter_map(|span| span.strip_prefix("haldane ")).map(ToOwned::to_owned));
    found
}

#[test]
fn every_command_line_of_every_page_is_understood() {
    let mut seen = 0;
    for (name, text) in pages() {
        for line in commands(&text) {
            let understood = help(&words(&line));
            assert!(understood.is_ok(), "{name}: haldane {line}\n{}", understood.unwrap_err());
            seen += 1;
        }
    }
    assert!(seen > 50, "only {seen} command lines were seen");
}

#[test]
fn a_command_line_that_is_not_understood_is_seen() {
    for line in
        ["rollback", "run x.yaml --watch", "run a.yaml b.yaml", "run x --on-interrupt panic"]
    {
        assert!(help(&words(line)).is_err(), "{line}");
    }
    assert_eq!(words("pause --reason \"a b\"; echo"), ["pause", "--reason", "a b"]);
}

/// The subcommands that a help text lists.
fn subcommands(help: &str) -> Vec<String> {
    let Some((_, list)) = help.split_once("Commands:\n") else { return Vec::new() };
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(ToOwned::to_owned).collect()
}

#[test]
fn every_command_and_every_option_has_its_line() {
    let manual = page("docs/cli.md");
    let (mut left, mut seen) = (vec![Vec::<String>::new()], 0);
    while let Some(command) = left.pop() {
        let help = help(&command).unwrap();
        for name in subcommands(&help) {
            assert!(manual.contains(&name), "docs/cli.md does not name `{name}`");
            left.push([command.clone(), vec![name]].concat());
            seen += 1;
        }
        let options = help.lines().map(str::trim).filter(|line| line.starts_with('-'));
        for option in options.flat_map(str::split_whitespace).filter(|word| word.starts_with("--"))
        {
            let known = ["--help", "--version", "--output", "--namespace"].contains(&option);
            assert!(
                known || manual.contains(option),
                "docs/cli.md does not name {option} of {command:?}"
            );
        }
    }
    assert!(seen >= 18, "only {seen} commands were seen");
}
