//! What accompanies a split: where testers go, and what is copied to the side under test.
//!
//! None of it moves a user. The record implies it; nothing of it is recorded, decided upon or judged.

use serde::{Deserialize, Serialize};

use crate::{SideName, Weight};

/// What is to accompany a split.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Company {
    /// The side that whoever matches a rule for testers gets.
    pub testers: SideName,
    /// What is copied; `None`: nothing.
    pub mirror: Option<Mirror>,
}

/// A copy of requests, whose answers nobody waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mirror {
    /// The side that gets the copies.
    pub to: SideName,
    /// How many of the requests are copied.
    pub share: Weight,
}

/// What was found to accompany a split, rule by rule; a provider that has nothing of the kind tells nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Accompanied {
    /// A rule for testers, and which side it gives everything to; `None` where it splits.
    Testers(Option<SideName>),
    /// A copy of ours, or the place where one is missing that the others have: then its share is 0.
    Mirror(Mirror),
}

// === impl Company ===

impl Company {
    /// Returns whether this is what was found.
    #[must_use]
    pub fn is_in(&self, found: &[Accompanied]) -> bool {
        let fits = |one: &Accompanied| match one {
            Accompanied::Testers(side) => side.as_ref() == Some(&self.testers),
            Accompanied::Mirror(mirror) => self.mirror.as_ref() == Some(mirror),
        };
        let copies = found.iter().any(|one| matches!(one, Accompanied::Mirror(_)));
        found.iter().all(fits) && (copies || self.mirror.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(percent: u32) -> Mirror {
        Mirror { to: "green".into(), share: Weight::from_percent(percent).unwrap() }
    }

    #[test]
    fn what_is_missing_in_one_rule_is_missing() {
        let wish = Company { testers: "green".into(), mirror: Some(mirror(20)) };
        let testers = |side: &str| Accompanied::Testers(Some(side.into()));
        let copies = |percent| Accompanied::Mirror(mirror(percent));
        assert!(wish.is_in(&[testers("green"), copies(20)]));
        assert!(wish.is_in(&[copies(20), copies(20)]), "testers need no rule");
        assert!(!wish.is_in(&[testers("green")]));
        assert!(!wish.is_in(&[copies(20), copies(0)]));
        assert!(!wish.is_in(&[testers("blue"), copies(20)]));
        assert!(!wish.is_in(&[Accompanied::Testers(None), copies(20)]));
    }

    #[test]
    fn where_nothing_is_copied_nothing_of_ours_may_be_there() {
        let wish = Company { testers: "blue".into(), mirror: None };
        assert!(wish.is_in(&[]));
        assert!(wish.is_in(&[Accompanied::Testers(Some("blue".into()))]));
        assert!(!wish.is_in(&[Accompanied::Mirror(mirror(0))]));
    }
}
