//! Names, shares, moments and other small things that tests speak of.

use std::{collections::BTreeMap, time::Duration};

use haldane_model::{Actor, CheckName, Finding, Health, Now, Stamp, Tick, Verdict, Weight, Window};
use jiff::Timestamp;

/// The side that serves before the rollout.
pub const BLUE: &str = "blue";
/// The side under test.
pub const GREEN: &str = "green";
/// The one traffic entry.
pub const EDGE: &str = "edge";
/// The one check.
pub const ERRORS: &str = "errors";
/// The one source.
pub const MAIN: &str = "main";
/// The number of the last decision that the record knows.
pub const KNOWN: u64 = 7;

/// A share in percent.
#[must_use]
pub fn percent(share: u32) -> Weight {
    Weight::from_percent(share).expect("tests ask for shares up to 100")
}

/// A span in seconds.
#[must_use]
pub fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A moment, this many seconds after the tests' beginning of time.
#[must_use]
pub fn at(count: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + count).expect("tests stay within the calendar")
}

/// This many seconds after the beginning, on both clocks.
#[must_use]
pub fn moment(count: u32) -> Now {
    Now { wall: at(i64::from(count)), mono: secs(u64::from(count)), boot: 1 }
}

/// A person.
#[must_use]
pub fn ada() -> Actor {
    Actor::Person("ada".to_owned())
}

/// A moment on all clocks.
#[must_use]
pub fn stamp(wall: Timestamp) -> Stamp {
    Stamp { wall, sources: BTreeMap::new() }
}

/// All endpoints are ready.
#[must_use]
pub fn ready() -> Health {
    Health::Ready { ready: 3, wanted: 3 }
}

/// What a check found.
#[must_use]
pub fn finding(check: &CheckName, verdict: Verdict, window: Window) -> Finding {
    Finding {
        check: check.clone(),
        verdict,
        value: None,
        limit: None,
        unit: String::new(),
        samples: None,
        window,
        message: None,
        compared: None,
    }
}

/// A tick at this moment whose interval counts.
#[must_use]
pub fn counting(now: Now) -> Tick {
    Tick { now, counting: true }
}
