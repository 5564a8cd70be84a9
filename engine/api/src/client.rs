//! The other end: calls with deadlines, and errors that say what to do.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use haldane_model::{RequestId, RolloutId};
use haldane_runtime::{status::Status, trace::Packed};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use url::Url;

use crate::{
    access,
    form::fresh_id,
    wire::{Answer, JournalPage, PackedBatch, Picture, RolloutList, TracePage, Trouble, Version},
};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(3);

/// How long an answer may take; the engine gives a request 20 seconds.
const ANSWER: Duration = Duration::from_secs(25);

/// How much longer than asked for a picture may take.
const WAIT_SLACK: Duration = Duration::from_secs(5);

/// How large an answer may be.
const ANSWER_BYTES_MAX: usize = 32 * 1_024 * 1_024;

/// A client of one engine.
#[derive(Clone, Debug)]
pub struct Client {
    way: Way,
}

#[derive(Clone, Debug)]
enum Way {
    Unix(PathBuf),
    Tcp { url: Url, token_file: PathBuf },
}

/// What is asked of a rollout. Fields that are not set are what the rollout shows when the engine
/// reads the request.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ask {
    /// The identity: asked twice with the same one, a request takes effect once.
    pub id: RequestId,
    /// `promote`, `skip`, `abort`, `pause`, `resume`, `retry` or `undo`.
    pub verb: String,
    /// Promote to the last step.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
    /// Promote although sources are silent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub without_guards: bool,
    /// Retry without this traffic entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without: Option<String>,
    /// The revision it is made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The attempt it is made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The step it is made for, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who asks; believed over TCP only, and shown as a claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
}

/// Why a call got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no engine is running on {place}")]
    NoEngine {
        /// The socket or the address.
        place: String,
    },
    /// The socket belongs to somebody else.
    #[error("this user may not speak to the engine on {place}")]
    NotAllowed {
        /// The socket.
        place: String,
    },
    /// The token is not the engine's.
    #[error("the engine on {place} does not know this token")]
    Unauthorized {
        /// The address.
        place: String,
    },
    /// The engine did not answer in time.
    #[error("the engine on {place} did not answer within {} s", .after.as_secs())]
    Slow {
        /// The socket or the address.
        place: String,
        /// How long it had.
        after: Duration,
    },
    /// The engine says what was wrong.
    #[error("{}", .trouble.error)]
    Told {
        /// The HTTP status.
        status: u16,
        /// What was wrong.
        trouble: Trouble,
    },
    /// The connection broke, or the answer cannot be read.
    #[error("the engine on {place} cannot be understood: {why}")]
    Garbled {
        /// The socket or the address.
        place: String,
        /// Why.
        why: String,
    },
    /// The settings of this client cannot be used.
    #[error("{0}")]
    Settings(String),
}

// === impl Ask ===

impl Ask {
    /// Makes a request of its own.
    #[must_use]
    pub fn new(verb: &str) -> Self {
        Self {
            id: fresh_id("cli"),
            verb: verb.to_owned(),
            full: false,
            without_guards: false,
            without: None,
            revision: None,
            attempt: None,
            step: None,
            reason: None,
            requested_by: None,
        }
    }
}

// === impl ClientError ===

impl ClientError {
    /// Returns what to do about it.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::NoEngine { .. } => Some(
                "start `haldane run` or `haldane serve`, or name the engine's state with --state"
                    .to_owned(),
            ),
            Self::NotAllowed { .. } => {
                Some("run this as the user that the engine runs as".to_owned())
            }
            Self::Unauthorized { .. } => {
                Some("name the engine's own token file with --token-file".to_owned())
            }
            Self::Slow { .. } => Some(
                "look at its log; a request may still take effect, `haldane status` tells"
                    .to_owned(),
            ),
            Self::Told { trouble, .. } => trouble.remedy.clone(),
            Self::Garbled { .. } => {
                Some("compare `haldane version` on both ends, and try again".to_owned())
            }
            Self::Settings(_) => None,
        }
    }
}

// === impl Client ===

impl Client {
    /// Makes a client of the engine behind a unix socket.
    #[must_use]
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self { way: Way::Unix(path.into()) }
    }

    /// Makes a client of the engine at an address such as `http://127.0.0.1:9440`.
    pub fn tcp(url: &str, token_file: impl Into<PathBuf>) -> Result<Self, ClientError> {
        let odd = |why: &str| ClientError::Settings(format!("the server address {url:?} {why}"));
        let parsed = Url::parse(url).map_err(|error| odd(&format!("cannot be read: {error}")))?;
        if parsed.scheme() != "http" {
            return Err(odd("is not http://; for another machine, forward its port with ssh -L"));
        }
        if parsed.host_str().is_none() || !parsed.username().is_empty() {
            return Err(odd("should look like http://127.0.0.1:9440"));
        }
        Ok(Self { way: Way::Tcp { url: parsed, token_file: token_file.into() } })
    }

    /// Lists every rollout.
    pub async fn list(&self) -> Result<Vec<Status>, ClientError> {
        let list: RolloutList = self.read(&self.url(&["rollouts"]), ANSWER).await?;
        Ok(list.rollouts)
    }

    /// Shows one rollout.
    pub async fn get(&self, id: &RolloutId) -> Result<Status, ClientError> {
        self.read(&self.of(id, &[]), ANSWER).await
    }

    /// Shows the plan of a rollout with its defaults.
    pub async fn plan(&self, id: &RolloutId) -> Result<serde_json::Value, ClientError> {
        self.read(&self.of(id, &["plan"]), ANSWER).await
    }

    /// Reads a stretch of a journal: at most `limit` entries after the entry `after`.
    pub async fn journal(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> Result<JournalPage, ClientError> {
        let mut url = self.of(id, &["journal"]);
        let query = format!("after={after}&limit={limit}");
        url.set_query(Some(&query));
        self.read(&url, ANSWER).await
    }

    /// Reads a stretch of what a rollout took in: at most `limit` batches after version `after`.
    pub async fn trace(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Packed>, ClientError> {
        let mut url = self.of(id, &["trace"]);
        url.set_query(Some(&format!("after={after}&limit={limit}")));
        let page: TracePage = self.read(&url, ANSWER).await?;
        let batches = page.batches.iter().map(PackedBatch::read);
        batches.collect::<Result<_, _>>().map_err(|why| self.garbled(&why))
    }

    /// Waits until the picture is another than `since`, or the patience is over; at most 30 s.
    pub async fn wait(
        &self,
        id: &RolloutId,
        since: Option<&str>,
        patience: Duration,
    ) -> Result<Picture, ClientError> {
        let mut url = self.of(id, &["status"]);
        url.query_pairs_mut().append_pair("wait", &patience.as_secs().to_string());
        if let Some(since) = since {
            url.query_pairs_mut().append_pair("since", since);
        }
        self.read(&url, patience + WAIT_SLACK).await
    }

    /// Makes a request, and returns how it went: accepted, or refused with the reason.
    pub async fn request(&self, id: &RolloutId, ask: &Ask) -> Result<Answer, ClientError> {
        let url = self.of(id, &["requests"]);
        let body = serde_json::to_vec(ask).expect("a request has text keys");
        let (status, body) = self.call(Method::POST, &url, body, ANSWER).await?;
        if status == StatusCode::CONFLICT {
            return self.parse(&body);
        }
        self.accept(status, &body)
    }

    /// Asks which engine answers.
    pub async fn version(&self) -> Result<Version, ClientError> {
        self.read(&self.url(&["version"]), ANSWER).await
    }

    fn of(&self, id: &RolloutId, rest: &[&str]) -> Url {
        let mut segments = vec!["rollouts", &*id.namespace, &*id.name];
        segments.extend(rest);
        self.url(&segments)
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = match &self.way {
            Way::Unix(_) => Url::parse("http://localhost/").expect("a constant address"),
            Way::Tcp { url, .. } => url.clone(),
        };
        url.set_query(None);
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().push("v1").extend(segments);
        }
        url
    }

    fn place(&self) -> String {
        match &self.way {
            Way::Unix(path) => path.display().to_string(),
            Way::Tcp { url, .. } => url.to_string().trim_end_matches('/').to_owned(),
        }
    }

    async fn read<T: DeserializeOwned>(
        &self,
        url: &Url,
        deadline: Duration,
    ) -> Result<T, ClientError> {
        let (status, body) = self.call(Method::GET, url, Vec::new(), deadline).await?;
        self.accept(status, &body)
    }

    fn accept<T: DeserializeOwned>(
        &self,
        status: StatusCode,
        body: &Bytes,
    ) -> Result<T, ClientError> {
        if status.is_success() {
            return self.parse(body);
        }
        if status == StatusCode::UNAUTHORIZED {
            return Err(ClientError::Unauthorized { place: self.place() });
        }
        let trouble = serde_json::from_slice(body)
            .unwrap_or_else(|_| Trouble::new(format!("the engine answered {status}")));
        Err(ClientError::Told { status: status.as_u16(), trouble })
    }

    fn parse<T: DeserializeOwned>(&self, body: &Bytes) -> Result<T, ClientError> {
        serde_json::from_slice(body).map_err(|error| self.garbled(&error))
    }

    fn garbled(&self, why: &dyn std::fmt::Display) -> ClientError {
        ClientError::Garbled { place: self.place(), why: why.to_string() }
    }

    // --- the connection ---

    async fn call(
        &self,
        method: Method,
        url: &Url,
        body: Vec<u8>,
        deadline: Duration,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let path = &url[url::Position::BeforePath..];
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &url[url::Position::BeforeHost..url::Position::AfterPort])
            .header(header::CONTENT_TYPE, "application/json");
        if let Way::Tcp { token_file, .. } = &self.way {
            request = request.header(header::AUTHORIZATION, bearer(token_file).await?);
        }
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| self.garbled(&error))?;
        let slow = |after| ClientError::Slow { place: self.place(), after };
        let exchange = async {
            match &self.way {
                Way::Unix(path) => {
                    let stream = self.connect(UnixStream::connect(path)).await?;
                    self.exchange(stream, request).await
                }
                Way::Tcp { url, .. } => {
                    let port = url.port_or_known_default().unwrap_or(80);
                    let host = url.host_str().unwrap_or_default();
                    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                    let stream = self.connect(TcpStream::connect((host, port))).await?;
                    self.exchange(stream, request).await
                }
            }
        };
        tokio::time::timeout(deadline, exchange).await.map_err(|_| slow(deadline))?
    }

    async fn connect<S>(
        &self,
        connecting: impl Future<Output = io::Result<S>>,
    ) -> Result<S, ClientError> {
        let place = self.place();
        match tokio::time::timeout(CONNECT, connecting).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => {
                let nobody = [ErrorKind::NotFound, ErrorKind::ConnectionRefused];
                Err(if nobody.contains(&error.kind()) {
                    ClientError::NoEngine { place }
                } else if error.kind() == ErrorKind::PermissionDenied {
                    ClientError::NotAllowed { place }
                } else {
                    self.garbled(&error)
                })
            }
            Err(_) => Err(ClientError::Slow { place, after: CONNECT }),
        }
    }

    async fn exchange<S>(
        &self,
        stream: S,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| self.garbled(&error))?;
        let talk = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((status, body.to_bytes()))
        };
        tokio::pin!(talk);
        tokio::pin!(connection);
        let answer = tokio::select! {
            answer = &mut talk => answer,
            // The server may close as soon as it has said everything.
            _ = &mut connection => talk.await,
        };
        answer.map_err(|error| self.garbled(&error))
    }
}

async fn bearer(token_file: &Path) -> Result<String, ClientError> {
    let token = access::read_token(token_file).await.map_err(|why| {
        ClientError::Settings(format!("token file {}: {why}", token_file.display()))
    })?;
    Ok(format!("Bearer {token}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place_in_a_path() {
        let client = Client::unix("/nowhere");
        let url = client.of(&RolloutId::new("a/b", "c?d#e"), &["status"]);
        assert_eq!(url.path(), "/v1/rollouts/a%2Fb/c%3Fd%23e/status");
    }

    #[test]
    fn only_plain_http_addresses_are_taken() {
        assert!(Client::tcp("http://127.0.0.1:9440", "t").is_ok());
        let odd = Client::tcp("https://example.com", "t").unwrap_err().to_string();
        assert!(odd.contains("https://example.com") && odd.contains("ssh -L"), "{odd}");
        assert!(Client::tcp("127.0.0.1:9440", "t").is_err());
    }
}
