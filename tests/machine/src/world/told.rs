//! What a decision says, in the questions that tests ask.

use haldane_machine::{Decision, Effect};
use haldane_model::{Outcome, Reason, State, Weight};

/// Questions that tests ask of a decision.
pub trait Told {
    /// The reasons in its journal, in order.
    fn reasons(&self) -> Vec<Reason>;
    /// Whether it says this.
    fn says(&self, reason: Reason) -> bool;
    /// The state that it leads to.
    fn state(&self) -> State;
    /// The share that it raises to.
    fn raises(&self) -> Option<Weight>;
    /// The share that it lowers to.
    fn lowers(&self) -> Option<Weight>;
    /// Whether it begins or continues a rollback as it must: `Lower(0)` comes first.
    fn rolls_back(&self) -> bool;
    /// Why the last request was refused.
    fn refusal(&self) -> Option<&str>;
}

impl Told for Decision {
    fn reasons(&self) -> Vec<Reason> {
        self.entries.iter().map(|entry| entry.reason).collect()
    }

    fn says(&self, reason: Reason) -> bool {
        self.reasons().contains(&reason)
    }

    fn state(&self) -> State {
        self.record.state()
    }

    fn raises(&self) -> Option<Weight> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Raise { to, .. } => Some(*to),
            Effect::Lower { .. } | Effect::Finish | Effect::Release => None,
        })
    }

    fn lowers(&self) -> Option<Weight> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Lower { to, .. } => Some(*to),
            Effect::Raise { .. } | Effect::Finish | Effect::Release => None,
        })
    }

    fn rolls_back(&self) -> bool {
        let first = self.effects.first();
        self.state() == State::RollingBack
            && matches!(first, Some(Effect::Lower { to: Weight::ZERO, .. }))
    }

    fn refusal(&self) -> Option<&str> {
        self.record.requests.iter().rev().find_map(|(_, outcome)| match outcome {
            Outcome::Refused(why) => Some(why.as_str()),
            Outcome::Accepted => None,
        })
    }
}
