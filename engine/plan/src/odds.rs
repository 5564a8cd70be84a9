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

/// What the kinds of checks weigh where nothing is written; all others share the last.
const GROUPS: [(&str, f64); 3] = [("errors", 0.5), ("latency", 0.3), ("", 0.2)];

/// Writes its alpha, its beta and its part of them into the rule of each check that compares.
pub(crate) fn share(faults: &mut Faults<'_>, checks: &mut [Check]) {
    let written = &faults.document.rollout.spec.analysis;
    let (alpha, beta) = (written.alpha.as_deref(), written.beta.as_deref());
    let alpha = chance(faults, "alpha", alpha, ALPHA);
    let beta = chance(faults, "beta", beta, BETA);
    let deciding: Vec<&Check> =
        checks.iter().filter(|check| compares(&check.rule) && !check.dry_run).collect();
    let number = |kind: &str| deciding.iter().filter(|check| group(check) == kind).count();
    let counts: Vec<usize> = GROUPS.iter().map(|(kind, _)| number(kind)).collect();
    let part = |check: &Check| {
        let default = GROUPS.iter().zip(&counts).find(|((kind, _), _)| *kind == group(check));
        let default = default.map_or(0.0, |((_, weight), number)| weight / (*number).max(1) as f64);
        written_weight(&check.rule).unwrap_or(default)
    };
    let whole: f64 = deciding.iter().map(|check| part(check)).sum();
    let parts: Vec<f64> = checks.iter().map(|check| part(check) / whole).collect();
    for (check, part) in checks.iter_mut().zip(parts).filter(|(check, _)| compares(&check.rule)) {
        let weight = if check.dry_run { 1.0 } else { part };
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

/// Whether a rule is judged window by window.
pub(crate) fn counts(rule: &str) -> bool {
    let forms = ["compare", "burn", "gauge", "score"];
    serde_json::from_str(rule)
        .is_ok_and(|rule: Value| forms.iter().any(|form| rule.get(form).is_some()))
}

fn written_weight(rule: &str) -> Option<f64> {
    let rule: Value = serde_json::from_str(rule).ok()?;
    rule.get("compare")?.get("weight")?.as_f64()
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
