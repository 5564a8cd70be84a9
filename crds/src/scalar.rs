//! The scalars of the written form: shares, durations and names.
//!
//! Each is parsed once; its schema carries a `format` by which the form check finds the parser, so
//! that the message about a bad one is the parser's own.

use std::{borrow::Cow, fmt, time};

use haldane_model::Weight;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Argument;

/// A share of traffic: `10` or `"0.5%"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub struct Percent(pub Weight);

/// A length of time by the Gateway API's pattern: `90s`, `1h30m`, `500ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "Value")]
pub struct Duration(pub time::Duration);

/// A name: lower case letters, digits and dashes, at most 63.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "String")]
pub struct Name(String);

/// What is wrong with a scalar, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Odd {
    pub(crate) message: String,
    pub(crate) help: String,
}

/// The pattern that the Kubernetes API server checks.
const DURATION_PATTERN: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";
const NAME_PATTERN: &str = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";
const PERCENT_PATTERN: &str = "^[0-9]{1,3}(\\.[0-9]{1,2})?%$";

/// Checks a value against a format of ours; `None` for a format that is not.
pub(crate) fn check(format: &str, value: &Value) -> Option<Result<(), Odd>> {
    match format {
        "haldane-percent" => Some(Percent::parse(value).map(drop)),
        "haldane-duration" => Some(Duration::parse(value).map(drop)),
        "haldane-name" => Some(Name::parse(value).map(drop)),
        "haldane-argument" => Some(Argument::parse(value).map(drop)),
        _ => None,
    }
}

/// Writes a duration as the written form has it: `1h30m`, `500ms`, `0s`.
#[must_use]
pub fn show_duration(duration: time::Duration) -> String {
    let mut rest = duration.as_millis();
    let mut text = String::new();
    for (unit, millis) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if rest >= millis {
            text.push_str(&format!("{}{unit}", rest / millis));
            rest %= millis;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

pub(crate) fn odd(message: impl Into<String>, help: impl Into<String>) -> Odd {
    Odd { message: message.into(), help: help.into() }
}

/// A value as the user sees it: strings in backticks.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        Value::Null => "nothing".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
        Value::Bool(_) | Value::Number(_) => format!("`{value}`"),
    }
}

// === impl Percent ===

impl Percent {
    fn parse(value: &Value) -> Result<Self, Odd> {
        let points = match value {
            Value::Number(number) => match number.as_u64() {
                Some(percent) => Some(percent.saturating_mul(100)),
                None => return Err(Self::fraction(value)),
            },
            Value::String(text) => basis_points(text),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let remedy = "write a whole percentage such as `10`, or a finer one such as `\"0.5%\"`";
        let Some(points) = points else {
            return Err(odd(format!("{} is not a share of traffic", show(value)), remedy));
        };
        let weight =
            u32::try_from(points).ok().and_then(|points| Weight::from_basis_points(points).ok());
        weight.map(Self).ok_or_else(|| {
            odd(format!("{} is more than all traffic", show(value)), "the most is `100`")
        })
    }

    fn fraction(value: &Value) -> Odd {
        let negative = value.as_f64().is_some_and(|number| number < 0.0);
        if negative {
            return odd(format!("{} is less than no traffic", show(value)), "the least is `0`");
        }
        let message = format!("{} is not a whole percentage", show(value));
        odd(message, format!("write finer shares with their unit: `\"{value}%\"`"))
    }
}

/// `"0.5%"` in basis points; at most two decimals.
fn basis_points(text: &str) -> Option<u64> {
    let number = text.strip_suffix('%')?;
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str, most| {
        (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !digits(whole, 3) || !digits(part, 2) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let part: u64 = format!("{part:0<2}").parse().ok()?;
    Some(whole * 100 + part)
}

impl TryFrom<Value> for Percent {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        Self::parse(&value).map_err(|odd| odd.to_string())
    }
}

impl JsonSchema for Percent {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": 100},
                {"type": "string", "pattern": PERCENT_PATTERN},
            ],
            "format": "haldane-percent",
        })
    }
}

// === impl Duration ===

impl Duration {
    fn parse(value: &Value) -> Result<Self, Odd> {
        let Value::String(text) = value else {
            let message = format!("{} is not a duration", show(value));
            let help = match value {
                Value::Number(number) if number.as_u64() == Some(0) => duration_remedy("0"),
                Value::Number(number) if number.as_f64().is_some_and(|n| n < 0.0) => {
                    duration_remedy("-")
                }
                Value::Number(number) => format!("add a unit: `{number}s` or `{number}m`"),
                Value::Null
                | Value::Bool(_)
                | Value::String(_)
                | Value::Array(_)
                | Value::Object(_) => "write a duration such as `90s` or `1h30m`".to_owned(),
            };
            return Err(odd(message, help));
        };
        if !is_duration(text) {
            let message = format!("`{text}` is not a duration");
            return Err(odd(message, duration_remedy(text)));
        }
        // The pattern admits nothing that could be misread; five digits of hours fit easily.
        humantime::parse_duration(text).map(Self).map_err(|error| {
            odd(format!("`{text}` is not a duration: {error}"), duration_remedy(text))
        })
    }
}

/// The Gateway API's pattern, by hand: up to four numbers of up to five digits, each with a unit.
fn is_duration(text: &str) -> bool {
    let mut rest = text;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let unit = ["ms", "h", "m", "s"].into_iter().find(|unit| rest[digits..].starts_with(unit));
        let (1..=5, Some(unit)) = (digits, unit) else { return false };
        rest = &rest[digits + unit.len()..];
        parts += 1;
    }
    (1..=4).contains(&parts)
}

/// What was probably meant.
fn duration_remedy(text: &str) -> String {
    let text = text.trim();
    if text.starts_with('-') {
        return "a duration is never negative; write the time itself, such as `1m`".to_owned();
    }
    if text == "0" {
        return "write a time with its unit, such as `30s`".to_owned();
    }
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    let unit: String = text[digits.len()..].trim().to_lowercase();
    let unit = match unit.as_str() {
        "" if !digits.is_empty() => return format!("add a unit: `{digits}s` or `{digits}m`"),
        "d" | "day" | "days" => {
            let hours = digits.parse::<u64>().map_or(24, |days| days.saturating_mul(24));
            return format!("the longest unit is the hour: `{hours}h`");
        }
        "hour" | "hours" | "hr" | "hrs" => "h",
        "minute" | "minutes" | "min" | "mins" => "m",
        "second" | "seconds" | "sec" | "secs" => "s",
        "millisecond" | "milliseconds" => "ms",
        _ => {
            return "write numbers with the units h, m, s and ms, such as `90s` or `1h30m`"
                .to_owned();
        }
    };
    format!("write `{digits}{unit}`")
}

impl TryFrom<Value> for Duration {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        Self::parse(&value).map_err(|odd| odd.to_string())
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": DURATION_PATTERN, "format": "haldane-duration"})
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&show_duration(self.0))
    }
}

// === impl Name ===

impl Name {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(value: &Value) -> Result<Self, Odd> {
        let help = "use 1 to 63 lower case letters, digits and dashes, with no dash at the ends";
        match value {
            Value::String(text) if is_name(text) => Ok(Self(text.clone())),
            Value::Number(number) => {
                Err(odd(format!("`{number}` is a number, not a name"), "quote it"))
            }
            Value::String(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Array(_)
            | Value::Object(_) => Err(odd(format!("{} is not a name", show(value)), help)),
        }
    }
}

fn is_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| letter(byte) || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

impl TryFrom<Value> for Name {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        Self::parse(&value).map_err(|odd| odd.to_string())
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl JsonSchema for Name {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": NAME_PATTERN, "format": "haldane-name"})
    }
}

// === impl Odd ===

impl fmt::Display for Odd {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}; {}", self.message, self.help)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_share_is_a_whole_percentage_or_a_finer_one_with_its_unit() {
        let points = |value: Value| Percent::parse(&value).map(|share| share.0.basis_points());
        assert_eq!(points(json!(0)), Ok(0));
        assert_eq!(points(json!(100)), Ok(10_000));
        assert_eq!(points(json!("0.5%")), Ok(50));
        assert_eq!(points(json!("12.34%")), Ok(1_234));
        assert_eq!(points(json!("100%")), Ok(10_000));
        for odd in
            [json!(101), json!(-1), json!(0.5), json!("10"), json!("100.01%"), json!("1.234%")]
        {
            assert!(points(odd.clone()).is_err(), "{odd}");
        }
        assert!(points(json!("%")).is_err() && points(json!(null)).is_err());
    }

    #[test]
    fn a_duration_has_a_unit_and_no_sign() {
        let millis = |text: &str| Duration::parse(&json!(text)).map(|wait| wait.0.as_millis());
        assert_eq!(millis("5m"), Ok(300_000));
        assert_eq!(millis("1h30m"), Ok(5_400_000));
        assert_eq!(millis("500ms"), Ok(500));
        assert_eq!(millis("1m30s"), Ok(90_000));
        assert_eq!(millis("0s"), Ok(0));
        let help = |value: Value| Duration::parse(&value).unwrap_err().help;
        assert_eq!(help(json!("5 minutes")), "write `5m`");
        assert_eq!(help(json!("0")), "write a time with its unit, such as `30s`");
        assert_eq!(help(json!(0)), help(json!("0")));
        assert_eq!(help(json!("7")), "add a unit: `7s` or `7m`");
        assert_eq!(help(json!(30)), "add a unit: `30s` or `30m`");
        assert_eq!(help(json!("2d")), "the longest unit is the hour: `48h`");
        assert!(help(json!("-1m")).contains("never negative"));
        for odd in ["", "1.5h", "123456s", "1h1h1h1h1h", "1M", "m", "1h 30m", "५m"] {
            assert!(millis(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_duration_is_shown_as_it_may_be_written() {
        for text in ["1h", "1h30m", "500ms", "1m30s", "0s", "2h3m4s5ms"] {
            let parsed = Duration::parse(&json!(text)).unwrap();
            assert_eq!(parsed.to_string(), text);
        }
    }
}
