//! One rollout with all that belongs to it, as a tree: traffic, sides, workloads, pods, checks, analyses.

use std::fmt::Write as _;

use futures::future::join_all;
use haldane_crds::{AnalysisRun, Workload as Written};
use haldane_model::{RolloutId, Verdict};
use haldane_runtime::status::Status;
use serde::Serialize;
use serde_json::Value;

use super::{Seat, picture, pods::Pod, runs, text, workloads::Workload};
use crate::live;

/// How many analyses are shown: the newest.
const RUNS_MAX: usize = 3;

/// A rollout with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Tree {
    /// The rollout itself.
    rollout: Status,
    /// Its sides, as they are written.
    sides: Vec<Side>,
    /// Its newest analyses, newest first.
    analyses: Vec<Analysis>,
    /// What could not be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unread: Vec<String>,
}

/// One side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Side {
    name: String,
    /// `serves`, `on trial` or `idle`, where the engine has said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workload: Option<Workload>,
}

/// One analysis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Analysis {
    name: String,
    phase: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

// === reading ===

impl Seat {
    /// Reads a rollout with all that belongs to it. What may not be read is told in its place.
    pub(crate) async fn tree(&self, id: &RolloutId) -> miette::Result<Tree> {
        let object = self.rollout(id).await?;
        let rollout = picture(&object);
        let written = object.pointer("/spec/sides").and_then(Value::as_array);
        let sides = written.into_iter().flatten().map(|side| self.side(id, side, &rollout));
        let (sides, runs) =
            futures::future::join(join_all(sides), self.runs(Some(id), Some(&id.namespace))).await;
        let mut unread = Vec::new();
        let runs = runs.unwrap_or_else(|why| {
            unread.push(why.to_string());
            Vec::new()
        });
        let analyses = runs.iter().rev().take(RUNS_MAX).map(analysis).collect();
        Ok(Tree { rollout, sides, analyses, unread })
    }

    async fn side(&self, id: &RolloutId, side: &Value, rollout: &Status) -> Side {
        let name = text(side, "/name").to_owned();
        let is = |side: &Option<haldane_model::SideName>| {
            side.as_ref().is_some_and(|side| side.as_str() == name)
        };
        let role = match (is(&rollout.serving), is(&rollout.test)) {
            (true, _) => Some("serves"),
            (false, true) if is_under_way(rollout) => Some("on trial"),
            (false, true) => Some("idle"),
            (false, false) => None,
        };
        let written: Option<Written> =
            side.get("workload").and_then(|written| serde_json::from_value(written.clone()).ok());
        let workload = match written {
            Some(written) => self.workload(&id.namespace, &written).await,
            None => None,
        };
        Side { name, role, workload }
    }
}

/// Whether an attempt is.
fn is_under_way(rollout: &Status) -> bool {
    rollout.attempt > 0
        && !matches!(rollout.phase.as_str(), "Loading" | "Pending" | "Healthy" | "Degraded")
}

fn analysis(run: &Value) -> Analysis {
    let read: Option<AnalysisRun> = serde_json::from_value(run.clone()).ok();
    let status = read.map(|run| run.status).unwrap_or_default();
    Analysis {
        name: text(run, "/metadata/name").to_owned(),
        phase: status.phase.map_or("-", runs::word).to_owned(),
        message: status.message,
    }
}

// === drawing ===

/// A line, and what is below it.
struct Node {
    line: String,
    below: Vec<Self>,
}

/// Draws a tree as lines; with or without colours.
pub(crate) fn draw(tree: &Tree, colours: bool) -> String {
    let paint = |code: &str, text: &str| match colours {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    };
    let status = &tree.rollout;
    let mut below = vec![];
    below.extend(group("Traffic", status.traffic.iter().map(traffic).collect()));
    below.extend(tree.sides.iter().map(|side| side_node(side, &paint)));
    let checks = status.checks.iter().map(|check| live::check_line(check, &paint));
    below.extend(group("Checks", checks.map(leaf).collect()));
    below.extend(group(
        "Held",
        held(status).into_iter().map(|line| leaf(paint("33", &line))).collect(),
    ));
    below.extend(group(
        "Analyses",
        tree.analyses.iter().map(|one| analysis_node(one, &paint)).collect(),
    ));
    if let Some(last) = &status.last_decision {
        let at = last.time.strftime("%Y-%m-%d %H:%M:%S");
        below.push(leaf(format!("Last decision at {at}Z: {}", last.message)));
    }
    below.extend(tree.unread.iter().map(|why| leaf(paint("33", why))));
    let mut out = String::new();
    let _ = writeln!(out, "{}", root(status, &paint));
    branches(&below, "", &mut out);
    out
}

fn branches(nodes: &[Node], indent: &str, out: &mut String) {
    for (at, node) in nodes.iter().enumerate() {
        let (branch, rest) =
            if at + 1 == nodes.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let _ = writeln!(out, "{indent}{branch}{}", node.line);
        branches(&node.below, &format!("{indent}{rest}"), out);
    }
}

fn leaf(line: String) -> Node {
    Node { line, below: Vec::new() }
}

fn group(title: &str, below: Vec<Node>) -> Option<Node> {
    (!below.is_empty()).then(|| Node { line: title.to_owned(), below })
}

fn root(status: &Status, paint: &impl Fn(&str, &str) -> String) -> String {
    let phase = paint(live::phase_colour(&status.phase), &status.phase);
    let mut line = format!("Rollout {}  {phase}", paint("1", &status.rollout));
    if status.watching {
        line.push_str(" (watched)");
    }
    if let Some(revision) = &status.revision {
        line.push_str(&format!("  {revision}, attempt {}", status.attempt));
    }
    if let (Some(step), Some(words)) = (&status.step, status.step_in_words()) {
        line.push_str(&format!("  step {}/{} at {words}", step.index + 1, step.count));
    }
    line
}

fn traffic(entry: &haldane_runtime::status::TrafficStatus) -> Node {
    let observed = entry.observed.map_or_else(|| "unread".to_owned(), |share| share.to_string());
    let mut line = format!("{}  wanted {}, observed {observed}", entry.name, entry.wanted);
    if let Some(level) = entry.acknowledged {
        line.push_str(&format!("  {level:?}"));
    }
    if let Some(message) = &entry.message {
        line.push_str(&format!("  {message}"));
    }
    leaf(line)
}

fn side_node(side: &Side, paint: &impl Fn(&str, &str) -> String) -> Node {
    let role = side.role.map(|role| format!(" ({role})")).unwrap_or_default();
    let below = side.workload.iter().map(|workload| workload_node(workload, paint)).collect();
    Node { line: format!("Side {}{role}", side.name), below }
}

fn workload_node(workload: &Workload, paint: &impl Fn(&str, &str) -> String) -> Node {
    let count = match workload.wanted {
        Some(wanted) => format!("{}/{wanted} ready", workload.ready),
        None => format!("{} ready", workload.ready),
    };
    let is_well = workload.wanted.is_none_or(|wanted| workload.ready >= wanted);
    let colour = if is_well && workload.message.is_none() { "32" } else { "33" };
    let mut line = format!("{} {}  ", workload.kind, workload.name);
    match &workload.message {
        Some(message) if workload.pods.is_empty() && workload.ready == 0 => {
            line.push_str(&paint("31", message));
        }
        Some(message) => line.push_str(&paint(colour, &format!("{count}  {message}"))),
        None => line.push_str(&paint(colour, &count)),
    }
    let mut below: Vec<Node> = workload.pods.iter().map(|pod| leaf(pod_line(pod, paint))).collect();
    if workload.more > 0 {
        below.push(leaf(format!("and {} more", workload.more)));
    }
    Node { line, below }
}

fn pod_line(pod: &Pod, paint: &impl Fn(&str, &str) -> String) -> String {
    let colour = match (pod.is_well(), pod.state.as_str()) {
        (true, _) => "32",
        (
            false,
            "Running" | "Pending" | "ContainerCreating" | "PodInitializing" | "Terminating",
        ) => "33",
        (false, _) => "31",
    };
    let state = paint(colour, &pod.state);
    let mut line = format!("Pod {}  {state}  {}/{} ready", pod.name, pod.ready, pod.containers);
    match pod.restarts {
        0 => {}
        1 => line.push_str("  1 restart"),
        restarts => line.push_str(&format!("  {restarts} restarts")),
    }
    if let Some(message) = &pod.message {
        line.push_str(&format!("  {message}"));
    }
    line
}

fn analysis_node(one: &Analysis, paint: &impl Fn(&str, &str) -> String) -> Node {
    let colour = match one.phase.as_str() {
        "Successful" => "32",
        "Failed" | "Error" => "31",
        "Running" => "36",
        _ => "33",
    };
    let message = one.message.as_ref().map(|message| format!("  {message}")).unwrap_or_default();
    leaf(format!("AnalysisRun {}  {}{message}", one.name, paint(colour, &one.phase)))
}

/// What keeps it from going on.
fn held(status: &Status) -> Vec<String> {
    let mut lines: Vec<String> = status
        .holds
        .iter()
        .map(|hold| {
            let since = hold.since.strftime("%Y-%m-%d %H:%M:%S");
            format!("{} by {} since {since}Z", hold.kind, hold.actor)
        })
        .collect();
    lines.extend(status.held_by.iter().cloned());
    lines.extend(
        status.spec_error.iter().map(|why| format!("what is written cannot be used: {why}")),
    );
    lines.extend(
        status.store_trouble.iter().map(|why| format!("the record cannot be written: {why}")),
    );
    let failing = status.checks.iter().any(|check| check.verdict == Some(Verdict::CanaryLost));
    if failing {
        lines.push("the side under test has vanished from the metrics".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tree_shows_both_sides_down_to_the_pod_that_crashes() {
        let object = json!({"metadata": {"name": "checkout", "namespace": "shop"}, "status": {
            "phase": "Baking", "serving": "stable", "revision": "2.4.1", "attempt": 3,
            "step": {"index": 1, "count": 4, "weight": "25%", "baked": "5s", "shown": "2/4"},
            "traffic": [{"name": "mesh", "wanted": "25%", "observed": "25%", "acknowledged": "Programmed"}],
            "checks": [{"name": "errors", "verdict": "Pass", "value": "0.4%", "limit": "max 1 %", "samples": 1200}],
            "heldBy": ["NotReady"],
        }});
        let pod = |name: &str, state: &str, ready, restarts| Pod {
            name: name.to_owned(),
            state: state.to_owned(),
            ready,
            containers: 1,
            restarts,
            message: None,
        };
        let workload = |name: &str, ready, pods| Workload {
            kind: "Deployment",
            name: name.to_owned(),
            ready,
            wanted: Some(1),
            message: None,
            pods,
            more: 0,
        };
        let mut rollout = picture(&object);
        rollout.test = Some("canary".into());
        let side = |name: &str, role, workload| Side {
            name: name.to_owned(),
            role: Some(role),
            workload: Some(workload),
        };
        let tree = Tree {
            rollout,
            sides: vec![
                side(
                    "stable",
                    "serves",
                    workload("checkout-stable", 1, vec![pod("a", "Running", 1, 0)]),
                ),
                side(
                    "canary",
                    "on trial",
                    workload("checkout-canary", 0, vec![pod("b", "CrashLoopBackOff", 0, 7)]),
                ),
            ],
            analyses: vec![Analysis {
                name: "checkout-3".to_owned(),
                phase: "Running".to_owned(),
                message: None,
            }],
            unread: Vec::new(),
        };
        insta::assert_snapshot!(draw(&tree, false), @r"
        Rollout shop/checkout  Baking  2.4.1, attempt 3  step 2/4 at 25 %
        ├─ Traffic
        │  └─ mesh  wanted 25 %, observed 25 %  Programmed
        ├─ Side stable (serves)
        │  └─ Deployment checkout-stable  1/1 ready
        │     └─ Pod a  Running  1/1 ready
        ├─ Side canary (on trial)
        │  └─ Deployment checkout-canary  0/1 ready
        │     └─ Pod b  CrashLoopBackOff  0/1 ready  7 restarts
        ├─ Checks
        │  └─ errors               0.40 %  max 1 %        Pass  1200 samples
        ├─ Held
        │  └─ NotReady
        └─ Analyses
           └─ AnalysisRun checkout-3  Running
        ");
        assert!(draw(&tree, true).contains("\x1b[31mCrashLoopBackOff\x1b[0m"));
    }
}
