//! What a cluster asks of an engine: whether it lives, whether it is ready, and what it counts. Nothing else is told
//! there, and nothing can be asked for.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long answers under way may take once the engine ends.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// What is told.
pub trait Ops: Send + Sync + 'static {
    /// Why it is not ready; `None`: it is.
    fn unready(&self) -> Option<String>;
    /// What it counts, as OpenMetrics.
    fn metrics(&self) -> String;
}

/// Listens, then serves `/live`, `/ready` and `/metrics` until the token is cancelled.
///
/// # Errors
/// Where the address cannot be listened on.
pub async fn serve_ops(
    address: SocketAddr,
    ops: Arc<dyn Ops>,
    token: CancellationToken,
) -> std::io::Result<(SocketAddr, tokio::task::JoinHandle<()>)> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let router = Router::new()
        .route("/live", get(|| async { "it lives\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(ops);
    let task = tokio::spawn(async move {
        let ended = token.clone();
        let server = axum::serve(listener, router)
            .with_graceful_shutdown(async move { ended.cancelled().await });
        let late = async {
            token.cancelled().await;
            tokio::time::sleep(LAST_ANSWERS).await;
        };
        tokio::select! {
            _ = server => {}
            () = late => {}
        }
    });
    Ok((bound, task))
}

async fn ready(State(ops): State<Arc<dyn Ops>>) -> impl IntoResponse {
    match ops.unready() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn metrics(State(ops): State<Arc<dyn Ops>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], ops.metrics())
}
