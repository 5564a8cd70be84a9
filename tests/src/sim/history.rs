//! What is written down of a history: its lines, what was broken, which faults it met, how it ended.

use super::{Ended, World, goal::current};

// === impl World ===

impl World {
    /// Whether things go wrong by chance now.
    #[must_use]
    pub fn stormy(&self) -> bool {
        !self.at_peace && self.now < self.peace_at
    }

    pub(super) fn calm(&mut self) {
        self.at_peace = true;
    }

    /// Writes a line of the history.
    pub fn log(&mut self, line: impl FnOnce() -> String) {
        if self.tracing {
            let at = self.now;
            self.trace.push(format!("{:>8}.{:03} {}", at / 1_000, at % 1_000, line()));
        }
    }

    /// Something promised was broken.
    pub fn break_claim(&mut self, what: String) {
        self.log(|| format!("BROKEN {what}"));
        self.violation.get_or_insert(what);
    }

    /// Returns what was broken.
    #[must_use]
    pub fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// Returns the history so far.
    #[must_use]
    pub fn trace(&self) -> &[String] {
        &self.trace
    }

    /// Returns how many inputs were handled.
    #[must_use]
    pub fn inputs(&self) -> u64 {
        self.inputs
    }

    /// Returns the journal as it is kept.
    pub fn journal(&self) -> impl Iterator<Item = &haldane_model::JournalEntry> {
        self.kept.journal.values()
    }

    /// Returns the record as it is kept.
    #[must_use]
    pub fn kept_record(&self) -> Option<&haldane_model::Record> {
        self.kept.record.as_ref()
    }

    /// Counts a fault where it meets the rollout: by what the youngest living process sees.
    pub(super) fn cover(&mut self, fault: &'static str) {
        if let Some(proc) = self.leader() {
            self.cover_call(proc, fault);
        }
    }

    /// Counts a fault that meets one process's call.
    pub(super) fn cover_call(&mut self, proc: usize, fault: &'static str) {
        let Some(core) = self.procs[proc].core.as_ref() else { return };
        let Some(record) = core.record() else { return };
        let state = record.state();
        let verdict = current(core);
        self.cover.note(state, fault, verdict);
    }

    /// Ends the history.
    #[must_use]
    pub fn end(mut self) -> Ended {
        let end = match (&self.violation, self.place()) {
            (Some(_), _) => "broken".to_owned(),
            (None, None) => "gone".to_owned(),
            (None, Some(place)) => format!("{:?}", place.state()),
        };
        *self.cover.ends.entry(end).or_default() += 1;
        let Self { violation, trace, cover, inputs, .. } = self;
        Ended { violation, trace, cover, inputs }
    }
}

/// Shortens a debug print: plans and settings say nothing new.
pub(super) fn brief(mut text: String) -> String {
    if let Some(at) = text.find("plan: Plan") {
        text.truncate(at);
    }
    if let Some(at) = text.find("bytes: [") {
        let end = text[at..].find(']').map_or(text.len(), |end| at + end);
        text.replace_range(at..end, "bytes: [..");
    }
    text.chars().take(700).collect()
}
