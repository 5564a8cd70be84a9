//! The map: the share and our mark, on the wire and in the file. Pure.
//!
//! A key's value is the second side's share in basis points, `2500`; beside it, under `KEY.mark`,
//! stands our signature, `raise:17`. Every other byte of the file belongs to someone else and stays.

use haldane_model::{Mark, Weight};

/// What a map holds for one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// The second side's share, as HAProxy acts on it.
    pub(super) share: Weight,
    /// Our signature, where there is one.
    pub(super) mark: Option<Mark>,
}

/// Why a map tells nothing about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// The key is not there.
    Missing,
    /// The key is there more than once.
    Twice,
}

/// Returns the key under which the mark of `key` is kept.
pub(super) fn mark_key(key: &str) -> String {
    format!("{key}.mark")
}

/// Finds a key in the answer to `show map`, whose lines are `0x55… KEY VALUE`.
pub(super) fn shown(answer: &str, key: &str) -> Result<Held, Unfit> {
    let lines = answer.lines().filter_map(|line| line.split_once(' ')).map(|(_id, rest)| rest);
    held(lines, key)
}

/// Finds a key in the text of a map file.
pub(super) fn filed(file: &[u8], key: &str) -> Result<Held, Unfit> {
    let text = String::from_utf8_lossy(file);
    held(text.lines().map(str::trim_start).filter(|line| !line.starts_with('#')), key)
}

fn held<'a>(lines: impl Iterator<Item = &'a str>, key: &str) -> Result<Held, Unfit> {
    let (mut share, mut mark) = (None, None);
    let mark_key = mark_key(key);
    for line in lines {
        let (name, value) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        if name == key && share.replace(acted_on(value.trim())).is_some() {
            return Err(Unfit::Twice);
        }
        if name == mark_key && mark.is_none() {
            mark = Mark::parse(value.trim());
        }
    }
    Ok(Held { share: share.ok_or(Unfit::Missing)?, mark })
}

/// Returns the share that HAProxy makes of a value: what is no number counts as none.
fn acted_on(value: &str) -> Weight {
    let full = i64::from(Weight::FULL.basis_points());
    let points = value.parse::<i64>().unwrap_or(0).clamp(0, full);
    u32::try_from(points).ok().and_then(|points| points.try_into().ok()).unwrap_or(Weight::ZERO)
}

/// Returns the file with this share and mark; `None` where the key is not in it.
pub(super) fn with(file: &[u8], key: &str, share: Weight, mark: Mark) -> Option<Vec<u8>> {
    let mark_key = mark_key(key);
    let has_mark = lines(file).any(|line| name(line) == mark_key.as_bytes());
    let mut out = Vec::with_capacity(file.len() + 64);
    let mut found = false;
    for line in lines(file) {
        if name(line) == key.as_bytes() {
            found = true;
            out.extend(replaced(line, &share.basis_points().to_string()));
            if !has_mark {
                end_line(&mut out);
                out.extend(format!("{mark_key} {mark}\n").bytes());
            }
        } else if name(line) == mark_key.as_bytes() {
            out.extend(replaced(line, &mark.to_string()));
        } else {
            out.extend_from_slice(line);
        }
    }
    found.then_some(out)
}

/// Returns the file with this share and mark, in a new line where the key was not in it.
pub(super) fn with_added(file: &[u8], key: &str, share: Weight, mark: Mark) -> Vec<u8> {
    with(file, key, share, mark).unwrap_or_else(|| {
        let mut out = without_mark(file, key);
        if !out.is_empty() {
            end_line(&mut out);
        }
        out.extend(format!("{key} {}\n", share.basis_points()).bytes());
        out.extend(format!("{} {mark}\n", mark_key(key)).bytes());
        out
    })
}

/// Returns the file without our mark.
pub(super) fn without_mark(file: &[u8], key: &str) -> Vec<u8> {
    let mark_key = mark_key(key);
    lines(file).filter(|line| name(line) != mark_key.as_bytes()).flatten().copied().collect()
}

fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split_inclusive(|byte| *byte == b'\n')
}

fn end_line(out: &mut Vec<u8>) {
    if out.last() != Some(&b'\n') {
        out.push(b'\n');
    }
}

/// Returns the key of a line; a comment's begins with `#`, which no key of ours does.
fn name(line: &[u8]) -> &[u8] {
    line.trim_ascii_start().split(u8::is_ascii_whitespace).next().unwrap_or_default()
}

/// Returns the line with another value; indentation, the gap and the line's end stay.
fn replaced(line: &[u8], value: &str) -> Vec<u8> {
    let indent = line.len() - line.trim_ascii_start().len();
    let after_name = indent + name(line).len();
    let rest = &line[after_name..];
    let old = rest.trim_ascii();
    let (gap, end) = if old.is_empty() {
        (&b" "[..], rest)
    } else {
        let gap = rest.len() - rest.trim_ascii_start().len();
        (&rest[..gap], &rest[gap + old.len()..])
    };
    [&line[..after_name], gap, value.as_bytes(), end].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] =
        b"# by hand, \xff\n\n  other 5\ncheckout\t 2500  \r\ncheckout2 1\n#checkout 7\nlast 1";

    fn weight(points: u32) -> Weight {
        Weight::from_basis_points(points).unwrap()
    }

    #[test]
    fn every_other_byte_of_the_file_stays() {
        let out = with(FILE, "checkout", weight(0), Mark::rollback(18)).unwrap();
        let expected: &[u8] = b"# by hand, \xff\n\n  other 5\ncheckout\t 0  \r\n\
            checkout.mark rollback:18\ncheckout2 1\n#checkout 7\nlast 1";
        assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
        let again = with(&out, "checkout", weight(0), Mark::rollback(18)).unwrap();
        assert_eq!(again, out, "a second write changes nothing");
        let back = with(&out, "checkout", weight(2_500), Mark::raise(17)).unwrap();
        assert_eq!(without_mark(&back, "checkout"), FILE, "and everything can be taken away");
    }

    #[test]
    fn a_last_line_without_an_end_gets_one_before_the_mark() {
        let out = with(b"checkout 1", "checkout", weight(2), Mark::raise(1)).unwrap();
        assert_eq!(out, b"checkout 2\ncheckout.mark raise:1\n");
    }

    #[test]
    fn a_missing_key_is_told_or_added() {
        assert_eq!(with(FILE, "checkou", weight(1), Mark::raise(1)), None);
        let out = with_added(b"a 1", "k", weight(1), Mark::raise(2));
        assert_eq!(out, b"a 1\nk 1\nk.mark raise:2\n");
    }

    #[test]
    fn a_map_is_read_as_haproxy_acts_on_it() {
        let held = |value: &str| shown(&format!("0x1 a 3\n0x2 k {value}\n"), "k").unwrap().share;
        assert_eq!(
            [held("2500"), held("0"), held("10000")],
            [weight(2_500), weight(0), weight(10_000)]
        );
        assert_eq!(
            [held("20000"), held("-4"), held("abc"), held("")],
            [weight(10_000), weight(0), weight(0), weight(0)]
        );
        let both = "0x1 k 5\n0x2 k.mark rollback:3\n";
        assert_eq!(shown(both, "k"), Ok(Held { share: weight(5), mark: Some(Mark::rollback(3)) }));
        assert_eq!(shown("0x1 kk 5\n", "k"), Err(Unfit::Missing));
        assert_eq!(shown("0x1 k 5\n0x2 k 5\n", "k"), Err(Unfit::Twice));
        assert_eq!(filed(b"#k 1\n k 7\r\n", "k").unwrap().share, weight(7));
    }
}
