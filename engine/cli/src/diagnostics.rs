//! Diagnostics of rollout files, with the lines they stand on.

use std::path::Path;

use haldane_plan::{Diagnostic, Severity};
use miette::{LabeledSpan, NamedSource};

/// All that is wrong with one file.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{} cannot be used: {count} fault(s)", file)]
pub(crate) struct Report {
    file: String,
    count: usize,
    #[related]
    faults: Vec<Fault>,
}

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Fault {
    message: String,
    help: Option<String>,
    severity: miette::Severity,
    place: Option<(NamedSource<String>, LabeledSpan)>,
}

// === impl Report ===

impl Report {
    /// Makes a report of diagnostics and the text they speak of.
    pub(crate) fn new(file: &Path, text: String, diagnostics: Vec<Diagnostic>) -> Self {
        let name = file.display().to_string();
        let faults = diagnostics.into_iter().map(|found| Fault::new(&name, &text, found));
        let faults: Vec<Fault> = faults.collect();
        Self { file: name, count: faults.len(), faults }
    }
}

// === impl Fault ===

impl Fault {
    fn new(name: &str, text: &str, found: Diagnostic) -> Self {
        let offset = found.line.zip(found.column).map(|(line, column)| offset(text, line, column));
        let place = offset.map(|offset| {
            let label = LabeledSpan::new(Some("here".to_owned()), offset, word(text, offset));
            (NamedSource::new(name, text.to_owned()), label)
        });
        let severity = match found.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        };
        let message = match &place {
            None if !found.path.is_empty() => format!("{}: {}", found.path, found.message),
            Some(_) | None => found.message,
        };
        Self { message, help: found.help, severity, place }
    }
}

impl miette::Diagnostic for Fault {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.place.as_ref().map(|(source, _)| source as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let (_, label) = self.place.as_ref()?;
        Some(Box::new(std::iter::once(label.clone())))
    }
}

/// Where a line and a column lie in a text; both begin at 1.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let line = text.get(before..).unwrap_or_default();
    let within: usize =
        line.chars().take(column.saturating_sub(1)).map(char::len_utf8).sum();
    (before + within).min(text.len().saturating_sub(1))
}

/// How long the word is that begins here.
fn word(text: &str, offset: usize) -> usize {
    let rest = text.get(offset..).unwrap_or_default();
    rest.find(|c: char| c.is_whitespace() || c == ':').unwrap_or(rest.len()).max(1)
}
