//! What is sent: one JSON Patch that tests what it means and changes the weights and our mark. Pure.
//!
//! A raise also tests the version that was read, so that it loses against whatever was written since; a
//! lowering tests the structure alone. Every other byte of the object stays as it is.

use haldane_model::{Direction, Mark, MarkKind, SideName, Split, Weight};
use serde_json::{Value, json};

use super::{
    company::Escort,
    layout::{Layout, Rule, Target, annotation},
};

/// What is to be there.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) split: Split,
    pub(crate) direction: Direction,
    pub(crate) mark: Mark,
    /// The second side of the file.
    pub(crate) second: SideName,
}

// === impl Wish ===

impl Wish {
    /// Returns the weights of the first and of the second side; an error says why there are none.
    ///
    /// What else a rule names keeps its share: then the weights of the two sides add up to what they did.
    pub(crate) fn weights(&self, target: &Target, rule: &Rule) -> Result<[u64; 2], String> {
        let made = target.kind.representable(&self.split);
        let sum = match rule.others.is_empty() {
            true => target.kind.full,
            false => rule.pair.iter().map(|backend| backend.weight).sum(),
        };
        let full = u128::from(Weight::FULL.basis_points());
        let scaled = u128::from(made.share.basis_points()) * u128::from(sum);
        let own = u64::try_from(scaled / full).unwrap_or(u64::MAX);
        if self.direction == Direction::Raise {
            self.is_exact(target, rule, sum, scaled % full == 0 && (own > 0 || sum > 0))?;
            if own == 0 && self.split.share > Weight::ZERO {
                return Err(format!("{} is less than the weights can say", self.split.share));
            }
        }
        let rest = sum.saturating_sub(own);
        Ok(if self.split.side == self.second { [rest, own] } else { [own, rest] })
    }

    fn is_exact(&self, target: &Target, rule: &Rule, sum: u64, exact: bool) -> Result<(), String> {
        if exact {
            return Ok(());
        }
        let others: Vec<String> =
            rule.others.iter().map(|(name, weight)| format!("{name} ({weight})")).collect();
        Err(format!(
            "{} cannot be said by weights that add up to {sum}, and they must, for the share of {} to stay; \
             let the weights of the two sides add up to {}, or take the others out",
            self.split.share,
            others.join(", "),
            target.kind.full
        ))
    }

    /// Returns what a rollback takes off with the same patch: testers go back, and nothing is copied.
    pub(crate) fn ends(&self) -> Option<Escort> {
        let is_rollback = self.direction == Direction::Lower
            && self.mark.kind == MarkKind::Rollback
            && self.split.share == Weight::ZERO;
        let home = usize::from(self.split.side != self.second);
        is_rollback.then_some(Escort { testers: Some(home), mirror: None })
    }

    /// Whether an object has what is wished.
    pub(crate) fn is_in(&self, target: &Target, layout: &Layout) -> bool {
        let has = |rule: &Rule| {
            self.weights(target, rule) == Ok(rule.pair.each_ref().map(|backend| backend.weight))
        };
        layout.mark == Some(self.mark) && layout.fit().all(has)
    }

    /// Returns the operations; an error says which rule cannot have it.
    pub(crate) fn operations(
        &self,
        target: &Target,
        layout: &Layout,
    ) -> Result<Vec<Value>, String> {
        let mut operations = match self.direction {
            Direction::Raise => vec![unchanged(layout)],
            Direction::Lower => Vec::new(),
        };
        let mut weights = Vec::new();
        for rule in layout.fit() {
            let wanted =
                self.weights(target, rule).map_err(|why| format!("{}: {why}", rule.label))?;
            operations.extend(structure(rule));
            weights.extend(set(rule, wanted));
        }
        operations.extend(weights);
        let (key, mark) = (&target.mark_key, self.mark.to_string());
        if layout.annotated {
            operations.push(add(annotation(key), json!(mark)));
        } else {
            operations.push(test("/metadata/annotations", &Value::Null));
            operations.push(add("/metadata/annotations".to_owned(), json!({key: mark})));
        }
        Ok(operations)
    }
}

/// Returns operations that set everything to what it is: whether we may, and whether it is taken.
pub(crate) fn rehearsal(layout: &Layout) -> Vec<Value> {
    let as_it_is = |rule: &Rule| {
        let weights = rule.pair.each_ref().map(|backend| backend.weight);
        structure(rule).chain(set(rule, weights)).collect::<Vec<_>>()
    };
    layout.fit().flat_map(as_it_is).collect()
}

/// Returns the operation that takes our mark away.
pub(crate) fn unmark(target: &Target) -> Value {
    json!({"op": "remove", "path": annotation(&target.mark_key)})
}

/// Returns the test that nobody wrote since an object was read.
pub(crate) fn unchanged(layout: &Layout) -> Value {
    test("/metadata/resourceVersion", &json!(layout.resource_version))
}

pub(super) fn structure(rule: &Rule) -> impl Iterator<Item = Value> {
    let (path, value) = &rule.guard;
    let identities = rule.pair.iter().flat_map(|backend| {
        backend.identity.iter().map(|(at, value)| test(&format!("{}{at}", backend.path), value))
    });
    std::iter::once(test(path, value)).chain(identities)
}

/// `add` and not `replace`: a weight that is not written is there all the same.
pub(super) fn set(rule: &Rule, weights: [u64; 2]) -> impl Iterator<Item = Value> {
    let pair = rule.pair.iter().zip(weights);
    pair.map(|(backend, weight)| add(format!("{}/weight", backend.path), json!(weight)))
}

pub(super) fn test(path: &str, value: &Value) -> Value {
    json!({"op": "test", "path": path, "value": value})
}

pub(super) fn add(path: String, value: Value) -> Value {
    json!({"op": "add", "path": path, "value": value})
}
