//! Written settings: JSON to a typed form, and the units that people write.
//!
//! Every error carries a JSON pointer to the field, the value, and what to write instead.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::SettingsError;

/// Reads the typed form of settings.
pub(crate) fn read<T: DeserializeOwned>(settings: &Value) -> Result<T, SettingsError> {
    serde_path_to_error::deserialize(settings).map_err(|error| SettingsError {
        path: pointer(error.path()),
        message: error.into_inner().to_string(),
        help: None,
    })
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        let name = match segment {
            Segment::Map { key } => key.clone(),
            Segment::Seq { index } => index.to_string(),
            Segment::Enum { variant } => variant.clone(),
            Segment::Unknown => continue,
        };
        pointer.push('/');
        pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
    }
    pointer
}

/// A limit as written, in a check's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A share: `"1%"` or `"0.01"`.
    Ratio,
    /// A time: `500ms`.
    Seconds,
    /// A plain number: `"100"`.
    Number,
}

/// Reads a limit into base units.
pub(crate) fn limit(path: &str, text: &str, unit: Unit) -> Result<f64, SettingsError> {
    let (value, help) = match unit {
        Unit::Ratio => (ratio(text), "write a share such as \"1%\" or \"0.01\""),
        Unit::Seconds => {
            (duration(text).map(|d| d.as_secs_f64()), "write a duration such as 500ms or 2s")
        }
        Unit::Number => (number(text), "write a number such as \"100\" or \"0.5\""),
    };
    value.ok_or_else(|| SettingsError::new(path, format!("{text:?} cannot be read"), help))
}

/// Reads a plain decimal number; no `inf`, no `nan`.
pub(crate) fn number(text: &str) -> Option<f64> {
    let plain =
        text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
    let value: f64 = if plain { text.parse().ok()? } else { return None };
    value.is_finite().then_some(value)
}

/// Reads a share: `"1%"` or `"0.01"`, from 0 to 1.
#[must_use]
pub fn ratio(text: &str) -> Option<f64> {
    let value = match text.strip_suffix('%') {
        Some(text) => percent(text)?,
        None => number(text)?,
    };
    (0.0..=1.0).contains(&value).then_some(value)
}

/// Reads a number of hundredths: `99.9` is 0.999, and not what a division makes of it.
pub(crate) fn percent(text: &str) -> Option<f64> {
    let whole = number(text)?;
    number(&format!("{text}e-2")).or(Some(whole / 100.0))
}

/// Reads a duration by the Gateway API's pattern: `^([0-9]{1,5}(h|m|s|ms)){1,4}$`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let unit = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let known = matches!(&rest[digits..digits + unit], "h" | "m" | "s" | "ms");
        if !(1..=5).contains(&digits) || !known {
            return None;
        }
        rest = &rest[digits + unit..];
        parts += 1;
    }
    if (1..=4).contains(&parts) { humantime::parse_duration(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_follow_the_pattern() {
        let check = |text, millis: Option<u64>| {
            assert_eq!(duration(text), millis.map(Duration::from_millis), "{text}");
        };
        check("500ms", Some(500));
        check("1m30s", Some(90_000));
        check("2h", Some(7_200_000));
        for odd in
            ["", "5", "1d", "1M", "1.5s", "-5s", "100000s", "1s1s1s1s1s", "1h 30m", "é", "1é"]
        {
            check(odd, None);
        }
    }

    #[test]
    fn ratios_are_shares_of_one() {
        assert_eq!(ratio("1%"), Some(0.01));
        assert_eq!(ratio("0.01"), Some(0.01));
        assert_eq!(ratio("100%"), Some(1.0));
        for odd in ["", "%", "101%", "2", "-1%", "nan", "inf", "1 %", "a"] {
            assert_eq!(ratio(odd), None, "{odd}");
        }
    }
}
