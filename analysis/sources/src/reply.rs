//! What an answer over HTTP comes to: a number, nothing, or a refusal in the server's own words.
//!
//! Shared by every source that asks for one number. Silence is never taken for a failure, and a
//! failure never for silence.

use std::borrow::Cow;

use haldane_model::Answer;

/// How much of a foreign answer is shown.
const EXCERPT_BYTES: usize = 200;

/// What one query found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    /// One number; never NaN.
    Number(f64),
    /// Nothing, and why.
    Nothing(Cow<'static, str>),
}

/// Why an answer cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    /// In the source's own words where it has some.
    pub(crate) message: String,
    /// Whether asking again may help.
    pub(crate) retryable: bool,
    /// Whether asking for less may help.
    pub(crate) too_large: bool,
}

/// An answer in no known form: a proxy's, a login page, a server that starts.
pub(crate) fn foreign(status: u16, body: &[u8]) -> Refusal {
    let text = excerpt(body);
    let message = if text.is_empty() {
        format!("HTTP {status} with an empty body")
    } else {
        format!("HTTP {status}: {text}")
    };
    Refusal { message, retryable: may_pass(status), too_large: false }
}

/// A failure in the server's own words; what speaks of a moment may pass.
pub(crate) fn failed(status: u16, body: &[u8]) -> Refusal {
    let retryable = matches!(status, 408 | 429 | 500..=599);
    Refusal { retryable, ..foreign(status, body) }
}

/// Whether an HTTP status speaks of a moment rather than of the question.
pub(crate) fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 429 | 502 | 503 | 504)
}

pub(crate) fn refused(message: impl Into<String>) -> Refusal {
    Refusal { message: message.into(), retryable: false, too_large: false }
}

/// The first bytes of foreign text, on one line.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    let short = &bytes[..bytes.len().min(EXCERPT_BYTES)];
    let text = String::from_utf8_lossy(short);
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let line: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let more = if bytes.len() > EXCERPT_BYTES { "…" } else { "" };
    format!("{}{more}", line.join(" "))
}

// === impl Found ===

impl Found {
    /// Takes a number for what it is; what is none is nothing.
    pub(crate) fn number(value: f64) -> Self {
        if value.is_nan() { Self::Nothing("the value is NaN".into()) } else { Self::Number(value) }
    }

    /// Nothing, and why.
    pub(crate) fn nothing(why: impl Into<Cow<'static, str>>) -> Self {
        Self::Nothing(why.into())
    }
}

// === impl Refusal ===

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self::Error { message: refusal.message, retryable: refusal.retryable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_told_from_what_needs_a_person() {
        for (status, again) in [
            (400, false),
            (401, false),
            (403, false),
            (404, false),
            (429, true),
            (500, true),
            (503, true),
        ] {
            assert_eq!(failed(status, b"no").retryable, again, "{status}");
        }
        assert_eq!(failed(429, b"slow down").message, "HTTP 429: slow down");
    }
}
