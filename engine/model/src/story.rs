//! The journal's nouns: what was found, and what was decided because of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Actor, Cause, CheckName, Reason, Revision, State, Verdict, Weight, Window};

/// What one look of one check found, in numbers that people can follow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The check.
    pub check: CheckName,
    /// What the judge says.
    pub verdict: Verdict,
    /// The value that was judged.
    pub value: Option<f64>,
    /// The limit, as written for people: `max 1 %`.
    pub limit: Option<String>,
    /// The unit of `value`, for people: `%`, `s`, or empty.
    pub unit: String,
    /// How many requests, or other samples, the value rests on.
    pub samples: Option<f64>,
    /// What was looked at, in the source's time.
    pub window: Window,
    /// The rest in a sentence: a source's own error message, or how the verdict came about.
    pub message: Option<String>,
    /// What it was compared with, where two sides are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared: Option<Compared>,
}

/// What the side under test was compared with, and how surely it is worse.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// The serving side's value; at 100 % the one it had when it was last compared.
    pub serving: Option<f64>,
    /// The odds that the side under test is worse than tolerated, to one.
    pub odds: f64,
    /// The odds at which this check alone rolls back.
    pub odds_needed: f64,
    /// Whether a step is held for a reason that time does not answer: both sides fail, the traffic does
    /// not arrive, or much speaks against the side under test. No policy passes such a step.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub holds: bool,
    /// How much more traffic is needed until the step can be cleared; an estimate for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed: Option<Needed>,
}

/// How much more traffic a comparison needs, if both sides are alike.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Needed {
    /// Requests of the side under test.
    pub requests: f64,
    /// How long they take at the present traffic, in seconds, where that is known.
    pub secs: Option<f64>,
}

/// One decision: what happened, to what, because of what, by whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// The identity, growing by one within a rollout.
    pub id: u64,
    /// When it was decided, on the engine's wall clock.
    pub at: Timestamp,
    /// In which attempt.
    pub attempt: u32,
    /// The revision under test.
    pub revision: Option<Revision>,
    /// The step under way.
    pub step: Option<usize>,
    /// The share asserted after it.
    pub weight: Weight,
    /// The state before.
    pub before: State,
    /// The state after.
    pub after: State,
    /// What happened.
    pub reason: Reason,
    /// Why the traffic goes back, where it does.
    pub cause: Option<Cause>,
    /// Who did it.
    pub actor: Actor,
    /// The measurement behind it.
    pub finding: Option<Finding>,
    /// The rest, in words.
    pub detail: Option<String>,
}
