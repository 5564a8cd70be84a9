//! Secrets of the cluster: a key of a Secret in a rollout's own namespace.
//!
//! One GET tells them, by name; nothing is listed or watched. What was read is kept for half a minute, so that a check
//! every few seconds asks no server for its token, and one that was replaced is taken up soon.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

use crate::{ClusterError, Outside, OutsideError, Secret, SecretKeyRef, SecretText};

/// How long what was read is used.
const KEPT: Duration = Duration::from_secs(30);
/// How long a read may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// How many are kept; the oldest goes first.
const KEPT_MAX: usize = 1_000;

/// What was read and when, by namespace and place.
type Read = HashMap<(Arc<str>, SecretKeyRef), (Instant, SecretText)>;

/// What was read of Secrets.
#[derive(Default)]
pub(crate) struct Secrets {
    read: Mutex<Read>,
}

// === impl Secrets ===

impl Secrets {
    pub(crate) async fn read(
        &self,
        outside: &Outside,
        namespace: &Arc<str>,
        key: &SecretKeyRef,
    ) -> Result<SecretText, OutsideError> {
        let place = (namespace.clone(), key.clone());
        if let Some((at, text)) = self.kept().get(&place)
            && at.elapsed() < KEPT
        {
            return Ok(text.clone());
        }
        let text = ask(outside, namespace, key).await?;
        let mut kept = self.kept();
        if kept.len() >= KEPT_MAX {
            let oldest = kept.iter().min_by_key(|(_, (at, _))| *at).map(|(place, _)| place.clone());
            oldest.and_then(|oldest| kept.remove(&oldest));
        }
        kept.insert(place, (Instant::now(), text.clone()));
        Ok(text)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask(
    outside: &Outside,
    namespace: &str,
    key: &SecretKeyRef,
) -> Result<SecretText, OutsideError> {
    let secret = Secret::SecretKeyRef(key.clone());
    let cluster = outside.cluster().await?;
    let SecretKeyRef { name, key } = key;
    let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
    let found = cluster.get(&path, DEADLINE).await.map_err(|error| {
        let help = match &error {
            ClusterError::Refused(refusal) if refusal.code == 404 => {
                "create it in the rollout's namespace"
            }
            ClusterError::Refused(_) => "grant the engine `get` on this Secret",
            ClusterError::Unavailable(_) => "it is asked for again",
        };
        OutsideError::new(format!("{secret} cannot be read: {error}"), help)
    })?;
    let encoded = found.pointer("/data").and_then(|data| data.get(key)).and_then(Value::as_str);
    let Some(encoded) = encoded else {
        let message = format!("{secret} cannot be read: it has no such key");
        return Err(OutsideError::new(message, "add the key, or correct its name"));
    };
    let text = BASE64_STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(text) = text else {
        return Err(OutsideError::new(format!("{secret} is not text"), "write it as UTF-8"));
    };
    secret.text(&text)
}
