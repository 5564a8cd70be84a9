//! Rollouts that would fight over one route.

use std::collections::{BTreeMap, BTreeSet};

use haldane_crds::{Diagnostic, Path};
use haldane_model::RolloutId;
use haldane_providers::{object_of, overlap};

/// Tells which rollouts drive what another one drives already, naming the first, and which are
/// written twice.
#[must_use]
pub fn collisions(rollouts: &[(RolloutId, Vec<String>)]) -> Vec<Diagnostic> {
    let mut owners: BTreeMap<&str, &RolloutId> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (id, targets) in rollouts {
        if !seen.insert(id) {
            let message = format!("the rollout {id} is written twice");
            let help = "give one of the two another name, or remove it";
            found.push(Diagnostic::error(&Path::of(&["metadata", "name"]), message).help(help));
            continue;
        }
        for target in targets {
            let object = object_of(target);
            let near = owners.range(object..).take_while(|(other, _)| other.starts_with(object));
            let mut theirs = near.filter(|(other, first)| **first != id && overlap(other, target));
            let Some((_, first)) = theirs.next() else {
                owners.insert(target, id);
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
