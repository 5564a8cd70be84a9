//! Diagnostics as they are found, each at its place in the document.

use haldane_crds::{Diagnostic, Document, Path, Severity, nearest};

use crate::templates::Origins;

/// What was found so far.
pub(crate) struct Faults<'a> {
    pub(crate) document: &'a Document,
    /// Where the checks of templates stand.
    pub(crate) origins: &'a Origins,
    /// Each with the path that it was found at; without one it came from elsewhere, as it is.
    found: Vec<(String, Diagnostic)>,
}

// === impl Faults ===

impl<'a> Faults<'a> {
    pub(crate) fn new(document: &'a Document, origins: &'a Origins) -> Self {
        Self { document, origins, found: Vec::new() }
    }

    /// Takes what was found already, as it is.
    pub(crate) fn extend(&mut self, found: Vec<Diagnostic>) {
        self.found.extend(found.into_iter().map(|fault| (String::new(), fault)));
    }

    /// A fault of a value.
    pub(crate) fn value(
        &mut self,
        path: &Path,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let place = self.document.value_at(path);
        self.add(path, Diagnostic::error(path, message).help(help).at(place));
    }

    /// A fault of a field as such: its key is shown, or what lacks it.
    pub(crate) fn key(&mut self, path: &Path, message: impl Into<String>, help: impl Into<String>) {
        let place = self.document.key_at(path);
        self.add(path, Diagnostic::error(path, message).help(help).at(place));
    }

    /// What a person should know though it is no fault.
    pub(crate) fn warn(
        &mut self,
        path: &Path,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let place = self.document.key_at(path);
        self.add(path, Diagnostic::warning(path, message).help(help).at(place));
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
        self.add(&path, Diagnostic::error(&path, message).help_if(help).at(place));
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
        let place = |fault: &Diagnostic| {
            (fault.file.clone(), fault.line.unwrap_or(0), fault.column.unwrap_or(0))
        };
        self.found.sort_by_key(|(_, fault)| place(fault));
        let fatal = self.found.iter().any(|(_, fault)| fault.severity == Severity::Error);
        let found = self.found.into_iter().map(|(_, fault)| fault).collect();
        if fatal { Err(found) } else { Ok(found) }
    }

    /// One place, one fault: what was found first is the plainer word.
    fn add(&mut self, path: &Path, fault: Diagnostic) {
        let at = path.to_string();
        let same = |(other, found): &(String, Diagnostic)| {
            *other == at && found.severity == fault.severity && !at.is_empty()
        };
        if self.found.iter().any(same) {
            return;
        }
        // What a template brought is told where it is written.
        let fault = self.origins.moved(path, &fault).unwrap_or(fault);
        let told = |(other, found): &(String, Diagnostic)| {
            other.is_empty()
                && (&found.path, &found.file, found.line) == (&fault.path, &fault.file, fault.line)
        };
        if !self.found.iter().any(told) {
            self.found.push((at, fault));
        }
    }
}
