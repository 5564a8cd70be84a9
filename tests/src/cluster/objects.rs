//! What a test puts into a cluster: namespaces, accounts, documents, CRDs. As its administrator.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Namespace, ServiceAccount},
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{Access, Cluster, Foreign, assets, kubelet};

/// How long a ServiceAccount's token is good for, in seconds.
const TOKEN_SECS: i64 = 3 * 3600;

impl Cluster {
    /// Makes a namespace whose name begins with `name`, and that no other test has.
    ///
    /// # Panics
    /// Where the name cannot be used.
    #[must_use]
    pub fn namespace(&self, name: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let mut name = format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        if self.is_given() {
            // Others have namespaces there, and so have earlier runs.
            name = format!("haldane-test-{name}-{:08x}", rand::random::<u32>());
        }
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}}))
            .expect("a namespace has a name");
        let made = self
            .ask(async |client| Api::all(client).create(&PostParams::default(), &namespace).await);
        made.unwrap_or_else(|error| panic!("namespace {name}: {error}"));
        name
    }

    /// Applies documents by server-side apply, as `tests`; where one names no namespace, in this one.
    ///
    /// # Panics
    /// Where one is refused.
    pub fn apply(&self, namespace: &str, documents: &str) {
        let path = self.ward.folder().join(format!("applied-in-{namespace}.yaml"));
        fs::write(&path, documents).expect("the folder can be written");
        let path = path.to_str().expect("the path is text");
        self.admin.kubectl(&[
            "-n",
            namespace,
            "apply",
            "--server-side",
            "--field-manager=tests",
            "-f",
            path,
        ]);
    }

    /// Applies the CRDs of a file or a folder, and whatever lies there with them; waits until all are served.
    ///
    /// # Panics
    /// Where one is refused, or is not established in a minute.
    pub fn install_crds(&self, path: &Path) {
        let path = path.to_str().expect("the path is text");
        let applied = self.admin.kubectl(&[
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=tests",
            "-o=name",
            "-f",
            path,
        ]);
        let is_crd = |line: &&str| line.starts_with("customresourcedefinition.");
        let crds: Vec<&str> = applied.lines().filter(is_crd).collect();
        assert!(!crds.is_empty(), "{path} holds no CRD");
        let wait = ["wait", "--for=condition=Established", "--timeout=60s"];
        self.admin.kubectl(&[&wait, crds.as_slice()].concat());
    }

    /// Applies the CRDs of others, and waits until they are served.
    ///
    /// # Panics
    /// As [`Cluster::install_crds`].
    pub fn install(&self, of: Foreign) {
        self.install_crds(&assets::crds(of));
    }

    /// Writes the status of one pod over what it was: how a test breaks it, or mends it.
    ///
    /// # Panics
    /// Where the pod is missing.
    pub fn set_pod_status(&self, namespace: &str, name: &str, status: &Value) {
        self.ask(async |client| kubelet::set_status(client, namespace, name, status).await);
    }

    /// Returns a ServiceAccount with a token that the API server made; makes the account where it is missing.
    ///
    /// It has the rights that a test, or the manifests that it applied, gave it, and no others.
    ///
    /// # Panics
    /// Where the namespace is missing.
    #[must_use]
    pub fn account(&self, namespace: &str, name: &str) -> Access {
        let spec = TokenRequestSpec { expiration_seconds: Some(TOKEN_SECS), ..Default::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let token = self.ask(async |client| {
            let accounts: Api<ServiceAccount> = Api::namespaced(client, namespace);
            let account =
                json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
            let made =
                accounts.patch(name, &PatchParams::apply("tests"), &Patch::Apply(&account)).await;
            made.unwrap_or_else(|error| panic!("account {namespace}/{name}: {error}"));
            let asked = accounts.create_token_request(name, &PostParams::default(), &request).await;
            let told =
                asked.unwrap_or_else(|error| panic!("a token for {namespace}/{name}: {error}"));
            told.status.expect("the server answers with a token").token
        });
        self.admin.bearing(namespace, &token)
    }
}
