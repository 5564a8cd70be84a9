//! The examples that ship: a real cluster takes them whole, and the binary finds nothing to say.

use std::{fs, path::PathBuf, process::Command};

use super::stage::{cluster, documents, haldane, root};

fn folders() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("deploy/examples")).unwrap();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    assert!(folders.len() >= 4, "{folders:?}");
    folders
}

#[test]
fn a_cluster_takes_every_example_as_it_is() {
    for folder in folders() {
        let namespace = cluster().namespace("example");
        let admin = cluster().admin().within(&namespace);
        // Server-side: a field that no schema knows is refused.
        let apply = ["apply", "--server-side", "-f", folder.to_str().unwrap()];
        let said = admin.kubectl(&apply);
        let count: usize = files(&folder).iter().map(|file| documents_of(file).len()).sum();
        assert_eq!(said.lines().count(), count, "{folder:?}: {said}");
        assert!(said.contains("rollout.haldane.dev/checkout"), "{folder:?}: {said}");
        // As they are read back they are applied again, and nothing changes.
        let again = admin.kubectl(&["diff", "--server-side", "-f", folder.to_str().unwrap()]);
        assert_eq!(again, "", "{folder:?}");
    }
}

fn files(folder: &PathBuf) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn documents_of(file: &PathBuf) -> Vec<serde_json::Value> {
    documents(&fs::read_to_string(file).unwrap())
}

#[test]
fn validate_says_that_a_cluster_takes_every_example() {
    for folder in folders() {
        let mut command = Command::new(haldane());
        command.args(["validate", "--for", "kubernetes"]).arg(folder.join("rollout.yaml"));
        let templates = folder.join("templates.yaml");
        if templates.exists() {
            command.arg("--templates").arg(templates);
        }
        let told = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = text(&told.stdout) + &text(&told.stderr);
        assert!(told.status.success() && !said.contains("warning"), "{folder:?}: {said}");
    }
}

#[test]
fn every_example_is_on_its_page() {
    let page = fs::read_to_string(root().join("deploy/examples/README.md")).unwrap();
    for folder in folders() {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(page.contains(&format!("[{name}]({name})")), "{name}");
    }
}
