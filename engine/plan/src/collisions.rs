//! Rollouts that would fight over one route.

use haldane_crds::{Diagnostic, Path};
use haldane_model::RolloutId;

/// Tells which rollouts drive what another one drives already, naming the first, and which are
/// written twice.
#[must_use]
pub fn collisions(rollouts: &[(RolloutId, Vec<String>)]) -> Vec<Diagnostic> {
    let mut owners: Vec<(&str, &RolloutId)> = Vec::new();
    let mut found = Vec::new();
    for (at, (id, targets)) in rollouts.iter().enumerate() {
        if rollouts[..at].iter().any(|(other, _)| other == id) {
            let message = format!("the rollout {id} is written twice");
            let help = "give one of the two another name, or remove it";
            found.push(Diagnostic::error(&Path::of(&["metadata", "name"]), message).help(help));
            continue;
        }
        for target in targets {
            let is_theirs = |(other, first): &&(&str, &RolloutId)| {
                *first != id && haldane_providers::overlap(other, target)
            };
            let Some((_, first)) = owners.iter().find(is_theirs) else {
                owners.push((target, id));
                continue;
            };
            let message =
                format!("{id} drives `{target}`, which the rollout {first} drives already");
            let help =
                "one route has one rollout: remove one of the two, or give it a route of its own";
            found.push(Diagnostic::error(&Path::of(&["spec", "traffic"]), message).help(help));
        }
    }
    found
}
