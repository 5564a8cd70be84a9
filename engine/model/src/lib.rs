//! The vocabulary of progressive delivery: what a rollout is, in plain data.
//!
//! Every other crate speaks in these types and this crate speaks to none of them. There is no I/O
//! here, no async and no clock. `serde` is derived so that the runtime can encode a [`Record`] and
//! the API can show one; the envelope and its versions belong to the runtime.

mod company;
mod evidence;
mod name;
mod plan;
mod reason;
mod record;
mod request;
mod sample;
mod seen;
mod split;
mod story;
mod time;
mod verdict;
mod weight;

pub use self::{
    company::{Accompanied, Company, Mirror},
    evidence::{Evidence, Thought},
    name::{
        AlertName, CheckName, EntryName, GateName, HoldReason, RequestId, Revision, RolloutId,
        SideName, SourceName,
    },
    plan::{
        AlertAction, AlertRule, Check, During, Entry, Follow, Gap, GapPolicy, Gate, GateKind,
        Limits, OnDeadline, OnExpired, OnInconclusive, Plan, Policies, Side, Source, Step,
    },
    reason::{Block, Cause, Reason, Severity},
    record::{
        Alert, Expected, Exposure, Ground, Header, HeaderEntry, Hold, HoldKind, Outcome,
        PendingCause, Place, Record, Stamp, State, Tick, Waiver, WaiverKind,
    },
    request::{Actor, Request, Verb},
    sample::{Answer, Count, CountWindow, Counts, Sample},
    seen::{
        AlertSeen, CheckSeen, EntrySeen, GateAnswer, Health, LeaseSeen, Seen, SideSeen, SpecSeen,
        Unreadable, WriteSeen,
    },
    split::{Acknowledged, Direction, Mark, MarkKind, Part, Reading, Split},
    story::{Compared, Finding, JournalEntry, Needed},
    time::{Now, back_off},
    verdict::{Verdict, Window},
    weight::{Weight, WeightError},
};
