//! When each check is asked: all along, or in a phase of the rollout alone.
//!
//! A phase adds to what guards all along and never stands in for it: from the first write that a user
//! could see to the end of the watch, some check guards.

use std::collections::BTreeMap;

use haldane_crds::{Check as Written, During as Word, Path};
use haldane_model::{Check, During, Step, Weight};

use crate::{analysis::Analysis, faults::Faults, odds};

/// Which steps name which checks.
pub(crate) struct Phases<'a> {
    steps: &'a [Step],
    named: BTreeMap<String, Vec<usize>>,
}

// === impl Phases ===

impl<'a> Phases<'a> {
    /// Reads which checks the steps name, and refuses names that no check has.
    pub(crate) fn read(faults: &mut Faults<'_>, steps: &'a [Step]) -> Self {
        let mut phases = Self { steps, named: BTreeMap::new() };
        let document = faults.document;
        let spec = &document.rollout.spec;
        let known: Vec<&str> = spec.analysis.checks.iter().map(Written::name).collect();
        let written = spec.steps.iter().flatten().enumerate();
        for (place, (at, step)) in written.filter(|(_, step)| step.weight.is_some()).enumerate() {
            let list = Path::of(&["spec", "steps"]).index(at).key("checks");
            let names: Vec<&str> = step.checks.iter().map(|name| name.as_str()).collect();
            faults.unique(&names, &list, "check");
            for (of, name) in names.into_iter().enumerate() {
                // A template that is missing may have brought it; that was told.
                if !known.contains(&name) && !faults.origins.lacks {
                    faults.unknown(&list.index(of), "check", name, &known);
                }
                let steps = phases.named.entry(name.to_owned()).or_default();
                if steps.last() != Some(&place) {
                    steps.push(place);
                }
            }
        }
        phases
    }

    /// Returns when a check is asked.
    pub(crate) fn of(&self, faults: &mut Faults<'_>, written: &Written, path: &Path) -> During {
        let path = path.key("during");
        match (written.during, self.named.get(written.name())) {
            (Some(_), Some(_)) => {
                let message = "a step names this check, so that it is asked in such steps alone";
                let help = "remove `during`, or the name from the `checks` of the steps";
                faults.key(&path, message, help);
                During::Background
            }
            (None, Some(steps)) => During::Steps(steps.clone()),
            (Some(Word::BeforeTraffic), None) => {
                if !self.steps.iter().any(|step| step.weight == Weight::ZERO) {
                    let message = "no step has the weight 0, so that `BeforeTraffic` never is";
                    let help = "let a step such as `{weight: 0, bake: 1m}` come first";
                    faults.key(&path, message, help);
                }
                During::BeforeTraffic
            }
            (Some(Word::AfterPromotion), None) => During::AfterPromotion,
            (Some(Word::Background) | None, None) => During::Background,
        }
    }

    /// Refuses a comparison where there are not two sides to compare, or that would be begun twice: each
    /// begin has a chance of a false alarm.
    pub(crate) fn comparison(
        &self,
        faults: &mut Faults<'_>,
        during: &During,
        has_objective: bool,
        path: &Path,
    ) {
        let share = |step: &usize| self.steps.get(*step).map_or(Weight::FULL, |step| step.weight);
        let is_both = |step: &usize| Weight::ZERO < share(step) && share(step) < Weight::FULL;
        let alone = match during {
            During::Background => return,
            During::BeforeTraffic => true,
            During::AfterPromotion => !has_objective,
            During::Steps(steps) => {
                if steps.windows(2).any(|pair| pair[1] != pair[0] + 1) {
                    let message =
                        "a comparison gathers its evidence in steps that follow one another";
                    let help =
                        "name it in every step between, or write one comparison for each part";
                    faults.key(path, message, help);
                }
                let only_full = steps.iter().all(|step| share(step) == Weight::FULL);
                !(steps.iter().any(is_both) || only_full && has_objective)
            }
        };
        if alone {
            let message = "when this check is asked one side has all the traffic: there is nothing to \
                compare with";
            faults.key(path, message, "give it a `max`, or ask it in a step between 0 and 100 %");
        }
    }
}

/// Whether a check guards 100 % and the watch, if it can judge there.
pub(crate) fn covers_full(during: &During) -> bool {
    match during {
        During::Background | During::AfterPromotion => true,
        During::BeforeTraffic | During::Steps(_) => false,
    }
}

/// Refuses a rollout in which nothing guards all along.
pub(crate) fn suffices(faults: &mut Faults<'_>, analysis: &Analysis, checks: &Path) {
    let mut deciding = analysis.checks.iter().filter(|check| !check.dry_run).peekable();
    if deciding.peek().is_none() || deciding.any(|check| check.during.is_background()) {
        return;
    }
    let message = "every check is asked in a phase alone, so that between them nothing guards";
    let help = "let one be asked all along: leave its `during` out, and its name out of the steps";
    faults.key(checks, message, help);
}

/// Whether a check compares, and whether it has an objective, so that it can judge alone. A check whose
/// metrics are looked up later has no rule yet; what is written tells.
pub(crate) fn compares(check: &Check, settings: &serde_json::Value) -> (bool, bool) {
    let is = |name: &str| !settings[name].is_null();
    let limited = is("max") || is("min");
    let compares = if check.rule.is_empty() { !limited } else { odds::compares(&check.rule) };
    (compares, is("slo"))
}
