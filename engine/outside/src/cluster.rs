//! Clusters: one client of the API server for everybody, made from the engine's own configuration.
//!
//! No rollout ever says where a cluster is or who speaks to it. Every call has a deadline, which the server
//! is told as well, so that what is given up here ends there; every answer has a limit; nothing is repeated.
//! Credentials are never shown.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::Stream;
use http_body_util::{BodyExt as _, Limited};
use hyper::{
    Method, Request,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue, USER_AGENT},
};
use kube::{
    Client, Config,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
    core::WatchEvent,
};
use serde::Deserialize;
use serde_json::Value;

use crate::{BODY_BYTES_MAX, OutsideError};

/// How long a client may take to be made: a kubeconfig may run a program for its credentials.
const MAKE_DEADLINE: Duration = Duration::from_secs(10);

/// Where the engine's own cluster is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClusterConfig {
    /// As kubectl finds it: the file in `KUBECONFIG`, else `~/.kube/config`, else the pod's own cluster.
    #[default]
    Inferred,
    /// The cluster that the engine runs in, as its ServiceAccount.
    InCluster,
    /// A file, and the context to be used of it; without one the current.
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// The context.
        context: Option<String>,
    },
}

/// An API server, and who we are to it. Cheap to clone; bound to the runtime that it was made on.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    url: Arc<str>,
    refused: Arc<AtomicBool>,
}

/// Why an API server did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// It did not answer, not in time, or asks to be asked later. A write may have landed.
    #[error("{0}")]
    Unavailable(String),
    /// It refused, and changed nothing.
    #[error("{0}")]
    Refused(Refusal),
}

/// What an API server says when it refuses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The code, such as 404.
    pub code: u16,
    /// Its own words.
    pub message: String,
    /// The object that it means; none where not even the kind is known to it.
    pub object: Option<String>,
    /// What is wrong with which field, where it says so.
    pub causes: Vec<String>,
}

/// A JSON object of kind `Status`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    details: Option<Details>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    name: Option<String>,
    causes: Vec<Cause>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cause {
    message: String,
    field: String,
}

// === impl ClusterConfig ===

impl ClusterConfig {
    /// Makes a client; nothing is asked of the server yet.
    pub(crate) async fn make(&self) -> Result<Cluster, OutsideError> {
        let written = self.clone();
        let runtime = tokio::runtime::Handle::current();
        // Files are read, and programs run, off the loop.
        let made = tokio::task::spawn_blocking(move || runtime.block_on(written.client()));
        match tokio::time::timeout(MAKE_DEADLINE, made).await {
            Ok(Ok(made)) => made,
            Ok(Err(_)) => Err(self.unusable("the attempt broke off")),
            Err(_) => Err(self.unusable(&format!("no credentials within {MAKE_DEADLINE:?}"))),
        }
    }

    async fn client(&self) -> Result<Cluster, OutsideError> {
        // Somebody else may have installed one already: that one serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut config = self.config().await?;
        // A call that fails is told at once; whoever asked knows whether to ask again.
        config.default_retry = false;
        let agent = HeaderValue::from_static(concat!("haldane/", env!("CARGO_PKG_VERSION")));
        config.headers.push((USER_AGENT, agent));
        let url = config.cluster_url.to_string().into();
        let client = Client::try_from(config).map_err(|error| self.unusable(&chain(&error)))?;
        Ok(Cluster { client, url, refused: Arc::default() })
    }

    async fn config(&self) -> Result<Config, OutsideError> {
        let config = match self {
            Self::Inferred => Config::infer().await.map_err(|error| chain(&error)),
            Self::InCluster => Config::incluster().map_err(|error| chain(&error)),
            Self::Kubeconfig { path, context } => {
                let options =
                    KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
                match Kubeconfig::read_from(path) {
                    Ok(read) => Config::from_custom_kubeconfig(read, &options)
                        .await
                        .map_err(|error| chain(&error)),
                    Err(error) => Err(chain(&error)),
                }
            }
        };
        config.map_err(|why| self.unusable(&why))
    }

    fn unusable(&self, why: &str) -> OutsideError {
        OutsideError::new(
            format!("{self} cannot be used: {why}"),
            "set KUBECONFIG for the engine, or run it in the cluster with a ServiceAccount",
        )
    }
}

/// For people.
impl fmt::Display for ClusterConfig {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inferred => out.write_str("the engine's own cluster"),
            Self::InCluster => out.write_str("the cluster that the engine runs in"),
            Self::Kubeconfig { path, context: None } => {
                write!(out, "the kubeconfig {}", path.display())
            }
            Self::Kubeconfig { path, context: Some(context) } => {
                write!(out, "the context {context} of the kubeconfig {}", path.display())
            }
        }
    }
}

// === impl Cluster ===

impl Cluster {
    /// Returns the client, for what is no single call: watches and lists. It has no deadline of its own.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Reads what lies under a path.
    ///
    /// # Errors
    /// Where the server does not answer in time, or refuses.
    pub async fn get(&self, path: &str, deadline: Duration) -> Result<Value, ClusterError> {
        self.ask(Method::GET, path, Vec::new(), deadline).await
    }

    /// Changes an object by a JSON Patch, all of it or nothing, and returns what it is afterwards.
    ///
    /// # Errors
    /// Where the server does not answer in time, or refuses; a `test` that failed is a 422 without causes.
    pub async fn patch(
        &self,
        path: &str,
        operations: &[Value],
        deadline: Duration,
    ) -> Result<Value, ClusterError> {
        let body = serde_json::to_vec(operations).expect("operations are JSON");
        self.ask(Method::PATCH, path, body, deadline).await
    }

    /// Makes an object in a collection, and returns it.
    ///
    /// # Errors
    /// Where the server does not answer in time, or refuses; 409: there is one of this name.
    pub async fn create(
        &self,
        path: &str,
        object: &Value,
        deadline: Duration,
    ) -> Result<Value, ClusterError> {
        self.ask(Method::POST, path, object.to_string().into_bytes(), deadline).await
    }

    /// Writes an object as it is meant to be, and returns what it is afterwards.
    ///
    /// # Errors
    /// Where the server does not answer in time, or refuses; 409: it has another resourceVersion than this one.
    pub async fn replace(
        &self,
        path: &str,
        object: &Value,
        deadline: Duration,
    ) -> Result<Value, ClusterError> {
        self.ask(Method::PUT, path, object.to_string().into_bytes(), deadline).await
    }

    /// Lays a document over an object, as a JSON Merge Patch: what is null goes, and what is not named stays.
    ///
    /// # Errors
    /// Where the server does not answer in time, or refuses; 409: it has another resourceVersion than this one.
    pub async fn merge(
        &self,
        path: &str,
        document: &Value,
        deadline: Duration,
    ) -> Result<Value, ClusterError> {
        let body = document.to_string().into_bytes();
        self.ask_as(Method::PATCH, path, ("application/merge-patch+json", body), deadline).await
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// Where the server does not answer in time, or refuses; 404: it is not there.
    pub async fn delete(&self, path: &str, deadline: Duration) -> Result<(), ClusterError> {
        self.ask(Method::DELETE, path, Vec::new(), deadline).await.map(|_| ())
    }

    /// Opens a watch; the deadline is for its beginning alone. How long it lasts stands in the path.
    pub(crate) async fn events(
        &self,
        path: &str,
        deadline: Duration,
    ) -> Result<impl Stream<Item = Result<WatchEvent<Value>, kube::Error>> + use<>, ClusterError>
    {
        let broken = |why: String| {
            ClusterError::Unavailable(format!(
                "the API server at {} does not answer: {why}",
                self.url
            ))
        };
        let request = Request::get(path)
            .header(ACCEPT, "application/json")
            .body(Vec::new())
            .map_err(|error| broken(error.to_string()))?;
        let opened = tokio::time::timeout(deadline, self.client.request_events::<Value>(request));
        match opened.await {
            Ok(Ok(events)) => Ok(events),
            Ok(Err(kube::Error::Api(status))) => {
                if status.code == 401 {
                    self.refused.store(true, Ordering::Relaxed);
                }
                let refusal = Refusal {
                    code: status.code,
                    message: status.message.clone(),
                    ..Refusal::default()
                };
                Err(match status.code {
                    401 | 408 | 429 | 500.. => ClusterError::Unavailable(refusal.to_string()),
                    _ => ClusterError::Refused(refusal),
                })
            }
            Ok(Err(error)) => Err(broken(chain(&error))),
            Err(_late) => Err(broken(format!("not within {deadline:?}"))),
        }
    }

    /// Whether the server no longer takes our credentials: then a client is made anew.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        deadline: Duration,
    ) -> Result<Value, ClusterError> {
        let content = match method {
            Method::PATCH => "application/json-patch+json",
            _ => "application/json",
        };
        self.ask_as(method, path, (content, body), deadline).await
    }

    async fn ask_as(
        &self,
        method: Method,
        path: &str,
        (content, body): (&'static str, Vec<u8>),
        deadline: Duration,
    ) -> Result<Value, ClusterError> {
        let join = if path.contains('?') { '&' } else { '?' };
        // The server gives up when we do: a write that is late does not land later.
        let path = format!("{path}{join}timeout={}ms", deadline.as_millis());
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, content)
            .body(Body::from(body))
            .map_err(|error| ClusterError::Unavailable(format!("no request: {error}")))?;
        let told = tokio::time::timeout(deadline, self.send(request)).await;
        told.unwrap_or_else(|_late| {
            let message = format!("no answer from the API server within {deadline:?}");
            Err(ClusterError::Unavailable(message))
        })
    }

    async fn send(&self, request: Request<Body>) -> Result<Value, ClusterError> {
        let broken = |why: String| {
            ClusterError::Unavailable(format!(
                "the API server at {} does not answer: {why}",
                self.url
            ))
        };
        let answer = self.client.send(request).await.map_err(|error| broken(chain(&error)))?;
        let code = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await;
        let body = body.map_err(|error| broken(error.to_string()))?.to_bytes();
        if code == 401 {
            self.refused.store(true, Ordering::Relaxed);
        }
        match code {
            200..300 => serde_json::from_slice(&body)
                .map_err(|error| broken(format!("what it said is no JSON: {error}"))),
            401 | 408 | 429 | 500.. => {
                let Refusal { message, .. } = refusal(code, &body);
                Err(ClusterError::Unavailable(format!("the API server answered {code}: {message}")))
            }
            _ => Err(ClusterError::Refused(refusal(code, &body))),
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Cluster").field("url", &self.url).finish_non_exhaustive()
    }
}

// === impl Refusal ===

/// The server's own words.
impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the API server refused ({}): {}", self.code, self.message)
    }
}

/// Makes something of an answer that is no success, whoever gave it: not every 404 is a document.
fn refusal(code: u16, body: &[u8]) -> Refusal {
    let status: Status = serde_json::from_slice(body).unwrap_or_else(|_| Status {
        message: String::from_utf8_lossy(body).trim().chars().take(300).collect(),
        details: None,
    });
    let details = status.details.unwrap_or_default();
    let cause = |cause: Cause| format!("{}: {}", cause.field, cause.message);
    Refusal {
        code,
        message: status.message,
        object: details.name.filter(|name| !name.is_empty()),
        causes: details.causes.into_iter().map(cause).collect(),
    }
}

/// An error with what it came from, which kube leaves out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let text = error.to_string();
        if !told.contains(&text) {
            told = format!("{told}: {text}");
        }
        next = error.source();
    }
    told
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use serde_json::json;
    use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

    use super::*;
    use crate::Outside;

    const TOKEN: &str = "s3cr3t-token";
    const DEADLINE: Duration = Duration::from_millis(300);

    fn kubeconfig(folder: &Path, server: &str) -> ClusterConfig {
        let path = folder.join("kubeconfig");
        let document = json!({
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"token": TOKEN}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        });
        fs::write(&path, document.to_string()).unwrap();
        ClusterConfig::Kubeconfig { path, context: None }
    }

    async fn answering(answer: ResponseTemplate) -> (MockServer, tempfile::TempDir, Outside) {
        let (server, folder) = (MockServer::start().await, tempfile::tempdir().unwrap());
        Mock::given(any()).respond_with(answer).mount(&server).await;
        let outside = Outside::in_cluster(kubeconfig(folder.path(), &server.uri()));
        (server, folder, outside)
    }

    #[tokio::test]
    async fn a_server_is_asked_once_and_told_the_deadline() {
        for code in [429, 500, 503] {
            let (server, _folder, outside) = answering(ResponseTemplate::new(code)).await;
            let cluster = outside.cluster().await.unwrap();
            let failed = cluster.get("/api/v1/x", DEADLINE).await.unwrap_err();
            assert!(matches!(failed, ClusterError::Unavailable(_)), "{failed:?}");
            let asked = server.received_requests().await.unwrap();
            assert_eq!(asked.len(), 1, "kube would ask {code} again for minutes");
            assert_eq!(asked[0].url.query(), Some("timeout=300ms"));
            assert!(asked[0].headers["user-agent"].to_str().unwrap().starts_with("haldane/"));
        }
    }

    #[tokio::test]
    async fn a_server_that_hangs_is_given_up() {
        let late = ResponseTemplate::new(200).set_delay(Duration::from_secs(30));
        let (_server, _folder, outside) = answering(late).await;
        let failed = outside.cluster().await.unwrap().get("/x", DEADLINE).await.unwrap_err();
        assert_eq!(failed.to_string(), "no answer from the API server within 300ms");
    }

    #[tokio::test]
    async fn an_answer_without_end_is_refused() {
        let large = ResponseTemplate::new(200).set_body_bytes(vec![b' '; BODY_BYTES_MAX + 1]);
        let (_server, _folder, outside) = answering(large).await;
        let cluster = outside.cluster().await.unwrap();
        let failed = cluster.get("/x", Duration::from_secs(20)).await.unwrap_err();
        assert!(failed.to_string().contains("length limit exceeded"), "{failed}");
    }

    #[tokio::test]
    async fn a_refusal_says_which_object_and_which_field() {
        let status = json!({"kind": "Status", "message": "no", "details": {
            "name": "checkout", "causes": [{"field": "spec.rules", "message": "too long"}]}});
        let (_server, _folder, outside) =
            answering(ResponseTemplate::new(422).set_body_json(status)).await;
        let failed = outside.cluster().await.unwrap().patch("/x", &[], DEADLINE).await;
        let Err(ClusterError::Refused(refusal)) = failed else { panic!("{failed:?}") };
        let object = Some("checkout".to_owned());
        let causes = vec!["spec.rules: too long".to_owned()];
        assert_eq!(refusal, Refusal { code: 422, message: "no".into(), object, causes });
    }

    #[tokio::test]
    async fn everybody_shares_one_client_until_its_credentials_are_refused() {
        let (server, _folder, outside) = answering(ResponseTemplate::new(200)).await;
        let first = outside.cluster().await.unwrap();
        let second = outside.clone().cluster().await.unwrap();
        assert!(Arc::ptr_eq(&first.refused, &second.refused), "one client");
        server.reset().await;
        Mock::given(any()).respond_with(ResponseTemplate::new(401)).mount(&server).await;
        second.get("/x", DEADLINE).await.unwrap_err();
        let third = outside.cluster().await.unwrap();
        assert!(!Arc::ptr_eq(&first.refused, &third.refused), "credentials are read anew");
    }

    #[tokio::test]
    async fn credentials_are_never_shown() {
        let (_server, folder, outside) = answering(ResponseTemplate::new(401)).await;
        let cluster = outside.cluster().await.unwrap();
        let failed = cluster.get("/x", DEADLINE).await.unwrap_err();
        let config = kubeconfig(folder.path(), "https://127.0.0.1:1");
        let shown = format!("{cluster:?} {outside:?} {config:?} {failed:?} {failed}");
        assert!(!shown.contains(TOKEN), "{shown}");
    }

    #[tokio::test]
    async fn a_kubeconfig_that_cannot_be_used_is_named() {
        let path = PathBuf::from("/nowhere/kubeconfig");
        let outside = Outside::in_cluster(ClusterConfig::Kubeconfig { path, context: None });
        let failed = outside.cluster().await.unwrap_err();
        let begin = "the kubeconfig /nowhere/kubeconfig cannot be used: ";
        assert!(failed.message.starts_with(begin), "{failed}");
    }
}
