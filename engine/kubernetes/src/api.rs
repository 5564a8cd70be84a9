//! Haldane's own kinds in the API server: where they lie, and how calls to them fail.

use std::time::Duration;

use haldane_model::RolloutId;
use haldane_outside::{Cluster, ClusterError, Outside};
use serde_json::Value;

/// The group and version of all of them.
pub(crate) const API: &str = "/apis/haldane.dev/v1alpha1";

/// How long a call may take that nothing urgent waits for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// What we are called where objects say who wrote them.
pub(crate) const MANAGER: &str = "haldane";

/// Keeps a rollout until its traffic is back.
pub(crate) const FINALIZER: &str = "haldane.dev/traffic";

/// Returns the path of a rollout.
pub(crate) fn rollout(id: &RolloutId) -> String {
    object("rollouts", &id.namespace, &id.name)
}

/// Returns the path of a collection of a namespace.
pub(crate) fn collection(plural: &str, namespace: &str) -> String {
    format!("{API}/namespaces/{namespace}/{plural}")
}

/// Returns the path of an object.
pub(crate) fn object(plural: &str, namespace: &str, name: &str) -> String {
    format!("{}/{name}", collection(plural, namespace))
}

/// Returns the engine's own cluster.
pub(crate) async fn cluster(outside: &Outside) -> Result<Cluster, ClusterError> {
    outside.cluster().await.map_err(|error| ClusterError::Unavailable(error.to_string()))
}

/// Whether an error says that there is no such object.
pub(crate) fn is_gone(error: &ClusterError) -> bool {
    code(error) == Some(404)
}

/// Returns the code of a refusal.
pub(crate) fn code(error: &ClusterError) -> Option<u16> {
    match error {
        ClusterError::Refused(refusal) => Some(refusal.code),
        ClusterError::Unavailable(_) => None,
    }
}

/// Whether the object was not as a patch took it to be: a `test` failed, a path was not there, or it was written
/// meanwhile. A refusal of what was written names the fields.
pub(crate) fn has_moved(error: &ClusterError) -> bool {
    match error {
        ClusterError::Refused(refusal) => {
            refusal.code == 409 || (refusal.code == 422 && refusal.causes.is_empty())
        }
        ClusterError::Unavailable(_) => false,
    }
}

/// Says an error to a person, with what to do about a right that is missing.
pub(crate) fn told(error: &ClusterError) -> String {
    match error {
        ClusterError::Refused(refusal) if refusal.code == 403 => {
            format!("{}; grant the engine this verb", refusal.message)
        }
        ClusterError::Refused(refusal) if !refusal.causes.is_empty() => {
            format!("{refusal} ({})", refusal.causes.join("; "))
        }
        ClusterError::Refused(_) | ClusterError::Unavailable(_) => error.to_string(),
    }
}

/// Returns a text of an object, empty where there is none.
pub(crate) fn text<'a>(object: &'a Value, at: &str) -> &'a str {
    object.pointer(at).and_then(Value::as_str).unwrap_or_default()
}

/// Returns which rollout an object is.
pub(crate) fn id_of(object: &Value) -> RolloutId {
    RolloutId::new(text(object, "/metadata/namespace"), text(object, "/metadata/name"))
}
