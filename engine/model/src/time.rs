//! Time, as an argument.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One look at the clocks: the wall's, the machine's monotonic one, and which boot that one belongs to.
///
/// Neither clock is trusted alone: walls are stepped by people and by NTP, and a monotonic clock
/// starts anew with the machine. See [`Now::since`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Now {
    /// The wall clock.
    pub wall: Timestamp,
    /// The monotonic clock, since an arbitrary origin within this boot.
    pub mono: Duration,
    /// Which boot `mono` counts in; two readings of different boots cannot be subtracted.
    pub boot: u64,
}

// === impl Now ===

impl Now {
    /// Returns the time that surely passed since `earlier`: the smaller of both clocks' answers,
    /// or zero where a clock went back or the machine was restarted.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Duration {
        if self.boot != earlier.boot {
            return Duration::ZERO;
        }
        let wall = self.wall.duration_since(earlier.wall);
        let wall = Duration::try_from(wall).unwrap_or(Duration::ZERO);
        wall.min(self.mono.saturating_sub(earlier.mono))
    }

    /// Returns a moment later on both clocks.
    #[must_use]
    pub fn after(&self, wait: Duration) -> Self {
        Self { wall: later(self.wall, wait), mono: self.mono + wait, boot: self.boot }
    }
}

/// Adds a duration to a wall time, saturating at the end of time.
fn later(wall: Timestamp, wait: Duration) -> Timestamp {
    wall.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// Returns how long to wait after so many failures in a row: `first` after none, twice that after one, up to `most`.
#[must_use]
pub fn back_off((first, most): (Duration, Duration), failures: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(failures)).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_back_off_doubles_until_it_is_as_long_as_it_gets() {
        let bounds = (Duration::from_millis(500), Duration::from_secs(4));
        let waits = [0, 1, 2, 3, 4, 100, u32::MAX].map(|failures| back_off(bounds, failures));
        assert_eq!(waits.map(|wait| wait.as_millis()), [500, 1000, 2000, 4000, 4000, 4000, 4000]);
    }

    fn at(wall: i64, mono: u64, boot: u64) -> Now {
        Now { wall: Timestamp::from_second(wall).unwrap(), mono: Duration::from_secs(mono), boot }
    }

    #[test]
    fn time_passed_is_what_both_clocks_agree_on() {
        let check = |now: Now, earlier: Now, secs| {
            assert_eq!(now.since(&earlier), Duration::from_secs(secs), "{now:?} {earlier:?}");
        };
        check(at(110, 10, 1), at(100, 0, 1), 10);
        check(at(3_700, 10, 1), at(100, 0, 1), 10);
        check(at(105, 10, 1), at(100, 0, 1), 5);
        check(at(90, 10, 1), at(100, 0, 1), 0);
        check(at(110, 10, 2), at(100, 0, 1), 0);
        check(at(110, 0, 1), at(100, 10, 1), 0);
    }
}
