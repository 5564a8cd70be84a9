//! What is to be worked on, in two lanes: what has a record, and what begins.

use std::collections::{HashSet, VecDeque};

use haldane_model::RolloutId;

/// How many rollouts are worked on at once.
const AT_ONCE: usize = 32;
/// How many of which nothing is recorded yet, beside those.
const NEW_AT_ONCE: usize = 16;

/// What is to be worked on.
#[derive(Default)]
pub(super) struct Queue {
    waiting: VecDeque<RolloutId>,
    /// Those of which nothing is recorded yet: nobody who is in flight waits behind them.
    new: VecDeque<RolloutId>,
    known: HashSet<RolloutId>,
    running: HashSet<RolloutId>,
    new_running: HashSet<RolloutId>,
}

// === impl Queue ===

impl Queue {
    /// Adds one that is not waiting already.
    pub(super) fn add(&mut self, id: RolloutId, is_new: bool) {
        if self.known.insert(id.clone()) {
            if is_new { &mut self.new } else { &mut self.waiting }.push_back(id);
        }
    }

    /// Takes the first that nobody works on.
    pub(super) fn next(&mut self) -> Option<RolloutId> {
        let is_free = |id: &RolloutId| !self.running.contains(id) && !self.new_running.contains(id);
        let lanes = [
            (&mut self.waiting, self.running.len() < AT_ONCE, false),
            (&mut self.new, self.new_running.len() < NEW_AT_ONCE, true),
        ];
        for (lane, has_room, is_new) in lanes {
            let at = lane.iter().position(is_free).filter(|_| has_room);
            let Some(id) = at.and_then(|at| lane.remove(at)) else { continue };
            self.known.remove(&id);
            if is_new { &mut self.new_running } else { &mut self.running }.insert(id.clone());
            return Some(id);
        }
        None
    }

    /// Notes that nobody works on it any more.
    pub(super) fn done(&mut self, id: &RolloutId) {
        self.running.remove(id);
        self.new_running.remove(id);
    }

    /// Forgets what waits.
    pub(super) fn forget(&mut self) {
        self.waiting.clear();
        self.new.clear();
        self.known.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> RolloutId {
        RolloutId::new("shop", name)
    }

    #[test]
    fn what_has_a_record_never_waits_behind_what_begins() {
        let mut queue = Queue::default();
        (0..100).for_each(|at| queue.add(id(&format!("new-{at}")), true));
        while queue.next().is_some() {}
        assert_eq!(queue.new_running.len(), NEW_AT_ONCE);
        queue.add(id("checkout"), false);
        assert_eq!(queue.next(), Some(id("checkout")));
        queue.done(&id("new-0"));
        assert_eq!(queue.next(), Some(id("new-16")), "the next that begins, when there is room");
    }

    #[test]
    fn one_is_worked_on_by_one_at_a_time_though_it_changed_lanes() {
        let mut queue = Queue::default();
        queue.add(id("checkout"), true);
        assert_eq!(queue.next(), Some(id("checkout")));
        queue.add(id("checkout"), false);
        queue.add(id("checkout"), false);
        assert_eq!(queue.next(), None, "it is being worked on");
        queue.done(&id("checkout"));
        assert_eq!(queue.next(), Some(id("checkout")));
        assert_eq!(queue.next(), None, "it was added once");
    }

    #[test]
    fn what_waits_is_forgotten_and_what_runs_is_not() {
        let mut queue = Queue::default();
        queue.add(id("one"), false);
        assert_eq!(queue.next(), Some(id("one")));
        queue.add(id("two"), true);
        queue.forget();
        queue.add(id("one"), false);
        assert_eq!(queue.next(), None);
    }
}
