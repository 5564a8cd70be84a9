//! The plan with its defaults, in the words of the written form.

use std::time::Duration;

use haldane_crds::{API_VERSION, show_duration};
use haldane_model::{
    AlertAction, Check, During, Entry, Follow, Gap, GapPolicy, Gate, GateKind, OnDeadline,
    OnInconclusive, Plan, Side, Source, Step, Weight,
};
use serde_json::{Map, Value, json};

use crate::Compiled;

/// Returns what is in force: a document that compiles to the same plan.
#[must_use]
pub fn effective(compiled: &Compiled) -> Value {
    let plan = &compiled.plan;
    let mut spec = Map::new();
    spec.insert("sides".to_owned(), plan.sides.iter().map(side).collect());
    if let Some(revision) = &compiled.revision {
        spec.insert("revision".to_owned(), revision.as_str().into());
    }
    spec.insert("traffic".to_owned(), plan.entries.iter().map(entry).collect());
    let steps = plan.steps.iter().enumerate().map(|(at, step)| self::step(at, step, plan));
    spec.insert("steps".to_owned(), steps.collect());
    spec.insert("watch".to_owned(), time(plan.watch));
    spec.insert("progressDeadline".to_owned(), time(plan.progress_deadline));
    spec.insert("paused".to_owned(), compiled.paused.into());
    spec.insert("analysis".to_owned(), analysis(compiled));
    spec.insert("alerts".to_owned(), alerts(plan));
    json!({
        "apiVersion": API_VERSION,
        "kind": "Rollout",
        "metadata": {"name": &*compiled.id.name, "namespace": &*compiled.id.namespace},
        "spec": spec,
    })
}

fn time(duration: Duration) -> Value {
    show_duration(duration).into()
}

/// Whole percentages as numbers, finer ones with their unit.
fn share(weight: Weight) -> Value {
    match weight.basis_points() {
        points if points % 100 == 0 => (points / 100).into(),
        _ => weight.to_string().replace(' ', "").into(),
    }
}

fn json_text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

fn side(side: &Side) -> Value {
    let mut value = json!({"name": side.name.as_str()});
    if !side.labels.is_empty() {
        value["labels"] = json!(side.labels);
    }
    if let Some(query) = &side.revision_query {
        value["revisionQuery"] = json_text(query);
    }
    value
}

fn entry(entry: &Entry) -> Value {
    let follow = match entry.follow {
        Follow::Steps => "Steps",
    };
    let mut value = json!({"name": entry.name.as_str(), "follow": follow});
    value[&*entry.kind] = json_text(&entry.settings);
    value
}

fn step(at: usize, step: &Step, plan: &Plan) -> Value {
    let mut value = json!({"weight": share(step.weight), "bake": time(step.bake)});
    if let Some(longest) = step.max_bake {
        value["maxBake"] = time(longest);
    }
    if let Some(mirror) = step.mirror {
        value["mirror"] = share(mirror);
    }
    if !step.gates.is_empty() {
        value["gates"] = step.gates.iter().map(gate).collect();
    }
    let own = plan.checks.iter().filter(|check| match &check.during {
        During::Steps(steps) => steps.contains(&at),
        During::Background | During::BeforeTraffic | During::AfterPromotion => false,
    });
    let own: Vec<&str> = own.map(|check| check.name.as_str()).collect();
    if !own.is_empty() {
        value["checks"] = own.into();
    }
    value
}

fn gate(gate: &Gate) -> Value {
    let mut value = json!({"name": gate.name.as_str()});
    match &gate.kind {
        GateKind::Manual => value["manual"] = json!({}),
        GateKind::External(settings) => value["webhook"] = json_text(settings),
    }
    if let Some(expires) = gate.expires {
        value["expires"] = time(expires);
        value["onExpired"] = "Pause".into();
    }
    value
}

fn analysis(compiled: &Compiled) -> Value {
    let plan = &compiled.plan;
    if plan.unanalysed {
        return json!({"none": true});
    }
    let mut value = json!({
        "sources": plan.sources.iter().map(source).collect::<Vec<_>>(),
        "checks": plan.checks.iter().map(|check| self::check(check, compiled)).collect::<Vec<_>>(),
        "onNoData": gap(plan, Gap::NoData),
        "onSourceError": gap(plan, Gap::SourceError),
        "onCanaryLost": gap(plan, Gap::CanaryLost),
        "onDeadline": match plan.on_deadline {
            OnDeadline::Pause => "Pause",
            OnDeadline::Abort => "Abort",
        },
        "onInconclusive": match plan.policies.inconclusive {
            OnInconclusive::Pause => "Pause",
            OnInconclusive::Promote => "Promote",
            OnInconclusive::Abort => "Abort",
        },
    });
    if !compiled.scope.arguments.is_empty() {
        value["arguments"] = json!(compiled.scope.arguments);
    }
    // They stand in each rule; the written form has them once.
    let rules: Vec<Value> = plan.checks.iter().map(|check| json_text(&check.rule)).collect();
    for chance in ["alpha", "beta"] {
        let written = rules.iter().find_map(|rule| rule.get("compare")?.get(chance)?.as_f64());
        if let Some(written) = written {
            value[chance] = written.to_string().into();
        }
    }
    value
}

fn gap(plan: &Plan, gap: Gap) -> &'static str {
    let policy = match gap {
        Gap::NoData => plan.policies.no_data,
        Gap::SourceError => plan.policies.source_error,
        Gap::CanaryLost => plan.policies.canary_lost,
    };
    match policy {
        GapPolicy::Hold => "Hold",
        GapPolicy::Pause => "Pause",
        GapPolicy::Abort => "Abort",
        GapPolicy::Ignore => "Ignore",
    }
}

fn source(source: &Source) -> Value {
    let mut value = json!({"name": source.name.as_str()});
    value[&*source.kind] = json_text(&source.settings);
    value
}

fn check(check: &Check, compiled: &Compiled) -> Value {
    let mut value = json!({"name": check.name.as_str(), "source": check.source.as_str()});
    value[&*check.kind] = compiled.written.get(&check.name).cloned().unwrap_or_default();
    value["interval"] = time(check.interval);
    if let Some(window) = check.window {
        value["window"] = time(window);
    }
    value["initialDelay"] = time(check.initial_delay);
    value["failureLimit"] = check.limits.failures.into();
    if let Some(limit) = check.limits.consecutive_failures {
        value["consecutiveFailureLimit"] = limit.into();
    }
    if let Some(limit) = check.limits.inconclusive {
        value["inconclusiveLimit"] = limit.into();
    }
    let rule = json_text(&check.rule);
    let samples = rule.get("compare").unwrap_or(&rule).get("minSamples");
    if let Some(samples) = samples.and_then(Value::as_f64) {
        value["minSamples"] = json!(samples as u64);
    }
    value["dryRun"] = check.dry_run.into();
    match &check.during {
        During::BeforeTraffic => value["during"] = "BeforeTraffic".into(),
        During::AfterPromotion => value["during"] = "AfterPromotion".into(),
        // One that is asked all along says nothing; the steps name the others.
        During::Background | During::Steps(_) => {}
    }
    value
}

fn alerts(plan: &Plan) -> Value {
    let alerts = plan.alerts.iter().map(|alert| {
        let action = match alert.action {
            AlertAction::Block => "Block",
            AlertAction::Pause => "Pause",
            AlertAction::Abort => "Abort",
        };
        json!({"name": alert.name.as_str(), "matchers": alert.matchers, "action": action})
    });
    alerts.collect()
}
