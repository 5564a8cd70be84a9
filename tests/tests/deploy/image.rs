//! The Dockerfile, held against the workspace and the manifests: no builder runs here.

use super::stage::{documents, folder, read, rendered};

/// The instructions: continued lines joined, comments left out.
fn instructions() -> Vec<String> {
    let text = read("deploy/Dockerfile").replace("\\\n", " ");
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn of(word: &str) -> Vec<String> {
    let lines = instructions().into_iter();
    let prefix = format!("{word} ");
    lines.filter_map(|line| line.strip_prefix(&prefix).map(ToOwned::to_owned)).collect()
}

/// A value of the workspace's manifest.
fn workspace(key: &str) -> String {
    let manifest = read("Cargo.toml");
    let line = manifest.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}

#[test]
fn the_image_holds_one_static_binary_and_runs_as_nobody() {
    let stages = of("FROM");
    assert_eq!(stages, ["rust:${RUST}-alpine AS build", "scratch"]);
    let lines = instructions();
    let last = lines.iter().rposition(|line| line.starts_with("FROM")).unwrap();
    let copies: Vec<&String> =
        lines[last..].iter().filter(|line| line.starts_with("COPY")).collect();
    assert!(copies.iter().all(|line| line.starts_with("COPY --from=build /")), "{copies:?}");
    assert!(!lines[last..].iter().any(|line| line.starts_with("RUN")), "scratch has no shell");
    assert!(lines.iter().all(|line| !line.starts_with("ADD")), "nothing comes from elsewhere");
    assert_eq!(of("ENTRYPOINT"), [r#"["/haldane"]"#]);
    assert!(copies.iter().any(|line| line.ends_with(" /haldane")), "{copies:?}");
}

#[test]
fn the_image_is_built_from_what_is_in_the_workspace() {
    let build = of("RUN").into_iter().find(|line| line.contains("cargo build")).unwrap();
    assert!(build.contains("--release --locked -p haldane --bin haldane"), "{build}");
    let manifest = read("engine/cli/Cargo.toml");
    assert!(manifest.contains("name = \"haldane\"\npath = \"src/main.rs\""));
    assert_eq!(
        of("ARG"),
        [
            format!("RUST={}", workspace("rust-version")),
            format!("VERSION={}", workspace("version"))
        ]
    );
    let ignored = read("deploy/Dockerfile.dockerignore");
    let ignored: Vec<&str> = ignored.lines().filter(|line| !line.starts_with('#')).collect();
    for needed in ["engine", "analysis", "providers", "crds", "tests", "Cargo.toml", "Cargo.lock"] {
        assert!(!ignored.contains(&needed), "{needed} is a member of the workspace");
    }
    assert!(ignored.contains(&"target") && ignored.contains(&".git"));
}

#[test]
fn the_image_is_what_the_manifests_run() {
    let documents_of = |path: &str| documents(&read(path));
    let deployment = rendered(&folder("deploy/kustomize/cluster"));
    let deployment = deployment.iter().find(|one| one["kind"] == "Deployment").unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    let (user, group) =
        (&pod["securityContext"]["runAsUser"], &pod["securityContext"]["runAsGroup"]);
    assert_eq!(of("USER"), [format!("{user}:{group}")]);
    let arguments: Vec<String> = serde_json::from_str(&of("CMD")[0]).unwrap();
    assert_eq!(serde_json::json!(arguments), pod["containers"][0]["args"]);
    assert!(pod["containers"][0].get("command").is_none(), "the image's own");
    let version = workspace("version");
    assert_eq!(pod["containers"][0]["image"], format!("haldane:{version}"));
    let chart = &documents_of("deploy/helm/haldane/Chart.yaml")[0];
    assert_eq!(
        (&chart["appVersion"], &chart["version"]),
        (&version.clone().into(), &version.into())
    );
    let port = pod["containers"][0]["ports"][0]["containerPort"].to_string();
    assert_eq!(of("EXPOSE"), [port]);
}
