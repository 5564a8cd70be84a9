//! What is wrong with a document, where, and what to do about it.

use std::{fmt, sync::Arc};

use crate::{Path, Place};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The document cannot be used.
    Error,
    /// The document can be used; a person should know nevertheless.
    Warning,
}

/// One thing that is wrong with a document.
///
/// Line, column, offset and length are those of the text the document was parsed from; they are
/// absent where there was none, as for an object that came through an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Which field: `spec.steps[0].weight`; empty for the document as a whole.
    pub path: String,
    /// What is wrong, with the value.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The file that line and column are of, where it is another one than the text's own.
    pub file: Option<Arc<str>>,
    /// The line, from 1.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// How many bytes of the text come before it.
    pub offset: Option<usize>,
    /// How many bytes of the text it is about.
    pub len: Option<usize>,
}

// === impl Diagnostic ===

impl Diagnostic {
    /// Makes an error without a place.
    pub fn error(path: &Path, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            path: path.to_string(),
            message: message.into(),
            help: None,
            file: None,
            line: None,
            column: None,
            offset: None,
            len: None,
        }
    }

    /// Makes a warning without a place.
    pub fn warning(path: &Path, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(path, message) }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says what to do about it, where that is known.
    #[must_use]
    pub fn help_if(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// Says that its place is in another file than the text's own.
    #[must_use]
    pub fn in_file(mut self, file: Option<Arc<str>>) -> Self {
        self.file = file;
        self
    }

    /// Points at a place of the text.
    #[must_use]
    pub fn at(mut self, place: Option<Place>) -> Self {
        if let Some(place) = place {
            self.line = Some(place.line);
            self.column = Some(place.column);
            self.offset = place.offset;
            self.len = place.len;
        }
        self
    }
}

/// `7:14: error: spec.steps[0].weight: …`, with the file before it where it is another one, and the
/// remedy on a line of its own.
impl fmt::Display for Diagnostic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(out, "{file}:")?;
        }
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(out, "{line}:{column}: ")?;
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(out, "{severity}: ")?;
        if !self.path.is_empty() {
            write!(out, "{}: ", self.path)?;
        }
        out.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(out, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}
