//! Whether the Services behind a route are there, and have the port: asked before a rollout starts.

use haldane_outside::{Cluster, ClusterError, Outside};
use serde_json::Value;

use super::{
    kind::Destination,
    object::{CALL_DEADLINE, said},
};
use crate::Error;

/// Refuses destinations that are not there: their share of the requests would fail.
pub(crate) async fn are_there(
    outside: &Outside,
    namespace: &str,
    pair: &[Destination; 2],
) -> Result<(), Error> {
    let cluster = cluster(outside).await?;
    for destination in pair {
        let (name, port) = match destination {
            Destination::Service { name, port } => (name.as_str(), Some(*port)),
            Destination::Host { host: Some(host), port, .. } => {
                match own_service(host, namespace) {
                    Some(name) => (name, *port),
                    None => continue,
                }
            }
            Destination::Host { host: None, .. } => continue,
        };
        is_there(&cluster, namespace, name, port).await?;
    }
    Ok(())
}

async fn is_there(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    port: Option<u16>,
) -> Result<(), Error> {
    let title = format!("Service {namespace}/{name}");
    let path = format!("/api/v1/namespaces/{namespace}/services/{name}");
    let service =
        cluster.get(&path, CALL_DEADLINE).await.map_err(|error| error_of(&title, error))?;
    let ports = service.pointer("/spec/ports").and_then(Value::as_array);
    let has = |port: u16| ports.into_iter().flatten().any(|one| one["port"] == port);
    match port.filter(|port| !has(*port)) {
        Some(port) => {
            let why = format!("{title} has no port {port}; correct destinations, or add the port");
            Err(Error::Invalid(why))
        }
        None => Ok(()),
    }
}

/// The Service of this namespace that a host means; `None` for any other host.
fn own_service<'a>(host: &'a str, namespace: &str) -> Option<&'a str> {
    match host.split_once('.') {
        None => Some(host),
        Some((name, rest)) => rest.starts_with(&format!("{namespace}.svc.")).then_some(name),
    }
}

pub(crate) async fn cluster(outside: &Outside) -> Result<Cluster, Error> {
    let cluster = outside.cluster().await;
    cluster.map_err(|error| Error::Unavailable(error.to_string()))
}

pub(crate) fn error_of(title: &str, error: ClusterError) -> Error {
    match error {
        ClusterError::Unavailable(why) => Error::Unavailable(format!("{title}: {why}")),
        ClusterError::Refused(refusal) => said(title, &refusal),
    }
}
