//! What the API server itself refuses: every rule of the definitions that ship, by its message.

use std::path::{Path, PathBuf};

use haldane_tests::operator::cluster;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
};
use serde_json::Value;

fn bad() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("bad/kubernetes");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "yaml"))
        .collect();
    files.sort();
    files
}

fn api(client: &kube::Client, document: &Value) -> Api<DynamicObject> {
    let kind = document["kind"].as_str().unwrap();
    let plural = format!("{}s", kind.to_lowercase());
    let kind = GroupVersionKind::gvk("haldane.dev", "v1alpha1", kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, &plural);
    match &*plural {
        "clusteranalysistemplates" => Api::all_with(client.clone(), &resource),
        _ => Api::namespaced_with(client.clone(), "default", &resource),
    }
}

/// Writes a document; the API server's words where it refuses, fields that it does not know among them.
async fn write(client: &kube::Client, document: &Value, over: bool) -> Result<(), String> {
    let mut request = match over {
        false => kube::core::Request::new(api(client, document).resource_url())
            .create(&PostParams::default(), document.to_string().into_bytes()),
        true => kube::core::Request::new(api(client, document).resource_url()).replace(
            document["metadata"]["name"].as_str().unwrap(),
            &PostParams::default(),
            document.to_string().into_bytes(),
        ),
    }
    .unwrap();
    let target = request.uri().to_string();
    let with = if target.contains('?') {
        format!("{target}fieldValidation=Strict")
    } else {
        format!("{target}?fieldValidation=Strict")
    };
    *request.uri_mut() = with.parse().unwrap();
    client.request::<Value>(request).await.map(|_| ()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn every_rule_refuses_on_the_real_api_server_with_its_message() {
    let client = cluster().admin().client();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for path in bad() {
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = text.lines().next().unwrap().strip_prefix("# expected: ").unwrap();
        let documents: Vec<Value> =
            text.split("\n---\n").map(|part| serde_saphyr::from_str(part).unwrap()).collect();
        let last = documents.last().unwrap();
        let mut over = last.clone();
        for old in &documents[..documents.len() - 1] {
            write(&client, old, false)
                .await
                .unwrap_or_else(|why| panic!("{}: {why}", path.display()));
            let name = old["metadata"]["name"].as_str().unwrap();
            let version = api(&client, old).get(name).await.unwrap().metadata.resource_version;
            over["metadata"]["resourceVersion"] = version.into();
        }
        let told = write(&client, &over, documents.len() > 1).await;
        match told {
            Err(why) if why.replace("\\\"", "\"").contains(expected) => seen += 1,
            other => wrong.push(format!("{}: {expected}\n  {other:?}", path.display())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen >= 80, "only {seen} were refused");
}
