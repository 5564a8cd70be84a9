//! The third place where rollouts are: a cluster, read and asked with the rights of whoever runs this.
//!
//! What is shown is what the engine wrote into the objects' status; what is asked becomes a RolloutRequest. The
//! status of a rollout and the records of its analyses are all that is read of it, and the workloads and pods of its
//! sides; never a Secret.

pub(crate) mod dry_run;
pub(crate) mod effective;
mod journal;
mod picture;
mod pods;
mod request;
pub(crate) mod runs;
pub(crate) mod tree;
pub(crate) mod trouble;
mod workloads;

use std::time::Duration;

use haldane_api::Picture;
use haldane_model::RolloutId;
use haldane_outside::{Cluster, ClusterConfig, ClusterError, Outside};
use haldane_runtime::status::Status;
use miette::miette;
use serde_json::Value;

pub(crate) use self::{picture::picture, request::send};

/// How long one answer may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// How many objects come at once; fewer where they are large.
const PAGE: usize = 40;

/// How many pages are read at most.
const PAGES_MAX: usize = 500;

/// How often a rollout that is followed is looked at.
pub(crate) const PACE: Duration = Duration::from_secs(1);

/// Where our kinds are.
const API: &str = "/apis/haldane.dev/v1alpha1";

/// A cluster, and the namespace that is meant where none is named.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    cluster: Cluster,
}

// === impl Seat ===

impl Seat {
    /// Takes a seat: configuration is read, and nothing is asked.
    pub(crate) async fn open(config: &ClusterConfig) -> miette::Result<Self> {
        let cluster = Outside::in_cluster(config.clone()).cluster().await.map_err(|error| {
            let help = "name a kubeconfig with --kubeconfig or KUBECONFIG, and one of its contexts with \
                        --context; `kubectl config get-contexts` lists them";
            miette!(help = help, "{}", error.message)
        })?;
        Ok(Self { cluster })
    }

    /// Returns the namespace that is meant where none is named.
    pub(crate) fn namespace(&self) -> &str {
        self.cluster.namespace()
    }

    async fn get(&self, path: &str) -> Result<Value, ClusterError> {
        self.cluster.get(path, DEADLINE).await
    }

    /// Reads every object of a collection, page by page.
    async fn list(&self, path: &str) -> Result<Vec<Value>, ClusterError> {
        let join = if path.contains('?') { '&' } else { '?' };
        let (mut all, mut next, mut limit) = (Vec::new(), String::new(), PAGE);
        for _ in 0..PAGES_MAX {
            let mut page = match self.get(&format!("{path}{join}limit={limit}{next}")).await {
                Ok(page) => page,
                // Records may be large, and an answer has a limit: fewer of them at once.
                Err(ClusterError::Unavailable(why))
                    if limit > 1 && why.contains("length limit") =>
                {
                    limit /= 4;
                    limit = limit.max(1);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
                all.extend(items);
            }
            match page.pointer("/metadata/continue").and_then(Value::as_str) {
                Some(token) if !token.is_empty() => next = format!("&continue={}", escaped(token)),
                Some(_) | None => break,
            }
        }
        Ok(all)
    }

    /// Reads a rollout's object.
    pub(crate) async fn rollout(&self, id: &RolloutId) -> miette::Result<Value> {
        let path = object("rollouts", id)?;
        self.get(&path).await.map_err(|error| trouble::of_read(error, "rollouts", id))
    }

    /// Reads the rollouts of a namespace, or of all.
    pub(crate) async fn rollouts(&self, namespace: Option<&str>) -> miette::Result<Vec<Status>> {
        let path = collection("rollouts", namespace)?;
        let listed = self.list(&path).await;
        let listed = listed.map_err(|error| trouble::of_list(error, "rollouts", namespace))?;
        Ok(listed.iter().map(picture).collect())
    }

    /// Waits until a rollout shows something else than what was seen.
    pub(crate) async fn wait(
        &self,
        id: &RolloutId,
        seen: Option<&str>,
        patience: Duration,
    ) -> miette::Result<Picture> {
        let (begin, path) = (std::time::Instant::now(), object("rollouts", id)?);
        loop {
            let rollout = match self.get(&path).await {
                Ok(rollout) => rollout,
                // A server that is away for a moment is no reason to stop looking.
                Err(ClusterError::Unavailable(_)) if begin.elapsed() < patience => {
                    tokio::time::sleep(PACE).await;
                    continue;
                }
                Err(error) => return Err(trouble::of_read(error, "rollouts", id)),
            };
            let version = text(&rollout, "/metadata/resourceVersion").to_owned();
            if seen != Some(version.as_str()) || begin.elapsed() >= patience {
                return Ok(Picture { version, status: picture(&rollout) });
            }
            tokio::time::sleep(PACE).await;
        }
    }
}

// === paths and fields ===

/// The path of the objects of one of our kinds.
fn collection(plural: &str, namespace: Option<&str>) -> miette::Result<String> {
    match namespace {
        Some(namespace) => Ok(format!("{API}/namespaces/{}/{plural}", named(namespace)?)),
        None => Ok(format!("{API}/{plural}")),
    }
}

/// The path of one object of one of our kinds.
fn object(plural: &str, id: &RolloutId) -> miette::Result<String> {
    Ok(format!("{}/{}", collection(plural, Some(&id.namespace))?, named(&id.name)?))
}

/// A name as it may stand in a path; what a person typed is not always one.
fn named(name: &str) -> miette::Result<&str> {
    let may = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    if name.is_empty() || !name.chars().all(may) || name.starts_with('.') {
        return Err(miette!(
            help = "names are lower case letters, digits and dashes",
            "{name:?} is no name of a cluster"
        ));
    }
    Ok(name)
}

/// A value as it may stand in a query.
fn escaped(value: &str) -> String {
    let mut out = String::new();
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A text of an object; empty where there is none.
fn text<'a>(object: &'a Value, at: &str) -> &'a str {
    object.pointer(at).and_then(Value::as_str).unwrap_or_default()
}

/// A number of an object; 0 where there is none.
fn number(object: &Value, at: &str) -> u64 {
    object.pointer(at).and_then(Value::as_u64).unwrap_or(0)
}

/// Which rollout an object is.
fn id_of(rollout: &Value) -> RolloutId {
    RolloutId::new(text(rollout, "/metadata/namespace"), text(rollout, "/metadata/name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_never_gets_into_a_path() {
        assert_eq!(
            object("rollouts", &RolloutId::new("shop", "checkout-2")).unwrap(),
            format!("{API}/namespaces/shop/rollouts/checkout-2")
        );
        for odd in ["", "a/b", "a?b", "..", "A", "a%2f", "ä"] {
            assert!(named(odd).is_err(), "{odd:?}");
        }
        assert_eq!(escaped("a=b,c in (d)"), "a%3Db%2Cc%20in%20%28d%29");
    }
}
