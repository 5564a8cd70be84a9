//! Standard output. A reader who leaves early is no error.

use std::io::{self, Write as _};

use serde::Serialize;

use crate::context::Output;

/// Prints a line.
pub(crate) fn line(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n"));
    let _ = out.flush();
}

/// Prints text that has its line ends.
pub(crate) fn text(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Says something to the person, not to whoever reads the output.
pub(crate) fn aside(text: &str) {
    let mut out = io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n"));
}

/// Prints a value for programs; a table is made by whoever knows what it is.
pub(crate) fn value<T: Serialize>(
    output: Output,
    value: &T,
    table: impl FnOnce() -> String,
) -> miette::Result<()> {
    match output {
        Output::Table => text(&table()),
        Output::Json => {
            let json = serde_json::to_string_pretty(value);
            line(&json.map_err(|error| miette::miette!("the answer is no JSON: {error}"))?);
        }
        Output::Yaml => {
            let yaml = serde_saphyr::to_string(value);
            let yaml = yaml.map_err(|error| miette::miette!("the answer is no YAML: {error}"))?;
            line(yaml.trim_end());
        }
    }
    Ok(())
}

/// Lays cells out in columns; the last one is as wide as it is.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let shown = table(&["A", "B"], &[row("one", "1"), row("x", "")]);
        assert_eq!(shown, "A    B\none  1\nx\n");
    }
}
