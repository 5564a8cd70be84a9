//! What carries the requests: TLS and HTTP/1.1 on both sides. Decides nothing.

use std::{fs, io, net::TcpListener, sync::Arc, time::Instant};

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode, Uri,
    body::{Frame, Incoming},
    header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT},
    service::service_fn,
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::json;
use tokio::sync::broadcast;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{End, Fault, Seen, Shared};
use crate::cluster::pki::Pki;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Both sides of the proxy.
pub(super) struct Wire {
    upstream: String,
    server: TlsAcceptor,
    client: ClientConfig,
    shared: Arc<Shared>,
}

/// One request's way.
struct Way {
    upstream: String,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    shared: Arc<Shared>,
}

// === impl Wire ===

impl Wire {
    pub(super) fn new(upstream: &str, pki: &Pki, shared: Arc<Shared>) -> Self {
        let read = |path| fs::read(path).expect("the cluster's certificates were written");
        let certificate =
            |path| CertificateDer::from_pem_slice(&read(path)).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(&read(&pki.key)).expect("a key");
        let provider = || Arc::new(ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_no_client_auth()
            .with_single_cert(vec![certificate(&pki.certificate)], key)
            .expect("they belong together");
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&pki.authority)).expect("an authority");
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = TlsAcceptor::from(Arc::new(server));
        Self { upstream: upstream.to_owned(), server, client, shared }
    }

    /// Serves until the end is asked for, on a runtime of its own.
    pub(super) fn serve(self, listener: TcpListener, end: &CancellationToken) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            tokio::select! {
                () = end.cancelled() => {}
                () = self.accept(listener) => {}
            }
        });
    }

    async fn accept(self, listener: TcpListener) {
        listener.set_nonblocking(true).expect("a listener can wait");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime");
        let connector = HttpsConnectorBuilder::new().with_tls_config(self.client);
        let connector = connector.https_only().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let way = Arc::new(Way { upstream: self.upstream, client, shared: self.shared });
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let (server, way) = (self.server.clone(), way.clone());
            tokio::spawn(async move {
                let Ok(stream) = server.accept(stream).await else { return };
                let service = service_fn(move |request| {
                    let way = way.clone();
                    async move { way.carry(request).await }
                });
                let server = hyper::server::conn::http1::Builder::new();
                // A fault that breaks the connection shows as an error here.
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }
}

// === impl Way ===

impl Way {
    /// Carries one request; an error breaks its connection.
    async fn carry(&self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let (mut parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let target = parts.uri.to_string();
        let agent = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        let (place, fault) = self.shared.arrived(Seen {
            at: Instant::now(),
            method: parts.method.to_string(),
            target: target.clone(),
            agent: agent.unwrap_or_default().to_owned(),
            body: body.clone(),
            code: None,
            answered: None,
        });
        match fault {
            Some(Fault::Answer(code)) => {
                self.shared.answered(place, code);
                return Ok(instead(code));
            }
            Some(Fault::AnswerLate(code, time)) => {
                tokio::time::sleep(time).await;
                self.shared.answered(place, code);
                return Ok(instead(code));
            }
            Some(Fault::Hang) => {
                let _ = self.shared.cleared.subscribe().changed().await;
                return Err(io::Error::other("it hung"));
            }
            Some(Fault::Break) => return Err(io::Error::other("broken")),
            Some(Fault::BreakLate(time)) => {
                tokio::time::sleep(time).await;
                return Err(io::Error::other("broken"));
            }
            Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
            Some(Fault::LoseAnswer) | None => {}
        }
        let watches = is_watch(&parts.method, &target).then(|| self.shared.watches.subscribe());
        parts.uri =
            format!("{}{target}", self.upstream).parse::<Uri>().map_err(io::Error::other)?;
        parts.headers.remove(HOST);
        let answer = self.client.request(Request::from_parts(parts, Full::new(body))).await;
        let answer = answer.map_err(io::Error::other)?;
        if fault == Some(Fault::LoseAnswer) {
            answer.into_body().collect().await.map_err(io::Error::other)?;
            return Err(io::Error::other("the answer is lost"));
        }
        self.shared.answered(place, answer.status().as_u16());
        Ok(answer.map(|body| match watches {
            Some(watches) => until_ended(body, watches),
            None => body.map_err(io::Error::other).boxed_unsync(),
        }))
    }
}

fn is_watch(method: &Method, target: &str) -> bool {
    method == Method::GET && (target.contains("watch=true") || target.contains("watch=1"))
}

/// An answer in the server's stead.
fn instead(code: u16) -> Response<Body> {
    let body = status(code).to_string();
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).expect("a code of HTTP");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, "application/json".parse().expect("a header"));
    if code == 429 {
        headers.insert(RETRY_AFTER, "1".parse().expect("a header"));
    }
    response
}

/// A failure as the API server words it.
fn status(code: u16) -> serde_json::Value {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "a fault of the test", "reason": reason, "code": code,
    })
}

/// A watch that goes on until it is told how to end.
fn until_ended(body: Incoming, ends: broadcast::Receiver<End>) -> Body {
    let frames = stream::unfold(Some((body, ends)), |open| async {
        let (mut body, mut ends) = open?;
        tokio::select! {
            end = ends.recv() => match end {
                Ok(End::Expired) => {
                    let event = json!({"type": "ERROR", "object": status(410)});
                    Some((Ok(Frame::data(Bytes::from(format!("{event}\n")))), None))
                }
                Ok(End::Cut) | Err(_) => {
                    Some((Err(io::Error::other("the watch is cut")), None))
                }
            },
            frame = body.frame() => {
                let frame = frame?.map_err(io::Error::other);
                Some((frame, Some((body, ends))))
            }
        }
    });
    StreamBody::new(frames).boxed_unsync()
}
