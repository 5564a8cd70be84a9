//! The usual metrics, by the word that a check's `metrics` names them with: one row each.
//!
//! A row knows names, which values of which labels mean a failure, and which labels tell the sides
//! apart. Metrics that a proxy counts do not carry the application's labels.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    SettingsError, TemplateScope,
    counters::{Class, Labels},
    promql,
    templates::Role,
};

/// Metrics that are known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Usual {
    /// OpenTelemetry's HTTP server: `http_server_request_duration_seconds` with
    /// `http_response_status_code`.
    Otel,
    /// OpenTelemetry's gRPC server: `rpc_server_duration_milliseconds` with `rpc_grpc_status_code`.
    OtelGrpc,
    /// Client libraries: `http_requests_total` and `http_request_duration_seconds` with `code` or
    /// `status`.
    Prometheus,
    /// gRPC middleware: `grpc_server_handled_total` and `grpc_server_handling_seconds` with
    /// `grpc_code`.
    Grpc,
    /// HAProxy's exporter, by backend: `haproxy_backend_http_responses_total` with `proxy`.
    Haproxy,
    /// HAProxy's exporter, by server: `haproxy_server_http_responses_total` with `proxy` and
    /// `server`.
    HaproxyServer,
    /// Istio's standard metrics, told by the destination: `istio_requests_total` and
    /// `istio_request_duration_milliseconds`.
    Istio,
    /// Envoy's clusters: `envoy_cluster_upstream_rq_xx` and `envoy_cluster_upstream_rq_time` with
    /// `envoy_cluster_name`.
    Envoy,
    /// ingress-nginx: `nginx_ingress_controller_requests` and
    /// `nginx_ingress_controller_request_duration_seconds` with `canary` or `ingress`.
    Nginx,
}

/// What is known of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Preset {
    /// The counter of requests.
    pub(super) requests: &'static str,
    /// Which of them failed: a label and its values, a dot for any one character.
    failed: &'static [(&'static str, &'static [&'static str])],
    /// The histogram of response times without its `_bucket`, and its units in a second.
    pub(super) times: Option<(&'static str, u32)>,
    /// Matchers that every query has, unless the sides say otherwise.
    fixed: &'static [(&'static str, &'static str)],
    sides: Sides,
}

/// Which labels tell the sides apart.
#[derive(Clone, Copy, Debug)]
enum Sides {
    /// The sides' own.
    Own,
    /// The sides' own, by the names that Istio gives them.
    Istio,
    /// One label that names what each side is to the proxy; others of the sides where they exist.
    Proxy {
        /// That label, which `proxies` sets.
        label: &'static str,
        /// What it names, for people.
        noun: &'static str,
        /// Labels of the sides that such series carry as well.
        also: &'static [&'static str],
    },
}

/// gRPC's codes that are the server's fault, as OpenTelemetry counts them.
const GRPC_NAMES: &[&str] =
    &["Unknown", "DeadlineExceeded", "Unimplemented", "Internal", "Unavailable", "DataLoss"];
const GRPC_NUMBERS: &[&str] = &["2", "4", "12", "13", "14", "15"];

// === impl Usual ===

impl Usual {
    /// Returns what is known of it.
    pub(super) fn preset(self) -> Preset {
        let own = Preset { requests: "", failed: &[], times: None, fixed: &[], sides: Sides::Own };
        match self {
            Self::Otel => Preset {
                requests: "http_server_request_duration_seconds_count",
                failed: &[("http_response_status_code", &["5.."])],
                times: Some(("http_server_request_duration_seconds", 1)),
                ..own
            },
            Self::OtelGrpc => Preset {
                requests: "rpc_server_duration_milliseconds_count",
                failed: &[("rpc_grpc_status_code", GRPC_NUMBERS)],
                times: Some(("rpc_server_duration_milliseconds", 1000)),
                ..own
            },
            Self::Prometheus => Preset {
                requests: "http_requests_total",
                failed: &[("code", &["5.."]), ("status", &["5.."])],
                times: Some(("http_request_duration_seconds", 1)),
                ..own
            },
            Self::Grpc => Preset {
                requests: "grpc_server_handled_total",
                failed: &[("grpc_code", GRPC_NAMES)],
                times: Some(("grpc_server_handling_seconds", 1)),
                ..own
            },
            Self::Haproxy => Preset {
                requests: "haproxy_backend_http_responses_total",
                failed: &[("code", &["5xx"])],
                sides: Sides::Proxy { label: "proxy", noun: "backend", also: &[] },
                ..own
            },
            Self::HaproxyServer => Preset {
                requests: "haproxy_server_http_responses_total",
                failed: &[("code", &["5xx"])],
                sides: Sides::Proxy { label: "server", noun: "server", also: &["proxy"] },
                ..own
            },
            Self::Istio => Preset {
                requests: "istio_requests_total",
                failed: &[("response_code", &["5.."]), ("grpc_response_status", GRPC_NUMBERS)],
                times: Some(("istio_request_duration_milliseconds", 1000)),
                fixed: &[("reporter", "destination")],
                sides: Sides::Istio,
            },
            Self::Envoy => Preset {
                requests: "envoy_cluster_upstream_rq_xx",
                failed: &[("envoy_response_code_class", &["5"])],
                times: Some(("envoy_cluster_upstream_rq_time", 1000)),
                sides: Sides::Proxy { label: "envoy_cluster_name", noun: "cluster", also: &[] },
                ..own
            },
            Self::Nginx => Preset {
                requests: "nginx_ingress_controller_requests",
                failed: &[("status", &["5.."])],
                times: Some(("nginx_ingress_controller_request_duration_seconds", 1)),
                sides: Sides::Proxy {
                    label: "canary",
                    noun: "canary",
                    also: &["ingress", "namespace", "exported_namespace", "service", "host"],
                },
                ..own
            },
        }
    }
}

// === impl Preset ===

impl Preset {
    /// Returns which classes of requests failed.
    pub(super) fn failed(&self) -> Vec<Class> {
        self.failed.iter().map(|(label, values)| Class::new(label, values)).collect()
    }

    /// Returns a matcher for each class of failed requests.
    pub(super) fn failed_matchers(&self) -> Vec<String> {
        let matcher = |(label, values): &(&str, &[&str])| match values {
            [only] if !only.contains('.') => format!("{label}=\"{only}\""),
            several => format!("{label}=~\"{}\"", several.join("|")),
        };
        self.failed.iter().map(matcher).collect()
    }

    /// Returns the matchers of the side on trial.
    pub(super) fn matchers(
        &self,
        scope: &TemplateScope,
        proxies: &BTreeMap<String, String>,
        role: Role,
    ) -> Result<String, SettingsError> {
        if let Sides::Own = self.sides {
            return super::errors::labels_of(scope, role);
        }
        let [first, second] = self.labels(scope, proxies)?;
        Ok(promql::matchers(match role {
            Role::FirstIsCanary => &first,
            Role::SecondIsCanary => &second,
        }))
    }

    /// Whether `up` carries the labels that its sides are told apart by.
    pub(super) fn has_up(&self) -> bool {
        matches!(self.sides, Sides::Own)
    }

    /// Returns the labels of each side's series, in the order of the file.
    pub(super) fn labels(
        &self,
        scope: &TemplateScope,
        proxies: &BTreeMap<String, String>,
    ) -> Result<[Labels; 2], SettingsError> {
        if let Some(unknown) =
            proxies.keys().find(|name| !scope.sides.iter().any(|(side, _)| side == *name))
        {
            let message = format!("there is no side {unknown}");
            return Err(SettingsError::new("/proxies", message, "name the sides of this rollout"));
        }
        let [one, other] = &scope.sides;
        let labels = [self.of_side(one, proxies)?, self.of_side(other, proxies)?];
        self.check_apart(scope, &labels)?;
        Ok(labels)
    }

    fn of_side(
        &self,
        (side, labels): &(String, Labels),
        proxies: &BTreeMap<String, String>,
    ) -> Result<Labels, SettingsError> {
        let mut own: Labels = match self.sides {
            Sides::Own => labels.clone(),
            Sides::Istio => {
                let renamed = labels.iter().map(|(name, value)| (istio_name(name), value.clone()));
                renamed.collect()
            }
            Sides::Proxy { label, also, .. } => {
                let kept = labels.iter().filter(|(n, _)| *n == label || also.contains(&n.as_str()));
                kept.map(|(name, value)| (name.clone(), value.clone())).collect()
            }
        };
        if let Sides::Proxy { label, noun, also } = self.sides {
            own.extend(proxies.get(side).map(|value| (label.to_owned(), value.clone())));
            if !own.contains_key(label) && !also.contains(&"ingress") {
                let message = format!("the {noun} of the side {side} is not known");
                return Err(SettingsError::new("/proxies", message, &self.help()));
            }
        }
        if own.is_empty() {
            let message = format!("the side {side} has no labels, so its series cannot be told");
            return Err(SettingsError::new("/metrics", message, &self.help()));
        }
        for (name, value) in self.fixed {
            own.entry((*name).to_owned()).or_insert_with(|| (*value).to_owned());
        }
        Ok(own)
    }

    fn check_apart(
        &self,
        scope: &TemplateScope,
        [one, other]: &[Labels; 2],
    ) -> Result<(), SettingsError> {
        let covers = |few: &Labels, many: &Labels| {
            few.iter().all(|(name, value)| many.get(name) == Some(value))
        };
        if !covers(one, other) && !covers(other, one) {
            return Ok(());
        }
        let (path, message) = match self.sides {
            Sides::Proxy { label, noun, .. } if one.contains_key(label) => {
                ("/proxies", format!("both sides have the {noun} {}", one[label]))
            }
            Sides::Proxy { .. } | Sides::Own | Sides::Istio => {
                let [(first, _), (second, _)] = &scope.sides;
                ("/metrics", format!("the labels of {first} and {second} match the same series"))
            }
        };
        Err(SettingsError::new(path, message, &self.help()))
    }

    fn help(&self) -> String {
        match self.sides {
            Sides::Own => "give both sides a label with different values, such as version: v1 and \
                           version: v2"
                .to_owned(),
            Sides::Istio => {
                "give both sides a label such as destination_workload: checkout-v1, or \
                             version: v1"
                    .to_owned()
            }
            Sides::Proxy { label, .. } => format!(
                "give each side a label `{label}`, or write proxies: {{blue: be_blue, green: \
                 be_green}}"
            ),
        }
    }
}

/// What Istio calls a label of a workload.
fn istio_name(name: &str) -> String {
    match name {
        "version" => "destination_version".to_owned(),
        "workload" => "destination_workload".to_owned(),
        "namespace" => "destination_workload_namespace".to_owned(),
        other => other.to_owned(),
    }
}

/// Writes matchers that find both sides' series at once, where labels of the same names tell them
/// apart; else `None`.
pub(super) fn both([one, other]: &[Labels; 2]) -> Option<String> {
    if !one.keys().eq(other.keys()) {
        return None;
    }
    let matcher = |((name, value), other): ((&String, &String), &String)| {
        if value == other {
            return format!("{name}=\"{}\"", promql::escape(value));
        }
        let either = format!("{}|{}", promql::literal(value), promql::literal(other));
        format!("{name}=~\"{}\"", promql::escape(&either))
    };
    Some(one.iter().zip(other.values()).map(matcher).collect::<Vec<_>>().join(","))
}
