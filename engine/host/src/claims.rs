//! Which rollout drives what: two of them on one route would undo each other's writes for ever.
//!
//! A rollout whose document names something else by now drives what it named before until it rests: its pinned plan
//! does. Nothing here asks whether it rests; whoever wants what it drove does.

use std::collections::BTreeMap;

use haldane_model::RolloutId;
use haldane_providers::{object_of, overlap};

/// Who drives what.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    by_target: BTreeMap<String, Claim>,
}

#[derive(Debug)]
struct Claim {
    owner: RolloutId,
    /// Whether its document says so; otherwise it did, and its attempt may go on.
    is_written: bool,
}

/// Somebody else's claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) owner: RolloutId,
    pub(crate) target: String,
    pub(crate) is_written: bool,
}

// === impl Claims ===

impl Claims {
    /// Claims what a rollout's document names. An error says who has a part of it: nothing is claimed then.
    pub(crate) fn take(&mut self, id: &RolloutId, targets: &[String]) -> Result<(), Taken> {
        for target in targets {
            if let Some(Claim { owner, is_written }) = self.of_others(id, target) {
                return Err(Taken {
                    owner: owner.clone(),
                    target: target.clone(),
                    is_written: *is_written,
                });
            }
        }
        self.leave(id);
        let claim = || Claim { owner: id.clone(), is_written: true };
        self.by_target.extend(targets.iter().map(|target| (target.clone(), claim())));
        Ok(())
    }

    /// Notes what a rollout in flight drives, whatever its document says; what somebody else has stays theirs.
    pub(crate) fn note_in_flight(&mut self, id: &RolloutId, targets: Vec<String>) {
        for target in targets {
            if self.of_others(id, &target).is_none() {
                let claim = || Claim { owner: id.clone(), is_written: false };
                self.by_target.entry(target).or_insert_with(claim);
            }
        }
    }

    /// Returns somebody else's claim of what may be this.
    fn of_others(&self, id: &RolloutId, target: &str) -> Option<&Claim> {
        let object = object_of(target);
        let near = self.by_target.range(object.to_owned()..);
        let mut near = near.take_while(|(other, _)| other.starts_with(object));
        let is_theirs =
            |(other, claim): &(&String, &Claim)| overlap(other, target) && claim.owner != *id;
        near.find(is_theirs).map(|(_, claim)| claim)
    }

    /// Notes that a rollout's document names nothing any more; what it drove is its own until it rests.
    pub(crate) fn leave(&mut self, id: &RolloutId) {
        for claim in self.by_target.values_mut().filter(|claim| claim.owner == *id) {
            claim.is_written = false;
        }
    }

    /// Frees what a rollout drove before, once it rests.
    pub(crate) fn free_left(&mut self, id: &RolloutId) {
        self.by_target.retain(|_, claim| claim.owner != *id || claim.is_written);
    }

    /// Frees everything of a rollout that is gone.
    pub(crate) fn free(&mut self, id: &RolloutId) {
        self.by_target.retain(|_, claim| claim.owner != *id);
    }

    /// Forgets everything: whoever comes first has it then.
    pub(crate) fn clear(&mut self) {
        self.by_target.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> RolloutId {
        RolloutId::new("shop", name)
    }

    fn targets(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_in_flight_has_its_route_before_any_document_is_read() {
        let mut claims = Claims::default();
        claims.note_in_flight(&id("first"), targets(&["a"]));
        assert_eq!(claims.take(&id("first"), &targets(&["b"])), Ok(()));
        let taken = Taken { owner: id("first"), target: "a".to_owned(), is_written: false };
        assert_eq!(claims.take(&id("second"), &targets(&["a"])), Err(taken));
        claims.note_in_flight(&id("second"), targets(&["b"]));
        let taken = Taken { owner: id("first"), target: "b".to_owned(), is_written: true };
        assert_eq!(claims.take(&id("third"), &targets(&["b"])), Err(taken), "who has it keeps it");
    }

    #[test]
    fn what_a_rollout_drove_is_its_own_until_it_is_said_to_rest() {
        let mut claims = Claims::default();
        assert_eq!(claims.take(&id("first"), &targets(&["a", "b"])), Ok(()));
        let taken = |target: &str, is_written| Taken {
            owner: id("first"),
            target: target.to_owned(),
            is_written,
        };
        assert_eq!(claims.take(&id("second"), &targets(&["c", "b"])), Err(taken("b", true)));
        assert_eq!(claims.take(&id("third"), &targets(&["c"])), Ok(()), "nothing was claimed");
        // Its document names something else by now; its attempt goes on where it began.
        assert_eq!(claims.take(&id("first"), &targets(&["a"])), Ok(()));
        assert_eq!(claims.take(&id("second"), &targets(&["b"])), Err(taken("b", false)));
        claims.free_left(&id("first"));
        assert_eq!(claims.take(&id("second"), &targets(&["b"])), Ok(()));
        assert_eq!(claims.take(&id("third"), &targets(&["a"])), Err(taken("a", true)));
        // It is deleted, and its traffic on the way back.
        claims.leave(&id("first"));
        assert_eq!(claims.take(&id("third"), &targets(&["a"])), Err(taken("a", false)));
        claims.free(&id("first"));
        assert_eq!(claims.take(&id("third"), &targets(&["a"])), Ok(()));
    }

    #[test]
    fn one_target_that_is_written_in_two_ways_is_had_once() {
        let taken = |target: &str, is_written| {
            Err(Taken { owner: id("first"), target: target.to_owned(), is_written })
        };
        let mut claims = Claims::default();
        // As an engine before this one may have let both begin: the first one that is looked at has it.
        claims.note_in_flight(&id("first"), targets(&["route shop * v1"]));
        claims.note_in_flight(&id("second"), targets(&["route shop checkout v1"]));
        let mut take = |name: &str, target: &str| claims.take(&id(name), &targets(&[target]));
        assert_eq!(take("first", "route shop * v1"), Ok(()));
        assert_eq!(take("second", "route shop checkout v1"), taken("route shop checkout v1", true));
        assert_eq!(take("second", "route shop checkout v2"), Ok(()));
        assert_eq!(take("first", "route shop checkout v1"), Ok(()), "it may be written anew");
        assert_eq!(take("second", "route shop cart v1"), taken("route shop cart v1", false));
    }
}
