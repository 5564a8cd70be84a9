//! What tells one kind of route from another: where it is served, and where its weights lie.

use haldane_model::{Split, Weight};
use serde_json::Value;

use super::mirror::Form;
use crate::settings::escape;

/// A kind of route object.
#[derive(Debug)]
pub(crate) struct Kind {
    /// As people call it: `HTTPRoute`.
    pub(crate) name: &'static str,
    /// As paths call it: `httproutes`.
    pub(crate) plural: &'static str,
    /// The API group.
    pub(crate) group: &'static str,
    /// Its versions, the best first; all are written alike.
    pub(crate) versions: &'static [&'static str],
    /// Where its rules lie.
    pub(crate) lists: &'static [List],
    /// Whether the first rule that matches is obeyed, and not the one that matches best.
    pub(crate) in_order: bool,
    /// What the weights of a rule add up to.
    pub(crate) full: u64,
    /// Whose CRDs are to be installed where it is not served.
    pub(crate) of: &'static str,
    /// What those say of a document, in a namespace, who are to take it.
    pub(crate) said: fn(&Value, &str) -> Said,
}

/// What is said of a document by those who are to take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Taken as it is.
    Yes,
    /// Nothing yet, or of an older one.
    NotYet(String),
    /// Refused, with the reason.
    No(String),
}

/// One list of rules in a route object.
#[derive(Debug)]
pub(crate) struct List {
    /// What a place in it begins with: `http` as in `http#0`; may be empty.
    pub(crate) word: &'static str,
    /// Its field under `spec`.
    pub(crate) field: &'static str,
    /// The field of a rule that lists where its traffic goes.
    pub(crate) backends: &'static str,
    /// The field of a rule that says which traffic it takes.
    pub(crate) matches: &'static str,
    /// The weight where none is written.
    pub(crate) unset: u64,
    /// How a rule says that it copies requests; `None`: it routes connections, and copies nothing.
    pub(crate) mirror: Option<Form>,
}

/// What serves one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A port of a Service in the route's own namespace.
    Service {
        /// The Service.
        name: String,
        /// Its port.
        port: u16,
    },
    /// A host as Istio has it; what is not named may be anything.
    Host {
        /// The host, short or in full.
        host: Option<String>,
        /// The subset of a DestinationRule.
        subset: Option<String>,
        /// The port.
        port: Option<u16>,
    },
}

// === impl Kind ===

impl Kind {
    /// The smallest change of a share that it can make, in basis points.
    pub(crate) fn granularity(&self) -> u16 {
        let full = u64::from(Weight::FULL.basis_points());
        u16::try_from(full / self.full).unwrap_or(1).max(1)
    }

    /// Returns the nearest split it can make: never more than asked for, except all.
    pub(crate) fn representable(&self, split: &Split) -> Split {
        let step = self.granularity();
        let points = u32::from(split.share.basis_points() / step * step);
        let share = Weight::from_basis_points(points).expect("no more than a share has");
        Split::new(split.side.clone(), share)
    }
}

// === impl List ===

impl List {
    /// Returns the weight that a destination has.
    pub(crate) fn weight(&self, backend: &Value) -> u64 {
        backend.get("weight").and_then(Value::as_u64).unwrap_or(self.unset)
    }
}

// === impl Destination ===

impl Destination {
    /// Whether a destination of a rule, in an object of this namespace, is this one.
    pub(crate) fn is(&self, backend: &Value, namespace: &str) -> bool {
        let text = |at: &str| backend.pointer(at).and_then(Value::as_str);
        match self {
            Self::Service { name, port } => {
                text("/group").is_none_or(str::is_empty)
                    && text("/kind").is_none_or(|kind| kind == "Service")
                    && text("/namespace").is_none_or(|other| other == namespace)
                    && text("/name") == Some(name)
                    && backend.get("port").and_then(Value::as_u64) == Some((*port).into())
            }
            Self::Host { host, subset, port } => {
                let number = backend.pointer("/destination/port/number").and_then(Value::as_u64);
                let is_host = |host: &String| {
                    text("/destination/host").is_some_and(|there| is_host(host, there, namespace))
                };
                host.as_ref().is_none_or(is_host)
                    && text("/destination/subset") == subset.as_deref()
                    && port.is_none_or(|port| number == Some(port.into()))
            }
        }
    }

    /// Returns what it may be in an object of this namespace, as rollouts must not drive it twice: however it is
    /// spelled, and `*` for what is not named.
    pub(crate) fn claimed(&self, namespace: &str) -> String {
        match self {
            Self::Service { name, port } => format!("{name}:{port}"),
            Self::Host { host, subset, port } => {
                let any = || "*".to_owned();
                let host = host.as_ref().map_or_else(any, |host| in_full(host, namespace));
                let subset = subset.as_ref().map(|subset| format!("subset {subset}"));
                let subset = subset.unwrap_or_else(|| "no subset".to_owned());
                let port = port.map_or_else(any, |port| port.to_string());
                format!("host {host} {subset} port {port}")
            }
        }
    }

    /// Returns what a patch tests, so that it never gives one destination another's weight.
    pub(crate) fn identity(&self, backend: &Value) -> Vec<(String, Value)> {
        let fields: &[&str] = match self {
            Self::Service { .. } => &["group", "kind", "namespace", "name", "port"],
            Self::Host { .. } => &["destination"],
        };
        let there =
            |field: &&str| Some((format!("/{}", escape(field)), backend.get(field)?.clone()));
        fields.iter().filter_map(there).collect()
    }
}

/// For people, and for the name of our mark: what is written stays as it is spelled, or marks that are there would
/// not be found any more.
impl std::fmt::Display for Destination {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Service { name, port } => write!(out, "{name}:{port}"),
            Self::Host { host, subset, port } => {
                out.write_str(host.as_deref().unwrap_or("*"))?;
                subset.iter().try_for_each(|subset| write!(out, "/{subset}"))?;
                port.iter().try_for_each(|port| write!(out, ":{port}"))
            }
        }
    }
}

/// Whether two names mean one host: Istio completes what has no dot from the route's own namespace.
pub(crate) fn is_host(one: &str, other: &str, namespace: &str) -> bool {
    in_full(one, namespace) == in_full(other, namespace)
}

fn in_full(host: &str, namespace: &str) -> String {
    match host.contains('.') {
        true => host.to_ascii_lowercase(),
        false => format!("{host}.{namespace}.svc.cluster.local").to_ascii_lowercase(),
    }
}
