//! Pages of metrics: the text format of Prometheus, and OpenMetrics. Pure.
//!
//! Strict where it reads, and it reads what is asked for alone: a line of another metric must begin
//! with a name and end with a number, and costs no more than that. One line that cannot be read refuses the page, because
//! nobody knows what it would have counted; so do a series that is there twice, and a page without
//! an end. No parser from outside is used: those that may be used cut values of labels at `}`, or
//! go on after what they cannot read.

use std::collections::HashSet;

use crate::{counters::Labels, sampled::Wanted};

/// How many labels a series may have.
const LABELS_MAX: usize = 128;
/// How long a line may be.
const LINE_BYTES_MAX: usize = 64 << 10;
/// How much of a foreign page is shown.
const EXCERPT_BYTES: usize = 160;
/// What tells one process from the next at the same place.
const STARTED: &str = "process_start_time_seconds";

/// What was asked for of a page.
#[derive(Debug, PartialEq)]
pub(super) struct Page {
    pub(super) series: Vec<(Labels, f64)>,
    /// When the process began, in its own words.
    pub(super) process: Option<String>,
}

/// Reads a page; its series get `labels`, and keep their own of the same names as `exported_…`.
pub(super) fn read(
    page: &[u8],
    is_open: bool,
    wanted: &Wanted,
    labels: &Labels,
) -> Result<Page, String> {
    let text = std::str::from_utf8(page).map_err(|_odd| foreign(page))?;
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(if text.trim_start().starts_with('<') {
            foreign(page)
        } else {
            "its page breaks off within a line".to_owned()
        });
    }
    let mut read = Page { series: Vec::new(), process: None };
    let (mut seen, mut ended) = (HashSet::new(), false);
    // Pages are sorted by metric: the last answer is mostly the next one.
    let mut known = ("", false);
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_matches([' ', '\t']);
        if line.is_empty() {
            continue;
        }
        let fault = |why: &str| match (at, line.starts_with('<')) {
            (_, true) | (0, _) => foreign(page),
            _ => format!("line {} of its page {why}: {}", at + 1, excerpt(line.as_bytes())),
        };
        if ended {
            return Err(fault("comes after the end (# EOF)"));
        }
        if line.starts_with('#') {
            ended = is_open && line == "# EOF";
            continue;
        }
        // A name in quotes is none of ours.
        if line
            .strip_prefix("{\"")
            .and_then(quoted)
            .is_some_and(|(_, rest)| rest.starts_with([',', '}']))
        {
            continue;
        }
        let (name, rest) = name(line).ok_or_else(|| fault("is no sample"))?;
        if name != known.0 {
            known = (name, wanted.names(name) || name == STARTED);
        }
        if !known.1 {
            // A sentence begins with a name as well, but no sentence ends with a number.
            let last = rest.rsplit([' ', '\t', '}']).next();
            if last.is_none_or(|last| last.parse::<f64>().is_err()) {
                return Err(fault("is no sample"));
            }
            continue;
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(fault("is too long"));
        }
        let (own, value) = sample(rest, is_open).ok_or_else(|| fault("cannot be read"))?;
        if name == STARTED && own.is_empty() {
            read.process = Some(value.to_string());
        }
        let own = joined(name, own, labels);
        if !wanted.finds(&own) {
            continue;
        }
        if !seen.insert(own.clone()) {
            return Err(fault("has a series that is there already"));
        }
        read.series.push((own, value));
    }
    if is_open && !ended {
        return Err("its page breaks off before its end (# EOF)".to_owned());
    }
    Ok(read)
}

/// Splits the name of a metric off.
fn name(line: &str) -> Option<(&str, &str)> {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte == b':';
    let end = line.bytes().position(|byte| !is_letter(byte) && !byte.is_ascii_digit())?;
    let (name, rest) = line.split_at(end);
    let begins = name.bytes().next().is_some_and(is_letter);
    (begins && rest.starts_with([' ', '\t', '{'])).then_some((name, rest))
}

/// Reads the labels and the value; the time beside it is not believed.
fn sample(rest: &str, is_open: bool) -> Option<(Labels, f64)> {
    let rest = rest.trim_start_matches([' ', '\t']);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => self::labels(rest)?,
        None => (Labels::new(), rest),
    };
    let rest = match rest.split_once(" # ") {
        // An exemplar.
        Some((sample, _)) if is_open => sample,
        _ => rest,
    };
    let mut words = rest.split([' ', '\t']).filter(|word| !word.is_empty());
    let value = words.next()?.parse().ok()?;
    let time = words.next().is_none_or(|time| time.parse::<f64>().is_ok());
    (time && words.next().is_none()).then_some((labels, value))
}

/// Reads labels up to their bracket.
fn labels(mut rest: &str) -> Option<(Labels, &str)> {
    let blanks = [' ', '\t'];
    let mut labels = Labels::new();
    loop {
        rest = rest.trim_start_matches(blanks);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, value) = rest.split_once('=')?;
        let name = name.trim_end_matches(blanks);
        let value = value.trim_start_matches(blanks).strip_prefix('"')?;
        let (value, after) = quoted(value)?;
        let is_new = labels.insert(name.to_owned(), value).is_none();
        if !crate::promql::is_label_name(name) || !is_new || labels.len() > LABELS_MAX {
            return None;
        }
        rest = after.trim_start_matches(blanks);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return None,
        }
    }
}

/// Reads a value up to its quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                other @ ('\\' | '"') => value.push(other),
                // As Prometheus does: what is no escape stands for itself.
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
    None
}

/// The labels of a series, with its name and its target's.
fn joined(name: &str, mut own: Labels, labels: &Labels) -> Labels {
    for (label, value) in labels {
        if let Some(before) = own.insert(label.clone(), value.clone())
            && before != *value
        {
            own.insert(format!("exported_{label}"), before);
        }
    }
    own.insert("__name__".to_owned(), name.to_owned());
    own
}

fn foreign(page: &[u8]) -> String {
    format!("this is no page of metrics: {}", excerpt(page))
}

/// The first bytes of foreign text, on one line.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    let short = &bytes[..bytes.len().min(EXCERPT_BYTES)];
    let text = String::from_utf8_lossy(short);
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let line: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let more = if bytes.len() > EXCERPT_BYTES { "…" } else { "" };
    format!("{}{more}", line.join(" "))
}

#[cfg(test)]
#[path = "exposition_tests.rs"]
mod tests;
