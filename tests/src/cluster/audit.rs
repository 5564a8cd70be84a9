//! What the API server says it was asked, by whom.
//!
//! The server writes it after the answer has left, so a test that counts waits a moment, or waits for
//! the count.

use std::{collections::BTreeMap, fs, path::Path};

use jiff::Timestamp;
use serde::Deserialize;

/// One request. A watch is one, however long it lasts.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asked; whom an administrator spoke for.
    pub user: String,
    /// Such as `get`, `watch` or `patch`.
    pub verb: String,
    /// The path with its query.
    pub uri: String,
    /// What the client calls itself.
    pub agent: String,
    /// How it was answered.
    pub code: Option<u16>,
    /// When it arrived.
    pub at: Timestamp,
}

/// A line of the log, in the words of `audit.k8s.io/v1`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    #[serde(rename = "auditID")]
    id: String,
    user: User,
    impersonated_user: Option<User>,
    verb: String,
    #[serde(rename = "requestURI")]
    uri: String,
    #[serde(default)]
    user_agent: String,
    response_status: Option<Status>,
    request_received_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize)]
struct Status {
    code: Option<u16>,
}

/// Reads the log, in order of arrival. The last line may be half written; it is left out.
pub(super) fn read(path: &Path) -> Vec<Request> {
    let text = fs::read_to_string(path).expect("the cluster was started with an audit log");
    let mut requests = BTreeMap::new();
    for line in text.lines() {
        let Ok(line) = serde_json::from_str::<Line>(line) else { continue };
        let request = Request {
            user: line.impersonated_user.unwrap_or(line.user).username,
            verb: line.verb,
            uri: line.uri,
            agent: line.user_agent,
            code: line.response_status.and_then(|status| status.code),
            at: line.request_received_timestamp,
        };
        requests.insert(line.id, request);
    }
    let mut requests: Vec<Request> = requests.into_values().collect();
    requests.sort_by_key(|request| request.at);
    requests
}
