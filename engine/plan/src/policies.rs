//! Times, policies and alerts.

use std::time::Duration;

use haldane_crds as written;
use haldane_crds::{Path, show_duration};
use haldane_model::{
    AlertAction, AlertName, AlertRule, GapPolicy, OnDeadline, OnInconclusive, Policies, Step,
};

use crate::faults::Faults;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// How long guards go on, and how long all of it may take.
pub(crate) struct Timing {
    pub(crate) watch: Duration,
    pub(crate) progress_deadline: Duration,
}

pub(crate) fn timing(faults: &mut Faults<'_>, steps: &[Step]) -> Timing {
    let spec = &faults.document.rollout.spec;
    let planned: Duration = steps.iter().map(|step| step.bake).sum();
    let deadline = spec.progress_deadline.map(|wait| wait.0);
    if let Some(short) = deadline.filter(|deadline| *deadline < planned || deadline.is_zero()) {
        let (short, planned) = (show_duration(short), show_duration(planned));
        let message =
            format!("progressDeadline `{short}` is shorter than the bakes together, `{planned}`");
        let help = "leave it out for the planned bake and an hour, or write a longer one";
        faults.value(&Path::of(&["spec", "progressDeadline"]), message, help);
    }
    Timing {
        watch: spec.watch.map_or(HOUR, |wait| wait.0),
        progress_deadline: deadline.unwrap_or(planned + HOUR),
    }
}

pub(crate) fn on_deadline(analysis: &written::Analysis) -> OnDeadline {
    match analysis.on_deadline {
        Some(written::OnDeadline::Abort) => OnDeadline::Abort,
        Some(written::OnDeadline::Pause) | None => OnDeadline::Pause,
    }
}

pub(crate) fn policies(analysis: &written::Analysis) -> Policies {
    Policies {
        no_data: gap(analysis.on_no_data, GapPolicy::Hold),
        source_error: gap(analysis.on_source_error, GapPolicy::Hold),
        canary_lost: gap(analysis.on_canary_lost, GapPolicy::Abort),
        inconclusive: match analysis.on_inconclusive {
            Some(written::OnInconclusive::Promote) => OnInconclusive::Promote,
            Some(written::OnInconclusive::Abort) => OnInconclusive::Abort,
            Some(written::OnInconclusive::Pause) | None => OnInconclusive::Pause,
        },
    }
}

fn gap(written: Option<written::Gap>, default: GapPolicy) -> GapPolicy {
    match written {
        None => default,
        Some(written::Gap::Hold) => GapPolicy::Hold,
        Some(written::Gap::Pause) => GapPolicy::Pause,
        Some(written::Gap::Abort) => GapPolicy::Abort,
        Some(written::Gap::Ignore) => GapPolicy::Ignore,
    }
}

pub(crate) fn alerts(faults: &mut Faults<'_>) -> Vec<AlertRule> {
    let alerts = &faults.document.rollout.spec.alerts;
    let list = Path::of(&["spec", "alerts"]);
    let names: Vec<&str> = alerts.iter().map(|alert| alert.name.as_str()).collect();
    faults.unique(&names, &list, "alert");
    for (at, alert) in alerts.iter().enumerate() {
        for (of, matcher) in alert.matchers.iter().enumerate().filter(|(_, text)| !is_matcher(text))
        {
            let path = list.index(at).key("matchers").index(of);
            let help = "write `label=\"value\"`, or with one of `!=`, `=~`, `!~`";
            faults.value(&path, format!("`{matcher}` is no matcher"), help);
        }
    }
    if !alerts.is_empty() {
        let message = "alerts are checked here, but this version receives none";
        faults.warn(&list, message, "guard with checks until it does");
    }
    alerts.iter().map(alert).collect()
}

fn alert(alert: &written::Alert) -> AlertRule {
    AlertRule {
        name: AlertName::from(alert.name.as_str()),
        matchers: alert.matchers.clone(),
        action: match alert.action {
            written::AlertAction::Block => AlertAction::Block,
            written::AlertAction::Pause => AlertAction::Pause,
            written::AlertAction::Abort => AlertAction::Abort,
        },
    }
}

/// `label`, an operator, and a value in quotes: what Alertmanager reads in every version.
fn is_matcher(text: &str) -> bool {
    let Some(at) = text.find(['=', '!']) else { return false };
    let (label, rest) = text.split_at(at);
    let label = label.trim();
    let operator = ["=~", "!~", "!=", "="].into_iter().find(|operator| rest.starts_with(operator));
    let Some(operator) = operator else { return false };
    let value = rest[operator.len()..].trim();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !label.is_empty()
        && label.chars().all(word)
        && !label.starts_with(|c: char| c.is_ascii_digit())
        && value.len() >= 2
        && value.starts_with('"')
        && value.ends_with('"')
}
