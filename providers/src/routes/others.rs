//! Who else writes a route object: whoever wrote last, and programs that move traffic by it themselves. Pure.

use std::fmt;

use serde_json::Value;

use super::kind::Kind;

/// The name that we write under.
pub(crate) const MANAGER: &str = "haldane";

/// A field manager, and when it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Writer {
    pub(crate) manager: String,
    time: String,
}

/// A program that moves traffic by itself.
struct Mover {
    name: &'static str,
    /// Of what owns the object: the API group and the kind.
    owner: (&'static str, &'static str),
    /// What its annotations and labels begin with.
    keys: &'static [&'static str],
    managers: &'static [&'static str],
}

const MOVERS: [Mover; 2] = [
    Mover {
        name: "Flagger",
        owner: ("flagger.app/", "Canary"),
        keys: &["flagger.app/", "flagger.kubernetes.io/"],
        managers: &["flagger"],
    },
    Mover {
        name: "Argo Rollouts",
        owner: ("argoproj.io/", "Rollout"),
        keys: &["argo-rollouts.argoproj.io/", "rollouts.argoproj.io/"],
        managers: &[
            "rollouts-controller",
            "argo-rollouts",
            "gatewayapi-plugin",
            "gatewayAPI-plugin",
        ],
    },
];

/// Returns who wrote the rules last: they are one field, so whoever wrote them has them all.
pub(crate) fn writer(document: &Value, kind: &Kind) -> Option<Writer> {
    let entries = document.pointer("/metadata/managedFields")?.as_array()?;
    let wrote_rules = |entry: &&Value| {
        let spec = entry.pointer("/fieldsV1/f:spec");
        kind.lists
            .iter()
            .any(|list| spec.is_some_and(|spec| spec.get(format!("f:{}", list.field)).is_some()))
    };
    let text = |entry: &Value, field: &str| {
        entry.get(field).and_then(Value::as_str).map(ToOwned::to_owned)
    };
    let writer = |entry: &Value| {
        Some(Writer {
            manager: text(entry, "manager")?,
            time: text(entry, "time").unwrap_or_default(),
        })
    };
    // RFC 3339 in UTC, as the server writes it, sorts as text.
    entries.iter().filter(wrote_rules).filter_map(writer).max_by(|a, b| a.time.cmp(&b.time))
}

/// Returns the program that moves traffic by this object, and what tells so.
pub(crate) fn driver(document: &Value, kind: &Kind) -> Option<String> {
    let metadata = document.get("metadata")?;
    MOVERS.iter().find_map(|mover| {
        let why = mover
            .owns(metadata)
            .or_else(|| mover.signs(metadata, "annotations"))
            .or_else(|| mover.signs(metadata, "labels"))
            .or_else(|| mover.writes(writer(document, kind)?))?;
        Some(format!("{} ({why})", mover.name))
    })
}

// === impl Mover ===

impl Mover {
    fn owns(&self, metadata: &Value) -> Option<String> {
        let owners = metadata.get("ownerReferences")?.as_array()?;
        let (group, kind) = self.owner;
        let is_its = |owner: &&Value| {
            owner["apiVersion"].as_str().is_some_and(|version| version.starts_with(group))
                && owner["kind"] == kind
        };
        let owner = owners.iter().find(is_its)?;
        Some(format!("its {kind} {} owns it", owner["name"].as_str().unwrap_or_default()))
    }

    fn signs(&self, metadata: &Value, field: &str) -> Option<String> {
        let keys = metadata.get(field)?.as_object()?;
        let key = keys.keys().find(|key| self.keys.iter().any(|begin| key.starts_with(begin)))?;
        Some(format!("it has {key} among its {field}"))
    }

    fn writes(&self, last: Writer) -> Option<String> {
        let is_its = self.managers.contains(&last.manager.as_str());
        is_its.then(|| format!("{} wrote its weights last", last.manager))
    }
}

// === impl Writer ===

/// `kubectl-edit (2026-11-21T12:00:00Z)`.
impl fmt::Display for Writer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.manager, self.time)
    }
}
