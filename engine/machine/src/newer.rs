//! A record that a newer engine wrote: nothing can be raised, but everything can be lowered.
//!
//! No verdict is looked at and nothing is asked but the split: what this engine cannot read may say that
//! the share is right as it is. Only a person's abort is obeyed.

use std::time::Duration;

use haldane_model::{
    Cause, Header, Health, LeaseSeen, Mark, MarkKind, Outcome, Request, RequestId, Seen, Verb,
    Weight,
};

use crate::Effect;

/// How often the split is read while nothing was asked.
const CALM: Duration = Duration::from_secs(5);

/// How often it is read while traffic goes back.
const CHANGING: Duration = Duration::from_millis(200);

/// What an engine does with a record that it cannot read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewerDecision {
    /// The header to write back, with the rest as it was.
    pub header: Header,
    /// A lowering write, while one is asked for.
    pub effects: Vec<Effect>,
    /// How requests are answered, once the header is written.
    pub answers: Vec<(RequestId, Outcome)>,
    /// How often the split is worth reading.
    pub read_every: Duration,
    /// Whether another engine has taken over: write nothing, do nothing.
    pub superseded: bool,
}

/// Decides on the header alone: an abort sets `lowered`, and while that is set everything goes to
/// the home side. The newer engine finds it as a rollback that its record does not know.
#[must_use]
pub fn newer(header: &Header, seen: &Seen) -> NewerDecision {
    let mut header = header.clone();
    if let Some(LeaseSeen::Other { .. }) = seen.lease {
        let (effects, answers) = (Vec::new(), Vec::new());
        return NewerDecision { header, effects, answers, read_every: CALM, superseded: true };
    }
    if seen.requests.iter().any(|request| request.verb == Verb::Abort) {
        header.lowered = header.lowered.or(Some(Cause::AbortedByPerson));
    }
    let answers = seen.requests.iter().map(|request| (request.id.clone(), outcome(request)));
    let lowers = header.lowered.is_some() && !reads_nothing(&header, seen);
    let effects = if lowers && !is_home_dead(&header, seen) {
        vec![Effect::Lower { to: Weight::ZERO, mark: mark(seen) }]
    } else {
        Vec::new()
    };
    let read_every = if lowers { CHANGING } else { CALM };
    NewerDecision { answers: answers.collect(), effects, header, read_every, superseded: false }
}

fn outcome(request: &Request) -> Outcome {
    match request.verb {
        Verb::Abort => Outcome::Accepted,
        Verb::Promote { .. }
        | Verb::Skip
        | Verb::Pause
        | Verb::Resume
        | Verb::Retry { .. }
        | Verb::Undo => Outcome::Refused(
            "a newer engine wrote the record, and this one obeys only an abort; run the newer engine"
                .to_owned(),
        ),
    }
}

/// Whether every entry, with every part, reads 0. What is not known may be anything.
fn reads_nothing(header: &Header, seen: &Seen) -> bool {
    header.entries.iter().all(|entry| {
        seen.entries.get(&entry.name).and_then(|seen| seen.reading.as_ref().ok()).is_some_and(
            |reading| {
                reading.silent_parts().next().is_none()
                    && reading.range_of(&header.test).1 == Weight::ZERO
            },
        )
    })
}

/// Whether the side that would get everything is known dead: then the write waits for its first
/// endpoint.
fn is_home_dead(header: &Header, seen: &Seen) -> bool {
    let mut readings = seen.entries.values().filter_map(|entry| entry.reading.as_ref().ok());
    readings.any(|reading| reading.health_of(&header.home) == Health::Down)
}

/// The signature: above every raise that is read, so that no engine takes it for a write that it knows.
/// Once it is read anywhere it stays the same.
fn mark(seen: &Seen) -> Mark {
    let read = seen.entries.values().filter_map(|entry| entry.reading.as_ref().ok()?.mark);
    let newest = read.max_by_key(|mark| (mark.number, mark.kind));
    match newest {
        Some(mark) if mark.kind == MarkKind::Rollback => mark,
        Some(mark) => Mark::rollback(mark.number + 1),
        None => Mark::rollback(1),
    }
}
