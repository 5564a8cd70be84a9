//! The house itself: imports go down the floors, and what the documents name exists.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Folder, crate, floor.
const FLOORS: &[(&str, &str, u8)] = &[
    ("engine/model", "haldane-model", 0),
    ("engine/outside", "haldane-outside", 0),
    ("engine/machine", "haldane-machine", 1),
    ("analysis/judge", "haldane-judge", 1),
    ("analysis/sources", "haldane-sources", 1),
    ("providers", "haldane-providers", 1),
    ("crds", "haldane-crds", 1),
    ("engine/runtime", "haldane-runtime", 2),
    ("engine/plan", "haldane-plan", 3),
    ("engine/standalone", "haldane-standalone", 4),
    ("engine/api", "haldane-api", 4),
    ("engine/cli", "haldane", 5),
    ("tests", "haldane-tests", 6),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn manifest(folder: &str) -> String {
    let path = root().join(folder).join("Cargo.toml");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The project's crates that a manifest names under `[dependencies]`.
fn imports(manifest: &str) -> Vec<String> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]";
        } else if inside && line.starts_with("haldane") {
            let name = line.split(['.', ' ', '=']).next().expect("a line has a first word");
            names.push(name.to_owned());
        }
    }
    names
}

#[track_caller]
fn check_edges(
    floors: &BTreeMap<&str, u8>,
    name: &str,
    imports: &[String],
) -> Result<usize, String> {
    for import in imports {
        let (here, below) = (floors[name], floors[import.as_str()]);
        if below >= here {
            return Err(format!("{name} (floor {here}) may not import {import} (floor {below})"));
        }
    }
    Ok(imports.len())
}

#[test]
fn imports_go_down_the_floors() {
    let floors: BTreeMap<&str, u8> =
        FLOORS.iter().map(|(_, name, floor)| (*name, *floor)).collect();
    let mut edges = 0;
    for (folder, name, _) in FLOORS {
        let manifest = manifest(folder);
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{folder} holds {name}");
        edges += check_edges(&floors, name, &imports(&manifest)).unwrap();
    }
    assert!(edges > 20, "the check saw {edges} edges: it reads the manifests wrongly");
}

#[test]
fn a_sideways_and_an_upward_edge_are_refused() {
    let floors: BTreeMap<&str, u8> =
        FLOORS.iter().map(|(_, name, floor)| (*name, *floor)).collect();
    for (name, import) in [("haldane-judge", "haldane-machine"), ("haldane-model", "haldane-plan")]
    {
        assert!(check_edges(&floors, name, &[import.to_owned()]).is_err(), "{name} -> {import}");
    }
}

#[test]
fn every_crate_is_on_a_floor() {
    let known: BTreeSet<&str> = FLOORS.iter().map(|(folder, _, _)| *folder).collect();
    for group in ["engine", "analysis"] {
        for entry in fs::read_dir(root().join(group)).unwrap() {
            let entry = entry.unwrap();
            if entry.path().join("Cargo.toml").exists() {
                let folder = format!("{group}/{}", entry.file_name().to_string_lossy());
                assert!(known.contains(folder.as_str()), "{folder} has no floor");
            }
        }
    }
}

#[test]
fn the_pure_crates_ban_clocks_files_and_sockets() {
    for folder in ["engine/model", "engine/machine", "analysis/judge"] {
        let fence = fs::read_to_string(root().join(folder).join("clippy.toml")).unwrap();
        for banned in ["SystemTime::now", "Instant::now", "env::var", "fs::File", "TcpStream"] {
            assert!(fence.contains(banned), "{folder}/clippy.toml bans {banned}");
        }
    }
}

// === documents that name tests ===

/// All names of test functions in the repository.
fn test_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name =
                path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(".rs") {
                collect(&fs::read_to_string(&path).unwrap(), &mut names);
            }
        }
    }
    names
}

fn collect(source: &str, names: &mut BTreeSet<String>) {
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[") && line.contains("test") {
            is_test = true;
        } else if let Some(rest) =
            line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "))
        {
            let name: String =
                rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if is_test {
                names.insert(name);
            }
            is_test = false;
        }
    }
    // Tests that a macro makes are named in the macro's call.
    if source.contains("proptest!") {
        for line in source.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("fn ") {
                names.insert(rest.split('(').next().unwrap_or_default().to_owned());
            }
        }
    }
}

/// Names in back quotes after `test:` in a document.
fn named_tests(document: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in document.lines() {
        let Some((_, tests)) = line.split_once("test: ") else { continue };
        names.extend(tests.split('`').skip(1).step_by(2).map(ToOwned::to_owned));
    }
    names
}

#[track_caller]
fn check_document(name: &str, least: usize) {
    let path = root().join("tests").join(name);
    let document = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (known, named) = (test_names(), named_tests(&document));
    assert!(named.len() >= least, "{name} names {} tests, at least {least} expected", named.len());
    let missing: Vec<_> = named.iter().filter(|name| !known.contains(*name)).collect();
    assert!(missing.is_empty(), "{name} names tests that do not exist: {missing:?}");
}

#[test]
fn the_scenarios_name_tests_that_exist() {
    check_document("SCENARIOS.md", 20);
}

#[test]
fn the_faults_name_tests_that_exist() {
    check_document("FAULTS.md", 20);
}

#[test]
fn the_mutations_name_tests_that_exist() {
    check_document("MUTATIONS.md", 10);
}
