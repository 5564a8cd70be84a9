//! The loop where a newer engine wrote the record: told once, read seldom, lowered on request, and
//! written back but for the word that it was.

use std::time::Duration;

use haldane_machine::{Effect, NewerDecision, newer};
use haldane_model::{EntryName, Header, Now, Outcome};

use super::{Command, Core, Notice};

/// How soon a lowering write is looked after again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Why an abort is refused where its word cannot be put into the record.
const UNWRITABLE: &str = "the share 0 was asked for once, but the newer engine's record cannot be written here, so that \
     nothing keeps the traffic back; abort with the newer engine";

// === impl Core ===

impl Core {
    /// Tells, once, that the record is a newer engine's.
    pub(super) fn tell_newer(&mut self, out: &mut Vec<Command>) {
        let is_newer = self.recording.newer().is_some();
        if is_newer && !self.told_newer {
            out.push(Command::Notice(Notice::NewerFormat));
        }
        self.told_newer = is_newer;
    }

    /// Decides on the header alone, where there is no more to read. Returns whether that was so.
    pub(super) fn turn_by_header(&mut self, now: Now, out: &mut Vec<Command>) -> bool {
        let Some((header, _)) = self.recording.newer() else { return false };
        let decision = newer(header, &self.seen);
        self.entries.forget_failures();
        self.wake_at = None;
        if decision.superseded {
            self.superseded(out);
        } else {
            self.perform_by_header(decision, now, out);
        }
        true
    }

    /// Lowering leaves at once; answers wait for the record.
    fn perform_by_header(&mut self, decision: NewerDecision, now: Now, out: &mut Vec<Command>) {
        for effect in decision.effects {
            if let Effect::Lower { to, mark } = effect {
                self.entries.lower(&decision.header.test, to, mark, now, out);
                self.wake_at = Some(now.mono + LOOK_AGAIN);
            }
        }
        let written = self.recording.set_header(decision.header);
        if written && !self.recording.is_settled() {
            return;
        }
        for (id, mut outcome) in decision.answers {
            if !written && outcome == Outcome::Accepted {
                outcome = Outcome::Refused(UNWRITABLE.to_owned());
            }
            self.requests.retain(|request| request.id != id);
            out.push(Command::Answer { id, outcome });
        }
    }

    /// Asks for the split alone, where there is no more to read. Returns whether that was so.
    pub(super) fn ask_by_header(&mut self, now: Now, out: &mut Vec<Command>) -> bool {
        let Some((header, _)) = self.recording.newer() else { return false };
        // What is asked of a readable record rests: a time that has passed would wake the loop for ever.
        self.questions.rest();
        self.looks.rest();
        self.entries.follow(&names(header), None);
        self.entries.ask(newer(header, &self.seen).read_every, now, out);
        true
    }
}

/// The traffic entries that a header names.
pub(super) fn names(header: &Header) -> Vec<EntryName> {
    header.entries.iter().map(|entry| entry.name.clone()).collect()
}
