//! The system's clocks.
//!
//! The monotonic one begins with this process, so a restart never counts as time that passed.

use std::time::Instant;

use haldane_model::Now;
use haldane_runtime::ports::Clock;
use jiff::Timestamp;

/// The system's clocks, as one process sees them.
#[derive(Debug)]
pub struct SystemClock {
    begin: Instant,
    boot: u64,
}

// === impl SystemClock ===

impl SystemClock {
    /// Starts the monotonic clock of this process.
    #[must_use]
    pub fn start() -> Self {
        let wall = u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or_default();
        Self { begin: Instant::now(), boot: wall ^ u64::from(std::process::id()).rotate_left(40) }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        Now { wall: Timestamp::now(), mono: self.begin.elapsed(), boot: self.boot }
    }
}
