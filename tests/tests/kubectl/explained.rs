//! What the real kubectl explains of our kinds: every field says what it is for.

use std::{fs, path::Path};

use super::admin;

fn explain(path: &str) -> String {
    admin().kubectl(&["explain", path])
}

/// The fields that a page of kubectl names, each with what it says of it.
fn fields(page: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let lines = page.lines().skip_while(|line| *line != "FIELDS:").skip(1);
    for line in lines {
        if line.starts_with("    ") {
            let (_, text) = found.last_mut().expect("a text stands below its field");
            text.push_str(line.trim());
        } else if line.starts_with("  ") && !line.starts_with("  enum: ") {
            let name = line.split_whitespace().next().expect("a name");
            found.push((name.to_owned(), String::new()));
        }
    }
    found
}

#[test]
fn kubectl_explains_every_field() {
    for (path, some) in [
        ("rollouts.spec", "steps"),
        ("rollouts.spec.steps", "bake"),
        ("rollouts.spec.traffic.istio", "virtualService"),
        ("rollouts.status", "phase"),
    ] {
        let page = explain(path);
        let fields = fields(&page);
        assert!(fields.iter().any(|(name, _)| name == some), "{path} lacks {some}:\n{page}");
        for (name, text) in fields {
            let says = text.len() > 10 && text != "<no description>";
            assert!(says, "{path}.{name} says {text:?}:\n{page}");
        }
        let of_itself = page.split("FIELDS:").next().expect("what stands before");
        assert!(!of_itself.contains("<empty>"), "{path} says nothing of itself:\n{page}");
    }
}

#[test]
fn the_page_shows_what_kubectl_explains() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/crds.md");
    let written = fs::read_to_string(&file).expect("the page is there");
    let trim = |text: &str| -> String {
        text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    };
    let page = trim(&explain("rollouts.spec.steps"));
    let block = format!("$ kubectl explain rollouts.spec.steps\n{}", page.trim_end());
    assert!(written.contains(&block), "docs/crds.md does not show what kubectl says:\n{block}");
}
