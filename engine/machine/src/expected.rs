//! What a step was expected to need, beside what it needed. For people: it decides nothing.

use std::time::Duration;

use haldane_model::{Expected, Finding, Needed, Place};

use crate::turn::Turn;

/// Notes the first estimate of the step that bakes; of several checks, of the one that needs most.
pub(crate) fn note(turn: &mut Turn<'_>) {
    let Place::Baking { baked, .. } = turn.record.place else { return };
    if turn.record.expected.is_some() {
        return;
    }
    let told = turn.guards().into_iter().filter_map(|(_, seen)| {
        let finding = &seen?.finding;
        Some((finding.compared?.needed?, finding))
    });
    let most = told.max_by(|(one, _), (other, _)| one.requests.total_cmp(&other.requests));
    let Some((Needed { requests, secs }, finding)) = most else { return };
    turn.record.expected = Some(Expected {
        check: finding.check.clone(),
        requests: whole(requests),
        time: secs.and_then(|secs| Duration::try_from_secs_f64(secs).ok()),
        samples: whole(finding.samples.unwrap_or_default()),
        baked,
    });
}

/// Says what the step took beside what was expected, where something was.
pub(crate) fn beside(turn: &Turn<'_>) -> Option<String> {
    let expected = turn.record.expected.as_ref()?;
    let Place::Baking { baked, .. } = turn.record.place else { return None };
    let finding: &Finding = &turn.verdict(&expected.check)?.finding;
    let took = whole(finding.samples?).saturating_sub(expected.samples);
    let time = span(baked.saturating_sub(expected.baked));
    let about = expected.requests;
    let told = expected.time.filter(|time| time.as_secs() > 0);
    let within = told.map(|time| format!(" in {}", span(time))).unwrap_or_default();
    Some(format!(
        "{} took {took} requests in {time}, about {about}{within} were expected",
        expected.check
    ))
}

fn whole(number: f64) -> u64 {
    // Saturates, and makes nothing of NaN.
    number.ceil() as u64
}

/// `36m04s`, `12s`, `1h00m`: whole seconds, and whole minutes from an hour on.
fn span(time: Duration) -> String {
    let secs = time.as_secs();
    match (secs / 3_600, secs / 60 % 60, secs % 60) {
        (0, 0, secs) => format!("{secs}s"),
        (0, minutes, secs) => format!("{minutes}m{secs:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}
