//! The house itself: imports go down the floors, and what the documents name exists.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use haldane_model::{Reason, Severity};

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
    ("engine/host", "haldane-host", 4),
    ("engine/standalone", "haldane-standalone", 5),
    ("engine/kubernetes", "haldane-kubernetes", 5),
    ("engine/api", "haldane-api", 5),
    ("engine/cli", "haldane", 6),
    ("tests/analysis", "haldane-analysis-tests", 7),
    ("tests/machine", "haldane-machine-tests", 7),
    ("tests", "haldane-tests", 8),
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

/// The repository's files with this ending, outside `target` and hidden folders.
fn files(ending: &str) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![root()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name =
                path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(ending) {
                files.push(path);
            }
        }
    }
    files
}

/// All names of test functions in the repository.
fn test_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in files(".rs") {
        collect(&fs::read_to_string(&file).unwrap(), &mut names);
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
    let tests = document.lines().filter_map(|line| Some(line.split_once("test: ")?.1));
    tests.flat_map(quoted).collect()
}

/// Names in back quotes in the last column of a document's table, without their modules.
fn named_in_last_column(document: &str) -> Vec<String> {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let last = rows.filter_map(|row| row.rsplit(" | ").next());
    let name = |name: String| name.rsplit("::").next().unwrap_or_default().to_owned();
    last.flat_map(quoted).map(name).collect()
}

fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect()
}

#[track_caller]
fn check_document(name: &str, least: usize, tests_of: fn(&str) -> Vec<String>) {
    let path = root().join("tests").join(name);
    let document = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (known, named) = (test_names(), tests_of(&document));
    assert!(named.len() >= least, "{name} names {} tests, at least {least} expected", named.len());
    // A case that a snapshot holds is named by its document beside its test.
    let is_there = |name: &String| match name.ends_with(".yaml") {
        true => root().join("tests/bad").join(name).exists(),
        false => known.contains(name),
    };
    let missing: Vec<_> = named.iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "{name} names tests that do not exist: {missing:?}");
}

#[test]
fn the_scenarios_name_tests_that_exist() {
    check_document("SCENARIOS.md", 20, named_tests);
}

#[test]
fn the_faults_name_tests_that_exist() {
    check_document("FAULTS.md", 20, named_tests);
}

#[test]
fn the_mutations_name_tests_that_exist() {
    check_document("MUTATIONS.md", 15, named_in_last_column);
}

// === pages ===

#[test]
fn every_reason_has_its_meaning_and_its_severity_in_the_manual() {
    let manual = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    for reason in Reason::ALL {
        let severity = match reason.severity() {
            Severity::Normal => "normal",
            Severity::Warning => "warning",
            Severity::Page => "page",
        };
        let row = format!("| `{}` | {severity} | ", reason.code());
        let rows = manual.lines().filter(|line| line.starts_with(&row));
        assert_eq!(rows.count(), 1, "docs/operations.md has one row `{row}`");
    }
    let rows = manual.lines().filter(|line| {
        [" | normal | ", " | warning | ", " | page | "].iter().any(|word| line.contains(word))
    });
    assert_eq!(rows.count(), Reason::ALL.len(), "no row is left of a reason that went");
}

#[test]
fn every_link_of_a_page_leads_to_a_file() {
    let mut links = 0;
    for page in files(".md") {
        let text = fs::read_to_string(&page).unwrap();
        for (_, rest) in text.match_indices("](").map(|(at, _)| text.split_at(at + 2)) {
            let target = rest.split(')').next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let there = page.with_file_name(file).exists();
            assert!(there, "{}: {target} leads nowhere", page.display());
            links += 1;
        }
    }
    assert!(links > 30, "only {links} links were seen");
}

/// The codes of the acceptance scenarios; the list says which are missing.
const SCENARIOS: &str = "A1 A2 A3 B1 B2 B3 B4 B5 B6 B7 B10 B11 C1 C2 C3 C4 C5 C6 C7 C8 C11 C12 C14 \
                         C16 C17 C18 C19 C20 D1 D3 D6 D7 D8 E1 E2 E4 E6 F1 F2 F3 F4 F6 F7 F9 F10 \
                         F11 F13 F14 G1 G2 G3 G5 G6 G8 G9 G10 G11 G12 H1 H2 H5 H6 H8 H9 R1 R2 R3 \
                         R4 R5";

#[test]
fn every_scenario_names_a_test_or_what_it_waits_for() {
    let document = fs::read_to_string(root().join("tests/SCENARIOS.md")).unwrap();
    for code in SCENARIOS.split_whitespace() {
        let begin = format!("- {code} ");
        let line = document.lines().find(|line| line.starts_with(&begin));
        let line = line.unwrap_or_else(|| panic!("{code} is missing"));
        let told = ["test: ", "waits for ", "missing: "].iter().any(|word| line.contains(word));
        assert!(told, "{line}");
    }
}
