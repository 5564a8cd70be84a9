//! Printing: lines to standard output, where a closed pipe is no error.

use std::io::{self, Write as _};

/// Prints one line.
pub(crate) fn line(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}
