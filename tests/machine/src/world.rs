//! A small world for the state machine: one record, one look and one moment, in any place.
//!
//! [`World::at`] builds a rollout that is calmly where one wants it; every method changes one fact.
//! Nothing here decides: [`World::turn`] asks the machine. It never reads a clock.

mod facts;
mod nouns;
mod place;
mod plan;
mod told;

use std::sync::Arc;

use haldane_machine::{Decision, decide};
use haldane_model::{EntryName, LeaseSeen, Now, Plan, Record, Seen, SpecSeen, Verdict};

pub use self::{
    nouns::{
        BLUE, EDGE, ERRORS, GREEN, KNOWN, MAIN, ada, at, counting, finding, moment, percent, ready,
        secs, stamp,
    },
    place::Column,
    plan::{check, external, manual, plan},
    told::Told,
};

/// A record, a look and a moment.
#[derive(Clone, Debug)]
pub struct World {
    /// What is remembered.
    pub record: Record,
    /// What is seen.
    pub seen: Seen,
    /// When.
    pub now: Now,
}

// === impl World ===

impl World {
    /// Builds a rollout that is calmly in this place: read as asserted, healthy, every check passing.
    #[must_use]
    pub fn at(column: Column) -> Self {
        Self::with(column, plan())
    }

    /// Like [`Self::at`], with another plan; its first two weights are those of Waiting, Shifting
    /// and Baking.
    #[must_use]
    pub fn with(column: Column, plan: Plan) -> Self {
        let now = moment(10_000);
        let plan = Arc::new(plan);
        let record = place::record(column, &plan, now);
        let mut world = Self { record, seen: Seen::default(), now };
        world.seen.lease = Some(LeaseSeen::Held { term: 1 });
        world.seen.spec = Some(SpecSeen::Valid {
            plan,
            paused: false,
            revision: None,
            named: false,
            adopt: false,
        });
        let share = world.record.asserted();
        let mark = world.record.marks.get(&EntryName::from(EDGE)).copied();
        // A rollback that read 0 for long is over: this one read it just now.
        let first = if column == Column::RollingBack { 9_999 } else { 9_000 };
        let world = world.reads(share, mark, first);
        let world = world.shows(BLUE, &["v1"]).shows(GREEN, &["v2"]);
        let world = world.health(BLUE, ready()).health(GREEN, ready());
        world.verdict(Verdict::Pass)
    }

    /// Decides.
    #[must_use]
    pub fn turn(&self) -> Decision {
        decide(&self.record, &self.seen, self.now)
    }

    /// Decides, and takes the record as won.
    #[must_use]
    pub fn won(&self) -> Self {
        let mut next = self.clone();
        next.record = self.turn().record;
        next.record.version += 1;
        next
    }

    /// Lets the record answer until nothing changes any more: the end of this look.
    #[must_use]
    pub fn settled(&self) -> Self {
        let mut world = self.clone();
        for _ in 0..8 {
            let next = world.won();
            if next.record.place == world.record.place {
                return next;
            }
            world = next;
        }
        panic!("eight turns on one look, and it moves still: {:?}", world.record.place)
    }

    /// Lets time pass on both clocks.
    #[must_use]
    pub fn later(mut self, count: u64) -> Self {
        self.now = self.now.after(secs(count));
        self
    }

    /// Changes anything.
    #[must_use]
    pub fn but(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Changes the pinned plan, and the written one alike.
    #[must_use]
    pub fn planned(mut self, change: impl FnOnce(&mut Plan)) -> Self {
        let pinned = self.record.plan.clone().or_else(|| self.written());
        let mut plan = (*pinned.expect("a plan is pinned or written")).clone();
        change(&mut plan);
        let plan = Arc::new(plan);
        if self.record.plan.is_some() {
            self.record.plan = Some(plan.clone());
        }
        if let Some(SpecSeen::Valid { plan: written, .. }) = &mut self.seen.spec {
            *written = plan;
        }
        self
    }

    /// Changes the written plan alone, as an edit does.
    #[must_use]
    pub fn edited(mut self, change: impl FnOnce(&mut Plan)) -> Self {
        if let Some(SpecSeen::Valid { plan, .. }) = &mut self.seen.spec {
            let mut edited = (**plan).clone();
            change(&mut edited);
            edited.hash = "1:b".into();
            *plan = Arc::new(edited);
        }
        self
    }

    fn written(&self) -> Option<Arc<Plan>> {
        match &self.seen.spec {
            Some(SpecSeen::Valid { plan, .. }) => Some(plan.clone()),
            Some(SpecSeen::Invalid { .. } | SpecSeen::Deleted | SpecSeen::NamespaceDeleted)
            | None => None,
        }
    }
}
