//! Decisions in sentences: what, when, because of which check, value, limit and samples, by whom.

use haldane_judge::sentence as finding_sentence;
use haldane_model::{Actor, JournalEntry, Reason};

/// Says one decision in a sentence.
#[must_use]
pub fn sentence(entry: &JournalEntry) -> String {
    let mut words = headline(entry);
    if let Some(finding) = &entry.finding {
        words.push_str(": ");
        words.push_str(&finding_sentence(finding));
    }
    if let Some(detail) = &entry.detail
        && !detail.is_empty()
        && !is_told(&words, entry, detail)
    {
        words.push_str(if entry.finding.is_some() { "; " } else { ": " });
        words.push_str(detail);
    }
    match &entry.actor {
        Actor::Engine => {}
        Actor::Person(_) | Actor::Alert(_) | Actor::Policy(_) => {
            words.push_str(&format!(" (by {})", entry.actor));
        }
    }
    words
}

/// Whether a detail only says once more what the finding said.
fn is_told(words: &str, entry: &JournalEntry, detail: &str) -> bool {
    let Some(finding) = &entry.finding else { return false };
    let message = finding.message.as_deref().unwrap_or_default();
    words.ends_with(message) && detail == format!("{}: {message}", finding.check)
}

/// Says a decision with its time, for a journal that people read.
#[must_use]
pub fn line(entry: &JournalEntry) -> String {
    let at = entry.at.strftime("%Y-%m-%d %H:%M:%S").to_string();
    format!("{at}Z  {:<18} {}", entry.reason.code(), sentence(entry))
}

/// Answers "why was this rolled back?" from the entry that began the rollback.
#[must_use]
pub fn why_rolled_back(entry: &JournalEntry) -> String {
    let at = entry.at.strftime("%H:%M:%S").to_string();
    let what = match &entry.revision {
        Some(revision) => format!("revision {revision}"),
        None => "the new revision".to_owned(),
    };
    let step = entry.step.map_or_else(String::new, |step| format!(" in step {}", step + 1));
    format!("{what} was rolled back at {at}Z{step}: {}", sentence(entry))
}

fn headline(entry: &JournalEntry) -> String {
    let revision = entry.revision.as_ref().map_or("?", |revision| revision.as_str());
    let step = entry.step.map_or_else(|| "?".to_owned(), |step| (step + 1).to_string());
    match entry.reason {
        Reason::Adopted => "the split was taken over".to_owned(),
        Reason::Started => format!("attempt {} of {revision} began", entry.attempt),
        Reason::GateAsked => format!("step {step} is done, the next one waits for its gates"),
        Reason::GateOpened => "the gates are open".to_owned(),
        Reason::StepConfirmed => format!("{} confirmed", entry.weight),
        Reason::StepPassed => format!("step {step} is done"),
        Reason::AwaitingPass => format!("step {step} waits for a Pass"),
        Reason::Resumed => "resumed".to_owned(),
        Reason::Retried => format!("{revision} is tried again"),
        Reason::PromotedByPerson => format!("step {step} was promoted"),
        Reason::EvidenceWaived => format!("the evidence of step {step} was waived"),
        Reason::MaxBakeReached => format!("the longest bake of step {step} passed"),
        Reason::Promoted => format!("{revision} has all traffic"),
        Reason::WatchEnded => "the watch is over".to_owned(),
        Reason::Undone => "an undo was asked for".to_owned(),
        Reason::Reverted => "at rest".to_owned(),
        Reason::AlertResolved => "the alert is resolved".to_owned(),
        Reason::Deleted => "the rollout was deleted".to_owned(),
        Reason::TookOver => "this engine took over".to_owned(),
        Reason::Breach => "a breach".to_owned(),
        Reason::CanaryLost => "the side under test vanished".to_owned(),
        Reason::AlertAbort => "an alert asked for a rollback".to_owned(),
        Reason::AbortedByPerson => "an abort was asked for".to_owned(),
        Reason::OwnLoweringFound => "a rollback of our own was found".to_owned(),
        Reason::RevisionChanged => "another revision appeared".to_owned(),
        Reason::RolledBack => "the traffic is back".to_owned(),
        Reason::RollbackBlocked => "the rollback waits".to_owned(),
        Reason::RollbackImpossible => "a rollback is not possible".to_owned(),
        Reason::LowerFailing => "the write that puts the traffic back fails".to_owned(),
        Reason::Conflicted => "others write to the split".to_owned(),
        Reason::ProviderRefused => "the provider refuses".to_owned(),
        Reason::DeadlineReached => "the progress deadline passed".to_owned(),
        Reason::GateExpired => "a gate expired".to_owned(),
        Reason::Inconclusive => "too many looks were inconclusive".to_owned(),
        Reason::PausedByPerson => "paused".to_owned(),
        Reason::AlertPause => "an alert paused the rollout".to_owned(),
        Reason::AlertBlock => "an alert blocks".to_owned(),
        Reason::NoData => "no data, held".to_owned(),
        Reason::SourceError => "a source does not answer, held".to_owned(),
        Reason::ProviderUnreadable => "the split cannot be read".to_owned(),
        Reason::ShareOff => "the measured share is off".to_owned(),
        Reason::NotReady => "not ready".to_owned(),
        Reason::RevisionUnknown => "a revision is not known".to_owned(),
        Reason::HomeChanged => "the serving side was changed".to_owned(),
        Reason::HomeDead => "the serving side is dead".to_owned(),
        Reason::GateClosed => "a gate is closed".to_owned(),
        Reason::LeaseUnsure => "the lease is unsure".to_owned(),
        Reason::NewerFormat => "the record was written by a newer engine".to_owned(),
        Reason::RaiseUndone => "the share was raised by others and is put back".to_owned(),
        Reason::LoweredByOther => "the share was lowered by others".to_owned(),
        Reason::WriteFailed => "a write failed and is tried again".to_owned(),
        Reason::CheckFailed => "a check failed".to_owned(),
        Reason::WatchCut => "the watch ends early".to_owned(),
        Reason::SplitRefused => "the split found is refused".to_owned(),
        Reason::SpecInvalid => "what is written cannot be used".to_owned(),
        Reason::PlanChanged => "what is written changed".to_owned(),
        Reason::RequestRefused => "a request was refused".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use haldane_model::{Finding, State, Verdict, Weight, Window};
    use jiff::Timestamp;

    use super::*;

    fn silence() -> JournalEntry {
        let at = Timestamp::UNIX_EPOCH;
        let finding = Finding {
            check: "errors".into(),
            verdict: Verdict::SourceError,
            value: None,
            limit: None,
            unit: String::new(),
            samples: None,
            window: Window { begin: at, end: at },
            message: Some("connection refused".to_owned()),
            compared: None,
        };
        JournalEntry {
            id: 1,
            at,
            attempt: 1,
            revision: None,
            step: None,
            weight: Weight::ZERO,
            before: State::Baking,
            after: State::Baking,
            reason: Reason::SourceError,
            cause: None,
            actor: Actor::Engine,
            finding: Some(finding),
            detail: Some("errors: connection refused".to_owned()),
        }
    }

    #[test]
    fn what_the_finding_said_is_not_said_twice() {
        let mut entry = silence();
        let once = sentence(&entry);
        assert_eq!(once.matches("connection refused").count(), 1, "{once}");
        entry.detail = Some("p99: connection refused".to_owned());
        assert_eq!(sentence(&entry).matches("connection refused").count(), 2);
    }
}
