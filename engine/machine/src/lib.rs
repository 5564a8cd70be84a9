//! The rollout state machine.
//!
//! [`decide`] is the only way a rollout moves. It is a pure function: total, infallible and silent,
//! so that the operator, the single process, the simulation and a replay all run the same one.
//!
//! ```text
//! Pending ─▶ Shifting ─▶ Baking ─▶ (Waiting ─▶) Shifting … ─▶ Promoting ─▶ Healthy
//!               └──────────┴────────── a breach, an abort ──────┴──▶ RollingBack ─▶ Degraded
//! ```
//!
//! Raising asks for everything (`raise.rs`), lowering for nothing (`lower.rs`). One turn runs in the
//! order of [`decide`]'s body; that order is what makes an abort win over a promotion.

mod bake;
mod blocks;
mod drift;
mod expected;
mod holds;
mod lower;
mod needs;
mod newer;
mod phases;
mod place;
mod raise;
mod requests;
mod turn;
mod view;

use std::time::Duration;

use haldane_model::{JournalEntry, Mark, Now, Record, Seen, Weight};

use self::turn::Turn;
pub use self::{
    needs::{Needs, needs},
    newer::{NewerDecision, newer},
    raise::may_still_raise,
};

/// Something the runtime must do; idempotent, and safe to repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Give the side under test more, once the record is won: entry after entry, outermost last.
    Raise {
        /// Its share.
        to: Weight,
        /// The signature of the write.
        mark: Mark,
    },
    /// Give the side under test less: everywhere at once, whatever the record answers.
    Lower {
        /// Its share.
        to: Weight,
        /// The signature of the write.
        mark: Mark,
    },
    /// Clean up after the promotion, once the record is won.
    Finish,
    /// Take away everything of ours but the weights; the rollout is gone.
    Release,
}

/// How much a decision changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Nothing that needs to be remembered.
    Nothing,
    /// Time passed or evidence grew: to be written within 15 s.
    Progress,
    /// Something was decided: to be written now.
    Decided,
}

/// The outcome of one turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The record to swap in. Its version is still the one that was decided upon.
    pub record: Record,
    /// What was decided, for the journal, in order.
    pub entries: Vec<JournalEntry>,
    /// What to do, in order.
    pub effects: Vec<Effect>,
    /// After how long to look again if nothing else happens first; `None` only where nothing is
    /// left to do here.
    pub wake_in: Option<Duration>,
    /// How much changed.
    pub change: Change,
    /// Whether another engine has taken over: record nothing, do nothing.
    pub superseded: bool,
    /// Whether the rollout is gone, and its record with it.
    pub gone: bool,
}

/// Decides what happens next.
///
/// The plan that binds is the one in the record; what is written now matters at rest alone. Deciding
/// twice on the same look changes nothing the second time.
#[must_use]
pub fn decide(record: &Record, seen: &Seen, now: Now) -> Decision {
    let mut turn = Turn::new(record, seen, now);
    if turn.is_superseded() {
        return turn.stop();
    }
    turn.take_over();
    turn.heal_clock();
    turn.heed_header();
    if place::is_rolling_back(&turn.record) {
        place::rolling_back(&mut turn);
        requests::refuse_stale(&mut turn);
        holds::note(&mut turn);
        requests::answer_while_rolling_back(&mut turn);
        return turn.finish();
    }
    requests::refuse_stale(&mut turn);
    if !lower::look_for_cause(&mut turn) {
        drift::correct(&mut turn);
        holds::lift(&mut turn);
        holds::put_on(&mut turn);
        requests::note_waivers(&mut turn);
        blocks::compute(&mut turn);
        bake::count(&mut turn);
        expected::note(&mut turn);
        place::advance(&mut turn);
    }
    phases::turn_over(&mut turn);
    turn.finish()
}
