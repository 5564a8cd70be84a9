//! PromQL as text: escaping, matchers, durations, and a syntax check at load.
//!
//! The check runs on a thread with a deep stack, because the parser recurses: a query of the
//! allowed length must never end the process.

use std::{collections::BTreeMap, fmt::Write as _, thread, time::Duration};

use promql_parser::parser::{self, Expr, value::ValueType};

use crate::{SettingsError, question::Query};

/// How long a query may be, before and after its templates are resolved.
pub(crate) const QUERY_BYTES_MAX: usize = 4 << 10;
/// How deep brackets may nest.
const NESTING_MAX: usize = 64;
/// Enough for a query of [`QUERY_BYTES_MAX`] that is nothing but nesting, unoptimised.
const STACK_BYTES: usize = 128 << 20;

/// Runs something that recurses over user text on a stack that is deep enough; `None` where it
/// panicked, which a parser of foreign text may do.
pub(crate) fn on_deep_stack<T: Send>(run: impl FnOnce() -> T + Send) -> Option<T> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("promql".to_owned()).stack_size(STACK_BYTES);
        let thread = builder.spawn_scoped(scope, run).expect("a thread can be started");
        thread.join().ok()
    })
}

/// Escapes text for a PromQL string, in whichever quotes it stands.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' => escaped.push_str("\\\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\'' => escaped.push_str("\\x27"),
            '`' => escaped.push_str("\\x60"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Writes text as a regular expression that matches nothing else.
pub(crate) fn literal(text: &str) -> String {
    let mut literal = String::with_capacity(text.len());
    for letter in text.chars() {
        if r"\.+*?()|[]{}^$".contains(letter) {
            literal.push('\\');
        }
        literal.push(letter);
    }
    literal
}

/// Writes labels as matchers: `a="b",c="d"`.
pub(crate) fn matchers(labels: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        let comma = if text.is_empty() { "" } else { "," };
        write!(text, "{comma}{name}=\"{}\"", escape(value)).expect("text takes text");
    }
    text
}

/// Returns whether labels can carry this name.
pub(crate) fn is_label_name(name: &str) -> bool {
    let mut letters = name.bytes();
    letters.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && letters.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Writes a duration as PromQL does, to the millisecond: `30s`, `1500ms`.
pub(crate) fn duration(duration: Duration) -> String {
    let millis = duration.as_millis().max(1);
    if millis.is_multiple_of(1000) { format!("{}s", millis / 1000) } else { format!("{millis}ms") }
}

/// Refuses text that is too long or too deep to be parsed safely.
pub(crate) fn check_size(path: &str, text: &str) -> Result<(), SettingsError> {
    if text.len() > QUERY_BYTES_MAX {
        let message = format!("the query has {} bytes, more than {QUERY_BYTES_MAX}", text.len());
        return Err(SettingsError::new(path, message, "move parts of it into a recording rule"));
    }
    let mut depth = 0_usize;
    for byte in text.bytes() {
        match byte {
            b'(' | b'{' | b'[' => depth += 1,
            b')' | b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING_MAX {
            let message = format!("the query nests deeper than {NESTING_MAX}");
            return Err(SettingsError::new(
                path,
                message,
                "move parts of it into a recording rule",
            ));
        }
    }
    Ok(())
}

/// Refuses a query that is no PromQL, or whose answer cannot be one number.
pub(crate) fn check(path: &str, query: &Query) -> Result<(), SettingsError> {
    let text = query.text(Duration::from_secs(60));
    check_size(path, &text)?;
    let parsed = on_deep_stack(|| parser::parse(&text).map(|parsed| parsed.value_type()));
    match parsed.unwrap_or_else(|| Err("the parser gave up".to_owned())) {
        Ok(ValueType::Vector | ValueType::Scalar) => Ok(()),
        Ok(ValueType::Matrix) => {
            let message = format!("`{text}` returns a range of samples, not a number");
            Err(SettingsError::new(path, message, "put it into rate(), increase() or the like"))
        }
        Ok(ValueType::String) => {
            let message = format!("`{text}` returns text, not a number");
            Err(SettingsError::new(path, message, "write a query that returns a number"))
        }
        Err(error) => {
            let message = format!("`{text}` is no PromQL: {}", error.trim());
            let help = "correct it; `validate: false` sends it as it is, for newer dialects";
            Err(SettingsError::new(path, message, help))
        }
    }
}

/// Returns whether a query is one bare selector, such as `requests_total{job="a"}`.
pub(crate) fn is_selector(text: &str) -> bool {
    check_size("", text).is_ok()
        && on_deep_stack(|| match parser::parse(text) {
            Ok(Expr::VectorSelector(selector)) => {
                selector.offset.is_none() && selector.at.is_none()
            }
            Ok(_) | Err(_) => false,
        })
        .unwrap_or(false)
}

/// Adds matchers to a bare selector.
pub(crate) fn narrow(selector: &str, matchers: &str) -> String {
    let selector = selector.trim();
    let Some(open) = selector.strip_suffix('}') else { return format!("{selector}{{{matchers}}}") };
    let open = open.trim_end();
    let comma = if open.ends_with(['{', ',']) || matchers.is_empty() { "" } else { "," };
    format!("{open}{comma}{matchers}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query(vec![text.to_owned()])
    }

    #[test]
    fn the_worst_query_of_the_allowed_length_does_not_end_the_process() {
        for unit in ["-", "(", "1+", "a^", "!", "{", "a[", "sum by(", "\"", "1 or "] {
            let text = unit.repeat(QUERY_BYTES_MAX / unit.len());
            let _ = check("/promql", &query(&text));
            let _ = check("/promql", &query(&format!("{}1", &text[..text.len() - 1])));
        }
    }

    #[test]
    fn random_text_is_parsed_or_refused() {
        let words = [
            "sum",
            "by",
            "(",
            ")",
            "{",
            "}",
            "[5m]",
            "x",
            "=~",
            "\"a\"",
            ",",
            "1",
            "+",
            "offset",
            "@",
            "or",
            "on",
            "le",
            "'",
            "\\",
            "-",
            "5m",
            ":",
            "[",
            "]",
            "é",
            "group_left",
            "bool",
            "\u{1}",
            "start()",
            "0x",
            "1e999",
            "nan",
            "y::z",
            "`",
        ];
        let mut state: u64 = 20_261_121;
        let mut next = |limit: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % limit
        };
        for _ in 0..2_000 {
            let text: Vec<&str> = (0..=next(12)).map(|_| words[next(words.len())]).collect();
            let _ = check("/promql", &query(&text.join(" ")));
        }
    }

    #[test]
    fn queries_that_cannot_be_a_number_are_refused_at_load() {
        let words = |text| check("/promql", &query(text)).unwrap_err().message;
        assert!(words("sum(rate(x[5m])").contains("is no PromQL"));
        assert!(words("nosuch(x)").contains("nosuch"));
        assert!(words("x[5m]").contains("a range of samples"));
        assert!(words("\"text\"").contains("text"));
        assert!(words(&"x".repeat(5000)).contains("5000 bytes"));
        check("/promql", &query("sum(rate(x{a=\"b\"}[60s])) / scalar(y)")).unwrap();
    }

    #[test]
    fn a_value_cannot_leave_its_quotes() {
        for odd in ["a\"} or up{b=\"", "a'} or up{b='", "a`} or up{b=`", "a\\", "a\nb", "\\\""] {
            for quote in ['"', '\'', '`'] {
                let text = format!("up{{v={quote}{}{quote}}}", escape(odd));
                // Either one selector with one matcher, or refused: never a second selector.
                let parsed = parser::parse(&text);
                if let Ok(parsed) = parsed {
                    let Expr::VectorSelector(one) = parsed else { panic!("{text}: {parsed:?}") };
                    assert_eq!(one.matchers.matchers.len(), 1, "{text}");
                    if quote == '"' {
                        assert_eq!(one.matchers.matchers[0].value, odd, "{text}");
                    }
                } else {
                    assert_ne!(quote, '"', "{text}: {parsed:?}");
                }
            }
        }
    }

    #[test]
    fn matchers_are_added_to_a_selector_however_it_is_written() {
        let check =
            |selector: &str, narrowed: &str| assert_eq!(narrow(selector, "a=\"b\""), narrowed);
        check("x", "x{a=\"b\"}");
        check("x{}", "x{a=\"b\"}");
        check("x{c=\"d\"}", "x{c=\"d\",a=\"b\"}");
        check("x{c=\"d\", }", "x{c=\"d\",a=\"b\"}");
        assert!(is_selector("x{c=\"}\"}"));
        assert!(!is_selector("sum(x)") && !is_selector("x offset 5m") && !is_selector("x[5m]"));
    }

    #[test]
    fn durations_are_written_to_the_millisecond() {
        assert_eq!(duration(Duration::from_secs(90)), "90s");
        assert_eq!(duration(Duration::from_millis(1500)), "1500ms");
        assert_eq!(duration(Duration::ZERO), "1ms");
    }
}
