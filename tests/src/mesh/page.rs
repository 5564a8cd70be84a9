//! Pages of istiod and Envoy, read from a test with or without a runtime.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

use crate::cluster::blocking::blocking;

/// How long a page may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Returns a page; `None` where nobody answers in time, or not with 200.
pub(super) fn get(address: SocketAddr, path: &str) -> Option<String> {
    let uri = format!("http://{address}{path}").parse().expect("a path of a page");
    let asked = async {
        let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let told = client.get(uri).await.ok()?;
        let is_good = told.status() == hyper::StatusCode::OK;
        let bytes = told.into_body().collect().await.ok()?.to_bytes();
        is_good.then(|| String::from_utf8_lossy(&bytes).into_owned())
    };
    blocking(async { tokio::time::timeout(DEADLINE, asked).await.ok().flatten() })
}
