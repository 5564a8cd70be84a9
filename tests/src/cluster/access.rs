//! Somebody who may speak to an API server: a kubeconfig, and what one does with it.
//!
//! A bearer token is all that it holds, so it works through [`Faults`](super::Faults) as well. `Debug`
//! shows the file's place, never what is in it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use super::{assets, blocking::blocking};

/// What one kubectl may take, in seconds.
const KUBECTL_SECS: &str = "120";

/// A person, a ServiceAccount or an administrator, at one address.
#[derive(Clone, Debug)]
pub struct Access {
    path: PathBuf,
}

// === impl Access ===

impl Access {
    /// Writes a kubeconfig into a folder.
    pub(super) fn new(
        folder: &Path,
        url: &str,
        authority: &Path,
        namespace: &str,
        token: &str,
    ) -> Self {
        let authority = fs::read(authority).expect("the authority was written");
        let document = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {
                "server": url,
                "certificate-authority-data": STANDARD.encode(authority),
            }}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {
                "cluster": "test", "user": "test", "namespace": namespace,
            }}],
            "current-context": "test",
        });
        Self::write(folder, &document)
    }

    /// Takes over a kubeconfig as kubectl reads it: its current context, with what its files hold.
    pub(super) fn of_file(folder: &Path, kubeconfig: &Path) -> Self {
        let file = Self { path: kubeconfig.to_owned() };
        let view = ["config", "view", "--raw", "--minify", "--flatten", "-o=json"];
        // What kubectl remembers of its servers lies beside the copy.
        let text =
            file.run(folder, &view).unwrap_or_else(|why| panic!("{}: {why}", kubeconfig.display()));
        Self::write(folder, &serde_json::from_str(&text).expect("kubectl writes JSON"))
    }

    /// Somebody else at the same address, who shows a token.
    pub(super) fn bearing(&self, namespace: &str, token: &str) -> Self {
        self.with(|document| {
            document["users"][0]["user"] = json!({"token": token});
            document["contexts"][0]["context"]["namespace"] = json!(namespace);
        })
    }

    fn write(folder: &Path, document: &Value) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("kubeconfig-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let path = folder.join(name);
        fs::write(&path, document.to_string()).expect("the folder can be written");
        Self { path }
    }

    /// The same, changed in one place.
    fn with(&self, change: impl FnOnce(&mut Value)) -> Self {
        let mut document = self.document();
        change(&mut document);
        Self::write(self.path.parent().expect("it lies in a folder"), &document)
    }

    fn document(&self) -> Value {
        let text = fs::read_to_string(&self.path).expect("the kubeconfig was written");
        serde_json::from_str(&text).expect("it was written as JSON, which is YAML")
    }

    /// Returns where the kubeconfig lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same person at another address, such as a proxy's.
    #[must_use]
    pub fn at(&self, url: &str) -> Self {
        self.with(|document| document["clusters"][0]["cluster"]["server"] = json!(url))
    }

    /// The same with another namespace as its own.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Self {
        self.with(|document| document["contexts"][0]["context"]["namespace"] = json!(namespace))
    }

    /// A user with these groups and no rights but theirs; only an administrator can speak for others.
    ///
    /// The API server and its policies see this user. The audit log shows it as
    /// [`Request::user`](super::Request::user).
    #[must_use]
    pub fn speaking_for(&self, user: &str, groups: &[&str]) -> Self {
        self.with(|document| {
            document["users"][0]["user"]["as"] = json!(user);
            document["users"][0]["user"]["as-groups"] = json!(groups);
        })
    }

    /// Returns a configuration without retries: what a test counts is what it asked.
    ///
    /// # Panics
    /// Where the kubeconfig cannot be read.
    #[must_use]
    pub fn config(&self) -> Config {
        let kubeconfig = Kubeconfig::from_yaml(&self.document().to_string()).expect("a kubeconfig");
        let options = KubeConfigOptions::default();
        let config = blocking(Config::from_custom_kubeconfig(kubeconfig, &options));
        let mut config = config.expect("a configuration");
        config.default_retry = false;
        config
    }

    /// Returns a client for the runtime that is running; not to be handed to another one.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::try_from(self.config()).expect("a client")
    }

    /// Runs the real kubectl and returns what it printed.
    ///
    /// # Panics
    /// Where it fails, with its words.
    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        match self.try_kubectl(arguments) {
            Ok(text) => text,
            Err(text) => panic!("kubectl {}: {text}", arguments.join(" ")),
        }
    }

    /// Runs the real kubectl; what it printed on success, and its complaint otherwise.
    ///
    /// # Errors
    /// Where it ends with another code than 0, or does not end in two minutes.
    #[track_caller]
    pub fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        self.run(self.path.parent().expect("it lies in a folder"), arguments)
    }

    fn run(&self, folder: &Path, arguments: &[&str]) -> Result<String, String> {
        let told = Command::new("timeout")
            .arg(KUBECTL_SECS)
            .arg(assets::program("kubectl"))
            .args(arguments)
            .env("KUBECONFIG", &self.path)
            .env("KUBECACHEDIR", folder.join("kubectl-cache"))
            .output()
            .expect("timeout runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if told.status.success() { Ok(text(&told.stdout)) } else { Err(text(&told.stderr)) }
    }
}
