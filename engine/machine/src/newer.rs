//! A record that a newer engine wrote: nothing can be raised, but everything can be lowered.

use haldane_model::{Cause, Header, Mark, Seen, Verb, Weight};

use crate::Effect;

/// What an engine does with a record that it cannot read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewerDecision {
    /// The header to write back, with the rest as it was.
    pub header: Header,
    /// A lowering write, while one is asked for.
    pub effects: Vec<Effect>,
}

/// Decides on the header alone: an abort sets `lowered`, and while that is set everything goes to
/// the home side. The newer engine finds it as a rollback that its record does not know.
#[must_use]
pub fn newer(header: &Header, seen: &Seen) -> NewerDecision {
    let mut header = header.clone();
    let aborts = seen.requests.iter().any(|request| request.verb == Verb::Abort);
    if aborts {
        header.lowered = Some(Cause::AbortedByPerson);
    }
    let read = seen.entries.values().filter_map(|entry| entry.reading.as_ref().ok()?.mark);
    let number = read.map(|mark| mark.number).max().unwrap_or_default() + 1;
    let lower = Effect::Lower { to: Weight::ZERO, mark: Mark::rollback(number) };
    let lowered = seen.entries.values().all(|entry| {
        entry.reading.as_ref().is_ok_and(|read| read.range_of(&header.test).1 == Weight::ZERO)
    });
    let wanted = header.lowered.is_some() && (!lowered || seen.entries.is_empty());
    NewerDecision { effects: if wanted { vec![lower] } else { Vec::new() }, header }
}
