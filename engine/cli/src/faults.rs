//! What went wrong, for people: the sentence, the place in the file, and what to do.

use std::{fmt, io::IsTerminal, path::Path, sync::Arc};

use haldane_api::ClientError;
use haldane_plan::{Diagnostic, Severity};
use miette::{LabeledSpan, MietteDiagnostic, MietteHandlerOpts, NamedSource, Report, SourceCode};

use crate::{context::are_colours_wanted, print};

/// Several faults of one file.
#[derive(Debug)]
struct Faults {
    summary: String,
    faults: Vec<Fault>,
}

/// One fault of a file.
#[derive(Debug)]
struct Fault {
    diagnostic: Diagnostic,
    source: NamedSource<Arc<str>>,
    span: Option<(usize, usize)>,
}

/// Says how reports are drawn: plain where nobody sees a terminal.
pub(crate) fn install_hook() {
    let terminal = std::io::stderr().is_terminal();
    let colours = terminal && are_colours_wanted();
    // A hook is set once; this is the only place.
    let _ = miette::set_hook(Box::new(move |_| {
        let options = MietteHandlerOpts::new().color(colours).unicode(terminal);
        let options = if terminal { options } else { options.wrap_lines(false).width(10_000) };
        Box::new(options.terminal_links(false).context_lines(1).build())
    }));
}

/// Shows a report on standard error.
pub(crate) fn show(report: &Report) {
    print::aside(format!("{report:?}").trim_end());
}

/// Says why a call to the engine got no answer.
pub(crate) fn of_client(error: ClientError) -> Report {
    let diagnostic = MietteDiagnostic::new(error.to_string());
    Report::new(match error.remedy() {
        Some(remedy) => diagnostic.with_help(remedy),
        None => diagnostic,
    })
}

/// Shows what is wrong with a file, each fault with its line.
pub(crate) fn of_file(path: &Path, text: &str, diagnostics: Vec<Diagnostic>) -> Report {
    let errors = diagnostics.iter().filter(|found| found.severity == Severity::Error).count();
    let what = match (errors, diagnostics.len()) {
        (0, 1) => "1 warning".to_owned(),
        (0, count) => format!("{count} warnings"),
        (1, _) => "cannot be used: 1 error".to_owned(),
        (count, _) => format!("cannot be used: {count} errors"),
    };
    let source: Arc<str> = without_passwords(text).into();
    let name = path.display().to_string();
    let fault = |diagnostic: Diagnostic| {
        // A fault of a template may lie in another file; without its text its place is told all the same.
        let other = diagnostic.file.clone();
        let read = other.as_ref().map(|file| haldane_host::text(Path::new(&**file)));
        let text: Option<Arc<str>> = match read {
            Some(read) => read.ok().map(|text| without_passwords(&text).into()),
            None => Some(source.clone()),
        };
        let name = other.as_deref().unwrap_or(&name);
        let span = text.as_ref().and_then(|text| span(text, &diagnostic));
        let text = text.unwrap_or_default();
        Fault { span, source: NamedSource::new(name, text), diagnostic }
    };
    let faults = diagnostics.into_iter().map(fault).collect();
    Report::new(Faults { summary: format!("{name}: {what}"), faults })
}

/// The text with the user and password of every URL as stars: what is shown lands in logs. Every byte
/// stays at its place.
fn without_passwords(text: &str) -> String {
    let mut shown = text.as_bytes().to_vec();
    for (scheme, _) in text.match_indices("://") {
        let begin = scheme + 3;
        let ends = |letter: char| letter.is_whitespace() || "/?#\"'".contains(letter);
        let authority = text[begin..].split(ends).next().unwrap_or_default();
        if let Some(user) = authority.rfind('@') {
            shown[begin..begin + user].fill(b'*');
        }
    }
    String::from_utf8(shown).expect("whole letters became stars")
}

/// Where a diagnostic points, in bytes.
fn span(text: &str, diagnostic: &Diagnostic) -> Option<(usize, usize)> {
    let len = diagnostic.len.unwrap_or(1);
    if let Some(offset) = diagnostic.offset {
        return (offset <= text.len()).then(|| (offset, len.min(text.len() - offset)));
    }
    let line = diagnostic.line?.checked_sub(1)?;
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let column = diagnostic.column.unwrap_or(1).saturating_sub(1);
    let within: usize = text.get(start..)?.chars().take(column).map(char::len_utf8).sum();
    let offset = start + within;
    Some((offset, len.min(text.len().saturating_sub(offset))))
}

// === impl Faults ===

impl fmt::Display for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.summary)
    }
}

impl std::error::Error for Faults {}

impl miette::Diagnostic for Faults {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        Some(Box::new(self.faults.iter().map(|fault| fault as &dyn miette::Diagnostic)))
    }

    fn severity(&self) -> Option<miette::Severity> {
        let warning = self.faults.iter().all(|fault| fault.diagnostic.severity != Severity::Error);
        Some(if warning { miette::Severity::Warning } else { miette::Severity::Error })
    }
}

// === impl Fault ===

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(file), None) = (&self.diagnostic.file, self.span) {
            let place = |number: Option<usize>| number.map(|number| format!(":{number}"));
            let (line, column) = (place(self.diagnostic.line), place(self.diagnostic.column));
            write!(out, "{file}{}{}: ", line.unwrap_or_default(), column.unwrap_or_default())?;
        }
        if !self.diagnostic.path.is_empty() {
            write!(out, "{}: ", self.diagnostic.path)?;
        }
        out.write_str(&self.diagnostic.message)
    }
}

impl std::error::Error for Fault {}

impl miette::Diagnostic for Fault {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.diagnostic.help.as_ref()?;
        Some(Box::new(help))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.span.map(|_| &self.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let (offset, len) = self.span?;
        Some(Box::new(std::iter::once(LabeledSpan::new(None, offset, len))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_not_shown_and_nothing_moves() {
        let shown =
            without_passwords("url: \"http://ünn:s3cret@p:1/a@b\"\nmail: http://p/x@y # ä\n");
        assert_eq!(shown, "url: \"http://***********@p:1/a@b\"\nmail: http://p/x@y # ä\n");
        let report = of_file(
            Path::new("rollout.yaml"),
            "url: http://ann:s3cret@p\n",
            vec![Diagnostic {
                severity: Severity::Error,
                path: "/url".to_owned(),
                message: "refused".to_owned(),
                help: None,
                file: None,
                line: Some(1),
                column: Some(6),
                offset: None,
                len: None,
            }],
        );
        let told = format!("{report:?}");
        assert!(told.contains("@p") && !told.contains("s3cret"), "{told}");
    }
}
