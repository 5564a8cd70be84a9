//! Which metrics an application has: the usual shapes, and how to find out.
//!
//! A shape that was found is written into the settings and pinned: a rollout never looks again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use haldane_model::{Answer, SideName, Window};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    Look, LookSides, MetricSource, Query, Question, SideQuestion, TemplateScope, promql,
    question::Ask,
};

/// A usual shape of an application's metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// OpenTelemetry's HTTP server metrics.
    Otel,
    /// The names that Prometheus client libraries suggest.
    Prometheus,
    /// HAProxy's own exporter, by proxy.
    Haproxy,
}

/// For which kind of check a shape is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShapeKind {
    /// `errors`.
    Errors,
    /// `latency`.
    Latency,
}

/// The label that HAProxy's exporter tells its backends apart by.
pub(super) const PROXY: &str = "proxy";

// === impl Shape ===

impl Shape {
    /// Returns how it is written in `metrics`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Otel => "otel",
            Self::Prometheus => "prometheus",
            Self::Haproxy => "haproxy",
        }
    }

    /// Which of a side's labels its series carry.
    fn labels(self, labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        match self {
            Self::Otel | Self::Prometheus => labels.clone(),
            Self::Haproxy => labels
                .iter()
                .filter(|(n, _)| *n == PROXY)
                .map(|(n, v)| (n.clone(), v.clone()))
                .collect(),
        }
    }

    /// The metric that shows that an application has this shape.
    fn witness(self, kind: ShapeKind) -> Option<&'static str> {
        match (kind, self) {
            (ShapeKind::Errors, Self::Otel) => Some("http_server_request_duration_seconds_count"),
            (ShapeKind::Errors, Self::Prometheus) => Some("http_requests_total"),
            (ShapeKind::Errors, Self::Haproxy) => Some("haproxy_backend_http_responses_total"),
            (ShapeKind::Latency, Self::Otel) => Some("http_server_request_duration_seconds_bucket"),
            (ShapeKind::Latency, Self::Prometheus) => Some("http_request_duration_seconds_bucket"),
            (ShapeKind::Latency, Self::Haproxy) => None,
        }
    }
}

/// Writes a shape into a check's settings.
#[must_use]
pub fn pin_shape(settings: &Value, shape: Shape) -> Value {
    let mut pinned = settings.clone();
    if let Value::Object(fields) = &mut pinned {
        fields.insert("metrics".to_owned(), Value::from(shape.word()));
    }
    pinned
}

/// Looks up which shape the sides' series have in a source.
///
/// # Errors
/// Where the source does not answer, or where none or several shapes match, naming them.
pub async fn detect_shape(
    source: &dyn MetricSource,
    scope: &TemplateScope,
    kind: ShapeKind,
    deadline: Duration,
) -> Result<Shape, String> {
    let shapes = [Shape::Otel, Shape::Prometheus, Shape::Haproxy];
    let candidates = shapes.into_iter().filter_map(|shape| Some((shape, shape.witness(kind)?)));
    let asked = candidates.clone().map(|(shape, witness)| async move {
        Ok::<_, String>((shape, shows(source, scope, (shape, witness), deadline).await?))
    });
    let answers = futures::future::try_join_all(asked).await?;
    let found: Vec<Shape> =
        answers.into_iter().filter(|(_, shown)| *shown).map(|(shape, _)| shape).collect();
    match found.as_slice() {
        [only] => Ok(*only),
        [] => {
            let names: Vec<&str> = candidates.map(|(_, witness)| witness).collect();
            Err(format!(
                "neither side has series of {}: check the labels of the sides, or set `metrics`",
                names.join(" or ")
            ))
        }
        several => {
            let words: Vec<&str> = several.iter().map(|shape| shape.word()).collect();
            Err(format!("the sides have series of {}: set `metrics` to one", words.join(" and ")))
        }
    }
}

/// Whether either side has series of a shape. A side that cannot be told apart shows nothing.
async fn shows(
    source: &dyn MetricSource,
    scope: &TemplateScope,
    (shape, witness): (Shape, &str),
    deadline: Duration,
) -> Result<bool, String> {
    for (side, labels) in &scope.sides {
        let matchers = promql::matchers(&shape.labels(labels));
        if matchers.is_empty() {
            continue;
        }
        let question = question(side, format!("count({witness}{{{matchers}}})"));
        let side = SideName::from(side.as_str());
        let sides = LookSides { test: side.clone(), serving: side };
        let end = Timestamp::now();
        let window = Window { begin: end - SignedDuration::from_secs(60), end };
        match source
            .look(question, Look { window, sides, deadline, grid: None, before: None, about: None })
            .await
            .answer
        {
            Answer::Value(_) => return Ok(true),
            Answer::Nothing(_) | Answer::Ratio { .. } | Answer::Counted(_) => {}
            Answer::Error { message, .. } => return Err(message),
        }
    }
    Ok(false)
}

/// One query about one side.
fn question(side: &str, query: String) -> Arc<str> {
    let ask = Ask::Value { value: Query(vec![query]), count: None };
    let asked = SideQuestion { labels: BTreeMap::new(), ask };
    let sides = BTreeMap::from([(side.to_owned(), asked)]);
    let question = Question { sides, exchange: false };
    serde_json::to_string(&question).expect("plain data can be written as JSON").into()
}
