//! Several processes, one target: all are asked at once, and their answers become one.
//!
//! One that does not answer never hides the others, and never delays them past its deadline.

use std::time::Duration;

use futures::future::join_all;
use haldane_model::{Acknowledged, Health, Mark, Part, Reading, SideName, Weight};

use super::{
    client::{self, Address, Fault},
    stat,
};
use crate::Error;

/// What one process has.
#[derive(Clone, Debug)]
pub(super) struct Look {
    /// The second side's share.
    pub(super) share: Weight,
    /// Our signature.
    pub(super) mark: Option<Mark>,
    /// The health of the first and of the second side.
    pub(super) health: [Health; 2],
    /// Whether the share is in force as it was set.
    pub(super) settled: bool,
    /// The second side's share among the servers that can take traffic, where that may differ.
    pub(super) in_force: Option<Weight>,
}

/// What became of one process.
pub(super) type Each<T> = Vec<(Address, Result<T, Fault>)>;

/// Asks every process the same, and makes something of each answer.
pub(super) async fn every<T>(
    sockets: &[Address],
    commands: &[String],
    deadline: Duration,
    make: impl Fn(&[String]) -> Result<T, Fault>,
) -> Each<T> {
    let make = &make;
    join_all(sockets.iter().map(|address| async move {
        let answer = client::ask(address, commands, deadline).await;
        (address.clone(), answer.and_then(|answers| make(&answers)))
    }))
    .await
}

/// Makes one reading of what every process has; fails where none told anything.
pub(super) fn reading(second: &SideName, looks: Each<Look>) -> Result<Reading, Error> {
    let told: Vec<&Look> = looks.iter().filter_map(|(_, look)| look.as_ref().ok()).collect();
    let shares = || told.iter().map(|look| look.share);
    let (Some(lowest), Some(highest)) = (shares().min(), shares().max()) else {
        return Err(failure(&looks));
    };
    let health = |side: usize| stat::together(told.iter().map(|look| look.health[side]));
    Ok(Reading {
        side: second.clone(),
        lowest,
        highest,
        acknowledged: Acknowledged::Programmed,
        settled: told.iter().all(|look| look.settled),
        // The one that is furthest off: what one process gives is given.
        measured: told
            .iter()
            .filter_map(|look| Some((look.in_force?, look.share)))
            .max_by_key(|(in_force, share)| in_force.distance(*share))
            .map(|(in_force, _)| in_force),
        mark: told.iter().filter_map(|look| look.mark).max_by_key(|mark| (mark.number, mark.kind)),
        writer: None,
        health: (health(1), health(0)),
        company: Vec::new(),
        parts: looks.iter().map(part).collect(),
    })
}

fn part((address, look): &(Address, Result<Look, Fault>)) -> Part {
    let share = look.as_ref().map(|look| look.share).map_err(|fault| fault.why(address));
    Part { name: address.to_string(), share }
}

/// Makes one outcome of what became of a write. A rollback that one process has concerns them all.
pub(super) fn outcome(each: &Each<()>) -> Result<(), Error> {
    if each.iter().any(|(_, done)| matches!(done, Err(Fault::Overruled(_)))) {
        return Err(Error::Conflict(complaints(each)));
    }
    match each.iter().filter(|(_, done)| done.is_ok()).count() {
        done if done == each.len() => Ok(()),
        0 => Err(failure(each)),
        done => Err(Error::Partial { done, of: each.len(), message: complaints(each) }),
    }
}

/// Returns the error of a call that no process answered usefully.
pub(super) fn failure<T>(each: &Each<T>) -> Error {
    let hopeless = |(_, told): &(Address, Result<T, Fault>)| {
        told.as_ref().err().is_none_or(Fault::needs_person)
    };
    let message = complaints(each);
    if each.iter().all(hopeless) { Error::Invalid(message) } else { Error::Unavailable(message) }
}

/// Returns what is wrong with each process, in one line.
pub(super) fn complaints<T>(each: &Each<T>) -> String {
    let say = |(address, told): &(Address, Result<T, Fault>)| {
        told.as_ref().err().map(|fault| format!("{address}: {}", fault.why(address)))
    };
    each.iter().filter_map(say).collect::<Vec<_>>().join("; ")
}
