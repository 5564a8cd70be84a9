//! The odds of a wrong decision, shared among the checks that compare.
//!
//! One alpha holds for a rollout, however many checks it has: each gets a part of it, and the parts
//! make one. A check that never decides takes part of nothing; it is judged as if it stood alone.

use haldane_crds::Path;
use haldane_model::Check;
use serde_json::{Value, json};

use crate::faults::Faults;

/// How likely a healthy release may be rolled back, and how likely a step may be passed that does
/// too much harm, where nothing is written.
const ALPHA: f64 = 0.01;
const BETA: f64 = 0.05;

/// What errors, and what latency weighs; all others share the rest.
const ERRORS: f64 = 0.5;
const LATENCY: f64 = 0.3;
const OTHERS: f64 = 0.2;

/// Writes its alpha, its beta and its part of them into the rule of each check that compares.
pub(crate) fn share(faults: &mut Faults<'_>, checks: &mut [Check]) {
    let written = &faults.document.rollout.spec.analysis;
    let (alpha, beta) = (written.alpha.as_deref(), written.beta.as_deref());
    let alpha = chance(faults, "alpha", alpha, ALPHA);
    let beta = chance(faults, "beta", beta, BETA);
    let deciding: Vec<&Check> =
        checks.iter().filter(|check| compares(&check.rule) && !check.dry_run).collect();
    let number = |kind: &str| deciding.iter().filter(|check| group(check) == kind).count();
    let groups = [("errors", ERRORS), ("latency", LATENCY), ("", OTHERS)];
    let whole: f64 =
        groups.iter().filter(|(kind, _)| number(kind) > 0).map(|(_, weight)| weight).sum();
    let parts: Vec<(&str, f64)> = groups
        .iter()
        .map(|(kind, weight)| (*kind, weight / whole / number(kind).max(1) as f64))
        .collect();
    for check in checks.iter_mut().filter(|check| compares(&check.rule)) {
        let part = parts.iter().find(|(kind, _)| *kind == group(check));
        let weight = part.filter(|_| !check.dry_run).map_or(1.0, |(_, weight)| *weight);
        let mut rule: Value = serde_json::from_str(&check.rule).unwrap_or_default();
        let odds = [("alpha", alpha), ("beta", beta), ("weight", weight)];
        for (name, value) in odds {
            rule["compare"][name] = json!(value);
        }
        check.rule = rule.to_string().into();
    }
}

/// Whether a rule compares with the serving side.
pub(crate) fn compares(rule: &str) -> bool {
    serde_json::from_str(rule).is_ok_and(|rule: Value| rule.get("compare").is_some())
}

fn group(check: &Check) -> &'static str {
    match &*check.kind {
        "errors" => "errors",
        "latency" => "latency",
        _ => "",
    }
}

fn chance(faults: &mut Faults<'_>, name: &str, written: Option<&str>, default: f64) -> f64 {
    let Some(text) = written else { return default };
    let share = haldane_sources::ratio(text).filter(|share| *share > 0.0 && *share <= 0.5);
    share.unwrap_or_else(|| {
        let message = format!("`{text}` is no chance above 0 and up to 50 %");
        let help = format!("write one such as `\"{} %\"`", default * 100.0).replace(" %", "%");
        faults.value(&Path::of(&["spec", "analysis", name]), message, help);
        default
    })
}
