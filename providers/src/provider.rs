//! The seam of the providers: what each promises, and how it may fail.
//!
//! A provider reports facts and performs single writes. It never decides, never retries on its own,
//! and never writes unasked.

use std::time::Duration;

use futures::{
    FutureExt,
    future::{BoxFuture, ready},
    stream::BoxStream,
};
use haldane_model::{Acknowledged, Company, Direction, Mark, Reading, SideName, Split, Weight};
use serde_json::Value;

/// What a provider can do.
#[derive(Clone, Copy, Debug)]
pub struct Capabilities {
    /// The smallest change of a share, in basis points.
    pub granularity: u16,
    /// The best level at which it acknowledges.
    pub acknowledged: Acknowledged,
    /// How long a write takes to settle after it is acknowledged.
    pub settling: Duration,
    /// After how long a write has surely landed or failed.
    pub write_deadline: Duration,
    /// Whether writes carry our mark, so that `read` knows our own rollback.
    pub signed: bool,
    /// Whether requests are split one by one; otherwise connections are.
    pub layer7: bool,
    /// Whether a user stays with a side.
    pub sticky: bool,
    /// Whether it can mirror traffic.
    pub mirroring: bool,
}

/// What was found before the first write, to be given back by [`TrafficProvider::release`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The provider's own JSON.
    pub settings: Value,
    /// What a person should know though it is no error, one sentence each.
    pub warnings: Vec<String>,
}

/// Which side is on trial and which one serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles {
    /// The side on trial.
    pub test: SideName,
    /// The other.
    pub home: SideName,
}

/// Why a provider could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Try again: it did not answer, or not in time. The write may have landed.
    #[error("{0}")]
    Unavailable(String),
    /// Read again: someone else wrote in between.
    #[error("{0}")]
    Conflict(String),
    /// A person is needed: what is asked cannot be done as things are.
    #[error("{0}")]
    Invalid(String),
    /// Some parts have it, the others did not answer.
    #[error("{done} of {of} have it: {message}")]
    Partial {
        /// How many have it.
        done: usize,
        /// How many there are.
        of: usize,
        /// What the others said.
        message: String,
    },
}

/// A way to move traffic between two sides.
///
/// Every call ends by itself within the provider's write deadline.
pub trait TrafficProvider: Send + Sync + 'static {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;
    /// Proves that everything it needs is in place, and changes nothing.
    fn preflight(&self) -> BoxFuture<'_, Result<Snapshot, Error>>;
    /// Returns the nearest split it can make: never more than asked for `split.side`, except all.
    fn representable(&self, split: &Split) -> Split;
    /// Tells what is in force now.
    fn read(&self) -> BoxFuture<'_, Result<Reading, Error>>;
    /// Makes a split, and signs it. Safe to repeat. A lowering write takes the shortest way. A raise
    /// over the mark of a newer rollback ([`Mark::yields_to`]) is a conflict, as far as the medium can
    /// tell, and changes nothing.
    fn write(
        &self,
        split: Split,
        direction: Direction,
        mark: Mark,
    ) -> BoxFuture<'_, Result<(), Error>>;
    /// Proves that so much could be copied to either side, and changes nothing; asked before a rollout
    /// starts that has a step which mirrors.
    fn rehearse_mirror(&self, share: Weight) -> BoxFuture<'_, Result<(), Error>> {
        let why = format!("a mirror of {share} cannot be: this provider copies nothing");
        ready(Err(Error::Invalid(why))).boxed()
    }
    /// Makes what accompanies the split, where that is not so already. Safe to repeat; moves no user, and
    /// signs nothing. Over the mark of a newer rollback ([`Mark::yields_to`]), and where somebody wrote
    /// meanwhile, it is a conflict and changes nothing. What is on is taken off again by a lowering write
    /// to 0 under the mark of a rollback, with the same write, and that never fails because of it.
    fn accompany(&self, company: Company, mark: Mark) -> BoxFuture<'_, Result<(), Error>> {
        let (_, _) = (company, mark);
        ready(Ok(())).boxed()
    }
    /// Cleans up after a promotion: testers' rules, mirrors. Safe to repeat.
    fn finish(&self, roles: Roles) -> BoxFuture<'_, Result<(), Error>>;
    /// Takes everything of ours but the weights away again. Safe to repeat.
    fn release(&self, snapshot: Snapshot) -> BoxFuture<'_, Result<(), Error>>;
    /// Wakes whoever listens when something changed outside; may be empty.
    fn changes(&self) -> BoxStream<'static, ()>;
}
