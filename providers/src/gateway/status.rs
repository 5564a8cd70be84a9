//! Whether the controllers of a route's parents have taken it as it is. Pure.
//!
//! They say so under `status.parents`, for one generation of the route. That is the control plane's word: no
//! proxy is asked.

use serde_json::Value;

use crate::routes::kind::Said;

/// Returns what the parents say together: the worst counts.
pub(super) fn said(document: &Value, namespace: &str) -> Said {
    let nobody = "it names no parentRefs, so that no gateway takes it; name one";
    let worst = parents(document, namespace).into_iter().max_by_key(rank);
    worst.unwrap_or_else(|| Said::No(nobody.to_owned()))
}

/// Returns what is said for each parent that the route names.
fn parents(document: &Value, namespace: &str) -> Vec<Said> {
    let list = |at: &str| document.pointer(at).and_then(Value::as_array).into_iter().flatten();
    let generation = document.pointer("/metadata/generation").and_then(Value::as_i64);
    let said_of = |parent: &Value| {
        let told = list("/status/parents")
            .filter(|status| is_same(&status["parentRef"], parent, namespace))
            .map(|status| said_by(status, generation));
        told.max_by_key(rank).unwrap_or_else(|| {
            let name = parent["name"].as_str().unwrap_or_default();
            Said::NotYet(format!("no controller answers for the parent {name}"))
        })
    };
    list("/spec/parentRefs").map(said_of).collect()
}

/// The worst counts: several controllers may speak for one parent.
fn rank(said: &Said) -> u8 {
    match said {
        Said::Yes => 0,
        Said::NotYet(_) => 1,
        Said::No(_) => 2,
    }
}

fn said_by(status: &Value, generation: Option<i64>) -> Said {
    let controller = status["controllerName"].as_str().unwrap_or("the controller");
    let conditions = status["conditions"].as_array();
    let mut told = Said::Yes;
    for kind in ["Accepted", "ResolvedRefs"] {
        let condition =
            conditions.into_iter().flatten().find(|condition| condition["type"] == kind);
        let here = match condition {
            Some(condition) if condition["observedGeneration"].as_i64() == generation => {
                match condition["status"].as_str() {
                    Some("True") => Said::Yes,
                    Some("False") => Said::No(format!(
                        "{controller} says {kind}=False: {}",
                        condition["message"].as_str().unwrap_or_default()
                    )),
                    _ => Said::NotYet(format!("{controller} does not know {kind} yet")),
                }
            }
            Some(_) | None => {
                Said::NotYet(format!("{controller} has not said {kind} of the route as it is"))
            }
        };
        if rank(&here) > rank(&told) {
            told = here;
        }
    }
    told
}

/// Whether two references mean one parent, with the defaults of the API.
fn is_same(one: &Value, other: &Value, namespace: &str) -> bool {
    let text = |reference: &Value, field: &str, unset: &str| {
        reference[field].as_str().unwrap_or(unset).to_owned()
    };
    [
        ("group", "gateway.networking.k8s.io"),
        ("kind", "Gateway"),
        ("name", ""),
        ("sectionName", ""),
        ("namespace", namespace),
    ]
    .into_iter()
    .all(|(field, unset)| text(one, field, unset) == text(other, field, unset))
        && one["port"] == other["port"]
}
