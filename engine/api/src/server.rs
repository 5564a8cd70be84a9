//! The server: accepts, limits, and ends.
//!
//! One request per connection. A connection that says nothing, says it slowly, or reads slowly is
//! closed; one too many is told so at once, so that nobody can keep an abort out by waiting.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Extension, Router};
use haldane_runtime::ports::Desk;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    access::{Peer, TokenFile},
    place::{Error, Listener, Open, SocketFile},
    routes,
};

/// How many connections may be open at once.
const CONNECTIONS_MAX: usize = 64;

/// How long a request's head may take to arrive.
const HEAD_MAX: Duration = Duration::from_secs(5);

/// How long a request may take as a whole, its answer included.
const REQUEST_MAX: Duration = Duration::from_secs(35);

/// How long the answers under way may take once the engine ends.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// How large a head may be.
const HEAD_BYTES_MAX: usize = 16 * 1_024;

/// How long to wait after a failure to accept, such as too many open files.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
    retry-after: 1\r\nconnection: close\r\n\r\n\
    {\"error\":\"64 connections are open already\",\"remedy\":\"try again\"}";

/// A server that listens and does not answer yet.
#[derive(Debug)]
pub struct Server {
    open: Open,
}

/// Listens and serves until the token is cancelled.
pub async fn serve(
    listener: Listener,
    desk: Arc<dyn Desk>,
    token: CancellationToken,
) -> Result<(), Error> {
    Server::bind(listener).await?.serve(desk, token).await;
    Ok(())
}

// === impl Server ===

impl Server {
    /// Listens, so that what hinders it is known before anything else starts.
    pub async fn bind(listener: Listener) -> Result<Self, Error> {
        Ok(Self { open: Open::new(listener).await? })
    }

    /// Returns the TCP address; `None` for a unix socket.
    #[must_use]
    pub fn addr(&self) -> Option<SocketAddr> {
        match &self.open {
            Open::Tcp(listener, _) => listener.local_addr().ok(),
            Open::Unix(..) => None,
        }
    }

    /// Serves until the token is cancelled, and then until the answers under way are out.
    pub async fn serve(self, desk: Arc<dyn Desk>, token: CancellationToken) {
        let router = routes::router(desk, token.clone());
        let door: Door = match self.open {
            Open::Unix(listener, file) => Door::Unix(listener, file),
            Open::Tcp(listener, tokens) => Door::Tcp(listener, tokens),
        };
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut tasks = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = token.cancelled() => break,
                accepted = door.accept() => accepted,
            };
            while tasks.try_join_next().is_some() {}
            let visitor = match accepted {
                Ok(visitor) => visitor,
                Err(error) => {
                    tracing::warn!("the API cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let Ok(place) = places.clone().try_acquire_owned() else {
                visitor.turn_away();
                continue;
            };
            let router = router.clone();
            tasks.spawn(async move {
                visitor.answer(router).await;
                drop(place);
            });
        }
        drop(door);
        let _ = tokio::time::timeout(LAST_ANSWERS, async {
            while tasks.join_next().await.is_some() {}
        })
        .await;
    }
}

/// What is listened on.
enum Door {
    /// The file is removed with the listener.
    Unix(UnixListener, #[expect(dead_code, reason = "removes the file when dropped")] SocketFile),
    Tcp(TcpListener, TokenFile),
}

/// A connection, and who is at its other end.
enum Visitor {
    Unix(UnixStream, Peer),
    Tcp(TcpStream, Peer),
}

// === impl Door ===

impl Door {
    async fn accept(&self) -> io::Result<Visitor> {
        match self {
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let peer = Peer::User(stream.peer_cred()?.uid());
                Ok(Visitor::Unix(stream, peer))
            }
            Self::Tcp(listener, tokens) => {
                let (stream, _) = listener.accept().await?;
                Ok(Visitor::Tcp(stream, Peer::Remote(tokens.clone())))
            }
        }
    }
}

// === impl Visitor ===

impl Visitor {
    /// Says that there is no place, without waiting for anything.
    fn turn_away(&self) {
        let _ = match self {
            Self::Unix(stream, _) => stream.try_write(FULL),
            Self::Tcp(stream, _) => stream.try_write(FULL),
        };
    }

    async fn answer(self, router: Router) {
        match self {
            Self::Unix(stream, peer) => converse(stream, peer, router).await,
            Self::Tcp(stream, peer) => converse(stream, peer, router).await,
        }
    }
}

async fn converse<S>(stream: S, peer: Peer, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router.layer(Extension(peer)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(REQUEST_MAX, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("a connection to the API ended early: {error}"),
        Err(_) => tracing::debug!("a connection to the API was too slow"),
    }
}
