//! What the controllers in use do: compare the last minute with a number, and count.

/// What became of the checks of one minute each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// Flagger: so many failures in the whole rollout, in a row or not.
    Total(u32),
    /// Argo Rollouts' `failureLimit`: more failures than this.
    MoreThan(u32),
    /// So many failures in a row.
    InRow(u32),
}

/// Counts failed checks towards a rollback.
#[derive(Clone, Copy, Debug)]
pub struct Counter {
    counting: Counting,
    failures: u32,
    row: u32,
}

// === impl Counter ===

impl Counter {
    /// Begins with no failure.
    #[must_use]
    pub fn new(counting: Counting) -> Self {
        Self { counting, failures: 0, row: 0 }
    }

    /// Counts one check and returns whether it rolls back. A missing answer is a failure, as in Flagger.
    pub fn count(&mut self, passed: bool) -> bool {
        if passed {
            self.row = 0;
            return false;
        }
        self.failures += 1;
        self.row += 1;
        match self.counting {
            Counting::Total(limit) => self.failures >= limit,
            Counting::MoreThan(limit) => self.failures > limit,
            Counting::InRow(limit) => self.row >= limit,
        }
    }
}
