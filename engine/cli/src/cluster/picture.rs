//! A rollout's object as the picture that every command shows: what its record remembers, and over it what the
//! engine wrote for people, which is newer.

use haldane_crds::{ConditionStatus, RolloutStatus, VerdictWord};
use haldane_model::{Acknowledged, SideName, Verdict, Weight};
use haldane_runtime::{
    codec::{self, Decoded},
    status::{
        CheckStatus, DecisionStatus, EngineStatus, HoldStatus, Status, StepStatus, TrafficStatus,
    },
};
use serde_json::Value;

use super::{id_of, text};

/// Returns the status of an object; an empty one where it has none that can be read.
pub(crate) fn status_of(rollout: &Value) -> RolloutStatus {
    let status = rollout.get("status").cloned().unwrap_or_default();
    serde_json::from_value(status).unwrap_or_default()
}

/// Draws a rollout.
pub(crate) fn picture(rollout: &Value) -> Status {
    let id = id_of(rollout);
    let written = status_of(rollout);
    let decoded = written.record.as_ref().map(|record| codec::decode(record.text.as_bytes()));
    let mut status = match decoded {
        Some(Ok(Decoded::Known(record))) => Status::remembered(&id, &record),
        Some(Ok(Decoded::Newer { header, .. })) => Status::of_newer(&id, &header),
        Some(Err(_)) | None => Status::empty(&id),
    };
    lay_over(&mut status, &written);
    if status.test.is_none() {
        status.test = other_side(rollout, &status);
    }
    status
}

/// The side that does not serve, as it is written.
fn other_side(rollout: &Value, status: &Status) -> Option<SideName> {
    let serving = status.serving.as_ref()?;
    let sides = rollout.pointer("/spec/sides").and_then(Value::as_array)?;
    let mut names = sides.iter().map(|side| text(side, "/name"));
    names.find(|name| !name.is_empty() && *name != serving.as_str()).map(SideName::from)
}

fn lay_over(status: &mut Status, written: &RolloutStatus) {
    if let Some(phase) = &written.phase {
        status.phase.clone_from(phase);
        status.held_by.clone_from(&written.held_by);
        let holds = written.holds.iter().map(|hold| HoldStatus {
            kind: hold.kind.clone(),
            since: hold.since,
            actor: hold.actor.clone(),
        });
        status.holds = holds.collect();
    }
    let over = |at: &mut Option<_>, text: &Option<String>| {
        if let Some(text) = text {
            *at = Some(text.as_str().into());
        }
    };
    over(&mut status.serving, &written.serving);
    over(&mut status.safe_to_scale_down, &written.safe_to_scale_down);
    let over = |at: &mut Option<_>, text: &Option<String>| {
        if let Some(text) = text {
            *at = Some(text.as_str().into());
        }
    };
    over(&mut status.revision, &written.revision);
    over(&mut status.previous_revision, &written.previous_revision);
    status.attempt = written.attempt.unwrap_or(status.attempt);
    if let Some(step) = &written.step {
        let index = step.index as usize;
        let planned = status.steps.get(index).map_or(0.0, |step| step.bake);
        status.step = Some(StepStatus {
            index,
            count: step.count as usize,
            weight: weight(&step.weight).unwrap_or_default(),
            baked: seconds(&step.baked),
            bake: planned.max(seconds(&step.baked)),
        });
    }
    if !written.traffic.is_empty() {
        status.traffic = written.traffic.iter().map(traffic).collect();
    }
    for check in &written.checks {
        let found = checked(check);
        match status.checks.iter_mut().find(|known| known.name == check.name) {
            Some(known) => *known = CheckStatus { dry_run: known.dry_run, ..found },
            None => status.checks.push(found),
        }
    }
    if let Some(last) = &written.last_decision {
        status.last_decision = Some(DecisionStatus {
            time: last.time,
            reason: last.reason.clone(),
            actor: last.actor.clone(),
            message: last.message.clone(),
        });
    }
    status.spec_error = refused(written, "SpecAccepted");
    status.store_trouble = refused(written, "Recorded");
    if let Some(engine) = &written.engine {
        let (format, term, version) = (engine.format, engine.term, engine.version);
        status.engine = EngineStatus { format, term, version };
    }
}

/// Why a condition does not hold, where the engine says so.
fn refused(written: &RolloutStatus, kind: &str) -> Option<String> {
    let condition = written.conditions.iter().find(|condition| condition.kind == kind)?;
    let is_false = condition.status == ConditionStatus::False;
    let said = [&condition.message, &condition.reason].into_iter().find(|text| !text.is_empty());
    said.filter(|_| is_false).cloned()
}

fn traffic(entry: &haldane_crds::TrafficStatus) -> TrafficStatus {
    TrafficStatus {
        name: entry.name.clone(),
        wanted: weight(&entry.wanted).unwrap_or_default(),
        observed: entry.observed.as_deref().and_then(weight),
        acknowledged: match entry.acknowledged.as_deref() {
            Some("Accepted") => Some(Acknowledged::Accepted),
            Some("Programmed") => Some(Acknowledged::Programmed),
            Some("Measured") => Some(Acknowledged::Measured),
            Some(_) | None => None,
        },
        message: entry.message.clone(),
    }
}

fn checked(check: &haldane_crds::CheckStatus) -> CheckStatus {
    let (value, unit) = check.value.as_deref().map_or((None, String::new()), measured);
    CheckStatus {
        name: check.name.clone(),
        verdict: check.verdict.map(verdict),
        value,
        unit,
        limit: check.limit.clone(),
        samples: check.samples.map(|samples| samples as f64),
        compared: None,
        message: check.message.clone(),
        dry_run: false,
    }
}

/// What a word says; whether it sent the traffic back, the journal tells.
pub(super) fn verdict(word: VerdictWord) -> Verdict {
    match word {
        VerdictWord::Pass => Verdict::Pass,
        VerdictWord::Fail => Verdict::Fail { breach: false },
        VerdictWord::Inconclusive => Verdict::Inconclusive { over_limit: false },
        VerdictWord::NoData => Verdict::NoData,
        VerdictWord::SourceError => Verdict::SourceError,
        VerdictWord::CanaryLost => Verdict::CanaryLost,
    }
}

/// `0.4%` as a value in base units, and its unit.
fn measured(shown: &str) -> (Option<f64>, String) {
    let end = shown.find(|c: char| !c.is_ascii_digit() && !".-+".contains(c));
    let (value, unit) = shown.split_at(end.unwrap_or(shown.len()));
    let unit = unit.trim().to_owned();
    let value = value.parse::<f64>().ok().filter(|value| value.is_finite());
    let factor = if unit == "%" { 0.01 } else { 1.0 };
    (value.map(|value| value * factor), unit)
}

/// `25%` or `0.5%` as a share.
fn weight(shown: &str) -> Option<Weight> {
    let percent: f64 = shown.trim().strip_suffix('%')?.trim().parse().ok()?;
    let points = (percent * 100.0).round();
    (0.0..=10_000.0).contains(&points).then(|| Weight::from_basis_points(points as u32).ok())?
}

/// `2m30s` in seconds; 0 where it is no duration.
fn seconds(shown: &str) -> f64 {
    humantime::parse_duration(shown).map_or(0.0, |duration| duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rollout_that_no_engine_has_seen_is_being_loaded() {
        let object = json!({"metadata": {"name": "checkout", "namespace": "shop"}, "spec": {}});
        let status = picture(&object);
        assert_eq!((status.rollout.as_str(), status.phase.as_str()), ("shop/checkout", "Loading"));
    }

    #[test]
    fn what_the_engine_wrote_for_people_is_what_is_shown() {
        let object = json!({"metadata": {"name": "checkout", "namespace": "shop"}, "status": {
            "phase": "Baking", "serving": "stable", "revision": "2.4.1", "attempt": 3,
            "step": {"index": 1, "count": 4, "weight": "25%", "baked": "1m5s", "shown": "2/4"},
            "traffic": [{"name": "mesh", "wanted": "25%", "observed": "24.5%", "acknowledged": "Programmed"}],
            "checks": [{"name": "errors", "verdict": "Pass", "value": "0.4%", "limit": "max 1 %", "samples": 1200},
                       {"name": "p99", "value": "0.25s"}],
            "conditions": [{"type": "SpecAccepted", "status": "False", "reason": "Refused",
                            "message": "spec.steps: odd", "lastTransitionTime": "2026-05-01T14:00:00Z"}],
            "record": {"version": 3, "term": 1, "text": "damaged"},
        }});
        let status = picture(&object);
        let step = status.step.unwrap();
        assert_eq!((step.index, step.baked, step.weight.to_string()), (1, 65.0, "25 %".to_owned()));
        assert_eq!(status.traffic[0].observed.unwrap().to_string(), "24.5 %");
        assert_eq!(status.traffic[0].acknowledged, Some(Acknowledged::Programmed));
        assert_eq!((status.checks[0].value, status.checks[0].unit.as_str()), (Some(0.004), "%"));
        assert_eq!((status.checks[1].value, status.checks[1].unit.as_str()), (Some(0.25), "s"));
        assert_eq!(status.spec_error.as_deref(), Some("spec.steps: odd"));
    }

    #[test]
    fn what_is_no_share_is_none() {
        assert_eq!(weight("0.5%").unwrap().basis_points(), 50);
        for odd in ["", "25", "-1%", "101%", "x%", "NaN%"] {
            assert_eq!(weight(odd), None, "{odd}");
        }
        assert_eq!(seconds("1h2m3s"), 3723.0);
        assert_eq!(seconds("soon"), 0.0);
    }
}
