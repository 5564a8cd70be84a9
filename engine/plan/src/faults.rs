//! Diagnostics as they are found, each at its place in the document.

use haldane_crds::{Diagnostic, Document, Path, Severity, nearest};

/// What was found so far.
pub(crate) struct Faults<'a> {
    pub(crate) document: &'a Document,
    found: Vec<Diagnostic>,
}

// === impl Faults ===

impl<'a> Faults<'a> {
    pub(crate) fn new(document: &'a Document) -> Self {
        Self { document, found: Vec::new() }
    }

    /// A fault of a value.
    pub(crate) fn value(
        &mut self,
        path: &Path,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let place = self.document.value_at(path);
        self.add(Diagnostic::error(path, message).help(help).at(place));
    }

    /// A fault of a field as such: its key is shown, or what lacks it.
    pub(crate) fn key(&mut self, path: &Path, message: impl Into<String>, help: impl Into<String>) {
        let place = self.document.key_at(path);
        self.add(Diagnostic::error(path, message).help(help).at(place));
    }

    /// What a person should know though it is no fault.
    pub(crate) fn warn(
        &mut self,
        path: &Path,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let place = self.document.key_at(path);
        self.add(Diagnostic::warning(path, message).help(help).at(place));
    }

    /// A fault that a provider, source or check found in its own settings.
    pub(crate) fn settings(
        &mut self,
        base: &Path,
        pointer: &str,
        message: String,
        help: Option<String>,
    ) {
        let path = base.pointer(pointer);
        let place = self.document.value_at(&path);
        self.add(Diagnostic::error(&path, message).help_if(help).at(place));
    }

    /// A word that is none of the candidates.
    pub(crate) fn unknown(&mut self, path: &Path, what: &str, word: &str, known: &[&str]) {
        let help = match nearest(word, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`? Known: {}", known.join(", ")),
            None if known.is_empty() => format!("there is no {what} at all"),
            None => format!("known: {}", known.join(", ")),
        };
        self.key(path, format!("the {what} `{word}` is not known"), help);
    }

    /// Tells whether a name was seen before, and notes that as a fault.
    pub(crate) fn unique(&mut self, names: &[&str], list: &Path, what: &str) {
        for (at, name) in names.iter().enumerate() {
            if names[..at].contains(name) {
                let path = list.index(at).key("name");
                let help = "every name in this list must be its own";
                self.value(&path, format!("the {what} `{name}` is written twice"), help);
            }
        }
    }

    /// Returns errors, or warnings where there is no error; both in the order of the text.
    pub(crate) fn finish(mut self) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
        self.found.sort_by_key(|fault| (fault.line.unwrap_or(0), fault.column.unwrap_or(0)));
        let fatal = self.found.iter().any(|fault| fault.severity == Severity::Error);
        if fatal { Err(self.found) } else { Ok(self.found) }
    }

    /// One place, one fault: what was found first is the plainer word.
    fn add(&mut self, fault: Diagnostic) {
        let same = |other: &Diagnostic| {
            other.path == fault.path && other.severity == fault.severity && !fault.path.is_empty()
        };
        if !self.found.iter().any(same) {
            self.found.push(fault);
        }
    }
}
