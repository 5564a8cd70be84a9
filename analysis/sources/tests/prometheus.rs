//! The Prometheus source against recorded answers and against servers that misbehave.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[path = "prometheus/counting.rs"]
mod counting;
#[path = "prometheus/fixtures.rs"]
mod fixtures;
#[path = "prometheus/odd_servers.rs"]
mod odd_servers;
#[path = "prometheus/questions.rs"]
mod questions;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use haldane_model::{Sample, Window};
use haldane_outside::Outside;
use haldane_sources::{CHECKS, Checked, Look, LookSides, MetricSource, SOURCES, TemplateScope};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// Two sides, told apart by `track`; green is on trial.
fn scope() -> TemplateScope {
    let labels = |track: &str| BTreeMap::from([("track".to_owned(), track.to_owned())]);
    TemplateScope {
        namespace: "shop".into(),
        name: "checkout".into(),
        sides: [("blue".into(), labels("stable")), ("green".into(), labels("canary"))],
        arguments: BTreeMap::new(),
    }
}

#[track_caller]
fn source(settings: &Value) -> Arc<dyn MetricSource> {
    let settings = (SOURCES[0].check)(settings).unwrap();
    (SOURCES[0].build)(&settings, &Outside::default()).unwrap()
}

#[track_caller]
fn question(kind: &str, settings: &Value) -> Arc<str> {
    let entry = CHECKS.iter().find(|entry| entry.kind == kind).unwrap();
    match (entry.check)(settings, &scope(), None) {
        Ok(Checked::Ready { question, .. }) => question,
        other => panic!("{other:?}"),
    }
}

fn look(deadline: Duration) -> Look {
    let end: Timestamp = "2026-11-20T22:13:10.500Z".parse().unwrap();
    let window = Window { begin: end - SignedDuration::from_secs(30), end };
    let sides = LookSides { test: "green".into(), serving: "blue".into() };
    Look { window, sides, deadline, grid: None, before: None, about: None }
}

/// Asks one plain query.
async fn ask(settings: &Value) -> Sample {
    let question = question("query", &json!({"promql": "up", "max": "1"}));
    source(settings).look(question, look(Duration::from_secs(5))).await
}
